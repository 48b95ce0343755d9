//! ControllerRevisions: the templates that a StatefulSet has had, so that it
//! can tell its pods apart and go back.

use jiff::Timestamp;
use serde_json::Value;

use super::json::{integer, is_true, list, text};
use super::table::{AGE, NAME, age, column, name, or, typed};
use crate::cluster::embedded::kind::{Column, ServedKind};
use crate::cluster::embedded::status::FieldErrors;
use crate::cluster::embedded::validation::{immutable, metadata, names};
use crate::model::kind;

/// ControllerRevisions as they are served.
pub static ROW: ServedKind = ServedKind {
    names: kind::CONTROLLER_REVISION,
    columns: COLUMNS,
    cells,
    validate,
    validate_update,
    ..super::BASE
};

const COLUMNS: &[Column] = &[
    NAME,
    column("Controller", "Whose template it is."),
    typed("Revision", "integer", "Which came when: the highest is the newest."),
    AGE,
];

fn cells(object: &Value, now: Timestamp) -> Vec<Value> {
    let owners = list(object, "/metadata/ownerReferences").iter();
    let controller = owners.into_iter().find(|owner| is_true(owner, "/controller"));
    let controller = controller.map(|owner| {
        let group = text(owner, "/apiVersion").split_once('/').map(|(group, _)| group);
        let kind = text(owner, "/kind").to_ascii_lowercase();
        let dot = if group.is_some() { "." } else { "" };
        format!("{kind}{dot}{}/{}", group.unwrap_or_default(), text(owner, "/name"))
    });
    vec![
        name(object),
        or(controller.as_deref().unwrap_or_default(), "<none>").into(),
        integer(object, "/revision").into(),
        age(object, now),
    ]
}

fn validate(object: &Value, errors: &mut FieldErrors) {
    metadata::validate(object, kind::CONTROLLER_REVISION, names::subdomain, errors);
    let revision = integer(object, "/revision");
    if revision < 0 {
        errors.invalid("revision", revision, "must be greater than or equal to 0");
    }
}

fn validate_update(object: &Value, old: &Value, _: Option<&str>, errors: &mut FieldErrors) {
    metadata::validate_update(object, old, errors);
    validate(object, errors);
    immutable("data", object.get("data"), old.get("data"), errors);
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::testing::*;
    use super::*;

    #[test]
    fn a_revision_keeps_its_data_and_may_get_a_new_number() {
        let body = json!({
            "metadata": {"name": "web-5d4", "namespace": "n", "resourceVersion": "1"},
            "data": {"spec": {"template": {}}}, "revision": 1,
        });
        let stored = taken(&ROW, &body, &Objects(Vec::new())).expect("a revision");
        check_changes(
            &ROW,
            &stored,
            &[
                (json!({"revision": 4}), &[]),
                (
                    json!({"revision": -1}),
                    &["revision: Invalid value: -1: must be greater than or equal to 0"],
                ),
            ],
        );
        let refused = change_refusals(&ROW, &stored, &json!({"data": {"spec": {"x": 1}}}));
        assert!(refused[0].contains("field is immutable"), "{refused:?}");
    }
}
