//! Bringing a value into the normal form of its type.

use jiff::Timestamp;
use jiff::fmt::temporal::DateTimeParser;
use serde_json::{Map, Value, json};

use super::is_normal::are_normal;
use super::table::{Field, ObjectType, Presence, Type, object_type, root};
use crate::model::kind::Kind;
use crate::model::quantity::Quantity;

/// How times are written.
pub(super) const TIME: &str = "%Y-%m-%dT%H:%M:%SZ";
pub(super) const MICRO_TIME: &str = "%Y-%m-%dT%H:%M:%S.%6fZ";

/// Brings an object that was made or changed in here into normal form. What
/// does not fit its type, which decoding would have refused, stays as it is.
pub fn normalise(kind: &Kind, object: &mut Value) {
    let Some(of) = root(kind) else { return };
    if let Value::Object(map) = object
        && !are_normal(map, of)
    {
        let mut walk = Walk::lenient();
        *object = walk.fields(std::mem::take(map), of).unwrap_or_default().into();
    }
}

/// A walk along a value and its type.
pub(super) struct Walk {
    /// Where the walk is: `spec`, `containers`, `[0]`.
    path: Vec<Step>,
    /// Paths of fields that the types do not have.
    pub unknown: Vec<String>,
    /// Values of a wrong type stay instead of ending the walk.
    lenient: bool,
}

enum Step {
    Field(String),
    /// What Go embeds: its fields stand among the others in JSON, and its name
    /// in refusals.
    Embedded(&'static str),
    /// A key of a map, which refusals do not name.
    Key(String),
    Index(usize),
}

/// The name of what Go embeds in a type.
fn embedded_in(of: &ObjectType) -> &'static str {
    match of.name {
        "Volume" => "VolumeSource",
        "PersistentVolumeSpec" => "PersistentVolumeSource",
        "Probe" => "ProbeHandler",
        "EphemeralContainer" => "EphemeralContainerCommon",
        name if name.starts_with("Device") => "DeviceConfiguration",
        // Those of ConfigMaps and Secrets.
        _ => "LocalObjectReference",
    }
}

/// The refusal of a value, in the words of a Go JSON decoder.
pub(super) type Refusal = String;

impl Walk {
    pub fn strict() -> Self {
        Self { path: Vec::new(), unknown: Vec::new(), lenient: false }
    }

    fn lenient() -> Self {
        Self { lenient: true, ..Self::strict() }
    }

    /// The normal form of a structured value.
    pub fn fields(
        &mut self,
        given: Map<String, Value>,
        of: &ObjectType,
    ) -> Result<Map<String, Value>, Refusal> {
        if are_normal(&given, of) {
            return Ok(given);
        }
        let mut slots: Vec<Option<Value>> = Vec::new();
        slots.resize_with(of.fields.len(), || None);
        for (name, value) in given {
            let Some(index) = of.field_index(&name) else {
                self.path.push(Step::Field(name));
                let path = self.path_with_indexes();
                self.unknown.push(path);
                self.path.pop();
                continue;
            };
            let field = &of.fields[index];
            let depth = self.path.len();
            if field.place.is_some_and(|place| place.embedded.is_some()) {
                self.path.push(Step::Embedded(embedded_in(of)));
            }
            self.path.push(Step::Field(name));
            slots[index] = self.value(value, &field.of, of)?;
            self.path.truncate(depth);
        }
        let mut map = Map::new();
        for (field, slot) in of.fields.iter().zip(slots) {
            if let Some(value) = self.written(field, slot)? {
                map.insert(field.name.to_owned(), value);
            }
        }
        Ok(map)
    }

    /// What is written for a field that holds `value`, or nothing.
    fn written(&mut self, field: &Field, value: Option<Value>) -> Result<Option<Value>, Refusal> {
        if field.optional {
            return Ok(match (value, field.presence) {
                (None, Presence::Always) => Some(Value::Null),
                (value, _) => value,
            });
        }
        let Some(value) = value else {
            return self.unset(field);
        };
        let empty = match &value {
            Value::String(text) => text.is_empty() && field.of != Type::IntOrString,
            Value::Array(list) => list.is_empty(),
            Value::Object(map) => map.is_empty() && matches!(field.of, Type::Map(_)),
            Value::Bool(flag) => !flag,
            Value::Number(number) => number.as_f64() == Some(0.0) && field.of != Type::IntOrString,
            Value::Null => true,
        };
        let omitted = empty && field.presence == Presence::OmitEmpty;
        let all_empty = field.presence == Presence::OmitZero
            && matches!(&value, Value::Object(map) if map.is_empty());
        Ok((!omitted && !all_empty).then_some(value))
    }

    /// What is written for a field that is not set and whose type has no
    /// absence: objects are written with what is always written in them.
    fn unset(&mut self, field: &Field) -> Result<Option<Value>, Refusal> {
        let always = field.presence == Presence::Always;
        Ok(match &field.of {
            _ if field.presence == Presence::OmitZero => None,
            Type::Object(index) => Some(self.fields(Map::new(), object_type(*index))?.into()),
            Type::Time | Type::MicroTime => Some(Value::Null),
            Type::IntOrString => Some(0.into()),
            Type::Quantity => Some("0".into()),
            _ if !always => None,
            Type::Text => Some("".into()),
            Type::Bool => Some(false.into()),
            Type::Int32 | Type::Int64 => Some(0.into()),
            Type::List(_) | Type::Map(_) | Type::Bytes | Type::Any => Some(Value::Null),
        })
    }

    /// The normal form of one value; `None` is `null`. `inside` is the type
    /// that has the field, for messages.
    fn value(
        &mut self,
        value: Value,
        of: &Type,
        inside: &ObjectType,
    ) -> Result<Option<Value>, Refusal> {
        if value.is_null() {
            return Ok(None);
        }
        let found = match (of, value) {
            (Type::Any, value)
            | (Type::Text, value @ Value::String(_))
            | (Type::Bool, value @ Value::Bool(_)) => Ok(value),
            (Type::Object(index), Value::Object(map)) => {
                return Ok(Some(self.fields(map, object_type(*index))?.into()));
            }
            (Type::Map(item), Value::Object(map)) => return self.map(map, item, inside),
            (Type::List(item), Value::Array(list)) => return self.list(list, item, inside),
            (Type::Int32, Value::Number(n))
                if n.as_i64().is_some_and(|n| i32::try_from(n).is_ok()) =>
            {
                Ok(Value::Number(n))
            }
            (Type::Int64, Value::Number(n)) if n.is_i64() => Ok(Value::Number(n)),
            (Type::IntOrString, value @ Value::String(_)) => Ok(value),
            (Type::IntOrString, Value::Number(n))
                if n.as_i64().is_some_and(|n| i32::try_from(n).is_ok()) =>
            {
                Ok(Value::Number(n))
            }
            // Whatever it is, it is read as a text.
            (Type::Quantity, value) => return self.checked(value, quantity),
            (Type::Time, value @ Value::String(_)) => {
                return self.checked(value, |value| time(value, TIME));
            }
            (Type::MicroTime, value @ Value::String(_)) => {
                return self.checked(value, |value| time(value, MICRO_TIME));
            }
            (Type::Bytes, value @ Value::String(_)) => return self.checked(value, bytes),
            (_, value) => Err(value),
        };
        match found {
            Ok(value) => Ok(Some(value)),
            Err(value) if self.lenient => Ok(Some(value)),
            Err(value) => Err(self.wrong_type(&value, of, inside)),
        }
    }

    fn map(
        &mut self,
        map: Map<String, Value>,
        item: &Type,
        inside: &ObjectType,
    ) -> Result<Option<Value>, Refusal> {
        let mut sorted: Vec<_> = map.into_iter().collect();
        sorted.sort_by(|a, b| a.0.cmp(&b.0));
        let mut result = Map::new();
        for (key, value) in sorted {
            self.path.push(Step::Key(key.clone()));
            let value = self.value(value, item, inside)?.unwrap_or_else(|| zero(item));
            self.path.pop();
            result.insert(key, value);
        }
        Ok(Some(result.into()))
    }

    fn list(
        &mut self,
        list: Vec<Value>,
        item: &Type,
        inside: &ObjectType,
    ) -> Result<Option<Value>, Refusal> {
        let mut result = Vec::with_capacity(list.len());
        for (index, value) in list.into_iter().enumerate() {
            self.path.push(Step::Index(index));
            result.push(match (self.value(value, item, inside)?, item) {
                (Some(value), _) => value,
                (None, Type::Object(index)) => self.fields(Map::new(), object_type(*index))?.into(),
                (None, item) => zero(item),
            });
            self.path.pop();
        }
        Ok(Some(result.into()))
    }

    fn checked(
        &self,
        value: Value,
        check: impl Fn(&Value) -> Result<Value, Refusal>,
    ) -> Result<Option<Value>, Refusal> {
        match check(&value) {
            Ok(value) => Ok(Some(value)),
            Err(_) if self.lenient => Ok(Some(value)),
            Err(refusal) => Err(refusal),
        }
    }

    fn wrong_type(&self, value: &Value, of: &Type, inside: &ObjectType) -> Refusal {
        let found = match value {
            Value::Null => "null".to_owned(),
            Value::Bool(_) => "bool".to_owned(),
            Value::Number(number)
                if matches!(of, Type::Int32 | Type::Int64 | Type::IntOrString) =>
            {
                format!("number {number}")
            }
            Value::Number(_) => "number".to_owned(),
            Value::String(_) => "string".to_owned(),
            Value::Array(_) => "array".to_owned(),
            Value::Object(_) => "object".to_owned(),
        };
        let path: Vec<&str> = self
            .path
            .iter()
            .filter_map(|step| match step {
                Step::Field(name) => Some(name.as_str()),
                Step::Embedded(name) => Some(name),
                Step::Key(_) | Step::Index(_) => None,
            })
            .collect();
        format!(
            "json: cannot unmarshal {found} into Go struct field {}.{} of type {}",
            inside.name,
            path.join("."),
            go_type(of)
        )
    }

    fn path_with_indexes(&self) -> String {
        let mut path = String::new();
        for step in &self.path {
            match step {
                Step::Embedded(_) => {}
                Step::Field(name) | Step::Key(name) => {
                    if !path.is_empty() {
                        path.push('.');
                    }
                    path.push_str(name);
                }
                Step::Index(index) => path.push_str(&format!("[{index}]")),
            }
        }
        path
    }
}

/// How a Go decoder names the type.
fn go_type(of: &Type) -> String {
    match of {
        Type::Text => "string".to_owned(),
        Type::Bool => "bool".to_owned(),
        Type::Int32 => "int32".to_owned(),
        Type::Int64 => "int64".to_owned(),
        Type::Quantity => "resource.Quantity".to_owned(),
        Type::Time => "v1.Time".to_owned(),
        Type::MicroTime => "v1.MicroTime".to_owned(),
        Type::IntOrString => "intstr.IntOrString".to_owned(),
        Type::Bytes => "[]uint8".to_owned(),
        Type::Any => "runtime.RawExtension".to_owned(),
        Type::List(item) => format!("[]{}", go_type(item)),
        Type::Map(item) => format!("map[string]{}", go_type(item)),
        Type::Object(index) => format!("v1.{}", object_type(*index).name),
    }
}

fn zero(of: &Type) -> Value {
    match of {
        Type::Text | Type::Bytes => "".into(),
        Type::Bool => false.into(),
        Type::Int32 | Type::Int64 | Type::IntOrString => 0.into(),
        Type::Quantity => "0".into(),
        Type::Object(_) => json!({}),
        _ => Value::Null,
    }
}

pub(super) fn quantity(value: &Value) -> Result<Value, Refusal> {
    let text = match value {
        Value::String(text) => text.trim().to_owned(),
        other => other.to_string(),
    };
    let parsed = Quantity::parse(&text).map_err(|error| error.to_string())?;
    Ok(parsed.to_string().into())
}

pub(super) fn time(value: &Value, form: &str) -> Result<Value, Refusal> {
    const PARSER: DateTimeParser = DateTimeParser::new();
    let text = value.as_str().unwrap_or_default();
    let moment: Timestamp = PARSER.parse_timestamp(text).map_err(|_| {
        format!(
            "parsing time {text:?} as \"2006-01-02T15:04:05Z07:00\": cannot parse {text:?} as \
             \"2006\""
        )
    })?;
    Ok(moment.strftime(form).to_string().into())
}

pub(super) fn bytes(value: &Value) -> Result<Value, Refusal> {
    use base64::Engine as _;
    let text: String = value.as_str().unwrap_or_default().split_whitespace().collect();
    match base64::engine::general_purpose::STANDARD.decode(&text) {
        Ok(_) => Ok(text.into()),
        Err(
            base64::DecodeError::InvalidByte(at, _) | base64::DecodeError::InvalidLastSymbol(at, _),
        ) => Err(format!("illegal base64 data at input byte {at}")),
        Err(_) => Err(format!("illegal base64 data at input byte {}", text.len())),
    }
}
