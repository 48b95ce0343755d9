//! A whole embedded cluster on a clock that moves only when told to.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use http::{Method, Request};
use kube::Client;
use kube::client::Body;
use pvdeck::cluster::clock::ManualClock;
use pvdeck::cluster::embedded::Embedded;
use pvdeck::cluster::write_path::WritePath;
use pvdeck::cluster::write_path::around::{Answer, Around, AroundLayer, Below};
use pvdeck::cluster::write_path::step_gate::StepGate;
use pvdeck::controllers::csi::embedded::EmbeddedDriver;
use pvdeck::controllers::csi::outside::OutsideDrivers;
use pvdeck::controllers::host;
use pvdeck::controllers::local_provisioner::controller::LocalProvisioner;
use pvdeck::controllers::node_agent::agents::Agents;
use pvdeck::mirror::Mirror;
use pvdeck::model::clock::Clock;
use pvdeck::plugins::csi::calls::Calls;
use pvdeck::plugins::csi::driver::Driver;
use pvdeck::plugins::flex_volume;
use pvdeck::plugins::flex_volume::drivers::FlexDrivers;
use pvdeck::plugins::host::simulated::World as Machines;
use pvdeck::plugins::host::simulated::programs::Programs;
use pvdeck::session::{EmbeddedOptions, NodeMachines, Session};
use tempfile::TempDir;
use tower::Layer;
use tower::util::BoxCloneService;

use crate::bare_cluster::{self, clock};
use crate::golden::Committed;

/// How many objects the original's controllers work on at once: recorded orders
/// depend on it.
pub const ONE_AT_A_TIME: usize = 1;

fn hosted(parallel: usize) -> host::Options {
    host::Options { parallel, ..host::Options::default() }
}

/// A write takes its time, as one to a real server does: all hear of the last
/// before the next is done.
#[derive(Clone)]
struct RoundTrip;

impl Around for RoundTrip {
    fn handle<S: Below>(&self, mut below: S, request: Request<Body>) -> Answer {
        Box::pin(async move {
            if request.method() != Method::GET {
                // Of the runtime's paused time, not of the clock's.
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            below.call(request).await
        })
    }
}

/// An embedded cluster with its mirror, the hosted controllers and two nodes.
pub struct World {
    pub clock: ManualClock,
    /// Requests as a user sends them: past our write path, like kubectl's.
    pub user: Client,
    session: Session,
    /// Holds the directory of FlexVolume drivers, and where they work.
    programs: Option<TempDir>,
}

impl World {
    /// Runs something in a world of its own, with a runtime of its own: when it
    /// ends, so do all tasks.
    pub fn run<T>(play: impl AsyncFnOnce(Self) -> T) -> T {
        Self::run_with(hosted(ONE_AT_A_TIME), NodeMachines::Simulated, Vec::new(), None, play)
    }

    /// The same, with nothing under the nodes: no pod runs by itself.
    pub fn run_without_machines<T>(play: impl AsyncFnOnce(Self) -> T) -> T {
        Self::run_with(hosted(ONE_AT_A_TIME), NodeMachines::Nothing, Vec::new(), None, play)
    }

    /// The same, in the cluster that recordings were made on, with so many
    /// objects at once: its driver has one name for both nodes. With `programs`
    /// the nodes may have FlexVolume drivers too.
    pub fn run_recorded<T>(
        parallel: usize,
        programs: bool,
        play: impl AsyncFnOnce(Self) -> T,
    ) -> T {
        let driver = EmbeddedDriver {
            node_id: Some("host-1".to_owned()),
            ..EmbeddedDriver::named("hostpath.csi.k8s.io")
        };
        let programs = programs.then(|| tempfile::tempdir().expect("a folder"));
        Self::run_with(hosted(parallel), NodeMachines::Simulated, vec![driver], programs, play)
    }

    /// The same with drivers that are reached as those outside are.
    pub fn run_with_outside<T>(outside: OutsideDrivers, play: impl AsyncFnOnce(Self) -> T) -> T {
        let options = EmbeddedOptions { outside: Some(outside), ..EmbeddedOptions::default() };
        Self::run_as(hosted(ONE_AT_A_TIME), options, None, play)
    }

    /// The same with FlexVolume drivers, which are yet to be installed.
    pub fn run_with_programs<T>(play: impl AsyncFnOnce(Self) -> T) -> T {
        let programs = tempfile::tempdir().expect("a folder");
        let (controllers, machines) = (hosted(ONE_AT_A_TIME), NodeMachines::Simulated);
        Self::run_with(controllers, machines, Vec::new(), Some(programs), play)
    }

    /// The same with these CSI drivers.
    pub fn run_with_drivers<T>(
        parallel: usize,
        drivers: Vec<EmbeddedDriver>,
        play: impl AsyncFnOnce(Self) -> T,
    ) -> T {
        Self::run_with(hosted(parallel), NodeMachines::Simulated, drivers, None, play)
    }

    fn run_with<T>(
        controllers: host::Options,
        machines: NodeMachines,
        drivers: Vec<EmbeddedDriver>,
        programs: Option<TempDir>,
        play: impl AsyncFnOnce(Self) -> T,
    ) -> T {
        let options = EmbeddedOptions { machines, drivers, ..EmbeddedOptions::default() };
        Self::run_as(controllers, options, programs, play)
    }

    fn run_as<T>(
        controllers: host::Options,
        options: EmbeddedOptions,
        programs: Option<TempDir>,
        play: impl AsyncFnOnce(Self) -> T,
    ) -> T {
        bare_cluster::run(async { play(Self::new(controllers, options, programs).await).await })
    }

    async fn new(
        controllers: host::Options,
        options: EmbeddedOptions,
        programs: Option<TempDir>,
    ) -> Self {
        let clock = clock();
        let shared: Arc<dyn Clock> = Arc::new(clock.clone());
        let options = EmbeddedOptions {
            controllers: Some(controllers),
            flex_volume: programs.as_ref().map(|folder| Arc::new(programs_in(folder.path()))),
            ..options
        };
        let cluster = Session::cluster(&shared, &options).expect("an embedded cluster");
        let base = BoxCloneService::new(AroundLayer(RoundTrip).layer(cluster.base()));
        let session = Session::over(base, shared, cluster, options);
        let user = Client::new(embedded(&session).clone(), "default");
        clock.idle().await;
        Self { clock, user, session, programs }
    }

    /// Puts a FlexVolume driver, `vendor/driver`, where nodes look for it: under
    /// a name that is passed over at first, as one should.
    pub fn install(&self, driver: &str, script: &str) {
        let (_, file) = driver.rsplit_once('/').expect("vendor/driver");
        let folder = self.drivers_folder().join(driver.replace('/', "~"));
        std::fs::create_dir_all(&folder).expect("made");
        let hidden = folder.join(format!(".{file}"));
        std::fs::write(&hidden, script).expect("written");
        std::fs::set_permissions(&hidden, Permissions::from_mode(0o755)).expect("executable");
        std::fs::rename(&hidden, folder.join(file)).expect("renamed");
    }

    /// The real directory of FlexVolume drivers.
    pub fn drivers_folder(&self) -> PathBuf {
        self.programs.as_ref().expect("nodes that may have drivers").path().join("exec")
    }

    pub fn flex_drivers(&self) -> &FlexDrivers {
        let demo = self.session.demo.as_ref().expect("it is in this process");
        demo.flex_drivers.as_ref().expect("nodes that may have drivers")
    }

    /// The revision of the last commit.
    pub fn revision(&self) -> u64 {
        embedded(&self.session).revision()
    }

    /// Everything committed after a revision, in order.
    pub fn commits_after(&self, revision: u64) -> Vec<Committed> {
        let commits = embedded(&self.session).commits_after(revision);
        let decoded = commits.iter().map(|commit| Committed {
            revision: commit.revision,
            before: commit.object_before(),
            after: commit.object_after(),
        });
        decoded.collect()
    }

    /// The drivers that run in it, and the calls to them.
    pub fn drivers(&self) -> &[Driver] {
        &self.session.demo.as_ref().expect("it is in this process").drivers
    }

    pub fn calls(&self) -> &Calls {
        &self.session.demo.as_ref().expect("it is in this process").calls
    }

    pub fn gate(&self) -> &StepGate {
        self.session.path.gate()
    }

    pub fn path(&self) -> &WritePath {
        &self.session.path
    }

    pub fn mirror(&self) -> &Mirror {
        &self.session.mirror
    }

    /// The simulated machines under the nodes.
    pub fn machines(&self) -> &Machines {
        let demo = self.session.demo.as_ref();
        demo.and_then(|demo| demo.world.as_ref()).expect("simulated machines")
    }

    /// The provisioner of the nodes' local volumes.
    pub fn local_provisioner(&self) -> &Arc<LocalProvisioner> {
        let host = self.session.host.as_ref();
        host.and_then(|host| host.local_provisioner()).expect("it runs")
    }

    /// How each controller is doing, the last that was started first.
    pub fn controllers(&self) -> Vec<host::ControllerStatus> {
        let status = self.session.host.as_ref().map(host::Host::status).unwrap_or_default();
        status.into_iter().rev().collect()
    }

    /// The agents of the nodes.
    pub fn agents(&self) -> &Arc<Agents> {
        self.session.host.as_ref().and_then(|host| host.agents()).expect("agents run")
    }

    /// Lets time pass, timer by timer, until something is done.
    pub async fn until<T>(&self, done: impl Future<Output = T>) -> T {
        let mut done = std::pin::pin!(done);
        loop {
            tokio::select! {
                biased;
                result = &mut done => return result,
                moved = self.clock.step() => assert!(moved, "nothing will ever happen again"),
            }
        }
    }
}

fn programs_in(folder: &Path) -> Programs {
    let exec = folder.join("exec");
    std::fs::create_dir_all(&exec).expect("made");
    Programs::new(exec, flex_volume::DIRECTORY, folder.join("scratch")).expect("made")
}

fn embedded(session: &Session) -> &Embedded {
    &session.demo.as_ref().expect("it is in this process").embedded
}
