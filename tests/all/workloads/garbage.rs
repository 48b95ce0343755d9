//! Garbage collection, ephemeral claims and namespaces (workloads 6, 12, 13).

use http::Method;
use pvdeck::model::kind;
use serde_json::{Value, json};

use super::{Cluster, template};

fn app() -> Value {
    json!({
        "metadata": {"name": "app"},
        "spec": {"replicas": 2, "selector": {"matchLabels": {"app": "app"}},
            "template": template("app", "busybox:1.35")},
    })
}

#[test]
fn background_takes_the_owner_first_and_all_below_it_after() {
    Cluster::run(async |cluster| {
        cluster.create(kind::DEPLOYMENT, app()).await;
        cluster.run_pods(None).await;
        cluster.delete(kind::DEPLOYMENT, "app", "Background").await;
        assert!(cluster.get(kind::DEPLOYMENT, "app").await.is_none());
        cluster.run_pods(None).await;
        assert!(cluster.names(kind::REPLICA_SET).await.is_empty());
        assert!(cluster.names(kind::POD).await.is_empty());
    });
}

/// Check 17: the owner goes last.
#[test]
fn foreground_keeps_the_owner_until_its_dependents_are_gone() {
    Cluster::run(async |cluster| {
        cluster.create(kind::DEPLOYMENT, app()).await;
        cluster.run_pods(None).await;
        cluster.delete(kind::DEPLOYMENT, "app", "Foreground").await;
        cluster.settle().await;
        let app = cluster.get(kind::DEPLOYMENT, "app").await.expect("it waits");
        assert_eq!(app["metadata"]["finalizers"], json!(["foregroundDeletion"]));
        let sets = cluster.list(kind::REPLICA_SET).await;
        assert_eq!(sets[0]["metadata"]["finalizers"], json!(["foregroundDeletion"]));
        assert_eq!(cluster.names(kind::POD).await.len(), 2, "terminating");
        cluster.run_pods(None).await;
        assert!(cluster.get(kind::DEPLOYMENT, "app").await.is_none());
        assert!(cluster.names(kind::REPLICA_SET).await.is_empty());
        assert!(cluster.names(kind::POD).await.is_empty());
    });
}

#[test]
fn orphans_are_let_go_and_adopted_by_the_next_of_that_name() {
    Cluster::run(async |cluster| {
        cluster.create(kind::DEPLOYMENT, app()).await;
        cluster.run_pods(None).await;
        let pods = cluster.names(kind::POD).await;
        cluster.delete(kind::DEPLOYMENT, "app", "Orphan").await;
        cluster.settle().await;
        assert!(cluster.get(kind::DEPLOYMENT, "app").await.is_none());
        let sets = cluster.list(kind::REPLICA_SET).await;
        assert!(sets[0]["metadata"]["ownerReferences"].is_null(), "{}", sets[0]["metadata"]);
        assert_eq!(cluster.names(kind::POD).await, pods);
        cluster.create(kind::DEPLOYMENT, app()).await;
        cluster.run_pods(None).await;
        let sets = cluster.list(kind::REPLICA_SET).await;
        assert_eq!(sets.len(), 1);
        assert_eq!(sets[0]["metadata"]["ownerReferences"][0]["name"], "app");
        assert_eq!(cluster.names(kind::POD).await, pods);
    });
}

/// Check 17: a living owner keeps it, a uid of yesterday is no owner.
#[test]
fn one_living_owner_keeps_an_object_and_a_namesake_does_not() {
    Cluster::run(async |cluster| {
        let owner = |name: &str, uid: &Value| {
            json!({"apiVersion": "v1", "kind": "ConfigMap",
            "name": name, "uid": uid})
        };
        let config = |name: &str, owners: Value| {
            json!({"metadata": {
            "name": name, "ownerReferences": owners}})
        };
        let first = cluster.create(kind::CONFIG_MAP, config("first", Value::Null)).await;
        let second = cluster.create(kind::CONFIG_MAP, config("second", Value::Null)).await;
        let (first, second) = (&first["metadata"]["uid"], &second["metadata"]["uid"]);
        let both = json!([owner("first", first), owner("second", second)]);
        cluster.create(kind::CONFIG_MAP, config("child", both)).await;
        cluster.create(kind::SECRET, config("secret", json!([owner("first", first)]))).await;
        let stale = json!([owner("first", &json!("00000000-0000-0000-0000-000000000000"))]);
        cluster.create(kind::SECRET, config("stale", stale)).await;
        cluster.settle().await;
        assert_eq!(cluster.names(kind::SECRET).await, ["secret"], "the uid counts");
        cluster.delete(kind::CONFIG_MAP, "first", "Background").await;
        cluster.settle().await;
        assert!(cluster.names(kind::SECRET).await.is_empty());
        let child = cluster.get(kind::CONFIG_MAP, "child").await.expect("kept");
        assert_eq!(child["metadata"]["ownerReferences"], json!([owner("second", second)]));
        cluster.delete(kind::CONFIG_MAP, "second", "Background").await;
        cluster.settle().await;
        assert!(cluster.get(kind::CONFIG_MAP, "child").await.is_none());
    });
}

/// Check 18.
#[test]
fn cluster_wide_object_is_never_collected_for_a_namespaced_owner() {
    Cluster::run(async |cluster| {
        let owner = cluster.create(kind::CONFIG_MAP, json!({"metadata": {"name": "c"}})).await;
        let uid = owner["metadata"]["uid"].as_str().expect("a uid").to_owned();
        let class = json!({
            "metadata": {"name": "class", "ownerReferences": [
                {"apiVersion": "v1", "kind": "ConfigMap", "name": "c", "uid": uid}]},
            "provisioner": "kubernetes.io/no-provisioner",
        });
        cluster.create(kind::STORAGE_CLASS, class).await;
        cluster.settle().await;
        let message = format!(
            "ownerRef [v1/ConfigMap, namespace: , name: c, uid: {uid}] does not exist in \
             namespace \"\""
        );
        assert_eq!(cluster.told("OwnerRefInvalidNamespace").await, [message]);
        cluster.delete(kind::CONFIG_MAP, "c", "Background").await;
        cluster.settle().await;
        assert!(cluster.get(kind::STORAGE_CLASS, "class").await.is_some());
    });
}

/// Section 6: whenScaled Delete, and the claims of a deleted set.
#[test]
fn claims_go_with_their_pods_and_with_their_set_where_the_policy_says_so() {
    Cluster::run(async |cluster| {
        let set = json!({
            "metadata": {"name": "web"},
            "spec": {"serviceName": "web", "replicas": 2,
                "selector": {"matchLabels": {"app": "web"}},
                "template": template("web", "busybox:1.35"),
                "persistentVolumeClaimRetentionPolicy":
                    {"whenDeleted": "Delete", "whenScaled": "Delete"},
                "volumeClaimTemplates": [{"metadata": {"name": "data"}, "spec": {
                    "accessModes": ["ReadWriteOnce"], "storageClassName": "std",
                    "resources": {"requests": {"storage": "1Gi"}}}}]},
        });
        let class = json!({"metadata": {"name": "std"}, "provisioner": "kubernetes.io/host-path"});
        cluster.create(kind::STORAGE_CLASS, class).await;
        cluster.create(kind::STATEFUL_SET, set).await;
        cluster.run_pods(None).await;
        let claim = cluster.get(kind::PERSISTENT_VOLUME_CLAIM, "data-web-1").await;
        let owners = claim.expect("the claim")["metadata"]["ownerReferences"].clone();
        assert_eq!(owners[0]["kind"], "StatefulSet");
        assert_eq!(owners[0]["controller"], true);
        cluster.patch(kind::STATEFUL_SET, "web", json!({"spec": {"replicas": 1}})).await;
        cluster.settle().await;
        let claim = cluster.get(kind::PERSISTENT_VOLUME_CLAIM, "data-web-1").await;
        let owners = claim.expect("the claim")["metadata"]["ownerReferences"].clone();
        assert_eq!(
            (owners[0]["kind"].as_str(), owners.as_array().map(Vec::len)),
            (Some("Pod"), Some(1))
        );
        cluster.run_pods(None).await;
        assert_eq!(cluster.names(kind::PERSISTENT_VOLUME_CLAIM).await, ["data-web-0"]);
        // Up again: a new claim, since the old one is gone.
        cluster.patch(kind::STATEFUL_SET, "web", json!({"spec": {"replicas": 2}})).await;
        cluster.run_pods(None).await;
        cluster.seconds(1).await;
        cluster.run_pods(None).await;
        assert_eq!(cluster.names(kind::POD).await, ["web-0", "web-1"]);
        cluster.delete(kind::STATEFUL_SET, "web", "Background").await;
        cluster.run_pods(None).await;
        assert!(cluster.names(kind::POD).await.is_empty());
        assert!(cluster.names(kind::PERSISTENT_VOLUME_CLAIM).await.is_empty());
        assert!(cluster.names(kind::CONTROLLER_REVISION).await.is_empty());
        assert!(cluster.names(kind::PERSISTENT_VOLUME).await.is_empty(), "reclaimed");
    });
}

#[test]
fn ephemeral_claim_is_made_for_its_pod_and_goes_with_it() {
    Cluster::run(async |cluster| {
        let pod = |name: &str| {
            json!({
                "metadata": {"name": name},
                "spec": {"containers": [{"name": "main", "image": "busybox:1.35"}],
                    "volumes": [{"name": "scratch", "ephemeral": {"volumeClaimTemplate": {
                        "metadata": {"labels": {"kind": "scratch"}},
                        "spec": {"accessModes": ["ReadWriteOnce"], "storageClassName": "std",
                            "resources": {"requests": {"storage": "1Gi"}}}}}}]},
            })
        };
        let class = json!({"metadata": {"name": "std"}, "provisioner": "kubernetes.io/host-path"});
        cluster.create(kind::STORAGE_CLASS, class).await;
        cluster.create(kind::POD, pod("p")).await;
        cluster.run_pods(None).await;
        let claim = cluster.get(kind::PERSISTENT_VOLUME_CLAIM, "p-scratch").await;
        let claim = claim.expect("the claim");
        assert_eq!(claim["metadata"]["labels"], json!({"kind": "scratch"}));
        assert_eq!(claim["metadata"]["ownerReferences"][0]["name"], "p");
        assert_eq!(claim["status"]["phase"], "Bound");
        cluster.delete(kind::POD, "p", "Background").await;
        cluster.run_pods(None).await;
        assert!(cluster.names(kind::PERSISTENT_VOLUME_CLAIM).await.is_empty());

        // A claim of that name which is not the pod's is left alone.
        let foreign = json!({"metadata": {"name": "q-scratch"}, "spec": {
            "accessModes": ["ReadWriteOnce"], "storageClassName": "std",
            "resources": {"requests": {"storage": "1Gi"}}}});
        cluster.create(kind::PERSISTENT_VOLUME_CLAIM, foreign).await;
        cluster.create(kind::POD, pod("q")).await;
        cluster.settle().await;
        assert_eq!(
            cluster.told("FailedBinding").await,
            ["ephemeral volume scratch: PVC default/q-scratch was not created for pod \
              default/q (pod is not owner)"]
        );
    });
}

/// Check 19.
#[test]
fn namespace_goes_after_its_pods_and_then_the_rest_and_says_what_it_waits_for() {
    Cluster::run(async |cluster| {
        let path = "/api/v1/namespaces";
        let body = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop"}});
        assert_eq!(cluster.send(Method::POST, path, body).await.0, 201);
        let mut set = app();
        set["metadata"]["namespace"] = "shop".into();
        cluster.create(kind::DEPLOYMENT, set).await;
        let held = json!({"metadata": {"name": "held", "namespace": "shop",
            "finalizers": ["example.com/mine"]}});
        cluster.create(kind::CONFIG_MAP, held).await;
        cluster.run_pods(None).await;
        let path = "/api/v1/namespaces/shop";
        assert_eq!(cluster.send(Method::DELETE, path, Value::Null).await.0, 200);
        cluster.settle().await;
        let shop = cluster.send(Method::GET, path, Value::Null).await.1;
        assert_eq!(shop["status"]["phase"], "Terminating");
        let config = "/api/v1/namespaces/shop/configmaps/held";
        let held = cluster.send(Method::GET, config, Value::Null).await.1;
        assert!(held["metadata"]["deletionTimestamp"].is_null(), "pods first");
        cluster.run_pods(None).await;
        let shop = cluster.send(Method::GET, path, Value::Null).await.1;
        let said = |kind: &str| {
            let conditions = shop["status"]["conditions"].as_array().cloned().unwrap_or_default();
            let held = conditions.iter().find(|held| held["type"] == kind).cloned();
            held.map(|held| held["message"].as_str().unwrap_or_default().to_owned())
        };
        assert_eq!(
            said("NamespaceContentRemaining").as_deref(),
            Some("Some resources are remaining: configmaps. has 1 resource instances")
        );
        assert_eq!(
            said("NamespaceFinalizersRemaining").as_deref(),
            Some(
                "Some content in the namespace has finalizers remaining: example.com/mine in 1 \
                 resource instances"
            )
        );
        let refused = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "x"}});
        let (code, answer) =
            cluster.send(Method::POST, "/api/v1/namespaces/shop/configmaps", refused).await;
        assert_eq!(code, 403, "{answer}");
        let free = json!({"metadata": {"finalizers": null}});
        assert_eq!(cluster.send(Method::PATCH, config, free).await.0, 200);
        cluster.run_pods(None).await;
        assert_eq!(cluster.send(Method::GET, path, Value::Null).await.0, 404);
    });
}
