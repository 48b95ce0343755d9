//! Disks of this very machine: sparse files, attached as loop devices.

use std::path::PathBuf;
use std::sync::Arc;

use futures::FutureExt;

use crate::plugins::host::linux::disk_files::DiskFiles;
use crate::plugins::host::{Command, DiskFuture, Disks, Host, HostError, Hosts, OnBehalf};

/// Sparse files in a directory, and the one host that uses them.
#[derive(Debug)]
pub struct LoopDisks {
    files: DiskFiles,
    host: Arc<dyn Host>,
}

impl LoopDisks {
    pub fn new(directory: impl Into<PathBuf>, host: Arc<dyn Host>) -> Self {
        Self { files: DiskFiles::new(directory), host }
    }

    fn file(&self, id: &str) -> String {
        self.files.path(id).to_string_lossy().into_owned()
    }

    /// The loop devices that have the file of a disk behind them.
    async fn devices(&self, id: &str) -> Result<Vec<String>, HostError> {
        if !self.files.has(id) {
            return Ok(Vec::new());
        }
        let find = Command::LoopFind { file: self.file(id) };
        let record = self.host.run(&OnBehalf::volume(id), find).await?;
        let device = |line: &str| line.split_whitespace().next().map(str::to_owned);
        Ok(record.output().lines().filter_map(device).collect())
    }

    /// Detaches a disk from all its loop devices.
    async fn free(&self, on_behalf: &OnBehalf, id: &str) -> Result<(), HostError> {
        for device in self.devices(id).await? {
            self.run(on_behalf, Command::LoopDetach { device }).await?;
        }
        Ok(())
    }

    async fn run(&self, on_behalf: &OnBehalf, command: Command) -> Result<String, HostError> {
        let record = self.host.run(on_behalf, command).await?;
        let output = record.output().trim().to_owned();
        if record.succeeded() {
            return Ok(output);
        }
        Err(HostError::Failed { text: format!("{}: {output}", record.line()) })
    }
}

impl Hosts for LoopDisks {
    fn host(&self, _: &str) -> Option<Arc<dyn Host>> {
        Some(self.host.clone())
    }
}

impl Disks for LoopDisks {
    fn create<'a>(&'a self, id: &'a str, bytes: u64) -> DiskFuture<'a> {
        async move { self.files.create(id, bytes) }.boxed()
    }

    fn copy<'a>(&'a self, from: &'a str, to: &'a str) -> DiskFuture<'a> {
        self.files.copy(from, to).boxed()
    }

    fn delete<'a>(&'a self, id: &'a str) -> DiskFuture<'a> {
        async move {
            self.free(&OnBehalf::volume(id), id).await?;
            self.files.remove(id)
        }
        .boxed()
    }

    fn grow<'a>(&'a self, id: &'a str, bytes: u64) -> DiskFuture<'a> {
        async move {
            self.files.grow(id, bytes)?;
            for device in self.devices(id).await? {
                self.run(&OnBehalf::volume(id), Command::LoopResize { device }).await?;
            }
            Ok(())
        }
        .boxed()
    }

    fn attach<'a>(
        &'a self,
        on_behalf: &'a OnBehalf,
        id: &'a str,
        _: &'a str,
        _: bool,
    ) -> DiskFuture<'a, String> {
        async move {
            if let Some(device) = self.devices(id).await?.into_iter().next() {
                return Ok(device);
            }
            self.run(on_behalf, Command::LoopAttach { file: self.file(id) }).await
        }
        .boxed()
    }

    fn detach<'a>(&'a self, on_behalf: &'a OnBehalf, id: &'a str, _: &'a str) -> DiskFuture<'a> {
        self.free(on_behalf, id).boxed()
    }

    fn attached_to<'a>(&'a self, id: &'a str) -> DiskFuture<'a, Vec<(String, String)>> {
        async move {
            let machine = self.host.node().to_string();
            let devices = self.devices(id).await?;
            Ok(devices.into_iter().map(|device| (machine.clone(), device)).collect())
        }
        .boxed()
    }
}
