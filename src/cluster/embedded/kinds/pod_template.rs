//! Pod specs wherever they occur: in pods and in the templates of workloads.

use serde_json::{Value, json};

use super::json::{child, fill, is_set, is_true, items_mut, list, text};
use super::{persistent_volume, persistent_volume_claim};
use crate::model::quantity::Quantity;

/// Fills in a template's pod spec.
pub fn default_template(object: &mut Value) {
    if let Some(template) = child(object, "spec").and_then(|spec| child(spec, "template"))
        && let Some(spec) = child(template, "spec")
    {
        default_spec(spec);
    }
}

/// Fills in a pod spec.
pub fn default_spec(spec: &mut Value) {
    fill(spec, "restartPolicy", "Always");
    fill(spec, "dnsPolicy", "ClusterFirst");
    fill(spec, "schedulerName", "default-scheduler");
    fill(spec, "terminationGracePeriodSeconds", 30);
    let on_host_network = is_true(spec, "/hostNetwork");
    fill(spec, "securityContext", json!({}));
    let account = text(spec, "/serviceAccountName").to_owned();
    let old_name = text(spec, "/serviceAccount").to_owned();
    if account.is_empty() && !old_name.is_empty() {
        fill(spec, "serviceAccountName", old_name);
    } else if !account.is_empty() {
        fill(spec, "serviceAccount", account);
    }
    for list in ["/containers", "/initContainers", "/ephemeralContainers"] {
        for container in items_mut(spec, list) {
            default_container(container, on_host_network);
        }
    }
    for volume in items_mut(spec, "/volumes") {
        default_volume(volume);
    }
}

fn default_container(container: &mut Value, on_host_network: bool) {
    fill(container, "terminationMessagePath", "/dev/termination-log");
    fill(container, "terminationMessagePolicy", "File");
    let policy = pull_policy(text(container, "/image"));
    fill(container, "imagePullPolicy", policy);
    for port in items_mut(container, "/ports") {
        fill(port, "protocol", "TCP");
        if on_host_network && let Some(number) = port.get("containerPort").cloned() {
            fill(port, "hostPort", number);
        }
    }
    default_resources(container);
    for probe in ["livenessProbe", "readinessProbe", "startupProbe"] {
        if let Some(probe) = container.get_mut(probe).filter(|probe| probe.is_object()) {
            default_probe(probe);
        }
    }
    for hook in ["postStart", "preStop"] {
        if let Some(action) = container.pointer_mut(&format!("/lifecycle/{hook}/httpGet")) {
            default_http_get(action);
        }
    }
    for variable in items_mut(container, "/env") {
        if let Some(field) = variable.pointer_mut("/valueFrom/fieldRef") {
            fill(field, "apiVersion", "v1");
        }
    }
}

/// Requests not given are the limits.
fn default_resources(container: &mut Value) {
    let limits = container.pointer("/resources/limits").and_then(Value::as_object).cloned();
    let Some(resources) = child(container, "resources") else { return };
    if let Some(limits) = limits.filter(|limits| !limits.is_empty())
        && let Some(requests) = child(resources, "requests")
    {
        for (name, limit) in limits {
            if requests.get(&name).is_none() {
                requests[name.as_str()] = limit;
            }
        }
    }
}

/// `latest`, also unsaid, is pulled each time.
fn pull_policy(image: &str) -> &'static str {
    let last = image.rsplit('/').next().unwrap_or_default();
    match last.split_once(':') {
        _ if image.contains('@') => "IfNotPresent",
        Some((_, "latest")) | None => "Always",
        Some(_) => "IfNotPresent",
    }
}

fn default_probe(probe: &mut Value) {
    for (field, default) in [
        ("timeoutSeconds", 1),
        ("periodSeconds", 10),
        ("successThreshold", 1),
        ("failureThreshold", 3),
    ] {
        if super::json::integer(probe, &format!("/{field}")) == 0 {
            super::json::put(probe, field, Some(default.into()));
        }
    }
    if let Some(action) = probe.get_mut("httpGet") {
        default_http_get(action);
    }
    if let Some(action) = probe.get_mut("grpc") {
        fill(action, "service", "");
    }
}

fn default_http_get(action: &mut Value) {
    fill(action, "path", "/");
    fill(action, "scheme", "HTTP");
}

/// The defaults of a pod's volume; one without a source is an empty directory.
fn default_volume(volume: &mut Value) {
    let Some(fields) = volume.as_object() else { return };
    let has_source = fields.iter().any(|(key, value)| key != "name" && !value.is_null());
    if !has_source {
        volume["emptyDir"] = json!({});
    }
    persistent_volume::default_source(volume);
    for source in ["secret", "configMap", "downwardAPI", "projected"] {
        if let Some(source) = volume.get_mut(source).filter(|source| source.is_object()) {
            fill(source, "defaultMode", 0o644);
        }
    }
    let mut field_lists = vec!["/downwardAPI/items".to_owned()];
    for (index, source) in items_mut(volume, "/projected/sources").enumerate() {
        if let Some(token) = source.get_mut("serviceAccountToken") {
            fill(token, "expirationSeconds", 3600);
        }
        field_lists.push(format!("/projected/sources/{index}/downwardAPI/items"));
    }
    for pointer in field_lists {
        for item in items_mut(volume, &pointer) {
            if let Some(field) = item.get_mut("fieldRef") {
                fill(field, "apiVersion", "v1");
            }
        }
    }
    if is_set(volume, "/ephemeral/volumeClaimTemplate")
        && let Some(spec) = volume
            .pointer_mut("/ephemeral/volumeClaimTemplate")
            .and_then(|template| child(template, "spec"))
    {
        persistent_volume_claim::default_spec(spec);
    }
}

/// The pod's class of service, from what its containers ask for: nothing, all
/// of it guaranteed, or something between.
pub fn quality_of_service(pod: &Value) -> &'static str {
    let containers: Vec<_> = ["/spec/containers", "/spec/initContainers"]
        .into_iter()
        .flat_map(|pointer| list(pod, pointer))
        .collect();
    let amount = |container: &Value, side: &str, resource: &str| {
        Quantity::parse(text(container, &format!("/resources/{side}/{resource}")))
            .ok()
            .filter(|amount| !amount.is_zero())
    };
    let mut any = false;
    let mut guaranteed = !containers.is_empty();
    for container in containers {
        for resource in ["cpu", "memory"] {
            let (request, limit) =
                (amount(container, "requests", resource), amount(container, "limits", resource));
            any |= request.is_some() || limit.is_some();
            guaranteed &= limit.is_some() && request == limit;
        }
    }
    match (any, guaranteed) {
        (false, _) => "BestEffort",
        (true, true) => "Guaranteed",
        (true, false) => "Burstable",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_is_pulled_always_unless_a_version_is_named() {
        for (image, policy) in [
            ("nginx", "Always"),
            ("nginx:latest", "Always"),
            ("registry:2", "IfNotPresent"),
            ("host:5000/app", "Always"),
            ("host:5000/app:1", "IfNotPresent"),
            ("app@sha256:00", "IfNotPresent"),
        ] {
            assert_eq!(pull_policy(image), policy, "{image}");
        }
    }

    #[test]
    fn a_volume_without_source_is_an_empty_directory() {
        let mut volume = json!({"name": "scratch"});
        default_volume(&mut volume);
        assert_eq!(volume, json!({"name": "scratch", "emptyDir": {}}));
    }
}
