//! `pvdeck csi-driver`: the driver of our own on a Unix socket, until a signal
//! ends it.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio::net::UnixListener;
use tokio_stream::wrappers::UnixListenerStream;

use crate::cli::{Backing, CsiCompanions, CsiDriver};
use crate::cluster::clock::RunningClock;
use crate::cluster::connect::{self, ConnectError, Contexts};
use crate::config;
use crate::controllers::csi::outside::{OutsideDrivers, Registry};
use crate::failure::Failure;
use crate::model::clock::Clock;
use crate::model::quantity::Quantity;
use crate::plugins::csi::driver::machine::Machine;
use crate::plugins::csi::driver::machine::directories::Directories;
use crate::plugins::csi::driver::machine::disks::DiskMachine;
use crate::plugins::csi::driver::machine::loop_disks::LoopDisks;
use crate::plugins::csi::driver::options::Options;
use crate::plugins::csi::driver::registrar::Registrar;
use crate::plugins::csi::driver::state::Store;
use crate::plugins::csi::driver::{Driver, Place};
use crate::plugins::csi::node::outside::Outside;
use crate::plugins::host::linux::Linux;
use crate::plugins::layout::Layout;
use crate::session::Session;

/// The exit code of a driver that a fault has killed, as of SIGKILL.
const KILLED: i32 = 137;

/// Serves until SIGINT, SIGTERM or SIGHUP. Prints one line once it is ready.
pub async fn run(options: CsiDriver) -> Result<(), Failure> {
    let ended = crate::serve::end()?;
    let socket = socket_path(&options.endpoint)?;
    let place = open(&options).await?;
    let listener = listen(&socket)?;
    let mut registration = None;
    if let Some(directory) = &options.registration_dir {
        let registrar = Registrar::new(&options.name, &socket.to_string_lossy());
        let at = directory.join(format!("{}-reg.sock", options.name));
        let incoming = UnixListenerStream::new(listen(&at)?);
        let served = tokio::spawn(registrar.router().serve_with_incoming(incoming));
        registration = Some((at, served));
    }
    let line = format!("{} listens on unix://{}\n", options.name, socket.display());
    // A reader that went away is no failure.
    let _ = std::io::stdout().write_all(line.as_bytes());
    let _ = std::io::stdout().flush();
    let incoming = UnixListenerStream::new(listener);
    let served = place.router().serve_with_incoming_shutdown(incoming, ended).await;
    if let Some((at, task)) = registration {
        task.abort();
        let _ = std::fs::remove_file(at);
    }
    let _ = std::fs::remove_file(&socket);
    served.map_err(|error| Failure::new(format!("serving {}: {error}", socket.display())))
}

/// `pvdeck csi-companions`: runs the companions of drivers against a cluster
/// until a signal ends it. Prints one line once it is ready.
pub async fn run_companions(options: CsiCompanions) -> Result<(), Failure> {
    let ended = crate::serve::end()?;
    let contexts = Contexts::read(options.kubeconfig.as_deref()).map_err(cannot_connect)?;
    let connection = match &contexts {
        Some(contexts) => contexts.connect(options.context.as_deref()).await,
        None => match connect::in_cluster().await {
            Ok(Some(connection)) => Ok(connection),
            Ok(None) => {
                let failure = Failure::bad_input("there is no kubeconfig to reach a cluster with");
                return Err(failure.hint("name one with --kubeconfig"));
            }
            Err(error) => Err(error),
        },
    };
    let connection = connection.map_err(cannot_connect)?;
    connection.probe().await.map_err(cannot_connect)?;
    let Some(drivers) = meet(&options.csi).await? else { return Ok(()) };
    let names = drivers.names().collect::<Vec<_>>().join(", ");
    let line = format!("companions of {names} run on {}\n", connection.server);
    let _session = Session::companions(connection, &drivers);
    // A reader that went away is no failure.
    let _ = std::io::stdout().write_all(line.as_bytes());
    let _ = std::io::stdout().flush();
    ended.await;
    Ok(())
}

/// The directory to watch for drivers; it need not be there yet.
pub fn registry(directory: Option<&Path>) -> Result<Option<Registry>, Failure> {
    let Some(directory) = directory else { return Ok(None) };
    let root = config::state_folder()?.join(format!("csi/{}", std::process::id()));
    Ok(Some(Registry { directory: directory.to_owned(), paths: Outside { root } }))
}

fn cannot_connect(error: ConnectError) -> Failure {
    let hint = error.hint();
    Failure::bad_input(error.to_string()).hint(hint)
}

/// Makes the acquaintance of drivers that run outside; `None` without any.
pub async fn meet(endpoints: &[String]) -> Result<Option<OutsideDrivers>, Failure> {
    if endpoints.is_empty() {
        return Ok(None);
    }
    let clock: Arc<dyn Clock> = Arc::new(RunningClock::new());
    let root = config::state_folder()?.join(format!("csi/{}", std::process::id()));
    let met = OutsideDrivers::meet(endpoints, root, &clock).await;
    met.map(Some).map_err(|error| {
        Failure::bad_input(error.to_string()).hint("name a driver's socket with --csi")
    })
}

async fn open(options: &CsiDriver) -> Result<Place, Failure> {
    let root = match &options.root {
        Some(root) => root.clone(),
        None => config::state_folder()?.join("csi-driver"),
    };
    let failed = |error: &dyn std::fmt::Display| Failure::new(format!("the driver: {error}"));
    std::fs::create_dir_all(&root).map_err(|error| {
        Failure::bad_input(format!("the directory `{}`: {error}", root.display()))
            .hint("choose another with --root")
    })?;
    let root = root.canonicalize().map_err(|error| failed(&error))?;
    let clock: Arc<dyn Clock> = Arc::new(RunningClock::new());
    let node = match &options.node_id {
        Some(node) => node.clone(),
        None => host_name(),
    };
    let machine = machine(options, &root, &node, &clock);
    let store = Store::Directory(root.join("state"));
    let crash = Arc::new(|| std::process::exit(KILLED));
    let driver = Driver::open(self::options(options)?, store, machine, clock, crash);
    let driver = driver.map_err(|error| failed(&error))?;
    driver.forget_lost_mounts(&node).await.map_err(|error| failed(&error))?;
    Ok(driver.at(&node, &node))
}

fn machine(options: &CsiDriver, root: &Path, node: &str, clock: &Arc<dyn Clock>) -> Machine {
    let loops = match options.backing {
        Backing::Auto => may_use_loops(),
        Backing::Loop => true,
        Backing::Directory => false,
    };
    if !loops {
        return Machine::Directories(Directories::new(root.join("volumes")));
    }
    let host = Linux::in_place(node, Layout::default(), clock.clone());
    let disks = Arc::new(LoopDisks::new(root.join("disks"), host));
    Machine::Disks(DiskMachine::new(disks.clone(), disks, true))
}

/// Whether this process may attach loop devices, mount, and grow what is
/// mounted.
fn may_use_loops() -> bool {
    use rustix::thread::CapabilitySet;
    let needed = CapabilitySet::SYS_ADMIN | CapabilitySet::SYS_RESOURCE;
    let has = rustix::thread::capabilities(None);
    has.is_ok_and(|has| has.effective.contains(needed)) && Path::new("/dev/loop-control").exists()
}

fn options(given: &CsiDriver) -> Result<Options, Failure> {
    let mut topology = BTreeMap::new();
    for segment in &given.topology {
        let (key, value) = segment.split_once('=').ok_or_else(|| {
            Failure::bad_input(format!("--topology `{segment}` is not KEY=VALUE"))
        })?;
        topology.insert(key.to_owned(), value.to_owned());
    }
    let faults = given.fault.iter().map(|fault| fault.parse());
    let faults = faults.collect::<Result<_, _>>().map_err(
        |error: crate::plugins::csi::driver::faults::BadFault| {
            Failure::bad_input(error.to_string())
        },
    )?;
    Ok(Options {
        name: given.name.clone(),
        capacity: bytes("--capacity", &given.capacity)?,
        volume_bytes_max: bytes("--volume-size-max", &given.volume_size_max)?,
        attach: !given.no_attach,
        volumes_per_node_max: given.volumes_per_node_max,
        topology,
        faults,
        ..Options::default()
    })
}

fn bytes(flag: &str, text: &str) -> Result<u64, Failure> {
    let parsed = Quantity::parse(text).ok().and_then(|size| u64::try_from(size.units()).ok());
    parsed.ok_or_else(|| {
        Failure::bad_input(format!("{flag} `{text}` is no size")).hint("write it as 100Gi")
    })
}

fn host_name() -> String {
    let name = rustix::system::uname().nodename().to_string_lossy().into_owned();
    if name.is_empty() { "localhost".to_owned() } else { name }
}

/// The path of `unix:///path`, `unix:/path` or `/path`.
fn socket_path(endpoint: &str) -> Result<PathBuf, Failure> {
    let path = endpoint.strip_prefix("unix://").or(endpoint.strip_prefix("unix:"));
    let path = path.unwrap_or(endpoint);
    if !path.starts_with('/') {
        let what = format!("--endpoint `{endpoint}` is not an absolute path of a Unix socket");
        return Err(Failure::bad_input(what).hint("write it as unix:///run/csi.sock"));
    }
    Ok(PathBuf::from(path))
}

/// Listens on a socket; one that a driver before has left is taken away.
fn listen(path: &Path) -> Result<UnixListener, Failure> {
    use std::os::unix::fs::FileTypeExt;
    let failed =
        |error: std::io::Error| Failure::bad_input(format!("socket `{}`: {error}", path.display()));
    if let Some(parent) = path.parent() {
        std::fs::create_dir_all(parent).map_err(failed)?;
    }
    if std::fs::symlink_metadata(path).is_ok_and(|facts| facts.file_type().is_socket()) {
        if std::os::unix::net::UnixStream::connect(path).is_ok() {
            let what = format!("socket `{}`: someone listens there already", path.display());
            return Err(Failure::bad_input(what).hint("stop that driver, or choose another path"));
        }
        std::fs::remove_file(path).map_err(failed)?;
    }
    UnixListener::bind(path).map_err(failed)
}
