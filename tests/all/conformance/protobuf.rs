//! Bodies in protobuf, as client-go writes them.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use pvdeck::cluster::embedded::schema::{Format, decode_as, named};
use serde::Deserialize;
use serde_json::{Value, json};

use super::client::{Answer, Server};

const PROTOBUF: &str = "application/vnd.kubernetes.protobuf";
const BOTH: &str = "application/vnd.kubernetes.protobuf,application/json";

/// A body that a real program has sent.
#[derive(Deserialize)]
struct Recorded {
    by: String,
    /// The type in the table: `core.v1.Namespace`.
    r#type: String,
    /// In base64.
    body: String,
    /// What Go's decoder reads in it, as Go prints it.
    json: String,
}

impl Recorded {
    fn body(&self) -> Vec<u8> {
        let text: String = self.body.split_whitespace().collect();
        STANDARD.decode(text).expect("base64")
    }

    fn json(&self) -> Value {
        serde_json::from_str(&self.json).expect("JSON")
    }
}

fn recorded() -> Vec<Recorded> {
    serde_yaml::from_str(include_str!("../../protobuf/bodies.yaml")).expect("the recorded bodies")
}

/// The first recorded body of a kind.
fn first(kind: &str) -> Recorded {
    let found = recorded().into_iter().find(|body| body.json()["kind"] == kind);
    found.unwrap_or_else(|| panic!("no {kind} was recorded"))
}

async fn send(server: &Server, method: &str, path: &str, body: Vec<u8>) -> Answer {
    let call = server.call(method, path).header("content-type", PROTOBUF).header("accept", BOTH);
    call.body(body).send().await
}

#[test]
fn what_real_programs_send_means_what_go_reads_in_it_123() {
    for body in recorded() {
        let of = named(&body.r#type).unwrap_or_else(|| panic!("no type {}", body.r#type));
        let read = decode_as(of, &body.body(), Format::Protobuf);
        let expected = decode_as(of, body.json.as_bytes(), Format::Json);
        assert_eq!(read, expected, "{} {}", body.by, body.r#type);
        assert_eq!(read.expect("it decodes"), body.json(), "{} {}", body.by, body.r#type);
    }
}

#[tokio::test(start_paused = true)]
async fn a_protobuf_body_creates_what_its_json_would_123() {
    for (namespace, kind, path) in [
        ("", "Namespace", "/api/v1/namespaces"),
        ("shop", "ConfigMap", "/api/v1/namespaces/shop/configmaps"),
        ("shop", "Secret", "/api/v1/namespaces/shop/secrets"),
        ("shop", "ResourceQuota", "/api/v1/namespaces/shop/resourcequotas"),
        ("shop", "Deployment", "/apis/apps/v1/namespaces/shop/deployments"),
        ("shop", "Service", "/api/v1/namespaces/shop/services"),
    ] {
        let (one, other) = (Server::new(), Server::new());
        if !namespace.is_empty() {
            let body = json!({"metadata": {"name": namespace}});
            for server in [&one, &other] {
                server.call("POST", "/api/v1/namespaces").json(&body).send().await.ok();
            }
        }
        let body = first(kind);
        let answer = send(&one, "POST", path, body.body()).await;
        assert_eq!((answer.code, answer.header("content-type")), (201, "application/json"));
        let mut created = answer.json();
        let mut expected = other.call("POST", path).json(&body.json()).send().await.ok();
        for object in [&mut created, &mut expected] {
            object["metadata"]["uid"] = Value::Null;
        }
        assert_eq!(created, expected, "{kind}");
    }
}

#[tokio::test(start_paused = true)]
async fn reviews_and_leases_take_protobuf_123() {
    let server = Server::new();
    let review = first("SelfSubjectAccessReview");
    let path = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews";
    let answer = send(&server, "POST", path, review.body()).await.ok();
    assert_eq!(answer["status"], json!({"allowed": true}));
    assert_eq!(answer["spec"], review.json()["spec"]);
    let lease = first("Lease");
    let name = lease.json()["metadata"]["name"].as_str().expect("a name").to_owned();
    let path = "/apis/coordination.k8s.io/v1/namespaces/kube-system/leases";
    let body = json!({"metadata": {"name": name}, "spec": {}});
    let made = server.call("POST", path).json(&body).send().await.ok();
    // The recorded uid is another's.
    let refused = send(&server, "PUT", &format!("{path}/{name}"), lease.body()).await;
    let message = refused.refusal(409, "Conflict");
    assert!(message.contains("UID in precondition"), "{message} {made}");
}

#[tokio::test(start_paused = true)]
async fn a_deletion_s_options_may_be_protobuf_123() {
    let server = Server::new();
    let path = "/api/v1/namespaces/default/configmaps";
    let body = json!({"metadata": {"name": "c"}});
    server.call("POST", path).json(&body).send().await.ok();
    // DeleteOptions with preconditions: a uid that nothing has.
    let options = b"k8s\0\x0a\x13\x0a\x02v1\x12\x0dDeleteOptions\x12\x0a\x12\x08\x0a\x06nobody";
    let refused = send(&server, "DELETE", &format!("{path}/c"), options.to_vec()).await;
    let message = refused.refusal(409, "Conflict");
    assert!(message.contains("the UID in the precondition (nobody)"), "{message}");
    let truncated = options[..options.len() - 1].to_vec();
    let refused = send(&server, "DELETE", &format!("{path}/c"), truncated).await;
    assert_eq!(refused.refusal(400, "BadRequest"), "unexpected EOF");
    let other = b"k8s\0\x0a\x0f\x0a\x02v1\x12\x09ConfigMap\x12\x00";
    let refused = send(&server, "DELETE", &format!("{path}/c"), other.to_vec()).await;
    assert!(refused.refusal(400, "BadRequest").contains("no kind \"ConfigMap\""));
}

#[tokio::test(start_paused = true)]
async fn patches_are_no_protobuf_123() {
    let server = Server::new();
    let path = "/api/v1/namespaces/default";
    let refused = send(&server, "PATCH", path, first("Namespace").body()).await;
    assert_eq!(refused.refusal(415, "UnsupportedMediaType"), "415: Unsupported Media Type");
}
