//! `kubernetes.io/host-path`: a path of the node itself. Nothing is mounted:
//! the path is handed to the container runtime, which creates a directory if
//! the volume names no type and nothing is there.
//!
//! Its provisioner, off unless told otherwise, and its deleter work on
//! directories below `/tmp` of the controllers' machine: here a set of names.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

use futures::future::{BoxFuture, FutureExt, ready};
use serde_json::{Value, json};

use crate::model::volume_source::{VolumeSource, VolumeSpec};
use crate::plugins::error::PluginError;
use crate::plugins::host::{FileKind, Files, Host};
use crate::plugins::kinds;
use crate::plugins::plugin::{
    Done, FoundVolume, NodeVolume, PluginFacts, ProvisionRequest, Published, Recycling,
    VolumePlugin,
};
use crate::plugins::recycler_pod::{RecyclerTimes, recycler_pod};

/// On a volume made by the provisioner.
const CREATED_BY: &str = "kubernetes.io/createdby";

/// Directories of the controllers' machine, by path. Clones share them.
#[derive(Debug, Clone, Default)]
pub struct Directories(Arc<Mutex<BTreeSet<String>>>);

impl Directories {
    pub fn create(&self, path: &str) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(path.to_owned());
    }

    pub fn remove(&self, path: &str) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(path);
    }

    pub fn contains(&self, path: &str) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).contains(path)
    }
}

/// The plugin for `hostPath` volumes.
#[derive(Default)]
pub struct HostPath {
    /// Whether claims are provisioned; a real controller manager has this off
    /// unless told otherwise.
    pub provisioning: bool,
    pub directories: Directories,
}

impl HostPath {
    fn made(&self, request: &ProvisionRequest) -> Result<Value, PluginError> {
        if !self.provisioning {
            let text = "provisioning in volume plugin \"kubernetes.io/host-path\" is disabled";
            return Err(PluginError::NotCreated(text.to_owned()));
        }
        let spec = &request.claim["spec"];
        if spec["volumeMode"] == "Block" {
            let text = "kubernetes.io/host-path does not support block volume provisioning";
            return Err(PluginError::Failed(text.to_owned()));
        }
        let path = format!("/tmp/hostpath_pv/{}", uuid::Uuid::new_v4());
        self.directories.create(&path);
        Ok(json!({
            "metadata": {
                "name": &*request.volume,
                "annotations": {CREATED_BY: "hostpath-dynamic-provisioner"},
            },
            "spec": {
                "accessModes": spec["accessModes"],
                "capacity": {"storage": spec["resources"]["requests"]["storage"]},
                "persistentVolumeReclaimPolicy": request.class["reclaimPolicy"],
                "hostPath": {"path": path},
            },
        }))
    }
}

fn parts(spec: &VolumeSpec) -> Result<(&str, &str), PluginError> {
    match &spec.source {
        VolumeSource::HostPath { path, kind } => Ok((path, kind)),
        _ => Err(PluginError::NoPluginMatched),
    }
}

impl VolumePlugin for HostPath {
    fn facts(&self) -> PluginFacts {
        kinds::HOST_PATH.facts.clone()
    }

    fn provision(
        &self,
        request: ProvisionRequest,
    ) -> BoxFuture<'static, Result<Value, PluginError>> {
        ready(self.made(&request)).boxed()
    }

    fn delete(&self, volume: Value) -> BoxFuture<'static, Result<(), PluginError>> {
        let path = volume["spec"]["hostPath"]["path"].as_str().unwrap_or_default();
        // The pattern `/tmp/.+` is not anchored upstream either.
        let below_tmp = path.find("/tmp/").is_some_and(|at| at + "/tmp/".len() < path.len());
        if !below_tmp {
            let text =
                format!("host_path deleter only supports /tmp/.+ but received provided {path}");
            return ready(Err(PluginError::Failed(text))).boxed();
        }
        self.directories.remove(path);
        ready(Ok(())).boxed()
    }

    fn recycle(&self, volume: Value) -> BoxFuture<'static, Recycling> {
        let source = json!({"hostPath": {"path": volume["spec"]["hostPath"]["path"]}});
        let pod = recycler_pod(&volume, source, RecyclerTimes { minimum: 60, per_gib: 30 });
        ready(Recycling::Pod(Box::new(pod))).boxed()
    }

    fn volume_name(&self, spec: &VolumeSpec) -> Result<String, PluginError> {
        parts(spec).map(|(path, _)| path.to_owned())
    }

    /// The path itself.
    fn pod_path(&self, volume: &NodeVolume) -> String {
        parts(&volume.spec).map_or_else(|_| String::new(), |(path, _)| path.to_owned())
    }

    fn publish<'a>(&'a self, volume: &'a NodeVolume) -> Done<'a, Published> {
        async move {
            let (path, kind) = parts(&volume.spec)?;
            if path.split('/').any(|step| step == "..") {
                let text = format!("invalid HostPath `{path}`: must not contain '..'");
                return Err(PluginError::Failed(text));
            }
            check_type(&*volume.host, path, kind).await?;
            Ok(Published {
                host_path: path.to_owned(),
                read_only: volume.spec.read_only,
                managed: false,
                warning: None,
            })
        }
        .boxed()
    }

    fn unpublish<'a>(&'a self, _volume: &'a NodeVolume) -> Done<'a, ()> {
        ready(Ok(())).boxed()
    }

    /// It leaves no directory, so none is ever found.
    fn reconstruct<'a>(
        &'a self,
        _host: &'a Arc<dyn Host>,
        found: &'a FoundVolume,
    ) -> Done<'a, VolumeSpec> {
        let volume = json!({"name": &*found.name, "hostPath": {"path": &*found.name}});
        ready(Ok(VolumeSpec::from_inline(&volume))).boxed()
    }
}

/// Holds a path to its type, and creates what the `…OrCreate` types ask for.
async fn check_type(host: &dyn Host, path: &str, kind: &str) -> Result<(), PluginError> {
    let (wanted, words) = match kind {
        "" => return Ok(()),
        "Directory" | "DirectoryOrCreate" => (FileKind::Directory, "a directory"),
        "File" | "FileOrCreate" => (FileKind::File, "a file"),
        "Socket" => (FileKind::Socket, "a socket file"),
        "CharDevice" => (FileKind::CharacterDevice, "a character device"),
        "BlockDevice" => (FileKind::BlockDevice, "a block device"),
        other => {
            return Err(PluginError::Failed(format!("{other} is an invalid volume type")));
        }
    };
    let files = Files(host);
    let there = files.look(path).await?;
    match (&there, kind) {
        (None, "DirectoryOrCreate") => return Ok(files.make_directories(path, 0o755).await?),
        // The directory it is in is not created.
        (None, "FileOrCreate") => return Ok(files.write(path, b"", 0o644).await?),
        _ => {}
    }
    if there.is_some_and(|facts| facts.kind == wanted) {
        return Ok(());
    }
    Err(PluginError::Failed(format!("hostPath type check failed: {path} is not {words}")))
}
