//! Deployments and ReplicaSets (workloads 9).

use http::Method;
use pvdeck::model::kind;
use serde_json::{Value, json};

use super::{Cluster, template};
use crate::by_hand::reference;

fn deployment(strategy: Value) -> Value {
    json!({
        "metadata": {"name": "app"},
        "spec": {"replicas": 3, "selector": {"matchLabels": {"app": "app"}},
            "template": template("app", "busybox:1.35"), "strategy": strategy},
    })
}

async fn pods_of(cluster: &Cluster, image: &str) -> usize {
    let image = format!("busybox:{image}");
    let pods = cluster.list(kind::POD).await;
    pods.iter().filter(|pod| pod["spec"]["containers"][0]["image"] == image.as_str()).count()
}

async fn condition(cluster: &Cluster, kind: &str) -> (String, String) {
    let app = cluster.get(kind::DEPLOYMENT, "app").await.expect("the deployment");
    let conditions = app["status"]["conditions"].as_array().cloned().unwrap_or_default();
    let held = conditions.iter().find(|held| held["type"] == kind).cloned().unwrap_or_default();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    (text(&held["status"]), text(&held["reason"]))
}

#[test]
fn three_replicas_come_by_one_replica_set_and_say_so() {
    Cluster::run(async |cluster| {
        cluster.create(kind::DEPLOYMENT, deployment(json!({}))).await;
        cluster.settle().await;
        assert_eq!(pods_of(&cluster, "1.35").await, 3);
        assert_eq!(
            condition(&cluster, "Available").await,
            ("False".into(), "MinimumReplicasUnavailable".into())
        );
        cluster.run_pods(None).await;
        let app = cluster.get(kind::DEPLOYMENT, "app").await.expect("the deployment");
        assert_eq!(app["metadata"]["annotations"]["deployment.kubernetes.io/revision"], "1");
        assert_eq!(app["status"]["observedGeneration"], app["metadata"]["generation"]);
        for field in ["replicas", "updatedReplicas", "readyReplicas", "availableReplicas"] {
            assert_eq!(app["status"][field], 3, "{field}");
        }
        assert_eq!(
            condition(&cluster, "Progressing").await,
            ("True".into(), "NewReplicaSetAvailable".into())
        );
        let sets = cluster.list(kind::REPLICA_SET).await;
        assert_eq!(sets.len(), 1);
        let (name, hash) = (
            sets[0]["metadata"]["name"].as_str().expect("a name"),
            &sets[0]["metadata"]["labels"]["pod-template-hash"],
        );
        assert_eq!(name, format!("app-{}", hash.as_str().expect("a hash")));
        assert_eq!(sets[0]["spec"]["selector"]["matchLabels"]["pod-template-hash"], *hash);
        let pods = cluster.list(kind::POD).await;
        assert!(pods.iter().all(|pod| pod["metadata"]["labels"]["pod-template-hash"] == *hash));
        assert_eq!(
            cluster.told("ScalingReplicaSet").await,
            [format!("Scaled up replica set {name} from 0 to 3")]
        );
        let told = cluster.told("SuccessfulCreate").await;
        let mut expected: Vec<String> = cluster
            .names(kind::POD)
            .await
            .iter()
            .map(|pod| format!("Created pod: {pod}"))
            .collect();
        expected.sort();
        assert_eq!(told, expected);
    });
}

#[test]
fn rolling_update_never_has_too_many_or_too_few() {
    Cluster::run(async |cluster| {
        let rolling = json!({"type": "RollingUpdate",
            "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}});
        cluster.create(kind::DEPLOYMENT, deployment(rolling)).await;
        cluster.run_pods(None).await;
        let new = json!({"spec": {"template": template("app", "busybox:1.36")}});
        cluster.patch(kind::DEPLOYMENT, "app", new).await;
        for _ in 0..20 {
            cluster.settle().await;
            let pods = cluster.list(kind::POD).await;
            let ready = pods.iter().filter(|pod| {
                pod["status"]["phase"] == "Running"
                    && pod["metadata"]["deletionTimestamp"].is_null()
            });
            let here = pods.iter().filter(|pod| pod["metadata"]["deletionTimestamp"].is_null());
            assert!(ready.count() >= 3, "never fewer than wanted");
            assert!(here.count() <= 4, "never more than one beyond");
            if !crate::stand_in::run_pods(&cluster.world.user, |_| true).await {
                break;
            }
        }
        assert_eq!((pods_of(&cluster, "1.35").await, pods_of(&cluster, "1.36").await), (0, 3));
        let app = cluster.get(kind::DEPLOYMENT, "app").await.expect("the deployment");
        assert_eq!(app["metadata"]["annotations"]["deployment.kubernetes.io/revision"], "2");
        // Back to the old template: its ReplicaSet is taken up again, as number 3.
        let old = json!({"spec": {"template": template("app", "busybox:1.35")}});
        cluster.patch(kind::DEPLOYMENT, "app", old).await;
        cluster.run_pods(None).await;
        assert_eq!((pods_of(&cluster, "1.35").await, pods_of(&cluster, "1.36").await), (3, 0));
        assert_eq!(cluster.names(kind::REPLICA_SET).await.len(), 2);
        let app = cluster.get(kind::DEPLOYMENT, "app").await.expect("the deployment");
        assert_eq!(app["metadata"]["annotations"]["deployment.kubernetes.io/revision"], "3");
    });
}

#[test]
fn the_cause_of_a_change_stays_with_its_template() {
    Cluster::run(async |cluster| {
        let cause = |text: &str| json!({"annotations": {"kubernetes.io/change-cause": text}});
        let mut app = deployment(json!({}));
        app["metadata"]["annotations"] = cause("first")["annotations"].clone();
        cluster.create(kind::DEPLOYMENT, app).await;
        cluster.run_pods(None).await;
        let new = json!({"metadata": cause("second"),
            "spec": {"template": template("app", "busybox:1.36")}});
        cluster.patch(kind::DEPLOYMENT, "app", new).await;
        cluster.run_pods(None).await;
        let back = json!({"metadata": cause("third"),
            "spec": {"template": template("app", "busybox:1.35")}});
        cluster.patch(kind::DEPLOYMENT, "app", back).await;
        cluster.run_pods(None).await;
        let mut held: Vec<_> = cluster
            .list(kind::REPLICA_SET)
            .await
            .iter()
            .map(|set| {
                let held = &set["metadata"]["annotations"];
                let text = |key: &str| held[key].as_str().unwrap_or_default().to_owned();
                let number = |key: &str| text(&format!("deployment.kubernetes.io/{key}"));
                (text("kubernetes.io/change-cause"), number("revision"), number("revision-history"))
            })
            .collect();
        held.sort();
        let row = |cause: &str, revision: &str, before: &str| {
            (cause.to_owned(), revision.to_owned(), before.to_owned())
        };
        assert_eq!(held, [row("second", "2", ""), row("third", "3", "1")]);
    });
}

#[test]
fn recreate_waits_until_the_old_pods_are_gone() {
    Cluster::run(async |cluster| {
        cluster.create(kind::DEPLOYMENT, deployment(json!({"type": "Recreate"}))).await;
        cluster.run_pods(None).await;
        let new = json!({"spec": {"template": template("app", "busybox:1.36")}});
        cluster.patch(kind::DEPLOYMENT, "app", new).await;
        cluster.settle().await;
        assert_eq!((pods_of(&cluster, "1.35").await, pods_of(&cluster, "1.36").await), (3, 0));
        cluster.run_pods(None).await;
        assert_eq!((pods_of(&cluster, "1.35").await, pods_of(&cluster, "1.36").await), (0, 3));
    });
}

#[test]
fn scaling_by_the_subresource_and_a_pod_lost_are_made_good() {
    Cluster::run(async |cluster| {
        cluster.create(kind::DEPLOYMENT, deployment(json!({}))).await;
        cluster.run_pods(None).await;
        let path = format!("{}/scale", reference(kind::DEPLOYMENT, "app").path());
        cluster.send(Method::PATCH, &path, json!({"spec": {"replicas": 5}})).await;
        cluster.run_pods(None).await;
        assert_eq!(pods_of(&cluster, "1.35").await, 5);
        cluster.send(Method::PATCH, &path, json!({"spec": {"replicas": 2}})).await;
        cluster.run_pods(None).await;
        assert_eq!(pods_of(&cluster, "1.35").await, 2);
        let pod = cluster.names(kind::POD).await.remove(0);
        cluster.delete(kind::POD, &pod, "Background").await;
        cluster.run_pods(None).await;
        assert_eq!(pods_of(&cluster, "1.35").await, 2);
        let (_, scale) = cluster.send(Method::GET, &path, Value::Null).await;
        assert_eq!(scale["status"], json!({"replicas": 2, "selector": "app=app"}));
    });
}

#[test]
fn pods_on_their_way_out_are_counted_until_they_are_gone() {
    Cluster::run(async |cluster| {
        let terminating = async || {
            let app = cluster.get(kind::DEPLOYMENT, "app").await.expect("the deployment");
            let set = cluster.list(kind::REPLICA_SET).await.remove(0);
            assert_eq!(set["status"]["terminatingReplicas"], app["status"]["terminatingReplicas"]);
            app["status"]["terminatingReplicas"].as_i64()
        };
        cluster.create(kind::DEPLOYMENT, deployment(json!({}))).await;
        cluster.run_pods(None).await;
        assert_eq!(terminating().await, Some(0));
        let pod = cluster.names(kind::POD).await.remove(0);
        cluster.delete(kind::POD, &pod, "Background").await;
        cluster.settle().await;
        assert_eq!(terminating().await, Some(1));
        cluster.run_pods(None).await;
        assert_eq!(terminating().await, Some(0));
    });
}

#[test]
fn roll_out_that_does_not_move_is_told_after_its_deadline() {
    Cluster::run(async |cluster| {
        let mut app = deployment(json!({}));
        app["spec"]["progressDeadlineSeconds"] = 60.into();
        cluster.create(kind::DEPLOYMENT, app).await;
        cluster.settle().await;
        cluster.seconds(120).await;
        assert_eq!(
            condition(&cluster, "Progressing").await,
            ("False".into(), "ProgressDeadlineExceeded".into())
        );
    });
}

#[test]
fn paused_deployment_scales_and_does_not_roll_out() {
    Cluster::run(async |cluster| {
        cluster.create(kind::DEPLOYMENT, deployment(json!({}))).await;
        cluster.run_pods(None).await;
        let paused = json!({"spec": {"paused": true, "replicas": 4,
            "template": template("app", "busybox:1.36")}});
        cluster.patch(kind::DEPLOYMENT, "app", paused).await;
        cluster.run_pods(None).await;
        assert_eq!((pods_of(&cluster, "1.35").await, pods_of(&cluster, "1.36").await), (4, 0));
        cluster.patch(kind::DEPLOYMENT, "app", json!({"spec": {"paused": false}})).await;
        cluster.run_pods(None).await;
        assert_eq!((pods_of(&cluster, "1.35").await, pods_of(&cluster, "1.36").await), (0, 4));
    });
}

/// How many pods the ReplicaSets of the old template and of the new one are to
/// have.
async fn wanted(cluster: &Cluster) -> (i64, i64) {
    let sets = cluster.list(kind::REPLICA_SET).await;
    let of = |image: &str| {
        let mut sets = sets.iter().map(|set| &set["spec"]);
        let set = sets.find(|spec| spec["template"]["spec"]["containers"][0]["image"] == image);
        set.and_then(|spec| spec["replicas"].as_i64()).unwrap_or(0)
    };
    (of("busybox:1.35"), of("busybox:1.36"))
}

/// The numbers of the example in the Kubernetes documentation of Deployments.
#[test]
fn scaling_in_the_middle_of_a_roll_out_is_shared_out_among_its_templates() {
    Cluster::run(async |cluster| {
        let rolling = json!({"type": "RollingUpdate",
            "rollingUpdate": {"maxSurge": 3, "maxUnavailable": 2}});
        let mut app = deployment(rolling);
        app["spec"]["replicas"] = 10.into();
        cluster.create(kind::DEPLOYMENT, app).await;
        cluster.run_pods(None).await;
        // No pod of the new template ever gets ready.
        let new = json!({"spec": {"template": template("app", "busybox:1.36")}});
        cluster.patch(kind::DEPLOYMENT, "app", new).await;
        cluster.settle().await;
        assert_eq!(wanted(&cluster).await, (8, 5));
        cluster.patch(kind::DEPLOYMENT, "app", json!({"spec": {"replicas": 15}})).await;
        cluster.settle().await;
        assert_eq!(wanted(&cluster).await, (11, 7));
        let told = cluster.told("ScalingReplicaSet").await;
        let count = |end: &str| told.iter().filter(|told| told.ends_with(end)).count();
        assert_eq!((count(" from 8 to 11"), count(" from 5 to 7")), (1, 1), "{told:?}");
        cluster.run_pods(None).await;
        assert_eq!((pods_of(&cluster, "1.35").await, pods_of(&cluster, "1.36").await), (0, 15));
    });
}
