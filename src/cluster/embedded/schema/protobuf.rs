//! From a protobuf body to the value that the same body would be in JSON.
//!
//! A body is an envelope that says what the object is and holds its message;
//! the table of types has the numbers of the fields. What is not set is simply
//! absent from the value: bringing it into normal form writes what Go would
//! write for it. As types do not contain themselves, no message is read deeper
//! than they are.

use base64::Engine as _;
use jiff::Timestamp;
use serde_json::{Map, Value};

use super::normal_form::{MICRO_TIME, TIME};
use super::table::{Field, ObjectType, Place, Type, object_type};
use crate::cluster::embedded::wire::{Content, Fields, Found, Refusal, packed};

/// What every body begins with.
const PREFIX: &[u8; 4] = b"k8s\0";

/// The second at which Go's time begins, which stands for no time.
const NO_TIME: i64 = -62_135_596_800;

/// What is around an object's message.
#[derive(Debug, Default)]
pub(super) struct Envelope<'a> {
    pub api_version: String,
    pub kind: String,
    pub message: &'a [u8],
}

impl<'a> Envelope<'a> {
    /// Opens a body (`runtime.Unknown`). How its content is encoded is written
    /// there too, and read by no server.
    pub fn open(body: &'a [u8]) -> Result<Self, Refusal> {
        if body.is_empty() {
            return Err("empty data".to_owned());
        }
        let Some(content) = body.strip_prefix(PREFIX) else {
            return Err(
                "provided data does not appear to be a protobuf message, expected prefix [107 56 \
                 115 0]"
                    .to_owned(),
            );
        };
        if content.is_empty() {
            return Err("empty body".to_owned());
        }
        let mut envelope = Self::default();
        for found in Fields::new(content, "Unknown") {
            let Found { number, content } = found?;
            match number {
                1 => envelope.read_type(content.bytes("typeMeta")?)?,
                2 => envelope.message = content.bytes("raw")?,
                _ => {}
            }
        }
        Ok(envelope)
    }

    fn read_type(&mut self, message: &[u8]) -> Result<(), Refusal> {
        for found in Fields::new(message, "TypeMeta") {
            let Found { number, content } = found?;
            match number {
                1 => self.api_version = content.text("apiVersion")?,
                2 => self.kind = content.text("kind")?,
                _ => {}
            }
        }
        Ok(())
    }

    /// The object's fields, its type among them as far as it is said.
    pub fn fields(&self, of: &ObjectType) -> Result<Map<String, Value>, Refusal> {
        let mut map = Map::new();
        for (name, said) in [("kind", &self.kind), ("apiVersion", &self.api_version)] {
            if !said.is_empty() {
                map.insert(name.to_owned(), said.as_str().into());
            }
        }
        fill(&mut map, self.message, of, None)?;
        Ok(map)
    }
}

/// Reads a message, or one that is embedded in it, into the fields of its type.
/// A field that occurs twice counts as its last value, an object as all of them
/// together. Fields of a newer client are passed over.
fn fill(
    map: &mut Map<String, Value>,
    message: &[u8],
    of: &ObjectType,
    embedded: Option<u32>,
) -> Result<(), Refusal> {
    for found in Fields::new(message, of.name) {
        let Found { number, content } = found?;
        match of.field_at(Place { embedded, number }) {
            Some(field) => put(map, field, &content)?,
            None if embedded.is_none() && of.embeds(number) => {
                fill(map, content.bytes(of.name)?, of, Some(number))?;
            }
            None => {}
        }
    }
    Ok(())
}

fn put(map: &mut Map<String, Value>, field: &Field, content: &Content<'_>) -> Result<(), Refusal> {
    let name = field.name;
    match &field.of {
        Type::Object(index) => {
            let slot = map.entry(name).or_insert_with(|| Map::new().into());
            if let Value::Object(inner) = slot {
                fill(inner, content.bytes(name)?, object_type(*index), None)?;
            }
        }
        Type::List(item) => {
            let slot = map.entry(name).or_insert_with(|| Value::Array(Vec::new()));
            if let Value::Array(list) = slot {
                push(list, item, content, name)?;
            }
        }
        Type::Map(item) => {
            let (key, value) = entry(content.bytes(name)?, item, name)?;
            let slot = map.entry(name).or_insert_with(|| Map::new().into());
            if let Value::Object(entries) = slot {
                entries.insert(key, value);
            }
        }
        of => {
            map.insert(name.to_owned(), value(of, content, name)?);
        }
    }
    Ok(())
}

/// One more item of a list; several numbers may come at once.
fn push(
    list: &mut Vec<Value>,
    item: &Type,
    content: &Content<'_>,
    name: &str,
) -> Result<(), Refusal> {
    match (item, content) {
        (Type::Int32 | Type::Int64 | Type::Bool, Content::Bytes(bytes)) => {
            for number in packed(bytes) {
                list.push(value(item, &Content::Varint(number?), name)?);
            }
        }
        _ => list.push(value(item, content, name)?),
    }
    Ok(())
}

/// An entry of a map. A value that is missing is its type's zero value.
fn entry(message: &[u8], item: &Type, name: &'static str) -> Result<(String, Value), Refusal> {
    let (mut key, mut held) = (String::new(), Value::Null);
    for found in Fields::new(message, name) {
        let Found { number, content } = found?;
        match number {
            1 => key = content.text(name)?,
            2 => held = value(item, &content, name)?,
            _ => {}
        }
    }
    Ok((key, held))
}

/// The value in a field of that name; `null` where it is not set.
fn value(of: &Type, content: &Content<'_>, name: &str) -> Result<Value, Refusal> {
    Ok(match of {
        Type::Text => content.text(name)?.into(),
        Type::Bool => (content.varint(name)? != 0).into(),
        // A negative number is written in 64 bits, whatever its type.
        Type::Int32 => (content.varint(name)? as i32).into(),
        Type::Int64 => (content.varint(name)? as i64).into(),
        Type::Bytes => {
            base64::engine::general_purpose::STANDARD.encode(content.bytes(name)?).into()
        }
        Type::Quantity => quantity(content.bytes(name)?)?,
        Type::Time => time(content.bytes(name)?, TIME)?,
        Type::MicroTime => time(content.bytes(name)?, MICRO_TIME)?,
        Type::IntOrString => int_or_string(content.bytes(name)?)?,
        Type::Any => raw_json(content.bytes(name)?, name)?,
        Type::Object(index) => {
            let mut inner = Map::new();
            fill(&mut inner, content.bytes(name)?, object_type(*index), None)?;
            inner.into()
        }
        // A list that is the value of a map has a message of its own.
        Type::List(item) => {
            let mut list = Vec::new();
            for found in Fields::new(content.bytes(name)?, "items") {
                let Found { number, content } = found?;
                if number == 1 {
                    push(&mut list, item, &content, name)?;
                }
            }
            list.into()
        }
        // Protobuf has neither lists nor maps of maps.
        Type::Map(_) => return Err(format!("proto: field {name} has no message")),
    })
}

/// `resource.Quantity`: its text.
fn quantity(message: &[u8]) -> Result<Value, Refusal> {
    let mut text = "0".to_owned();
    for found in Fields::new(message, "Quantity") {
        let Found { number, content } = found?;
        if number == 1 {
            text = content.text("string")?;
        }
    }
    Ok(text.into())
}

/// `meta.v1.Time` and `MicroTime`: seconds and nanoseconds since 1970.
fn time(message: &[u8], form: &str) -> Result<Value, Refusal> {
    if message.is_empty() {
        return Ok(Value::Null);
    }
    let (mut seconds, mut nanoseconds) = (0_i64, 0_i32);
    for found in Fields::new(message, "Timestamp") {
        let Found { number, content } = found?;
        match number {
            1 => seconds = content.varint("seconds")? as i64,
            2 => nanoseconds = content.varint("nanos")? as i32,
            _ => {}
        }
    }
    if (seconds, nanoseconds) == (NO_TIME, 0) {
        return Ok(Value::Null);
    }
    let moment = Timestamp::new(seconds, nanoseconds).ok().filter(|_| seconds >= NO_TIME);
    let moment = moment.ok_or("Time.MarshalJSON: year outside of range [0,9999]")?;
    Ok(moment.strftime(form).to_string().into())
}

/// `intstr.IntOrString`: which of the two, and both.
fn int_or_string(message: &[u8]) -> Result<Value, Refusal> {
    let (mut is_text, mut number_value, mut text) = (false, 0_i32, String::new());
    for found in Fields::new(message, "IntOrString") {
        let Found { number, content } = found?;
        match number {
            1 => is_text = content.varint("type")? != 0,
            2 => number_value = content.varint("intVal")? as i32,
            3 => text = content.text("strVal")?,
            _ => {}
        }
    }
    Ok(if is_text { text.into() } else { number_value.into() })
}

/// `runtime.RawExtension` and `meta.v1.FieldsV1`: JSON as it is.
fn raw_json(message: &[u8], name: &str) -> Result<Value, Refusal> {
    let mut raw: &[u8] = b"null";
    for found in Fields::new(message, "RawExtension") {
        let Found { number, content } = found?;
        if number == 1 {
            raw = content.bytes("raw")?;
        }
    }
    if raw.is_empty() {
        return Ok(Value::Null);
    }
    serde_json::from_slice(raw).map_err(|error| format!("{name} is no JSON: {error}"))
}
