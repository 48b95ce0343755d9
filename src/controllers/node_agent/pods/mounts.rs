//! What a container gets mounted: from its volumeMounts and the pod's mounted
//! volumes to the mounts of the container runtime's interface. Pure.
//!
//! Upstream: `makeMounts`, `makeBlockVolumes` in `pkg/kubelet/kubelet_pods.go`.

use std::fmt;
use std::sync::Arc;

use serde_json::Value;

use crate::controllers::node_agent::volumes::MountedVolume;
use crate::plugins::layout::Layout;

/// A mount as the runtime is told it (CRI `Mount`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContainerMount {
    /// The volume it shows; empty for the agent's own.
    pub volume: Arc<str>,
    pub container_path: String,
    pub host_path: String,
    pub read_only: bool,
    pub propagation: Propagation,
    pub recursive_read_only: bool,
    pub selinux_relabel: bool,
}

/// A device as the runtime is told it (CRI `Device`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContainerDevice {
    pub volume: Arc<str>,
    pub container_path: String,
    pub host_path: String,
    /// `mrw`, or `r` if read-only.
    pub permissions: &'static str,
}

/// Whether mounts made later show on the other side.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Propagation {
    Private,
    HostToContainer,
    Bidirectional,
}

/// A directory or file inside a volume that is to be mounted instead of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SubPath {
    /// The mount's place among the container's.
    pub index: usize,
    pub outer_name: Arc<str>,
    /// Where the volume is.
    pub volume_path: String,
    /// Relative, without `..`.
    pub path: String,
    /// Where the bind goes.
    pub target: String,
}

/// A mount, and what has to be prepared for it first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlannedMount {
    pub mount: ContainerMount,
    pub sub_path: Option<SubPath>,
}

/// All that a container gets.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Plan {
    pub mounts: Vec<PlannedMount>,
    pub devices: Vec<ContainerDevice>,
}

/// Why a container's mounts cannot be made, in Kubernetes' words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MountFault {
    VolumeMissing { volume: String, container: String },
    DeviceMissing { volume: String, container: String },
    SubPathAbsolute { path: String },
    SubPathParent { path: String },
    SubPathNotExpanded { path: String },
    DevicePathRelative { path: String },
    RecursiveReadOnly(RecursiveReadOnlyFault),
}

/// Why a mount cannot be read-only with all that is mounted below it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RecursiveReadOnlyFault {
    NotReadOnly { volume: String },
    Propagates { volume: String, propagation: String },
    UnknownMode { mode: String },
}

impl fmt::Display for RecursiveReadOnlyFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let asked = "requested recursive read-only mode, but it is not";
        match self {
            Self::NotReadOnly { volume } => write!(f, "volume \"{volume}\" {asked} read-only"),
            Self::Propagates { volume, propagation } => {
                write!(
                    f,
                    "volume \"{volume}\" {asked} compatible with propagation \"{propagation}\""
                )
            }
            Self::UnknownMode { mode } => write!(f, "unknown recursive read-only mode \"{mode}\""),
        }
    }
}

/// Whether a volumeMount is to be read-only with all that is mounted below it.
/// The simulated runtime can do that, so `IfPossible` always comes to it.
///
/// Upstream: `resolveRecursiveReadOnly` in `pkg/kubelet/kubelet_pods.go`.
pub fn is_recursively_read_only(asked: &Value) -> Result<bool, RecursiveReadOnlyFault> {
    let mode = text(&asked["recursiveReadOnly"]);
    if matches!(mode, "" | "Disabled") {
        return Ok(false);
    }
    let volume = text(&asked["name"]).to_owned();
    if asked["readOnly"] != true {
        return Err(RecursiveReadOnlyFault::NotReadOnly { volume });
    }
    match (mode, text(&asked["mountPropagation"])) {
        ("IfPossible" | "Enabled", "" | "None") => Ok(true),
        ("IfPossible" | "Enabled", propagation) => {
            let propagation = propagation.to_owned();
            Err(RecursiveReadOnlyFault::Propagates { volume, propagation })
        }
        (mode, _) => Err(RecursiveReadOnlyFault::UnknownMode { mode: mode.to_owned() }),
    }
}

impl fmt::Display for MountFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::VolumeMissing { volume, container } => {
                write!(f, "cannot find volume \"{volume}\" to mount into container \"{container}\"")
            }
            Self::DeviceMissing { volume, container } => {
                write!(f, "cannot find volume \"{volume}\" to pass into container \"{container}\"")
            }
            Self::SubPathAbsolute { path } => {
                write!(f, "error SubPath `{path}` must not be an absolute path")
            }
            Self::SubPathParent { path } => {
                write!(f, "unable to provision SubPath `{path}`: must not contain '..'")
            }
            Self::SubPathNotExpanded { path } => {
                write!(f, "cannot expand subPathExpr \"{path}\": missing value for its variables")
            }
            Self::DevicePathRelative { path } => {
                write!(f, "error DevicePath `{path}` must be an absolute path")
            }
            Self::RecursiveReadOnly(fault) => {
                write!(f, "failed to resolve recursive read-only mode: {fault}")
            }
        }
    }
}

/// What of the pod the mounts depend on.
#[derive(Debug, Clone, Copy)]
pub struct Around<'a> {
    pub pod_uid: &'a str,
    pub layout: &'a Layout,
    pub mounted: &'a [MountedVolume],
    /// Where the termination message goes.
    pub termination_log: &'a str,
    pub has_hosts_file: bool,
}

/// The mounts and devices of one container, in the order of its volumeMounts.
pub fn plan(container: &Value, around: Around<'_>) -> Result<Plan, MountFault> {
    let name = text(&container["name"]);
    let mut mounts: Vec<PlannedMount> = Vec::new();
    for (index, asked) in list(&container["volumeMounts"]).iter().enumerate() {
        mounts.push(volume_mount(container, asked, index, &mounts, around)?);
    }
    let covers_hosts = mounts.iter().any(|planned| planned.mount.container_path == "/etc/hosts");
    if around.has_hosts_file && !covers_hosts {
        mounts.push(own_mount("/etc/hosts", around.layout.etc_hosts(around.pod_uid)));
    }
    let message_path = match text(&container["terminationMessagePath"]) {
        "" => "/dev/termination-log",
        path => path,
    };
    mounts.push(own_mount(message_path, around.termination_log.to_owned()));
    let devices = list(&container["volumeDevices"]).iter().map(|asked| device(asked, name, around));
    Ok(Plan { mounts, devices: devices.collect::<Result<_, _>>()? })
}

fn volume_mount(
    container: &Value,
    asked: &Value,
    index: usize,
    before: &[PlannedMount],
    around: Around<'_>,
) -> Result<PlannedMount, MountFault> {
    let (name, volume) = (text(&container["name"]), text(&asked["name"]));
    let mounted = around.mounted.iter().find(|m| &*m.outer_name == volume && !m.is_block);
    let Some(mounted) = mounted else {
        let (volume, container) = (volume.to_owned(), name.to_owned());
        return Err(MountFault::VolumeMissing { volume, container });
    };
    let read_only = asked["readOnly"] == true;
    let sub_path = sub_path(container, asked)?.map(|path| SubPath {
        index,
        outer_name: volume.into(),
        volume_path: mounted.host_path.clone(),
        path,
        target: around.layout.subpath(around.pod_uid, &mounted.inner_name, name, index),
    });
    let recursive = is_recursively_read_only(asked).map_err(MountFault::RecursiveReadOnly)?;
    let first = !before.iter().any(|planned| &*planned.mount.volume == volume);
    let mount = ContainerMount {
        volume: volume.into(),
        container_path: absolute(text(&asked["mountPath"])),
        host_path: sub_path.as_ref().map_or(mounted.host_path.clone(), |sub| sub.target.clone()),
        read_only: read_only || mounted.read_only,
        propagation: match text(&asked["mountPropagation"]) {
            "HostToContainer" => Propagation::HostToContainer,
            "Bidirectional" => Propagation::Bidirectional,
            _ => Propagation::Private,
        },
        recursive_read_only: recursive,
        selinux_relabel: mounted.managed && first,
    };
    Ok(PlannedMount { mount, sub_path })
}

fn own_mount(container_path: &str, host_path: String) -> PlannedMount {
    let mount = ContainerMount {
        volume: "".into(),
        container_path: container_path.to_owned(),
        host_path,
        read_only: false,
        propagation: Propagation::Private,
        recursive_read_only: false,
        selinux_relabel: true,
    };
    PlannedMount { mount, sub_path: None }
}

fn sub_path(container: &Value, asked: &Value) -> Result<Option<String>, MountFault> {
    let path = match text(&asked["subPathExpr"]) {
        "" => text(&asked["subPath"]).to_owned(),
        expression => expand(container, expression)
            .ok_or_else(|| MountFault::SubPathNotExpanded { path: expression.to_owned() })?,
    };
    if path.is_empty() {
        return Ok(None);
    }
    if path.starts_with('/') {
        return Err(MountFault::SubPathAbsolute { path });
    }
    if path.split('/').any(|part| part == "..") {
        return Err(MountFault::SubPathParent { path });
    }
    Ok(Some(path))
}

/// `$(NAME)` replaced by the container's plain environment.
fn expand(container: &Value, expression: &str) -> Option<String> {
    let (mut out, mut rest) = (String::new(), expression);
    while let Some((before, after)) = rest.split_once("$(") {
        let (name, after) = after.split_once(')')?;
        let variable = list(&container["env"]).iter().find(|v| text(&v["name"]) == name)?;
        out.push_str(before);
        out.push_str(variable["value"].as_str()?);
        rest = after;
    }
    out.push_str(rest);
    Some(out)
}

fn device(
    asked: &Value,
    container: &str,
    around: Around<'_>,
) -> Result<ContainerDevice, MountFault> {
    let (volume, path) = (text(&asked["name"]), text(&asked["devicePath"]));
    if !path.starts_with('/') {
        return Err(MountFault::DevicePathRelative { path: path.to_owned() });
    }
    let mounted = around.mounted.iter().find(|m| &*m.outer_name == volume && m.is_block);
    let Some(mounted) = mounted else {
        let (volume, container) = (volume.to_owned(), container.to_owned());
        return Err(MountFault::DeviceMissing { volume, container });
    };
    Ok(ContainerDevice {
        volume: volume.into(),
        container_path: path.to_owned(),
        host_path: mounted.host_path.clone(),
        permissions: if mounted.read_only { "r" } else { "mrw" },
    })
}

/// What one would type at a single machine to get the same mounts.
pub fn docker_line(
    container: &Value,
    mounts: &[ContainerMount],
    devices: &[ContainerDevice],
) -> String {
    let mut words = vec!["docker".to_owned(), "run".to_owned()];
    for mount in mounts.iter().filter(|mount| !mount.volume.is_empty()) {
        let mut options: Vec<&str> = Vec::new();
        options.extend(mount.read_only.then_some("ro"));
        options.extend(match mount.propagation {
            Propagation::Private => None,
            Propagation::HostToContainer => Some("rslave"),
            Propagation::Bidirectional => Some("rshared"),
        });
        let options =
            if options.is_empty() { String::new() } else { format!(":{}", options.join(",")) };
        words.push("-v".to_owned());
        words.push(format!("{}:{}{options}", mount.host_path, mount.container_path));
    }
    for device in devices {
        words.push(format!("--device={}:{}", device.host_path, device.container_path));
    }
    words.push(text(&container["image"]).to_owned());
    words.join(" ")
}

fn absolute(path: &str) -> String {
    let path = if path.starts_with('/') { path.to_owned() } else { format!("/{path}") };
    if path.len() > 1 { path.trim_end_matches('/').to_owned() } else { path }
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn mounted(name: &str, read_only: bool, is_block: bool) -> MountedVolume {
        MountedVolume {
            outer_name: name.into(),
            inner_name: format!("pv-{name}").into(),
            unique_name: format!("kubernetes.io/x/{name}").into(),
            host_path: format!("/vol/{name}"),
            is_block,
            read_only,
            managed: true,
        }
    }

    fn planned(container: &Value) -> Result<Plan, String> {
        let volumes =
            [mounted("a", false, false), mounted("b", true, false), mounted("disk", false, true)];
        let around = Around {
            pod_uid: "u",
            layout: &Layout::default(),
            mounted: &volumes,
            termination_log: "/log",
            has_hosts_file: true,
        };
        plan(container, around).map_err(|fault| fault.to_string())
    }

    #[test]
    fn mounts_come_in_order_with_those_of_the_agent_last() {
        let container = json!({"name": "app", "image": "busybox", "volumeMounts": [
            {"name": "b", "mountPath": "in/"},
            {"name": "a", "mountPath": "/data", "readOnly": true, "mountPropagation": "HostToContainer"},
            {"name": "a", "mountPath": "/sub", "subPath": "x/y"},
        ], "volumeDevices": [{"name": "disk", "devicePath": "/dev/disk"}]});
        let plan = planned(&container).expect("planned");
        let told = |planned: &PlannedMount| {
            let mount = &planned.mount;
            (mount.host_path.clone(), mount.container_path.clone(), mount.read_only)
        };
        let mounts: Vec<_> = plan.mounts.iter().map(told).collect();
        let row =
            |host: &str, container: &str, read_only| (host.into(), container.into(), read_only);
        assert_eq!(
            mounts,
            [
                row("/vol/b", "/in", true),
                row("/vol/a", "/data", true),
                row("/var/lib/kubelet/pods/u/volume-subpaths/pv-a/app/2", "/sub", false),
                row("/var/lib/kubelet/pods/u/etc-hosts", "/etc/hosts", false),
                row("/log", "/dev/termination-log", false),
            ]
        );
        assert!(plan.mounts[1].mount.selinux_relabel && !plan.mounts[2].mount.selinux_relabel);
        let mounts: Vec<_> = plan.mounts.into_iter().map(|planned| planned.mount).collect();
        assert_eq!(
            docker_line(&container, &mounts, &plan.devices),
            "docker run -v /vol/b:/in:ro -v /vol/a:/data:ro,rslave \
             -v /var/lib/kubelet/pods/u/volume-subpaths/pv-a/app/2:/sub \
             --device=/vol/disk:/dev/disk busybox"
        );
    }

    #[test]
    fn what_cannot_be_mounted_is_told_in_kubernetes_words() {
        let mount = |extra: Value| {
            let mut mount = json!({"name": "a", "mountPath": "/data"});
            for (key, value) in extra.as_object().into_iter().flatten() {
                mount[key] = value.clone();
            }
            json!({"name": "app", "volumeMounts": [mount]})
        };
        for (container, expected) in [
            (
                mount(json!({"name": "z"})),
                "cannot find volume \"z\" to mount into container \"app\"",
            ),
            (mount(json!({"subPath": "/x"})), "error SubPath `/x` must not be an absolute path"),
            (
                mount(json!({"subPath": "a/../b"})),
                "unable to provision SubPath `a/../b`: must not contain '..'",
            ),
            (
                mount(json!({"recursiveReadOnly": "Enabled"})),
                "failed to resolve recursive read-only mode: volume \"a\" requested recursive \
                 read-only mode, but it is not read-only",
            ),
            (
                mount(json!({
                    "recursiveReadOnly": "IfPossible", "readOnly": true,
                    "mountPropagation": "HostToContainer",
                })),
                "failed to resolve recursive read-only mode: volume \"a\" requested recursive \
                 read-only mode, but it is not compatible with propagation \"HostToContainer\"",
            ),
            (
                json!({"name": "app", "volumeDevices": [{"name": "disk", "devicePath": "x"}]}),
                "error DevicePath `x` must be an absolute path",
            ),
            (
                json!({"name": "app", "volumeDevices": [{"name": "a", "devicePath": "/x"}]}),
                "cannot find volume \"a\" to pass into container \"app\"",
            ),
        ] {
            assert_eq!(planned(&container), Err(expected.to_owned()));
        }
    }
}
