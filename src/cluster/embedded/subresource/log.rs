//! What containers have printed: `kubectl logs`.
//!
//! The server knows nothing of it; whoever runs the containers does. It is
//! told as far as it goes and then ends: nobody is kept waiting for more, and
//! lines have no times. Upstream: `LogLocation` in
//! `pkg/registry/core/pod/strategy.go`, `validateContainerLogStatus` in
//! `pkg/kubelet/kubelet_pods.go`.

use std::fmt;
use std::sync::Weak;

use serde_json::Value;

use crate::cluster::embedded::Embedded;
use crate::cluster::embedded::query::Query;
use crate::cluster::embedded::refusal::{bad_request, not_found};
use crate::cluster::embedded::reply::Reply;
use crate::cluster::embedded::status::ApiError;
use crate::cluster::embedded::write::Call;
use crate::model::object::Key;

/// Whoever runs containers, for those who ask what they have printed.
pub trait ContainerLogs: Send + Sync + fmt::Debug {
    /// What a container has printed, or did in the run before; `None` if that
    /// is not known.
    fn printed(&self, pod: &Key, container: &str, previous: bool) -> Option<Vec<u8>>;
}

impl Embedded {
    /// Has `kubectl logs` answered by whoever runs the containers, as long as
    /// they are there.
    pub fn tell_logs(&self, logs: Weak<dyn ContainerLogs>) {
        *self.logs_slot() = Some(logs);
    }

    pub(super) fn log(&self, call: &Call) -> Result<Reply, ApiError> {
        let served = call.served();
        let held = self.store().get(served.table, &call.key());
        let held = held.ok_or_else(|| not_found(served.names(), call.name()))?;
        let pod = served.stored_object(&held);
        let wanted = Wanted::read(&call.query)?;
        let container = container_of(&pod, call.name(), wanted.container.as_deref())?;
        if pod["spec"]["nodeName"].as_str().is_none_or(str::is_empty) {
            return Ok(Reply::text(200, ""));
        }
        why_not_printed(&pod, call.name(), &container, wanted.previous)?;
        let logs = self.logs_slot().as_ref().and_then(Weak::upgrade);
        let printed = logs.and_then(|l| l.printed(&call.key(), &container, wanted.previous));
        let printed = printed.unwrap_or_default();
        Ok(Reply::text(200, String::from_utf8_lossy(wanted.cut(&printed))))
    }
}

/// What is asked for.
struct Wanted {
    container: Option<String>,
    previous: bool,
    tail_lines: Option<usize>,
    limit_bytes: Option<usize>,
}

impl Wanted {
    fn read(query: &Query) -> Result<Self, ApiError> {
        let number = |name: &str| match query.get(name).map(str::parse::<usize>) {
            None => Ok(None),
            Some(Ok(number)) => Ok(Some(number)),
            Some(Err(_)) => Err(bad_request(format!("{name} must be a number, 0 or more"))),
        };
        if query.flag("timestamps") {
            return Err(bad_request("containers are simulated here: their lines have no times"));
        }
        Ok(Self {
            container: query.get("container").map(str::to_owned),
            previous: query.flag("previous"),
            tail_lines: number("tailLines")?,
            limit_bytes: number("limitBytes")?,
        })
    }

    /// The last lines of it, and of those so many bytes.
    fn cut<'a>(&self, printed: &'a [u8]) -> &'a [u8] {
        let from = match self.tail_lines {
            None => 0,
            Some(0) => printed.len(),
            Some(lines) => {
                let text = printed.strip_suffix(b"\n").unwrap_or(printed);
                let ends = text.iter().enumerate().rev().filter(|(_, byte)| **byte == b'\n');
                ends.map(|(at, _)| at + 1).nth(lines - 1).unwrap_or_default()
            }
        };
        let rest = &printed[from..];
        &rest[..rest.len().min(self.limit_bytes.unwrap_or(usize::MAX))]
    }
}

fn names<'a>(pod: &'a Value, field: &str) -> Vec<&'a str> {
    let containers = pod["spec"][field].as_array().into_iter().flatten();
    containers.filter_map(|container| container["name"].as_str()).collect()
}

/// The container that is meant.
fn container_of(pod: &Value, name: &str, asked: Option<&str>) -> Result<String, ApiError> {
    let (containers, init) = (names(pod, "containers"), names(pod, "initContainers"));
    let ephemeral = names(pod, "ephemeralContainers");
    match (asked, containers.as_slice()) {
        (Some(asked), _) => {
            let mut all = containers.iter().chain(&init).chain(&ephemeral);
            if all.any(|known| *known == asked) {
                return Ok(asked.to_owned());
            }
            Err(bad_request(format!("container {asked} is not valid for pod {name}")))
        }
        (None, [only]) => Ok((*only).to_owned()),
        (None, _) => {
            let mut text = format!(
                "a container name must be specified for pod {name}, choose one of: [{}]",
                containers.join(" ")
            );
            if !init.is_empty() {
                text.push_str(&format!(" or one of the init containers: [{}]", init.join(" ")));
            }
            Err(bad_request(text))
        }
    }
}

/// Refuses where a container has printed nothing yet.
fn why_not_printed(
    pod: &Value,
    name: &str,
    container: &str,
    previous: bool,
) -> Result<(), ApiError> {
    let lists = ["containerStatuses", "initContainerStatuses", "ephemeralContainerStatuses"];
    let mut statuses =
        lists.iter().flat_map(|list| pod["status"][*list].as_array().into_iter().flatten());
    let Some(status) = statuses.find(|status| status["name"] == container) else {
        let text = format!("container \"{container}\" in pod \"{name}\" is not available");
        return Err(bad_request(text));
    };
    let (state, last) = (&status["state"], &status["lastState"]);
    if previous {
        return match last["terminated"].is_object() {
            true => Ok(()),
            false => Err(bad_request(format!(
                "previous terminated container \"{container}\" in pod \"{name}\" not found"
            ))),
        };
    }
    let ran = state["running"].is_object()
        || state["terminated"].is_object()
        || last["terminated"].is_object();
    if ran {
        return Ok(());
    }
    let why = state["waiting"]["reason"].as_str().unwrap_or("ContainerCreating");
    let text = format!("container \"{container}\" in pod \"{name}\" is waiting to start: {why}");
    Err(bad_request(text))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn cut(query: &str) -> String {
        let wanted = Wanted::read(&Query::parse(query)).expect("a query");
        String::from_utf8_lossy(wanted.cut(b"one\ntwo\nthree\n")).into_owned()
    }

    #[test]
    fn the_last_lines_and_so_many_bytes_of_them_are_told() {
        for (query, expected) in [
            ("", "one\ntwo\nthree\n"),
            ("tailLines=0", ""),
            ("tailLines=1", "three\n"),
            ("tailLines=2", "two\nthree\n"),
            ("tailLines=9", "one\ntwo\nthree\n"),
            ("limitBytes=4", "one\n"),
            ("tailLines=2&limitBytes=2", "tw"),
        ] {
            assert_eq!(cut(query), expected, "{query}");
        }
        assert!(Wanted::read(&Query::parse("tailLines=-1")).is_err());
        assert!(Wanted::read(&Query::parse("timestamps=true")).is_err());
    }

    #[test]
    fn containers_that_have_printed_nothing_are_told_in_kubernetes_words() {
        let pod = json!({
            "spec": {"containers": [{"name": "a"}, {"name": "b"}], "initContainers": [{"name": "i"}]},
            "status": {"containerStatuses": [
                {"name": "a", "state": {"waiting": {"reason": "ContainerCreating"}}},
                {"name": "b", "state": {"running": {}}, "lastState": {"terminated": {}}},
            ]},
        });
        let refused = |asked: Option<&str>, previous: bool| {
            let container = container_of(&pod, "p", asked);
            container.and_then(|container| why_not_printed(&pod, "p", &container, previous))
        };
        for (asked, previous, expected) in [
            (
                None,
                false,
                "a container name must be specified for pod p, choose one of: [a b] or one of \
                 the init containers: [i]",
            ),
            (Some("z"), false, "container z is not valid for pod p"),
            (Some("i"), false, "container \"i\" in pod \"p\" is not available"),
            (
                Some("a"),
                false,
                "container \"a\" in pod \"p\" is waiting to start: ContainerCreating",
            ),
            (Some("a"), true, "previous terminated container \"a\" in pod \"p\" not found"),
        ] {
            let error = refused(asked, previous).expect_err(expected);
            assert_eq!((error.code, &*error.message), (400, expected));
        }
        assert!(refused(Some("b"), false).is_ok() && refused(Some("b"), true).is_ok());
    }
}
