//! CSI over real sockets: our own driver against what the conformance suite
//! demands of any.

mod bad_drivers;
mod claims;
mod companions;
mod conformance;
mod growing;
mod killed;
mod kills;
mod node;
mod provisioning;
mod tokens;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use pvdeck::cluster::clock::RunningClock;
use pvdeck::plugins::csi::driver::machine::Machine;
use pvdeck::plugins::csi::driver::machine::directories::Directories;
use pvdeck::plugins::csi::driver::machine::disks::DiskMachine;
use pvdeck::plugins::csi::driver::machine::loop_disks::LoopDisks;
use pvdeck::plugins::csi::driver::options::Options;
use pvdeck::plugins::csi::driver::state::Store;
use pvdeck::plugins::csi::driver::{Driver, Place};
use pvdeck::plugins::host::linux::Linux;
use pvdeck::plugins::layout::Layout;
use pvdeck_csi_proto::csi::controller_client::ControllerClient;
use pvdeck_csi_proto::csi::identity_client::IdentityClient;
use pvdeck_csi_proto::csi::node_client::NodeClient;
use pvdeck_csi_proto::csi::volume_capability::access_mode::Mode;
use pvdeck_csi_proto::csi::volume_capability::{AccessMode, AccessType, BlockVolume, MountVolume};
use pvdeck_csi_proto::csi::{
    CapacityRange, ControllerPublishVolumeRequest, CreateVolumeRequest, VolumeCapability,
};
use tempfile::TempDir;
use tokio::net::UnixListener;
use tokio_stream::wrappers::UnixListenerStream;
use tonic::transport::{Channel, Endpoint};

pub const NODE: &str = "node-a";
pub const MIB: i64 = 1 << 20;

/// What a driver's volumes are made of in a test.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Backing {
    Directories,
    Loops,
}

/// The backings that this machine allows.
pub fn backings() -> Vec<Backing> {
    let root = rustix::process::geteuid().is_root();
    if root && Path::new("/dev/loop-control").exists() && Path::new("/dev/loop0").exists() {
        return vec![Backing::Directories, Backing::Loops];
    }
    vec![Backing::Directories]
}

/// A driver on a socket, and clients of its services.
pub struct Served {
    pub identity: IdentityClient<Channel>,
    pub controller: ControllerClient<Channel>,
    pub node: NodeClient<Channel>,
    pub driver: Driver,
    directory: TempDir,
}

pub async fn connect(socket: &Path) -> Channel {
    let endpoint = Endpoint::try_from(format!("unix://{}", socket.display())).expect("an endpoint");
    endpoint.connect().await.expect("connected")
}

fn machine(backing: Backing, root: &Path) -> Machine {
    if backing == Backing::Directories {
        return Machine::Directories(Directories::new(root.join("volumes")));
    }
    let host = Linux::in_place(NODE, Layout::default(), Arc::new(RunningClock::new()));
    let disks = Arc::new(LoopDisks::new(root.join("disks"), host));
    Machine::Disks(DiskMachine::new(disks.clone(), disks, true))
}

pub fn place(backing: Backing, root: &Path, options: Options) -> Place {
    let store = Store::Directory(root.join("state"));
    let clock = Arc::new(RunningClock::new());
    let driver = Driver::open(options, store, machine(backing, root), clock, Arc::new(|| {}));
    driver.expect("opened").at(NODE, NODE)
}

impl Served {
    pub async fn start(backing: Backing, options: Options) -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let socket = directory.path().join("csi.sock");
        let place = place(backing, directory.path(), options);
        let incoming = UnixListenerStream::new(UnixListener::bind(&socket).expect("bound"));
        tokio::spawn(place.router().serve_with_incoming(incoming));
        let channel = connect(&socket).await;
        Self {
            identity: IdentityClient::new(channel.clone()),
            controller: ControllerClient::new(channel.clone()),
            node: NodeClient::new(channel),
            driver: place.driver().clone(),
            directory,
        }
    }

    pub fn path(&self, name: &str) -> String {
        self.directory.path().join(name).to_string_lossy().into_owned()
    }

    pub fn root(&self) -> PathBuf {
        self.directory.path().to_owned()
    }
}

pub fn capability(mode: Mode, block: bool) -> VolumeCapability {
    let mount = MountVolume { fs_type: String::new(), ..MountVolume::default() };
    VolumeCapability {
        access_mode: Some(AccessMode { mode: mode.into() }),
        access_type: Some(match block {
            true => AccessType::Block(BlockVolume {}),
            false => AccessType::Mount(mount),
        }),
    }
}

pub fn create(name: &str, bytes: i64) -> CreateVolumeRequest {
    CreateVolumeRequest {
        name: name.to_owned(),
        capacity_range: Some(CapacityRange { required_bytes: bytes, limit_bytes: bytes }),
        volume_capabilities: vec![capability(Mode::SingleNodeWriter, false)],
        ..CreateVolumeRequest::default()
    }
}

pub fn controller_publish(id: &str, node: &str) -> ControllerPublishVolumeRequest {
    ControllerPublishVolumeRequest {
        volume_id: id.to_owned(),
        node_id: node.to_owned(),
        volume_capability: Some(capability(Mode::SingleNodeWriter, false)),
        ..ControllerPublishVolumeRequest::default()
    }
}
