//! Nothing that a client or an import can send makes a kind panic.

use proptest::prelude::*;
use serde_json::{Map, Value};

use super::testing::{Objects, now};
use super::{ALL, json};
use crate::cluster::embedded::schema::{self, FieldValidation, object_types};
use crate::cluster::embedded::status::FieldErrors;
use crate::model::kind;

/// Names of fields that the types have, and one that none has.
fn names() -> Vec<String> {
    let fields = object_types().iter().flat_map(|of| &of.fields).map(|field| field.name.to_owned());
    let mut names: Vec<String> = fields.chain(["storage".into(), "nobody".into()]).collect();
    names.sort();
    names.dedup();
    names
}

fn leaf() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        ".{0,6}".prop_map(Value::from),
        prop::sample::select(vec![
            "",
            "1Gi",
            "-1",
            "9223372036854775808",
            "1e999",
            "ReadWriteOnce",
            "Bound",
            "None",
            "2026-01-01T00:00:00Z",
            "In",
            "Always",
            "a/b/c",
            "%",
            "25%",
        ])
        .prop_map(Value::from),
    ]
}

/// Any JSON, with a liking for the names of fields.
fn any_json() -> impl Strategy<Value = Value> {
    let names = names();
    leaf().prop_recursive(6, 64, 6, move |inner| {
        let entry = (prop::sample::select(names.clone()), inner.clone());
        prop_oneof![
            prop::collection::vec(inner, 0..4).prop_map(Value::Array),
            prop::collection::vec(entry, 0..6)
                .prop_map(|entries| Value::Object(entries.into_iter().collect::<Map<_, _>>())),
        ]
    })
}

/// An object with the parts that every kind looks into.
fn any_object() -> impl Strategy<Value = Value> {
    (any_json(), any_json(), any_json()).prop_map(|(metadata, spec, status)| {
        serde_json::json!({"metadata": metadata, "spec": spec, "status": status})
    })
}

fn exercise(object: &Value, old: &Value) {
    let view = Objects(vec![(kind::STORAGE_CLASS, old.clone())]);
    for row in ALL {
        for before in [None, Some(old)] {
            for subresource in [None, Some("status"), Some("finalize")] {
                let mut object = object.clone();
                (row.default)(&mut object);
                // A refusal is as good as any outcome.
                let _ = (row.admit)(&mut object, before, &view);
                (row.prepare)(&mut object, before, subresource, now());
                schema::normalise(row.names, &mut object);
                let mut errors = FieldErrors::default();
                match before {
                    None => (row.validate)(&object, &mut errors),
                    Some(old) => (row.validate_update)(&object, old, subresource, &mut errors),
                }
                let _ = errors.into_error(row.names.group, row.names.kind, "x").body();
                let _ = (row.warnings)(&object);
                let _ = (row.cells)(&object, now());
                for field in row.fields {
                    let _ = (field.value)(&object);
                }
                if let Some(shape) = row.shape {
                    (shape.to_stored)(&mut object);
                    (shape.from_stored)(&mut object);
                }
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_json_makes_a_kind_panic(object in prop_oneof![any_json(), any_object()], old in any_object()) {
        exercise(&object, &old);
    }

    #[test]
    fn what_decodes_keeps_its_normal_form(object in any_object()) {
        for row in ALL {
            let Ok(decoded) = schema::decode_value(row.names, object.clone(), FieldValidation::Ignore)
            else { continue };
            let mut again = decoded.object.clone();
            schema::normalise(row.names, &mut again);
            json::put(&mut again, "kind", Some(row.names.kind.into()));
            prop_assert_eq!(&again, &decoded.object, "{}", row.names.kind);
        }
    }
}
