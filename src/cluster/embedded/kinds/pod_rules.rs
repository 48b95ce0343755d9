//! The rules of pod specs: names, references between volumes and containers,
//! sizes and the words that are allowed.

use serde_json::{Value, json};

use super::claim_spec;
use super::json::{entries, integer, is_set, list, text};
use super::volume_source;
use crate::cluster::embedded::status::FieldErrors;
use crate::cluster::embedded::validation::{duplicate, metadata, names, not_found};
use crate::model::quantity::Quantity;

/// The rules of a pod spec at `path`.
pub fn validate(spec: &Value, path: &str, errors: &mut FieldErrors) {
    volumes(spec, &format!("{path}.volumes"), errors);
    let at = format!("{path}.containers");
    if list(spec, "/containers").is_empty() {
        errors.required(at.as_str(), "");
    }
    containers(spec, "/containers", &at, errors);
    containers(spec, "/initContainers", &format!("{path}.initContainers"), errors);
    one_of(spec, path, "restartPolicy", &["Always", "Never", "OnFailure"], errors);
    let policies = &["ClusterFirst", "ClusterFirstWithHostNet", "Default", "None"];
    one_of(spec, path, "dnsPolicy", policies, errors);
    metadata::labels(spec, "/nodeSelector", &format!("{path}.nodeSelector"), errors);
    let grace = integer(spec, "/terminationGracePeriodSeconds");
    if grace < 0 {
        let detail = "must be greater than or equal to 0";
        errors.invalid(format!("{path}.terminationGracePeriodSeconds"), grace, detail);
    }
    for field in ["serviceAccountName", "nodeName"] {
        let name = text(spec, &format!("/{field}"));
        if !name.is_empty() {
            for wrong in names::subdomain(name) {
                errors.invalid(format!("{path}.{field}"), name, wrong);
            }
        }
    }
    tolerations(spec, &format!("{path}.tolerations"), errors);
    scheduling_gates(spec, path, errors);
}

/// Gates hold a pod back from the scheduler, so it cannot be on a node as well.
fn scheduling_gates(spec: &Value, path: &str, errors: &mut FieldErrors) {
    let gates = list(spec, "/schedulingGates");
    let mut seen = Vec::new();
    for (index, gate) in gates.iter().enumerate() {
        let (name, path) = (text(gate, "/name"), format!("{path}.schedulingGates[{index}]"));
        for wrong in names::qualified(name) {
            errors.invalid(path.as_str(), name, wrong);
        }
        if seen.contains(&name) {
            duplicate(path, name, errors);
        }
        seen.push(name);
    }
    if !gates.is_empty() && !text(spec, "/nodeName").is_empty() {
        let detail = "cannot be set until all schedulingGates have been cleared";
        errors.forbidden(format!("{path}.nodeName"), detail);
    }
}

/// A field that holds one of a few words.
fn one_of(spec: &Value, path: &str, field: &str, words: &[&str], errors: &mut FieldErrors) {
    let word = text(spec, &format!("/{field}"));
    if word.is_empty() {
        errors.required(format!("{path}.{field}"), "");
    } else if !words.contains(&word) {
        errors.not_supported(format!("{path}.{field}"), word, words);
    }
}

fn tolerations(spec: &Value, path: &str, errors: &mut FieldErrors) {
    for (index, toleration) in list(spec, "/tolerations").iter().enumerate() {
        let path = format!("{path}[{index}]");
        let (key, operator) = (text(toleration, "/key"), text(toleration, "/operator"));
        if !key.is_empty() {
            for wrong in names::qualified(key) {
                errors.invalid(format!("{path}.key"), key, wrong);
            }
        } else if operator != "Exists" {
            let detail = "operator must be Exists when `key` is empty, which means \"match all \
                          values and all keys\"";
            errors.invalid(format!("{path}.operator"), operator, detail);
        }
        let effect = text(toleration, "/effect");
        if is_set(toleration, "/tolerationSeconds") && effect != "NoExecute" {
            let detail = "effect must be 'NoExecute' when `tolerationSeconds` is set";
            errors.invalid(format!("{path}.effect"), effect, detail);
        }
        if !matches!(operator, "" | "Equal" | "Exists") {
            errors.not_supported(format!("{path}.operator"), operator, &["Equal", "Exists"]);
        }
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
            let nothing = json!({});
            let spec = template.get("spec").unwrap_or(&nothing);
            claim_spec::validate(spec, &format!("{path}.spec"), None, errors);
        }
    }
}

fn containers(spec: &Value, pointer: &str, path: &str, errors: &mut FieldErrors) {
    let volumes: Vec<&Value> = list(spec, "/volumes").iter().collect();
    let mut seen = Vec::new();
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
        ports(container, &path, errors);
        environment(container, &path, errors);
        mounts(container, &volumes, &path, errors);
        devices(container, &volumes, &path, errors);
        let policies = &["Always", "IfNotPresent", "Never"];
        one_of(container, &path, "imagePullPolicy", policies, errors);
        resources(container, &format!("{path}.resources"), errors);
    }
}

fn ports(container: &Value, path: &str, errors: &mut FieldErrors) {
    for (index, port) in list(container, "/ports").iter().enumerate() {
        let path = format!("{path}.ports[{index}]");
        let number = integer(port, "/containerPort");
        if number == 0 {
            errors.required(format!("{path}.containerPort"), "");
        } else if !(1..=65535).contains(&number) {
            let detail = "must be between 1 and 65535, inclusive";
            errors.invalid(format!("{path}.containerPort"), number, detail);
        }
        one_of(port, &path, "protocol", &["SCTP", "TCP", "UDP"], errors);
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
