//! Performs a recording's steps at the embedded cluster, on its clock.

use std::time::Duration;

use http::{Method, Request, header};
use jiff::Timestamp;
use kube::client::Body;
use pvdeck::model::clock::Clock;
use pvdeck::model::kind::{self, Kind};
use pvdeck::model::object::{Key, ObjectRef};
use pvdeck::scenario::condition::{Condition, ConditionFields, DEFAULT_NAMESPACE, get};
use pvdeck::scenario::document::manifest_reference;
use pvdeck::scenario::path::JsonPath;
use pvdeck::session::NODES;
use serde_json::{Value, json};

use super::load::{Delete, Recording, Step, Taint};
use super::machine;
use super::observation::{Observation, Outcome};
use super::record::{self, Notes};
use super::tokens::with_root;
use super::trace::Response;
use crate::world::World;

/// A client's next request is on its way while the controllers work on the
/// last one. How many of their writes get in before it arrives: within a step,
/// and between two acting steps with no wait or pause between them.
const WRITES_WITHIN_STEP: usize = 1;
const WRITES_BETWEEN_STEPS: usize = 2;
/// A pod is bound only after a scheduling cycle: never before the next request.
const WRITES_AFTER_POD: usize = 0;

/// How long recording went on after the last step: in 59 a state came 5.6 s after
/// a deletion, and the steps that follow it had ended after 4.8 s.
const AFTER_LAST_STEP: Duration = Duration::from_secs(2);

/// Recorded on clusters that had heard of a node of this name and with this
/// heartbeat before: it is called Unknown some seconds after it is made, and a
/// node that nobody ever heard of has 50. Nothing of it is in the trace.
const NODE_KNOWN_BEFORE: &str = "54-";

/// Who lets the controllers' writes pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Gate {
    /// Nobody needs to: it is open.
    Open,
    /// Someone who steps: one write after the other.
    Stepped,
}

/// Plays all steps; what was then observed, or what could not be done at all.
pub async fn play(recording: &Recording, world: &World, gate: Gate) -> Result<Observation, String> {
    machine::set_up(world).await?;
    if recording.name.starts_with(NODE_KNOWN_BEFORE) {
        let_a_node_be_known(recording, world).await?;
    }
    let start = world.revision();
    let before = there(world).await?;
    let mut notes = Notes::default();
    if gate == Gate::Stepped {
        world.gate().shut();
    }
    for (at, step) in recording.steps.iter().enumerate() {
        let number = at + 1;
        if step.acts() {
            notes.markers.push((number, world.revision()));
        }
        let hurried = step.acts() && recording.steps.get(number).is_some_and(Step::acts);
        if hurried {
            world.gate().shut();
        }
        let outcome =
            perform(step, world, gate).await.map_err(|what| format!("step {number}: {what}"))?;
        if hurried {
            let_in(WRITES_BETWEEN_STEPS, world).await;
        } else {
            release(world, gate).await;
        }
        notes.outcomes.push((number, outcome));
    }
    pause(AFTER_LAST_STEP, world, gate).await;
    Ok(record::observation(&before, &world.commits_after(start), &notes))
}

/// The nodes that are there before the first step.
async fn there(world: &World) -> Result<Vec<Value>, String> {
    let mut nodes = Vec::new();
    for name in NODES {
        let node = ObjectRef::new(kind::NODE, Key::cluster(name));
        nodes.extend(get(&world.user, &node).await.map_err(|error| error.to_string())?);
    }
    Ok(nodes)
}

/// Lets the node that the first two steps make live for more than its grace,
/// and deletes it.
async fn let_a_node_be_known(recording: &Recording, world: &World) -> Result<(), String> {
    for step in &recording.steps[..2] {
        perform(step, world, Gate::Open).await?;
    }
    let node = json!({"kind": "Node", "name": "node-3"});
    let node = serde_json::from_value(node).map_err(|error| error.to_string())?;
    pause(Duration::from_secs(60), world, Gate::Open).await;
    perform(&Step::Delete(node), world, Gate::Open).await?;
    pause(Duration::from_secs(10), world, Gate::Open).await;
    Ok(())
}

async fn perform(step: &Step, world: &World, gate: Gate) -> Result<Outcome, String> {
    let merge = "application/merge-patch+json";
    match step {
        Step::Apply(objects) => apply(objects, world).await,
        Step::Patch(patch) => {
            let mut body = patch.patch.clone();
            with_root(&mut body);
            let object = object(&patch.kind, &patch.name, world).await?;
            let path = match &patch.subresource {
                Some(subresource) => format!("{}/{subresource}", object.path()),
                None => object.path(),
            };
            one(send(world, Method::PATCH, &path, merge, &body, &object).await)
        }
        Step::Delete(delete) => self::delete(delete, world).await,
        Step::Label(pairs) => {
            let object = object(&pairs.kind, &pairs.name, world).await?;
            let body = json!({"metadata": {"labels": pairs.set}});
            one(send(world, Method::PATCH, &object.path(), merge, &body, &object).await)
        }
        Step::Annotate(pairs) => {
            let object = object(&pairs.kind, &pairs.name, world).await?;
            let body = json!({"metadata": {"annotations": pairs.set}});
            one(send(world, Method::PATCH, &object.path(), merge, &body, &object).await)
        }
        Step::Taint(taint) => self::taint(taint, world).await,
        Step::Wait(fields) => wait(fields, world, gate).await,
        Step::Pause(seconds) => {
            pause(Duration::from_secs_f64(*seconds), world, gate).await;
            Ok(Outcome::default())
        }
        Step::Host(what) => {
            let mut what = json!(what);
            with_root(&mut what);
            let output = machine::perform(&what, world).await?;
            Ok(Outcome { output, ..Outcome::default() })
        }
        Step::Kubelet(kubelet) => {
            match kubelet.action.as_str() {
                "stop" => world.agents().stop(&kubelet.node),
                "start" => world.agents().start(&kubelet.node),
                other => return Err(format!("a kubelet cannot be told to {other}")),
            }
            Ok(Outcome::default())
        }
    }
}

/// Creates the objects one after the other.
async fn apply(objects: &[Value], world: &World) -> Result<Outcome, String> {
    let mut responses = Vec::new();
    if objects.len() > 1 {
        world.gate().shut();
    }
    for (at, object) in objects.iter().enumerate() {
        if let Some(previous) = at.checked_sub(1).map(|previous| &objects[previous]) {
            let is_pod = previous["kind"] == "Pod";
            let_in(if is_pod { WRITES_AFTER_POD } else { WRITES_WITHIN_STEP }, world).await;
        }
        let mut object = object.clone();
        with_root(&mut object);
        let reference = manifest_reference(&object)?;
        let collection = reference.kind.collection_path(reference.key.namespace());
        let json = "application/json";
        let created = send(world, Method::POST, &collection, json, &object, &reference).await?;
        responses.push(if created.reason.as_deref() == Some("AlreadyExists") {
            let merge = "application/merge-patch+json";
            send(world, Method::PATCH, &reference.path(), merge, &object, &reference).await?
        } else {
            created
        });
    }
    Ok(Outcome { responses, ..Outcome::default() })
}

/// Lets all writes pass that the controllers want to make.
async fn release(world: &World, gate: Gate) {
    if gate == Gate::Open {
        world.gate().open();
    }
    world.clock.idle().await;
    while world.gate().pass_one() {
        world.clock.idle().await;
    }
}

/// Lets time pass, and the writes that it brings.
async fn pause(duration: Duration, world: &World, gate: Gate) {
    const SECOND: Duration = Duration::from_secs(1);
    if gate == Gate::Open {
        return world.clock.advance(duration).await;
    }
    let mut left = duration;
    while !left.is_zero() {
        let step = left.min(SECOND);
        world.clock.advance(step).await;
        release(world, gate).await;
        left -= step;
    }
}

/// Lets so many of the writes pass that the controllers want to make.
async fn let_in(writes: usize, world: &World) {
    for _ in 0..writes {
        world.clock.idle().await;
        world.gate().pass_one();
    }
    world.clock.idle().await;
}

async fn delete(delete: &Delete, world: &World) -> Result<Outcome, String> {
    let object = object(&delete.kind, &delete.name, world).await?;
    let mut body = json!({
        "kind": "DeleteOptions", "apiVersion": "v1", "propagationPolicy": "Background",
    });
    if let Some(seconds) = delete.grace_period_seconds {
        body["gracePeriodSeconds"] = seconds.into();
    }
    let json = "application/json";
    one(send(world, Method::DELETE, &object.path(), json, &body, &object).await)
}

async fn taint(taint: &Taint, world: &World) -> Result<Outcome, String> {
    let object = object("Node", &taint.name, world).await?;
    let node = get(&world.user, &object).await.map_err(|error| error.to_string())?;
    let node = node.ok_or_else(|| format!("there is no {object}"))?;
    let given = |key: &Value| taint.add.iter().any(|added| added["key"] == *key);
    let removed = |key: &Value| taint.remove.iter().any(|removed| *key == removed.as_str());
    let kept = node["spec"]["taints"].as_array().into_iter().flatten();
    let kept = kept.filter(|taint| !given(&taint["key"]) && !removed(&taint["key"]));
    let taints: Vec<&Value> = kept.chain(&taint.add).collect();
    let body = json!({"spec": {"taints": taints}});
    let merge = "application/merge-patch+json";
    one(send(world, Method::PATCH, &object.path(), merge, &body, &object).await)
}

/// Lets the clock jump from timer to timer until the condition holds or the
/// time is up.
async fn wait(fields: &ConditionFields, world: &World, gate: Gate) -> Result<Outcome, String> {
    let condition = fields.check()?;
    let seconds = fields.within.unwrap_or_default();
    let end = world.clock.now() + jiff::SignedDuration::from_secs(seconds as i64);
    let result = if holds(&condition, world, gate, end).await? { "met" } else { "timeout" };
    Ok(Outcome { result: Some(result.into()), ..Outcome::default() })
}

async fn holds(
    condition: &Condition,
    world: &World,
    gate: Gate,
    end: Timestamp,
) -> Result<bool, String> {
    loop {
        let why_not = condition.why_not(&world.user).await.map_err(|error| error.to_string())?;
        if why_not.is_none() {
            return Ok(true);
        }
        if world.clock.now() >= end || !world.clock.step().await {
            return Ok(false);
        }
        release(world, gate).await;
    }
}

/// The object that a step names, `<value:Kind/name:{path}>` looked up.
async fn object(kind: &str, name: &str, world: &World) -> Result<ObjectRef, String> {
    let known = |word: &str| Kind::by_word(word).ok_or_else(|| format!("unknown kind `{word}`"));
    let reference = |kind: &'static Kind, name: &str| {
        let key =
            if kind.namespaced { Key::new(DEFAULT_NAMESPACE, name) } else { Key::cluster(name) };
        ObjectRef::new(kind, key)
    };
    let Some(wanted) = name.strip_prefix("<value:").and_then(|name| name.strip_suffix('>')) else {
        return Ok(reference(known(kind)?, name));
    };
    let bad = || format!("cannot look up `{name}`");
    let (source, path) = wanted.split_once(':').ok_or_else(bad)?;
    let (source_kind, source_name) = source.split_once('/').ok_or_else(bad)?;
    let path: JsonPath = path.parse().map_err(|_| bad())?;
    let source = reference(known(source_kind)?, source_name);
    let found = get(&world.user, &source).await.map_err(|error| error.to_string())?;
    let found = found.ok_or_else(bad)?;
    let value = path.find(&found).first().and_then(|value| value.as_str()).ok_or_else(bad)?;
    Ok(reference(known(kind)?, value))
}

fn one(response: Result<Response, String>) -> Result<Outcome, String> {
    Ok(Outcome { responses: vec![response?], ..Outcome::default() })
}

/// Sends a request as the user and notes the answer.
async fn send(
    world: &World,
    method: Method,
    path: &str,
    content_type: &str,
    body: &Value,
    object: &ObjectRef,
) -> Result<Response, String> {
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header(header::CONTENT_TYPE, content_type)
        .body(Body::from(body.to_string().into_bytes()))
        .map_err(|error| error.to_string())?;
    let response = world.user.send(request).await.map_err(|error| error.to_string())?;
    let code = response.status().as_u16();
    let body = response.into_body().collect_bytes().await.map_err(|error| error.to_string())?;
    let answer: Value = serde_json::from_slice(&body).unwrap_or_default();
    let refused = code >= 400;
    let text = |key: &str| answer[key].as_str().filter(|_| refused).map(str::to_owned);
    Ok(Response {
        object: format!("{}/{}", object.kind.kind, object.key.name),
        code,
        reason: text("reason"),
        message: text("message"),
    })
}
