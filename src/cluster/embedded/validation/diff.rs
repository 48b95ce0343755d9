//! What a refused change would have changed, as the server tells it: a unified
//! diff of both specs, written as JSON of its internal types.
//!
//! Those have the fields of the published types under capitalised names, all
//! of them always written, and the volume sources in another order.

use serde::Serialize as _;
use serde_json::{Map, Value};
use similar::TextDiff;

use crate::cluster::embedded::schema::{ObjectType, Type, named, object_type};

/// A volume's sources in the order of the internal type.
pub const VOLUME_SOURCES: [&str; 22] = [
    "gcePersistentDisk",
    "awsElasticBlockStore",
    "hostPath",
    "glusterfs",
    "nfs",
    "rbd",
    "quobyte",
    "iscsi",
    "flexVolume",
    "cinder",
    "cephfs",
    "fc",
    "flocker",
    "azureFile",
    "vsphereVolume",
    "azureDisk",
    "photonPersistentDisk",
    "portworxVolume",
    "scaleIO",
    "local",
    "storageos",
    "csi",
];

/// Internal names that are no mere capitalisation.
const NAMES: &[(&str, &str)] = &[
    ("gcePersistentDisk", "GCEPersistentDisk"),
    ("awsElasticBlockStore", "AWSElasticBlockStore"),
    ("nfs", "NFS"),
    ("rbd", "RBD"),
    ("iscsi", "ISCSI"),
    ("cephfs", "CephFS"),
    ("fc", "FC"),
    ("storageos", "StorageOS"),
    ("csi", "CSI"),
    ("fsType", "FSType"),
    ("iqn", "IQN"),
    ("iscsiInterface", "ISCSIInterface"),
    ("chapAuthDiscovery", "DiscoveryCHAPAuth"),
    ("chapAuthSession", "SessionCHAPAuth"),
    ("targetWWNs", "TargetWWNs"),
    ("wwids", "WWIDs"),
    ("apiGroup", "APIGroup"),
    ("volumeID", "VolumeID"),
    ("pdName", "PDName"),
    ("monitors", "CephMonitors"),
    ("image", "RBDImage"),
    ("pool", "RBDPool"),
    ("user", "RadosUser"),
    ("diskURI", "DataDiskURI"),
    ("sslEnabled", "SSLEnabled"),
];

/// The difference of two specs of a type of the table.
pub fn of_type(old: &Value, new: &Value, full_name: &str) -> String {
    let Some(of) = named(full_name) else { return String::new() };
    unified(&internal(old, of), &internal(new, of))
}

/// The difference of two volumes' sources.
pub fn of_volume_sources(old: &Value, new: &Value) -> String {
    let sources = |spec: &Value| {
        let of = named("core.v1.PersistentVolumeSpec");
        let written = VOLUME_SOURCES.iter().map(|name| {
            let field = of.and_then(|of| of.field(name));
            let value = match (spec.get(*name), field) {
                (Some(value), Some(field)) => internal_value(value, &field.of),
                _ => Value::Null,
            };
            (internal_name(name), value)
        });
        Value::Object(written.collect())
    };
    unified(&sources(old), &sources(new))
}

/// A value of a type of the table as its internal type is written, for errors
/// that show it.
pub fn internal_form(value: &Value, full_name: &str) -> Value {
    named(full_name).map_or_else(|| value.clone(), |of| internal(value, of))
}

fn unified(old: &Value, new: &Value) -> String {
    let (old, new) = (lines(old), lines(new));
    let diff = TextDiff::from_lines(old.as_str(), new.as_str());
    diff.unified_diff().context_radius(3).to_string()
}

/// JSON with one blank per level, each line ended.
fn lines(value: &Value) -> String {
    let mut text = Vec::new();
    let form = serde_json::ser::PrettyFormatter::with_indent(b" ");
    let mut writer = serde_json::Serializer::with_formatter(&mut text, form);
    let written = value.serialize(&mut writer);
    debug_assert!(written.is_ok(), "JSON values can be written");
    let mut text = String::from_utf8_lossy(&text).into_owned();
    text.push('\n');
    text
}

fn internal(value: &Value, of: &ObjectType) -> Value {
    if of.package == "meta.v1" {
        // These types are the same inside and outside.
        return value.clone();
    }
    let fields: Map<String, Value> = of
        .fields
        .iter()
        .map(|field| {
            let written = match value.get(field.name).filter(|value| !value.is_null()) {
                Some(value) => internal_value(value, &field.of),
                None if field.optional => Value::Null,
                None => internal_zero(&field.of),
            };
            (internal_name(field.name), written)
        })
        .collect();
    fields.into()
}

fn internal_value(value: &Value, of: &Type) -> Value {
    match (of, value) {
        (Type::Object(index), value) => internal(value, object_type(*index)),
        (Type::List(item), Value::Array(list)) => {
            list.iter().map(|value| internal_value(value, item)).collect()
        }
        (_, value) => value.clone(),
    }
}

fn internal_zero(of: &Type) -> Value {
    match of {
        Type::Object(index) => internal(&Value::Null, object_type(*index)),
        Type::Text => "".into(),
        Type::Bool => false.into(),
        Type::Int32 | Type::Int64 => 0.into(),
        Type::Quantity => "0".into(),
        _ => Value::Null,
    }
}

fn internal_name(name: &str) -> String {
    if let Some((_, internal)) = NAMES.iter().find(|(public, _)| *public == name) {
        return (*internal).to_owned();
    }
    let mut chars = name.chars();
    chars.next().map(|first| first.to_ascii_uppercase()).into_iter().chain(chars).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_changed_path_shows_in_the_order_of_the_internal_sources() {
        let spec = |path: &str| json!({"nfs": {"server": "192.0.2.1", "path": path}});
        assert_eq!(
            of_volume_sources(&spec("/"), &spec("/other")),
            "@@ -5,7 +5,7 @@\n  \"Glusterfs\": null,\n  \"NFS\": {\n   \"Server\": \
             \"192.0.2.1\",\n-  \"Path\": \"/\",\n+  \"Path\": \"/other\",\n   \"ReadOnly\": \
             false\n  },\n  \"RBD\": null,\n"
        );
    }

    #[test]
    fn a_changed_claim_shows_every_field_around_the_change() {
        let spec = |size: &str| {
            json!({
                "accessModes": ["ReadWriteOnce"],
                "resources": {"requests": {"storage": size}},
                "storageClassName": "fast", "volumeMode": "Filesystem",
            })
        };
        assert_eq!(
            of_type(&spec("1Gi"), &spec("512Mi"), "core.v1.PersistentVolumeClaimSpec"),
            "@@ -6,7 +6,7 @@\n  \"Resources\": {\n   \"Limits\": null,\n   \"Requests\": {\n-   \
             \"storage\": \"1Gi\"\n+   \"storage\": \"512Mi\"\n   }\n  },\n  \"VolumeName\": \"\",\n"
        );
    }
}
