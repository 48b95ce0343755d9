//! Disks of this very machine: sparse files, attached as loop devices.

use std::fs;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use futures::future::{BoxFuture, FutureExt, ready};

use crate::plugins::host::{Command, Disks, Host, HostError, Hosts, OnBehalf};

/// Sparse files in a directory, and the one host that uses them.
#[derive(Debug)]
pub struct LoopDisks {
    directory: PathBuf,
    host: Arc<dyn Host>,
}

impl LoopDisks {
    pub fn new(directory: impl Into<PathBuf>, host: Arc<dyn Host>) -> Self {
        Self { directory: directory.into(), host }
    }

    fn file(&self, id: &str) -> String {
        self.directory.join(format!("{id}.img")).to_string_lossy().into_owned()
    }

    /// The loop devices that have the file of a disk behind them.
    async fn devices(&self, id: &str) -> Result<Vec<String>, HostError> {
        let file = self.file(id);
        if fs::symlink_metadata(&file).is_err() {
            return Ok(Vec::new());
        }
        let record = self.host.run(&OnBehalf::volume(id), Command::LoopFind { file }).await?;
        let device = |line: &str| line.split_whitespace().next().map(str::to_owned);
        Ok(record.output().lines().filter_map(device).collect())
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

fn failed(id: &str, error: &io::Error) -> HostError {
    HostError::Failed { text: format!("disk {id}: {error}") }
}

impl Hosts for LoopDisks {
    fn host(&self, _: &str) -> Option<Arc<dyn Host>> {
        Some(self.host.clone())
    }
}

impl Disks for LoopDisks {
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
        // Copied under another name: a copy is whole or not there.
        let (source, target) = (self.file(from), self.file(to));
        let id = to.to_owned();
        async move {
            let copied = tokio::task::spawn_blocking(move || {
                if fs::symlink_metadata(&target).is_ok() {
                    return Ok(());
                }
                let new = format!("{target}.new");
                fs::copy(source, &new)?;
                fs::rename(new, target)
            });
            let copied =
                copied.await.map_err(|error| HostError::Failed { text: error.to_string() });
            copied?.map_err(|error| failed(&id, &error))
        }
        .boxed()
    }

    fn delete(&self, id: &str) -> BoxFuture<'_, Result<(), HostError>> {
        let id = id.to_owned();
        async move {
            for device in self.devices(&id).await? {
                self.run(&OnBehalf::volume(&*id), Command::LoopDetach { device }).await?;
            }
            for file in [self.file(&id), format!("{}.new", self.file(&id))] {
                match fs::remove_file(file) {
                    Err(error) if error.kind() != io::ErrorKind::NotFound => {
                        return Err(failed(&id, &error));
                    }
                    _ => {}
                }
            }
            Ok(())
        }
        .boxed()
    }

    fn grow(&self, id: &str, bytes: u64) -> BoxFuture<'_, Result<(), HostError>> {
        let id = id.to_owned();
        async move {
            let grow = || -> io::Result<()> {
                let file = fs::OpenOptions::new().write(true).open(self.file(&id))?;
                if file.metadata()?.len() < bytes { file.set_len(bytes) } else { Ok(()) }
            };
            grow().map_err(|error| failed(&id, &error))?;
            for device in self.devices(&id).await? {
                self.run(&OnBehalf::volume(&*id), Command::LoopResize { device }).await?;
            }
            Ok(())
        }
        .boxed()
    }

    fn attach(
        &self,
        on_behalf: &OnBehalf,
        id: &str,
        _: &str,
        _: bool,
    ) -> BoxFuture<'_, Result<String, HostError>> {
        let (on_behalf, id) = (on_behalf.clone(), id.to_owned());
        async move {
            if let Some(device) = self.devices(&id).await?.into_iter().next() {
                return Ok(device);
            }
            self.run(&on_behalf, Command::LoopAttach { file: self.file(&id) }).await
        }
        .boxed()
    }

    fn detach(
        &self,
        on_behalf: &OnBehalf,
        id: &str,
        _: &str,
    ) -> BoxFuture<'_, Result<(), HostError>> {
        let (on_behalf, id) = (on_behalf.clone(), id.to_owned());
        async move {
            for device in self.devices(&id).await? {
                self.run(&on_behalf, Command::LoopDetach { device }).await?;
            }
            Ok(())
        }
        .boxed()
    }

    fn attached_to(&self, id: &str) -> BoxFuture<'_, Result<Vec<(String, String)>, HostError>> {
        let id = id.to_owned();
        async move {
            let machine = self.host.node().to_string();
            let devices = self.devices(&id).await?;
            Ok(devices.into_iter().map(|device| (machine.clone(), device)).collect())
        }
        .boxed()
    }
}
