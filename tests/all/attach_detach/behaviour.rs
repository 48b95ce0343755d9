//! What it does, case by case.

use super::*;

#[test]
fn a_disk_is_attached_told_to_the_node_and_detached_when_its_pod_is_gone() {
    run(async || {
        let mut play = Play::started(&["a"]).await;
        play.volume("pv-1").await;
        play.pod("p", "a", &["pv-1"]).await;
        play.calm().await;
        assert_eq!(play.disk("pv-1"), ["a"]);
        let node = play.user.get(&reference(kind::NODE, "a")).await.expect("the node");
        let device = play.world.attached_to("pv-1").await.expect("a disk")[0].1.clone();
        assert_eq!(
            node["status"]["volumesAttached"],
            json!([{"name": unique("pv-1"), "devicePath": device}])
        );
        let attached =
            "p Normal SuccessfulAttachVolume: AttachVolume.Attach succeeded for volume \"pv-1\" ";
        assert_eq!(play.told().await, [attached]);
        play.work().await;
        play.delete(kind::POD, "p").await;
        play.calm().await;
        assert_eq!(play.disk("pv-1"), ["a"], "the node still uses it");
        play.work().await;
        assert!(play.disk("pv-1").is_empty());
        assert!(play.names("a", "volumesAttached").await.is_empty());
        assert_eq!(play.told().await.len(), 1, "nothing is told of a detach");
    });
}

#[test]
fn a_second_node_waits_until_the_first_has_let_go() {
    run(async || {
        let mut play = Play::started(&["a", "b"]).await;
        play.volume("pv-1").await;
        play.pod("p", "a", &["pv-1"]).await;
        play.work().await;
        play.pod("q", "b", &["pv-1"]).await;
        play.work().await;
        assert_eq!(play.disk("pv-1"), ["a"]);
        let refused = "q Warning FailedAttachVolume: Multi-Attach error for volume \"pv-1\" Volume is \
                       already used by pod(s) p";
        assert!(play.told().await.contains(&refused.to_owned()), "{:?}", play.told().await);
        play.delete(kind::POD, "p").await;
        play.work().await;
        assert_eq!(play.disk("pv-1"), ["b"]);
        let attached =
            "q Normal SuccessfulAttachVolume: AttachVolume.Attach succeeded for volume \"pv-1\" ";
        assert!(play.told().await.contains(&attached.to_owned()));
        // A pod that comes while the first is only leaving learns no name.
        play.delete(kind::POD, "q").await;
        play.pod("r", "a", &["pv-1"]).await;
        play.calm().await;
        let exclusive = "r Warning FailedAttachVolume: Multi-Attach error for volume \"pv-1\" Volume \
                         is already exclusively attached to one node and can't be attached to another";
        assert!(play.told().await.contains(&exclusive.to_owned()), "{:?}", play.told().await);
        play.work().await;
        assert_eq!(play.disk("pv-1"), ["a"]);
    });
}

#[test]
fn a_shared_disk_is_attached_to_each_node_with_its_own_device() {
    run(async || {
        let mut play = Play::started(&["a", "b"]).await;
        play.volume("many-1").await;
        play.pod("p", "a", &["many-1"]).await;
        play.pod("q", "b", &["many-1"]).await;
        play.work().await;
        assert_eq!(play.disk("many-1"), ["a", "b"]);
        play.delete(kind::POD, "p").await;
        play.work().await;
        assert_eq!(play.disk("many-1"), ["b"]);
    });
}

#[test]
fn a_csi_volume_is_attached_through_its_attachment_object() {
    run(async || {
        let mut play = Play::started(&["a"]).await;
        play.volume("csi-1").await;
        play.pod("p", "a", &["csi-1"]).await;
        play.clock.advance(Duration::from_secs(1)).await;
        let made = play.attachment("csi-1", "a").await.expect("made");
        assert_eq!(
            made["spec"],
            json!({"attacher": DRIVER, "nodeName": "a", "source": {"persistentVolumeName": "csi-1"}})
        );
        let name = pvdeck::model::attachment::attachment_name("handle-csi-1", DRIVER, "a");
        assert_eq!(made["metadata"]["name"], *name);
        assert!(play.names("a", "volumesAttached").await.is_empty());
        play.attacher_says("csi-1", "a", json!({"attached": true})).await;
        play.calm().await;
        assert_eq!(play.names("a", "volumesAttached").await, BTreeSet::from([unique("csi-1")]));
        play.work().await;
        play.delete(kind::POD, "p").await;
        play.work().await;
        assert!(play.user.list(kind::VOLUME_ATTACHMENT).await.is_empty());
        assert!(play.names("a", "volumesAttached").await.is_empty());
    });
}

#[test]
fn what_the_attacher_says_is_told_to_the_pod_in_its_own_words() {
    run(async || {
        let mut play = Play::started(&["a"]).await;
        play.volume("csi-1").await;
        play.pod("p", "a", &["csi-1"]).await;
        play.clock.advance(Duration::from_secs(1)).await;
        let error =
            json!({"attached": false, "attachError": {"message": "rpc error: no such disk"}});
        play.attacher_says("csi-1", "a", error).await;
        play.clock.advance(Duration::from_secs(30)).await;
        let failed = "p Warning FailedAttachVolume: AttachVolume.Attach failed for volume \"csi-1\" : \
                      rpc error: no such disk";
        assert_eq!(play.told().await, [failed]);
        // The pod goes: what may be attached is detached.
        play.delete(kind::POD, "p").await;
        play.set_in_use("a", &BTreeSet::from(["other".to_owned()])).await;
        play.work().await;
        assert!(play.user.list(kind::VOLUME_ATTACHMENT).await.is_empty());
    });
}

#[test]
fn an_attacher_that_never_answers_is_waited_for_two_minutes() {
    run(async || {
        let play = Play::started(&["a"]).await;
        play.volume("csi-1").await;
        play.pod("p", "a", &["csi-1"]).await;
        play.clock.advance(Duration::from_secs(119)).await;
        assert!(play.told().await.is_empty());
        play.clock.advance(Duration::from_secs(2)).await;
        let failed = "p Warning FailedAttachVolume: AttachVolume.Attach failed for volume \"csi-1\" : \
                      timed out waiting for external-attacher of disk.example CSI driver to attach \
                      volume handle-csi-1";
        assert_eq!(play.told().await, [failed]);
    });
}

#[test]
fn an_attachment_with_a_finalizer_is_waited_for_until_it_is_gone() {
    run(async || {
        let mut play = Play::started(&["a"]).await;
        play.volume("csi-1").await;
        play.pod("p", "a", &["csi-1"]).await;
        play.clock.advance(Duration::from_secs(1)).await;
        play.attacher_says("csi-1", "a", json!({"attached": true})).await;
        let made = play.attachment("csi-1", "a").await.expect("made");
        let object =
            reference(kind::VOLUME_ATTACHMENT, made["metadata"]["name"].as_str().expect("a name"));
        let hold = json!({"metadata": {"finalizers": ["external-attacher/disk-example"]}});
        play.user.merge(&object, hold).await;
        play.work().await;
        play.delete(kind::POD, "p").await;
        play.kubelet("a").await;
        play.kubelet("a").await;
        play.clock.advance(Duration::from_secs(5)).await;
        let going = play.attachment("csi-1", "a").await.expect("still there");
        assert!(going["metadata"]["deletionTimestamp"].is_string());
        // A pod that comes back finds it going, and is attached afterwards.
        play.pod("q", "a", &["csi-1"]).await;
        play.clock.advance(Duration::from_secs(5)).await;
        play.user.merge(&object, json!({"metadata": {"finalizers": null}})).await;
        play.clock.advance(Duration::from_secs(5)).await;
        let anew = play.attachment("csi-1", "a").await.expect("made anew");
        assert_ne!(anew["metadata"]["uid"], going["metadata"]["uid"]);
    });
}

#[test]
fn a_driver_that_needs_no_attaching_gets_none() {
    run(async || {
        let mut play = Play::new(&["a"]);
        let driver = json!({"apiVersion": "storage.k8s.io/v1", "kind": "CSIDriver",
            "metadata": {"name": DRIVER}, "spec": {"attachRequired": false}});
        play.embedded.import(vec![driver], "user").expect("imported");
        play.start(play.embedded.base());
        play.volume("csi-1").await;
        play.pod("p", "a", &["csi-1"]).await;
        play.calm().await;
        assert!(play.user.list(kind::VOLUME_ATTACHMENT).await.is_empty());
        // Once its object is gone, attaching is needed.
        play.delete(kind::CSI_DRIVER, DRIVER).await;
        play.clock.advance(Duration::from_secs(1)).await;
        assert_eq!(play.user.list(kind::VOLUME_ATTACHMENT).await.len(), 1);
    });
}

#[test]
fn kinds_of_the_tree_go_to_the_driver_that_took_them_over() {
    run(async || {
        let play = Play::started(&["a"]).await;
        play.bound_volume("pv-1", "ReadWriteOnce", json!({"cinder": {"volumeID": "c-7"}}));
        play.pod("p", "a", &["pv-1"]).await;
        play.clock.advance(Duration::from_secs(1)).await;
        let made = play.attachment("pv-1", "a").await.expect("made");
        assert_eq!(made["spec"]["attacher"], "cinder.csi.openstack.org");
        play.attacher_says("pv-1", "a", json!({"attached": true})).await;
        play.calm().await;
        let told = play.names("a", "volumesAttached").await;
        assert_eq!(
            told,
            BTreeSet::from(["kubernetes.io/csi/cinder.csi.openstack.org^c-7".to_owned()])
        );
    });
}

#[test]
fn volumes_that_are_not_attached_and_pods_that_are_over_want_nothing() {
    run(async || {
        let play = Play::started(&["a"]).await;
        play.volume("pv-1").await;
        play.bound_volume("pv-2", "ReadWriteOnce", json!({"nfs": {"server": "s", "path": "/"}}));
        play.pod("p", "a", &["pv-2"]).await;
        let volumes = json!([
            {"name": "lun", "iscsi": {"targetPortal": "10.0.0.1", "iqn": "iqn.x", "lun": 1}},
            {"name": "pv-1", "persistentVolumeClaim": {"claimName": "pv-1"}},
            {"name": "none", "persistentVolumeClaim": {"claimName": "missing"}},
        ]);
        play.pod_with("q", "a", volumes).await;
        play.calm().await;
        let lun = "kubernetes.io/iscsi/10.0.0.1:iqn.x:1".to_owned();
        assert_eq!(play.names("a", "volumesAttached").await, BTreeSet::from([lun, unique("pv-1")]));
        play.user.patch_status(&reference(kind::POD, "q"), json!({"phase": "Succeeded"})).await;
        play.calm().await;
        assert!(play.names("a", "volumesAttached").await.is_empty());
    });
}

#[test]
fn a_claim_that_is_bound_after_its_pod_was_placed_is_attached_then() {
    run(async || {
        let play = Play::started(&["a"]).await;
        play.pod("p", "a", &["pv-1"]).await;
        play.calm().await;
        play.volume("pv-1").await;
        play.calm().await;
        assert_eq!(play.disk("pv-1"), ["a"]);
    });
}

#[test]
fn a_node_that_is_lost_keeps_its_volume_for_six_minutes() {
    run(async || {
        let mut play = Play::started(&["a", "b"]).await;
        play.volume("pv-1").await;
        play.pod("p", "a", &["pv-1"]).await;
        play.work().await;
        play.kubelets.get_mut("a").expect("a kubelet").stopped = true;
        play.set_ready("a", "Unknown").await;
        play.delete(kind::POD, "p").await;
        play.pod("q", "b", &["pv-1"]).await;
        play.clock.advance(Duration::from_secs(359)).await;
        assert_eq!(play.disk("pv-1"), ["a"]);
        play.clock.advance(Duration::from_secs(2)).await;
        assert_eq!(play.disk("pv-1"), ["b"]);
        assert!(play.names("a", "volumesAttached").await.is_empty());
    });
}

#[test]
fn a_node_that_is_out_of_service_gives_up_its_volume_at_once() {
    run(async || {
        let mut play = Play::started(&["a", "b"]).await;
        play.volume("pv-1").await;
        play.pod("p", "a", &["pv-1"]).await;
        play.work().await;
        play.delete(kind::POD, "p").await;
        play.pod("q", "b", &["pv-1"]).await;
        play.calm().await;
        assert_eq!(play.disk("pv-1"), ["a"]);
        let taints = json!([{"key": "node.kubernetes.io/out-of-service", "effect": "NoExecute"}]);
        let patch = json!({"spec": {"taints": taints}});
        play.user.merge(&reference(kind::NODE, "a"), patch).await;
        play.calm().await;
        assert_eq!(play.disk("pv-1"), ["b"]);
    });
}

#[test]
fn a_disk_that_another_node_has_unknown_to_all_is_fetched_from_there() {
    run(async || {
        let mut play = Play::started(&["a", "b"]).await;
        play.volume("pv-1").await;
        let on_behalf = pvdeck::plugins::host::OnBehalf::volume("someone");
        play.world.attach(&on_behalf, "pv-1", "b", false).await.expect("attached");
        play.pod("p", "a", &["pv-1"]).await;
        play.clock.advance(Duration::from_secs(1)).await;
        let failed = "p Warning FailedAttachVolume: AttachVolume.Attach failed for volume \"pv-1\" : \
                      disk pv-1 is already attached to node b";
        assert!(play.told().await.contains(&failed.to_owned()), "{:?}", play.told().await);
        // The sweep finds that b does not use it.
        play.clock.advance(Duration::from_secs(180)).await;
        play.work().await;
        assert_eq!(play.disk("pv-1"), ["a"]);
    });
}

#[test]
fn a_disk_that_was_pulled_away_is_attached_again_by_the_sweep() {
    run(async || {
        let mut play = Play::started(&["a"]).await;
        play.volume("pv-1").await;
        play.pod("p", "a", &["pv-1"]).await;
        play.work().await;
        let on_behalf = pvdeck::plugins::host::OnBehalf::volume("someone");
        play.world.detach(&on_behalf, "pv-1", "a").await.expect("detached");
        play.clock.advance(Duration::from_secs(61)).await;
        assert_eq!(play.disk("pv-1"), ["a"]);
    });
}

#[test]
fn a_start_takes_over_what_nodes_and_attachments_tell() {
    run(async || {
        let mut play = Play::started(&["a"]).await;
        for name in ["pv-1", "pv-2", "csi-1"] {
            play.volume(name).await;
        }
        play.pod("p", "a", &["pv-1"]).await;
        play.pod("q", "a", &["pv-2"]).await;
        play.pod("r", "a", &["csi-1"]).await;
        play.clock.advance(Duration::from_secs(1)).await;
        play.stop();
        // While nobody looks a pod goes, one stays, one was half way.
        play.kubelet("a").await;
        play.delete(kind::POD, "q").await;
        play.delete(kind::POD, "r").await;
        play.kubelet("a").await;
        let before = play.embedded.revision();
        play.restart();
        play.work().await;
        play.clock.advance(Duration::from_secs(70)).await;
        assert_eq!(play.disk("pv-1"), ["a"]);
        assert!(play.disk("pv-2").is_empty());
        assert!(play.user.list(kind::VOLUME_ATTACHMENT).await.is_empty());
        assert_eq!(play.names("a", "volumesAttached").await, BTreeSet::from([unique("pv-1")]));
        let events = play.embedded.commits_after(before);
        assert!(events.iter().all(|commit| commit.kind != kind::EVENT), "what was kept is no news");
    });
}

#[test]
fn nothing_is_looked_at_while_nothing_changes() {
    run(async || {
        let mut play = Play::started(&["a", "b"]).await;
        play.volume("pv-1").await;
        play.pod("p", "a", &["pv-1"]).await;
        play.work().await;
        let passes = play.passes();
        play.clock.advance(Duration::from_secs(50)).await;
        assert!(play.passes() <= passes + 2, "{} after {passes}", play.passes());
        let (passes, revision) = (play.passes(), play.embedded.revision());
        play.clock.advance(Duration::from_secs(600)).await;
        // Ten sweeps of the one node that has anything, two passes each.
        assert!(play.passes() - passes <= 20, "{}", play.passes() - passes);
        assert_eq!(play.embedded.revision(), revision);
    });
}
