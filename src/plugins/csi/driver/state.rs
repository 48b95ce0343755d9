//! What a driver remembers, and the files that it is remembered in.
//!
//! One file per volume, replaced as a whole: a kill leaves the old or the new
//! one. What is on a machine besides is found there again.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::PathBuf;

use ring::digest::{SHA256, digest};
use serde::{Deserialize, Serialize};

/// Everything a driver remembers.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct State {
    /// By identity.
    pub volumes: BTreeMap<String, Volume>,
    /// The driver's names for the machines that it runs on. Not saved: a
    /// machine announces itself.
    pub nodes: BTreeSet<String>,
}

/// A volume.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Volume {
    pub id: String,
    pub name: String,
    pub bytes: u64,
    pub is_block: bool,
    /// Lives and dies with one pod.
    #[serde(default)]
    pub is_ephemeral: bool,
    #[serde(default)]
    pub parameters: BTreeMap<String, String>,
    #[serde(default)]
    pub mutable_parameters: BTreeMap<String, String>,
    /// The volume it is a copy of.
    #[serde(default)]
    pub source: Option<String>,
    /// Where it can be used; empty: anywhere.
    #[serde(default)]
    pub topology: BTreeMap<String, String>,
    /// The nodes it is published to, by the driver's names.
    #[serde(default)]
    pub published: BTreeMap<String, Publication>,
    /// Where it is staged, by machine.
    #[serde(default)]
    pub staged: BTreeMap<String, Staging>,
    /// Where pods have it, by machine, then path.
    #[serde(default)]
    pub targets: BTreeMap<String, BTreeMap<String, Target>>,
}

/// How a node has a volume.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Publication {
    pub read_only: bool,
    pub mode: i32,
}

/// How a volume is staged on a machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Staging {
    pub path: String,
    pub mode: i32,
    pub fs_type: String,
    pub flags: Vec<String>,
}

/// How a pod has a volume.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Target {
    pub read_only: bool,
    pub mode: i32,
}

impl Volume {
    /// Whether any node, machine or pod has it.
    pub fn users(&self) -> Option<String> {
        if let Some((machine, _)) = self.targets.iter().find(|(_, targets)| !targets.is_empty()) {
            return Some(format!("published on {machine}"));
        }
        if let Some(machine) = self.staged.keys().next() {
            return Some(format!("staged on {machine}"));
        }
        self.published.keys().next().map(|node| format!("attached to {node}"))
    }

    /// Whether something on a machine has it at this path.
    pub fn is_at(&self, machine: &str, path: &str) -> bool {
        let staged = self.staged.get(machine).is_some_and(|staged| staged.path == path);
        staged || self.targets.get(machine).is_some_and(|targets| targets.contains_key(path))
    }

    /// Forgets a path of a machine.
    pub fn forget_path(&mut self, machine: &str, path: &str) {
        if self.staged.get(machine).is_some_and(|staged| staged.path == path) {
            self.staged.remove(machine);
        }
        if let Some(targets) = self.targets.get_mut(machine) {
            targets.remove(path);
            if targets.is_empty() {
                self.targets.remove(machine);
            }
        }
    }
}

impl State {
    pub fn by_name(&self, name: &str) -> Option<&Volume> {
        // The identity follows from the name.
        self.volumes.get(&identity(name)).filter(|volume| volume.name == name)
    }

    /// The sum of all volumes, in bytes.
    pub fn used_bytes(&self) -> u64 {
        self.volumes.values().map(|volume| volume.bytes).sum()
    }

    /// Every path that is in use on a machine, with its volume.
    pub fn mounts_of(&self, machine: &str) -> Vec<(String, String)> {
        let mut found = Vec::new();
        for volume in self.volumes.values() {
            let staged = volume.staged.get(machine).map(|staged| &staged.path);
            let targets = volume.targets.get(machine).into_iter().flat_map(BTreeMap::keys);
            found.extend(staged.into_iter().chain(targets).map(|p| (volume.id.clone(), p.clone())));
        }
        found
    }
}

/// The identity of the volume of a name, in the form of a UUID.
pub fn identity(name: &str) -> String {
    let digest = digest(&SHA256, name.as_bytes());
    let hex: String = digest.as_ref().iter().take(16).map(|byte| format!("{byte:02x}")).collect();
    let parts = [&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]];
    parts.join("-")
}

/// State that cannot be read or written.
#[derive(Debug, thiserror::Error)]
#[error("{doing} {} failed: {source}; the directory must be writable and whole", path.display())]
pub struct StoreError {
    doing: &'static str,
    path: PathBuf,
    source: io::Error,
}

/// Where a driver's state is kept.
#[derive(Debug, Clone)]
pub enum Store {
    /// Nowhere: it ends with the process.
    Memory,
    /// A file per volume in this directory.
    Directory(PathBuf),
}

impl Store {
    /// Everything that was saved.
    pub fn load(&self) -> Result<State, StoreError> {
        let mut state = State::default();
        let Self::Directory(directory) = self else { return Ok(state) };
        let failed = |doing, path: &PathBuf| {
            let path = path.clone();
            move |source| StoreError { doing, path, source }
        };
        fs::create_dir_all(directory).map_err(failed("making", directory))?;
        for entry in fs::read_dir(directory).map_err(failed("reading", directory))? {
            let path = entry.map_err(failed("reading", directory))?.path();
            // A file that was being written when the driver was killed.
            if path.extension().is_none_or(|extension| extension != "json") {
                continue;
            }
            let text = fs::read(&path).map_err(failed("reading", &path))?;
            let volume: Volume = serde_json::from_slice(&text)
                .map_err(|error| failed("reading", &path)(io::Error::other(error)))?;
            state.volumes.insert(volume.id.clone(), volume);
        }
        Ok(state)
    }

    /// Saves a volume as a whole; it is on the disk when this returns.
    pub fn save(&self, volume: &Volume) -> Result<(), StoreError> {
        let Self::Directory(directory) = self else { return Ok(()) };
        let path = directory.join(format!("{}.json", volume.id));
        let replace = || -> io::Result<()> {
            let new = directory.join(format!("{}.new", volume.id));
            let mut file = File::create(&new)?;
            file.write_all(&serde_json::to_vec(volume)?)?;
            file.sync_all()?;
            fs::rename(&new, &path)?;
            File::open(directory)?.sync_all()
        };
        replace().map_err(|source| StoreError { doing: "writing", path: path.clone(), source })
    }

    /// Forgets a volume.
    pub fn remove(&self, id: &str) -> Result<(), StoreError> {
        let Self::Directory(directory) = self else { return Ok(()) };
        let path = directory.join(format!("{id}.json"));
        match fs::remove_file(&path) {
            Err(source) if source.kind() != io::ErrorKind::NotFound => {
                Err(StoreError { doing: "removing", path, source })
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_saved_is_there_again_and_what_was_half_written_is_not() {
        let directory = tempfile::tempdir().expect("a directory");
        let store = Store::Directory(directory.path().to_owned());
        let text = r#"{"id": "v", "name": "n", "bytes": 7, "is_block": false}"#;
        let volume: Volume = serde_json::from_str(text).expect("a volume");
        store.save(&volume).expect("saved");
        fs::write(directory.path().join("w.new"), b"{half").expect("written");
        assert_eq!(store.load().expect("loaded").volumes["v"], volume);
        store.remove("v").expect("removed");
        store.remove("v").expect("removed again");
        assert!(store.load().expect("loaded").volumes.is_empty());
    }

    #[test]
    fn an_identity_looks_like_a_uuid_and_follows_from_the_name() {
        assert_eq!(identity("a"), identity("a"));
        assert_ne!(identity("a"), identity("b"));
        assert_eq!(identity("a").split('-').map(str::len).collect::<Vec<_>>(), [8, 4, 4, 4, 12]);
    }
}
