//! The watch loops against a scripted server, on a clock moved by hand.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use futures::channel::mpsc::{UnboundedSender, unbounded};
use futures::future;
use http::{Request, Response};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use jiff::Timestamp;
use kube::client::Body;
use serde_json::{Value, json};
use tower::{BoxError, service_fn};

use crate::cluster::clock::ManualClock;
use crate::mirror::Mirror;
use crate::mirror::freshness::Freshness;
use crate::mirror::watch::{WatchOptions, Watching};
use crate::model::clock::Clock;
use crate::model::kind::{self, Kind};

type WatchSender = UnboundedSender<Result<http_body::Frame<Bytes>, BoxError>>;
type Answer = Result<Response<UnsyncBoxBody<Bytes, BoxError>>, BoxError>;

/// What the server says to one path.
#[derive(Clone)]
enum Reply {
    Is(u16, String),
    Hangs,
    BreaksConnection,
}

/// A server that does as it is told. What it is not told, it answers with an
/// empty list of version 1, and with watches that stay open.
#[derive(Default)]
struct Server {
    lists: Mutex<HashMap<String, Reply>>,
    watches: Mutex<HashMap<String, Vec<WatchSender>>>,
    watch_refusal: Mutex<HashMap<String, Reply>>,
    asked: Mutex<Vec<String>>,
    down: Mutex<bool>,
}

impl Server {
    fn list(&self, path: &str, reply: Reply) {
        self.lists.lock().expect("lock").insert(path.into(), reply);
    }

    fn items(&self, path: &str, version: u64, items: &[Value]) {
        let body = json!({"metadata": {"resourceVersion": version.to_string()}, "items": items});
        self.list(path, Reply::Is(200, body.to_string()));
    }

    fn send(&self, path: &str, line: &str) {
        for watch in &self.watches.lock().expect("lock")[path] {
            let frame = http_body::Frame::data(Bytes::from(format!("{line}\n")));
            // A watch that the loop has dropped is none of our business.
            let _ = watch.unbounded_send(Ok(frame));
        }
    }

    fn event(&self, path: &str, event: &str, object: &Value) {
        self.send(path, &json!({"type": event, "object": object}).to_string());
    }

    fn close_watches(&self) {
        self.watches.lock().expect("lock").clear();
    }

    fn asked(&self, path: &str) -> Vec<String> {
        let asked = self.asked.lock().expect("lock");
        asked.iter().filter(|uri| uri.split('?').next() == Some(path)).cloned().collect()
    }

    async fn answer(self: Arc<Self>, request: Request<Body>) -> Answer {
        let uri = request.uri().to_string();
        self.asked.lock().expect("lock").push(uri.clone());
        if *self.down.lock().expect("lock") {
            return Err("connection refused".into());
        }
        let mut path = request.uri().path().to_owned();
        if uri.contains("&continue=") {
            path.push_str(NEXT_PAGE);
        }
        let refusal = self.watch_refusal.lock().expect("lock").get(&path).cloned();
        let reply = match (uri.contains("watch=true"), refusal) {
            (true, Some(refusal)) => refusal,
            (true, None) => {
                let (sender, frames) = unbounded();
                self.watches.lock().expect("lock").entry(path).or_default().push(sender);
                return Ok(Response::new(StreamBody::new(frames).boxed_unsync()));
            }
            (false, _) => {
                let empty = r#"{"metadata": {"resourceVersion": "1"}, "items": []}"#;
                let held = self.lists.lock().expect("lock").get(&path).cloned();
                held.unwrap_or(Reply::Is(200, empty.into()))
            }
        };
        match reply {
            Reply::Is(code, body) => {
                let body = Full::from(body).map_err(|never| match never {}).boxed_unsync();
                Ok(Response::builder().status(code).body(body)?)
            }
            Reply::Hangs => future::pending().await,
            Reply::BreaksConnection => Err("connection reset by peer".into()),
        }
    }
}

/// Behind a path: what its second page answers.
const NEXT_PAGE: &str = " next page";

struct World {
    server: Arc<Server>,
    mirror: Mirror,
    clock: ManualClock,
    watching: Watching,
}

const PV: &str = "/api/v1/persistentvolumes";
const PODS: &str = "/api/v1/pods";

impl World {
    /// A mirror of a server prepared by `prepare`, as soon as it is idle.
    async fn start(options: WatchOptions, prepare: impl FnOnce(&Server)) -> Self {
        let server = Arc::new(Server::default());
        prepare(&server);
        let clock = ManualClock::new(Timestamp::UNIX_EPOCH);
        let answering = server.clone();
        let client = kube::Client::new(
            service_fn(move |request| answering.clone().answer(request)),
            "default",
        );
        let mirror = Mirror::default();
        let watching = Watching::start(&mirror, client, Arc::new(clock.clone()), &options);
        clock.idle().await;
        Self { server, mirror, clock, watching }
    }

    #[track_caller]
    fn volumes(&self) -> Vec<String> {
        self.mirror
            .read(|tables| tables.volumes.iter().map(|row| row.meta.key.name.to_string()).collect())
    }

    fn fresh(&self, kind: &'static Kind) -> Freshness {
        self.mirror.freshness_of(kind).expect("a watched kind")
    }

    async fn seconds(&self, seconds: u64) {
        self.clock.advance(Duration::from_secs(seconds)).await;
    }
}

fn volume(name: &str, version: u64) -> Value {
    json!({"metadata": {"name": name, "uid": format!("uid-{name}"),
        "resourceVersion": version.to_string()}, "spec": {"capacity": {"storage": "1Gi"}}})
}

#[tokio::test(start_paused = true)]
async fn list_then_watch_follows_the_server() {
    let world = World::start(WatchOptions::default(), |server| {
        server.items(PV, 5, &[volume("a", 3), volume("b", 4)]);
    })
    .await;
    assert_eq!(world.volumes(), ["a", "b"]);
    assert_eq!(world.fresh(kind::PERSISTENT_VOLUME), Freshness::Live);
    assert!(world.server.asked(PV)[1].contains("resourceVersion=5"));
    world.server.event(PV, "ADDED", &volume("c", 6));
    world.server.event(PV, "DELETED", &volume("a", 7));
    world.server.event(PV, "BOOKMARK", &json!({"metadata": {"resourceVersion": "20"}}));
    world.clock.idle().await;
    assert_eq!(world.volumes(), ["b", "c"]);
    world.server.close_watches();
    world.clock.idle().await;
    let asked = world.server.asked(PV);
    assert!(asked[2].contains("resourceVersion=20"), "watches on from the bookmark: {asked:?}");
}

#[tokio::test(start_paused = true)]
async fn rows_of_the_first_page_show_while_the_next_is_awaited() {
    let first = json!({"metadata": {"resourceVersion": "5", "continue": "to+ken"},
        "items": [volume("a", 3)]});
    let world = World::start(WatchOptions::default(), |server| {
        server.list(PV, Reply::Is(200, first.to_string()));
        server.list(&format!("{PV}{NEXT_PAGE}"), Reply::Hangs);
    })
    .await;
    assert_eq!(world.volumes(), ["a"]);
    assert_eq!(world.fresh(kind::PERSISTENT_VOLUME), Freshness::Loading { seen: 1 });
    assert!(world.server.asked(PV)[1].ends_with("&continue=to%2Bken"));
}

#[tokio::test(start_paused = true)]
async fn history_gone_lists_again_and_drops_what_went_meanwhile() {
    let world = World::start(WatchOptions::default(), |server| {
        server.items(PV, 5, &[volume("a", 3), volume("b", 4)]);
    })
    .await;
    world.server.items(PV, 90, &[volume("b", 4), volume("c", 80)]);
    world.server.event(PV, "ERROR", &json!({"kind": "Status", "code": 410}));
    world.clock.idle().await;
    assert_eq!(world.volumes(), ["b", "c"]);
    assert_eq!(world.fresh(kind::PERSISTENT_VOLUME), Freshness::Live);
}

#[tokio::test(start_paused = true)]
async fn lost_server_leaves_the_last_picture_with_its_age_and_resumes() {
    let world = World::start(WatchOptions::default(), |server| {
        server.items(PV, 5, &[volume("a", 3)]);
    })
    .await;
    world.seconds(100).await;
    *world.server.down.lock().expect("lock") = true;
    world.server.close_watches();
    world.seconds(60).await;
    assert_eq!(world.volumes(), ["a"]);
    let Freshness::Stale { since, error } = world.fresh(kind::PERSISTENT_VOLUME) else {
        panic!("not stale: {:?}", world.fresh(kind::PERSISTENT_VOLUME));
    };
    assert_eq!(since, 100);
    assert!(error.contains("connection refused"), "{error}");
    let tries = world.server.asked(PV).len();
    assert!((5..20).contains(&tries), "pauses grow: {tries} requests in a minute");
    *world.server.down.lock().expect("lock") = false;
    world.seconds(60).await;
    assert_eq!(world.fresh(kind::PERSISTENT_VOLUME), Freshness::Live);
}

#[tokio::test(start_paused = true)]
async fn silent_connection_is_found_by_the_heartbeat() {
    let options = WatchOptions { heartbeat: true, ..WatchOptions::default() };
    let world = World::start(options, |server| {
        server.list("/version", Reply::Is(200, "{}".into()));
    })
    .await;
    world.seconds(31).await;
    assert_eq!(world.fresh(kind::POD), Freshness::Live);
    world.server.list("/version", Reply::Hangs);
    world.seconds(20).await;
    let Freshness::Stale { since, error } = world.fresh(kind::POD) else {
        panic!("not stale: {:?}", world.fresh(kind::POD));
    };
    assert_eq!((since, error.as_str()), (30, "no answer for 5 s"));
    world.server.list("/version", Reply::Is(403, "{}".into()));
    world.seconds(10).await;
    assert_eq!(world.fresh(kind::POD), Freshness::Live);
}

#[tokio::test(start_paused = true)]
async fn forbidden_kind_is_told_and_the_others_go_on() {
    let refusal = json!({"kind": "Status", "code": 403, "message": "pods is forbidden"});
    let world = World::start(WatchOptions::default(), |server| {
        server.list(PODS, Reply::Is(403, refusal.to_string()));
        server.list("/apis/storage.k8s.io/v1/volumeattributesclasses", Reply::Is(404, "".into()));
    })
    .await;
    let forbidden = Freshness::Forbidden { message: "pods is forbidden".into() };
    assert_eq!(world.fresh(kind::POD), forbidden);
    assert_eq!(world.fresh(kind::VOLUME_ATTRIBUTES_CLASS), Freshness::NotServed);
    assert_eq!(world.fresh(kind::PERSISTENT_VOLUME), Freshness::Live);
    world.server.items(PODS, 3, &[]);
    world.seconds(61).await;
    assert_eq!(world.fresh(kind::POD), Freshness::Live, "granted meanwhile");
}

#[tokio::test(start_paused = true)]
async fn user_confined_to_a_namespace_sees_that_namespace() {
    let options = WatchOptions { namespace: Some("shop".into()), ..WatchOptions::default() };
    let world = World::start(options, |server| {
        server.list(PODS, Reply::Is(403, "{}".into()));
    })
    .await;
    let confined = Freshness::LiveInNamespace { namespace: "shop".into() };
    assert_eq!(world.fresh(kind::POD), confined);
    assert_eq!(world.server.asked("/api/v1/namespaces/shop/pods").len(), 2);
}

#[tokio::test(start_paused = true)]
async fn objects_that_cannot_be_read_are_skipped_with_a_complaint() {
    let mut bad = volume("bad", 4);
    bad["spec"]["capacity"]["storage"] = json!("10 apples");
    let world = World::start(WatchOptions::default(), |server| {
        server.items(PV, 5, &[volume("a", 3), bad, json!(7), json!({"metadata": []})]);
    })
    .await;
    world.server.event(PV, "EXPLODED", &json!({}));
    world.server.event(PV, "DELETED", &json!(null));
    world.server.event(PV, "ADDED", &volume("b", 6));
    world.clock.idle().await;
    assert_eq!(world.volumes(), ["a", "b"]);
    let complaints: Vec<_> = world.mirror.complaints().iter().map(|c| c.text.clone()).collect();
    assert_eq!(complaints.len(), 5, "{complaints:?}");
    assert!(
        complaints[0].starts_with("PersistentVolume `bad`: spec.capacity.storage: `10 apples`")
    );
    assert!(complaints[3].ends_with("unknown watch event `EXPLODED`"));
}

#[tokio::test(start_paused = true)]
async fn junk_in_a_watch_is_an_error_and_the_watch_is_opened_anew() {
    let world = World::start(WatchOptions::default(), |server| {
        server.items(PV, 5, &[volume("a", 3)]);
    })
    .await;
    world.server.send(PV, "<html>busy</html>");
    world.clock.idle().await;
    let Freshness::Stale { error, .. } = world.fresh(kind::PERSISTENT_VOLUME) else {
        panic!("not stale");
    };
    assert!(error.contains("does not speak the Kubernetes API"), "{error}");
    world.seconds(3).await;
    assert_eq!(world.fresh(kind::PERSISTENT_VOLUME), Freshness::Live);
}

#[tokio::test(start_paused = true)]
async fn server_set_back_is_believed() {
    let world = World::start(WatchOptions::default(), |server| {
        server.items(PV, 500, &[volume("a", 300)]);
    })
    .await;
    world.server.items(PV, 9, &[volume("a", 8), volume("b", 9)]);
    world.watching.list_again();
    world.clock.idle().await;
    assert_eq!(world.volumes(), ["a", "b"]);
    let version = world.mirror.read(|tables| tables.volumes.iter().next().map(|r| r.meta.version));
    assert_eq!(version, Some(8));
}

#[tokio::test(start_paused = true)]
async fn server_that_ends_every_watch_at_once_is_not_asked_without_pause() {
    let world = World::start(WatchOptions::default(), |server| {
        let refusals = &mut server.watch_refusal.lock().expect("lock");
        refusals.insert(PV.into(), Reply::Is(200, String::new()));
        refusals.insert(PODS.into(), Reply::BreaksConnection);
    })
    .await;
    world.seconds(60).await;
    assert!(world.server.asked(PV).len() < 20, "{}", world.server.asked(PV).len());
    assert!(world.server.asked(PODS).len() < 20, "{}", world.server.asked(PODS).len());
}

#[tokio::test(start_paused = true)]
async fn dropped_watching_leaves_the_mirror_alone() {
    let world = World::start(WatchOptions::default(), |_| {}).await;
    drop(world.watching);
    world.clock.idle().await;
    world.server.event(PV, "ADDED", &volume("late", 9));
    world.clock.idle().await;
    assert!(world.mirror.read(|tables| tables.volumes.is_empty()));
    assert_eq!(world.clock.now(), Timestamp::UNIX_EPOCH);
}
