//! Scale: the number of replicas, in one shape for every kind that has one.

use serde_json::{Value, json};

use crate::cluster::embedded::Embedded;
use crate::cluster::embedded::patch::Patch;
use crate::cluster::embedded::refusal::{bad_request, not_found, stale};
use crate::cluster::embedded::reply::Reply;
use crate::cluster::embedded::status::{ApiError, FieldErrors};
use crate::cluster::embedded::store::object::Stored;
use crate::cluster::embedded::write::{Call, Outcome, RACE_TRIES, Updated};

impl Embedded {
    /// Answers a GET.
    pub(super) fn read_scale(&self, call: &Call) -> Result<Reply, ApiError> {
        let served = call.served();
        let held = self
            .store()
            .get(served.table, &call.key())
            .ok_or_else(|| not_found(served.names(), call.name()))?;
        Ok(Reply::value(200, &scale_of(&served.stored_object(&held))))
    }

    /// Answers a PUT.
    pub(super) fn replace_scale(&self, call: &Call) -> Result<Reply, ApiError> {
        let scale = call.value("autoscaling.v1.Scale")?;
        let named = scale["metadata"]["name"].as_str().unwrap_or_default();
        if named != call.name() {
            return Err(bad_request(format!(
                "the name of the object ({named}) does not match the name on the URL ({})",
                call.name()
            )));
        }
        self.set_scale(call, |_| Ok(scale.clone()))
    }

    /// Answers a PATCH: of the Scale, not of the object behind it.
    pub(super) fn patch_scale(&self, call: &Call) -> Result<Reply, ApiError> {
        let patch = Patch::parse(&call.content_type, &call.body)?;
        self.set_scale(call, |held| patch.apply(held.clone(), None))
    }

    fn set_scale(
        &self,
        call: &Call,
        wanted: impl Fn(&Value) -> Result<Value, ApiError>,
    ) -> Result<Reply, ApiError> {
        let options = call.options("UpdateOptions")?;
        let served = call.served();
        let mut object_call = call.clone_for(call.path.clone());
        object_call.path.subresource = None;
        for _ in 0..RACE_TRIES {
            let held = self
                .store()
                .get(served.table, &call.key())
                .ok_or_else(|| not_found(served.names(), call.name()))?;
            let old = served.stored_object(&held);
            let scale = wanted(&scale_of(&old))?;
            check_version(call, &scale, &held)?;
            let replicas = replicas(call, &scale)?;
            let mut object = old.clone();
            object["spec"]["replicas"] = replicas.into();
            let mut warnings = Vec::new();
            match self.update(&object_call, options, object, &held, &old, &mut warnings)? {
                Updated::Done(Outcome::Stored(stored)) => {
                    return Ok(Reply::value(200, &scale_of(&served.stored_object(&stored))));
                }
                Updated::Done(Outcome::Unstored(object)) => {
                    return Ok(Reply::value(200, &scale_of(&object)));
                }
                Updated::Raced => {}
            }
        }
        Err(stale(served.names(), call.name()))
    }
}

fn check_version(call: &Call, scale: &Value, held: &Stored) -> Result<(), ApiError> {
    let asked = scale["metadata"]["resourceVersion"].as_str().unwrap_or_default();
    if asked.is_empty() || asked == held.version.to_string() {
        return Ok(());
    }
    Err(stale(call.served().names(), call.name()))
}

fn replicas(call: &Call, scale: &Value) -> Result<i64, ApiError> {
    let mut errors = FieldErrors::default();
    let replicas = match &scale["spec"]["replicas"] {
        Value::Null => Some(0),
        value => value.as_i64(),
    };
    match replicas {
        Some(replicas) if replicas >= 0 => return Ok(replicas),
        Some(replicas) => {
            errors.invalid("spec.replicas", replicas, "must be greater than or equal to 0");
        }
        None => {
            errors.invalid("spec.replicas", scale["spec"]["replicas"].clone(), "must be a number")
        }
    }
    Err(errors.into_error("autoscaling", "Scale", call.name()))
}

/// An object's Scale.
fn scale_of(object: &Value) -> Value {
    let metadata = &object["metadata"];
    let mut scale = json!({"kind": "Scale", "apiVersion": "autoscaling/v1", "metadata": {}});
    for field in ["name", "namespace", "uid", "resourceVersion", "creationTimestamp"] {
        if !metadata[field].is_null() {
            scale["metadata"][field] = metadata[field].clone();
        }
    }
    // A number of zero is left out, as in every typed answer.
    let replicas = object["spec"]["replicas"].as_i64().unwrap_or_default();
    scale["spec"] = if replicas == 0 { json!({}) } else { json!({"replicas": replicas}) };
    scale["status"] =
        json!({"replicas": object["status"]["replicas"].as_i64().unwrap_or_default()});
    if let Some(selector) = selector_text(&object["spec"]["selector"]) {
        scale["status"]["selector"] = selector.into();
    }
    scale
}

/// A label selector as a query would spell it.
fn selector_text(selector: &Value) -> Option<String> {
    let mut parts: Vec<String> = selector["matchLabels"]
        .as_object()
        .into_iter()
        .flatten()
        .filter_map(|(name, value)| Some(format!("{name}={}", value.as_str()?)))
        .collect();
    for expression in selector["matchExpressions"].as_array().into_iter().flatten() {
        let key = expression["key"].as_str()?;
        let values: Vec<_> = expression["values"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
            .collect();
        let values = values.join(",");
        parts.push(match expression["operator"].as_str()? {
            "In" => format!("{key} in ({values})"),
            "NotIn" => format!("{key} notin ({values})"),
            "Exists" => key.to_owned(),
            "DoesNotExist" => format!("!{key}"),
            _ => return None,
        });
    }
    parts.sort();
    (!parts.is_empty()).then(|| parts.join(","))
}
