//! `kubernetes.io/host-path`: directories below `/tmp`, and a pod that scrubs.
//!
//! The directories are those of a simulated machine for now: a set of names.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

use futures::future::{BoxFuture, FutureExt, ready};
use serde_json::{Value, json};

use crate::controllers::persistent_volume::annotations::CREATED_BY;
use crate::controllers::persistent_volume::plugin::{
    BUILT_IN, PluginError, PluginFacts, ProvisionRequest, Recycling, VolumePlugin,
};
use crate::controllers::persistent_volume::recycler_pod::{RecyclerTimes, recycler_pod};

/// Directories of the machine, by path. Clones share them.
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

impl VolumePlugin for HostPath {
    fn facts(&self) -> PluginFacts {
        BUILT_IN[1].clone()
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
}

/// The plugin for `nfs` volumes: it can only recycle.
pub struct Nfs;

impl VolumePlugin for Nfs {
    fn facts(&self) -> PluginFacts {
        BUILT_IN[2].clone()
    }

    fn provision(
        &self,
        _request: ProvisionRequest,
    ) -> BoxFuture<'static, Result<Value, PluginError>> {
        ready(Err(PluginError::NotCreated("no provisionable volume plugin matched".into()))).boxed()
    }

    fn delete(&self, _volume: Value) -> BoxFuture<'static, Result<(), PluginError>> {
        ready(Err(PluginError::NotCreated("no deletable volume plugin matched".into()))).boxed()
    }

    fn recycle(&self, volume: Value) -> BoxFuture<'static, Recycling> {
        let nfs = &volume["spec"]["nfs"];
        let source = json!({"nfs": {"server": nfs["server"], "path": nfs["path"]}});
        let pod = recycler_pod(&volume, source, RecyclerTimes { minimum: 300, per_gib: 30 });
        ready(Recycling::Pod(Box::new(pod))).boxed()
    }
}
