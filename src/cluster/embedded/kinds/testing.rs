//! An object's way in without a server, for the tests of the kinds.

use serde_json::{Value, json};

use crate::cluster::embedded::kind::{AdmissionView, ServedKind};
use crate::cluster::embedded::schema::{self, FieldValidation, Format};
use crate::cluster::embedded::status::{ApiError, FieldErrors};
use crate::model::kind::Kind;

/// What admission sees: these objects and no others.
pub struct Objects(pub Vec<(&'static Kind, Value)>);

impl AdmissionView for Objects {
    fn list(&self, kind: &'static Kind, _: Option<&str>) -> Vec<Value> {
        self.0.iter().filter(|(of, _)| *of == kind).map(|(_, object)| object.clone()).collect()
    }

    fn get(&self, kind: &'static Kind, _: Option<&str>, name: &str) -> Option<Value> {
        self.list(kind, None).into_iter().find(|object| object["metadata"]["name"] == name)
    }
}

pub fn now() -> jiff::Timestamp {
    "2026-01-01T00:00:00Z".parse().expect("a time")
}

/// The object as a server would store it, without validation.
#[track_caller]
pub fn taken(row: &ServedKind, body: &Value, objects: &Objects) -> Result<Value, ApiError> {
    let text = body.to_string();
    let decoded =
        schema::decode(row.names, text.as_bytes(), Format::Json, FieldValidation::Strict)?;
    let mut object = decoded.object;
    (row.default)(&mut object);
    (row.admit)(&mut object, None, objects)?;
    (row.prepare)(&mut object, None, None, now());
    schema::normalise(row.names, &mut object);
    Ok(object)
}

/// What is wrong with a new object.
#[track_caller]
pub fn refusals(row: &ServedKind, body: &Value) -> Vec<String> {
    let object = taken(row, body, &Objects(Vec::new())).expect("it decodes");
    let mut errors = FieldErrors::default();
    (row.validate)(&object, &mut errors);
    errors.0.iter().map(ToString::to_string).collect()
}

/// What is wrong with a change of a stored object by a merge patch.
#[track_caller]
pub fn change_refusals(row: &ServedKind, stored: &Value, patch: &Value) -> Vec<String> {
    let mut object = stored.clone();
    json_patch::merge(&mut object, patch);
    let mut object = schema::decode_value(row.names, object, FieldValidation::Strict)
        .expect("it decodes")
        .object;
    (row.default)(&mut object);
    (row.prepare)(&mut object, Some(stored), None, now());
    schema::normalise(row.names, &mut object);
    let mut errors = FieldErrors::default();
    (row.validate_update)(&object, stored, None, &mut errors);
    errors.0.iter().map(ToString::to_string).collect()
}

/// Checks rows of: a merge patch onto `base`, the refusals of the result.
#[track_caller]
pub fn check_refusals(row: &ServedKind, base: &Value, cases: &[(Value, &[&str])]) {
    let mut wrong = Vec::new();
    for (patch, expected) in cases {
        let mut body = base.clone();
        json_patch::merge(&mut body, patch);
        let found = refusals(row, &body);
        if found != *expected {
            wrong.push(format!("{patch}\n  expected {expected:#?}\n  found    {found:#?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Checks rows of: a merge patch onto the stored object, its refusals.
#[track_caller]
pub fn check_changes(row: &ServedKind, stored: &Value, cases: &[(Value, &[&str])]) {
    let mut wrong = Vec::new();
    for (patch, expected) in cases {
        let found = change_refusals(row, stored, patch);
        let first_lines: Vec<_> =
            found.iter().map(|text| text.lines().next().unwrap_or_default()).collect();
        if first_lines != *expected {
            wrong.push(format!("{patch}\n  expected {expected:#?}\n  found    {first_lines:#?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// A volume as a server would store it.
pub fn stored_volume() -> Value {
    let body = json!({
        "metadata": {"name": "v", "uid": "u", "resourceVersion": "1"},
        "spec": {
            "capacity": {"storage": "1Gi"}, "accessModes": ["ReadWriteOnce"],
            "nfs": {"server": "s", "path": "/"},
        },
    });
    let row = &super::persistent_volume::ROW;
    taken(row, &body, &Objects(Vec::new())).expect("a volume")
}
