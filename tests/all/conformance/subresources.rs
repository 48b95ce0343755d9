//! Subresources, events in two shapes, reviews.

use serde_json::{Value, json};

use super::client::*;

const EVENTS: &str = "/api/v1/namespaces/default/events";
const NEW_EVENTS: &str = "/apis/events.k8s.io/v1/namespaces/default/events";

fn binding(pod: &str, node: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Binding", "metadata": {"name": pod},
        "target": {"kind": "Node", "name": node},
    })
}

#[tokio::test(start_paused = true)]
async fn a_pod_is_bound_once_117() {
    let server = Server::new();
    server.create(&pod("p")).await;
    let path = format!("{PODS}/p/binding");
    let mut first = binding("p", "n1");
    first["metadata"]["annotations"] = json!({"why": "fits"});
    let answer = server.post(&path, &first).await;
    assert_eq!((answer.code, &answer.json()["status"]), (201, &"Success".into()));
    let pod = server.get(&format!("{PODS}/p")).await.ok();
    assert_eq!(
        (&pod["spec"]["nodeName"], &pod["metadata"]["annotations"]),
        (&"n1".into(), &json!({"why": "fits"}))
    );
    let condition = &pod["status"]["conditions"][0];
    assert_eq!(
        (&condition["type"], &condition["status"]),
        (&"PodScheduled".into(), &"True".into())
    );
    assert_eq!(
        server.post(&path, &binding("p", "n2")).await.refusal(409, "Conflict"),
        "Operation cannot be fulfilled on pods/binding \"p\": pod p is already assigned to node \"n1\""
    );
}

#[tokio::test(start_paused = true)]
async fn a_binding_must_name_a_node_and_a_pod_that_can_be_bound_117() {
    let server = Server::new();
    server.create(&pod("p")).await;
    let mut gated = pod("gated");
    gated["spec"]["schedulingGates"] = json!([{"name": "x"}]);
    server.create(&gated).await;
    let mut odd = binding("p", "n");
    odd["target"]["kind"] = "Shelf".into();
    server.post(&format!("{PODS}/p/binding"), &odd).await.refusal(422, "Invalid");
    server
        .post(&format!("{PODS}/none/binding"), &binding("none", "n"))
        .await
        .refusal(404, "NotFound");
    let message = server
        .post(&format!("{PODS}/gated/binding"), &binding("gated", "n"))
        .await
        .refusal(409, "Conflict");
    assert!(message.ends_with("pod gated has non-empty .spec.schedulingGates"), "{message}");
    // The same through the namespace's collection.
    let bindings = "/api/v1/namespaces/default/bindings";
    assert_eq!(server.post(bindings, &binding("p", "n")).await.code, 201);
    assert_eq!(server.get(&format!("{PODS}/p")).await.ok()["spec"]["nodeName"], "n");
}

#[tokio::test(start_paused = true)]
async fn replicas_are_scaled_by_get_put_and_patch_118() {
    let server = Server::new();
    let set = server.create(&stateful_set("s")).await;
    let path = format!("{SETS}/s/scale");
    let scale = server.get(&path).await.ok();
    assert_eq!((&scale["kind"], &scale["apiVersion"]), (&"Scale".into(), &"autoscaling/v1".into()));
    assert_eq!(
        (&scale["spec"], &scale["status"]),
        (&json!({"replicas": 1}), &json!({"replicas": 0, "selector": "app=s"}))
    );
    assert_eq!(scale["metadata"]["uid"], set["metadata"]["uid"]);
    let mut wanted = scale.clone();
    wanted["spec"]["replicas"] = 3.into();
    let put = server.put(&path, &wanted).await.ok();
    assert_eq!(put["spec"]["replicas"], 3);
    server.put(&path, &wanted).await.refusal(409, "Conflict");
    let patched = server.patch("merge", &path, &json!({"spec": {"replicas": 5}})).await.ok();
    assert_eq!(patched["spec"]["replicas"], 5);
    let set = server.get(&format!("{SETS}/s")).await.ok();
    assert_eq!((&set["spec"]["replicas"], &set["metadata"]["generation"]), (&5.into(), &3.into()));
    let bad = server.patch("merge", &path, &json!({"spec": {"replicas": -1}})).await;
    assert!(bad.refusal(422, "Invalid").contains("spec.replicas: Invalid value: -1"));
}

#[tokio::test(start_paused = true)]
async fn an_eviction_deletes() {
    let server = Server::new();
    server.create(&pod("p")).await;
    let eviction = |name: &str| json!({"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": name}});
    let path = format!("{PODS}/p/eviction");
    assert_eq!(
        server.post(&path, &eviction("q")).await.refusal(400, "BadRequest"),
        "name in URL does not match name in Eviction object"
    );
    let answer = server.post(&path, &eviction("p")).await;
    assert_eq!((answer.code, &answer.json()["status"]), (201, &"Success".into()));
    server.get(&format!("{PODS}/p")).await.refusal(404, "NotFound");
}

#[tokio::test(start_paused = true)]
async fn events_have_two_shapes_and_one_storage_120() {
    let server = Server::new();
    let old = json!({
        "apiVersion": "v1", "kind": "Event", "metadata": {"name": "old"},
        "involvedObject": {"kind": "Pod", "namespace": "default", "name": "p", "uid": "u"},
        "reason": "R", "message": "m", "type": "Normal", "count": 2, "source": {"component": "c"},
    });
    server.create(&old).await;
    let seen = server.get(&format!("{NEW_EVENTS}/old")).await.ok();
    assert_eq!((&seen["apiVersion"], &seen["note"]), (&"events.k8s.io/v1".into(), &"m".into()));
    assert_eq!((&seen["regarding"]["name"], &seen["deprecatedCount"]), (&"p".into(), &2.into()));
    assert_eq!(seen["message"], Value::Null);

    let new = json!({
        "apiVersion": "events.k8s.io/v1", "kind": "Event", "metadata": {"name": "new"},
        "eventTime": "2026-01-01T00:00:00.000000Z", "reportingController": "example.com/c",
        "reportingInstance": "i", "action": "A", "reason": "R", "type": "Normal", "note": "n",
        "regarding": {"kind": "Pod", "namespace": "default", "name": "p"},
    });
    let made = server.create(&new).await;
    assert_eq!((&made["kind"], &made["note"]), (&"Event".into(), &"n".into()));
    let seen = server.get(&format!("{EVENTS}/new")).await.ok();
    assert_eq!((&seen["message"], &seen["involvedObject"]["name"]), (&"n".into(), &"p".into()));
    let by_field = server
        .get(&format!("{EVENTS}?fieldSelector=involvedObject.name%3Dp,involvedObject.uid%3Du"))
        .await
        .ok();
    assert_eq!(by_field["items"].as_array().map(Vec::len), Some(1));
    let by_field = server.get(&format!("{NEW_EVENTS}?fieldSelector=regarding.name%3Dp")).await.ok();
    assert_eq!(by_field["items"].as_array().map(Vec::len), Some(2));
    assert_eq!(by_field["items"][0]["kind"], Value::Null);
    let mut watch = server.watch(&format!("{NEW_EVENTS}?watch=1&resourceVersion=0")).await;
    assert_eq!(watch.next().await.expect("an event")["object"]["apiVersion"], "events.k8s.io/v1");

    let mut lax = new.clone();
    lax["metadata"]["name"] = "lax".into();
    lax["action"] = Value::Null;
    let message = server.post(NEW_EVENTS, &lax).await.refusal(422, "Invalid");
    assert!(message.contains("action: Required value"), "{message}");
    let series = json!({"series": {"count": 2, "lastObservedTime": "2026-01-01T00:01:00.000000Z"}});
    let patched = server.patch("strategic-merge", &format!("{NEW_EVENTS}/new"), &series).await.ok();
    assert_eq!(patched["series"]["count"], 2);
    server
        .patch("merge", &format!("{NEW_EVENTS}/new"), &json!({"reason": "S"}))
        .await
        .refusal(422, "Invalid");
}

#[tokio::test(start_paused = true)]
async fn an_event_lives_where_its_object_does_120() {
    let server = Server::new();
    let mut event = json!({
        "apiVersion": "v1", "kind": "Event", "metadata": {"name": "e"},
        "involvedObject": {"kind": "Pod", "namespace": "shop", "name": "p"},
        "reason": "R", "message": "m", "type": "Normal",
    });
    let message = server.post(EVENTS, &event).await.refusal(422, "Invalid");
    assert_eq!(
        message,
        "Event \"e\" is invalid: involvedObject.namespace: Invalid value: \"shop\": does not match event.namespace"
    );
    event["involvedObject"] = json!({"kind": "PersistentVolume", "name": "pv"});
    server.create(&event).await;
}

#[tokio::test(start_paused = true)]
async fn an_event_is_kept_for_an_hour_after_its_last_write_120() {
    let server = Server::new();
    let event = |name: &str| {
        json!({
            "apiVersion": "v1", "kind": "Event", "metadata": {"name": name}, "reason": "R", "message": "m",
            "involvedObject": {"kind": "Pod", "namespace": "default", "name": "p"}, "type": "Normal",
        })
    };
    server.create(&event("a")).await;
    server.create(&event("b")).await;
    let housekeeping = tokio::spawn(server.embedded.clone().keep_house());
    server.clock.advance(std::time::Duration::from_secs(1800)).await;
    server.patch("merge", &format!("{EVENTS}/b"), &json!({"count": 2})).await.ok();
    let mut watch = server
        .watch(&format!("{EVENTS}?watch=1&resourceVersion={}", server.embedded.revision()))
        .await;
    server.clock.advance(std::time::Duration::from_secs(1900)).await;
    server.get(&format!("{EVENTS}/a")).await.refusal(404, "NotFound");
    assert_eq!(server.get(&format!("{EVENTS}/b")).await.code, 200);
    assert_eq!(watch.next().await.expect("an event")["type"], "DELETED");
    server.clock.advance(std::time::Duration::from_secs(1800)).await;
    server.get(&format!("{EVENTS}/b")).await.refusal(404, "NotFound");
    housekeeping.abort();
}

#[tokio::test(start_paused = true)]
async fn reviews_say_who_asks_and_that_they_may_122() {
    let server = Server::new();
    let review = |kind: &str, spec: Value| json!({"apiVersion": "authorization.k8s.io/v1", "kind": kind, "spec": spec});
    let base = "/apis/authorization.k8s.io/v1";
    let spec = json!({"resourceAttributes": {"verb": "delete", "resource": "persistentvolumes"}});
    let answer = server
        .post(
            &format!("{base}/selfsubjectaccessreviews"),
            &review("SelfSubjectAccessReview", spec.clone()),
        )
        .await;
    assert_eq!((answer.code, &answer.json()["status"]), (201, &json!({"allowed": true})));
    assert_eq!(answer.json()["spec"], spec);
    let rules = format!("{base}/selfsubjectrulesreviews");
    let message = server
        .post(&rules, &review("SelfSubjectRulesReview", json!({})))
        .await
        .refusal(400, "BadRequest");
    assert_eq!(message, "no namespace on request");
    let answer = server
        .post(&rules, &review("SelfSubjectRulesReview", json!({"namespace": "default"})))
        .await
        .ok();
    assert_eq!(
        answer["status"]["resourceRules"],
        json!([{"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]}])
    );
    let me = json!({"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"});
    let answer = server.post("/apis/authentication.k8s.io/v1/selfsubjectreviews", &me).await.ok();
    assert_eq!(answer["status"]["userInfo"]["username"], "admin");
    server.get(&rules).await.refusal(405, "MethodNotAllowed");
}

#[tokio::test(start_paused = true)]
async fn a_token_of_an_account_is_made_and_bound_to_its_pod() {
    let server = Server::new();
    server.create(&pod("p")).await;
    let path = "/api/v1/namespaces/default/serviceaccounts/default/token";
    let request = |spec: Value| json!({"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": spec});
    let bound = |uid: &str| json!({"apiVersion": "v1", "kind": "Pod", "name": "p", "uid": uid});
    let answer = server.post(path, &request(json!({"audiences": ["vault"]}))).await;
    let made = answer.json();
    assert_eq!((answer.code, &made["spec"]["expirationSeconds"]), (201, &3600.into()));
    assert!(made["status"]["token"].is_string() && made["metadata"]["name"] == "default");
    let answer = server.post(path, &request(json!({"boundObjectRef": bound("")}))).await;
    let audience = &answer.json()["spec"]["audiences"][0];
    assert_eq!(
        (answer.code, audience),
        (201, &"https://kubernetes.default.svc.cluster.local".into())
    );
    let short = server.post(path, &request(json!({"expirationSeconds": 599}))).await;
    let message = short.refusal(422, "Invalid");
    assert!(message.contains("may not specify a duration less than 10 minutes"), "{message}");
    let other = server.post(path, &request(json!({"boundObjectRef": bound("other")}))).await;
    let message = other.refusal(409, "Conflict");
    assert!(message.contains("(other) does not match the UID in record"), "{message}");
    let nobody = path.replace("/default/token", "/nobody/token");
    server.post(&nobody, &request(json!({}))).await.refusal(404, "NotFound");
}
