//! The life of a pod, step by step: decisions against a table of what there
//! is, with everything done as it was decided.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use crate::controllers::node_agent::pods::decide::{Step, View, Volumes, decide, wants_volumes};
use crate::controllers::node_agent::pods::runtime::{ContainerSeen, Ended, LastRun, PodSeen};
use crate::controllers::node_agent::pods::spec::PodObject;

const START: i64 = 1_800_000_000;

/// A pod on a node where everything works at once.
struct Life {
    pod: Option<Value>,
    seen: PodSeen,
    volumes: Volumes,
    now: Timestamp,
    steps: Vec<String>,
}

impl Life {
    fn new(spec: Value) -> Self {
        let pod = json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": {"namespace": "default", "name": "p", "uid": "u", "resourceVersion": "1"},
            "spec": spec,
            "status": {"phase": "Pending", "qosClass": "BestEffort"},
        });
        let now = Timestamp::from_second(START).expect("in range");
        let (seen, volumes) = (PodSeen::default(), Volumes::default());
        Self { pod: Some(pod), seen, volumes, now, steps: Vec::new() }
    }

    fn with<T>(&self, look: impl FnOnce(View<'_>) -> T) -> T {
        let pod = self.pod.clone().and_then(PodObject::read);
        look(View {
            pod: pod.as_ref(),
            seen: &self.seen,
            volumes: self.volumes,
            fault: None,
            rejected: None,
            host_address: "10.0.0.1",
            now: self.now,
        })
    }

    /// Does steps until there is none; what they were.
    fn go(&mut self) -> Vec<String> {
        for _ in 0..50 {
            let step = self.with(decide);
            if matches!(step, Step::Rest { .. } | Step::Forget) {
                if step == Step::Forget {
                    self.steps.push("forget".to_owned());
                }
                return std::mem::take(&mut self.steps);
            }
            self.perform(step);
        }
        panic!("no end: {:?}", self.steps);
    }

    fn perform(&mut self, step: Step) {
        let told = match step {
            Step::WriteStatus { patch, .. } => {
                let pod = self.pod.as_mut().expect("a pod");
                for (key, value) in patch.as_object().expect("fields") {
                    pod["status"][key] = value.clone();
                }
                self.told()
            }
            Step::Mount => {
                self.volumes = Volumes::Mounted;
                "mount".to_owned()
            }
            Step::Start { container, attempt } => {
                self.start(&container, attempt);
                format!("start {container} {attempt}")
            }
            Step::Stop { grace } => {
                for container in &mut self.seen.containers {
                    let ended = Ended { exit_code: 0, message: String::new(), at: self.now };
                    container.ended.get_or_insert(ended);
                }
                format!("stop {}s", grace.as_secs())
            }
            Step::LetGo => {
                self.volumes = Volumes::Unmounted;
                "let go".to_owned()
            }
            Step::Delete => {
                self.pod = None;
                "delete".to_owned()
            }
            Step::Forget | Step::Rest { .. } => return,
        };
        self.steps.push(told);
    }

    fn start(&mut self, name: &str, attempt: u32) {
        self.seen.address = Some("10.64.1.1".into());
        let before = self.seen.containers.iter().position(|c| &*c.name == name);
        let last = before.map(|at| self.seen.containers.remove(at)).and_then(|old| {
            Some(LastRun { id: old.id.clone(), started: old.started, ended: old.ended? })
        });
        let name: Arc<str> = name.into();
        let id = format!("{name}-{attempt}").into();
        let started = self.now;
        self.seen.containers.push(ContainerSeen { name, id, attempt, started, ended: None, last });
    }

    fn end(&mut self, name: &str, exit_code: i32) {
        let container = self.seen.containers.iter_mut().find(|c| &*c.name == name);
        let ended = Ended { exit_code, message: String::new(), at: self.now };
        container.expect("it was started").ended = Some(ended);
    }

    fn delete(&mut self) {
        let pod = self.pod.as_mut().expect("a pod");
        pod["metadata"]["deletionTimestamp"] = "2027-01-15T08:00:30Z".into();
        pod["metadata"]["deletionGracePeriodSeconds"] = 1.into();
    }

    fn later(&mut self, seconds: i64) {
        self.now = self.now.checked_add(SignedDuration::from_secs(seconds)).expect("in range");
    }

    fn status(&self) -> &Value {
        &self.pod.as_ref().expect("a pod")["status"]
    }

    fn condition(&self, kind: &str) -> Value {
        let conditions = self.status()["conditions"].as_array().expect("conditions");
        conditions.iter().find(|c| c["type"] == kind).cloned().unwrap_or_default()
    }

    /// Phase, containers' states, and the reason for not being ready.
    fn told(&self) -> String {
        let status = self.status();
        let mut words = vec![status["phase"].as_str().unwrap_or("-").to_owned()];
        for list in ["initContainerStatuses", "containerStatuses"] {
            for container in status[list].as_array().into_iter().flatten() {
                let state = container["state"].as_object().expect("a state");
                let (kind, inner) = state.iter().next().expect("one state");
                let reason = inner["reason"].as_str().unwrap_or(kind);
                words.push(format!("{}:{reason}", container["name"].as_str().unwrap_or("-")));
            }
        }
        let ready = self.condition("Ready");
        words.push(ready["reason"].as_str().unwrap_or("ready").to_owned());
        words.join(" ")
    }
}

fn one(policy: &str) -> Value {
    json!({"restartPolicy": policy, "nodeName": "node-1", "containers": [
        {"name": "main", "image": "busybox:1.35"},
    ]})
}

const CREATING: &str = "Pending main:ContainerCreating ContainersNotReady";
const RUNNING: &str = "Running main:running ready";

#[test]
fn a_pod_starts_runs_and_goes() {
    let mut life = Life::new(one("Always"));
    assert_eq!(life.go(), [CREATING, "mount", "start main 0", RUNNING]);
    assert_eq!(life.status()["hostIP"], "10.0.0.1");
    assert_eq!(life.status()["podIPs"], json!([{"ip": "10.64.1.1"}]));
    assert_eq!(life.status()["startTime"], "2027-01-15T08:00:00Z");
    assert_eq!(life.condition("PodReadyToStartContainers")["status"], "True");
    assert_eq!(life.condition("Initialized")["status"], "True");
    assert_eq!(life.condition("PodScheduled")["status"], "True");
    life.delete();
    let ended = "Succeeded main:Completed PodCompleted";
    assert_eq!(life.go(), ["stop 2s", ended, "let go", "delete", "forget"]);
}

#[test]
fn conditions_of_a_pod_that_waits_say_which_containers() {
    let mut life = Life::new(one("Always"));
    life.steps.clear();
    let step = life.with(decide);
    life.perform(step);
    let ready = life.condition("Ready");
    assert_eq!(ready["message"], "containers with unready status: [main]");
    assert_eq!(life.condition("ContainersReady")["message"], ready["message"]);
    assert_eq!(life.condition("PodReadyToStartContainers")["status"], "False");
}

#[test]
fn a_pod_that_ends_by_itself_keeps_its_phase_until_it_is_gone_from_the_node() {
    for (code, phase, reason, word) in
        [(0, "Succeeded", "PodCompleted", "Completed"), (1, "Failed", "PodFailed", "Error")]
    {
        let mut life = Life::new(one("Never"));
        life.go();
        life.end("main", code);
        let ending = format!("Running main:{word} {reason}");
        let ended = format!("{phase} main:{word} {reason}");
        assert_eq!(life.go(), [ending, ended, "let go".to_owned()]);
        assert_eq!(life.go(), [""; 0], "settled");
        assert!(!life.with(wants_volumes), "its volumes are unmounted");
    }
}

#[test]
fn containers_are_started_again_as_the_policy_says_with_growing_pauses() {
    let mut life = Life::new(one("OnFailure"));
    life.go();
    life.end("main", 1);
    assert_eq!(life.go()[0], "start main 1", "at once the first time");
    life.end("main", 1);
    assert_eq!(life.go(), ["Running main:CrashLoopBackOff ContainersNotReady"]);
    let waiting = &life.status()["containerStatuses"][0]["state"]["waiting"];
    let message = "back-off 10s restarting failed container=main pod=p_default(u)";
    assert_eq!(waiting["message"], message);
    assert_eq!(life.with(decide), Step::Rest { until: Some(at(10)) });
    life.later(10);
    assert_eq!(life.go()[0], "start main 2");
    assert_eq!(life.status()["containerStatuses"][0]["restartCount"], 2);
    life.end("main", 1);
    life.go();
    assert_eq!(life.with(decide), Step::Rest { until: Some(at(30)) });
    life.later(20);
    life.go();
    life.later(600);
    life.end("main", 1);
    assert_eq!(life.go()[0], "start main 4", "a long run is forgiven");
    life.end("main", 0);
    assert_eq!(life.go().last().map(String::as_str), Some("let go"), "success is the end");
}

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(START + seconds).expect("in range")
}

#[test]
fn a_pod_that_is_deleted_before_it_started_is_failed_and_goes() {
    let mut life = Life::new(one("Always"));
    let step = life.with(decide);
    life.perform(step);
    life.steps.clear();
    life.delete();
    let failed = "Failed main:ContainerStatusUnknown ContainersNotReady";
    assert_eq!(life.go(), [failed, "let go", "delete", "forget"]);
}

#[test]
fn a_pod_that_was_taken_away_by_force_is_stopped_and_forgotten() {
    let mut life = Life::new(one("Always"));
    life.go();
    life.pod = None;
    assert!(life.with(wants_volumes), "a container still runs");
    assert_eq!(life.go(), ["stop 2s", "let go", "forget"]);
}

#[test]
fn a_pod_that_runs_too_long_is_failed() {
    let mut spec = one("Never");
    spec["activeDeadlineSeconds"] = 60.into();
    let mut life = Life::new(spec);
    life.go();
    assert_eq!(life.with(decide), Step::Rest { until: Some(at(60)) });
    life.later(60);
    assert_eq!(life.go(), ["stop 30s", "Failed main:Completed PodFailed", "let go"]);
    assert_eq!(life.status()["reason"], "DeadlineExceeded");
}

#[test]
fn a_pod_whose_phase_someone_else_ended_is_stopped_and_kept() {
    let mut life = Life::new(one("Always"));
    life.go();
    life.pod.as_mut().expect("a pod")["status"]["phase"] = "Failed".into();
    assert_eq!(life.go(), ["stop 30s", "let go"]);
}

#[test]
fn containers_that_come_first_come_one_after_the_other() {
    let mut life = Life::new(json!({"restartPolicy": "Always",
        "initContainers": [
            {"name": "one", "image": "busybox"},
            {"name": "side", "image": "busybox", "restartPolicy": "Always"},
        ],
        "containers": [{"name": "main", "image": "busybox"}],
    }));
    let steps = life.go();
    assert_eq!(
        steps[..3],
        [
            "Pending one:ContainerCreating side:ContainerCreating main:PodInitializing ContainersNotReady",
            "mount",
            "start one 0",
        ]
    );
    assert_eq!(life.condition("Initialized")["reason"], "ContainersNotInitialized");
    life.end("one", 0);
    let steps = life.go();
    assert_eq!(
        steps,
        ["start side 0", "start main 0", "Running one:Completed side:running main:running ready",]
    );
    assert_eq!(life.condition("Initialized")["status"], "True");
    let mut life = Life::new(json!({"restartPolicy": "Never",
        "initContainers": [{"name": "one", "image": "busybox"}],
        "containers": [{"name": "main", "image": "busybox"}],
    }));
    life.go();
    life.end("one", 1);
    let last = life.go();
    assert_eq!(last.last().map(String::as_str), Some("let go"), "{last:?}");
    assert_eq!(life.status()["phase"], "Failed");
}

#[test]
fn an_agent_that_begins_anew_goes_on_where_the_runtime_is() {
    let mut life = Life::new(one("Always"));
    life.go();
    life.volumes = Volumes::Unknown;
    assert_eq!(life.go(), ["mount"], "nothing is started twice");
    // The machine was started afresh.
    life.seen = PodSeen::default();
    life.volumes = Volumes::Unknown;
    let steps = life.go();
    assert_eq!(steps[..2], ["mount", "start main 1"]);
    assert_eq!(life.status()["containerStatuses"][0]["restartCount"], 1);
    // It was deleted meanwhile.
    life.volumes = Volumes::Unknown;
    life.delete();
    assert_eq!(life.go()[0], "stop 2s");
}

#[test]
fn the_conditions_of_others_stay() {
    let mut life = Life::new(one("Always"));
    let scheduled = json!({"type": "PodScheduled", "status": "True", "lastProbeTime": null,
        "lastTransitionTime": "2027-01-15T07:59:00Z"});
    let target = json!({"type": "DisruptionTarget", "status": "True", "reason": "X"});
    life.pod.as_mut().expect("a pod")["status"]["conditions"] = json!([scheduled, target]);
    life.go();
    assert_eq!(life.condition("PodScheduled"), scheduled);
    assert_eq!(life.condition("DisruptionTarget"), target);
}
