//! FlexVolume: volumes of drivers that are executables.
//!
//! ```text
//!   drivers: directory ─> discovery (pure) ─> init ─> capabilities
//!   step ─> options (pure) ─> executable <command> <args…> ─> reply (pure)
//!                                                    └─ Not supported: the default step
//! ```
//!
//! A driver that attaches has its volumes attached by the controller, mounted
//! once on a node and bound into each pod; any other is called for each pod
//! alone. Attach, detach and growing run where controllers run, the rest on
//! the node.
//!
//! What a driver prints is bounded, and what it starts is killed with it when
//! it is given up: see `host::process`. A driver that hangs holds up its own
//! volume only, and shows as a command that runs.
//!
//! Deliberately absent, as upstream: mount options, block volumes, remounts,
//! provisioning. The names that `getvolumename` gives are ignored, as there.
//!
//! Upstream: `pkg/volume/flexvolume`.

pub mod discovery;
pub mod drivers;
pub mod options;
pub mod reply;

use std::sync::Arc;
use std::time::Duration;

use futures::future::{Either, FutureExt, ready, select};
use serde_json::json;

use crate::model::clock::TimerUse;
use crate::model::quantity::Quantity;
use crate::model::volume_source::{VolumeSource, VolumeSpec};
use crate::plugins::error::PluginError;
use crate::plugins::flex_volume::drivers::FlexDrivers;
use crate::plugins::flex_volume::options::Options;
use crate::plugins::flex_volume::reply::{CallFault, Reply};
use crate::plugins::format_and_mount::{self, Request};
use crate::plugins::host::{Command, Files, Host, OnBehalf};
use crate::plugins::layout::unescaped;
use crate::plugins::plugin::{
    Capabilities, Capability, Done, FoundVolume, Need, NodeVolume, PluginFacts, Published,
    VolumePlugin,
};
use crate::plugins::steps::{self, MOUNT_POINT_MODE};

/// Where a kubelet looks for drivers.
pub const DIRECTORY: &str = "/usr/libexec/kubernetes/kubelet-plugins/volume/exec";
const NAME: &str = "kubernetes.io/flexvolume";
/// How long a device is waited for.
const WAIT_FOR_ATTACH: Duration = Duration::from_secs(600);

/// What drivers may be able to do.
pub const FACTS: PluginFacts = PluginFacts {
    name: NAME,
    source: Some("flexVolume"),
    driver: None,
    capabilities: Capabilities::of(&[
        Capability::Attach,
        Capability::Stage,
        Capability::Publish,
        Capability::ExpandController,
        Capability::ExpandNode,
        Capability::Ownership,
    ]),
};

/// What a driver can do that does not attach.
const MOUNT_ONLY: Capabilities = Capabilities::of(&[Capability::Publish, Capability::Ownership]);

/// The plugin for all drivers that are installed.
pub struct FlexVolume {
    drivers: FlexDrivers,
}

impl FlexVolume {
    pub fn new(drivers: FlexDrivers) -> Self {
        Self { drivers }
    }

    /// A call on a node.
    async fn on_node(
        &self,
        volume: &NodeVolume,
        command: &'static str,
        arguments: Vec<String>,
    ) -> Result<Reply, CallFault> {
        let driver = driver_of(&volume.spec);
        self.drivers.call(&*volume.host, &volume.on_behalf(), driver, command, arguments).await
    }

    /// A call where controllers run.
    async fn by_controller(
        &self,
        spec: &VolumeSpec,
        command: &'static str,
        arguments: Vec<String>,
    ) -> Result<Reply, CallFault> {
        let driver = driver_of(spec);
        let on_behalf = OnBehalf::volume(format!("{driver}/{}", spec.name));
        let host = &**self.drivers.controller();
        self.drivers.call(host, &on_behalf, driver, command, arguments).await
    }

    /// Asks for the volume's name. The answer is not used, its failure is.
    async fn ask_name(&self, host: &dyn Host, spec: &VolumeSpec) -> Result<(), PluginError> {
        let driver = driver_of(spec);
        let on_behalf = OnBehalf::volume(format!("{driver}/{}", spec.name));
        let arguments = vec![options::of(spec, Options::new())];
        let asked = self.drivers.call(host, &on_behalf, driver, "getvolumename", arguments).await;
        or_default(asked.map(|_| ()), ())
    }

    fn attaches(&self, spec: &VolumeSpec) -> bool {
        let driver = driver_of(spec);
        self.drivers.capabilities(driver).unwrap_or_default().attach
    }

    async fn attach_volume(&self, spec: &VolumeSpec, node: &str) -> Result<String, PluginError> {
        self.ask_name(&**self.drivers.controller(), spec).await?;
        let arguments = vec![options::of(spec, Options::new()), node.to_owned()];
        let attached = self.by_controller(spec, "attach", arguments).await;
        or_default(attached.map(|reply| reply.device), String::new())
    }

    async fn wait(&self, volume: &NodeVolume) -> Result<String, PluginError> {
        let device = &volume.device_path;
        let arguments = vec![device.clone(), options::of(&volume.spec, Options::new())];
        let waiting = self.on_node(volume, "waitforattach", arguments);
        let patience = volume.host.clock().sleep(WAIT_FOR_ATTACH, TimerUse::Work);
        let found = match select(std::pin::pin!(waiting), patience).await {
            Either::Left((found, _)) => found,
            // Dropped, the driver is killed.
            Either::Right(_) => return Err(PluginError::Failed("timeout".to_owned())),
        };
        or_default(found.map(|reply| reply.device), device.clone())
    }

    async fn device_mount(&self, volume: &NodeVolume) -> Result<Option<String>, PluginError> {
        if !self.attaches(&volume.spec) {
            return Ok(None);
        }
        self.ask_name(&*volume.host, &volume.spec).await.map_err(|error| match error {
            PluginError::Failed(text) => {
                let text = format!("GetVolumeName failed from getDeviceMountPath: {text}");
                PluginError::Failed(text)
            }
            error => error,
        })?;
        Ok(Some(device_mount_path(volume)))
    }

    async fn mount_device(&self, volume: &NodeVolume) -> Result<(), PluginError> {
        let (host, target) = (&*volume.host, device_mount_path(volume));
        if host.mounts().await?.is_mount_point(&target) {
            return Ok(());
        }
        Files(host).make_directories(&target, MOUNT_POINT_MODE).await?;
        let device = volume.device_path.clone();
        let options = options::of(&volume.spec, Options::new());
        let arguments = vec![target.clone(), device.clone(), options];
        match self.on_node(volume, "mountdevice", arguments).await {
            Err(CallFault::NotSupported) if device.is_empty() => Ok(()),
            Err(CallFault::NotSupported) => {
                let options = if volume.spec.read_only { "ro" } else { "rw" };
                let request = Request {
                    device,
                    target,
                    fs_type: fs_type(&volume.spec).to_owned(),
                    options: vec![options.to_owned()],
                    format_options: Vec::new(),
                };
                format_and_mount::run(host, &volume.on_behalf(), &request).await
            }
            done => or_default(done.map(|_| ()), ()),
        }
    }

    async fn unmount_device(&self, volume: &NodeVolume, path: &str) -> Result<(), PluginError> {
        let host = &*volume.host;
        if matches!(Files(host).look(path).await, Ok(None)) {
            return Ok(());
        }
        if host.mounts().await?.is_mount_point(path) {
            match self.on_node(volume, "unmountdevice", vec![path.to_owned()]).await {
                Err(CallFault::NotSupported) => {
                    steps::clean_up(host, &volume.on_behalf(), path).await?;
                }
                done => or_default(done.map(|_| ()), ())?,
            }
        }
        Ok(Files(host).remove_directory(path).await?)
    }

    async fn mount(&self, volume: &NodeVolume) -> Result<Published, PluginError> {
        let (host, target) = (&*volume.host, self.pod_path(volume));
        let read_only = volume.spec.read_only;
        let published =
            |managed| Published { host_path: target.clone(), read_only, managed, warning: None };
        if host.mounts().await?.is_mount_point(&target) {
            return Ok(published(false));
        }
        Files(host).make_directories(&target, MOUNT_POINT_MODE).await?;
        if let Err(error) = self.mount_at(volume, &target).await {
            if !error.leaves_doubt()
                && let Err(left) = Files(host).remove_directory(&target).await
            {
                tracing::warn!(target, error = %left, "a failed mount is not cleaned up");
            }
            return Err(error);
        }
        let capabilities = self.drivers.capabilities(driver_of(&volume.spec)).unwrap_or_default();
        let managed = !read_only && capabilities.fs_group;
        if managed && let Err(error) = steps::own(volume, &target).await {
            tracing::warn!(target, %error, "the files are not given to the pod's group");
        }
        Ok(published(managed))
    }

    async fn mount_at(&self, volume: &NodeVolume, target: &str) -> Result<(), PluginError> {
        let driver = driver_of(&volume.spec);
        let more = options::of_pod(volume, driver).map_err(PluginError::Failed)?;
        let arguments = vec![target.to_owned(), options::of(&volume.spec, more)];
        match self.on_node(volume, "mount", arguments).await {
            Err(CallFault::NotSupported) => bind(volume, target).await,
            done => or_default(done.map(|_| ()), ()),
        }
    }

    async fn unmount(&self, volume: &NodeVolume) -> Result<(), PluginError> {
        let (host, target) = (&*volume.host, self.pod_path(volume));
        if matches!(Files(host).look_at_link(&target).await, Ok(None)) {
            return Ok(());
        }
        match self.on_node(volume, "unmount", vec![target.clone()]).await {
            Err(CallFault::NotSupported) => {
                steps::clean_up(host, &volume.on_behalf(), &target).await?;
            }
            done => or_default(done.map(|_| ()), ())?,
        }
        Ok(Files(host).remove_directory(&target).await?)
    }

    async fn grow(&self, volume: &NodeVolume, before: Quantity) -> Result<(), PluginError> {
        let size = bytes(&volume.spec);
        let (device, target) = (&volume.device_path, device_mount_path(volume));
        let arguments = vec![
            options::of(&volume.spec, Options::new()),
            device.clone(),
            target.clone(),
            size.to_string(),
            before.units().to_string(),
        ];
        match self.on_node(volume, "expandfs", arguments).await {
            Err(CallFault::NotSupported) => {
                let fs_type = match fs_type(&volume.spec) {
                    "" => format_and_mount::DEFAULT_FS_TYPE,
                    fs_type => fs_type,
                };
                steps::grow(volume, device, &target, fs_type).await
            }
            done => or_default(done.map(|_| ()), ()),
        }
    }

    /// Whether each is attached; a driver that cannot tell is believed.
    async fn attached(&self, specs: &[VolumeSpec], node: &str) -> Result<Vec<bool>, PluginError> {
        let mut answers = Vec::with_capacity(specs.len());
        for spec in specs {
            let arguments = vec![options::of(spec, Options::new()), node.to_owned()];
            let attached = self.by_controller(spec, "isattached", arguments).await;
            answers.push(or_default(attached.map(|reply| reply.attached), true)?);
        }
        Ok(answers)
    }
}

/// What was answered, or what a driver leaves to the caller.
fn or_default<T>(answer: Result<T, CallFault>, default: T) -> Result<T, PluginError> {
    match answer {
        Ok(answer) => Ok(answer),
        Err(CallFault::NotSupported) => Ok(default),
        Err(CallFault::Failed(text)) => Err(PluginError::Failed(text)),
        Err(CallFault::Uncertain(text)) => Err(PluginError::Uncertain(text)),
    }
}

/// Binds what is mounted for all pods.
async fn bind(volume: &NodeVolume, target: &str) -> Result<(), PluginError> {
    let host = &*volume.host;
    let source = device_mount_path(volume);
    let kept = host.mounts().await?.kept_by_bind(&source);
    for mut command in Command::bind(&source, target, &[], &kept) {
        if let Command::Mount { fs_type, .. } = &mut command {
            "auto".clone_into(fs_type);
        }
        if let Err(error) = steps::mount(host, &volume.on_behalf(), command).await {
            steps::take_back(host, &volume.on_behalf(), target).await;
            return Err(error);
        }
    }
    Ok(())
}

fn driver_of(spec: &VolumeSpec) -> &str {
    spec.source.driver().map_or("", |driver| driver)
}

fn fs_type(spec: &VolumeSpec) -> &str {
    match &spec.source {
        VolumeSource::FlexVolume { fs_type: Some(fs_type), .. } => fs_type,
        _ => "",
    }
}

fn bytes(spec: &VolumeSpec) -> i128 {
    spec.capacity.as_ref().map_or(0, |size| size.units())
}

fn device_mount_path(volume: &NodeVolume) -> String {
    volume.host.layout().flex_device_mount(driver_of(&volume.spec), &volume.spec.name)
}

/// The driver whose directory was found, from its path.
fn driver_at(host: &dyn Host, found: &FoundVolume) -> Option<String> {
    let devices = format!("{}/flexvolume/", host.layout().plugin("kubernetes.io"));
    if let Some(rest) = found.path.strip_prefix(&devices) {
        return Some(rest.strip_suffix(&*format!("/mounts/{}", found.name))?.to_owned());
    }
    let pods = format!("{}/", host.layout().pod_volumes(&found.pod_uid));
    let (driver, _) = found.path.strip_prefix(&pods)?.split_once('/')?;
    Some(unescaped(driver))
}

impl VolumePlugin for FlexVolume {
    fn facts(&self) -> PluginFacts {
        FACTS
    }

    fn facts_of(&self, spec: &VolumeSpec) -> PluginFacts {
        let name = self.drivers.name(driver_of(spec));
        let capabilities = if self.attaches(spec) { FACTS.capabilities } else { MOUNT_ONLY };
        PluginFacts { name, capabilities, ..FACTS }
    }

    fn is_for(&self, source: &VolumeSource) -> bool {
        let driver = source.driver().filter(|_| FACTS.supports_spec(source));
        driver.is_some_and(|driver| self.drivers.capabilities(driver).is_some())
    }

    /// Any name that is not one of Kubernetes' own: a driver may have gone
    /// while its volume is mounted.
    fn is_named(&self, name: &str) -> bool {
        name == NAME || !name.starts_with("kubernetes.io/")
    }

    fn revision(&self) -> u64 {
        self.drivers.revision()
    }

    fn volume_name(&self, spec: &VolumeSpec) -> Result<String, PluginError> {
        Ok(spec.name.to_string())
    }

    fn attach<'a>(&'a self, spec: &'a VolumeSpec, node: &'a str) -> Done<'a, String> {
        self.attach_volume(spec, node).boxed()
    }

    fn detach_from<'a>(
        &'a self,
        driver: &'a str,
        volume_name: &'a str,
        node: &'a str,
    ) -> Done<'a, ()> {
        async move {
            let host = &**self.drivers.controller();
            let on_behalf = OnBehalf::volume(format!("{driver}/{volume_name}"));
            let arguments = vec![volume_name.to_owned(), node.to_owned()];
            let gone = self.drivers.call(host, &on_behalf, driver, "detach", arguments).await;
            or_default(gone.map(|_| ()), ())
        }
        .boxed()
    }

    fn are_attached<'a>(&'a self, specs: &'a [VolumeSpec], node: &'a str) -> Done<'a, Vec<bool>> {
        self.attached(specs, node).boxed()
    }

    fn needs(&self, spec: &VolumeSpec) -> Vec<Need> {
        options::secret_of(spec).map(|(need, _)| need).into_iter().collect()
    }

    fn wait_for_attach<'a>(&'a self, volume: &'a NodeVolume) -> Done<'a, String> {
        self.wait(volume).boxed()
    }

    fn device_mount_path<'a>(&'a self, volume: &'a NodeVolume) -> Done<'a, Option<String>> {
        self.device_mount(volume).boxed()
    }

    fn stage<'a>(&'a self, volume: &'a NodeVolume) -> Done<'a, ()> {
        self.mount_device(volume).boxed()
    }

    fn unstage<'a>(&'a self, volume: &'a NodeVolume, path: &'a str) -> Done<'a, ()> {
        self.unmount_device(volume, path).boxed()
    }

    fn pod_path(&self, volume: &NodeVolume) -> String {
        let layout = volume.host.layout();
        layout.pod_volume(volume.pod_uid(), driver_of(&volume.spec), &volume.spec.name)
    }

    fn publish<'a>(&'a self, volume: &'a NodeVolume) -> Done<'a, Published> {
        self.mount(volume).boxed()
    }

    fn unpublish<'a>(&'a self, volume: &'a NodeVolume) -> Done<'a, ()> {
        self.unmount(volume).boxed()
    }

    fn expand<'a>(&'a self, spec: &'a VolumeSpec, size: u64) -> Done<'a, u64> {
        async move {
            let layout = self.drivers.controller().layout();
            let arguments = vec![
                options::of(spec, Options::new()),
                layout.flex_device_mount(driver_of(spec), &spec.name),
                size.to_string(),
                bytes(spec).to_string(),
            ];
            let grown = self.by_controller(spec, "expandvolume", arguments).await;
            or_default(grown.map(|_| size), size)
        }
        .boxed()
    }

    fn expand_on_node<'a>(&'a self, volume: &'a NodeVolume, before: Quantity) -> Done<'a, ()> {
        self.grow(volume, before).boxed()
    }

    fn reconstruct<'a>(
        &'a self,
        host: &'a Arc<dyn Host>,
        found: &'a FoundVolume,
    ) -> Done<'a, VolumeSpec> {
        let Some(driver) = driver_at(&**host, found).filter(|_| !found.is_block) else {
            let text = format!("{} is not of a FlexVolume driver", found.path);
            return ready(Err(PluginError::Failed(text))).boxed();
        };
        async move {
            // Whether it attaches decides under which name the volume goes.
            self.drivers.look_first().await;
            let volume = json!({
                "metadata": {"name": &*found.name},
                "spec": {"flexVolume": {"driver": driver}},
            });
            Ok(VolumeSpec::from_volume(&volume, false))
        }
        .boxed()
    }
}
