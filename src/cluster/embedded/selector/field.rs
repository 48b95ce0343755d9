//! Field selectors: the fields that a kind's row names, and name and namespace.

use serde_json::Value;

use crate::cluster::embedded::kind::SelectableField;
use crate::cluster::embedded::refusal::bad_request;
use crate::cluster::embedded::registry::Served;
use crate::cluster::embedded::status::ApiError;
use crate::cluster::embedded::store::object::Stored;

/// One field, and what it must or must not be.
#[derive(Debug, Clone)]
pub struct FieldTerm {
    field: Field,
    value: String,
    equal: bool,
}

#[derive(Debug, Clone)]
enum Field {
    Name,
    Namespace,
    /// Kept beside the stored object, at this place.
    Kept(usize),
    /// Computed from the stored object: the kind is another shape of it.
    Computed(Served, fn(&Value) -> String),
}

impl FieldTerm {
    /// Whether an object in its present state is selected.
    pub fn holds(&self, stored: &Stored) -> bool {
        let is_equal = match &self.field {
            Field::Name => *stored.key.name == *self.value,
            Field::Namespace => *stored.key.namespace == *self.value,
            Field::Kept(at) => stored.fields.get(*at).is_some_and(|value| **value == *self.value),
            Field::Computed(served, value) => value(&served.stored_object(stored)) == self.value,
        };
        is_equal == self.equal
    }
}

/// Reads `a=b,c!=d`.
pub fn parse(text: &str, served: Served) -> Result<Vec<FieldTerm>, ApiError> {
    let mut terms = Vec::new();
    for term in split_unescaped(text) {
        if term.is_empty() {
            continue;
        }
        let Some((name, equal, value)) = split_operator(&term) else {
            return Err(bad_request(format!(
                "invalid selector: '{text}'; can't understand '{term}'"
            )));
        };
        let value = unescape(value).ok_or_else(|| {
            bad_request(format!("invalid field selector: invalid escape sequence in '{value}'"))
        })?;
        terms.push(FieldTerm { field: field(name, served)?, value, equal });
    }
    Ok(terms)
}

fn field(name: &str, served: Served) -> Result<Field, ApiError> {
    let own: &[SelectableField] = served.row.fields;
    let place = |fields: &[SelectableField]| fields.iter().position(|field| field.label == name);
    match name {
        "metadata.name" => Ok(Field::Name),
        "metadata.namespace" if served.names().namespaced => Ok(Field::Namespace),
        _ if served.row.shape.is_some() => place(own)
            .map(|at| Field::Computed(served, own[at].value))
            .ok_or_else(|| bad_request(format!("field label not supported: {name}"))),
        _ if !own.is_empty() => place(served.stored_fields)
            .map(Field::Kept)
            .ok_or_else(|| bad_request(format!("field label not supported: {name}"))),
        _ => Err(bad_request(format!(
            "\"{name}\" is not a known field selector: only \"metadata.name\", \"metadata.namespace\""
        ))),
    }
}

/// Splits at commas that no backslash escapes.
fn split_unescaped(text: &str) -> Vec<String> {
    let mut parts = vec![String::new()];
    let mut escaped = false;
    for c in text.chars() {
        if c == ',' && !escaped {
            parts.push(String::new());
            continue;
        }
        escaped = c == '\\' && !escaped;
        if let Some(part) = parts.last_mut() {
            part.push(c);
        }
    }
    parts
}

fn split_operator(term: &str) -> Option<(&str, bool, &str)> {
    let at = term.find(['=', '!'])?;
    let (name, rest) = term.split_at(at);
    let (equal, value) = match rest {
        rest if rest.starts_with("!=") => (false, &rest[2..]),
        rest if rest.starts_with("==") => (true, &rest[2..]),
        rest if rest.starts_with('=') => (true, &rest[1..]),
        _ => return None,
    };
    Some((name, equal, value))
}

/// Takes the escapes `\,`, `\=` and `\\` out; `None` for any other.
fn unescape(value: &str) -> Option<String> {
    let mut out = String::with_capacity(value.len());
    let mut chars = value.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' => out.push(chars.next().filter(|c| matches!(c, ',' | '=' | '\\'))?),
            ',' | '=' => return None,
            c => out.push(c),
        }
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escaped_commas_stay_in_field_values() {
        assert_eq!(split_unescaped(r"a=b\,c,d=e"), [r"a=b\,c", "d=e"]);
        assert_eq!(unescape(r"b\,c\=\\"), Some(r"b,c=\".to_owned()));
        assert_eq!(split_operator("a!=b"), Some(("a", false, "b")));
    }
}
