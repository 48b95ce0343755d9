//! The disks' service of a simulated world: what a cloud's API does.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures::FutureExt;

use crate::plugins::host::simulated::state::{DISKS, Disk, DiskContent, State};
use crate::plugins::host::simulated::{Simulated, World};
use crate::plugins::host::{Command, DiskFuture, Disks, HostError, OnBehalf};

fn missing(id: &str) -> HostError {
    HostError::NoSuchDisk { id: id.to_owned() }
}

/// The device on a node, if the disk is attached there.
fn device_of(state: &State, id: &str, node: &str) -> Option<String> {
    let name = state.disks.get(id)?.attached.get(node)?;
    Some(format!("/dev/{name}"))
}

impl World {
    fn member(&self, node: &str) -> Option<Arc<Simulated>> {
        self.lock().hosts.get(node).cloned()
    }

    async fn attach_disk(
        &self,
        on_behalf: &OnBehalf,
        id: &str,
        node: &str,
        shared: bool,
    ) -> Result<String, HostError> {
        {
            let held = self.lock();
            let disk = held.state.disks.get(id).ok_or_else(|| missing(id))?;
            if let Some(device) = device_of(&held.state, id, node) {
                return Ok(device);
            }
            if let Some(other) = disk.attached.keys().next().filter(|_| !shared) {
                let (id, node) = (id.to_owned(), other.to_string());
                return Err(HostError::AttachedElsewhere { id, node });
            }
        }
        let lost = || HostError::NodeLost { node: node.into() };
        let member = self.member(node).ok_or_else(lost)?;
        let file = format!("{DISKS}/{id}.img");
        let record = member.perform(on_behalf, Command::LoopAttach { file }, true).await?;
        if record.succeeded() {
            return Ok(record.output().trim().to_owned());
        }
        Err(HostError::Failed { text: record.output().trim().to_owned() })
    }

    async fn detach_disk(
        &self,
        on_behalf: &OnBehalf,
        id: &str,
        node: &str,
    ) -> Result<(), HostError> {
        let device = device_of(&self.lock().state, id, node);
        let (Some(device), Some(member)) = (device, self.member(node)) else { return Ok(()) };
        let record = member.perform(on_behalf, Command::LoopDetach { device }, true).await?;
        if record.succeeded() {
            return Ok(());
        }
        Err(HostError::Failed { text: record.output().trim().to_owned() })
    }
}

impl Disks for World {
    fn create<'a>(&'a self, id: &'a str, bytes: u64) -> DiskFuture<'a> {
        async move {
            let disk = || Disk {
                bytes,
                content: DiskContent::Blank,
                read_only: false,
                attached: BTreeMap::new(),
            };
            self.lock().state.disks.entry(id.into()).or_insert_with(|| Arc::new(disk()));
            Ok(())
        }
        .boxed()
    }

    fn copy<'a>(&'a self, from: &'a str, to: &'a str) -> DiskFuture<'a> {
        async move {
            let disks = &mut self.lock().state.disks;
            if !disks.contains_key(to) {
                let disk = disks.get(from).ok_or_else(|| missing(from))?;
                let copy = Disk { attached: BTreeMap::new(), ..(**disk).clone() };
                disks.insert(to.into(), Arc::new(copy));
            }
            Ok(())
        }
        .boxed()
    }

    fn delete<'a>(&'a self, id: &'a str) -> DiskFuture<'a> {
        async move {
            let disks = &mut self.lock().state.disks;
            if let Some(node) = disks.get(id).and_then(|disk| disk.attached.keys().next()) {
                return Err(HostError::DiskInUse { id: id.to_owned(), node: node.to_string() });
            }
            disks.remove(id);
            Ok(())
        }
        .boxed()
    }

    fn grow<'a>(&'a self, id: &'a str, bytes: u64) -> DiskFuture<'a> {
        async move {
            let nodes: Vec<Arc<str>> = {
                let mut held = self.lock();
                let disk = held.state.disk(id).ok_or_else(|| missing(id))?;
                disk.bytes = disk.bytes.max(bytes);
                disk.attached.keys().cloned().collect()
            };
            for node in nodes {
                let device = device_of(&self.lock().state, id, &node);
                let (Some(device), Some(member)) = (device, self.member(&node)) else { continue };
                let on_behalf = OnBehalf::volume(id);
                member.perform(&on_behalf, Command::LoopResize { device }, true).await?;
            }
            Ok(())
        }
        .boxed()
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
        async move {
            let held = self.lock();
            let disk = held.state.disks.get(id).ok_or_else(|| missing(id))?;
            let at =
                |(node, name): (&Arc<str>, &String)| (node.to_string(), format!("/dev/{name}"));
            Ok(disk.attached.iter().map(at).collect())
        }
        .boxed()
    }
}
