//! A pod's status as its node writes it: phase, conditions, containers. Pure.
//!
//! Upstream: `generateAPIPodStatus`, `getPhase` in
//! `pkg/kubelet/kubelet_pods.go`; `pkg/kubelet/status/generate.go`. There are
//! no probes here: a container that runs is started and ready.

use std::borrow::Cow;
use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::backoff;
use super::mounts::is_recursively_read_only;
use super::runtime::{ContainerSeen, Ended, LastRun, PodSeen};
use super::spec::{ContainerSpec, PodObject, RestartPolicy};

/// Where a pod is in its life on the node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// It is to run.
    Living,
    /// Its containers have ended by themselves; the phase stays until all of
    /// it is gone from the node.
    Ending,
    /// Nothing of it runs any more.
    Ended,
}

/// Why a pod is failed although no container says so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    pub reason: &'static str,
    pub message: Cow<'static, str>,
}

/// A container that cannot be started, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StartFault {
    pub container: String,
    /// `CreateContainerConfigError`.
    pub reason: &'static str,
    pub message: String,
    /// When it is tried again.
    pub retry: Timestamp,
}

/// What a status is made from.
#[derive(Debug, Clone, Copy)]
pub struct Facts<'a> {
    pub pod: &'a PodObject,
    pub seen: &'a PodSeen,
    pub stage: Stage,
    pub host_address: &'a str,
    pub fault: Option<&'a StartFault>,
    pub failure: Option<&'a Failure>,
    pub now: Timestamp,
}

/// The whole status as it should be. Fields that are not the node's own stay
/// as they are.
pub fn desired(facts: Facts<'_>) -> Value {
    let old = facts.pod.status();
    let mut status = if old.is_object() { old.clone() } else { json!({}) };
    let containers = statuses(&facts.pod.containers, "containerStatuses", facts);
    let init = statuses(&facts.pod.init, "initContainerStatuses", facts);
    let phase = phase(&containers, &init, facts);
    // Of a pod that never ran its conditions stay as they were.
    let never_ran = facts.seen.containers.is_empty() && facts.stage != Stage::Living;
    if !never_ran || old["conditions"].is_null() {
        status["conditions"] = conditions(&containers, &init, phase, facts);
    }
    status["containerStatuses"] = containers.into();
    if !init.is_empty() {
        status["initContainerStatuses"] = init.into();
    }
    let held = old["phase"].as_str().filter(|_| facts.stage == Stage::Ending);
    status["phase"] = held.unwrap_or(phase).into();
    if let Some(failure) = facts.failure {
        status["reason"] = failure.reason.into();
        status["message"] = (*failure.message).into();
    }
    status["hostIP"] = facts.host_address.into();
    status["hostIPs"] = json!([{"ip": facts.host_address}]);
    if let Some(address) = &facts.seen.address {
        status["podIP"] = (&**address).into();
        status["podIPs"] = json!([{"ip": &**address}]);
    }
    if old["startTime"].is_null() {
        status["startTime"] = seconds(facts.now).into();
    }
    if let Some(generation) = generation(facts.pod) {
        status["observedGeneration"] = generation;
    }
    status
}

/// The generation of the spec that the status is about; `None`: the object has
/// none.
fn generation(pod: &PodObject) -> Option<Value> {
    let generation = &pod.value["metadata"]["generation"];
    generation.is_i64().then(|| generation.clone())
}

/// The part of `desired` that the server does not have; `None`: it has all.
pub fn difference(held: &Value, desired: &Value) -> Option<Value> {
    let fields = desired.as_object()?;
    let differs = |(key, value): &(&String, &Value)| !says(&held[key.as_str()], value);
    let patch: Map<String, Value> =
        fields.iter().filter(differs).map(|(key, value)| (key.clone(), value.clone())).collect();
    (!patch.is_empty()).then_some(Value::Object(patch))
}

/// Whether a value says all that another says; null is nothing said.
fn says(held: &Value, wanted: &Value) -> bool {
    match (held, wanted) {
        (_, Value::Null) => true,
        (Value::Null, Value::Object(fields)) => fields.values().all(|value| says(held, value)),
        (Value::Object(held), Value::Object(wanted)) => {
            let present = |(key, value): (&String, &Value)| {
                says(held.get(key).unwrap_or(&Value::Null), value)
            };
            // A container's state has one field; an old one has to go.
            let states = ["waiting", "running", "terminated"];
            let stale = states.iter().any(|state| {
                held.get(*state).is_some_and(|value| !value.is_null())
                    && !wanted.contains_key(*state)
            });
            wanted.iter().all(present) && !(stale && is_state(wanted))
        }
        (Value::Array(held), Value::Array(wanted)) => {
            held.len() == wanted.len() && held.iter().zip(wanted).all(|(h, w)| says(h, w))
        }
        (held, wanted) => held == wanted,
    }
}

fn is_state(value: &Map<String, Value>) -> bool {
    ["waiting", "running", "terminated"].iter().any(|state| value.contains_key(*state))
}

fn statuses(specs: &[ContainerSpec], field: &str, facts: Facts<'_>) -> Vec<Value> {
    specs.iter().map(|spec| container_status(spec, field, facts)).collect()
}

fn container_status(spec: &ContainerSpec, field: &str, facts: Facts<'_>) -> Value {
    let is_init = field == "initContainerStatuses";
    let held = old_status(facts.pod, field, &spec.name);
    let Some(seen) = facts.seen.container(&spec.name) else {
        return unseen(spec, &held, is_init, facts);
    };
    let mut status = json!({
        "name": &*spec.name, "image": &*spec.image, "imageID": image_id(&spec.image),
        "containerID": container_id(&seen.id), "restartCount": seen.attempt,
    });
    let ended_well = seen.ended.as_ref().is_some_and(|ended| ended.exit_code == 0);
    let (state, last) = states(spec, seen, is_init, facts);
    put_volume_mounts(&mut status, spec);
    status["ready"] = (seen.runs() || (is_init && ended_well)).into();
    status["started"] = (seen.runs() && (!is_init || spec.is_sidecar)).into();
    status["state"] = state;
    status["lastState"] = last;
    status
}

/// How each volume is mounted, as far as that is asked for: upstream
/// `convertToAPIContainerStatuses`, feature RecursiveReadOnlyMounts.
fn put_volume_mounts(status: &mut Value, spec: &ContainerSpec) {
    let asked = spec.value["volumeMounts"].as_array().map_or(&[][..], Vec::as_slice);
    let told = asked.iter().map(|asked| {
        let mut told = json!({"name": asked["name"], "mountPath": asked["mountPath"]});
        if asked["readOnly"] == true {
            told["readOnly"] = true.into();
            let recursive = is_recursively_read_only(asked).unwrap_or_default();
            told["recursiveReadOnly"] = if recursive { "Enabled" } else { "Disabled" }.into();
        }
        told
    });
    let told: Vec<Value> = told.collect();
    if !told.is_empty() {
        status["volumeMounts"] = told.into();
    }
}

/// The state of a container, and that of the run before.
fn states(
    spec: &ContainerSpec,
    seen: &ContainerSeen,
    is_init: bool,
    facts: Facts<'_>,
) -> (Value, Value) {
    let before = seen.last.as_ref().map_or(json!({}), |last| json!({"terminated": last_run(last)}));
    let Some(ended) = &seen.ended else {
        return (json!({"running": {"startedAt": seconds(seen.started)}}), before);
    };
    let this = terminated(&seen.id, seen.started, ended);
    let again = facts.stage == Stage::Living && will_restart(spec, ended, is_init, facts.pod);
    match again.then(|| backoff::pause(seen)) {
        Some(pause) if !pause.is_zero() => {
            let message = format!(
                "back-off {} restarting failed container={} pod={}_{}({})",
                in_words(pause),
                spec.name,
                facts.pod.key.name,
                facts.pod.key.namespace,
                facts.pod.uid
            );
            let waiting = json!({"reason": "CrashLoopBackOff", "message": message});
            (json!({"waiting": waiting}), json!({"terminated": this}))
        }
        _ => (json!({"terminated": this}), before),
    }
}

/// Whether a container that has ended is to be started again.
pub fn will_restart(spec: &ContainerSpec, ended: &Ended, is_init: bool, pod: &PodObject) -> bool {
    match pod.restart_policy {
        _ if spec.is_sidecar => true,
        RestartPolicy::Never => false,
        RestartPolicy::Always if !is_init => true,
        RestartPolicy::Always | RestartPolicy::OnFailure => ended.exit_code != 0,
    }
}

/// A container that the runtime does not have.
fn unseen(spec: &ContainerSpec, held: &Value, is_init: bool, facts: Facts<'_>) -> Value {
    let restarts = held["restartCount"].as_u64().unwrap_or_default();
    let mut status = json!({
        "name": &*spec.name, "image": &*spec.image, "imageID": "",
        "ready": false, "started": false, "restartCount": restarts, "lastState": {},
    });
    put_volume_mounts(&mut status, spec);
    if facts.stage != Stage::Living {
        if held["state"]["terminated"].is_object() {
            return held.clone();
        }
        status["state"] = json!({"terminated": {
            "exitCode": 137, "reason": "ContainerStatusUnknown",
            "message": "The container could not be located when the pod was terminated",
            "startedAt": null, "finishedAt": null,
        }});
        return status;
    }
    let fault = facts.fault.filter(|fault| fault.container == *spec.name);
    let waits_for_init = !is_init && !facts.pod.init.is_empty();
    status["state"] = match fault {
        Some(fault) => json!({"waiting": {"reason": fault.reason, "message": fault.message}}),
        None if waits_for_init => json!({"waiting": {"reason": "PodInitializing"}}),
        None => json!({"waiting": {"reason": "ContainerCreating"}}),
    };
    status
}

fn terminated(id: &str, started: Timestamp, ended: &Ended) -> Value {
    let reason = if ended.exit_code == 0 { "Completed" } else { "Error" };
    let mut state = json!({
        "exitCode": ended.exit_code, "reason": reason, "containerID": container_id(id),
        "startedAt": seconds(started), "finishedAt": seconds(ended.at),
    });
    if !ended.message.is_empty() {
        state["message"] = ended.message.as_str().into();
    }
    state
}

fn last_run(last: &LastRun) -> Value {
    terminated(&last.id, last.started, &last.ended)
}

/// The phase that follows from the containers (upstream: `getPhase`).
fn phase(containers: &[Value], init: &[Value], facts: Facts<'_>) -> &'static str {
    if facts.failure.is_some() {
        return "Failed";
    }
    let ended = |status: &Value| {
        status["state"]["terminated"].is_object() || status["lastState"]["terminated"].is_object()
    };
    let failed = |status: &Value| status["state"]["terminated"]["exitCode"] != 0;
    let runs = |status: &Value| status["state"]["running"].is_object();
    if facts.stage != Stage::Living {
        // All of it has ended, for whatever reason.
        let any_failed = containers.iter().any(failed);
        return if any_failed { "Failed" } else { "Succeeded" };
    }
    let init_pending = facts.pod.init.iter().zip(init).any(|(spec, status)| {
        let done = status["state"]["terminated"]["exitCode"] == 0;
        let serves = spec.is_sidecar && runs(status);
        !done && !serves
    });
    if init_pending {
        return "Pending";
    }
    if containers.iter().any(|status| !ended(status) && !runs(status)) {
        return "Pending";
    }
    if containers.iter().any(runs) || facts.pod.restart_policy == RestartPolicy::Always {
        return "Running";
    }
    match (containers.iter().any(failed), facts.pod.restart_policy) {
        (false, _) => "Succeeded",
        (true, RestartPolicy::Never) => "Failed",
        (true, _) => "Running",
    }
}

/// The conditions that are the node's own.
const OWN: [&str; 4] = ["PodReadyToStartContainers", "Initialized", "Ready", "ContainersReady"];

fn conditions(containers: &[Value], init: &[Value], phase: &str, facts: Facts<'_>) -> Value {
    let old = facts.pod.status()["conditions"].as_array().map_or(&[][..], Vec::as_slice);
    let sandbox = facts.seen.address.is_some() && facts.stage != Stage::Ended;
    let initialized = initialized(init, phase, facts);
    let ready = ready(containers, phase, facts.pod);
    let generation = generation(facts.pod);
    let own = [
        (OWN[0], Finding { holds: sandbox, reason: "", message: String::new() }),
        (OWN[1], initialized),
        (OWN[2], ready.clone()),
        (OWN[3], ready),
    ];
    let of_this = |(name, finding): (&str, Finding)| {
        let mut condition = condition(name, &finding, old, facts.now);
        if let Some(generation) = &generation {
            condition["observedGeneration"] = generation.clone();
        }
        condition
    };
    let mut conditions: Vec<Value> = own.into_iter().map(of_this).collect();
    let others = old.iter().filter(|c| !OWN.iter().any(|own| c["type"] == *own));
    conditions.extend(others.cloned());
    if !conditions.iter().any(|condition| condition["type"] == "PodScheduled") {
        let holds = Finding { holds: true, reason: "", message: String::new() };
        conditions.push(condition("PodScheduled", &holds, old, facts.now));
    }
    conditions.into()
}

#[derive(Clone)]
struct Finding {
    holds: bool,
    reason: &'static str,
    message: String,
}

fn initialized(init: &[Value], phase: &str, facts: Facts<'_>) -> Finding {
    let reason = if phase == "Succeeded" { "PodCompleted" } else { "" };
    let started = |(spec, status): (&ContainerSpec, &Value)| {
        let done = status["state"]["terminated"]["exitCode"] == 0;
        done || (spec.is_sidecar && status["state"]["running"].is_object())
    };
    let missing: Vec<&str> = facts
        .pod
        .init
        .iter()
        .zip(init)
        .filter(|pair| !started(*pair))
        .map(|(spec, _)| &*spec.name)
        .collect();
    if missing.is_empty() || phase == "Succeeded" {
        return Finding { holds: true, reason, message: String::new() };
    }
    Finding {
        holds: false,
        reason: "ContainersNotInitialized",
        message: format!("containers with incomplete status: [{}]", missing.join(" ")),
    }
}

fn ready(containers: &[Value], phase: &str, pod: &PodObject) -> Finding {
    let reason = match phase {
        "Succeeded" => "PodCompleted",
        "Failed" => "PodFailed",
        _ => "ContainersNotReady",
    };
    let unready: Vec<&str> = containers
        .iter()
        .filter(|status| status["ready"] != true)
        .filter_map(|status| status["name"].as_str())
        .collect();
    if reason != "ContainersNotReady" {
        return Finding { holds: false, reason, message: String::new() };
    }
    if unready.is_empty() && !pod.containers.is_empty() {
        return Finding { holds: true, reason: "", message: String::new() };
    }
    let message = format!("containers with unready status: [{}]", unready.join(" "));
    Finding { holds: false, reason, message }
}

/// A condition; its last transition stays if its status does.
fn condition(name: &str, finding: &Finding, old: &[Value], now: Timestamp) -> Value {
    let status = if finding.holds { "True" } else { "False" };
    let before = old.iter().find(|condition| condition["type"] == name);
    let since = before.filter(|condition| condition["status"] == status);
    let mut condition = json!({
        "type": name, "status": status, "lastProbeTime": null,
        "lastTransitionTime": since.map_or(seconds(now).into(), |c| c["lastTransitionTime"].clone()),
    });
    if !finding.reason.is_empty() {
        condition["reason"] = finding.reason.into();
    }
    if !finding.message.is_empty() {
        condition["message"] = finding.message.as_str().into();
    }
    condition
}

fn old_status(pod: &PodObject, field: &str, name: &str) -> Value {
    let list = pod.status()[field].as_array();
    let held = list.into_iter().flatten().find(|status| status["name"] == name);
    held.cloned().unwrap_or_default()
}

fn container_id(id: &str) -> String {
    format!("containerd://{id}")
}

/// Every image is present already.
fn image_id(image: &str) -> String {
    format!("docker.io/library/{image}")
}

/// A time as the API writes it, in whole seconds.
pub fn seconds(time: Timestamp) -> String {
    time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// `10s`, `1m20s`, `5m0s`.
fn in_words(pause: Duration) -> String {
    let seconds = pause.as_secs();
    match seconds / 60 {
        0 => format!("{seconds}s"),
        minutes => format!("{minutes}m{}s", seconds % 60),
    }
}
