//! Which of the entries below a discovery directory become volumes.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::config::{ClassConfig, Config};
use crate::model::node::Node;
use crate::model::volume::{Volume, VolumeMode};

/// The node label that ties a volume to its node.
pub const HOSTNAME: &str = "kubernetes.io/hostname";
pub const PROVISIONED_BY: &str = "pv.kubernetes.io/provisioned-by";

/// What is at an entry, symbolic links followed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Found {
    Directory {
        is_mount_point: bool,
    },
    BlockDevice,
    /// Something else.
    Other,
    /// It cannot be looked at.
    Unknown {
        why: String,
    },
}

/// An entry of a discovery directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    pub name: String,
    pub found: Found,
    /// Bytes of the filesystem or device, where it was asked for.
    pub size: Result<u64, String>,
}

/// What is done about an entry.
#[derive(Debug, Clone, PartialEq)]
pub enum Discovery {
    Nothing,
    Create {
        name: String,
        volume: Value,
    },
    /// A Warning on the volume that is there.
    Warn {
        name: String,
        message: String,
    },
    Refuse {
        why: String,
    },
}

/// The class as the cluster has it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ClassFacts {
    pub reclaim_policy: String,
    pub mount_options: Vec<String>,
}

/// What a node's provisioner goes by when it looks at a class.
#[derive(Debug)]
pub struct Place<'a> {
    pub config: &'a Config,
    pub class_name: &'a str,
    pub class: &'a ClassConfig,
    pub facts: &'a ClassFacts,
    pub node: &'a Node,
}

/// The name under which a node's provisioner is known.
pub fn provisioner_name(node: &Node, config: &Config) -> String {
    let name = &node.meta.key.name;
    match config.by_node_name_only {
        true => format!("local-volume-provisioner-{name}"),
        false => format!("local-volume-provisioner-{name}-{}", node.meta.uid),
    }
}

/// The volume's name: FNV-1a of entry, node and class, one after the other
/// without anything between.
pub fn volume_name(entry: &str, node: &str, class: &str) -> String {
    let bytes = entry.bytes().chain(node.bytes()).chain(class.bytes());
    let hash = bytes
        .fold(0x811c_9dc5_u32, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193));
    format!("local-pv-{hash:x}")
}

/// Rounded down to whole GiB if there are ten, else to MiB if there are ten.
pub fn capacity(bytes: u64) -> String {
    const UNITS: [(u64, &str); 2] = [(1 << 30, "Gi"), (1 << 20, "Mi")];
    for (unit, name) in UNITS {
        if bytes / unit >= 10 {
            return format!("{}{name}", bytes / unit);
        }
    }
    bytes.to_string()
}

/// Judges an entry. `known` are the volumes of this provisioner by name, and
/// `is_cleaning` says whether one of this name is being cleaned.
pub fn discover(
    place: &Place<'_>,
    entry: &Entry,
    known: &BTreeMap<&str, &Volume>,
    is_cleaning: &dyn Fn(&str) -> bool,
) -> Discovery {
    let seen = format!("{}/{}", place.class.mount_dir.trim_end_matches('/'), entry.name);
    let path = format!("{}/{}", place.class.host_dir.trim_end_matches('/'), entry.name);
    if !place.class.takes(&entry.name) {
        return Discovery::Nothing;
    }
    match &entry.found {
        Found::Other => {
            return refuse(format!("Skipping file \"{seen}\": not a directory nor block device"));
        }
        Found::Unknown { why } => {
            return refuse(format!("Directory check for \"{seen}\" failed: {why}"));
        }
        Found::Directory { .. } | Found::BlockDevice => {}
    }
    let name = volume_name(&entry.name, &place.node.meta.key.name, place.class_name);
    let is_directory = matches!(entry.found, Found::Directory { .. });
    if let Some(volume) = known.get(name.as_str()) {
        return there_already(place, volume, &name, &seen, &path, is_directory);
    }
    let taken = known.values().any(|volume| *volume.source.place == *path);
    if taken || is_cleaning(&name) {
        return Discovery::Nothing;
    }
    let size = match (&entry.found, &entry.size) {
        (Found::BlockDevice, Err(why)) => {
            return refuse(format!("path \"{seen}\" block stats error: {why}"));
        }
        (Found::Directory { .. }, _) if place.class.mode == VolumeMode::Block => {
            return refuse(format!(
                "path \"{seen}\" of filesystem mode cannot be used to create block volume"
            ));
        }
        (Found::Directory { is_mount_point: false }, _) => {
            return refuse(format!(
                "path \"{seen}\" is not a valid mount point: it is not mounted"
            ));
        }
        (_, Err(why)) => return refuse(format!("path \"{seen}\" fs stats error: {why}")),
        (_, Ok(size)) => *size,
    };
    let mode = if is_directory { VolumeMode::Filesystem } else { place.class.mode };
    Discovery::Create { volume: volume(place, &name, &path, size, mode), name }
}

fn refuse(why: String) -> Discovery {
    Discovery::Refuse { why }
}

/// A volume that is there is never changed.
fn there_already(
    place: &Place<'_>,
    volume: &Volume,
    name: &str,
    seen: &str,
    path: &str,
    is_directory: bool,
) -> Discovery {
    if volume.mode == VolumeMode::Block && is_directory {
        let message = format!(
            "incorrect Volume Mode: PV \"{name}\" requires block mode but path \"{seen}\" was in \
             fs mode"
        );
        return Discovery::Warn { name: name.to_owned(), message };
    }
    if *volume.source.place != *path || &*volume.class != place.class_name {
        return refuse(format!(
            "the name {name} for path \"{seen}\" is that of another volume, at \"{}\" of class \
             {}: rename the entry",
            volume.source.place, volume.class
        ));
    }
    Discovery::Nothing
}

fn volume(place: &Place<'_>, name: &str, path: &str, size: u64, mode: VolumeMode) -> Value {
    let Place { config, class_name, class, facts, node } = place;
    let hostname = node.meta.label(HOSTNAME).unwrap_or_default();
    let mut labels: BTreeMap<&str, &str> = BTreeMap::new();
    for label in &config.node_labels {
        if let Some(value) = node.meta.label(label) {
            labels.insert(label, value);
        }
    }
    labels.extend(config.labels.iter().map(|(key, value)| (key.as_str(), value.as_str())));
    let mut terms = vec![json!({"matchExpressions": [
        {"key": HOSTNAME, "operator": "In", "values": [hostname]},
    ]})];
    terms.extend(class.selector.iter().cloned());
    let mut local = json!({"path": path});
    if let Some(fs_type) = &class.fs_type {
        local["fsType"] = fs_type.as_str().into();
    }
    let mut volume = json!({
        "apiVersion": "v1", "kind": "PersistentVolume",
        "metadata": {
            "name": name, "labels": labels,
            "annotations": {PROVISIONED_BY: provisioner_name(node, config)},
        },
        "spec": {
            "capacity": {"storage": capacity(size)},
            "accessModes": [class.access_mode],
            "volumeMode": mode.name(),
            "persistentVolumeReclaimPolicy": facts.reclaim_policy,
            "mountOptions": facts.mount_options,
            "storageClassName": class_name,
            "local": local,
            "nodeAffinity": {"required": {"nodeSelectorTerms": terms}},
        },
    });
    if config.owned_by_node {
        volume["metadata"]["ownerReferences"] = json!([{
            "apiVersion": "v1", "kind": "Node", "name": &*node.meta.key.name,
            "uid": &*node.meta.uid,
        }]);
    }
    volume
}

/// The class as volumes take it over; refused if nobody could clean them.
pub fn class_facts(name: &str, class: &Value) -> Result<ClassFacts, String> {
    let policy = class["reclaimPolicy"].as_str().unwrap_or("Delete");
    if !["Retain", "Delete"].contains(&policy) {
        return Err(format!(
            "unsupported ReclaimPolicy \"{policy}\" from storage class \"{name}\", supported \
             policy are Retain and Delete"
        ));
    }
    let options = class["mountOptions"].as_array().into_iter().flatten();
    Ok(ClassFacts {
        reclaim_policy: policy.to_owned(),
        mount_options: options.filter_map(Value::as_str).map(str::to_owned).collect(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::row::Row;

    fn node() -> Node {
        let object = json!({"metadata": {"name": "node-1", "uid": "u1",
            "labels": {HOSTNAME: "host-1", "zone": "a"}}});
        Node::from_object(&object).expect("a node")
    }

    fn held(name: &str, path: &str, mode: &str) -> Volume {
        let object = json!({"metadata": {"name": name}, "spec": {
            "local": {"path": path}, "storageClassName": "fast", "volumeMode": mode}});
        Volume::from_object(&object).expect("a volume")
    }

    fn entry(name: &str, found: Found) -> Entry {
        Entry { name: name.into(), found, size: Ok(16 << 20) }
    }

    const MOUNTED: Found = Found::Directory { is_mount_point: true };

    fn judged(class: &ClassConfig, entry: &Entry, known: &[Volume], cleaning: &str) -> String {
        let config = Config::default();
        let facts = class_facts("fast", &json!({})).expect("a class");
        let node = node();
        let place =
            Place { config: &config, class_name: "fast", class, facts: &facts, node: &node };
        let known = known.iter().map(|volume| (&*volume.meta.key.name, volume)).collect();
        match discover(&place, entry, &known, &|name| name == cleaning) {
            Discovery::Nothing => "-".into(),
            Discovery::Create { volume, .. } => {
                format!(
                    "{} {}",
                    volume["spec"]["volumeMode"], volume["spec"]["capacity"]["storage"]
                )
            }
            Discovery::Warn { message, .. } => format!("warn {message}"),
            Discovery::Refuse { why } => why,
        }
    }

    /// Rows by the numbers of the decision table.
    #[test]
    fn first_rule_that_matches_decides() {
        let plain = ClassConfig::at("/mnt");
        let block = ClassConfig { mode: VolumeMode::Block, ..plain.clone() };
        let picky = ClassConfig { name_pattern: "disk-*".into(), ..plain.clone() };
        let vol = |found| entry("vol", found);
        let name = volume_name("vol", "node-1", "fast");
        let there = |path: &str, mode: &str| vec![held(&name, path, mode)];
        let unread = Entry { size: Err("no".into()), ..vol(Found::BlockDevice) };
        let unread_directory = Entry { size: Err("no".into()), ..vol(MOUNTED) };
        let not_mounted = vol(Found::Directory { is_mount_point: false });
        let dangling = vol(Found::Unknown { why: "stat /mnt/vol: gone".into() });
        for (row, class, entry, known, cleaning, expected) in [
            (1, &picky, vol(MOUNTED), vec![], "", "-"),
            (
                2,
                &plain,
                vol(Found::Other),
                vec![],
                "",
                "Skipping file \"/mnt/vol\": not a directory nor block device",
            ),
            (
                3,
                &plain,
                dangling,
                vec![],
                "",
                "Directory check for \"/mnt/vol\" failed: stat /mnt/vol: gone",
            ),
            (
                4,
                &plain,
                vol(MOUNTED),
                there("/mnt/vol", "Block"),
                "",
                &*format!(
                    "warn incorrect Volume Mode: PV \"{name}\" requires block mode but path \"/mnt/vol\" was in fs mode"
                ),
            ),
            (5, &plain, not_mounted.clone(), there("/mnt/vol", "Filesystem"), "", "-"),
            (6, &plain, vol(MOUNTED), vec![held("other", "/mnt/vol", "Filesystem")], "", "-"),
            (7, &plain, vol(MOUNTED), vec![], &*name, "-"),
            (9, &plain, unread, vec![], "", "path \"/mnt/vol\" block stats error: no"),
            (10, &plain, vol(Found::BlockDevice), vec![], "", "\"Filesystem\" \"16Mi\""),
            (10, &block, vol(Found::BlockDevice), vec![], "", "\"Block\" \"16Mi\""),
            (
                11,
                &block,
                vol(MOUNTED),
                vec![],
                "",
                "path \"/mnt/vol\" of filesystem mode cannot be used to create block volume",
            ),
            (
                12,
                &plain,
                not_mounted,
                vec![],
                "",
                "path \"/mnt/vol\" is not a valid mount point: it is not mounted",
            ),
            (13, &plain, unread_directory, vec![], "", "path \"/mnt/vol\" fs stats error: no"),
            (14, &plain, vol(MOUNTED), vec![], "", "\"Filesystem\" \"16Mi\""),
            (
                20,
                &plain,
                vol(MOUNTED),
                there("/mnt/lov", "Filesystem"),
                "",
                &*format!(
                    "the name {name} for path \"/mnt/vol\" is that of another volume, at \"/mnt/lov\" of class fast: rename the entry"
                ),
            ),
        ] {
            assert_eq!(judged(class, &entry, &known, cleaning), expected, "row {row}");
        }
    }

    #[test]
    fn names_and_sizes_are_those_of_the_original() {
        assert_eq!(volume_name("disk-a", "node-1", "fast-disks"), "local-pv-5a2c9e5");
        assert_eq!(volume_name("vol1", "node1", "local-storage"), "local-pv-5d11f9f");
        assert_eq!(volume_name("vol2", "node1", "local-storage"), "local-pv-59bfd962");
        const GIB: u64 = 1 << 30;
        const MIB: u64 = 1 << 20;
        for (bytes, expected) in [
            (20 * GIB + 300 * MIB, "20Gi"),
            (9 * GIB + GIB / 2, "9728Mi"),
            (10 * GIB - 1, "10239Mi"),
            (10 * MIB + 5, "10Mi"),
            (10 * MIB - 1, "10485759"),
        ] {
            assert_eq!(capacity(bytes), expected);
        }
    }

    #[test]
    fn a_volume_is_tied_to_its_node_and_widened_by_the_selector() {
        let term =
            json!({"matchExpressions": [{"key": "zone", "operator": "In", "values": ["a"]}]});
        let class = ClassConfig { selector: vec![term.clone()], ..ClassConfig::at("/mnt/") };
        let config = Config {
            node_labels: vec!["zone".into(), "none".into()],
            labels: BTreeMap::from([("zone".to_owned(), "b".to_owned())]),
            owned_by_node: true,
            ..Config::default()
        };
        let facts = class_facts("fast", &json!({"reclaimPolicy": "Retain"})).expect("a class");
        let node = node();
        let place = Place {
            config: &config,
            class_name: "fast",
            class: &class,
            facts: &facts,
            node: &node,
        };
        let found = discover(&place, &entry("vol", MOUNTED), &BTreeMap::new(), &|_| false);
        let Discovery::Create { volume, .. } = found else { panic!("{found:?}") };
        assert_eq!(volume["metadata"]["labels"], json!({"zone": "b"}));
        assert_eq!(volume["metadata"]["ownerReferences"][0]["uid"], "u1");
        assert_eq!(
            volume["metadata"]["annotations"][PROVISIONED_BY],
            "local-volume-provisioner-node-1-u1"
        );
        assert_eq!(volume["spec"]["local"]["path"], "/mnt/vol");
        let terms = &volume["spec"]["nodeAffinity"]["required"]["nodeSelectorTerms"];
        assert_eq!(terms[0]["matchExpressions"][0]["values"], json!(["host-1"]));
        assert_eq!(terms[1], term);
        let recycled = class_facts("fast", &json!({"reclaimPolicy": "Recycle"}));
        assert!(
            recycled.expect_err("refused").starts_with("unsupported ReclaimPolicy \"Recycle\"")
        );
    }
}
