//! Whether a value is in the normal form of its type already, found without
//! building anything.
//!
//! Most of what is written is: a patch changes a few fields of an object that
//! was in normal form. Rebuilding all of it was a tenth of a write's cost.
//! Where this says no, the walk decides, so it may err on that side.

use serde_json::{Map, Value};

use super::normal_form::{MICRO_TIME, TIME, bytes, quantity, time};
use super::table::{Field, ObjectType, Presence, Type, object_type};

/// Whether fields are in the order of their type, each in normal form, and
/// none is there that is left out or absent that is always written.
pub(super) fn are_normal(given: &Map<String, Value>, of: &ObjectType) -> bool {
    let mut expected = of.fields.iter();
    let in_order = given.iter().all(|(name, value)| {
        let field = expected.by_ref().find(|field| field.name == name || is_written_unset(field));
        field.is_some_and(|field| field.name == name && is_normal_in(value, field))
    });
    in_order && !expected.any(is_written_unset)
}

/// Whether something is written for a field that is not set.
fn is_written_unset(field: &Field) -> bool {
    match field.presence {
        Presence::Always => true,
        Presence::OmitZero => false,
        Presence::OmitEmpty => !field.optional && has_no_absence(&field.of),
    }
}

fn has_no_absence(of: &Type) -> bool {
    matches!(
        of,
        Type::Object(_) | Type::Time | Type::MicroTime | Type::IntOrString | Type::Quantity
    )
}

fn is_normal_in(value: &Value, field: &Field) -> bool {
    let is_kept = field.optional
        || match (field.presence, value) {
            (Presence::Always, _) => true,
            (Presence::OmitZero, Value::Object(map)) => !map.is_empty(),
            (Presence::OmitZero, _) => true,
            (Presence::OmitEmpty, value) => !is_empty(value, &field.of),
        };
    is_kept && is_normal(value, &field.of)
}

/// Whether a value is left out where empty ones are.
fn is_empty(value: &Value, of: &Type) -> bool {
    match value {
        Value::Null => true,
        Value::Bool(flag) => !flag,
        Value::Number(number) => number.as_f64() == Some(0.0) && *of != Type::IntOrString,
        Value::String(text) => text.is_empty() && *of != Type::IntOrString,
        Value::Array(list) => list.is_empty(),
        Value::Object(map) => map.is_empty() && matches!(of, Type::Map(_)),
    }
}

fn is_normal(value: &Value, of: &Type) -> bool {
    match (of, value) {
        (_, Value::Null) => false,
        (Type::Any, _)
        | (Type::Text | Type::IntOrString, Value::String(_))
        | (Type::Bool, Value::Bool(_)) => true,
        (Type::Object(index), Value::Object(map)) => are_normal(map, object_type(*index)),
        (Type::Map(item), Value::Object(map)) => {
            map.keys().is_sorted() && map.values().all(|value| is_normal(value, item))
        }
        (Type::List(item), Value::Array(list)) => list.iter().all(|value| is_normal(value, item)),
        (Type::Int32 | Type::IntOrString, Value::Number(n)) => {
            n.as_i64().is_some_and(|n| i32::try_from(n).is_ok())
        }
        (Type::Int64, Value::Number(n)) => n.is_i64(),
        (Type::Quantity, Value::String(_)) => quantity(value).as_ref() == Ok(value),
        (Type::Time, Value::String(text)) => {
            is_plain_time(text.as_bytes()) || time(value, TIME).as_ref() == Ok(value)
        }
        (Type::MicroTime, Value::String(_)) => time(value, MICRO_TIME).as_ref() == Ok(value),
        (Type::Bytes, Value::String(_)) => bytes(value).as_ref() == Ok(value),
        _ => false,
    }
}

/// Whether a text is a time as the API writes it, on one of the days that every
/// month has: no calendar is needed for those.
fn is_plain_time(text: &[u8]) -> bool {
    let [
        y0,
        y1,
        y2,
        y3,
        b'-',
        m0,
        m1,
        b'-',
        d0,
        d1,
        b'T',
        h0,
        h1,
        b':',
        n0,
        n1,
        b':',
        s0,
        s1,
        b'Z',
    ] = *text
    else {
        return false;
    };
    let digits = [y0, y1, y2, y3, m0, m1, d0, d1, h0, h1, n0, n1, s0, s1];
    let number = |tens: u8, ones: u8| (tens - b'0') * 10 + (ones - b'0');
    digits.iter().all(u8::is_ascii_digit)
        && (1..=12).contains(&number(m0, m1))
        && (1..=28).contains(&number(d0, d1))
        && number(h0, h1) < 24
        && number(n0, n1) < 60
        && number(s0, s1) < 60
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::cluster::embedded::schema::table::named;

    #[test]
    fn what_the_walk_would_change_is_not_normal() {
        let claim = named("core.v1.PersistentVolumeClaim").expect("claims have a type");
        let normal = json!({
            "kind": "PersistentVolumeClaim", "apiVersion": "v1",
            "metadata": {"name": "a", "creationTimestamp": "2026-02-28T23:59:59Z", "labels": {"a": "", "b": "c"}},
            "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}, "storageClassName": ""},
            "status": {},
        });
        let is_normal = |object: &Value| are_normal(object.as_object().expect("an object"), claim);
        assert!(is_normal(&normal));
        for (pointer, other) in [
            ("/kind", json!("")),
            ("/metadata/name", json!(7)),
            ("/metadata/creationTimestamp", json!("2026-02-30T00:00:00Z")),
            ("/metadata/creationTimestamp", json!("2026-02-01T00:00:00+01:00")),
            ("/metadata/labels", json!({"b": "", "a": ""})),
            ("/metadata/labels/a", json!(null)),
            ("/spec/accessModes", json!([])),
            ("/spec/resources", json!(null)),
            ("/spec/resources/requests/storage", json!("1024Mi")),
            ("/spec/resources/requests/storage", json!(1)),
            ("/spec", json!({"storageClassName": "", "resources": {}})),
            ("/spec", json!({"resources": {}, "surplus": 1})),
            ("/spec", json!({})),
        ] {
            let mut changed = normal.clone();
            *changed.pointer_mut(pointer).expect("a field") = other;
            assert!(!is_normal(&changed), "{pointer}: {changed}");
        }
        let mut incomplete = normal;
        incomplete.as_object_mut().expect("an object").shift_remove("status");
        assert!(!is_normal(&incomplete));
    }
}
