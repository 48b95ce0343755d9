//! Events: what happened to an object. One storage, two shapes: the core one,
//! which is stored, and that of `events.k8s.io`.

use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Map, Value};

use super::json::{entries, integer, is_set, text};
use super::table::{column, or, since, wide};
use crate::cluster::embedded::kind::{Column, SelectableField, ServedKind, Shape, Traits};
use crate::cluster::embedded::schema::normalise;
use crate::cluster::embedded::status::FieldErrors;
use crate::cluster::embedded::validation::{immutable, metadata, names};
use crate::model::kind;

/// Events of the core group, as they are stored.
pub static ROW: ServedKind = BASE;

/// The same events in the shape of `events.k8s.io`.
pub static REGARDING_ROW: ServedKind = ServedKind {
    names: kind::EVENT_V1,
    shape: Some(&Shape { stored: kind::EVENT, to_stored, from_stored }),
    fields: REGARDING_FIELDS,
    validate: validate_regarding,
    validate_update: validate_regarding_update,
    ..BASE
};

const BASE: ServedKind = ServedKind {
    names: kind::EVENT,
    traits: Traits { create_on_update: true, lifetime: Some(LIFETIME), ..super::PLAIN },
    columns: COLUMNS,
    cells,
    fields: FIELDS,
    validate,
    validate_update,
    ..super::BASE
};

/// How long an event is kept after its last write.
const LIFETIME: Duration = Duration::from_secs(3600);

const COLUMNS: &[Column] = &[
    column("Last Seen", "Time since it happened last."),
    column("Type", "Normal, or Warning."),
    column("Reason", "What happened, in a word."),
    column("Object", "To which object it happened."),
    wide("Subobject", "The part of the object it is about."),
    wide("Source", "Who reports it, and from which host."),
    column("Message", "What happened, in a sentence."),
    wide("First Seen", "Time since it happened first."),
    wide("Count", "How often it happened."),
    Column { format: "name", ..wide("Name", "The event's own name.") },
];

macro_rules! fields {
    ($($label:literal $pointer:literal)*) => {
        &[$(SelectableField {
            label: $label,
            value: |object| text(object, $pointer).to_owned(),
        },)*]
    };
}

/// The pointers are those of the stored shape, in both tables.
const FIELDS: &[SelectableField] = fields! {
    "involvedObject.kind" "/involvedObject/kind"
    "involvedObject.namespace" "/involvedObject/namespace"
    "involvedObject.name" "/involvedObject/name"
    "involvedObject.uid" "/involvedObject/uid"
    "involvedObject.apiVersion" "/involvedObject/apiVersion"
    "involvedObject.resourceVersion" "/involvedObject/resourceVersion"
    "involvedObject.fieldPath" "/involvedObject/fieldPath"
    "reason" "/reason"
    "reportingComponent" "/reportingComponent"
    "source" "/source/component"
    "type" "/type"
};

const REGARDING_FIELDS: &[SelectableField] = fields! {
    "regarding.kind" "/involvedObject/kind"
    "regarding.namespace" "/involvedObject/namespace"
    "regarding.name" "/involvedObject/name"
    "regarding.uid" "/involvedObject/uid"
    "regarding.apiVersion" "/involvedObject/apiVersion"
    "regarding.resourceVersion" "/involvedObject/resourceVersion"
    "regarding.fieldPath" "/involvedObject/fieldPath"
    "reason" "/reason"
    "reportingController" "/reportingComponent"
    "type" "/type"
};

/// Fields that only change their names between the shapes: stored, other.
const RENAMED: &[(&str, &str)] = &[
    ("message", "note"),
    ("involvedObject", "regarding"),
    ("reportingComponent", "reportingController"),
    ("count", "deprecatedCount"),
    ("firstTimestamp", "deprecatedFirstTimestamp"),
    ("lastTimestamp", "deprecatedLastTimestamp"),
    ("source", "deprecatedSource"),
];

fn to_stored(object: &mut Value) {
    rename(object, "v1", |name| {
        RENAMED.iter().find(|(_, other)| *other == name).map(|(stored, _)| *stored)
    });
}

fn from_stored(object: &mut Value) {
    rename(object, "events.k8s.io/v1", |name| {
        RENAMED.iter().find(|(stored, _)| *stored == name).map(|(_, other)| *other)
    });
    // What is always written in one shape is left out of the other.
    normalise(kind::EVENT_V1, object);
}

fn rename(object: &mut Value, api_version: &str, new_name: impl Fn(&str) -> Option<&'static str>) {
    let Some(fields) = object.as_object_mut() else { return };
    let renamed: Map<String, Value> = std::mem::take(fields)
        .into_iter()
        .map(|(name, value)| match new_name(&name) {
            Some(new) => (new.to_owned(), value),
            None if name == "apiVersion" => (name, api_version.into()),
            None => (name, value),
        })
        .collect();
    *fields = renamed;
}

fn cells(object: &Value, now: Timestamp) -> Vec<Value> {
    let time_of = |pointers: &[&str]| {
        let moment = pointers.iter().map(|p| text(object, p)).find(|moment| !moment.is_empty());
        since(moment.unwrap_or_default(), now)
    };
    let first = time_of(&["/firstTimestamp", "/eventTime"]);
    let (last, count) = if is_set(object, "/series") {
        (time_of(&["/series/lastObservedTime"]), integer(object, "/series/count"))
    } else {
        (
            time_of(&["/lastTimestamp", "/firstTimestamp", "/eventTime"]),
            match integer(object, "/count") {
                0 => 1,
                count => count,
            },
        )
    };
    let regarding = match text(object, "/involvedObject/name") {
        "" => text(object, "/involvedObject/kind").to_lowercase(),
        name => format!("{}/{name}", text(object, "/involvedObject/kind").to_lowercase()),
    };
    vec![
        last.into(),
        text(object, "/type").into(),
        text(object, "/reason").into(),
        regarding.into(),
        text(object, "/involvedObject/fieldPath").into(),
        source(object).into(),
        text(object, "/message").trim().into(),
        first.into(),
        count.into(),
        text(object, "/metadata/name").into(),
    ]
}

/// Who reports: component and host, whichever pair of fields has them.
fn source(event: &Value) -> String {
    let component = or(text(event, "/source/component"), text(event, "/reportingComponent"));
    let host = or(text(event, "/source/host"), text(event, "/reportingInstance"));
    if host.is_empty() { component.to_owned() } else { format!("{component}, {host}") }
}

fn validate(object: &Value, errors: &mut FieldErrors) {
    metadata::validate(object, kind::EVENT, names::subdomain, errors);
    validate_either(object, "reportingComponent", errors);
}

/// The rules of both shapes. An event without `eventTime` is of the old kind
/// and held to little.
fn validate_either(object: &Value, reporter: &str, errors: &mut FieldErrors) {
    let regarding = text(object, "/involvedObject/namespace");
    let own = text(object, "/metadata/namespace");
    let old_kind = !is_set(object, "/eventTime");
    let right_namespace = match regarding {
        "" if old_kind => matches!(own, "" | "default"),
        "" => matches!(own, "default" | "kube-system"),
        _ => regarding == own,
    };
    if !right_namespace {
        errors.invalid("involvedObject.namespace", regarding, "does not match event.namespace");
    }
    if old_kind {
        return;
    }
    let controller = text(object, "/reportingComponent");
    if controller.is_empty() {
        errors.required(reporter, "");
    }
    for wrong in names::qualified(controller) {
        errors.invalid(reporter, controller, wrong);
    }
    for field in ["reportingInstance", "action", "reason"] {
        let given = text(object, &format!("/{field}"));
        if given.is_empty() {
            errors.required(field, "");
        }
        at_most(given, 128, field, errors);
    }
    at_most(text(object, "/message"), 1024, "message", errors);
}

fn at_most(given: &str, limit: usize, path: &str, errors: &mut FieldErrors) {
    if given.len() > limit {
        errors.invalid(path, "", format!("can have at most {limit} characters"));
    }
}

/// What the newer group asks beyond that, of an event in the stored shape.
fn validate_regarding(object: &Value, errors: &mut FieldErrors) {
    validate_either(object, "reportingController", errors);
    metadata::validate(object, kind::EVENT_V1, names::subdomain, errors);
    if !is_set(object, "/eventTime") {
        errors.required("eventTime", "");
    }
    let kind = text(object, "/type");
    if !matches!(kind, "Normal" | "Warning") {
        errors.invalid("type", "", format!("has invalid value: {kind}"));
    }
    for (field, path) in [
        ("firstTimestamp", "deprecatedFirstTimestamp"),
        ("lastTimestamp", "deprecatedLastTimestamp"),
    ] {
        if is_set(object, &format!("/{field}")) {
            errors.invalid(path, "", "needs to be unset");
        }
    }
    if integer(object, "/count") != 0 {
        errors.invalid("deprecatedCount", "", "needs to be unset");
    }
    if entries(object, "/source").next().is_some() {
        errors.invalid("deprecatedSource", "", "needs to be unset");
    }
}

fn validate_update(object: &Value, old: &Value, _: Option<&str>, errors: &mut FieldErrors) {
    metadata::validate_update(object, old, errors);
    validate_either(object, "reportingComponent", errors);
}

/// Through the newer group an event may only be counted on.
fn validate_regarding_update(
    object: &Value,
    old: &Value,
    _: Option<&str>,
    errors: &mut FieldErrors,
) {
    metadata::validate_update(object, old, errors);
    for (field, path) in [
        ("involvedObject", "involvedObject"),
        ("reason", "reason"),
        ("message", "message"),
        ("source", "source"),
        ("firstTimestamp", "firstTimestamp"),
        ("lastTimestamp", "lastTimestamp"),
        ("count", "count"),
        ("type", "type"),
        ("action", "action"),
        ("related", "related"),
        ("reportingComponent", "reportingController"),
        ("reportingInstance", "reportingInstance"),
    ] {
        immutable(path, object.get(field), old.get(field), errors);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_event_keeps_everything_through_both_shapes() {
        let stored = json!({
            "kind": "Event", "apiVersion": "v1", "metadata": {"name": "e"},
            "involvedObject": {"kind": "Pod", "name": "p"}, "reason": "R", "message": "m",
            "source": {"component": "c"}, "count": 2, "type": "Normal",
        });
        let mut other = stored.clone();
        from_stored(&mut other);
        assert_eq!(other["note"], "m");
        assert_eq!(other["regarding"]["name"], "p");
        assert_eq!(other["apiVersion"], "events.k8s.io/v1");
        to_stored(&mut other);
        normalise(kind::EVENT, &mut other);
        let mut expected = stored;
        normalise(kind::EVENT, &mut expected);
        assert_eq!(other, expected);
    }

    fn told_strictly() -> Value {
        json!({
            "metadata": {"name": "e", "namespace": "n", "resourceVersion": "1"},
            "eventTime": "2026-01-01T00:00:00.000000Z", "type": "Normal", "reason": "R",
            "action": "A", "note": "n", "reportingController": "example.com/c",
            "reportingInstance": "c-0", "regarding": {"kind": "Pod", "namespace": "n", "name": "p"},
        })
    }

    fn strict_refusals(change: &Value) -> Vec<String> {
        let mut body = told_strictly();
        json_patch::merge(&mut body, change);
        to_stored(&mut body);
        normalise(kind::EVENT, &mut body);
        let mut errors = FieldErrors::default();
        (REGARDING_ROW.validate)(&body, &mut errors);
        errors.0.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn the_newer_group_is_strict() {
        assert_eq!(strict_refusals(&json!({})), Vec::<String>::new());
        assert_eq!(strict_refusals(&json!({"eventTime": null})), ["eventTime: Required value"]);
        assert_eq!(strict_refusals(&json!({"action": null})), ["action: Required value"]);
        assert_eq!(
            strict_refusals(&json!({"type": "Odd"})),
            ["type: Invalid value: \"\": has invalid value: Odd"]
        );
        assert_eq!(
            strict_refusals(&json!({"deprecatedCount": 2})),
            ["deprecatedCount: Invalid value: \"\": needs to be unset"]
        );
        assert_eq!(
            strict_refusals(&json!({"regarding": {"namespace": "m"}})),
            ["involvedObject.namespace: Invalid value: \"m\": does not match event.namespace"]
        );
    }

    #[test]
    fn through_the_newer_group_only_the_series_changes() {
        let mut stored = told_strictly();
        to_stored(&mut stored);
        normalise(kind::EVENT, &mut stored);
        let refused = |change: Value| {
            let mut event = stored.clone();
            json_patch::merge(&mut event, &change);
            let mut errors = FieldErrors::default();
            (REGARDING_ROW.validate_update)(&event, &stored, None, &mut errors);
            errors.0.len()
        };
        let series =
            json!({"series": {"count": 2, "lastObservedTime": "2026-01-01T00:00:00.000000Z"}});
        assert_eq!(refused(series), 0);
        assert_eq!(refused(json!({"reason": "S"})), 1);
    }
}
