//! The drivers that are installed, and calls to them.
//!
//! [`FlexDrivers::look`] is to be called again and again: it looks what has
//! changed in the directory of drivers and calls `init` of what is new. One
//! driver that fails or hangs there does not hide the others.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::future::{Either, join_all, select};

use crate::model::clock::TimerUse;
use crate::plugins::flex_volume::discovery::{self, Change, Failed, Probed, Stamp};
use crate::plugins::flex_volume::reply::{self, CallFault, DriverCapabilities, Reply};
use crate::plugins::host::{Command, Files, Host, HostError, OnBehalf};

/// How long an `init` may take. A kubelet waits for ever.
const INIT_TIMEOUT: Duration = Duration::from_secs(30);
const DIRECTORY_MODE: u32 = 0o755;

/// The drivers of a cluster. Clones share them.
#[derive(Clone)]
pub struct FlexDrivers(Arc<Inner>);

struct Inner {
    /// Where drivers are, on every machine alike.
    directory: String,
    /// The machine that controllers run on.
    controller: Arc<dyn Host>,
    held: Mutex<Held>,
}

#[derive(Default)]
struct Held {
    probed: BTreeMap<String, Probed>,
    ready: BTreeMap<String, Ready>,
    names: BTreeSet<&'static str>,
    has_looked: bool,
    /// Rises with each change.
    revision: u64,
}

/// A driver that can be called.
#[derive(Debug, Clone)]
struct Ready {
    capabilities: DriverCapabilities,
    /// Commands that it has said it does not know.
    unsupported: BTreeSet<&'static str>,
}

/// A driver as people see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shown {
    /// `vendor/driver`.
    pub name: String,
    /// What it can do, or why it cannot be used.
    pub state: Result<DriverCapabilities, String>,
}

impl fmt::Debug for FlexDrivers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FlexDrivers").field("directory", &self.0.directory).finish_non_exhaustive()
    }
}

impl FlexDrivers {
    /// The drivers in a directory of every machine; `controller` is the one
    /// that controllers run on.
    pub fn new(directory: &str, controller: Arc<dyn Host>) -> Self {
        let (directory, held) = (directory.to_owned(), Mutex::default());
        Self(Arc::new(Inner { directory, controller, held }))
    }

    fn lock(&self) -> MutexGuard<'_, Held> {
        self.0.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn controller(&self) -> &Arc<dyn Host> {
        &self.0.controller
    }

    /// Every driver that was found, by name.
    pub fn shown(&self) -> Vec<Shown> {
        let held = self.lock();
        let shown = held.probed.iter().filter_map(|(directory, probed)| {
            let name = discovery::driver_name(directory);
            let state = match &probed.failed {
                Some(failed) => Err(failed.why.clone()),
                None => Ok(held.ready.get(&name)?.capabilities),
            };
            Some(Shown { name, state })
        });
        shown.collect()
    }

    /// What a driver can do; `None`: it is not installed, or not usable.
    pub fn capabilities(&self, driver: &str) -> Option<DriverCapabilities> {
        self.lock().ready.get(driver).map(|ready| ready.capabilities)
    }

    /// Rises when a driver comes, changes or goes.
    pub fn revision(&self) -> u64 {
        self.lock().revision
    }

    /// A driver's name as long as the program runs. Only names of directories
    /// and of volumes that were mounted come here: they are few.
    pub(super) fn name(&self, driver: &str) -> &'static str {
        let mut held = self.lock();
        match held.names.get(driver) {
            Some(name) => name,
            None => {
                let name: &'static str = Box::leak(driver.to_owned().into_boxed_str());
                held.names.insert(name);
                name
            }
        }
    }

    /// Looks once, if nobody has looked yet.
    pub async fn look_first(&self) {
        if !self.lock().has_looked {
            self.look().await;
        }
    }

    /// Looks what has changed, and probes it. Whether anything has.
    pub async fn look(&self) -> bool {
        let seen = match self.seen().await {
            Ok(seen) => seen,
            Err(error) => {
                tracing::warn!("the FlexVolume drivers cannot be listed: {error}");
                return false;
            }
        };
        let (changes, is_first) = {
            let mut held = self.lock();
            for probed in held.probed.values_mut() {
                let again_in = probed.failed.as_mut().and_then(|failed| failed.again_in.as_mut());
                if let Some(looks) = again_in {
                    *looks = looks.saturating_sub(1);
                }
            }
            let is_first = !std::mem::replace(&mut held.has_looked, true);
            (discovery::decide(&held.probed, &seen), is_first)
        };
        let has_changed = !changes.is_empty();
        let probes = changes.into_iter().filter_map(|change| match change {
            Change::Probe(name) => {
                let stamp = seen.get(&name).cloned().unwrap_or_default();
                Some(self.probe(name, stamp, is_first))
            }
            Change::Remove(name) => {
                let mut held = self.lock();
                held.probed.remove(&name);
                held.ready.remove(&discovery::driver_name(&name));
                None
            }
        });
        let probes: Vec<_> = probes.collect();
        join_all(probes).await;
        self.lock().revision += u64::from(has_changed);
        has_changed
    }

    /// The directories that hold a driver.
    async fn seen(&self) -> Result<BTreeMap<String, Stamp>, HostError> {
        let Inner { directory, controller, .. } = &*self.0;
        let files = Files(&**controller);
        let entries = match files.list(directory).await {
            Err(error) if error.is_not_found() => {
                files.make_directories(directory, DIRECTORY_MODE).await?;
                Vec::new()
            }
            entries => entries?,
        };
        let mut seen = BTreeMap::new();
        for entry in entries.into_iter().filter(discovery::may_hold) {
            // What goes away meanwhile, or cannot be read, holds no driver.
            let Ok(inside) = files.list(&format!("{directory}/{}", entry.name)).await else {
                continue;
            };
            if let Some(stamp) = discovery::stamp(&entry.name, &inside) {
                seen.insert(entry.name, stamp);
            }
        }
        Ok(seen)
    }

    async fn probe(&self, directory: String, stamp: Stamp, is_first: bool) {
        let driver = discovery::driver_name(&directory);
        let on_behalf = OnBehalf::volume(driver.clone());
        let controller = &**self.controller();
        let init = self.run(controller, &on_behalf, &driver, "init", Vec::new());
        let patience = controller.clock().sleep(INIT_TIMEOUT, TimerUse::Work);
        let answer = match select(std::pin::pin!(init), patience).await {
            Either::Left((answer, _)) => answer,
            Either::Right(_) => Err(CallFault::Failed("timeout".to_owned())),
        };
        let mut held = self.lock();
        let before = held.probed.get(&directory).filter(|probed| probed.stamp == stamp);
        let before: Option<Failed> = before.and_then(|probed| probed.failed.clone());
        let failed = match answer {
            Ok(reply) => {
                let unsupported = BTreeSet::new();
                held.ready.insert(driver, Ready { capabilities: reply.capabilities, unsupported });
                None
            }
            Err(fault) => {
                held.ready.remove(&driver);
                let why = format!(
                    "error creating Flexvolume plugin from directory {directory}, skipping. \
                     Error: {fault}"
                );
                tracing::warn!("{why}");
                Some(discovery::failed(why, is_first, before.as_ref()))
            }
        };
        held.probed.insert(directory, Probed { stamp, failed });
    }

    /// Calls a driver on a machine. A command that it once did not know is not
    /// called again, until something changes in the driver's directory.
    pub(super) async fn call(
        &self,
        host: &dyn Host,
        on_behalf: &OnBehalf,
        driver: &str,
        command: &'static str,
        arguments: Vec<String>,
    ) -> Result<Reply, CallFault> {
        match self.lock().ready.get(driver) {
            None => {
                let text = format!("no volume plugin matched: driver {driver} is not installed");
                return Err(CallFault::Failed(text));
            }
            Some(ready) if ready.unsupported.contains(command) => {
                return Err(CallFault::NotSupported);
            }
            Some(_) => {}
        }
        let answer = self.run(host, on_behalf, driver, command, arguments).await;
        if answer == Err(CallFault::NotSupported)
            && let Some(ready) = self.lock().ready.get_mut(driver)
        {
            ready.unsupported.insert(command);
        }
        answer
    }

    async fn run(
        &self,
        host: &dyn Host,
        on_behalf: &OnBehalf,
        driver: &str,
        command: &str,
        mut arguments: Vec<String>,
    ) -> Result<Reply, CallFault> {
        arguments.insert(0, command.to_owned());
        let program = discovery::executable(&self.0.directory, driver);
        let ran = host.run(on_behalf, Command::Driver { program, arguments }).await;
        let record = ran.map_err(|error| match error.leaves_doubt() {
            true => CallFault::Uncertain(error.to_string()),
            false => CallFault::Failed(error.to_string()),
        })?;
        match record.exit() {
            Some(exit) => reply::read(command, exit, record.output()),
            None => Err(CallFault::Uncertain(format!("`{command}` has not ended"))),
        }
    }
}
