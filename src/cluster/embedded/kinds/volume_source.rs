//! The rules of volume sources. Exactly one source is allowed; only the first
//! one found is looked into.

use serde_json::Value;

use super::json::{entries, is_set, is_true, list, text};
use crate::cluster::embedded::status::FieldErrors;
use crate::cluster::embedded::validation::{names, too_long};

type Rules = fn(source: &Value, path: &str, errors: &mut FieldErrors);

/// The sources in the order in which they are looked for, with the name that
/// errors inside them have, and their rules.
const SOURCES: [(&str, &str, Rules); 22] = [
    ("hostPath", "hostPath", host_path),
    ("gcePersistentDisk", "persistentDisk", |s, p, e| required(s, p, &["pdName"], e)),
    ("awsElasticBlockStore", "awsElasticBlockStore", |s, p, e| required(s, p, &["volumeID"], e)),
    ("glusterfs", "glusterfs", |s, p, e| required(s, p, &["endpoints", "path"], e)),
    ("flocker", "flocker", flocker),
    ("nfs", "nfs", nfs),
    ("rbd", "rbd", |s, p, e| required(s, p, &["monitors", "image"], e)),
    ("quobyte", "quobyte", |s, p, e| required(s, p, &["registry", "volume"], e)),
    ("cephfs", "cephfs", |s, p, e| required(s, p, &["monitors"], e)),
    ("iscsi", "iscsi", iscsi),
    ("cinder", "cinder", |s, p, e| required(s, p, &["volumeID"], e)),
    ("fc", "fc", fibre_channel),
    ("flexVolume", "flexVolume", flex_volume),
    ("azureFile", "azureFile", |s, p, e| required(s, p, &["secretName", "shareName"], e)),
    ("vsphereVolume", "vsphereVolume", |s, p, e| required(s, p, &["volumePath"], e)),
    ("photonPersistentDisk", "photonPersistentDisk", |s, p, e| required(s, p, &["pdID"], e)),
    ("portworxVolume", "portworxVolume", |s, p, e| required(s, p, &["volumeID"], e)),
    ("azureDisk", "azureDisk", |s, p, e| required(s, p, &["diskName", "diskURI"], e)),
    ("scaleIO", "scaleIO", |s, p, e| required(s, p, &["gateway", "system", "volumeName"], e)),
    ("local", "local", local),
    ("storageos", "storageos", |s, p, e| required(s, p, &["volumeName"], e)),
    ("csi", "csi", csi),
];

/// The rules of the sources in a volume's spec at `path`.
pub fn validate(spec: &Value, path: &str, errors: &mut FieldErrors) {
    let mut found = false;
    for (name, inner_name, rules) in SOURCES {
        let Some(source) = spec.get(name).filter(|source| !source.is_null()) else { continue };
        if found {
            // A real server forgets to count this one.
            if name != "flexVolume" {
                let shown = if name == "cephfs" { "cephFS" } else { name };
                let detail = "may not specify more than 1 volume type";
                errors.forbidden(format!("{path}.{shown}"), detail);
            }
            continue;
        }
        found = true;
        rules(source, &format!("{path}.{inner_name}"), errors);
        if name == "local" && !is_set(spec, "/nodeAffinity/required") {
            errors.required(format!("{path}.nodeAffinity"), "Local volume requires node affinity");
        }
    }
    if !found {
        errors.required(path, "must specify a volume type");
    }
}

/// The rules of one source that stands at `path`.
pub fn validate_one(name: &str, source: &Value, path: &str, errors: &mut FieldErrors) {
    if let Some((.., rules)) = SOURCES.iter().find(|(source, ..)| *source == name) {
        rules(source, path, errors);
    }
}

fn is_empty(source: &Value, field: &str) -> bool {
    let pointer = format!("/{field}");
    text(source, &pointer).is_empty() && list(source, &pointer).is_empty()
}

fn required(source: &Value, path: &str, fields: &[&str], errors: &mut FieldErrors) {
    for field in fields {
        if is_empty(source, field) {
            errors.required(format!("{path}.{field}"), "");
        }
    }
}

fn no_steps_back(path: &str, at: String, errors: &mut FieldErrors) {
    if path.split('/').any(|step| step == "..") {
        errors.invalid(at, path, "must not contain '..'");
    }
}

fn host_path(source: &Value, path: &str, errors: &mut FieldErrors) {
    const KINDS: &[&str] = &[
        "",
        "BlockDevice",
        "CharDevice",
        "Directory",
        "DirectoryOrCreate",
        "File",
        "FileOrCreate",
        "Socket",
    ];
    let own_path = text(source, "/path");
    if own_path.is_empty() {
        errors.required(format!("{path}.path"), "");
        return;
    }
    no_steps_back(own_path, format!("{path}.path"), errors);
    let kind = text(source, "/type");
    if !KINDS.contains(&kind) {
        errors.not_supported(format!("{path}.type"), kind, KINDS);
    }
}

fn local(source: &Value, path: &str, errors: &mut FieldErrors) {
    let own_path = text(source, "/path");
    if own_path.is_empty() {
        errors.required(format!("{path}.path"), "");
        return;
    }
    no_steps_back(own_path, format!("{path}.path"), errors);
}

fn nfs(source: &Value, path: &str, errors: &mut FieldErrors) {
    required(source, path, &["server", "path"], errors);
    let own_path = text(source, "/path");
    if !own_path.starts_with('/') {
        errors.invalid(format!("{path}.path"), own_path, "must be an absolute path");
    }
}

fn flocker(source: &Value, path: &str, errors: &mut FieldErrors) {
    match (is_empty(source, "datasetName"), is_empty(source, "datasetUUID")) {
        (true, true) => {
            errors.required(path, "one of datasetName and datasetUUID is required");
        }
        (false, false) => {
            let detail = "datasetName and datasetUUID can not be specified simultaneously";
            errors.invalid(path, "resource", detail);
        }
        _ => {}
    }
}

fn flex_volume(source: &Value, path: &str, errors: &mut FieldErrors) {
    required(source, path, &["driver"], errors);
    for (option, _) in entries(source, "/options") {
        let namespace = option.split('/').next().unwrap_or_default().to_lowercase();
        let namespace = format!(".{namespace}");
        if namespace.ends_with(".kubernetes.io") || namespace.ends_with(".k8s.io") {
            errors.invalid(
                format!("{path}.options[{option}]"),
                option.as_str(),
                "kubernetes.io and k8s.io namespaces are reserved",
            );
        }
    }
}

fn unit_number(source: &Value, path: &str, errors: &mut FieldErrors) {
    if let Some(number) = source.get("lun").and_then(Value::as_i64)
        && !(0..=255).contains(&number)
    {
        errors.invalid(format!("{path}.lun"), number, "must be between 0 and 255, inclusive");
    }
}

fn iscsi(source: &Value, path: &str, errors: &mut FieldErrors) {
    required(source, path, &["targetPortal"], errors);
    let name = text(source, "/iqn");
    if name.is_empty() {
        errors.required(format!("{path}.iqn"), "");
    } else if !["iqn.", "eui.", "naa."].iter().any(|form| name.starts_with(form)) {
        errors.invalid(format!("{path}.iqn"), name, "must be valid format");
    }
    unit_number(source, path, errors);
    let authenticated =
        is_true(source, "/chapAuthDiscovery") || is_true(source, "/chapAuthSession");
    if authenticated && !is_set(source, "/secretRef") {
        errors.required(format!("{path}.secretRef"), "");
    }
}

fn fibre_channel(source: &Value, path: &str, errors: &mut FieldErrors) {
    let targets = list(source, "/targetWWNs");
    let at = format!("{path}.targetWWNs");
    match (targets.is_empty(), list(source, "/wwids").is_empty()) {
        (true, true) => {
            errors.required(at, "must specify either targetWWNs or wwids, but not both");
        }
        (false, false) => {
            let detail = "targetWWNs and wwids can not be specified simultaneously";
            errors.invalid(at, targets.to_vec(), detail);
        }
        _ => {}
    }
    if !targets.is_empty() {
        if is_set(source, "/lun") {
            unit_number(source, path, errors);
        } else {
            let detail = "lun is required if targetWWNs is specified";
            errors.required(format!("{path}.lun"), detail);
        }
    }
}

fn csi(source: &Value, path: &str, errors: &mut FieldErrors) {
    driver_name(text(source, "/driver"), &format!("{path}.driver"), errors);
    required(source, path, &["volumeHandle"], errors);
    for field in [
        "controllerPublishSecretRef",
        "controllerExpandSecretRef",
        "nodePublishSecretRef",
        "nodeExpandSecretRef",
    ] {
        let Some(secret) = source.get(field).filter(|secret| !secret.is_null()) else { continue };
        for (part, rule) in
            [("name", names::subdomain as names::NameRule), ("namespace", names::label)]
        {
            let value = text(secret, &format!("/{part}"));
            let at = format!("{path}.{field}.{part}");
            if value.is_empty() {
                errors.required(at, "");
                continue;
            }
            for wrong in rule(value) {
                errors.invalid(at.as_str(), value, wrong);
            }
        }
    }
}

/// The name of a CSI driver, in whatever case.
pub fn driver_name(name: &str, path: &str, errors: &mut FieldErrors) {
    if name.is_empty() {
        errors.required(path, "");
    }
    if name.len() > 63 {
        too_long(path, 63, errors);
    }
    for wrong in names::subdomain(&name.to_lowercase()) {
        errors.invalid(path, name, wrong);
    }
}
