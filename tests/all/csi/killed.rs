//! The driver's process, killed before or after each call had its effect: the
//! same call again ends the same way, and nothing is left behind.

use std::path::Path;
use std::process::{Child, Command, Stdio};

use pvdeck_csi_proto::csi::controller_client::ControllerClient;
use pvdeck_csi_proto::csi::node_client::NodeClient;
use pvdeck_csi_proto::csi::volume_capability::access_mode::Mode;
use pvdeck_csi_proto::csi::*;
use tonic::Code;
use tonic::transport::Channel;

use super::{MIB, NODE, capability, connect, controller_publish, create};

const CALLS: [&str; 8] = [
    "CreateVolume",
    "ControllerPublishVolume",
    "NodeStageVolume",
    "NodePublishVolume",
    "NodeUnpublishVolume",
    "NodeUnstageVolume",
    "ControllerUnpublishVolume",
    "DeleteVolume",
];

/// The program as a driver, ended when dropped.
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

async fn start(root: &Path, fault: Option<&str>) -> (Process, Channel) {
    let socket = root.join("csi.sock");
    let mut command = Command::new(env!("CARGO_BIN_EXE_pvdeck"));
    command.arg("csi-driver").args(["--node-id", NODE, "--backing", "directory"]);
    command.arg("--endpoint").arg(format!("unix://{}", socket.display()));
    command.arg("--root").arg(root.join("data"));
    command.env("XDG_STATE_HOME", root.join("xdg")).stdout(Stdio::piped());
    if let Some(fault) = fault {
        command.args(["--fault", fault]);
    }
    let mut child = command.spawn().expect("started");
    let out = child.stdout.take().expect("stdout");
    let ready = tokio::task::spawn_blocking(move || {
        use std::io::BufRead;
        let mut line = String::new();
        std::io::BufReader::new(out).read_line(&mut line).expect("read");
        line
    });
    assert!(ready.await.expect("joined").contains("listens on"));
    (Process(child), connect(&socket).await)
}

/// One call of a volume's life.
async fn call(
    rpc: &str,
    root: &Path,
    channel: &Channel,
    id: &str,
) -> Result<String, tonic::Status> {
    let mut controller = ControllerClient::new(channel.clone());
    let mut node = NodeClient::new(channel.clone());
    let path = |name: &str| root.join(name).to_string_lossy().into_owned();
    let volume_id = id.to_owned();
    let volume_capability = Some(capability(Mode::SingleNodeWriter, false));
    match rpc {
        "CreateVolume" => {
            let reply = controller.create_volume(create("v", MIB)).await?.into_inner();
            return Ok(reply.volume.expect("a volume").volume_id);
        }
        "ControllerPublishVolume" => {
            controller.controller_publish_volume(controller_publish(id, NODE)).await.map(drop)?;
        }
        "NodeStageVolume" => {
            let request = NodeStageVolumeRequest {
                volume_id,
                staging_target_path: path("staging"),
                volume_capability,
                ..Default::default()
            };
            node.node_stage_volume(request).await.map(drop)?;
        }
        "NodePublishVolume" => {
            let request = NodePublishVolumeRequest {
                volume_id,
                staging_target_path: path("staging"),
                target_path: path("target"),
                volume_capability,
                ..Default::default()
            };
            node.node_publish_volume(request).await.map(drop)?;
        }
        "NodeUnpublishVolume" => {
            let request = NodeUnpublishVolumeRequest { volume_id, target_path: path("target") };
            node.node_unpublish_volume(request).await.map(drop)?;
        }
        "NodeUnstageVolume" => {
            let staging_target_path = path("staging");
            let request = NodeUnstageVolumeRequest { volume_id, staging_target_path };
            node.node_unstage_volume(request).await.map(drop)?;
        }
        "ControllerUnpublishVolume" => {
            let node_id = NODE.to_owned();
            let request =
                ControllerUnpublishVolumeRequest { volume_id, node_id, ..Default::default() };
            controller.controller_unpublish_volume(request).await.map(drop)?;
        }
        _ => {
            let request = DeleteVolumeRequest { volume_id, ..Default::default() };
            controller.delete_volume(request).await.map(drop)?;
        }
    }
    Ok(id.to_owned())
}

async fn life_with(fault: &str) {
    let directory = tempfile::tempdir().expect("a directory");
    let root = directory.path();
    let (mut process, mut channel) = start(root, Some(fault)).await;
    let mut id = String::new();
    let mut deaths = 0;
    for rpc in CALLS {
        id = match call(rpc, root, &channel, &id).await {
            Ok(id) => id,
            Err(status) => {
                assert!(
                    matches!(status.code(), Code::Unavailable | Code::Unknown | Code::Cancelled),
                    "{fault}: {rpc}: {status}"
                );
                assert_eq!(process.0.wait().expect("ended").code(), Some(137), "{fault}");
                deaths += 1;
                (process, channel) = start(root, None).await;
                call(rpc, root, &channel, &id).await.unwrap_or_else(|e| panic!("{fault}: {e}"))
            }
        };
    }
    assert_eq!(deaths, 1, "{fault} did not strike");
    for left in ["state", "volumes"] {
        let entries = std::fs::read_dir(root.join("data").join(left)).expect("read").count();
        assert_eq!(entries, 0, "{fault}: {left}");
    }
    assert!(std::fs::symlink_metadata(root.join("target")).is_err(), "{fault}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_driver_killed_at_any_call_loses_and_leaks_nothing() {
    for rpc in CALLS {
        for when in ["before", "after"] {
            life_with(&format!("{rpc}=crash-{when},times=1")).await;
        }
    }
}
