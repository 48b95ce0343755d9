//! Volumes that are disks: attached to a host as a device, formatted if blank,
//! mounted for all pods and bound for each.

use std::sync::Arc;

use tonic::Code;

use crate::plugins::csi::driver::rules::Refusal;
use crate::plugins::csi::driver::state::{Staging, Target, Volume};
use crate::plugins::format_and_mount::{self, Request};
use crate::plugins::host::{Command, Disks, FileKind, Files, Host, Hosts, OnBehalf};
use crate::plugins::steps::{self, MOUNT_POINT_MODE};

/// Disks and the hosts that they are attached to.
pub struct DiskMachine {
    hosts: Arc<dyn Hosts>,
    disks: Arc<dyn Disks>,
    /// Whether a path of a host is one of this process.
    real: bool,
}

impl DiskMachine {
    pub fn new(hosts: Arc<dyn Hosts>, disks: Arc<dyn Disks>, real: bool) -> Self {
        Self { hosts, disks, real }
    }

    pub fn are_paths_real(&self) -> bool {
        self.real
    }

    fn host(&self, machine: &str) -> Result<Arc<dyn Host>, Refusal> {
        let text = || format!("machine {machine} is not there");
        self.hosts.host(machine).ok_or_else(|| Refusal::new(Code::Unavailable, text()))
    }

    pub async fn make(&self, volume: &Volume) -> Result<(), Refusal> {
        match &volume.source {
            Some(source) => self.disks.copy(source, &volume.id).await?,
            None => self.disks.create(&volume.id, volume.bytes).await?,
        }
        Ok(self.disks.grow(&volume.id, volume.bytes).await?)
    }

    pub async fn remove(&self, volume: &Volume) -> Result<(), Refusal> {
        Ok(self.disks.delete(&volume.id).await?)
    }

    pub async fn grow(&self, volume: &Volume) -> Result<(), Refusal> {
        Ok(self.disks.grow(&volume.id, volume.bytes).await?)
    }

    pub async fn stage(
        &self,
        machine: &str,
        volume: &Volume,
        staging: &Staging,
    ) -> Result<(), Refusal> {
        let (host, on_behalf) = (self.host(machine)?, on_behalf(volume));
        // Which nodes may have it was decided when it was published to them.
        let device = self.disks.attach(&on_behalf, &volume.id, machine, true).await?;
        if volume.is_block {
            return Ok(());
        }
        self.mount(&*host, volume, device, staging).await
    }

    async fn mount(
        &self,
        host: &dyn Host,
        volume: &Volume,
        device: String,
        staging: &Staging,
    ) -> Result<(), Refusal> {
        let target = staging.path.clone();
        if host.mounts().await?.is_mount_point(&target) {
            return Ok(());
        }
        Files(host).make_directories(&target, MOUNT_POINT_MODE).await?;
        let (fs_type, options) = (staging.fs_type.clone(), staging.flags.clone());
        let request = Request { device, target, fs_type, options, format_options: Vec::new() };
        Ok(format_and_mount::run(host, &on_behalf(volume), &request).await?)
    }

    pub async fn unstage(&self, machine: &str, volume: &Volume, path: &str) -> Result<(), Refusal> {
        let (host, on_behalf) = (self.host(machine)?, on_behalf(volume));
        if !path.is_empty() && host.mounts().await?.is_mount_point(path) {
            steps::unmount(&*host, &on_behalf, path, false).await?;
        }
        Ok(self.disks.detach(&on_behalf, &volume.id, machine).await?)
    }

    pub async fn publish(
        &self,
        machine: &str,
        volume: &Volume,
        staged: &str,
        path: &str,
        target: &Target,
    ) -> Result<(), Refusal> {
        let host = self.host(machine)?;
        let host = &*host;
        if host.mounts().await?.is_mount_point(path) {
            return Ok(());
        }
        if volume.is_block {
            return self.publish_device(host, machine, volume, path).await;
        }
        Files(host).make_directories(path, MOUNT_POINT_MODE).await?;
        if volume.is_ephemeral {
            let on_behalf = on_behalf(volume);
            let device = self.disks.attach(&on_behalf, &volume.id, machine, true).await?;
            let own = Staging {
                path: path.to_owned(),
                mode: target.mode,
                fs_type: String::new(),
                flags: Vec::new(),
            };
            return self.mount(host, volume, device, &own).await;
        }
        let options: &[String] = if target.read_only { &["ro".to_owned()] } else { &[] };
        bind(host, volume, staged, path, options).await
    }

    async fn publish_device(
        &self,
        host: &dyn Host,
        machine: &str,
        volume: &Volume,
        path: &str,
    ) -> Result<(), Refusal> {
        let on_behalf = on_behalf(volume);
        let device = self.disks.attach(&on_behalf, &volume.id, machine, true).await?;
        if Files(host).look(path).await?.is_none() {
            Files(host).write(path, b"", 0o660).await?;
        }
        Ok(steps::mount(host, &on_behalf, Command::bind_plain(device, path)).await?)
    }

    pub async fn unpublish(
        &self,
        machine: &str,
        volume: &Volume,
        path: &str,
    ) -> Result<(), Refusal> {
        let host = self.host(machine)?;
        if host.mounts().await?.is_mount_point(path) {
            steps::unmount(&*host, &on_behalf(volume), path, false).await?;
        }
        let files = Files(&*host);
        match files.look_at_link(path).await?.map(|facts| facts.kind) {
            None => {}
            Some(FileKind::Directory) => files.remove_directory(path).await?,
            Some(_) => files.remove_file(path).await?,
        }
        Ok(())
    }

    pub async fn grow_on_node(
        &self,
        machine: &str,
        volume: &Volume,
        path: &str,
    ) -> Result<(), Refusal> {
        if volume.is_block {
            return Ok(());
        }
        let host = self.host(machine)?;
        let attached = self.disks.attached_to(&volume.id).await?;
        let device = attached.into_iter().find(|(own, _)| own == machine).map(|(_, device)| device);
        let device = device.ok_or_else(|| {
            Refusal::new(Code::FailedPrecondition, format!("volume {} has no device", volume.id))
        })?;
        let table = host.mounts().await?;
        let fs_type = table.at(path).map(|mount| mount.fs_type.clone()).unwrap_or_default();
        let command = Command::Grow { device, mount_point: path.to_owned(), fs_type };
        let record = host.run(&on_behalf(volume), command).await?;
        if record.succeeded() {
            return Ok(());
        }
        let text = format!("{}: {}", record.line(), record.output().trim());
        // A process without CAP_SYS_RESOURCE may not grow what is mounted.
        if text.contains("Permission denied") {
            return Err(Refusal::new(Code::FailedPrecondition, text));
        }
        Err(Refusal::internal(text))
    }

    pub async fn is_in_place(&self, machine: &str, path: &str) -> Result<bool, Refusal> {
        Ok(self.host(machine)?.mounts().await?.is_mount_point(path))
    }
}

fn on_behalf(volume: &Volume) -> OnBehalf {
    OnBehalf::volume(&*volume.id)
}

async fn bind(
    host: &dyn Host,
    volume: &Volume,
    from: &str,
    to: &str,
    options: &[String],
) -> Result<(), Refusal> {
    let kept = host.mounts().await?.kept_by_bind(from);
    for command in Command::bind(from, to, options, &kept) {
        steps::mount(host, &on_behalf(volume), command).await?;
    }
    Ok(())
}
