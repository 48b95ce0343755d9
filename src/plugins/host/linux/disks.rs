//! Remote disks on the machine itself: sparse files, attached as loop devices.
//!
//! Loop devices belong to the whole machine, so a small file beside each disk
//! says which node has it and as which device: `<disk>.on.<node>`. It counts
//! only while the device still has the disk's file behind it.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use futures::FutureExt;

use crate::plugins::host::linux::Linux;
use crate::plugins::host::linux::disk_files::{DiskFiles, failed, remove_if_there};
use crate::plugins::host::simulated::state::DISKS;
use crate::plugins::host::{Command, DiskFuture, Disks, Host, HostError, Hosts, OnBehalf};

/// The Linux nodes of a cluster and the disks between them.
#[derive(Debug)]
pub struct LinuxNodes {
    files: DiskFiles,
    nodes: Mutex<BTreeMap<String, Arc<Linux>>>,
}

impl LinuxNodes {
    /// `directory` holds the disks' files: the same as in each node's options.
    pub fn new(directory: impl Into<PathBuf>) -> Self {
        Self { files: DiskFiles::new(directory), nodes: Mutex::default() }
    }

    pub fn add(&self, node: Arc<Linux>) {
        self.lock().insert(node.node().to_string(), node);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<String, Arc<Linux>>> {
        self.nodes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn marker(&self, id: &str, node: &str) -> PathBuf {
        self.files.directory().join(format!("{id}.on.{node}"))
    }

    /// The nodes that have a disk, with the device on each.
    fn holders(&self, id: &str) -> Result<Vec<(String, String)>, HostError> {
        if !self.files.has(id) {
            return Err(HostError::NoSuchDisk { id: id.to_owned() });
        }
        let prefix = format!("{id}.on.");
        let mut holders = Vec::new();
        for entry in fs::read_dir(self.files.directory()).map_err(|e| failed(id, &e))? {
            let entry = entry.map_err(|e| failed(id, &e))?;
            let name = entry.file_name().to_string_lossy().into_owned();
            let Some(node) = name.strip_prefix(&prefix) else { continue };
            let device = fs::read_to_string(entry.path()).map_err(|e| failed(id, &e))?;
            if is_behind(&device, id) {
                holders.push((node.to_owned(), device));
            }
        }
        holders.sort();
        Ok(holders)
    }

    async fn attach_disk(
        &self,
        on_behalf: &OnBehalf,
        id: &str,
        node: &str,
        shared: bool,
    ) -> Result<String, HostError> {
        let holders = self.holders(id)?;
        if let Some((_, device)) = holders.iter().find(|(own, _)| own == node) {
            return Ok(device.clone());
        }
        if let Some((other, _)) = holders.first().filter(|_| !shared) {
            return Err(HostError::AttachedElsewhere { id: id.to_owned(), node: other.clone() });
        }
        let host = self.lock().get(node).cloned();
        let host = host.ok_or_else(|| HostError::NodeLost { node: node.into() })?;
        let file = format!("{DISKS}/{id}.img");
        let record = host.run(on_behalf, Command::LoopAttach { file }).await?;
        if !record.succeeded() {
            return Err(HostError::Failed { text: record.output().trim().to_owned() });
        }
        let device = record.output().trim().to_owned();
        fs::write(self.marker(id, node), &device).map_err(|e| failed(id, &e))?;
        Ok(device)
    }

    async fn detach_disk(
        &self,
        on_behalf: &OnBehalf,
        id: &str,
        node: &str,
    ) -> Result<(), HostError> {
        let holders = match self.holders(id) {
            Err(HostError::NoSuchDisk { .. }) => return Ok(()),
            holders => holders?,
        };
        let holder = holders.into_iter().find(|(own, _)| own == node);
        if let Some((_, device)) = holder {
            // The device is the machine's: any node may free it.
            let host = {
                let nodes = self.lock();
                nodes.get(node).or_else(|| nodes.values().next()).cloned()
            };
            let host = host.ok_or_else(|| HostError::NodeLost { node: node.into() })?;
            let record = host.run(on_behalf, Command::LoopDetach { device }).await?;
            if !record.succeeded() {
                return Err(HostError::Failed { text: record.output().trim().to_owned() });
            }
        }
        remove_if_there(&self.marker(id, node)).map_err(|error| failed(id, &error))
    }

    async fn grow_disk(&self, id: &str, bytes: u64) -> Result<(), HostError> {
        let holders = self.holders(id)?;
        self.files.grow(id, bytes)?;
        for (node, device) in holders {
            let Some(host) = self.lock().get(&node).cloned() else { continue };
            let on_behalf = OnBehalf::volume(id);
            host.run(&on_behalf, Command::LoopResize { device }).await?;
        }
        Ok(())
    }
}

/// Whether a loop device still has the disk's file behind it.
fn is_behind(device: &str, id: &str) -> bool {
    let name = device.trim_start_matches("/dev/");
    let file = fs::read_to_string(format!("/sys/block/{name}/loop/backing_file"));
    file.is_ok_and(|file| file.trim_end().ends_with(&format!("/{id}.img")))
}

impl Hosts for LinuxNodes {
    fn host(&self, node: &str) -> Option<Arc<dyn Host>> {
        self.lock().get(node).map(|host| host.clone() as Arc<dyn Host>)
    }
}

impl Disks for LinuxNodes {
    fn create<'a>(&'a self, id: &'a str, bytes: u64) -> DiskFuture<'a> {
        async move { self.files.create(id, bytes) }.boxed()
    }

    fn copy<'a>(&'a self, from: &'a str, to: &'a str) -> DiskFuture<'a> {
        self.files.copy(from, to).boxed()
    }

    fn delete<'a>(&'a self, id: &'a str) -> DiskFuture<'a> {
        async move {
            match self.holders(id) {
                Err(HostError::NoSuchDisk { .. }) => Ok(()),
                Err(error) => Err(error),
                Ok(holders) => match holders.into_iter().next() {
                    Some((node, _)) => Err(HostError::DiskInUse { id: id.to_owned(), node }),
                    None => self.files.remove(id),
                },
            }
        }
        .boxed()
    }

    fn grow<'a>(&'a self, id: &'a str, bytes: u64) -> DiskFuture<'a> {
        self.grow_disk(id, bytes).boxed()
    }

    fn attach<'a>(
        &'a self,
        on_behalf: &'a OnBehalf,
        id: &'a str,
        node: &'a str,
        shared: bool,
    ) -> DiskFuture<'a, String> {
        self.attach_disk(on_behalf, id, node, shared).boxed()
    }

    fn detach<'a>(&'a self, on_behalf: &'a OnBehalf, id: &'a str, node: &'a str) -> DiskFuture<'a> {
        self.detach_disk(on_behalf, id, node).boxed()
    }

    fn attached_to<'a>(&'a self, id: &'a str) -> DiskFuture<'a, Vec<(String, String)>> {
        async move { self.holders(id) }.boxed()
    }
}
