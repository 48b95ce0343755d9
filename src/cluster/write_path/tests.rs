//! The whole path over a base that answers by hand.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use http::{Request, Response};
use jiff::Timestamp;
use kube::client::Body;
use serde_json::{Value, json};
use tower::{BoxError, ServiceExt, service_fn};

use super::breakpoint::Breakpoint;
use super::journal::Outcome;
use super::read_only::Access;
use super::*;
use crate::cluster::clock::ManualClock;
use crate::model::kind::{self, Kind};
use crate::model::object::{Key, ObjectRef};
use crate::model::write::{Change, Reason, Write};

/// What the base saw: method, path with query, body.
type Seen = Arc<Mutex<Vec<(String, String, Value)>>>;

struct World {
    path: WritePath,
    clock: ManualClock,
    seen: Seen,
    answers: Arc<Mutex<VecDeque<Response<Body>>>>,
}

fn world(access: Access) -> World {
    let seen = Seen::default();
    let answers: Arc<Mutex<VecDeque<Response<Body>>>> = Arc::default();
    let (log, queue) = (seen.clone(), answers.clone());
    let base = service_fn(move |request: Request<Body>| {
        let (log, queue) = (log.clone(), queue.clone());
        async move {
            let (parts, body) = request.into_parts();
            let body = body.collect_bytes().await?;
            let body = serde_json::from_slice(&body).unwrap_or_default();
            log.lock().expect("log").push((parts.method.to_string(), parts.uri.to_string(), body));
            let answer = queue.lock().expect("queue").pop_front();
            Ok::<_, BoxError>(answer.unwrap_or_else(|| answer_object("7")))
        }
    });
    let clock = ManualClock::new(Timestamp::from_second(1_800_000_000).expect("in range"));
    let path = WritePath::new(base.boxed_clone(), "default", Arc::new(clock.clone()), access);
    World { path, clock, seen, answers }
}

fn answer_object(version: &str) -> Response<Body> {
    let body = json!({"metadata": {"name": "x", "uid": "u", "resourceVersion": version}});
    Response::new(Body::from(body.to_string().into_bytes()))
}

fn answer_status(code: u16, reason: &str) -> Response<Body> {
    let body = json!({"kind": "Status", "apiVersion": "v1", "status": "Failure",
        "message": "no", "reason": reason, "code": code});
    let mut response = Response::new(Body::from(body.to_string().into_bytes()));
    *response.status_mut() = http::StatusCode::from_u16(code).expect("a code");
    response
}

impl World {
    fn client(&self) -> kube::Client {
        self.path.client(Actor("binder".into()))
    }

    fn sent(&self) -> usize {
        self.seen.lock().expect("log").len()
    }

    fn answer(&self, response: Response<Body>) {
        self.answers.lock().expect("queue").push_back(response);
    }

    fn outcomes(&self) -> Vec<Outcome> {
        self.path.journal().read(0, |entries| entries.map(|e| e.outcome.clone()).collect())
    }
}

fn patch(kind: &'static Kind, name: &str, body: Value, version: u64) -> Write {
    let object = ObjectRef::new(kind, Key::cluster(name));
    Write {
        object: object.clone(),
        subresource: None,
        change: Change::Merge(body),
        version: Some(version),
        on_behalf_of: object,
        reason: Reason::new("W1", "it fits"),
    }
}

fn bind(version: u64) -> Write {
    patch(kind::PERSISTENT_VOLUME, "pv-1", json!({"spec": {"claimRef": {"name": "c"}}}), version)
}

#[tokio::test(start_paused = true)]
async fn a_write_carries_version_and_manager_and_is_journaled() {
    let world = world(Access::writable());
    perform(&world.client(), &bind(5)).await.expect("answered");
    let seen = world.seen.lock().expect("log").clone();
    assert_eq!(seen[0].0, "PATCH");
    assert_eq!(seen[0].1, "/api/v1/persistentvolumes/pv-1?fieldManager=binder");
    assert_eq!(seen[0].2["metadata"]["resourceVersion"], "5");
    assert_eq!(world.outcomes(), [Outcome::Done { uid: "u".into(), version: 7 }]);
    let entry = world.path.journal().find("u", 7).expect("found by uid and version");
    assert_eq!((entry.actor.0.as_str(), entry.write.reason.rule.as_str()), ("binder", "W1"));
}

#[tokio::test(start_paused = true)]
async fn read_only_sends_nothing_and_journals_nothing() {
    let world = world(Access::locked());
    let error = perform(&world.client(), &bind(5)).await.expect_err("refused");
    assert!(matches!(error, WriteError::ReadOnly { .. }), "{error}");
    assert_eq!((world.sent(), world.outcomes().len()), (0, 0));
    perform::dry_run(&world.client(), &bind(5)).await.expect("dry runs pass");
    assert_eq!((world.sent(), world.outcomes().len()), (1, 0));
}

#[tokio::test(start_paused = true)]
async fn a_conflict_is_not_retried_but_an_overload_is() {
    let world = world(Access::writable());
    world.answer(answer_status(409, "Conflict"));
    let error = perform(&world.client(), &bind(5)).await.expect_err("refused");
    assert!(matches!(error, WriteError::Conflict { .. }), "{error}");
    assert_eq!(world.sent(), 1);

    let mut busy = answer_status(429, "TooManyRequests");
    busy.headers_mut().insert("retry-after", "2".parse().expect("a value"));
    world.answer(busy);
    let client = world.client();
    let done = tokio::spawn(async move { perform(&client, &bind(5)).await });
    world.clock.idle().await;
    assert_eq!(world.sent(), 2);
    world.clock.advance(Duration::from_secs(2)).await;
    assert_eq!(world.sent(), 3);
    done.await.expect("joined").expect("answered the second time");
}

#[tokio::test(start_paused = true)]
async fn a_held_write_is_decided_again_and_then_passes_alone() {
    let world = world(Access::writable());
    world.path.gate().shut();
    let client = world.client();
    let first = tokio::spawn({
        let client = client.clone();
        async move { perform(&client, &bind(5)).await }
    });
    world.clock.idle().await;
    assert_eq!((world.path.gate().held().len(), world.sent()), (1, 0));
    // Reads go on meanwhile.
    client.request_text(Request::get("/version").body(vec![]).expect("built")).await.expect("read");
    assert_eq!(world.sent(), 1);

    assert!(world.path.gate().pass_one());
    let error = first.await.expect("joined").expect_err("sent back");
    assert!(matches!(error, WriteError::DecideAgain { .. }));
    // The same change with the version just read passes; the next one waits.
    perform(&client, &bind(6)).await.expect("passes on its ticket");
    assert_eq!(world.sent(), 2);
    let second = tokio::spawn(async move { perform(&client, &bind(7)).await });
    world.clock.idle().await;
    assert_eq!(world.path.gate().held().len(), 1);
    second.abort();
    world.clock.idle().await;
    assert_eq!(world.path.gate().held().len(), 0, "a dropped future leaves the queue");
}

#[tokio::test(start_paused = true)]
async fn another_verdict_after_the_permit_is_shown_anew() {
    let world = world(Access::writable());
    world.path.gate().shut();
    let client = world.client();
    let first = tokio::spawn({
        let client = client.clone();
        async move { perform(&client, &bind(5)).await }
    });
    world.clock.idle().await;
    world.path.gate().pass_one();
    first.await.expect("joined").expect_err("sent back");
    let mut other = bind(6);
    other.change = Change::Merge(json!({"spec": {"claimRef": {"name": "another"}}}));
    let second = tokio::spawn(async move { perform(&client, &other).await });
    world.clock.idle().await;
    let held = world.path.gate().held();
    assert_eq!(held.len(), 1);
    assert!(held[0].instead_of.is_some());
    assert_eq!(world.sent(), 0);
    second.abort();
}

#[tokio::test(start_paused = true)]
async fn a_permitted_write_that_is_not_needed_any_more_is_journaled_as_withdrawn() {
    let world = world(Access::writable());
    world.path.gate().shut();
    let client = world.client();
    let first = tokio::spawn(async move { perform(&client, &bind(5)).await });
    world.clock.idle().await;
    world.path.gate().pass_one();
    first.await.expect("joined").expect_err("sent back");
    let write = bind(5);
    world.path.gate().nothing_to_do(&Actor("binder".into()), &write.on_behalf_of, "bound already");
    assert_eq!(world.outcomes(), [Outcome::Withdrawn { why: "bound already".into() }]);
}

#[tokio::test(start_paused = true)]
async fn a_run_stops_at_its_breakpoint() {
    let world = world(Access::writable());
    world.path.gate().run_until(Breakpoint::parse("pv/pv-1").expect("read"));
    let client = world.client();
    let other = patch(kind::PERSISTENT_VOLUME, "pv-2", json!({}), 1);
    perform(&client, &other).await.expect("passes");
    let stopped = tokio::spawn(async move { perform_as_shown(&client, &bind(5)).await });
    world.clock.idle().await;
    assert!(world.path.gate().is_shut());
    assert_eq!((world.path.gate().held().len(), world.sent()), (1, 1));
    world.path.gate().open();
    stopped.await.expect("joined").expect("passes as it was shown");
}

#[tokio::test(start_paused = true)]
async fn leases_and_events_are_never_held() {
    let world = world(Access::writable());
    world.path.gate().shut();
    for kind in [kind::LEASE, kind::EVENT, kind::EVENT_V1] {
        perform(&world.client(), &patch(kind, "x", json!({}), 1)).await.expect("passes");
    }
}

#[tokio::test(start_paused = true)]
async fn a_renewed_lease_leaves_no_entry_in_the_journal() {
    let world = world(Access::writable());
    for kind in [kind::LEASE, kind::NODE] {
        perform(&world.client(), &patch(kind, "node-1", json!({}), 1)).await.expect("passes");
    }
    let kinds: Vec<_> =
        world.path.journal().read(0, |e| e.map(|e| e.write.object.kind.kind).collect());
    assert_eq!(kinds, ["Node"]);
}

#[tokio::test(start_paused = true)]
async fn a_write_of_an_ended_term_is_refused_even_with_a_permit() {
    let world = world(Access::writable());
    world.path.gate().shut();
    let term = Term::endless();
    let client = world.path.client_for_term(Actor("binder".into()), term.clone());
    let held = tokio::spawn(async move { perform(&client, &bind(5)).await });
    world.clock.idle().await;
    term.end();
    world.path.gate().pass_one();
    let error = held.await.expect("joined").expect_err("refused");
    assert!(matches!(error, WriteError::TermEnded { .. }), "{error}");
    assert_eq!(world.sent(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_write_given_up_without_answer_has_an_unknown_outcome() {
    let base = service_fn(|_: Request<Body>| async {
        std::future::pending::<Result<Response<Body>, BoxError>>().await
    });
    let clock = ManualClock::new(Timestamp::from_second(0).expect("in range"));
    let path =
        WritePath::new(base.boxed_clone(), "default", Arc::new(clock.clone()), Access::writable());
    let client = path.client(Actor("binder".into()));
    let lost = tokio::spawn(async move { perform(&client, &bind(5)).await });
    clock.idle().await;
    lost.abort();
    clock.idle().await;
    let outcomes: Vec<_> = path.journal().read(0, |e| e.map(|e| e.outcome.clone()).collect());
    assert!(matches!(outcomes[..], [Outcome::Unknown { .. }]), "{outcomes:?}");
}
