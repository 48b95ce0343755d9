//! Tokens of service accounts for drivers that ask for them, and nowhere else.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use http::Request;
use http_body_util::BodyExt;
use pvdeck::cluster::clock::RunningClock;
use pvdeck::controllers::csi::outside::OutsideDrivers;
use pvdeck::plugins::csi::driver::Driver;
use pvdeck::plugins::csi::driver::machine::Machine;
use pvdeck::plugins::csi::driver::machine::directories::Directories;
use pvdeck::plugins::csi::driver::options::{NAME, Options};
use pvdeck::plugins::csi::driver::state::Store;
use pvdeck::plugins::csi::transport::{self, Transport};
use serde_json::{Value, json};
use tonic::body::Body;
use tower::ServiceExt;
use tower::util::BoxCloneSyncService;

use crate::world::World;

const TOKENS: &str = "csi.storage.k8s.io/serviceAccount.tokens";
const STRIPPED: &str = "***stripped***";

/// The messages with which volumes were published, as the driver got them.
type Heard = Arc<Mutex<Vec<String>>>;

fn listening(heard: Heard, behind: Transport) -> Transport {
    BoxCloneSyncService::new(tower::service_fn(move |request: Request<Body>| {
        let (heard, behind) = (heard.clone(), behind.clone());
        async move {
            if !request.uri().path().ends_with("/NodePublishVolume") {
                return behind.oneshot(request).await;
            }
            let (parts, body) = request.into_parts();
            let message = body.collect().await.expect("a message").to_bytes();
            heard.lock().expect("heard").push(String::from_utf8_lossy(&message).into_owned());
            let body = Body::new(http_body_util::Full::new(message));
            behind.oneshot(Request::from_parts(parts, body)).await
        }
    }))
}

async fn send(world: &World, method: &str, path: &str, body: Value) -> Result<Value, kube::Error> {
    let kind = match method {
        "PATCH" => "application/merge-patch+json",
        _ => "application/json",
    };
    let request = http::Request::builder().method(method).uri(path).header("content-type", kind);
    let request = request.body(body.to_string().into_bytes()).expect("a request");
    world.user.request(request).await
}

/// A pod with an inline volume of a driver whose CSIDriver says so.
async fn mount(world: &World, driver: Value, account: &str) {
    let mut driver = json!({
        "apiVersion": "storage.k8s.io/v1", "kind": "CSIDriver", "metadata": {"name": NAME},
        "spec": driver,
    });
    driver["spec"]["volumeLifecycleModes"] = json!(["Ephemeral"]);
    send(world, "POST", "/apis/storage.k8s.io/v1/csidrivers", driver).await.expect("created");
    let pod = json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "pod", "namespace": "default"},
        "spec": {
            "nodeName": "node-1", "serviceAccountName": account,
            "containers": [{
                "name": "main", "image": "busybox:1.35",
                "command": ["sh", "-c", "while :; do sleep 1; done"],
                "volumeMounts": [{"name": "data", "mountPath": "/data"}],
            }],
            "volumes": [{"name": "data", "csi": {"driver": NAME}}],
        },
    });
    send(world, "POST", "/api/v1/namespaces/default/pods", pod).await.expect("created");
    world.clock.advance(Duration::from_secs(20)).await;
}

fn run(play: impl AsyncFnOnce(World, Heard)) {
    let folder = tempfile::tempdir().expect("a folder");
    let machine = Machine::Directories(Directories::new(folder.path().join("volumes")));
    let clock = Arc::new(RunningClock::new());
    let driver = Driver::open(Options::default(), Store::Memory, machine, clock, Arc::new(|| {}));
    let behind = transport::in_process(&driver.expect("opened").at("node-1", "node-1"));
    let heard = Heard::default();
    let ways = vec![(NAME.to_owned(), listening(heard.clone(), behind))];
    let outside = OutsideDrivers::of(ways, folder.path().join("nodes"));
    World::run_with_outside(outside, async |world| play(world, heard).await);
}

fn published(world: &World) -> Vec<Value> {
    let calls = world.calls().all();
    let published = calls.into_iter().filter(|call| call.rpc == "NodePublishVolume");
    published.map(|call| call.request).collect()
}

#[test]
fn a_driver_that_asks_for_tokens_gets_them_and_nobody_sees_them() {
    for in_secrets in [false, true] {
        run(async |world, heard| {
            let wants = json!({
                "tokenRequests": [{"audience": "vault", "expirationSeconds": 900}, {"audience": ""}],
                "serviceAccountTokenInSecrets": in_secrets,
            });
            mount(&world, wants, "").await;
            let told = heard.lock().expect("heard").first().cloned().expect("it is published");
            let (_, told) = told.split_once("{\"\":{\"token\":\"").expect("one for the server");
            let (_, told) = told.split_once("\"vault\":{\"token\":\"").expect("one for the vault");
            let (token, rest) = told.split_once('"').expect("it ends");
            assert!(rest.starts_with(",\"expirationTimestamp\":\"2027-01-15T08:1"), "{rest}");
            assert_eq!(token.split('.').count(), 3, "it looks like a real one");
            let shown = &published(&world)[0];
            let field = if in_secrets { "secrets" } else { "volume_context" };
            assert_eq!(shown[field][TOKENS], STRIPPED, "{shown}");
            let all = format!("{:?}", world.calls().all());
            let commits = world.commits_after(0);
            let stored = commits.iter().any(|commit| format!("{:?}", commit.after).contains(token));
            assert!(!all.contains(token) && !stored, "the token is shown");
        });
    }
}

#[test]
fn a_driver_that_is_published_again_gets_new_tokens() {
    run(async |world, _| {
        let wants = json!({"tokenRequests": [{"audience": "vault"}], "requiresRepublish": true});
        mount(&world, wants, "").await;
        let before = published(&world).len();
        world.clock.advance(Duration::from_secs(300)).await;
        let after = published(&world);
        assert!(before >= 1 && after.len() > before, "{before} {}", after.len());
        assert!(after.iter().all(|call| call["volume_context"][TOKENS] == STRIPPED));
    });
}

#[test]
fn an_account_that_is_missing_keeps_the_volume_from_being_mounted() {
    run(async |world, _| {
        mount(&world, json!({"tokenRequests": [{"audience": "vault"}]}), "nobody").await;
        let events = send(&world, "GET", "/api/v1/namespaces/default/events", Value::Null).await;
        let text = "MountVolume.SetUp failed for volume \"data\" : kubernetes.io/csi: \
                    mounter.SetUpAt failed to get service accoount token attributes: \
                    serviceaccounts \"nobody\" not found";
        let events = events.expect("listed").to_string();
        assert!(events.contains(&text.replace('"', "\\\"")), "{events}");
        assert!(published(&world).is_empty());
    });
}
