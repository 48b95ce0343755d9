//! The rules of pod specs: names, references between volumes and containers,
//! sizes and the words that are allowed.

use serde_json::{Value, json};

use super::json::{entries, is_set, list, text};
use super::{claim_spec, pod_ports, pod_scheduling_rules, volume_source};
use crate::cluster::embedded::status::FieldErrors;
use crate::cluster::embedded::validation::names::NameRule;
use crate::cluster::embedded::validation::{duplicate, metadata, names, not_found};
use crate::model::quantity::Quantity;

/// Fields that are names, each with its rule.
const NAMES: &[(&str, NameRule)] = &[
    ("serviceAccountName", names::subdomain),
    ("nodeName", names::subdomain),
    ("hostname", names::label),
    ("subdomain", names::label),
    ("priorityClassName", names::subdomain),
];

/// The rules of a pod spec at `path`.
pub fn validate(spec: &Value, path: &str, errors: &mut FieldErrors) {
    volumes(spec, &format!("{path}.volumes"), errors);
    let at = format!("{path}.containers");
    if list(spec, "/containers").is_empty() {
        errors.required(at.as_str(), "");
    }
    let mut seen = Vec::new();
    containers(spec, "/containers", &at, &mut seen, errors);
    containers(spec, "/initContainers", &format!("{path}.initContainers"), &mut seen, errors);
    pod_ports::of_host(spec, path, errors);
    let (policy, policies) = (text(spec, "/restartPolicy"), &["Always", "OnFailure", "Never"]);
    if policy.is_empty() {
        errors.required(format!("{path}.restartPolicy"), "");
    } else if !policies.contains(&policy) {
        errors.not_among(format!("{path}.restartPolicy"), policy, policies);
    }
    let policies = &["ClusterFirst", "ClusterFirstWithHostNet", "Default", "None"];
    one_of(spec, path, "dnsPolicy", policies, errors);
    pod_scheduling_rules::validate(spec, path, errors);
    if let Some(deadline) = spec.get("activeDeadlineSeconds").and_then(Value::as_i64)
        && !(1..=i64::from(i32::MAX)).contains(&deadline)
    {
        let detail = "must be between 1 and 2147483647, inclusive";
        errors.invalid(format!("{path}.activeDeadlineSeconds"), deadline, detail);
    }
    for (field, rule) in NAMES {
        let name = text(spec, &format!("/{field}"));
        for wrong in rule(name).into_iter().filter(|_| !name.is_empty()) {
            errors.invalid(format!("{path}.{field}"), name, wrong);
        }
    }
}

/// A field that holds one of a few words.
pub fn one_of(spec: &Value, path: &str, field: &str, words: &[&str], errors: &mut FieldErrors) {
    let word = text(spec, &format!("/{field}"));
    if word.is_empty() {
        errors.required(format!("{path}.{field}"), "");
    } else if !words.contains(&word) {
        errors.not_supported(format!("{path}.{field}"), word, words);
    }
}

fn volumes(spec: &Value, path: &str, errors: &mut FieldErrors) {
    let mut seen = Vec::new();
    for (index, volume) in list(spec, "/volumes").iter().enumerate() {
        let path = format!("{path}[{index}]");
        volume_sources(volume, &path, errors);
        let name = text(volume, "/name");
        let at = format!("{path}.name");
        if name.is_empty() {
            errors.required(at.as_str(), "");
        } else {
            for wrong in names::label(name) {
                errors.invalid(at.as_str(), name, wrong);
            }
        }
        if seen.contains(&name) {
            duplicate(at, name, errors);
        }
        seen.push(name);
    }
}

fn volume_sources(volume: &Value, path: &str, errors: &mut FieldErrors) {
    let fields = volume.as_object().into_iter().flatten();
    let sources = fields.filter(|(name, value)| *name != "name" && !value.is_null());
    for (index, (name, source)) in sources.enumerate() {
        let path = format!("{path}.{name}");
        if index > 0 {
            errors.forbidden(path, "may not specify more than 1 volume type");
            continue;
        }
        match name.as_str() {
            "persistentVolumeClaim" if text(source, "/claimName").is_empty() => {
                errors.required(format!("{path}.claimName"), "");
            }
            "secret" if text(source, "/secretName").is_empty() => {
                errors.required(format!("{path}.secretName"), "");
            }
            "configMap" if text(source, "/name").is_empty() => {
                errors.required(format!("{path}.name"), "");
            }
            "ephemeral" => ephemeral(source, &path, errors),
            // A CSI volume of a pod has no handle; the driver makes it.
            "csi" => {
                let driver = text(source, "/driver");
                volume_source::driver_name(driver, &format!("{path}.driver"), errors);
            }
            _ => volume_source::validate_one(name, source, &path, errors),
        }
    }
}

fn ephemeral(source: &Value, path: &str, errors: &mut FieldErrors) {
    let path = format!("{path}.volumeClaimTemplate");
    match source.get("volumeClaimTemplate").filter(|template| !template.is_null()) {
        None => errors.required(path, ""),
        Some(template) => {
            template_metadata(template, &format!("{path}.metadata"), errors);
            let nothing = json!({});
            let spec = template.get("spec").unwrap_or(&nothing);
            claim_spec::validate(spec, &format!("{path}.spec"), None, errors);
        }
    }
}

/// A claim made for a pod gets labels and annotations, and nothing else.
fn template_metadata(template: &Value, path: &str, errors: &mut FieldErrors) {
    let (labels, annotations) = ("/metadata/labels", "/metadata/annotations");
    metadata::annotations(template, annotations, &format!("{path}.annotations"), errors);
    metadata::labels(template, labels, &format!("{path}.labels"), errors);
    for field in ["name", "generateName", "namespace", "ownerReferences", "finalizers"] {
        if is_set(template, &format!("/metadata/{field}")) {
            errors.forbidden(format!("{path}.{field}"), "cannot be set");
        }
    }
}

/// The containers of one list; `seen` are the names of all lists before.
fn containers<'a>(
    spec: &'a Value,
    pointer: &str,
    path: &str,
    seen: &mut Vec<&'a str>,
    errors: &mut FieldErrors,
) {
    let volumes: Vec<&Value> = list(spec, "/volumes").iter().collect();
    for (index, container) in list(spec, pointer).iter().enumerate() {
        let path = format!("{path}[{index}]");
        let name = text(container, "/name");
        let at = format!("{path}.name");
        if name.is_empty() {
            errors.required(at.as_str(), "");
        } else {
            for wrong in names::label(name) {
                errors.invalid(at.as_str(), name, wrong);
            }
        }
        if seen.contains(&name) {
            duplicate(at, name, errors);
        }
        seen.push(name);
        let image = text(container, "/image");
        if image.is_empty() {
            errors.required(format!("{path}.image"), "");
        } else if image.trim() != image {
            let detail = "must not have leading or trailing whitespace";
            errors.invalid(format!("{path}.image"), image, detail);
        }
        pod_ports::of_container(container, &path, errors);
        environment(container, &path, errors);
        mounts(container, &volumes, &path, errors);
        devices(container, &volumes, &path, errors);
        let policies = &["Always", "IfNotPresent", "Never"];
        one_of(container, &path, "imagePullPolicy", policies, errors);
        resources(container, &format!("{path}.resources"), errors);
    }
}

fn environment(container: &Value, path: &str, errors: &mut FieldErrors) {
    for (index, variable) in list(container, "/env").iter().enumerate() {
        let path = format!("{path}.env[{index}]");
        if text(variable, "/name").is_empty() {
            errors.required(format!("{path}.name"), "");
        }
        if is_set(variable, "/valueFrom") && !text(variable, "/value").is_empty() {
            let detail = "may not be specified when `value` is not empty";
            errors.invalid(format!("{path}.valueFrom"), "", detail);
        }
    }
}

fn mounts(container: &Value, volumes: &[&Value], path: &str, errors: &mut FieldErrors) {
    let mut seen = Vec::new();
    for (index, mount) in list(container, "/volumeMounts").iter().enumerate() {
        let path = format!("{path}.volumeMounts[{index}]");
        refers_to_volume(mount, volumes, &path, errors);
        let target = text(mount, "/mountPath");
        let at = format!("{path}.mountPath");
        if target.is_empty() {
            errors.required(at.as_str(), "");
        }
        if seen.contains(&target) {
            errors.invalid(at, target, "must be unique");
        }
        seen.push(target);
        let sub_path = text(mount, "/subPath");
        if sub_path.starts_with('/') {
            errors.invalid(format!("{path}.subPath"), sub_path, "must be a relative path");
        } else if sub_path.split('/').any(|step| step == "..") {
            errors.invalid(format!("{path}.subPath"), sub_path, "must not contain '..'");
        }
    }
}

fn devices(container: &Value, volumes: &[&Value], path: &str, errors: &mut FieldErrors) {
    let mut seen = Vec::new();
    for (index, device) in list(container, "/volumeDevices").iter().enumerate() {
        let path = format!("{path}.volumeDevices[{index}]");
        refers_to_volume(device, volumes, &path, errors);
        let name = text(device, "/name");
        let by_name = |volume: &&&Value| text(volume, "/name") == name;
        let takes_devices = volumes.iter().find(by_name).is_none_or(|volume| {
            is_set(volume, "/persistentVolumeClaim") || is_set(volume, "/ephemeral")
        });
        if !takes_devices {
            let detail = "can only use volume source type of PersistentVolumeClaim or Ephemeral \
                          for block mode";
            errors.invalid(format!("{path}.name"), name, detail);
        }
        let target = text(device, "/devicePath");
        let at = format!("{path}.devicePath");
        if target.is_empty() {
            errors.required(at.as_str(), "");
        }
        if seen.contains(&target) {
            errors.invalid(at, target, "must be unique");
        }
        seen.push(target);
    }
}

fn refers_to_volume(item: &Value, volumes: &[&Value], path: &str, errors: &mut FieldErrors) {
    let name = text(item, "/name");
    let at = format!("{path}.name");
    if name.is_empty() {
        errors.required(at.as_str(), "");
    }
    if !volumes.iter().any(|volume| text(volume, "/name") == name) {
        not_found(at, name, errors);
    }
}

fn resources(container: &Value, path: &str, errors: &mut FieldErrors) {
    let amount = |value: &Value| Quantity::parse(value.as_str().unwrap_or_default()).ok();
    for side in ["limits", "requests"] {
        for (name, value) in entries(container, &format!("/resources/{side}")) {
            let details = [
                "must be a standard resource type or fully qualified",
                "must be a standard resource for containers",
            ];
            for detail in details.into_iter().filter(|_| !is_resource(name)) {
                errors.invalid(format!("{path}.{side}[{name}]"), name.as_str(), detail);
            }
            if amount(value).is_some_and(Quantity::is_negative) {
                let detail = "must be greater than or equal to 0";
                errors.invalid(format!("{path}.{side}[{name}]"), value.clone(), detail);
            }
        }
    }
    for (name, request) in entries(container, "/resources/requests") {
        let limit = container.pointer("/resources/limits").and_then(|limits| limits.get(name));
        if let (Some(limit), Some(asked)) = (limit.and_then(amount), amount(request))
            && asked > limit
        {
            let detail = format!("must be less than or equal to {name} limit of {limit}");
            errors.invalid(format!("{path}.requests"), request.clone(), detail);
        }
    }
}

/// Whether containers may ask for it: only what has a domain is unknown here.
fn is_resource(name: &str) -> bool {
    matches!(name, "cpu" | "memory" | "ephemeral-storage")
        || name.starts_with("hugepages-")
        || name.contains('/')
}
