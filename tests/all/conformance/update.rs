//! Replacing objects.

use serde_json::{Value, json};

use super::client::*;

const LEASES: &str = "/apis/coordination.k8s.io/v1/namespaces/default/leases";

fn lease(name: &str) -> Value {
    json!({
        "apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {"name": name},
        "spec": {"holderIdentity": "a", "leaseDurationSeconds": 15},
    })
}

#[tokio::test(start_paused = true)]
async fn a_current_put_raises_the_version_31() {
    let server = Server::new();
    let mut map = server.create(&config_map("a")).await;
    map["data"]["a"] = "2".into();
    let answer = server.put(&path_of(&map), &map).await;
    assert_eq!(answer.code, 200);
    assert!(version_of(&answer.json()) > version_of(&map));
    assert_eq!(answer.json()["data"]["a"], "2");
}

#[tokio::test(start_paused = true)]
async fn a_stale_put_is_a_conflict_32() {
    let server = Server::new();
    let mut map = server.create(&config_map("a")).await;
    map["data"]["a"] = "2".into();
    server.put(&path_of(&map), &map).await.ok();
    map["data"]["a"] = "3".into();
    let answer = server.put(&path_of(&map), &map).await;
    assert_eq!(
        answer.refusal(409, "Conflict"),
        "Operation cannot be fulfilled on configmaps \"a\": the object has been modified; please apply your changes \
         to the latest version and try again"
    );
    assert_eq!(answer.json()["details"], json!({"name": "a", "kind": "configmaps"}));
}

#[tokio::test(start_paused = true)]
async fn some_kinds_need_a_version_to_put_33() {
    let server = Server::new();
    let node = json!({
        "apiVersion": "storage.k8s.io/v1", "kind": "CSINode", "metadata": {"name": "n"},
        "spec": {"drivers": []},
    });
    let attachment = json!({
        "apiVersion": "storage.k8s.io/v1", "kind": "VolumeAttachment", "metadata": {"name": "a"},
        "spec": {"attacher": "x", "nodeName": "n", "source": {"persistentVolumeName": "pv"}},
    });
    for (object, allowed) in [
        (volume("pv"), true),
        (config_map("a"), true),
        (lease("l"), false),
        (node, false),
        (attachment, false),
    ] {
        let mut object = server.create(&object).await;
        object["metadata"]["labels"] = json!({"x": "y"});
        if let Some(metadata) = object["metadata"].as_object_mut() {
            metadata.shift_remove("resourceVersion");
        }
        let answer = server.put(&path_of(&object), &object).await;
        if allowed {
            assert_eq!(answer.ok()["metadata"]["labels"], json!({"x": "y"}));
        } else {
            let message = answer.refusal(422, "Invalid");
            let why = "metadata.resourceVersion: Invalid value: 0: must be specified for an update";
            assert!(message.ends_with(why), "{message}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_put_of_the_same_changes_nothing_34() {
    let server = Server::new();
    for object in [volume("pv"), claim("c"), pod("p"), stateful_set("s"), config_map("m")] {
        let object = server.create(&object).await;
        let path = path_of(&object);
        let (collection, _) = path.rsplit_once('/').expect("a collection");
        let version = version_of(&object);
        let mut watch =
            server.watch(&format!("{collection}?watch=1&resourceVersion={version}")).await;
        let again = server.put(&path, &object).await.ok();
        assert_eq!(again, object);
        assert_eq!(watch.drain().await, Vec::<Value>::new());
        assert_eq!(server.embedded.revision(), version);
    }
}

#[tokio::test(start_paused = true)]
async fn a_put_of_another_name_is_refused_35() {
    let server = Server::new();
    let mut map = server.create(&config_map("a")).await;
    map["metadata"]["name"] = "b".into();
    let message = server.put(&format!("{CONFIG_MAPS}/a"), &map).await.refusal(400, "BadRequest");
    assert_eq!(message, "the name of the object (b) does not match the name on the URL (a)");
}

#[tokio::test(start_paused = true)]
async fn each_endpoint_takes_its_half_36() {
    let server = Server::new();
    let mut pv = server.create(&volume("pv")).await;
    pv["status"]["phase"] = "Available".into();
    pv["spec"]["capacity"]["storage"] = "2Gi".into();
    let spec = server.put(&format!("{VOLUMES}/pv"), &pv).await.ok();
    assert_eq!(
        (&spec["status"]["phase"], &spec["spec"]["capacity"]["storage"]),
        (&"Pending".into(), &"2Gi".into())
    );
    pv["metadata"]["resourceVersion"] = spec["metadata"]["resourceVersion"].clone();
    pv["spec"]["capacity"]["storage"] = "9Gi".into();
    let status = server.put(&format!("{VOLUMES}/pv/status"), &pv).await.ok();
    assert_eq!(
        (&status["status"]["phase"], &status["spec"]["capacity"]["storage"]),
        (&"Available".into(), &"2Gi".into())
    );
    assert_eq!(server.get(&format!("{VOLUMES}/pv/status")).await.ok(), status);
}

#[tokio::test(start_paused = true)]
async fn the_generation_counts_changes_of_the_spec_37() {
    let server = Server::new();
    let mut set = server.create(&stateful_set("s")).await;
    assert_eq!(set["metadata"]["generation"], 1);
    set["spec"]["replicas"] = 2.into();
    let mut set = server.put(&format!("{SETS}/s"), &set).await.ok();
    assert_eq!(set["metadata"]["generation"], 2);
    set["metadata"]["labels"] = json!({"x": "y"});
    set["metadata"]["generation"] = 77.into();
    let set = server.put(&format!("{SETS}/s"), &set).await.ok();
    assert_eq!(set["metadata"]["generation"], 2);
    let mut status = set;
    status["status"]["replicas"] = 1.into();
    let status = server.put(&format!("{SETS}/s/status"), &status).await.ok();
    assert_eq!(status["metadata"]["generation"], 2);
    let pv = server.create(&volume("pv")).await;
    assert_eq!(pv["metadata"]["generation"], Value::Null);
}

#[tokio::test(start_paused = true)]
async fn a_put_of_a_re_created_object_is_a_conflict_39() {
    let server = Server::new();
    let map = server.create(&config_map("a")).await;
    let held = map["metadata"]["uid"].as_str().expect("a uid");
    let asked = "11111111-1111-1111-1111-111111111111";
    let mut other = map.clone();
    other["metadata"]["uid"] = asked.into();
    let message = server.put(&path_of(&map), &other).await.refusal(409, "Conflict");
    assert_eq!(
        message,
        format!(
            "Operation cannot be fulfilled on configmaps \"a\": StorageError: invalid object, Code: 4, Key: \
             /registry/configmaps/default/a, ResourceVersion: 0, AdditionalErrorMsg: Precondition failed: UID in \
             precondition: {asked}, UID in object meta: {held}"
        )
    );
}

#[tokio::test(start_paused = true)]
async fn a_put_makes_a_missing_lease_but_no_claim_40() {
    let server = Server::new();
    let answer = server.put(&format!("{LEASES}/l"), &lease("l")).await;
    assert_eq!(answer.code, 201);
    assert_eq!(server.put(&format!("{LEASES}/l"), &answer.json()).await.code, 200);
    server.put(&format!("{CLAIMS}/c"), &claim("c")).await.refusal(404, "NotFound");
}

#[tokio::test(start_paused = true)]
async fn the_last_finalizer_s_removal_completes_a_deletion_41() {
    let server = Server::new();
    let made = server.create(&claim("c")).await;
    let path = format!("{CLAIMS}?watch=1&resourceVersion={}", version_of(&made));
    let mut watch = server.watch(&path).await;
    let marked = server.delete(&format!("{CLAIMS}/c")).await.ok();
    assert_eq!(marked["metadata"]["deletionGracePeriodSeconds"], 0);
    let mut bare = marked.clone();
    bare["metadata"]["finalizers"] = json!([]);
    let answer = server.put(&format!("{CLAIMS}/c"), &bare).await;
    assert_eq!(answer.code, 200);
    assert_eq!(answer.json()["metadata"]["finalizers"], Value::Null);
    assert_eq!(version_of(&answer.json()), version_of(&marked));
    server.get(&format!("{CLAIMS}/c")).await.refusal(404, "NotFound");
    let events = watch.drain().await;
    let types: Vec<_> = events.iter().map(|event| event["type"].as_str()).collect();
    assert_eq!(types, [Some("MODIFIED"), Some("DELETED")]);
    // The last stored state still had its finalizer.
    let last = &events[1]["object"];
    assert_eq!(last["metadata"]["finalizers"], json!(["kubernetes.io/pvc-protection"]));
    assert!(version_of(last) > version_of(&marked));
}

#[tokio::test(start_paused = true)]
async fn a_terminating_object_takes_no_new_finalizer_42() {
    let server = Server::new();
    server.create(&claim("c")).await;
    let mut marked = server.delete(&format!("{CLAIMS}/c")).await.ok();
    marked["metadata"]["finalizers"] = json!(["kubernetes.io/pvc-protection", "x.example.com/y"]);
    let answer = server.put(&format!("{CLAIMS}/c"), &marked).await;
    assert_eq!(
        answer.refusal(422, "Invalid"),
        "PersistentVolumeClaim \"c\" is invalid: metadata.finalizers: Forbidden: no new finalizers can be added if \
         the object is being deleted, found new finalizers []string{\"x.example.com/y\"}"
    );
}

#[tokio::test(start_paused = true)]
async fn no_update_is_lost_between_two_writers_43() {
    let server = Server::new();
    server.create(&config_map("counter")).await;
    let path = format!("{CONFIG_MAPS}/counter");
    let count = async || {
        for _ in 0..50 {
            loop {
                let mut map = server.get(&path).await.ok();
                let value: u64 =
                    map["data"]["a"].as_str().and_then(|t| t.parse().ok()).unwrap_or(0);
                map["data"]["a"] = (value + 1).to_string().into();
                tokio::task::yield_now().await;
                match server.put(&path, &map).await.code {
                    200 => break,
                    409 => {}
                    other => panic!("{other}"),
                }
            }
        }
    };
    futures::future::join(count(), count()).await;
    assert_eq!(server.get(&path).await.ok()["data"]["a"], "101");
}
