//! ConfigMaps, Secrets and ServiceAccounts: data that pods refer to.

use jiff::Timestamp;
use serde_json::Value;

use super::json::{entries, fill, text};
use super::table::{AGE, NAME, age, column, name};
use crate::cluster::embedded::kind::{Column, SelectableField, ServedKind, Traits};
use crate::cluster::embedded::status::FieldErrors;
use crate::model::kind;

/// ConfigMaps as they are served.
pub static CONFIG_MAP: ServedKind = BASE;

const BASE: ServedKind = ServedKind {
    names: kind::CONFIG_MAP,
    shape: None,
    categories: &[],
    subresources: &[],
    traits: super::PLAIN,
    columns: CONFIG_MAP_COLUMNS,
    cells: |object, now| {
        let count = entries(object, "/data").count() + entries(object, "/binaryData").count();
        vec![name(object), count.into(), age(object, now)]
    },
    fields: super::NO_FIELDS,
    default: super::no_default,
    prepare: super::no_prepare,
    admit: super::no_admission,
    validate: validate_config_map,
    validate_update: validate_config_map_update,
    warnings: super::no_warnings,
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

fn validate_config_map(_: &Value, _: &mut FieldErrors) {}
fn validate_config_map_update(_: &Value, _: &Value, _: Option<&str>, _: &mut FieldErrors) {}
fn validate_secret(_: &Value, _: &mut FieldErrors) {}
fn validate_secret_update(_: &Value, _: &Value, _: Option<&str>, _: &mut FieldErrors) {}
fn validate_service_account(_: &Value, _: &mut FieldErrors) {}
fn validate_service_account_update(_: &Value, _: &Value, _: Option<&str>, _: &mut FieldErrors) {}

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
