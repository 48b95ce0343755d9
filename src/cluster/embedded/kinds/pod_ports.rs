//! The rules of a pod's ports.

use serde_json::Value;

use super::json::{integer, is_true, list, text};
use super::pod_rules::one_of;
use crate::cluster::embedded::status::FieldErrors;
use crate::cluster::embedded::validation::duplicate;

const RANGE: &str = "must be between 1 and 65535, inclusive";

/// The ports of one container, whose path is given.
pub fn of_container(container: &Value, path: &str, errors: &mut FieldErrors) {
    for (index, port) in list(container, "/ports").iter().enumerate() {
        let path = format!("{path}.ports[{index}]");
        let number = integer(port, "/containerPort");
        if number == 0 {
            errors.required(format!("{path}.containerPort"), "");
        } else if !(1..=65535).contains(&number) {
            errors.invalid(format!("{path}.containerPort"), number, RANGE);
        }
        let on_host = integer(port, "/hostPort");
        if on_host != 0 && !(1..=65535).contains(&on_host) {
            errors.invalid(format!("{path}.hostPort"), on_host, RANGE);
        }
        one_of(port, &path, "protocol", &["SCTP", "TCP", "UDP"], errors);
    }
}

/// Ports of the node, of which a pod can have each once.
pub fn of_host(spec: &Value, path: &str, errors: &mut FieldErrors) {
    let mut seen = Vec::new();
    let containers = list(spec, "/containers").iter().enumerate();
    let ports = containers.flat_map(|(at, container)| {
        let ports = list(container, "/ports").iter().enumerate();
        ports.map(move |(index, port)| (format!("{path}.containers[{at}].ports[{index}]"), port))
    });
    for (path, port) in ports {
        let on_host = integer(port, "/hostPort");
        if on_host == 0 {
            continue;
        }
        let path = format!("{path}.hostPort");
        if is_true(spec, "/hostNetwork") && on_host != integer(port, "/containerPort") {
            let detail = "must match `containerPort` when `hostNetwork` is true";
            errors.invalid(path.as_str(), on_host, detail);
        }
        let taken = format!("{}/{}/{on_host}", text(port, "/protocol"), text(port, "/hostIP"));
        if seen.contains(&taken) {
            duplicate(path, taken.as_str(), errors);
        }
        seen.push(taken);
    }
}
