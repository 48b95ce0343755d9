//! PersistentVolumeClaims: what a user asks of storage.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::claim_spec::{self, CLASS_ANNOTATION};
use super::json::{add_finalizer, annotation, child, fill, is_set, put, restore, text};
use super::persistent_volume::{attributes_class, round_amounts};
use super::table::{AGE, NAME, age, class_of, column, name, or, phase, wide};
use crate::cluster::embedded::kind::{AdmissionView, Column, ServedKind, Traits};
use crate::cluster::embedded::status::{ApiError, FieldErrors};
use crate::cluster::embedded::validation::{metadata, names};
use crate::model::access_modes::AccessModes;
use crate::model::kind;
use crate::model::quantity::Quantity;

/// PersistentVolumeClaims as they are served.
pub static ROW: ServedKind = ServedKind {
    names: kind::PERSISTENT_VOLUME_CLAIM,
    subresources: &[super::STATUS],
    traits: Traits { delete_returns_object: true, ..super::PLAIN },
    columns: COLUMNS,
    cells,
    default,
    prepare,
    admit,
    validate,
    validate_update,
    warnings,
    ..super::BASE
};

const COLUMNS: &[Column] = &[
    NAME,
    column("Status", "Its phase, or Terminating while it is being deleted."),
    column("Volume", "The volume it is bound to."),
    column("Capacity", "How much its volume holds."),
    column("Access Modes", "The ways in which its volume may be mounted."),
    column("StorageClass", "The class it asks for."),
    column("VolumeAttributesClass", "The class of properties it asks for."),
    AGE,
    wide("VolumeMode", "Whether it asks for a file system or for a block device."),
];

fn cells(object: &Value, now: Timestamp) -> Vec<Value> {
    let volume = text(object, "/spec/volumeName");
    let (mut capacity, mut modes) = ("", String::new());
    if !volume.is_empty() {
        capacity = or(text(object, "/status/capacity/storage"), "0");
        modes = object
            .pointer("/status/accessModes")
            .map(AccessModes::from_json)
            .unwrap_or_default()
            .to_string();
    }
    vec![
        name(object),
        phase(object).into(),
        volume.into(),
        capacity.into(),
        modes.into(),
        class_of(object).into(),
        attributes_class(object).into(),
        age(object, now),
        or(text(object, "/spec/volumeMode"), "<unset>").into(),
    ]
}

fn default(object: &mut Value) {
    if let Some(spec) = child(object, "spec") {
        default_spec(spec);
    }
    if let Some(status) = child(object, "status") {
        fill(status, "phase", "Pending");
        for amounts in ["capacity", "allocatedResources"] {
            round_amounts(status.get_mut(amounts));
        }
    }
}

/// The defaults of a claim's spec, also in templates.
pub fn default_spec(spec: &mut Value) {
    for side in ["/resources/requests", "/resources/limits"] {
        round_amounts(spec.pointer_mut(side));
    }
    fill(spec, "volumeMode", "Filesystem");
}

fn prepare(object: &mut Value, old: Option<&Value>, subresource: Option<&str>, _: Timestamp) {
    match (old, subresource) {
        (None, _) => {
            put(object, "status", Some(json!({"phase": "Pending"})));
            prepare_sources(object, None);
        }
        (Some(old), Some("status")) => restore(object, old, "spec"),
        (Some(old), _) => {
            restore(object, old, "status");
            prepare_sources(object, Some(old));
        }
    }
}

/// Brings the two data source fields together: what the old field cannot hold
/// is dropped, and one that is set alone is copied to the other.
fn prepare_sources(object: &mut Value, old: Option<&Value>) {
    let had = |field: &str| old.is_some_and(|old| is_set(old, &format!("/spec/{field}")));
    let (had_source, had_reference) = (had("dataSource"), had("dataSourceRef"));
    let Some(spec) = child(object, "spec") else { return };
    let across_namespaces = !text(spec, "/dataSourceRef/namespace").is_empty();
    if across_namespaces && !had_reference {
        put(spec, "dataSourceRef", None);
    }
    if !had_source && !is_set(spec, "/dataSourceRef") && !is_known_source(spec) {
        put(spec, "dataSource", None);
    }
    if is_set(spec, "/dataSource") && !is_set(spec, "/dataSourceRef") {
        let source = spec.get("dataSource").cloned();
        put(spec, "dataSourceRef", source);
    } else if is_set(spec, "/dataSourceRef")
        && !is_set(spec, "/dataSource")
        && text(spec, "/dataSourceRef/namespace").is_empty()
    {
        let mut source = spec.get("dataSourceRef").cloned().unwrap_or_default();
        put(&mut source, "namespace", None);
        put(spec, "dataSource", Some(source));
    }
}

/// Whether `dataSource` names one of the two kinds it may.
fn is_known_source(spec: &Value) -> bool {
    matches!(
        (text(spec, "/dataSource/apiGroup"), text(spec, "/dataSource/kind")),
        ("", "PersistentVolumeClaim") | ("snapshot.storage.k8s.io", "VolumeSnapshot")
    )
}

/// Admission `StorageObjectInUseProtection` and `DefaultStorageClass`, on
/// create.
fn admit(
    object: &mut Value,
    old: Option<&Value>,
    view: &dyn AdmissionView,
) -> Result<(), ApiError> {
    if old.is_some() {
        return Ok(());
    }
    add_finalizer(object, "kubernetes.io/pvc-protection");
    if !has_class(object)
        && let Some(class) = default_class(view)
        && let Some(spec) = child(object, "spec")
    {
        spec["storageClassName"] = class.into();
    }
    Ok(())
}

/// Whether the claim says anything about its class, be it that it wants none.
fn has_class(claim: &Value) -> bool {
    annotation(claim, CLASS_ANNOTATION).is_some() || is_set(claim, "/spec/storageClassName")
}

/// The newest class that is marked as the default, the first by name among
/// equally new ones.
fn default_class(view: &dyn AdmissionView) -> Option<String> {
    let classes = view.list(kind::STORAGE_CLASS, None);
    classes
        .iter()
        .filter(|class| super::storage_class::is_default(class))
        .map(|class| (text(class, "/metadata/creationTimestamp"), text(class, "/metadata/name")))
        .max_by_key(|(created, name)| (*created, std::cmp::Reverse(*name)))
        .map(|(_, name)| name.to_owned())
}

/// Admission `PersistentVolumeClaimResize`, on update, once the claim is valid.
pub fn admit_resize(object: &Value, old: &Value, view: &dyn AdmissionView) -> Result<(), ApiError> {
    let size = |claim: &Value| {
        Quantity::parse(text(claim, "/spec/resources/requests/storage")).unwrap_or(Quantity::ZERO)
    };
    if size(object) <= size(old) {
        return Ok(());
    }
    if text(old, "/status/phase") != "Bound" {
        return Err(refuse(object, "Only bound persistent volume claims can be expanded"));
    }
    let class = class_of(object);
    let expandable = !class.is_empty()
        && class == class_of(old)
        && view
            .get(kind::STORAGE_CLASS, None, class)
            .is_some_and(|class| super::json::is_true(&class, "/allowVolumeExpansion"));
    if expandable {
        return Ok(());
    }
    Err(refuse(
        object,
        "only dynamically provisioned pvc can be resized and the storageclass that provisions the \
         pvc must support resize",
    ))
}

fn refuse(claim: &Value, why: &str) -> ApiError {
    let name = text(claim, "/metadata/name");
    ApiError::new(
        403,
        "Forbidden",
        format!("persistentvolumeclaims \"{name}\" is forbidden: {why}"),
    )
    .with_details(json!({"name": name, "kind": "persistentvolumeclaims"}))
}

fn validate(object: &Value, errors: &mut FieldErrors) {
    metadata::validate(object, kind::PERSISTENT_VOLUME_CLAIM, names::subdomain, errors);
    claim_spec::validate(&spec_of(object), "spec", None, errors);
}

fn validate_update(
    object: &Value,
    old: &Value,
    subresource: Option<&str>,
    errors: &mut FieldErrors,
) {
    metadata::validate_update(object, old, errors);
    if subresource == Some("status") {
        claim_spec::validate_status(object, errors);
        return;
    }
    metadata::validate(object, kind::PERSISTENT_VOLUME_CLAIM, names::subdomain, errors);
    claim_spec::validate(&spec_of(object), "spec", old.get("spec"), errors);
    claim_spec::validate_changes(object, old, errors);
}

fn spec_of(claim: &Value) -> Value {
    claim.get("spec").cloned().unwrap_or_else(|| json!({}))
}

fn warnings(object: &Value) -> Vec<String> {
    let mut warnings = Vec::new();
    if annotation(object, CLASS_ANNOTATION).is_some() {
        warnings.push(format!(
            "metadata.annotations[{CLASS_ANNOTATION}]: deprecated since v1.8; use \
             \"storageClassName\" attribute instead"
        ));
    }
    claim_spec::warnings(&spec_of(object), "spec", &mut warnings);
    warnings
}

#[cfg(test)]
mod tests {
    use super::super::testing::*;
    use super::*;

    fn base() -> Value {
        json!({
            "metadata": {"name": "c", "namespace": "n"},
            "spec": {
                "accessModes": ["ReadWriteOnce"], "storageClassName": "a",
                "resources": {"requests": {"storage": "1Gi"}},
            },
        })
    }

    fn class(name: &str, created: &str, annotation: &str) -> (&'static kind::Kind, Value) {
        let class = json!({
            "metadata": {
                "name": name, "creationTimestamp": created, "annotations": {annotation: "true"},
            },
            "allowVolumeExpansion": true,
        });
        (kind::STORAGE_CLASS, class)
    }

    const DEFAULT: &str = "storageclass.kubernetes.io/is-default-class";

    #[test]
    fn a_claim_that_says_nothing_of_its_class_gets_the_newest_default() {
        let classes = Objects(vec![
            class("old", "2025-01-01T00:00:00Z", DEFAULT),
            class("b", "2025-06-01T00:00:00Z", DEFAULT),
            class("a", "2025-06-01T00:00:00Z", DEFAULT),
            class("none", "2025-09-01T00:00:00Z", "x"),
        ]);
        let given = |change: Value| {
            let mut body = base();
            json_patch::merge(&mut body, &change);
            let claim = taken(&ROW, &body, &classes).expect("a claim");
            claim["spec"]["storageClassName"].clone()
        };
        assert_eq!(given(json!({"spec": {"storageClassName": null}})), "a");
        assert_eq!(given(json!({"spec": {"storageClassName": ""}})), "");
        let annotated = json!({
            "metadata": {"annotations": {CLASS_ANNOTATION: "z"}},
            "spec": {"storageClassName": null},
        });
        assert_eq!(given(annotated), Value::Null);
    }

    #[test]
    fn a_new_claim_is_refused_for_what_is_wrong_with_it() {
        check_refusals(
            &ROW,
            &base(),
            &[
                (json!({}), &[]),
                (json!({"spec": {"storageClassName": "", "volumeAttributesClassName": ""}}), &[]),
                (
                    json!({"spec": {"accessModes": ["ReadWriteOncePod", "ReadWriteMany"]}}),
                    &[
                        "spec.accessModes: Forbidden: may not use ReadWriteOncePod with other access modes",
                    ],
                ),
                (
                    json!({"spec": {"resources": {"requests": {"storage": "-1Gi"}}}}),
                    &[
                        "spec.resources[storage]: Invalid value: \"-1Gi\": must be greater than zero",
                    ],
                ),
                (
                    json!({"spec": {"volumeMode": "Tape"}}),
                    &[
                        "spec.volumeMode: Unsupported value: \"Tape\": supported values: \"Block\", \
                 \"Filesystem\"",
                    ],
                ),
                (
                    json!({"spec": {"dataSourceRef": {"kind": "Pod", "name": ""}}}),
                    &[
                        "spec.dataSource.name: Required value",
                        "spec.dataSource: Invalid value: \"Pod\": must be 'PersistentVolumeClaim' when \
                 referencing the default apiGroup",
                        "spec.dataSourceRef.name: Required value",
                        "spec.dataSourceRef: Invalid value: \"Pod\": must be 'PersistentVolumeClaim' when \
                 referencing the default apiGroup",
                    ],
                ),
                (
                    json!({"spec": {
                        "dataSource": {"kind": "PersistentVolumeClaim", "name": "a"},
                        "dataSourceRef": {"kind": "PersistentVolumeClaim", "name": "b"},
                    }}),
                    &["spec: Invalid value: {}: must match dataSourceRef"],
                ),
                (
                    json!({"spec": {"selector": {"matchExpressions": [{"key": "a", "operator": "In"}]}}}),
                    &[
                        "spec.selector.matchExpressions[0].values: Required value: must be specified when \
                 `operator` is 'In' or 'NotIn'",
                    ],
                ),
            ],
        );
    }

    #[test]
    fn data_sources_are_made_to_agree() {
        let source = |change: Value| {
            let mut body = base();
            json_patch::merge(&mut body, &change);
            let claim = taken(&ROW, &body, &Objects(Vec::new())).expect("a claim");
            (claim["spec"]["dataSource"].clone(), claim["spec"]["dataSourceRef"].clone())
        };
        let clone = json!({"kind": "PersistentVolumeClaim", "name": "a"});
        let written = json!({"apiGroup": null, "kind": "PersistentVolumeClaim", "name": "a"});
        let both = (written.clone(), written);
        assert_eq!(source(json!({"spec": {"dataSource": clone}})), both);
        assert_eq!(source(json!({"spec": {"dataSourceRef": clone}})), both);
        let unknown = json!({"kind": "Pod", "name": "a"});
        assert_eq!(source(json!({"spec": {"dataSource": unknown}})), (Value::Null, Value::Null));
        let elsewhere = json!({"kind": "PersistentVolumeClaim", "name": "a", "namespace": "b"});
        let dropped = source(json!({"spec": {"dataSourceRef": elsewhere}}));
        assert_eq!(dropped, (Value::Null, Value::Null));
    }

    fn stored(phase: &str) -> Value {
        let mut claim = taken(&ROW, &base(), &Objects(Vec::new())).expect("a claim");
        claim["metadata"]["resourceVersion"] = "1".into();
        claim["status"] = json!({"phase": phase, "capacity": {"storage": "512Mi"}});
        claim
    }

    const FIXED: &str = "spec: Forbidden: spec is immutable after creation except \
                         resources.requests and volumeAttributesClassName for bound claims";

    #[test]
    fn a_stored_claim_takes_only_the_changes_that_are_permitted() {
        let size = |size: &str| json!({"spec": {"resources": {"requests": {"storage": size}}}});
        check_changes(
            &ROW,
            &stored("Pending"),
            &[
                (json!({"metadata": {"labels": {"a": "b"}}}), &[]),
                (json!({"spec": {"volumeName": "v"}}), &[]),
                (size("2Gi"), &[FIXED]),
                (json!({"spec": {"storageClassName": "b"}}), &[FIXED]),
                (json!({"spec": {"storageClassName": null}}), &[FIXED]),
                (
                    json!({"spec": {"volumeMode": "Block"}}),
                    &[FIXED, "volumeMode: Invalid value: \"Block\": field is immutable"],
                ),
                (
                    json!({"metadata": {"annotations": {CLASS_ANNOTATION: "z"}}}),
                    &[
                        "metadata.annotations.volume.beta.kubernetes.io/storage-class: Invalid value: \
                 \"z\": field is immutable",
                    ],
                ),
            ],
        );
        check_changes(
            &ROW,
            &stored("Bound"),
            &[
                (size("2Gi"), &[]),
                (size("600Mi"), &[]),
                (
                    size("512Mi"),
                    &["spec.resources.requests.storage: Forbidden: field can not be less than \
                 status.capacity"],
                ),
                (json!({"spec": {"volumeAttributesClassName": "gold"}}), &[]),
                (json!({"spec": {"resources": {"limits": {"storage": "2Gi"}}}}), &[FIXED]),
            ],
        );
        let mut without_class = stored("Pending");
        put(&mut without_class["spec"], "storageClassName", None);
        check_changes(&ROW, &without_class, &[(json!({"spec": {"storageClassName": "b"}}), &[])]);
    }

    #[test]
    fn a_claim_grows_only_bound_and_by_leave_of_its_class() {
        let grow = |phase: &str, classes: &Objects| {
            let old = stored(phase);
            let mut claim = old.clone();
            claim["spec"]["resources"]["requests"]["storage"] = "2Gi".into();
            admit_resize(&claim, &old, classes).map_err(|error| error.message)
        };
        let expandable = Objects(vec![class("a", "2025-01-01T00:00:00Z", "x")]);
        assert_eq!(grow("Bound", &expandable), Ok(()));
        assert_eq!(
            grow("Pending", &expandable),
            Err("persistentvolumeclaims \"c\" is forbidden: Only bound persistent volume claims \
                 can be expanded"
                .to_owned())
        );
        assert_eq!(
            grow("Bound", &Objects(Vec::new())),
            Err("persistentvolumeclaims \"c\" is forbidden: only dynamically provisioned pvc can \
                 be resized and the storageclass that provisions the pvc must support resize"
                .to_owned())
        );
    }

    #[test]
    fn capacity_and_modes_show_once_a_volume_is_named() {
        let mut claim = stored("Pending");
        assert_eq!(cells(&claim, now())[2..5], [json!(""), json!(""), json!("")]);
        claim["spec"]["volumeName"] = "v".into();
        claim["status"] = json!({"phase": "Pending"});
        assert_eq!(cells(&claim, now())[2..5], [json!("v"), json!("0"), json!("")]);
        claim["status"] = json!({
            "phase": "Bound", "capacity": {"storage": "1Gi"}, "accessModes": ["ReadWriteOnce"],
        });
        claim["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z".into();
        assert_eq!(
            cells(&claim, now())[1..5],
            [json!("Terminating"), json!("v"), json!("1Gi"), json!("RWO")]
        );
    }

    #[test]
    fn the_status_endpoint_takes_known_resize_states() {
        let mut claim = stored("Bound");
        claim["status"]["allocatedResourceStatuses"] =
            json!({"storage": "Growing", "cpu": "NodeResizePending"});
        let mut errors = FieldErrors::default();
        validate_update(&claim, &claim.clone(), Some("status"), &mut errors);
        let texts: Vec<_> = errors.0.iter().map(ToString::to_string).collect();
        assert_eq!(texts.len(), 2, "{texts:?}");
        assert!(
            texts[0]
                .starts_with("status.allocatedResourceStatuses: Unsupported value: \"storage\"")
        );
        assert!(texts[1].starts_with(
            "status.allocatedResourceStatuses: Unsupported value: \"cpu\": supported values: \"storage\""
        ));
    }
}
