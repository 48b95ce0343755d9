//! From a request's body to an object in normal form, or the refusal.

use serde_json::{Map, Value};

use super::normal_form::Walk;
use super::table::root;
use super::text::{Parsed, parse};
use crate::cluster::embedded::status::ApiError;
use crate::model::kind::Kind;

/// How a body is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    Json,
    Yaml,
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
    let bad = |message: String| ApiError::new(400, "BadRequest", message);
    let unrecognised = |error: String| {
        bad(format!(
            "the object provided is unrecognized (must be of type {}): couldn't get version/kind; \
             json parse error: {error} ({})",
            kind.kind,
            summary(body)
        ))
    };
    let Parsed { value, duplicates } = parse(body, format).map_err(unrecognised)?;
    let Value::Object(fields) = value else {
        let found = match value {
            Value::Array(_) => "array",
            Value::String(_) => "string",
            Value::Number(_) => "number",
            Value::Bool(_) => "bool",
            _ => "null",
        };
        return Err(unrecognised(format!(
            "json: cannot unmarshal {found} into Go value of type struct {{ APIVersion string \
             \"json:\\\"apiVersion,omitempty\\\"\"; Kind string \"json:\\\"kind,omitempty\\\"\" }}"
        )));
    };
    check_type(kind, &fields)?;
    let cannot = |error: String| {
        bad(format!(
            "{0} in version \"{1}\" cannot be handled as a {0}: {error}",
            kind.kind, kind.version
        ))
    };
    walk(kind, fields, duplicates, validation).map_err(cannot)
}

/// Decodes what a patch has made of an object. The error is the decoder's
/// alone, for the caller to put into the answer's form.
pub fn decode_value(
    kind: &'static Kind,
    patched: Value,
    validation: FieldValidation,
) -> Result<Decoded, String> {
    match patched {
        Value::Object(fields) => walk(kind, fields, Vec::new(), validation),
        other => {
            Err(format!("json: cannot unmarshal {other} into Go value of type v1.{}", kind.kind))
        }
    }
}

fn walk(
    kind: &'static Kind,
    fields: Map<String, Value>,
    duplicates: Vec<String>,
    validation: FieldValidation,
) -> Result<Decoded, String> {
    let of = root(kind).ok_or_else(|| format!("no type is known for {}", kind.kind))?;
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
fn check_type(kind: &'static Kind, fields: &Map<String, Value>) -> Result<(), ApiError> {
    let given = |key: &str| fields.get(key).and_then(Value::as_str).unwrap_or_default();
    let (api_version, name) = (given("apiVersion"), given("kind"));
    let expected = kind.api_version();
    let bad = |message: String| Err(ApiError::new(400, "BadRequest", message));
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
