//! The areas of the CSI conformance suite, as tests of our own driver.

use std::path::Path;

use pvdeck::plugins::csi::driver::options::Options;
use pvdeck_csi_proto::csi::volume_capability::access_mode::Mode;
use pvdeck_csi_proto::csi::*;
use tonic::{Code, Status};

use super::{Backing, MIB, NODE, Served, backings, capability, controller_publish, create};

#[track_caller]
fn refused<T>(what: &str, answer: Result<T, Status>, code: Code) {
    match answer {
        Ok(_) => panic!("{what}: answered OK instead of {code:?}"),
        Err(status) => assert_eq!(status.code(), code, "{what}: {}", status.message()),
    }
}

async fn directories() -> Served {
    Served::start(Backing::Directories, Options::default()).await
}

async fn made(served: &mut Served, request: CreateVolumeRequest) -> Volume {
    let reply = served.controller.create_volume(request).await.expect("created");
    reply.into_inner().volume.expect("a volume")
}

#[tokio::test]
async fn the_identity_service_names_the_driver_and_what_it_has() {
    let mut served = directories().await;
    let info = served.identity.get_plugin_info(GetPluginInfoRequest {}).await.expect("answered");
    assert_eq!(info.into_inner().name, "csi.pvdeck.dev");
    let has = served.identity.get_plugin_capabilities(GetPluginCapabilitiesRequest {}).await;
    assert_eq!(has.expect("answered").into_inner().capabilities.len(), 2);
    let ready = served.identity.probe(ProbeRequest {}).await.expect("answered");
    assert_eq!(ready.into_inner().ready, Some(true));
}

#[tokio::test]
async fn a_controller_call_without_an_argument_is_refused_before_anything_is_looked_up() {
    let mut served = directories().await;
    let c = &mut served.controller;
    let invalid = Code::InvalidArgument;
    refused("create: name", c.create_volume(create("", MIB)).await, invalid);
    let bare = CreateVolumeRequest { volume_capabilities: vec![], ..create("v", MIB) };
    refused("create: capabilities", c.create_volume(bare).await, invalid);
    let both =
        vec![capability(Mode::SingleNodeWriter, true), capability(Mode::SingleNodeWriter, false)];
    let both = CreateVolumeRequest { volume_capabilities: both, ..create("v", MIB) };
    refused("create: both types", c.create_volume(both).await, invalid);
    refused("delete: id", c.delete_volume(DeleteVolumeRequest::default()).await, invalid);
    refused(
        "publish: id",
        c.controller_publish_volume(controller_publish("", NODE)).await,
        invalid,
    );
    refused(
        "publish: node",
        c.controller_publish_volume(controller_publish("v", "")).await,
        invalid,
    );
    let bare =
        ControllerPublishVolumeRequest { volume_capability: None, ..controller_publish("v", NODE) };
    refused("publish: capability", c.controller_publish_volume(bare).await, invalid);
    let bare = ControllerUnpublishVolumeRequest::default();
    refused("unpublish: id", c.controller_unpublish_volume(bare).await, invalid);
    let bare = ValidateVolumeCapabilitiesRequest::default();
    refused("validate: id", c.validate_volume_capabilities(bare.clone()).await, invalid);
    let bare = ValidateVolumeCapabilitiesRequest { volume_id: "v".into(), ..bare };
    refused("validate: capabilities", c.validate_volume_capabilities(bare.clone()).await, invalid);
    let whole = ValidateVolumeCapabilitiesRequest {
        volume_capabilities: vec![capability(Mode::SingleNodeWriter, false)],
        ..bare
    };
    refused("validate: volume", c.validate_volume_capabilities(whole).await, Code::NotFound);
    let bare = ControllerExpandVolumeRequest::default();
    refused("expand: id", c.controller_expand_volume(bare.clone()).await, invalid);
    let bare = ControllerExpandVolumeRequest { volume_id: "v".into(), ..bare };
    refused("expand: range", c.controller_expand_volume(bare).await, invalid);
    let bare = ControllerModifyVolumeRequest::default();
    refused("modify: id", c.controller_modify_volume(bare).await, invalid);
    let unknown = ControllerModifyVolumeRequest { volume_id: "v".into(), ..Default::default() };
    refused("modify: volume", c.controller_modify_volume(unknown).await, Code::NotFound);
    let unknown = ControllerGetVolumeRequest { volume_id: "v".into() };
    refused("get: volume", c.controller_get_volume(unknown).await, Code::NotFound);
    refused(
        "snapshots",
        c.create_snapshot(CreateSnapshotRequest::default()).await,
        Code::Unimplemented,
    );
}

#[tokio::test]
async fn creating_again_gives_the_same_volume_and_another_size_is_refused() {
    let mut served = directories().await;
    let first = made(&mut served, create("v", MIB)).await;
    let again = made(&mut served, create("v", MIB)).await;
    assert_eq!(first, again);
    let other = served.controller.create_volume(create("v", 2 * MIB)).await;
    refused("another size", other, Code::AlreadyExists);
    let big = served.controller.create_volume(create("w", 2 << 40)).await;
    let said = big.as_ref().err().map(|status| status.message().to_owned());
    refused("too big", big, Code::OutOfRange);
    assert_eq!(
        said.as_deref(),
        Some("Requested capacity 2199023255552 exceeds maximum allowed 1099511627776")
    );
    let long = made(&mut served, create(&"n".repeat(128), MIB)).await;
    for id in [&first.volume_id, &long.volume_id, &first.volume_id] {
        let request = DeleteVolumeRequest { volume_id: id.clone(), ..Default::default() };
        served.controller.delete_volume(request).await.expect("deleted");
    }
    assert!(served.driver.state().volumes.is_empty());
}

#[tokio::test]
async fn a_copy_needs_a_source_that_fits() {
    let mut served = directories().await;
    let of = |id: &str| {
        let source = volume_content_source::VolumeSource { volume_id: id.to_owned() };
        Some(VolumeContentSource { r#type: Some(volume_content_source::Type::Volume(source)) })
    };
    let source = made(&mut served, create("source", MIB)).await;
    let file = served.root().join("volumes").join(&source.volume_id).join("kept");
    std::fs::write(file, "kept").expect("written");
    let request =
        CreateVolumeRequest { volume_content_source: of(&source.volume_id), ..create("c", MIB) };
    let copy = made(&mut served, request).await;
    assert!(copy.content_source.is_some());
    let file = served.root().join("volumes").join(&copy.volume_id).join("kept");
    assert_eq!(std::fs::read_to_string(file).expect("read"), "kept");
    let absent = CreateVolumeRequest { volume_content_source: of("absent"), ..create("d", MIB) };
    refused("no source", served.controller.create_volume(absent).await, Code::NotFound);
}

#[tokio::test]
async fn volumes_are_listed_page_by_page_while_others_go() {
    let mut served = directories().await;
    for name in ["a", "b", "c", "d"] {
        made(&mut served, create(name, MIB)).await;
    }
    let c = &mut served.controller;
    let bad = ListVolumesRequest { max_entries: 0, starting_token: "invalid-token".into() };
    refused("token", c.list_volumes(bad).await, Code::Aborted);
    let page = ListVolumesRequest { max_entries: 2, starting_token: String::new() };
    let page = c.list_volumes(page).await.expect("listed").into_inner();
    assert_eq!(page.entries.len(), 2);
    for entry in &page.entries {
        let volume_id = entry.volume.clone().expect("a volume").volume_id;
        let request = DeleteVolumeRequest { volume_id, ..Default::default() };
        c.delete_volume(request).await.expect("deleted");
    }
    let rest = ListVolumesRequest { max_entries: 0, starting_token: page.next_token };
    let rest = c.list_volumes(rest).await.expect("listed").into_inner();
    assert_eq!((rest.entries.len(), rest.next_token.as_str()), (2, ""));
    let left = c.get_capacity(GetCapacityRequest::default()).await.expect("answered").into_inner();
    assert_eq!(left.available_capacity, (10 << 40) - 2 * MIB);
}

#[tokio::test]
async fn publishing_to_a_node_is_exclusive_for_one_node_modes() {
    let mut served = directories().await;
    served.driver.at("b", "node-b");
    let id = made(&mut served, create("v", MIB)).await.volume_id;
    let c = &mut served.controller;
    let unknown = c.controller_publish_volume(controller_publish(&id, "nowhere")).await;
    refused("node", unknown, Code::NotFound);
    let unknown = c.controller_publish_volume(controller_publish("v", NODE)).await;
    refused("volume", unknown, Code::NotFound);
    for _ in 0..2 {
        c.controller_publish_volume(controller_publish(&id, NODE)).await.expect("published");
    }
    let read_only =
        ControllerPublishVolumeRequest { readonly: true, ..controller_publish(&id, NODE) };
    refused("flag", c.controller_publish_volume(read_only).await, Code::AlreadyExists);
    let other = c.controller_publish_volume(controller_publish(&id, "node-b")).await;
    refused("second node", other, Code::FailedPrecondition);
    let request = DeleteVolumeRequest { volume_id: id.clone(), ..Default::default() };
    refused("delete", c.delete_volume(request).await, Code::FailedPrecondition);
    for _ in 0..2 {
        let request = ControllerUnpublishVolumeRequest {
            volume_id: id.clone(),
            node_id: NODE.into(),
            ..Default::default()
        };
        c.controller_unpublish_volume(request).await.expect("unpublished");
    }
    c.controller_publish_volume(controller_publish(&id, "node-b")).await.expect("published");
}

#[tokio::test]
async fn a_node_call_without_an_argument_or_in_the_wrong_order_is_refused() {
    let mut served = directories().await;
    let id = made(&mut served, create("v", MIB)).await.volume_id;
    let n = &mut served.node;
    let invalid = Code::InvalidArgument;
    let stage = NodeStageVolumeRequest {
        volume_id: id.clone(),
        staging_target_path: "/nowhere".into(),
        volume_capability: Some(capability(Mode::SingleNodeWriter, false)),
        ..Default::default()
    };
    let bare = NodeStageVolumeRequest { volume_id: String::new(), ..stage.clone() };
    refused("stage: id", n.node_stage_volume(bare).await, invalid);
    let bare = NodeStageVolumeRequest { staging_target_path: String::new(), ..stage.clone() };
    refused("stage: path", n.node_stage_volume(bare).await, invalid);
    let bare = NodeStageVolumeRequest { volume_capability: None, ..stage.clone() };
    refused("stage: capability", n.node_stage_volume(bare).await, invalid);
    refused("stage: order", n.node_stage_volume(stage).await, Code::FailedPrecondition);
    let publish = NodePublishVolumeRequest {
        volume_id: id.clone(),
        target_path: "/nowhere".into(),
        staging_target_path: "/nowhere".into(),
        volume_capability: Some(capability(Mode::SingleNodeWriter, false)),
        ..Default::default()
    };
    let bare = NodePublishVolumeRequest { volume_id: String::new(), ..publish.clone() };
    refused("publish: id", n.node_publish_volume(bare).await, invalid);
    let bare = NodePublishVolumeRequest { target_path: String::new(), ..publish.clone() };
    refused("publish: path", n.node_publish_volume(bare).await, invalid);
    let bare = NodePublishVolumeRequest { volume_capability: None, ..publish.clone() };
    refused("publish: capability", n.node_publish_volume(bare).await, invalid);
    refused("publish: order", n.node_publish_volume(publish).await, Code::FailedPrecondition);
    let bare = NodeUnstageVolumeRequest { volume_id: "v".into(), ..Default::default() };
    refused("unstage: path", n.node_unstage_volume(bare).await, invalid);
    let bare = NodeUnpublishVolumeRequest { volume_id: "v".into(), ..Default::default() };
    refused("unpublish: path", n.node_unpublish_volume(bare).await, invalid);
    let stats = NodeGetVolumeStatsRequest { volume_id: "v".into(), ..Default::default() };
    refused("stats: path", n.node_get_volume_stats(stats.clone()).await, invalid);
    let stats = NodeGetVolumeStatsRequest { volume_path: "some/path".into(), ..stats };
    refused("stats: volume", n.node_get_volume_stats(stats.clone()).await, Code::NotFound);
    let stats = NodeGetVolumeStatsRequest { volume_id: id.clone(), ..stats };
    refused("stats: place", n.node_get_volume_stats(stats).await, Code::NotFound);
    let grow = NodeExpandVolumeRequest { volume_id: id, ..Default::default() };
    refused("expand: path", n.node_expand_volume(grow).await, invalid);
}

/// Stages and publishes, several times over, writes, grows, takes all away.
async fn lifecycle(backing: Backing, block: bool) {
    let mut served = Served::start(backing, Options::default()).await;
    let (staging, target) = (served.path("staging"), served.path("pod/target"));
    std::fs::create_dir_all(served.path("pod")).expect("made");
    let with = capability(Mode::SingleNodeSingleWriter, block);
    let request =
        CreateVolumeRequest { volume_capabilities: vec![with.clone()], ..create("v", 32 * MIB) };
    let id = made(&mut served, request).await.volume_id;
    let publish = ControllerPublishVolumeRequest {
        volume_capability: Some(with.clone()),
        ..controller_publish(&id, NODE)
    };
    served.controller.controller_publish_volume(publish).await.expect("attached");
    let stage = NodeStageVolumeRequest {
        volume_id: id.clone(),
        staging_target_path: staging.clone(),
        volume_capability: Some(with.clone()),
        ..Default::default()
    };
    let publish = NodePublishVolumeRequest {
        volume_id: id.clone(),
        staging_target_path: staging.clone(),
        target_path: target.clone(),
        volume_capability: Some(with),
        ..Default::default()
    };
    for _ in 0..3 {
        served.node.node_stage_volume(stage.clone()).await.expect("staged");
    }
    for _ in 0..3 {
        served.node.node_publish_volume(publish.clone()).await.expect("published");
    }
    let second = NodePublishVolumeRequest { target_path: served.path("pod/other"), ..publish };
    let second = served.node.node_publish_volume(second).await;
    refused("second target of a single writer", second, Code::FailedPrecondition);
    if !block {
        std::fs::write(Path::new(&target).join("file"), "kept").expect("written");
    }
    let stats = NodeGetVolumeStatsRequest {
        volume_id: id.clone(),
        volume_path: target.clone(),
        ..Default::default()
    };
    let stats = served.node.node_get_volume_stats(stats).await.expect("answered").into_inner();
    assert!(stats.usage[0].total > 0);
    let range = Some(CapacityRange { required_bytes: 64 * MIB, limit_bytes: 0 });
    let grow = ControllerExpandVolumeRequest {
        volume_id: id.clone(),
        capacity_range: range,
        ..Default::default()
    };
    let grown = served.controller.controller_expand_volume(grow).await.expect("grown").into_inner();
    assert_eq!((grown.capacity_bytes, grown.node_expansion_required), (64 * MIB, true));
    let grow = NodeExpandVolumeRequest {
        volume_id: id.clone(),
        volume_path: target.clone(),
        capacity_range: range,
        ..Default::default()
    };
    match served.node.node_expand_volume(grow).await {
        // A container often lacks the right to grow what is mounted.
        Err(status) if backing == Backing::Loops => {
            assert_eq!(status.code(), Code::FailedPrecondition, "{}", status.message());
        }
        answer => drop(answer.expect("grown on the node")),
    }
    let unstage = NodeUnstageVolumeRequest { volume_id: id.clone(), staging_target_path: staging };
    let early = served.node.node_unstage_volume(unstage.clone()).await;
    refused("unstage while published", early, Code::FailedPrecondition);
    let unpublish =
        NodeUnpublishVolumeRequest { volume_id: id.clone(), target_path: target.clone() };
    for _ in 0..2 {
        served.node.node_unpublish_volume(unpublish.clone()).await.expect("unpublished");
    }
    assert!(std::fs::symlink_metadata(&target).is_err(), "the target path is gone");
    for _ in 0..2 {
        served.node.node_unstage_volume(unstage.clone()).await.expect("unstaged");
    }
    let request = ControllerUnpublishVolumeRequest { volume_id: id.clone(), ..Default::default() };
    served.controller.controller_unpublish_volume(request).await.expect("detached");
    let request = DeleteVolumeRequest { volume_id: id, ..Default::default() };
    served.controller.delete_volume(request).await.expect("deleted");
    let made = if backing == Backing::Loops { "disks" } else { "volumes" };
    let left = std::fs::read_dir(served.root().join(made)).expect("read").count();
    assert_eq!(left, 0, "nothing is left behind");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_volume_goes_through_its_life_as_a_filesystem() {
    for backing in backings() {
        lifecycle(backing, false).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_volume_goes_through_its_life_as_a_block_device() {
    for backing in backings() {
        lifecycle(backing, true).await;
    }
}

#[tokio::test]
async fn a_pods_own_volume_lives_and_dies_with_its_publication() {
    let mut served = directories().await;
    let target = served.path("target");
    let context = [
        ("csi.storage.k8s.io/ephemeral".to_owned(), "true".to_owned()),
        ("size".to_owned(), "1Mi".to_owned()),
    ];
    let id = format!("csi-{}", "ab".repeat(32));
    let publish = NodePublishVolumeRequest {
        volume_id: id.clone(),
        target_path: target.clone(),
        volume_capability: Some(capability(Mode::SingleNodeWriter, false)),
        volume_context: context.into_iter().collect(),
        ..Default::default()
    };
    for _ in 0..2 {
        served.node.node_publish_volume(publish.clone()).await.expect("published");
    }
    assert_eq!(served.driver.state().volumes[&id].bytes, 1 << 20);
    let unpublish = NodeUnpublishVolumeRequest { volume_id: id, target_path: target };
    for _ in 0..2 {
        served.node.node_unpublish_volume(unpublish.clone()).await.expect("unpublished");
    }
    assert!(served.driver.state().volumes.is_empty());
}
