//! Pods are placed with their volumes: the scheduler and the volume controller
//! together, through the whole path, on a clock moved by hand.

use std::time::Duration;

use pvdeck::model::kind;
use serde_json::{Value, json};

use crate::by_hand::{ByHand, reference};
use crate::world::World;

const SELECTED_NODE: &str = "volume.kubernetes.io/selected-node";

/// A cluster of two nodes, and what is done to it.
struct Cluster(World);

impl Cluster {
    /// Two nodes, a class of local volumes and one that is provisioned.
    fn run(play: impl AsyncFnOnce(&Self)) {
        World::run(async |world| {
            let cluster = Self(world);
            for (name, provisioner) in
                [("local", "kubernetes.io/no-provisioner"), ("fast", "csi.example")]
            {
                let class = json!({"metadata": {"name": name}, "provisioner": provisioner,
                    "volumeBindingMode": "WaitForFirstConsumer"});
                cluster.0.user.create(kind::STORAGE_CLASS, class).await;
            }
            play(&cluster).await;
        });
    }

    /// The same with a volume on node-1, and a claim of each of these names.
    fn run_with_one_volume(claims: &[&str], play: impl AsyncFnOnce(&Self)) {
        Self::run(async |cluster| {
            cluster.local_volume("pv-1", "node-1").await;
            for claim in claims {
                cluster.claim(claim, "local").await;
            }
            cluster.calm().await;
            play(cluster).await;
        });
    }

    /// The same with a pod whose claim is to be provisioned.
    fn run_provisioning(play: impl AsyncFnOnce(&Self)) {
        Self::run(async |cluster| {
            cluster.claim("data", "fast").await;
            cluster.pod("web", "data", json!({})).await;
            play(cluster).await;
        });
    }

    async fn local_volume(&self, name: &str, node: &str) {
        let expression =
            json!({"key": "kubernetes.io/hostname", "operator": "In", "values": [node]});
        let affinity = json!({"nodeSelectorTerms": [{"matchExpressions": [expression]}]});
        let volume = json!({
            "metadata": {"name": name},
            "spec": {"capacity": {"storage": "5Gi"}, "accessModes": ["ReadWriteOnce"],
                "storageClassName": "local", "local": {"path": format!("/disks/{name}")},
                "nodeAffinity": {"required": affinity}},
        });
        self.0.user.create(kind::PERSISTENT_VOLUME, volume).await;
    }

    async fn claim(&self, name: &str, class: &str) {
        let claim = json!({
            "metadata": {"name": name},
            "spec": {"accessModes": ["ReadWriteOnce"], "storageClassName": class,
                "resources": {"requests": {"storage": "1Gi"}}},
        });
        self.0.user.create(kind::PERSISTENT_VOLUME_CLAIM, claim).await;
    }

    async fn pod(&self, name: &str, claim: &str, extra: Value) {
        let mut spec = json!({
            "containers": [{"name": "main", "image": "busybox:1.35"}],
            "volumes": [{"name": "data", "persistentVolumeClaim": {"claimName": claim}}],
        });
        json_patch::merge(&mut spec, &extra);
        self.0.user.create(kind::POD, json!({"metadata": {"name": name}, "spec": spec})).await;
    }

    async fn found_pod(&self, name: &str) -> Value {
        self.0.user.get(&reference(kind::POD, name)).await.expect("the pod")
    }

    /// Why a pod is on no node: reason and message of its condition.
    async fn why_not(&self, name: &str) -> (String, String) {
        let pod = self.found_pod(name).await;
        let conditions = pod["status"]["conditions"].as_array().cloned().unwrap_or_default();
        let scheduled = conditions.iter().find(|c| c["type"] == "PodScheduled").cloned();
        let scheduled = scheduled.unwrap_or_default();
        let text = |field: &str| scheduled[field].as_str().unwrap_or_default().to_owned();
        (text("reason"), text("message"))
    }

    async fn node_of(&self, pod: &str) -> String {
        let pod = self.found_pod(pod).await;
        pod["spec"]["nodeName"].as_str().unwrap_or_default().to_owned()
    }

    async fn nominated(&self, pod: &str) -> Value {
        self.found_pod(pod).await["status"]["nominatedNodeName"].clone()
    }

    async fn found_claim(&self) -> Value {
        self.0.user.get(&reference(kind::PERSISTENT_VOLUME_CLAIM, "data")).await.expect("the claim")
    }

    /// The node for which the claim is to be provisioned.
    async fn selected_node(&self) -> Value {
        self.found_claim().await["metadata"]["annotations"][SELECTED_NODE].clone()
    }

    /// What a provisioner does that cannot use the node, and whoever helps.
    async fn unselect_node(&self) {
        let off = json!({"metadata": {"annotations": {SELECTED_NODE: null}}});
        self.0.user.merge(&reference(kind::PERSISTENT_VOLUME_CLAIM, "data"), off).await;
    }

    /// Lets time pass until nothing is left to do.
    async fn calm(&self) {
        assert!(self.0.clock.settle(2000).await, "it settles");
    }

    /// Pods of their claims are decided on while no write passes.
    async fn decide_without_writing(&self, pods: &[&str]) {
        self.0.gate().shut();
        for name in pods {
            self.pod(name, name, json!({})).await;
        }
        self.0.clock.idle().await;
    }

    async fn let_writes_pass(&self) {
        self.0.clock.idle().await;
        self.0.gate().open();
        self.calm().await;
    }
}

const NO_VOLUME: &str = "0/2 nodes are available: 2 node(s) didn't find available persistent \
                         volumes to bind. no new claims to deallocate, preemption: 0/2 nodes are \
                         available: 2 Preemption is not helpful for scheduling.";

fn bind_failure(why: &str) -> (String, String) {
    let text = format!("running PreBind plugin \"VolumeBinding\": binding volumes: {why}");
    ("SchedulerError".into(), text)
}

#[test]
fn a_claim_is_bound_to_the_volume_of_the_node_that_its_pod_may_go_to() {
    Cluster::run_with_one_volume(&["data"], async |cluster| {
        cluster.local_volume("pv-2", "node-2").await;
        cluster.calm().await;
        assert_eq!(cluster.found_claim().await["status"]["phase"], "Pending", "on purpose");
        let only = json!({"nodeSelector": {"kubernetes.io/hostname": "node-2"}});
        cluster.pod("web", "data", only).await;
        cluster.calm().await;
        assert_eq!(cluster.found_claim().await["spec"]["volumeName"], "pv-2");
        assert_eq!(cluster.node_of("web").await, "node-2");
        assert_eq!(cluster.nominated("web").await, Value::Null);
    });
}

#[test]
fn of_two_pods_that_race_for_one_volume_one_gets_it_and_the_other_is_told_why() {
    Cluster::run_with_one_volume(&["a", "b"], async |cluster| {
        cluster.decide_without_writing(&["a", "b"]).await;
        let held = cluster.0.gate().held();
        let held = held.iter().filter(|held| held.actor.0 == "kube-scheduler");
        let rules: Vec<&str> = held.map(|held| &*held.write.reason.rule).collect();
        assert_eq!(rules, ["nominate", "refuse"], "decided before anything is written");
        cluster.let_writes_pass().await;
        assert_eq!(cluster.node_of("a").await, "node-1");
        assert_eq!(cluster.why_not("b").await, ("Unschedulable".into(), NO_VOLUME.into()));
        cluster.local_volume("pv-2", "node-2").await;
        cluster.calm().await;
        assert_eq!(cluster.node_of("b").await, "node-2", "the new volume woke it");
    });
}

#[test]
fn a_pod_that_goes_before_it_is_bound_leaves_its_volume_to_the_next() {
    Cluster::run_with_one_volume(&["a", "b"], async |cluster| {
        cluster.decide_without_writing(&["a", "b"]).await;
        let gone = reference(kind::POD, "a");
        cluster.0.user.delete(&gone).await;
        cluster.0.clock.idle().await;
        let held = cluster.0.gate().held();
        let held = held.iter().filter(|held| held.write.on_behalf_of == gone);
        assert_eq!(held.count(), 0, "what was held for it is withdrawn");
        cluster.let_writes_pass().await;
        assert_eq!(cluster.node_of("b").await, "node-1");
    });
}

#[test]
fn a_volume_that_vanishes_between_find_and_bind_is_found_missing_and_another_is_taken() {
    Cluster::run_with_one_volume(&["data"], async |cluster| {
        cluster.decide_without_writing(&["data"]).await;
        let volume = reference(kind::PERSISTENT_VOLUME, "pv-1");
        cluster.0.user.merge(&volume, json!({"metadata": {"finalizers": null}})).await;
        cluster.0.user.delete(&volume).await;
        cluster.let_writes_pass().await;
        assert_eq!(cluster.why_not("data").await.1, NO_VOLUME);
        cluster.local_volume("pv-2", "node-2").await;
        cluster.calm().await;
        assert_eq!(cluster.node_of("data").await, "node-2");
    });
}

#[test]
fn a_node_that_goes_while_the_pod_is_on_its_way_is_not_bound_to() {
    Cluster::run_provisioning(async |cluster| {
        cluster.calm().await;
        assert_eq!(cluster.selected_node().await, "node-1");
        assert_eq!(cluster.nominated("web").await, "node-1");
        cluster.0.user.delete(&reference(kind::NODE, "node-1")).await;
        cluster.calm().await;
        let stuck = "0/1 nodes are available: 1 node(s) didn't find available persistent volumes \
                     to bind. no new claims to deallocate, preemption: 0/1 nodes are available: 1 \
                     Preemption is not helpful for scheduling.";
        assert_eq!(cluster.why_not("web").await.1, stuck, "the claim is still for the node");
        cluster.unselect_node().await;
        cluster.calm().await;
        assert_eq!(cluster.selected_node().await, "node-2");
    });
}

#[test]
fn a_provisioner_that_rejects_the_node_has_the_pod_decided_afresh() {
    Cluster::run_provisioning(async |cluster| {
        let world = &cluster.0;
        cluster.calm().await;
        // It cannot provision there, and node-1 is cordoned meanwhile.
        let cordon = json!({"spec": {"unschedulable": true}});
        world.user.merge(&reference(kind::NODE, "node-1"), cordon).await;
        cluster.unselect_node().await;
        // The scheduler looks at the volumes once a second.
        world.clock.advance(Duration::from_secs(1)).await;
        let failed = bind_failure("provisioning failed for PVC \"data\"");
        assert_eq!(cluster.why_not("web").await, failed);
        assert_eq!(cluster.nominated("web").await, Value::Null);
        cluster.calm().await;
        assert_eq!(cluster.selected_node().await, "node-2");
        // The provisioner's volume for node-2.
        let uid = cluster.found_claim().await["metadata"]["uid"].clone();
        let volume = json!({
            "metadata": {"name": "pv-made"},
            "spec": {"capacity": {"storage": "1Gi"}, "accessModes": ["ReadWriteOnce"],
                "storageClassName": "fast", "csi": {"driver": "csi.example", "volumeHandle": "h"},
                "claimRef": {"kind": "PersistentVolumeClaim", "apiVersion": "v1", "uid": uid,
                    "namespace": "default", "name": "data"}},
        });
        world.user.create(kind::PERSISTENT_VOLUME, volume).await;
        // No driver mounts it: the node tries for ever.
        world.clock.advance(Duration::from_secs(20)).await;
        assert_eq!(cluster.node_of("web").await, "node-2");
    });
}

#[test]
fn after_ten_minutes_without_a_volume_the_attempt_ends_and_the_choice_stays() {
    Cluster::run_provisioning(async |cluster| {
        cluster.0.clock.advance(Duration::from_secs(599)).await;
        assert_eq!(cluster.why_not("web").await, (String::new(), String::new()));
        cluster.0.clock.advance(Duration::from_secs(2)).await;
        assert_eq!(cluster.why_not("web").await, bind_failure("context deadline exceeded"));
        assert_eq!(cluster.selected_node().await, "node-1");
        cluster.calm().await;
        assert_eq!(cluster.nominated("web").await, "node-1", "it is tried again");
    });
}

#[test]
fn every_write_of_a_placement_is_shown_and_says_why() {
    Cluster::run_with_one_volume(&["data"], async |cluster| {
        let world = &cluster.0;
        cluster.local_volume("pv-2", "node-2").await;
        cluster.calm().await;
        world.gate().shut();
        let only = json!({"nodeSelector": {"kubernetes.io/hostname": "node-2"}});
        cluster.pod("web", "data", only).await;
        let mut shown = Vec::new();
        for _ in 0..40 {
            world.clock.idle().await;
            for held in world.gate().held() {
                let what = format!("{}: {}", held.actor, held.write.reason.text);
                if held.actor.0 == "kube-scheduler" && !shown.contains(&what) {
                    shown.push(what);
                }
            }
            // With nothing held a step lets time run to the next timer.
            if !world.gate().pass_one() {
                world.clock.step().await;
            }
        }
        assert_eq!(
            shown,
            [
                "kube-scheduler: it will go to node-2: of 2 nodes it alone takes the pod",
                "kube-scheduler: pod web goes to node-2, and pv-2 (5Gi) is the smallest there that \
                 fits its claim data",
                "kube-scheduler: to node-2: its claims are bound; of 2 nodes it alone takes the pod",
            ]
        );
        assert_eq!(cluster.node_of("web").await, "node-2");
    });
}

#[test]
fn a_pod_held_back_by_gates_or_of_another_scheduler_is_left_alone() {
    Cluster::run(async |cluster| {
        let gated = json!({"schedulingGates": [{"name": "example.com/wait"}], "volumes": []});
        cluster.pod("gated", "none", gated).await;
        let theirs = json!({"schedulerName": "other", "volumes": []});
        cluster.pod("theirs", "none", theirs).await;
        cluster.calm().await;
        for name in ["gated", "theirs"] {
            assert_eq!(cluster.node_of(name).await, "");
        }
    });
}
