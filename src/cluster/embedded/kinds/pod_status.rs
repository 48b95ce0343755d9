//! What `kubectl get pods` says of a pod: the word for its state, and counts.

use jiff::Timestamp;
use serde_json::Value;

use super::json::{integer, is_set, is_true, list, text};
use super::table::since;

/// A pod in a few words.
#[derive(Debug, PartialEq)]
pub struct Summary {
    pub ready: usize,
    pub containers: usize,
    /// `Running`, `ContainerCreating`, `Init:0/1`, …
    pub words: String,
    /// `2 (5m ago)`.
    pub restarts: String,
}

/// How often containers were restarted, and the last time one ended.
#[derive(Default)]
struct Restarts {
    count: i64,
    last: String,
}

impl Restarts {
    fn add(&mut self, status: &Value) {
        self.count = self.count.saturating_add(integer(status, "/restartCount"));
        let ended = text(status, "/lastState/terminated/finishedAt");
        if ended > self.last.as_str() {
            ended.clone_into(&mut self.last);
        }
    }
}

/// Sums a pod up as kubectl does.
pub fn summary(pod: &Value, now: Timestamp) -> Summary {
    let phase = text(pod, "/status/phase");
    let mut words = match text(pod, "/status/reason") {
        "" => phase.to_owned(),
        reason => reason.to_owned(),
    };
    if condition(pod, "PodScheduled")
        .is_some_and(|scheduled| text(scheduled, "/reason") == "SchedulingGated")
    {
        "SchedulingGated".clone_into(&mut words);
    }
    let sidecars = list(pod, "/spec/initContainers").iter().filter(|c| is_sidecar(c)).count();
    let init = init_containers(pod);
    let (mut ready, mut restarts) = (init.ready, init.all);
    let mut initializing = false;
    if let Some(waiting_for) = init.waiting_for {
        words = waiting_for;
        initializing = true;
    }
    let initialized = condition(pod, "Initialized").is_some_and(|c| text(c, "/status") == "True");
    if !initializing || initialized {
        restarts = init.sidecars;
        ready += main_containers(pod, &mut words, &mut restarts);
    }
    if is_set(pod, "/metadata/deletionTimestamp") {
        if text(pod, "/status/reason") == "NodeLost" {
            "Unknown".clone_into(&mut words);
        } else if !matches!(phase, "Succeeded" | "Failed") {
            "Terminating".clone_into(&mut words);
        }
    }
    let restarts = if restarts.count != 0 && !restarts.last.is_empty() {
        format!("{} ({} ago)", restarts.count, since(&restarts.last, now))
    } else {
        restarts.count.to_string()
    };
    let containers = list(pod, "/spec/containers").len() + sidecars;
    Summary { ready, containers, words, restarts }
}

struct InitContainers {
    ready: usize,
    all: Restarts,
    sidecars: Restarts,
    /// The first init container that is not done, in words.
    waiting_for: Option<String>,
}

fn init_containers(pod: &Value) -> InitContainers {
    let specs = list(pod, "/spec/initContainers");
    let sidecar = |status: &Value| {
        let name = text(status, "/name");
        specs.iter().any(|spec| text(spec, "/name") == name && is_sidecar(spec))
    };
    let mut seen = InitContainers {
        ready: 0,
        all: Restarts::default(),
        sidecars: Restarts::default(),
        waiting_for: None,
    };
    for (index, status) in list(pod, "/status/initContainerStatuses").iter().enumerate() {
        seen.all.add(status);
        let is_sidecar = sidecar(status);
        if is_sidecar {
            seen.sidecars.add(status);
        }
        let ended = status.pointer("/state/terminated").filter(|state| state.is_object());
        if ended.is_some_and(|ended| integer(ended, "/exitCode") == 0) {
            continue;
        }
        if is_sidecar && is_true(status, "/started") {
            seen.ready += usize::from(is_true(status, "/ready"));
            continue;
        }
        let waiting = text(status, "/state/waiting/reason");
        seen.waiting_for = Some(match ended {
            Some(ended) => format!("Init:{}", end_in_words(ended)),
            None if !waiting.is_empty() && waiting != "PodInitializing" => {
                format!("Init:{waiting}")
            }
            None => format!("Init:{index}/{}", specs.len()),
        });
        break;
    }
    seen
}

/// Adds what the main containers tell; answers how many are ready.
fn main_containers(pod: &Value, words: &mut String, restarts: &mut Restarts) -> usize {
    let mut ready = 0;
    let mut any_running = false;
    for status in list(pod, "/status/containerStatuses").iter().rev() {
        restarts.add(status);
        let waiting = text(status, "/state/waiting/reason");
        let ended = status.pointer("/state/terminated").filter(|state| state.is_object());
        if !waiting.is_empty() {
            waiting.clone_into(words);
        } else if let Some(ended) = ended {
            *words = end_in_words(ended);
        } else if is_true(status, "/ready") && is_set(status, "/state/running") {
            any_running = true;
            ready += 1;
        }
    }
    if words == "Completed" && any_running {
        let is_ready = condition(pod, "Ready").is_some_and(|c| text(c, "/status") == "True");
        *words = if is_ready { "Running" } else { "NotReady" }.to_owned();
    }
    ready
}

fn end_in_words(ended: &Value) -> String {
    match (text(ended, "/reason"), integer(ended, "/signal")) {
        ("", 0) => format!("ExitCode:{}", integer(ended, "/exitCode")),
        ("", signal) => format!("Signal:{signal}"),
        (reason, _) => reason.to_owned(),
    }
}

fn condition<'a>(pod: &'a Value, kind: &str) -> Option<&'a Value> {
    list(pod, "/status/conditions").iter().find(|condition| text(condition, "/type") == kind)
}

fn is_sidecar(container: &Value) -> bool {
    text(container, "/restartPolicy") == "Always"
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn now() -> Timestamp {
        "2026-01-01T00:10:00Z".parse().expect("a time")
    }

    #[track_caller]
    fn check(status: Value, words: &str, ready: &str, restarts: &str) {
        let pod = json!({
            "spec": {"containers": [{"name": "a"}, {"name": "b"}], "initContainers": [{"name": "i"}]},
            "status": status,
        });
        let shown = summary(&pod, now());
        assert_eq!(
            (shown.words.as_str(), format!("{}/{}", shown.ready, shown.containers).as_str()),
            (words, ready)
        );
        assert_eq!(shown.restarts, restarts);
    }

    #[test]
    fn a_pod_without_containers_started_shows_its_phase() {
        check(json!({"phase": "Pending"}), "Pending", "0/2", "0");
    }

    #[test]
    fn a_container_that_waits_gives_its_reason() {
        let waiting = json!({"waiting": {"reason": "ContainerCreating"}});
        check(
            json!({"phase": "Pending", "containerStatuses": [{"name": "a", "state": waiting}]}),
            "ContainerCreating",
            "0/2",
            "0",
        );
    }

    #[test]
    fn an_init_container_under_way_is_counted() {
        check(
            json!({"phase": "Pending", "initContainerStatuses": [{"name": "i", "state": {"running": {}}}]}),
            "Init:0/1",
            "0/2",
            "0",
        );
    }

    #[test]
    fn restarts_tell_when_the_last_one_was() {
        check(
            json!({"phase": "Running", "containerStatuses": [
                {"name": "a", "ready": true, "restartCount": 2, "state": {"running": {}},
                 "lastState": {"terminated": {"finishedAt": "2026-01-01T00:05:00Z"}}},
                {"name": "b", "ready": true, "state": {"running": {}}},
            ]}),
            "Running",
            "2/2",
            "2 (5m ago)",
        );
    }

    #[test]
    fn a_pod_being_deleted_is_terminating() {
        let pod = json!({
            "metadata": {"deletionTimestamp": "2026-01-01T00:00:00Z"},
            "status": {"phase": "Running"},
        });
        assert_eq!(summary(&pod, now()).words, "Terminating");
    }
}
