//! What a DELETE asks for beside the object.

use serde_json::Value;

use super::{Call, dry_run};
use crate::cluster::embedded::refusal::bad_options;
use crate::cluster::embedded::status::ApiError;

/// What becomes of the objects that this one owns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Propagation {
    Background,
    Foreground,
    Orphan,
}

/// The options of a DELETE.
#[derive(Debug, Clone, Default)]
pub struct DeleteOptions {
    pub grace_seconds: Option<i64>,
    pub propagation: Option<Propagation>,
    /// `orphanDependents: false` was given: an old client.
    pub answer_accepted: bool,
    pub uid: Option<String>,
    pub version: Option<String>,
    pub dry_run: bool,
}

impl DeleteOptions {
    /// Reads them from the body if there is one, else from the query.
    pub fn parse(call: &Call) -> Result<Self, ApiError> {
        let body =
            if call.body.is_empty() { Value::Null } else { call.value("meta.v1.DeleteOptions")? };
        let given = |name: &str| match &body {
            Value::Null => call.query.get(name).map(Value::from).unwrap_or_default(),
            body => body[name].clone(),
        };
        let whole = |value: Value| value.as_i64().or_else(|| value.as_str()?.parse().ok());
        let truth = |value: Value| value.as_bool().or_else(|| Some(value.as_str()? != "false"));
        let policy = given("propagationPolicy");
        let orphan = truth(given("orphanDependents"));
        if let (Some(policy), Some(_)) = (policy.as_str(), orphan) {
            return Err(bad_options("DeleteOptions", |errors| {
                errors.invalid(
                    "propagationPolicy",
                    policy,
                    "orphanDependents and deletionPropagation cannot be both set",
                );
            }));
        }
        let dry_runs: Vec<&str> = match &body["dryRun"] {
            Value::Array(list) => list.iter().filter_map(Value::as_str).collect(),
            _ => call.query.all("dryRun").collect(),
        };
        let text = |value: &Value| value.as_str().map(str::to_owned);
        Ok(Self {
            grace_seconds: whole(given("gracePeriodSeconds")),
            propagation: propagation(policy.as_str(), orphan)?,
            answer_accepted: orphan == Some(false),
            uid: text(&body["preconditions"]["uid"]),
            version: text(&body["preconditions"]["resourceVersion"]),
            dry_run: dry_run(dry_runs.into_iter(), "DeleteOptions")?,
        })
    }
}

fn propagation(
    policy: Option<&str>,
    orphan: Option<bool>,
) -> Result<Option<Propagation>, ApiError> {
    Ok(match (policy, orphan) {
        (Some("Background"), _) => Some(Propagation::Background),
        (Some("Foreground"), _) => Some(Propagation::Foreground),
        (Some("Orphan"), _) | (None, Some(true)) => Some(Propagation::Orphan),
        (None, Some(false)) => Some(Propagation::Background),
        (None, None) => None,
        (Some(other), _) => {
            return Err(bad_options("DeleteOptions", |errors| {
                errors.not_supported(
                    "propagationPolicy",
                    other,
                    &["Background", "Foreground", "Orphan", "nil"],
                );
            }));
        }
    })
}
