//! Remote disks on the machine itself: sparse files, attached as loop devices.
//!
//! Loop devices belong to the whole machine, so a small file beside each disk
//! says which node has it and as which device: `<disk>.on.<node>`. It counts
//! only while the device still has the disk's file behind it.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use futures::future::{BoxFuture, FutureExt, ready};

use crate::plugins::host::linux::Linux;
use crate::plugins::host::simulated::state::DISKS;
use crate::plugins::host::{Command, Disks, Host, HostError, Hosts, OnBehalf};

/// The Linux nodes of a cluster and the disks between them.
#[derive(Debug)]
pub struct LinuxNodes {
    directory: PathBuf,
    nodes: Mutex<BTreeMap<String, Arc<Linux>>>,
}

impl LinuxNodes {
    /// `directory` holds the disks' files: the same as in each node's options.
    pub fn new(directory: impl Into<PathBuf>) -> Self {
        Self { directory: directory.into(), nodes: Mutex::default() }
    }

    pub fn add(&self, node: Arc<Linux>) {
        self.lock().insert(node.node().to_string(), node);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<String, Arc<Linux>>> {
        self.nodes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn file(&self, id: &str) -> PathBuf {
        self.directory.join(format!("{id}.img"))
    }

    fn marker(&self, id: &str, node: &str) -> PathBuf {
        self.directory.join(format!("{id}.on.{node}"))
    }

    /// The nodes that have a disk, with the device on each.
    fn holders(&self, id: &str) -> Result<Vec<(String, String)>, HostError> {
        if !self.file(id).exists() {
            return Err(HostError::NoSuchDisk { id: id.to_owned() });
        }
        let prefix = format!("{id}.on.");
        let mut holders = Vec::new();
        for entry in fs::read_dir(&self.directory).map_err(|e| failed(id, &e))? {
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
        match fs::remove_file(self.marker(id, node)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(failed(id, &error)),
            _ => Ok(()),
        }
    }

    async fn grow_disk(&self, id: &str, bytes: u64) -> Result<(), HostError> {
        let holders = self.holders(id)?;
        let file = fs::OpenOptions::new().write(true).open(self.file(id));
        let file = file.map_err(|e| failed(id, &e))?;
        if file.metadata().map_err(|e| failed(id, &e))?.len() < bytes {
            file.set_len(bytes).map_err(|e| failed(id, &e))?;
        }
        for (node, device) in holders {
            let Some(host) = self.lock().get(&node).cloned() else { continue };
            let on_behalf = OnBehalf::volume(id);
            host.run(&on_behalf, Command::LoopResize { device }).await?;
        }
        Ok(())
    }
}

fn failed(id: &str, error: &io::Error) -> HostError {
    HostError::Failed { text: format!("disk {id}: {error}") }
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
    fn create(&self, id: &str, bytes: u64) -> BoxFuture<'_, Result<(), HostError>> {
        let made = fs::create_dir_all(&self.directory).and_then(|()| {
            let file = fs::OpenOptions::new().write(true).create_new(true).open(self.file(id));
            match file {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
                file => file?.set_len(bytes),
            }
        });
        ready(made.map_err(|error| failed(id, &error))).boxed()
    }

    fn copy(&self, from: &str, to: &str) -> BoxFuture<'_, Result<(), HostError>> {
        let (source, target, id) = (self.file(from), self.file(to), to.to_owned());
        // Copied under another name: a copy is whole or not there.
        let new = self.directory.join(format!("{to}.new"));
        let copy = move || {
            if target.exists() {
                return Ok(());
            }
            fs::copy(source, &new)?;
            fs::rename(new, target)
        };
        async move {
            let copied = tokio::task::spawn_blocking(copy).await;
            let copied = copied.map_err(|error| HostError::Failed { text: error.to_string() })?;
            copied.map_err(|error| failed(&id, &error))
        }
        .boxed()
    }

    fn delete(&self, id: &str) -> BoxFuture<'_, Result<(), HostError>> {
        let deleted = match self.holders(id) {
            Err(HostError::NoSuchDisk { .. }) => Ok(()),
            Err(error) => Err(error),
            Ok(holders) => match holders.into_iter().next() {
                Some((node, _)) => Err(HostError::DiskInUse { id: id.to_owned(), node }),
                None => fs::remove_file(self.file(id)).map_err(|error| failed(id, &error)),
            },
        };
        ready(deleted).boxed()
    }

    fn grow(&self, id: &str, bytes: u64) -> BoxFuture<'_, Result<(), HostError>> {
        let id = id.to_owned();
        async move { self.grow_disk(&id, bytes).await }.boxed()
    }

    fn attach(
        &self,
        on_behalf: &OnBehalf,
        id: &str,
        node: &str,
        shared: bool,
    ) -> BoxFuture<'_, Result<String, HostError>> {
        let (on_behalf, id, node) = (on_behalf.clone(), id.to_owned(), node.to_owned());
        async move { self.attach_disk(&on_behalf, &id, &node, shared).await }.boxed()
    }

    fn detach(
        &self,
        on_behalf: &OnBehalf,
        id: &str,
        node: &str,
    ) -> BoxFuture<'_, Result<(), HostError>> {
        let (on_behalf, id, node) = (on_behalf.clone(), id.to_owned(), node.to_owned());
        async move { self.detach_disk(&on_behalf, &id, &node).await }.boxed()
    }

    fn attached_to(&self, id: &str) -> BoxFuture<'_, Result<Vec<(String, String)>, HostError>> {
        ready(self.holders(id)).boxed()
    }
}
