//! A CSI driver of our own: disks that are sparse files on loop devices, plain
//! directories, or the disks of a simulated world.
//!
//! ```text
//!   request -> fault? -> rules (pure, on the state) -> state saved -> machine -> reply
//! ```
//!
//! A volume is written down before anything is made and forgotten after all is
//! gone, and each step finds what is there: so the driver can be killed at any
//! point, and the same request again ends the same way. The identity of a
//! volume follows from its name, so that even lost state makes no second one.
//!
//! Rules, their codes and messages are [`rules`] and [`node_rules`]; what is
//! done to files and devices is [`machine`]; what is remembered is [`state`].
//!
//! Deliberately absent: snapshots (refused), groups of snapshots, snapshot
//! metadata.

pub mod faults;
pub mod machine;
pub mod node_rules;
pub mod options;
pub mod registrar;
pub mod rules;
pub mod state;

mod controller;
mod identity;
mod node;

use std::collections::BTreeSet;
use std::fmt;
use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures::future::BoxFuture;
use pvdeck_csi_proto::csi;
use tonic::{Code, Response, Status};

use crate::model::clock::{Clock, TimerUse};
use crate::plugins::csi::driver::faults::{Effect, Faults};
use crate::plugins::csi::driver::machine::Machine;
use crate::plugins::csi::driver::options::Options;
use crate::plugins::csi::driver::rules::Refusal;
use crate::plugins::csi::driver::state::{State, Store, StoreError};

/// A driver: its controller service, and a node service per [`Place`].
#[derive(Clone)]
pub struct Driver {
    inner: Arc<Inner>,
}

/// A driver on one machine: what its node service answers for.
#[derive(Clone)]
pub struct Place {
    driver: Driver,
    /// The machine, as the hosts know it.
    machine: Arc<str>,
    /// The driver's own name for it.
    node_id: Arc<str>,
}

struct Inner {
    options: Options,
    state: Mutex<State>,
    store: Store,
    machine: Machine,
    faults: Faults,
    clock: Arc<dyn Clock>,
    /// Volumes that something is being done to.
    busy: Mutex<BTreeSet<String>>,
    /// Ends the process: what a fault called a crash does. In a process that
    /// is more than a driver it does nothing, and the reply is lost.
    crash: Arc<dyn Fn() + Send + Sync>,
}

impl fmt::Debug for Driver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Driver").field("name", &self.inner.options.name).finish_non_exhaustive()
    }
}

impl fmt::Debug for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Place").field("machine", &self.machine).finish_non_exhaustive()
    }
}

impl Driver {
    /// A driver with what its store remembers.
    pub fn open(
        options: Options,
        store: Store,
        machine: Machine,
        clock: Arc<dyn Clock>,
        crash: Arc<dyn Fn() + Send + Sync>,
    ) -> Result<Self, StoreError> {
        let state = Mutex::new(store.load()?);
        let faults = Faults::new(options.faults.clone());
        let busy = Mutex::default();
        let inner = Inner { options, state, store, machine, faults, clock, busy, crash };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// The driver on a machine, announced under a name of the driver's.
    pub fn at(&self, machine: &str, node_id: &str) -> Place {
        self.lock().nodes.insert(node_id.to_owned());
        Place { driver: self.clone(), machine: machine.into(), node_id: node_id.into() }
    }

    pub fn options(&self) -> &Options {
        &self.inner.options
    }

    /// The rules of faults, to be changed while the driver runs.
    pub fn faults(&self) -> &Faults {
        &self.inner.faults
    }

    /// What the driver remembers now: for tests and screens.
    pub fn state(&self) -> State {
        self.lock().clone()
    }

    /// Forgets mounts of a machine that are no longer there, as after a reboot.
    pub async fn forget_lost_mounts(&self, machine: &str) -> Result<(), Refusal> {
        let places = self.lock().mounts_of(machine);
        for (volume, path) in places {
            if !self.inner.machine.is_in_place(machine, &path).await? {
                self.change(&volume, |record| record.forget_path(machine, &path))?;
            }
        }
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.inner.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes a volume's record and saves it; one that is gone stays gone.
    fn change(&self, id: &str, change: impl FnOnce(&mut state::Volume)) -> Result<(), Refusal> {
        let mut state = self.lock();
        let Some(record) = state.volumes.get_mut(id) else { return Ok(()) };
        change(record);
        let record = record.clone();
        self.inner.store.save(&record).map_err(|error| Refusal::internal(error.to_string()))
    }

    /// Answers a call: its fault first, then the work, on a task of its own so
    /// that a caller who gives up does not stop it half-way.
    async fn answer<T: Send + 'static>(
        &self,
        rpc: &'static str,
        work: impl Future<Output = Result<T, Refusal>> + Send + 'static,
    ) -> Result<Response<T>, Status> {
        let fault = self.inner.faults.take(rpc);
        let effect = fault.as_ref().map(|fault| fault.effect.clone());
        match &effect {
            Some(Effect::Delay(delay)) => {
                self.inner.clock.sleep(*delay, TimerUse::Work).await;
            }
            Some(Effect::Fail(code)) => return Err(asked_for(*code)),
            Some(Effect::Hang) => return futures::future::pending().await,
            Some(Effect::CrashBefore) => return Err(self.crash()),
            Some(Effect::FailAfter(_) | Effect::HangAfter | Effect::CrashAfter) | None => {}
        }
        let done = tokio::spawn(work).await;
        let done = done.unwrap_or_else(|error| Err(Refusal::internal(error.to_string())));
        match effect {
            Some(Effect::FailAfter(code)) => return Err(asked_for(code)),
            Some(Effect::HangAfter) => return futures::future::pending().await,
            Some(Effect::CrashAfter) => return Err(self.crash()),
            _ => {}
        }
        done.map(Response::new).map_err(Status::from)
    }

    fn crash(&self) -> Status {
        (self.inner.crash)();
        Status::unavailable("transport is closing")
    }

    /// Keeps every other request for a volume away until dropped.
    fn occupy(&self, id: &str) -> Result<Occupied, Refusal> {
        let mut busy = self.inner.busy.lock().unwrap_or_else(PoisonError::into_inner);
        if !busy.insert(id.to_owned()) {
            let text = format!("an operation for volume {id} is under way already");
            return Err(Refusal::new(Code::Aborted, text));
        }
        Ok(Occupied { driver: self.clone(), id: id.to_owned() })
    }
}

fn asked_for(code: Code) -> Status {
    Status::new(code, "a fault that was asked for")
}

struct Occupied {
    driver: Driver,
    id: String,
}

impl Drop for Occupied {
    fn drop(&mut self) {
        let busy = self.driver.inner.busy.lock();
        busy.unwrap_or_else(PoisonError::into_inner).remove(&self.id);
    }
}

/// Where a driver's services are mounted: on a server, or in process.
impl Place {
    pub fn driver(&self) -> &Driver {
        &self.driver
    }

    /// A server of all three services, to be run on a socket.
    pub fn router(&self) -> tonic::transport::server::Router {
        tonic::transport::Server::builder()
            .add_service(csi::identity_server::IdentityServer::new(self.clone()))
            .add_service(csi::controller_server::ControllerServer::new(self.clone()))
            .add_service(csi::node_server::NodeServer::new(self.clone()))
    }
}

/// Something of a driver's that takes its time.
type Doing<'a, T> = BoxFuture<'a, Result<T, Refusal>>;
