//! What a node has after its agent was started again: found in the pods'
//! directories, entered into the actual state as uncertain.
//!
//! Upstream: `reconstruct.go` and `reconstruct_common.go` of the kubelet's
//! reconciler, section by section; nothing is mounted or unmounted here.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::controllers::node_agent::volumes::actual::{
    Actual, ActualMount, ActualVolume, Attachability, DeviceState, MountState, NodeSize,
};
use crate::controllers::node_agent::volumes::job::only_uid;
use crate::model::volume::VolumeMode;
use crate::model::volume_source::VolumeSpec;
use crate::plugins::PluginError;
use crate::plugins::host::files::FileEntry;
use crate::plugins::host::{FileKind, Files, Host, HostError, OnBehalf};
use crate::plugins::layout;
use crate::plugins::plugin::{
    Capability, FoundVolume, Leftover, NodeVolume, Plugins, VolumePlugin, unique_volume_name,
};
use crate::plugins::steps;

/// A volume's directory, or link, below a pod's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FoundPath {
    pub path: String,
    /// The plugin's name, unescaped.
    pub plugin: String,
    pub volume: FoundVolume,
}

/// All volumes of all pods that have left something on the host.
pub async fn scan(host: &dyn Host) -> Result<Vec<FoundPath>, HostError> {
    let mut found = Vec::new();
    for pod in directories(host, &host.layout().pods()).await? {
        let uid: Arc<str> = pod.name.into();
        let layout = host.layout();
        for (top, is_block) in [(layout.pod_volumes(&uid), false), (layout.pod_devices(&uid), true)]
        {
            for plugin in directories(host, &top).await? {
                let below = format!("{top}/{}", plugin.name);
                for volume in Files(host).entries(&below).await? {
                    let path = format!("{below}/{}", volume.name);
                    found.push(FoundPath {
                        path: path.clone(),
                        plugin: layout::unescaped(&plugin.name),
                        volume: FoundVolume {
                            pod_uid: uid.clone(),
                            name: volume.name.into(),
                            is_block,
                            path: path.into(),
                        },
                    });
                }
            }
        }
    }
    Ok(found)
}

async fn directories(host: &dyn Host, path: &str) -> Result<Vec<FileEntry>, HostError> {
    let mut entries = Files(host).entries(path).await?;
    entries.retain(|entry| entry.facts.kind == FileKind::Directory);
    Ok(entries)
}

/// Enters what was found; gives back what could not be made out.
pub async fn enter(
    host: &Arc<dyn Host>,
    plugins: &Plugins,
    found: Vec<FoundPath>,
) -> Result<(Actual, Vec<FoundPath>), HostError> {
    let (mut actual, mut failed) = (Actual::default(), Vec::new());
    for path in found {
        let entered = match plugins.by_name(&path.plugin) {
            Some(plugin) => enter_one(host, &**plugin, &path.volume, &mut actual).await,
            None => Err(PluginError::NoPluginMatched),
        };
        if let Err(error) = entered {
            let node = host.node();
            tracing::warn!(%node, path = path.path, %error, "a volume found cannot be made out");
            failed.push(path);
        }
    }
    enter_mounts(host, plugins, &mut actual).await?;
    for plugin in plugins.iter() {
        for leftover in plugin.leftovers(host).await? {
            enter_leftover(host, &**plugin, leftover, &mut actual).await;
        }
    }
    Ok((actual, failed))
}

/// Enters what is mounted for all pods, or bound for one, but has left nothing
/// in any pod's directory: the agent was stopped between two steps of a mount,
/// and the pod has gone since. Upstream overlooks it; a volume could then be
/// detached while it is mounted.
async fn enter_mounts(
    host: &Arc<dyn Host>,
    plugins: &Plugins,
    actual: &mut Actual,
) -> Result<(), HostError> {
    let table = host.mounts().await?;
    for mount in table.below(&host.layout().plugin("")) {
        let mut parts = mount.target.rsplit('/');
        let (Some(last), Some(above)) = (parts.next(), parts.next()) else { continue };
        let found = |pod_uid: &str, name: &str, is_block| FoundVolume {
            pod_uid: pod_uid.into(),
            name: name.into(),
            is_block,
            path: mount.target.as_str().into(),
        };
        for plugin in plugins.iter() {
            let (staged, bound) = (found("", last, false), found(last, above, true));
            for found in [staged, bound] {
                enter_mount(host, &**plugin, &found, &mount.target, actual).await;
            }
        }
    }
    Ok(())
}

/// Enters a mount if the plugin would have made it for a volume of this name.
async fn enter_mount(
    host: &Arc<dyn Host>,
    plugin: &dyn VolumePlugin,
    found: &FoundVolume,
    target: &str,
    actual: &mut Actual,
) {
    let needed = if found.is_block { Capability::Block } else { Capability::Stage };
    if !plugin.facts().can(needed) {
        return;
    }
    let Ok(spec) = plugin.reconstruct(host, found).await else { return };
    let facts = plugin.facts_of(&spec);
    let Ok(unique) = unique_volume_name(plugin, &spec, &found.pod_uid) else { return };
    let volume = found_volume(host, &spec, &unique, &found.pod_uid);
    let own = if found.is_block {
        let paths = plugin.block_paths(&volume);
        paths.map(|paths| format!("{}/{}", paths.global_map, found.pod_uid))
    } else {
        plugin.device_mount_path(&volume).await.unwrap_or_default()
    };
    if own.as_deref() != Some(target) {
        return;
    }
    let path = if found.is_block { parent(target) } else { target };
    let entry = actual.volumes.entry(unique.into());
    let entry = entry.or_insert_with(|| uncertain(&spec, facts.name, true, path.to_owned()));
    if found.is_block {
        entry.pods.entry(found.pod_uid.clone()).or_insert_with(|| uncertain_mount(spec, true));
    }
}

/// Enters what a plugin itself knows to have been set up, for the same reason.
async fn enter_leftover(
    host: &Arc<dyn Host>,
    plugin: &dyn VolumePlugin,
    leftover: Leftover,
    actual: &mut Actual,
) {
    let Leftover { spec, pods } = leftover;
    let Ok(unique) = unique_volume_name(plugin, &spec, "") else { return };
    let volume = found_volume(host, &spec, &unique, "");
    let path = match spec.mode {
        VolumeMode::Block => plugin.block_paths(&volume).map(|paths| paths.global_map),
        VolumeMode::Filesystem => plugin.device_mount_path(&volume).await.unwrap_or_default(),
    };
    let (name, path) = (plugin.facts_of(&spec).name, path.unwrap_or_default());
    let entry = actual.volumes.entry(unique.into());
    let entry = entry.or_insert_with(|| uncertain(&spec, name, true, path));
    for pod in pods {
        entry.pods.entry(pod).or_insert_with(|| uncertain_mount(spec.clone(), true));
    }
}

/// A volume as it was found.
fn found_volume(host: &Arc<dyn Host>, spec: &VolumeSpec, unique: &str, pod: &str) -> NodeVolume {
    NodeVolume {
        host: host.clone(),
        spec: spec.clone(),
        unique_name: unique.into(),
        device_path: String::new(),
        pod: Some(only_uid(&pod.into())),
        provided: BTreeMap::new(),
    }
}

fn parent(path: &str) -> &str {
    path.rsplit_once('/').map_or("/", |(parent, _)| parent)
}

fn uncertain(
    spec: &VolumeSpec,
    plugin: &'static str,
    has_device: bool,
    device_mount_path: String,
) -> ActualVolume {
    ActualVolume {
        growth: NodeSize::default(),
        spec: spec.clone(),
        plugin,
        attachable: Attachability::Uncertain,
        device: if has_device { DeviceState::Uncertain } else { DeviceState::NotMounted },
        device_path: String::new(),
        device_mount_path,
        pods: BTreeMap::new(),
        is_reconstructed: true,
    }
}

fn uncertain_mount(spec: VolumeSpec, is_block: bool) -> ActualMount {
    ActualMount {
        state: MountState::Uncertain,
        remount: false,
        spec,
        published: None,
        is_block,
        is_reconstructed: true,
    }
}

async fn enter_one(
    host: &Arc<dyn Host>,
    plugin: &dyn VolumePlugin,
    found: &FoundVolume,
    actual: &mut Actual,
) -> Result<(), PluginError> {
    let spec = plugin.reconstruct(host, found).await?;
    let facts = plugin.facts_of(&spec);
    let unique: Arc<str> = unique_volume_name(plugin, &spec, &found.pod_uid)?.into();
    let volume = found_volume(host, &spec, &unique, &found.pod_uid);
    let has_device = found.is_block || facts.can(Capability::Stage);
    let device_mount_path = if found.is_block {
        plugin.block_paths(&volume).map(|paths| paths.global_map)
    } else {
        // What the path depends on may be gone.
        plugin.device_mount_path(&volume).await.unwrap_or_default()
    };
    let path = device_mount_path.unwrap_or_default();
    let own = actual.volumes.entry(unique);
    let own = own.or_insert_with(|| uncertain(&spec, facts.name, has_device, path));
    own.pods.insert(found.pod_uid.clone(), uncertain_mount(spec, found.is_block));
    Ok(())
}

/// Takes away, by force, what could not be made out: unmounts what lies there,
/// then removes the directory if it is empty, or the link. Never recursive.
pub async fn clean(host: &dyn Host, found: &FoundPath) -> Result<(), PluginError> {
    let on_behalf = OnBehalf::pod(
        format!("{}/{}", found.plugin, found.volume.name),
        found.volume.pod_uid.clone(),
    );
    if found.volume.is_block {
        return Ok(Files(host).remove_file(&found.path).await?);
    }
    let table = host.mounts().await?;
    for mount in table.below(&found.path).into_iter().rev() {
        steps::unmount(host, &on_behalf, &mount.target, false).await?;
    }
    Ok(Files(host).remove_directory(&found.path).await?)
}
