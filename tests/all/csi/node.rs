//! The node's side: volumes of a driver on a simulated machine, through the
//! kubelet's plugin.

use std::collections::BTreeMap;
use std::sync::Arc;

use pvdeck::controllers::csi::embedded::{self, Csi, EmbeddedDriver};
use pvdeck::model::clock::Clock;
use pvdeck::model::volume_source::VolumeSpec;
use pvdeck::plugins::PluginError;
use pvdeck::plugins::csi::node::CsiPlugin;
use pvdeck::plugins::host::simulated::World;
use pvdeck::plugins::host::{FileKind, Files, Host};
use pvdeck::plugins::layout::Layout;
use pvdeck::plugins::plugin::{FoundVolume, Need, NodeVolume, PodPart, VolumePlugin};
use pvdeck::plugins::steps;
use serde_json::{Value, json};

use super::MIB;
use crate::bare_cluster::clock;

const DRIVER: &str = "csi.pvdeck.dev";

struct Node {
    world: World,
    csi: Csi,
    plugin: CsiPlugin,
}

impl Node {
    fn new() -> Self {
        let clock: Arc<dyn Clock> = Arc::new(clock());
        let world = World::new(clock.clone(), Layout::default());
        world.add("node-1");
        let csi = embedded::start(&[EmbeddedDriver::named(DRIVER)], &world, &["node-1"], &clock);
        let plugin = CsiPlugin::new(csi.on_nodes.clone(), None);
        Self { world, csi, plugin }
    }

    /// Makes a volume and attaches it; gives its handle.
    async fn made(&self, block: bool) -> String {
        let client = &self.csi.hosted[0].client;
        let mode = pvdeck_csi_proto::csi::volume_capability::access_mode::Mode::SingleNodeWriter;
        let capability = super::capability(mode, block);
        let request = pvdeck_csi_proto::csi::CreateVolumeRequest {
            volume_capabilities: vec![capability.clone()],
            ..super::create("v", 64 * MIB)
        };
        let volume = client.create_volume(request).await.expect("made").volume.expect("a volume");
        let request = pvdeck_csi_proto::csi::ControllerPublishVolumeRequest {
            volume_capability: Some(capability),
            ..super::controller_publish(&volume.volume_id, "node-1")
        };
        client.controller_publish_volume(request).await.expect("attached");
        volume.volume_id
    }

    fn volume(&self, spec: VolumeSpec, attached: bool) -> NodeVolume {
        let host: Arc<dyn Host> = self.world.add("node-1");
        let mut provided = BTreeMap::new();
        for need in self.plugin.needs_on("node-1", &spec) {
            let object = match &need {
                Need::Attachment { .. } => json!({"status": {"attached": attached}}),
                Need::CsiDriver { .. } => EmbeddedDriver::named(DRIVER).object(),
                other => panic!("{other:?} is not expected"),
            };
            provided.insert(need, object);
        }
        NodeVolume {
            host,
            spec,
            unique_name: "v".into(),
            device_path: String::new(),
            pod: Some(PodPart { uid: "uid-1".into(), name: "pod-1".into(), ..PodPart::default() }),
            provided,
        }
    }

    fn calls(&self) -> Vec<&'static str> {
        let calls = self.csi.calls.all().into_iter().map(|call| call.rpc);
        calls.filter(|rpc| rpc.starts_with("Node") && *rpc != "NodeGetCapabilities").collect()
    }
}

fn spec(handle: &str, mode: &str) -> VolumeSpec {
    let volume = json!({
        "metadata": {"name": "pv-1"},
        "spec": {
            "accessModes": ["ReadWriteOnce"], "volumeMode": mode,
            "csi": {"driver": DRIVER, "volumeHandle": handle, "fsType": "ext4"},
        },
    });
    VolumeSpec::from_volume(&volume, false)
}

#[tokio::test(start_paused = true)]
async fn a_volume_is_staged_published_and_taken_away() {
    let node = Node::new();
    let handle = node.made(false).await;
    let volume = node.volume(spec(&handle, "Filesystem"), true);
    let (plugin, files) = (&node.plugin, Files(&*volume.host));
    plugin.wait_for_attach(&volume).await.expect("attached");
    let staged = plugin.device_mount_path(&volume).await.expect("known").expect("a path");
    let published = async {
        plugin.stage(&volume).await?;
        plugin.publish(&volume).await
    };
    let published = published.await.expect("published");
    assert_eq!(
        published.host_path,
        "/var/lib/kubelet/pods/uid-1/volumes/kubernetes.io~csi/pv-1/mount"
    );
    let mounts = volume.host.mounts().await.expect("mounts");
    assert!(mounts.is_mount_point(&staged) && mounts.is_mount_point(&published.host_path));
    let found = FoundVolume {
        pod_uid: "uid-1".into(),
        name: "pv-1".into(),
        is_block: false,
        path: "".into(),
    };
    let again = plugin.reconstruct(&volume.host, &found).await.expect("reconstructed");
    assert_eq!(plugin.volume_name(&again), plugin.volume_name(&volume.spec));
    for _ in 0..2 {
        plugin.unpublish(&volume).await.expect("unpublished");
        plugin.unstage(&volume, &staged).await.expect("unstaged");
    }
    assert!(files.look(&published.host_path).await.expect("looked").is_none());
    assert!(files.look(&staged).await.expect("looked").is_none());
    assert_eq!(
        node.calls(),
        ["NodeStageVolume", "NodePublishVolume", "NodeUnpublishVolume", "NodeUnstageVolume"]
    );
}

#[tokio::test(start_paused = true)]
async fn a_volume_that_is_not_attached_is_waited_for() {
    let node = Node::new();
    let volume = node.volume(spec("absent", "Filesystem"), false);
    let error = node.plugin.wait_for_attach(&volume).await.expect_err("not attached");
    let text = error.to_string();
    assert!(text.starts_with("volume absent is not attached for volume attachment csi-"), "{text}");
}

#[tokio::test(start_paused = true)]
async fn a_final_refusal_leaves_nothing_and_a_doubtful_one_what_can_undo_it() {
    for (fault, is_left) in [("Internal", false), ("DeadlineExceeded", true)] {
        let node = Node::new();
        let handle = node.made(false).await;
        let volume = node.volume(spec(&handle, "Filesystem"), true);
        let fault = format!("NodeStageVolume=fail:{fault},times=1").parse().expect("a fault");
        node.csi.drivers[0].faults().set(vec![fault]);
        let error = node.plugin.stage(&volume).await.expect_err("failed");
        assert_eq!(matches!(error, PluginError::Uncertain(_)), is_left, "{error}");
        let staged = node.plugin.device_mount_path(&volume).await.expect("known").expect("a path");
        let left = Files(&*volume.host).look(&staged).await.expect("looked").is_some();
        assert_eq!(left, is_left);
        node.plugin.stage(&volume).await.expect("staged at the second try");
    }
}

#[tokio::test(start_paused = true)]
async fn a_block_volume_is_mapped_for_its_pod() {
    let node = Node::new();
    let handle = node.made(true).await;
    let volume = node.volume(spec(&handle, "Block"), true);
    let plugin = &node.plugin;
    let paths = plugin.block_paths(&volume).expect("block");
    let device = plugin.set_up_device(&volume).await.expect("set up");
    steps::map_block(&volume, &paths, &device).await.expect("mapped");
    let bound = format!("{}/uid-1", paths.global_map);
    let kind = Files(&*volume.host).look(&bound).await.expect("looked").map(|facts| facts.kind);
    assert_eq!(kind, Some(FileKind::BlockDevice));
    steps::unmap_block(&volume, &paths).await.expect("unmapped");
    plugin.unpublish_device(&volume).await.expect("unpublished");
    plugin.tear_down_device(&volume).await.expect("torn down");
    let state = node.csi.drivers[0].state();
    assert_eq!(state.volumes[&handle].users().as_deref(), Some("attached to node-1"));
}

#[tokio::test(start_paused = true)]
async fn a_pods_own_volume_needs_no_claim_and_ends_with_it() {
    let node = Node::new();
    let inline: Value = json!({"name": "data", "csi": {
        "driver": DRIVER, "volumeAttributes": {"size": "1Mi"},
    }});
    let volume = node.volume(VolumeSpec::from_inline(&inline), false);
    let published = node.plugin.publish(&volume).await.expect("published");
    let mounts = volume.host.mounts().await.expect("mounts");
    assert!(mounts.is_mount_point(&published.host_path));
    assert_eq!(node.csi.drivers[0].state().volumes.len(), 1);
    node.plugin.unpublish(&volume).await.expect("unpublished");
    assert!(node.csi.drivers[0].state().volumes.is_empty());
    assert_eq!(node.calls(), ["NodePublishVolume", "NodeUnpublishVolume"]);
}
