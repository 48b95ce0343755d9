//! The refusals that every kind shares, with their exact texts.

use serde_json::{Value, json};

use crate::cluster::embedded::status::{ApiError, FieldErrors};
use crate::model::kind::Kind;

fn resource_details(kind: &Kind, name: &str) -> Value {
    let mut details = json!({"name": name});
    if !kind.group.is_empty() {
        details["group"] = kind.group.into();
    }
    details["kind"] = kind.plural.into();
    details
}

pub fn not_found(kind: &Kind, name: &str) -> ApiError {
    let message = format!("{} \"{name}\" not found", kind.qualified_plural());
    ApiError::new(404, "NotFound", message).with_details(resource_details(kind, name))
}

pub fn unknown_resource() -> ApiError {
    ApiError::new(404, "NotFound", "the server could not find the requested resource")
        .with_details(json!({}))
}

pub fn method_not_allowed() -> ApiError {
    let message = "the server does not allow this method on the requested resource";
    ApiError::new(405, "MethodNotAllowed", message).with_details(json!({}))
}

pub fn already_exists(kind: &Kind, name: &str, terminating: bool) -> ApiError {
    let prefix = if terminating { "object is being deleted: " } else { "" };
    let message = format!("{prefix}{} \"{name}\" already exists", kind.qualified_plural());
    ApiError::new(409, "AlreadyExists", message).with_details(resource_details(kind, name))
}

pub fn name_not_generated(kind: &Kind, name: &str) -> ApiError {
    let message = format!(
        "{} \"{name}\" already exists, the server was not able to generate a unique name for the object",
        kind.qualified_plural()
    );
    ApiError::new(409, "AlreadyExists", message).with_details(resource_details(kind, name))
}

pub fn conflict(kind: &Kind, name: &str, why: &str) -> ApiError {
    let message =
        format!("Operation cannot be fulfilled on {} \"{name}\": {why}", kind.qualified_plural());
    ApiError::new(409, "Conflict", message).with_details(resource_details(kind, name))
}

/// Somebody changed the object since it was read.
pub fn stale(kind: &Kind, name: &str) -> ApiError {
    conflict(
        kind,
        name,
        "the object has been modified; please apply your changes to the latest version and try again",
    )
}

/// An update names another uid than the stored object's.
pub fn other_uid(
    kind: &Kind,
    namespace: Option<&str>,
    name: &str,
    asked: &str,
    held: &str,
) -> ApiError {
    let key = namespace.map_or(String::new(), |namespace| format!("{namespace}/"));
    // The key as etcd would hold it: groups beside the built-in ones show.
    let why = format!(
        "StorageError: invalid object, Code: 4, Key: /registry/{}/{key}{name}, ResourceVersion: 0, \
         AdditionalErrorMsg: Precondition failed: UID in precondition: {asked}, UID in object meta: {held}",
        kind.plural
    );
    conflict(kind, name, &why)
}

/// A precondition of a deletion does not hold. The original names the kind
/// where others name the resource.
pub fn delete_precondition(
    kind: &Kind,
    name: &str,
    what: &str,
    asked: &str,
    held: &str,
) -> ApiError {
    let after = if what == "UID" { "deleted and then recreated" } else { "modified" };
    let qualified = if kind.group.is_empty() {
        kind.kind.to_owned()
    } else {
        format!("{}.{}", kind.kind, kind.group)
    };
    let message = format!(
        "Operation cannot be fulfilled on {qualified} \"{name}\": the {what} in the precondition ({asked}) \
         does not match the {what} in record ({held}). The object might have been {after}"
    );
    let mut details = resource_details(kind, name);
    details["kind"] = kind.kind.into();
    ApiError::new(409, "Conflict", message).with_details(details)
}

pub fn forbidden(kind: &Kind, name: &str, why: &str) -> ApiError {
    let message = format!("{} \"{name}\" is forbidden: {why}", kind.qualified_plural());
    ApiError::new(403, "Forbidden", message).with_details(resource_details(kind, name))
}

pub fn bad_request(message: impl Into<String>) -> ApiError {
    ApiError::new(400, "BadRequest", message)
}

pub fn internal(cause: impl std::fmt::Display) -> ApiError {
    ApiError::new(500, "InternalError", format!("Internal error occurred: {cause}"))
        .with_details(json!({"causes": [{"message": cause.to_string()}]}))
}

pub fn expired(message: impl Into<String>) -> ApiError {
    ApiError::new(410, "Expired", message)
}

/// The version a watch or list asks for is older than history.
pub fn too_old(asked: u64, oldest: u64) -> ApiError {
    expired(format!("too old resource version: {asked} ({oldest})"))
}

/// The version asked for has not come in time.
pub fn too_large(asked: u64, current: u64) -> ApiError {
    let message = format!("Timeout: Too large resource version: {asked}, current: {current}");
    ApiError::new(504, "Timeout", message).with_details(json!({
        "causes": [{"reason": "ResourceVersionTooLarge", "message": "Too large resource version"}],
        "retryAfterSeconds": 1,
    }))
}

pub fn too_big(limit: usize) -> ApiError {
    let message = format!("Request entity too large: limit is {limit}");
    ApiError::new(413, "RequestEntityTooLarge", message)
}

pub fn unknown_format(accepted: &str) -> ApiError {
    let message = format!(
        "the body of the request was in an unknown format - accepted media types include: {accepted}"
    );
    ApiError::new(415, "UnsupportedMediaType", message)
}

/// The refusal of an object's body.
pub fn unknown_object_format() -> ApiError {
    unknown_format("application/json, application/yaml, application/vnd.kubernetes.protobuf")
}

/// 422 about options, such as `ListOptions`.
pub fn bad_options(kind: &str, check: impl FnOnce(&mut FieldErrors)) -> ApiError {
    let mut errors = FieldErrors::default();
    check(&mut errors);
    errors.into_error("meta.k8s.io", kind, "")
}
