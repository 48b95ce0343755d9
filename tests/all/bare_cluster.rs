//! An embedded cluster that stays while whoever works on it comes, dies and
//! comes again, on a clock that moves only when told to.

use std::sync::Arc;

use jiff::Timestamp;
use pvdeck::cluster::Base;
use pvdeck::cluster::clock::ManualClock;
use pvdeck::cluster::embedded::{Embedded, Options};
use pvdeck::cluster::write_path::WritePath;
use pvdeck::cluster::write_path::read_only::Access;
use pvdeck::controllers::host;
use pvdeck::model::clock::Clock;
use pvdeck::model::write::Actor;
use pvdeck::session::{EmbeddedOptions, NodeMachines, Session};

/// When every cluster begins, in seconds since 1970.
const START: i64 = 1_800_000_000;

/// A clock that stands where every cluster begins.
pub fn clock() -> ManualClock {
    ManualClock::new(Timestamp::from_second(START).expect("in range"))
}

/// Runs something in a runtime of its own, whose time stands: when it ends, so
/// do all tasks.
pub fn run<T>(play: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .start_paused(true)
        .build()
        .expect("a runtime");
    runtime.block_on(play)
}

/// A cluster that nobody works on yet.
pub struct BareCluster {
    pub clock: ManualClock,
    pub embedded: Embedded,
    /// A user beside all programs.
    pub user: kube::Client,
}

impl BareCluster {
    pub fn new() -> Self {
        let clock = clock();
        let shared: Arc<dyn Clock> = Arc::new(clock.clone());
        let embedded = Embedded::new(Options::new(shared.clone()));
        let path = WritePath::new(embedded.base(), "default", shared, Access::writable());
        let user = path.client(Actor("user".into()));
        Self { clock, embedded, user }
    }
}

/// Starts the program on a cluster that it reaches through `base`; it knows only
/// what the cluster holds.
pub fn start(
    embedded: &Embedded,
    clock: &ManualClock,
    base: Base,
    controllers: Option<host::Options>,
) -> Session {
    let machines = NodeMachines::Nothing;
    let options = EmbeddedOptions { machines, controllers, ..EmbeddedOptions::default() };
    Session::over(base, Arc::new(clock.clone()), embedded.clone(), options)
}
