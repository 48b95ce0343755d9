//! From a request's body to an object in normal form, or the refusal.

use serde_json::{Map, Value};

use super::normal_form::Walk;
use super::protobuf::Envelope;
use super::table::{ObjectType, root};
use super::text::{self, Parsed};
use crate::cluster::embedded::refusal::bad_request;
use crate::cluster::embedded::status::ApiError;
use crate::model::kind::Kind;

/// How a body is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    Json,
    Yaml,
    /// `application/vnd.kubernetes.protobuf`. Says nothing of fields that are
    /// unknown or given twice.
    Protobuf,
}

impl Format {
    /// The format that a content type names; nothing named is JSON.
    pub fn named(content_type: &str) -> Option<Self> {
        match content_type.split(';').next().unwrap_or_default().trim() {
            "" | "application/json" => Some(Self::Json),
            "application/yaml" => Some(Self::Yaml),
            "application/vnd.kubernetes.protobuf" => Some(Self::Protobuf),
            _ => None,
        }
    }
}

/// What becomes of fields that are unknown or given twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum FieldValidation {
    /// Dropped.
    Ignore,
    /// Dropped, and told in `Warning` headers.
    #[default]
    Warn,
    /// Refused.
    Strict,
}

/// An object in normal form.
#[derive(Debug, PartialEq)]
pub struct Decoded {
    pub object: Value,
    /// Texts for `Warning` headers.
    pub warnings: Vec<String>,
}

/// Decodes the body of a create or an update at an endpoint of `kind`.
pub fn decode(
    kind: &'static Kind,
    body: &[u8],
    format: Format,
    validation: FieldValidation,
) -> Result<Decoded, ApiError> {
    let unrecognised = |error: String| {
        bad_request(format!(
            "the object provided is unrecognized (must be of type {}): {error} ({})",
            kind.kind,
            summary(body)
        ))
    };
    let cannot = |error: String| {
        bad_request(format!(
            "{0} in version \"{1}\" cannot be handled as a {0}: {error}",
            kind.kind, kind.version
        ))
    };
    let of = type_of(kind).map_err(cannot)?;
    let text = |parsed| {
        let given = Given::read(parsed).map_err(unrecognised)?;
        check_type(kind, given.text("apiVersion"), given.text("kind")).map(|()| given)
    };
    let given = match format {
        Format::Json => text(text::json(body))?,
        Format::Yaml => text(text::yaml(body))?,
        Format::Protobuf => {
            let envelope = Envelope::open(body).map_err(unrecognised)?;
            check_type(kind, &envelope.api_version, &envelope.kind)?;
            Given::once(envelope.fields(of).map_err(cannot)?)
        }
    };
    walk(kind, of, given, validation).map_err(cannot)
}

/// Decodes a body at an endpoint that takes what is no served kind: options, a
/// review. The error is the decoder's alone.
pub fn decode_as(of: &ObjectType, body: &[u8], format: Format) -> Result<Value, String> {
    let fields = match format {
        Format::Json => Given::read(text::json(body))?.fields,
        Format::Yaml => Given::read(text::yaml(body))?.fields,
        Format::Protobuf => {
            let envelope = Envelope::open(body)?;
            if !envelope.kind.is_empty() && envelope.kind != of.name {
                return Err(format!(
                    "no kind \"{}\" is registered for version \"{}\" where {} is expected",
                    envelope.kind, envelope.api_version, of.name
                ));
            }
            envelope.fields(of)?
        }
    };
    Walk::strict().fields(fields, of).map(Value::from)
}

/// Decodes what a patch has made of an object. The error is the decoder's
/// alone, for the caller to put into the answer's form.
pub fn decode_value(
    kind: &'static Kind,
    patched: Value,
    validation: FieldValidation,
) -> Result<Decoded, String> {
    match patched {
        Value::Object(fields) => walk(kind, type_of(kind)?, Given::once(fields), validation),
        other => {
            Err(format!("json: cannot unmarshal {other} into Go value of type v1.{}", kind.kind))
        }
    }
}

/// The fields of a body, not yet held against their type.
struct Given {
    fields: Map<String, Value>,
    /// Paths of fields that were given twice.
    duplicates: Vec<String>,
}

impl Given {
    /// Fields of which none was given twice.
    fn once(fields: Map<String, Value>) -> Self {
        Self { fields, duplicates: Vec::new() }
    }

    /// What was read must be an object.
    fn read(parsed: Result<Parsed, String>) -> Result<Self, String> {
        let untyped =
            |error: String| format!("couldn't get version/kind; json parse error: {error}");
        let Parsed { value, duplicates } = parsed.map_err(untyped)?;
        let found = match value {
            Value::Object(fields) => return Ok(Self { fields, duplicates }),
            Value::Array(_) => "array",
            Value::String(_) => "string",
            Value::Number(_) => "number",
            Value::Bool(_) => "bool",
            Value::Null => "null",
        };
        Err(untyped(format!(
            "json: cannot unmarshal {found} into Go value of type struct {{ APIVersion string \
             \"json:\\\"apiVersion,omitempty\\\"\"; Kind string \"json:\\\"kind,omitempty\\\"\" }}"
        )))
    }

    fn text(&self, key: &str) -> &str {
        self.fields.get(key).and_then(Value::as_str).unwrap_or_default()
    }
}

fn type_of(kind: &Kind) -> Result<&'static ObjectType, String> {
    root(kind).ok_or_else(|| format!("no type is known for {}", kind.kind))
}

fn walk(
    kind: &'static Kind,
    of: &ObjectType,
    given: Given,
    validation: FieldValidation,
) -> Result<Decoded, String> {
    let Given { fields, duplicates } = given;
    let mut walk = Walk::strict();
    let mut object = walk.fields(fields, of)?;
    object.insert("kind".to_owned(), kind.kind.into());
    object.insert("apiVersion".to_owned(), kind.api_version().into());
    let mut warnings: Vec<String> =
        walk.unknown.iter().map(|path| format!("unknown field \"{path}\"")).collect();
    warnings.extend(duplicates.iter().map(|path| format!("duplicate field \"{path}\"")));
    if validation == FieldValidation::Strict && !warnings.is_empty() {
        return Err(format!("strict decoding error: {}", warnings.join(", ")));
    }
    if validation == FieldValidation::Ignore {
        warnings.clear();
    }
    Ok(Decoded { object: order_type_first(object), warnings })
}

/// `kind` and `apiVersion` lead, also where the body had neither.
fn order_type_first(mut fields: Map<String, Value>) -> Value {
    if fields.keys().take(2).eq(["kind", "apiVersion"]) {
        return fields.into();
    }
    let mut ordered = Map::new();
    for key in ["kind", "apiVersion"] {
        if let Some((key, value)) = fields.shift_remove_entry(key) {
            ordered.insert(key, value);
        }
    }
    ordered.extend(fields);
    ordered.into()
}

/// A body may leave out what it is, but not say that it is something else.
fn check_type(kind: &'static Kind, api_version: &str, name: &str) -> Result<(), ApiError> {
    let expected = kind.api_version();
    let bad = |message: String| Err(bad_request(message));
    if !api_version.is_empty() && api_version != expected {
        return bad(format!(
            "the API version in the data ({api_version}) does not match the expected API version \
             ({expected})"
        ));
    }
    if name.is_empty() || name == kind.kind {
        return Ok(());
    }
    if Kind::by_type(&expected, name).is_none() {
        return bad(format!(
            "{name} in version \"{}\" cannot be handled as a {}: no kind \"{name}\" is registered \
             for version \"{expected}\" in scheme \"pkg/api/legacyscheme/scheme.go:30\"",
            kind.version, kind.kind
        ));
    }
    let group = kind.group.split('.').next().filter(|group| !group.is_empty()).unwrap_or("core");
    bad(format!(
        "{name} in version \"{0}\" cannot be handled as a {1}: converting ({0}.{name}) to \
         ({group}.{1}): unknown conversion",
        kind.version, kind.kind
    ))
}

/// The beginning of a body, for a message.
fn summary(body: &[u8]) -> String {
    const MAX: usize = 30;
    let head = &body[..body.len().min(MAX)];
    let more = if body.len() > MAX { " ..." } else { "" };
    match body.first() {
        None => "<empty>".to_owned(),
        Some(b'{') => format!("{}{more}", String::from_utf8_lossy(head)),
        Some(_) => {
            let hex: String = head.iter().map(|byte| format!("{byte:02x}")).collect();
            format!("{hex}{more}")
        }
    }
}
