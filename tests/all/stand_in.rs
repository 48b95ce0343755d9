//! What runs pods in tests of controllers that need no node: pods with a node
//! become ready at once, and terminating ones go.

use http::{Method, Request, header};
use kube::client::Body;
use serde_json::{Value, json};

/// The time at which a ready pod says it became ready.
const SINCE: &str = "2027-01-15T08:00:00Z";

/// One round over all pods for which `may_run` holds; whether anything changed.
pub async fn run_pods(client: &kube::Client, may_run: impl Fn(&Value) -> bool) -> bool {
    let pods = request(client, Method::GET, "/api/v1/pods", Value::Null).await.1;
    let mut acted = false;
    for pod in pods["items"].as_array().into_iter().flatten() {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let (namespace, name) =
            (text(&pod["metadata"]["namespace"]), text(&pod["metadata"]["name"]));
        let path = format!("/api/v1/namespaces/{namespace}/pods/{name}");
        let running = pod["status"]["phase"] == "Running";
        if pod["metadata"]["deletionTimestamp"].is_string() {
            let body = json!({"gracePeriodSeconds": 0,
                "preconditions": {"uid": pod["metadata"]["uid"]}});
            acted |= request(client, Method::DELETE, &path, body).await.0 < 300;
        } else if pod["spec"]["nodeName"].is_string() && !running && may_run(pod) {
            set_ready(client, &path, true).await;
            acted = true;
        }
    }
    acted
}

/// Makes the pod at a path Running, and ready or not.
pub async fn set_ready(client: &kube::Client, path: &str, ready: bool) {
    let condition = json!({"type": "Ready", "status": if ready { "True" } else { "False" },
        "lastTransitionTime": SINCE});
    let status = json!({"status": {"phase": "Running", "conditions": [condition]}});
    let (code, answer) = request(client, Method::PATCH, &format!("{path}/status"), status).await;
    assert!(code < 300, "{answer}");
}

/// Sends a request as a user does; its code and answer.
pub async fn request(
    client: &kube::Client,
    method: Method,
    path: &str,
    body: Value,
) -> (u16, Value) {
    let content = match method {
        Method::PATCH => "application/merge-patch+json",
        _ => "application/json",
    };
    let body = if body.is_null() { Vec::new() } else { body.to_string().into_bytes() };
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header(header::CONTENT_TYPE, content)
        .body(Body::from(body))
        .expect("a request");
    let response = client.send(request).await.expect("an answer");
    let code = response.status().as_u16();
    let body = response.into_body().collect_bytes().await.expect("a body");
    (code, serde_json::from_slice(&body).unwrap_or_default())
}
