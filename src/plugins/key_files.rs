//! `kubernetes.io/configmap` and `kubernetes.io/secret`: a file per key, in a
//! plain directory. What the API has comes in through
//! [`NodeVolume::provided`]; publishing again brings the files up to date, all
//! of them at one moment:
//!
//! ```text
//! key                        -> ..data/key
//! ..data                     -> ..2026_01_01_08_00_00.17
//! ..2026_01_01_08_00_00.17/key  the content
//! ```
//!
//! New content is written beside the old, then `..data` is turned to it.
//! Upstream: `pkg/volume/util/atomic_writer.go`.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use base64::Engine;
use futures::future::{FutureExt, ready};
use jiff::Timestamp;
use serde_json::{Value, json};

use crate::model::volume_source::{Keys, VolumeSource, VolumeSpec};
use crate::plugins::error::PluginError;
use crate::plugins::host::{FileKind, Files, Host, HostError};
use crate::plugins::plugin::{
    Capabilities, Capability, Done, FoundVolume, Need, NodeVolume, PluginFacts, Published,
    VolumePlugin,
};
use crate::plugins::steps;

/// The plugins for `configMap` and `secret` volumes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyFiles {
    ConfigMap,
    Secret,
}

/// A file to be: path below the volume, content, mode.
type Wanted = BTreeMap<String, (Vec<u8>, u32)>;

impl KeyFiles {
    fn keys(self, spec: &VolumeSpec) -> Result<&Keys, PluginError> {
        match (self, &spec.source) {
            (Self::ConfigMap, VolumeSource::ConfigMap(keys))
            | (Self::Secret, VolumeSource::Secret(keys)) => Ok(keys),
            _ => Err(PluginError::NoPluginMatched),
        }
    }

    fn need(self, keys: &Keys) -> Need {
        let (name, optional) = (keys.object.clone(), keys.optional);
        match self {
            Self::ConfigMap => Need::ConfigMap { name, optional },
            Self::Secret => Need::Secret { name, optional },
        }
    }

    /// All keys of the object with their content.
    fn contents(self, object: &Value) -> BTreeMap<String, Vec<u8>> {
        let (plain, encoded) = match self {
            Self::ConfigMap => (&object["data"], &object["binaryData"]),
            Self::Secret => (&Value::Null, &object["data"]),
        };
        let decode = |text: &str| base64::prelude::BASE64_STANDARD.decode(text).unwrap_or_default();
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let plain = plain.as_object().into_iter().flatten();
        let plain = plain.map(|(key, value)| (key.clone(), text(value).into_bytes()));
        let encoded = encoded.as_object().into_iter().flatten();
        plain.chain(encoded.map(|(key, value)| (key.clone(), decode(&text(value))))).collect()
    }

    fn wanted(self, keys: &Keys, object: Option<&Value>) -> Result<Wanted, PluginError> {
        let Some(object) = object else {
            if keys.optional {
                return Ok(Wanted::new());
            }
            let kind = if self == Self::ConfigMap { "configmap" } else { "secret" };
            return Err(PluginError::Failed(format!("{kind} \"{}\" not found", keys.object)));
        };
        let mut contents = self.contents(object);
        let Some(items) = &keys.items else {
            let mode = keys.default_mode;
            return Ok(contents.into_iter().map(|(key, bytes)| (key, (bytes, mode))).collect());
        };
        let mut wanted = Wanted::new();
        for item in items {
            let Some(bytes) = contents.remove(&*item.key) else {
                if keys.optional {
                    continue;
                }
                let words = match self {
                    Self::ConfigMap => "configmap references non-existent config key",
                    Self::Secret => "references non-existent secret key",
                };
                return Err(PluginError::Failed(format!("{words}: {}", item.key)));
            };
            let mode = item.mode.unwrap_or(keys.default_mode);
            wanted.insert(item.path.to_string(), (bytes, mode));
        }
        Ok(wanted)
    }
}

/// The link that all visible names lead through.
const DATA: &str = "..data";
/// The largest file of a ConfigMap or Secret: the API takes no larger object.
const FILE_MAX: u64 = 4 << 20;

/// Brings the files below `target` up to date; nothing is written if they are.
async fn write(
    files: Files<'_>,
    target: &str,
    wanted: &Wanted,
    now: Timestamp,
) -> Result<(), HostError> {
    let data = format!("{target}/{DATA}");
    let tops: BTreeSet<&str> = wanted.keys().filter_map(|path| path.split('/').next()).collect();
    let is_there = files.look(&data).await?.is_some();
    let mut current = None;
    if is_there {
        let mut held = BTreeMap::new();
        read(files, &data, "", &mut held).await?;
        let same = held.len() == wanted.len()
            && wanted.iter().all(|(path, (content, _))| held.get(path) == Some(content));
        if same {
            current = files.look_at_link(&data).await?.and_then(|facts| facts.link);
        }
    }
    let current = match current {
        Some(current) => current,
        None => {
            let fresh = fresh(files, target, now).await?;
            for (path, (content, mode)) in wanted {
                let path = format!("{target}/{fresh}/{path}");
                if let Some((folder, _)) = path.rsplit_once('/') {
                    files.make_directories(folder, 0o755).await?;
                }
                files.write(&path, content, *mode).await?;
            }
            files.link(&data, &fresh).await?;
            fresh
        }
    };
    for top in &tops {
        files.link(&format!("{target}/{top}"), &format!("{DATA}/{top}")).await?;
    }
    for entry in files.list(target).await? {
        let path = format!("{target}/{}", entry.name);
        let is_kept = entry.name == DATA || entry.name == current || tops.contains(&*entry.name);
        match entry.facts.kind {
            _ if is_kept => {}
            FileKind::Directory => files.remove_tree(&path).await?,
            _ => files.remove_file(&path).await?,
        }
    }
    Ok(())
}

/// Makes a directory that was not there, named after the time.
async fn fresh(files: Files<'_>, target: &str, now: Timestamp) -> Result<String, HostError> {
    let mut number = now.subsec_nanosecond();
    loop {
        let name = format!("..{}.{number}", now.strftime("%Y_%m_%d_%H_%M_%S"));
        let path = format!("{target}/{name}");
        if files.look_at_link(&path).await?.is_none() {
            files.make_directories(&path, 0o755).await?;
            return Ok(name);
        }
        number += 1;
    }
}

/// All files below a directory with their content, by path.
async fn read(
    files: Files<'_>,
    folder: &str,
    prefix: &str,
    held: &mut BTreeMap<String, Vec<u8>>,
) -> Result<(), HostError> {
    for entry in files.list(folder).await? {
        let (path, name) = (format!("{folder}/{}", entry.name), format!("{prefix}{}", entry.name));
        if entry.facts.kind == FileKind::Directory {
            Box::pin(read(files, &path, &format!("{name}/"), held)).await?;
        } else {
            held.insert(name, files.read(&path, FILE_MAX).await?);
        }
    }
    Ok(())
}

impl VolumePlugin for KeyFiles {
    fn facts(&self) -> PluginFacts {
        let (name, source) = match self {
            Self::ConfigMap => ("kubernetes.io/configmap", "configMap"),
            Self::Secret => ("kubernetes.io/secret", "secret"),
        };
        PluginFacts {
            name,
            source: Some(source),
            driver: None,
            capabilities: Capabilities::of(&[
                Capability::Publish,
                Capability::Ownership,
                Capability::Remount,
            ]),
        }
    }

    fn volume_name(&self, spec: &VolumeSpec) -> Result<String, PluginError> {
        Ok(spec.name.to_string())
    }

    fn needs(&self, spec: &VolumeSpec) -> Vec<Need> {
        self.keys(spec).map(|keys| self.need(keys)).into_iter().collect()
    }

    fn publish<'a>(&'a self, volume: &'a NodeVolume) -> Done<'a, Published> {
        async move {
            let keys = self.keys(&volume.spec)?;
            let wanted = self.wanted(keys, volume.provided.get(&self.need(keys)))?;
            let files = Files(&*volume.host);
            let target = self.pod_path(volume);
            files.make_directories(&target, 0o777).await?;
            if let Some(path) = wanted.keys().find(|path| path.split('/').any(|step| step == ".."))
            {
                let text = format!("invalid path: {path}: must not contain '..'");
                return Err(PluginError::Failed(text));
            }
            let now = volume.host.clock().now();
            write(files, &target, &wanted, now).await?;
            steps::own(volume, &target).await?;
            let published =
                Published { host_path: target, read_only: true, managed: true, warning: None };
            Ok(published)
        }
        .boxed()
    }

    fn unpublish<'a>(&'a self, volume: &'a NodeVolume) -> Done<'a, ()> {
        async move { Ok(Files(&*volume.host).remove_tree(&self.pod_path(volume)).await?) }.boxed()
    }

    fn reconstruct<'a>(
        &'a self,
        _host: &'a Arc<dyn Host>,
        found: &'a FoundVolume,
    ) -> Done<'a, VolumeSpec> {
        let volume = match self {
            Self::ConfigMap => json!({"name": &*found.name, "configMap": {}}),
            Self::Secret => json!({"name": &*found.name, "secret": {}}),
        };
        ready(Ok(VolumeSpec::from_inline(&volume))).boxed()
    }
}
