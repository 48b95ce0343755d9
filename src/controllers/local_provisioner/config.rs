//! The provisioner's configuration, as its ConfigMap holds it: one key per
//! setting, each value YAML.

use std::collections::BTreeMap;
use std::fmt;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::model::volume::VolumeMode;

/// What the provisioner goes by.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Config {
    /// By the name of the StorageClass.
    pub classes: BTreeMap<String, ClassConfig>,
    /// Labels that volumes take over from their node.
    pub node_labels: Vec<String>,
    /// Labels of all volumes; they win over those of the node.
    pub labels: BTreeMap<String, String>,
    /// Whether volumes are owned by their node, and go with it.
    pub owned_by_node: bool,
    /// Whether the provisioner's name leaves the node's uid out.
    pub by_node_name_only: bool,
}

/// One entry of `storageClassMap`.
#[derive(Debug, Clone, PartialEq)]
pub struct ClassConfig {
    /// The discovery directory, as it goes into volumes.
    pub host_dir: String,
    /// The same, as the provisioner sees it.
    pub mount_dir: String,
    pub mode: VolumeMode,
    pub access_mode: String,
    pub fs_type: Option<String>,
    /// Command and arguments that clean a block device.
    pub block_cleaner: Vec<String>,
    /// Shell patterns, separated by commas.
    pub name_pattern: String,
    /// Further terms of the volumes' node affinity.
    pub selector: Vec<Value>,
}

/// A configuration that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BadConfig {
    /// The key of the ConfigMap.
    pub key: String,
    /// The line within its value, if the YAML is at fault.
    pub line: Option<u64>,
    pub what: String,
}

impl fmt::Display for BadConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.key)?;
        if let Some(line) = self.line {
            write!(f, ": line {line}")?;
        }
        write!(f, ": {}", self.what)
    }
}

impl std::error::Error for BadConfig {}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct ClassEntry {
    #[serde(default)]
    host_dir: String,
    #[serde(default)]
    mount_dir: String,
    #[serde(default)]
    volume_mode: Option<String>,
    #[serde(default)]
    access_mode: Option<String>,
    #[serde(default)]
    fs_type: Option<String>,
    #[serde(default)]
    block_cleaner_command: Option<Vec<String>>,
    #[serde(default)]
    name_pattern: Option<String>,
    #[serde(default)]
    selector: Option<Vec<Value>>,
}

/// Settings of the real one that mean nothing here.
const WITHOUT_EFFECT: &[&str] = &[
    "jobTolerations",
    "minResyncPeriod",
    "removeNodeNotReadyTaint",
    "provisionerNotReadyNodeTaintKey",
];

impl Config {
    /// Reads the `data` of a ConfigMap.
    pub fn read<'a>(data: impl Iterator<Item = (&'a str, &'a str)>) -> Result<Self, BadConfig> {
        let mut config = Self::default();
        for (key, text) in data {
            config.set(key, text)?;
        }
        Ok(config)
    }

    fn set(&mut self, key: &str, text: &str) -> Result<(), BadConfig> {
        match key {
            "storageClassMap" => {
                for (class, entry) in yaml::<BTreeMap<String, ClassEntry>>(key, text)? {
                    let read = class_config(&class, entry);
                    let entry =
                        read.map_err(|what| BadConfig { key: key.into(), line: None, what })?;
                    self.classes.insert(class, entry);
                }
            }
            "nodeLabelsForPV" => self.node_labels = yaml(key, text)?,
            "labelsForPV" => self.labels = yaml(key, text)?,
            "setPVOwnerRef" => self.owned_by_node = yaml(key, text)?,
            "useNodeNameOnly" => self.by_node_name_only = yaml(key, text)?,
            "useJobForCleaning" | "useAlphaAPI" => {
                if yaml::<bool>(key, text)? {
                    let what =
                        "this provisioner does not do that; leave it out or say false".into();
                    return Err(BadConfig { key: key.into(), line: None, what });
                }
            }
            "..data" => {}
            key if WITHOUT_EFFECT.contains(&key) => {}
            key => {
                let what = "there is no such setting".into();
                return Err(BadConfig { key: key.into(), line: None, what });
            }
        }
        Ok(())
    }
}

fn yaml<T: DeserializeOwned>(key: &str, text: &str) -> Result<T, BadConfig> {
    serde_yaml::from_str(text).map_err(|error| {
        let line = error.location().map(|at| at.line());
        let words = error.to_string();
        let words = words.split(" at line ").next().unwrap_or_default().to_owned();
        BadConfig { key: key.into(), line, what: format!("fail to Unmarshal yaml due to: {words}") }
    })
}

fn class_config(class: &str, entry: ClassEntry) -> Result<ClassConfig, String> {
    if entry.host_dir.is_empty() || entry.mount_dir.is_empty() {
        return Err(format!(
            "Storage Class {class} is misconfigured, missing HostDir or MountDir parameter"
        ));
    }
    let mode = match entry.volume_mode.as_deref() {
        None | Some("" | "Filesystem") => VolumeMode::Filesystem,
        Some("Block") => VolumeMode::Block,
        Some(other) => return Err(format!("unsupported volume mode {other}")),
    };
    let block_cleaner = match entry.block_cleaner_command {
        None => vec!["/scripts/quick_reset.sh".to_owned()],
        Some(command) if command.first().is_none_or(String::is_empty) => {
            return Err(format!("Invalid empty block cleaner command for class {class}"));
        }
        Some(command) => command,
    };
    Ok(ClassConfig {
        host_dir: entry.host_dir,
        mount_dir: entry.mount_dir,
        mode,
        access_mode: entry.access_mode.unwrap_or_else(|| "ReadWriteOnce".into()),
        fs_type: entry.fs_type.filter(|fs_type| !fs_type.is_empty()),
        block_cleaner,
        name_pattern: entry.name_pattern.unwrap_or_else(|| "*".into()),
        selector: entry.selector.unwrap_or_default(),
    })
}

impl ClassConfig {
    /// A class with these directories and all else as by default.
    pub fn at(directory: &str) -> Self {
        Self {
            host_dir: directory.to_owned(),
            mount_dir: directory.to_owned(),
            mode: VolumeMode::Filesystem,
            access_mode: "ReadWriteOnce".into(),
            fs_type: None,
            block_cleaner: vec!["/scripts/quick_reset.sh".to_owned()],
            name_pattern: "*".into(),
            selector: Vec::new(),
        }
    }

    /// Whether the pattern takes an entry of this name.
    pub fn takes(&self, name: &str) -> bool {
        self.name_pattern.split(',').any(|pattern| matches(pattern.as_bytes(), name.as_bytes()))
    }
}

/// Shell patterns of `*` and `?`.
fn matches(pattern: &[u8], name: &[u8]) -> bool {
    match pattern.split_first() {
        None => name.is_empty(),
        Some((b'*', rest)) => (0..=name.len()).any(|at| matches(rest, &name[at..])),
        Some((b'?', rest)) => !name.is_empty() && matches(rest, &name[1..]),
        Some((letter, rest)) => name.first() == Some(letter) && matches(rest, &name[1..]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(key: &str, text: &str) -> Result<Config, String> {
        Config::read([(key, text)].into_iter()).map_err(|bad| bad.to_string())
    }

    #[test]
    fn a_real_configuration_is_read() {
        let text = "fast-disks:\n  hostDir: /mnt/fast\n  mountDir: /mnt/fast\n  fsType: ext4\n  \
                    namePattern: \"disk-*,vol?\"\n";
        let config = read("storageClassMap", text).expect("a configuration");
        let class = &config.classes["fast-disks"];
        assert_eq!((class.mode, &*class.access_mode), (VolumeMode::Filesystem, "ReadWriteOnce"));
        assert_eq!(class.block_cleaner, ["/scripts/quick_reset.sh"]);
        let taken = ["disk-a", "vol1", "vol12", "other"].map(|name| class.takes(name));
        assert_eq!(taken, [true, true, false, false]);
    }

    #[test]
    fn what_is_wrong_is_told_with_key_line_and_field() {
        for (key, text, expected) in [
            (
                "storageClassMap",
                "fast:\n  hostDir: /mnt/fast\n",
                "storageClassMap: Storage Class fast is misconfigured, missing HostDir or \
                 MountDir parameter",
            ),
            (
                "storageClassMap",
                "fast:\n  hostDir: /a\n  mountDir: /a\n  volumeMode: Tape\n",
                "storageClassMap: unsupported volume mode Tape",
            ),
            (
                "storageClassMap",
                "fast:\n  hostDir: /a\n  mountDir: /a\n  blockCleanerCommand: []\n",
                "storageClassMap: Invalid empty block cleaner command for class fast",
            ),
            (
                "useNodeNameOnly",
                "perhaps",
                "useNodeNameOnly: line 1: fail to Unmarshal yaml due to: ",
            ),
            ("useJobForCleaning", "true", "useJobForCleaning: this provisioner does not do that"),
            ("nodeLabels", "[]", "nodeLabels: there is no such setting"),
        ] {
            let error = read(key, text).expect_err(text);
            assert!(error.starts_with(expected), "{error}");
        }
        let misspelt = read("storageClassMap", "fast:\n  hostDir: /a\n  mountdir: /a\n");
        let error = misspelt.expect_err("misspelt");
        assert!(error.contains("line ") && error.contains("mountdir"), "{error}");
    }
}
