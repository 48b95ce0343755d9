//! ConfigMaps, Secrets and ServiceAccounts: data that pods refer to.

use jiff::Timestamp;
use serde_json::Value;

use super::json::{entries, fill, is_set, is_true, text};
use super::table::{AGE, NAME, age, column, name};
use crate::cluster::embedded::kind::{Column, SelectableField, ServedKind, Subresource, Traits};
use crate::cluster::embedded::status::FieldErrors;
use crate::cluster::embedded::validation::{immutable, metadata, names, too_long};
use crate::model::kind;

/// ConfigMaps as they are served.
pub static CONFIG_MAP: ServedKind = BASE;

const BASE: ServedKind = ServedKind {
    names: kind::CONFIG_MAP,
    columns: CONFIG_MAP_COLUMNS,
    cells: |object, now| {
        let count = entries(object, "/data").count() + entries(object, "/binaryData").count();
        vec![name(object), count.into(), age(object, now)]
    },
    validate: validate_config_map,
    validate_update: validate_config_map_update,
    ..super::BASE
};

/// Secrets as they are served.
pub static SECRET: ServedKind = ServedKind {
    names: kind::SECRET,
    columns: SECRET_COLUMNS,
    cells: |object, now| {
        let count = entries(object, "/data").count();
        vec![name(object), text(object, "/type").into(), count.into(), age(object, now)]
    },
    fields: &[SelectableField { label: "type", value: |object| text(object, "/type").to_owned() }],
    default: |object| fill(object, "type", "Opaque"),
    prepare: prepare_secret,
    validate: validate_secret,
    validate_update: validate_secret_update,
    ..BASE
};

/// ServiceAccounts as they are served.
pub static SERVICE_ACCOUNT: ServedKind = ServedKind {
    names: kind::SERVICE_ACCOUNT,
    subresources: &[Subresource {
        name: "token",
        verbs: &["create"],
        body: Some(("authentication.k8s.io", "v1", "TokenRequest")),
    }],
    traits: Traits { delete_returns_object: true, ..super::PLAIN },
    columns: &[NAME, AGE],
    cells: |object, now| vec![name(object), age(object, now)],
    validate: validate_service_account,
    validate_update: validate_service_account_update,
    ..BASE
};

const CONFIG_MAP_COLUMNS: &[Column] = &[NAME, column("Data", "How many entries it holds."), AGE];

const SECRET_COLUMNS: &[Column] = &[
    NAME,
    column("Type", "What the entries are for."),
    column("Data", "How many entries it holds."),
    AGE,
];

/// Bytes of all entries together.
const DATA_MAX: usize = 1 << 20;

fn validate_config_map(object: &Value, errors: &mut FieldErrors) {
    metadata::validate(object, kind::CONFIG_MAP, names::subdomain, errors);
    let in_both: Vec<_> = entries(object, "/data")
        .filter(|(key, _)| is_set(object, "/binaryData") && object["binaryData"].get(key).is_some())
        .map(|(key, _)| key)
        .collect();
    for key in in_both {
        let detail = "duplicate of key present in data";
        errors.invalid(format!("data[{key}]"), key.as_str(), detail);
    }
    data(object, &["data", "binaryData"], errors);
}

fn data(object: &Value, fields: &[&str], errors: &mut FieldErrors) {
    let mut size = 0;
    for field in fields {
        for (key, value) in entries(object, &format!("/{field}")) {
            for wrong in names::config_key(key) {
                errors.invalid(format!("{field}[{key}]"), key.as_str(), wrong);
            }
            size += value.as_str().map_or(0, str::len);
        }
    }
    if size > DATA_MAX {
        too_long(fields.first().copied().unwrap_or_default(), DATA_MAX, errors);
    }
}

/// What is marked immutable stays as it is, the mark included.
fn stays(object: &Value, old: &Value, fields: &[&str], errors: &mut FieldErrors) {
    const WHY: &str = "field is immutable when `immutable` is set";
    if !is_true(old, "/immutable") {
        return;
    }
    if !is_true(object, "/immutable") {
        errors.forbidden("immutable", WHY);
    }
    for field in fields {
        if object.get(*field) != old.get(*field) {
            errors.forbidden(*field, WHY);
        }
    }
}

fn validate_config_map_update(
    object: &Value,
    old: &Value,
    _: Option<&str>,
    errors: &mut FieldErrors,
) {
    metadata::validate_update(object, old, errors);
    stays(object, old, &["data", "binaryData"], errors);
    validate_config_map(object, errors);
}

fn validate_secret(object: &Value, errors: &mut FieldErrors) {
    metadata::validate(object, kind::SECRET, names::subdomain, errors);
    data(object, &["data"], errors);
    let needed: &[&str] = match text(object, "/type") {
        "kubernetes.io/tls" => &["tls.crt", "tls.key"],
        "kubernetes.io/dockerconfigjson" => &[".dockerconfigjson"],
        "kubernetes.io/ssh-auth" => &["ssh-privatekey"],
        _ => &[],
    };
    for key in needed {
        if object.get("data").and_then(|data| data.get(*key)).is_none() {
            errors.required(format!("data[{key}]"), "");
        }
    }
}

fn validate_secret_update(object: &Value, old: &Value, _: Option<&str>, errors: &mut FieldErrors) {
    metadata::validate_update(object, old, errors);
    immutable("type", object.get("type"), old.get("type"), errors);
    stays(object, old, &["data"], errors);
    validate_secret(object, errors);
}

fn validate_service_account(object: &Value, errors: &mut FieldErrors) {
    metadata::validate(object, kind::SERVICE_ACCOUNT, names::subdomain, errors);
}

fn validate_service_account_update(
    object: &Value,
    old: &Value,
    _: Option<&str>,
    errors: &mut FieldErrors,
) {
    metadata::validate_update(object, old, errors);
    validate_service_account(object, errors);
}

/// Entries given in the clear move, encoded, into `data`.
fn prepare_secret(object: &mut Value, _: Option<&Value>, _: Option<&str>, _: Timestamp) {
    use base64::Engine as _;
    let Some(Value::Object(clear)) =
        object.as_object_mut().and_then(|map| map.shift_remove("stringData"))
    else {
        return;
    };
    if let Some(data) = super::json::child(object, "data") {
        for (key, value) in clear {
            let value = base64::engine::general_purpose::STANDARD
                .encode(value.as_str().unwrap_or_default());
            data[key] = value.into();
        }
    }
}
