//! Decoding and normal form, by example.

use serde_json::{Value, json};

use super::{FieldValidation, Format, decode, normalise};
use crate::model::kind::{self, Kind};

fn decoded(kind: &'static Kind, body: &Value) -> Value {
    decode(kind, body.to_string().as_bytes(), Format::Json, FieldValidation::Strict)
        .expect("it decodes")
        .object
}

#[track_caller]
fn refused(kind: &'static Kind, body: &str, message: &str) {
    let error = decode(kind, body.as_bytes(), Format::Json, FieldValidation::Strict).unwrap_err();
    assert_eq!((error.code, error.reason, error.message.as_str()), (400, "BadRequest", message));
}

#[test]
fn quantities_times_and_numbers_become_canonical() {
    let body = json!({
        "kind": "PersistentVolumeClaim", "apiVersion": "v1",
        "metadata": {"name": "c", "creationTimestamp": "2026-01-01T02:00:00+01:00", "labels": {"b": "1", "a": "2"}},
        "spec": {"resources": {"requests": {"storage": "0.5Gi"}, "limits": {"storage": 1024}}},
    });
    assert_eq!(
        decoded(kind::PERSISTENT_VOLUME_CLAIM, &body).to_string(),
        json!({
            "kind": "PersistentVolumeClaim", "apiVersion": "v1",
            "metadata": {"name": "c", "creationTimestamp": "2026-01-01T01:00:00Z", "labels": {"a": "2", "b": "1"}},
            "spec": {"resources": {"limits": {"storage": "1024"}, "requests": {"storage": "512Mi"}}},
            "status": {},
        })
        .to_string()
    );
}

#[test]
fn absent_and_empty_are_one_unless_the_field_tells_them_apart() {
    let body = json!({
        "spec": {"accessModes": [], "volumeName": "", "storageClassName": "", "volumeMode": null},
    });
    let claim = decoded(kind::PERSISTENT_VOLUME_CLAIM, &body);
    assert_eq!(claim["spec"], json!({"resources": {}, "storageClassName": ""}));
}

#[test]
fn what_is_always_written_is_there() {
    let mut attachment = json!({"metadata": {"name": "a"}});
    normalise(kind::VOLUME_ATTACHMENT, &mut attachment);
    assert_eq!(
        attachment,
        json!({
            "metadata": {"name": "a"},
            "spec": {"attacher": "", "source": {}, "nodeName": ""},
            "status": {"attached": false},
        })
    );
    let mut lease = json!({"spec": {"renewTime": "2026-01-01T00:00:00.5Z"}});
    normalise(kind::LEASE, &mut lease);
    assert_eq!(lease["spec"]["renewTime"], "2026-01-01T00:00:00.500000Z");
}

#[test]
fn a_wrong_type_is_refused_with_its_path() {
    refused(
        kind::PERSISTENT_VOLUME_CLAIM,
        r#"{"spec": {"resources": "much"}}"#,
        "PersistentVolumeClaim in version \"v1\" cannot be handled as a PersistentVolumeClaim: \
         json: cannot unmarshal string into Go struct field PersistentVolumeClaimSpec.spec.resources \
         of type v1.VolumeResourceRequirements",
    );
    refused(
        kind::POD,
        r#"{"spec": {"containers": [{"env": [{"name": "A", "value": 1}]}]}}"#,
        "Pod in version \"v1\" cannot be handled as a Pod: json: cannot unmarshal number into Go \
         struct field EnvVar.spec.containers.env.value of type string",
    );
    // Go names what it embeds, and no keys of maps.
    refused(
        kind::POD,
        r#"{"spec": {"volumes": [{"name": "v", "nfs": {"server": 1}}]}}"#,
        "Pod in version \"v1\" cannot be handled as a Pod: json: cannot unmarshal number into Go \
         struct field NFSVolumeSource.spec.volumes.VolumeSource.nfs.server of type string",
    );
    refused(
        kind::CONFIG_MAP,
        r#"{"metadata": {"labels": {"x": true}}}"#,
        "ConfigMap in version \"v1\" cannot be handled as a ConfigMap: json: cannot unmarshal bool \
         into Go struct field ObjectMeta.metadata.labels of type string",
    );
    for storage in [r#""lots""#, "true"] {
        refused(
            kind::PERSISTENT_VOLUME,
            &format!(r#"{{"spec": {{"capacity": {{"storage": {storage}}}}}}}"#),
            "PersistentVolume in version \"v1\" cannot be handled as a PersistentVolume: quantities \
             must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'",
        );
    }
}

#[test]
fn fields_unknown_or_twice_there_are_told_or_refused() {
    let body = r#"{"spec": {"containers": [{"name": "c", "volumes": []}], "hostPID": true, "hostPID": true}}"#;
    refused(
        kind::POD,
        body,
        "Pod in version \"v1\" cannot be handled as a Pod: strict decoding error: unknown field \
         \"spec.containers[0].volumes\", duplicate field \"spec.hostPID\"",
    );
    let warned = decode(kind::POD, body.as_bytes(), Format::Json, FieldValidation::Warn)
        .expect("it decodes");
    assert_eq!(
        warned.warnings,
        ["unknown field \"spec.containers[0].volumes\"", "duplicate field \"spec.hostPID\""]
    );
    assert!(!warned.object.to_string().contains("volumes"));
}

#[test]
fn a_body_of_another_kind_or_version_is_refused() {
    refused(
        kind::PERSISTENT_VOLUME_CLAIM,
        r#"{"apiVersion": "apps/v1", "kind": "StatefulSet"}"#,
        "the API version in the data (apps/v1) does not match the expected API version (v1)",
    );
    refused(
        kind::PERSISTENT_VOLUME_CLAIM,
        r#"{"apiVersion": "v1", "kind": "PersistentVolume"}"#,
        "PersistentVolume in version \"v1\" cannot be handled as a PersistentVolumeClaim: \
         converting (v1.PersistentVolume) to (core.PersistentVolumeClaim): unknown conversion",
    );
    refused(
        kind::PERSISTENT_VOLUME_CLAIM,
        "{",
        "the object provided is unrecognized (must be of type PersistentVolumeClaim): couldn't get \
         version/kind; json parse error: unexpected end of JSON input ({)",
    );
}
