//! Reviews: who asks, and what they may do. Whoever got this far may do
//! everything.

use bytes::Bytes;
use http::request::Parts;
use serde_json::{Value, json};

use crate::cluster::embedded::Embedded;
use crate::cluster::embedded::negotiate::Form;
use crate::cluster::embedded::path::ResourcePath;
use crate::cluster::embedded::query::Query;
use crate::cluster::embedded::refusal::{bad_request, unknown_format, unknown_resource};
use crate::cluster::embedded::reply::Reply;
use crate::cluster::embedded::router::{User, call};
use crate::cluster::embedded::status::ApiError;
use crate::cluster::embedded::write::timestamp;
use crate::model::kind;

/// The user of requests that come from inside.
const OWN_USER: &str = "admin";
const GROUPS: &[&str] = &["system:masters", "system:authenticated"];

impl Embedded {
    /// Answers a POST to a resource that stores nothing.
    pub(super) fn virtual_resource(
        &self,
        parts: &Parts,
        group: &str,
        plural: &str,
        namespace: Option<String>,
        query: Query,
        body: Bytes,
    ) -> Result<Reply, ApiError> {
        if plural == "bindings" {
            let namespace = namespace.ok_or_else(unknown_resource)?;
            return self.bind_by_name(parts, namespace, query, body);
        }
        let mut review = read(parts, &body)?;
        check_type(&review, group, plural)?;
        let user = parts.extensions.get::<User>().map_or(OWN_USER, |user| &user.0);
        match plural {
            "selfsubjectaccessreviews" | "subjectaccessreviews" | "localsubjectaccessreviews" => {
                review["status"] = json!({"allowed": true});
            }
            "selfsubjectrulesreviews" => {
                if review["spec"]["namespace"].as_str().unwrap_or_default().is_empty() {
                    return Err(bad_request("no namespace on request"));
                }
                review["status"] = json!({
                    "resourceRules": [{"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]}],
                    "nonResourceRules": [{"verbs": ["*"], "nonResourceURLs": ["*"]}],
                    "incomplete": false,
                });
            }
            "selfsubjectreviews" => {
                review["metadata"] = json!({"creationTimestamp": timestamp(self.now())});
                review["status"] = json!({"userInfo": {"username": user, "groups": GROUPS}});
            }
            "tokenreviews" => {
                // Tokens are checked where they arrive, not here.
                review["status"] =
                    json!({"authenticated": false, "error": "tokens cannot be reviewed here"});
            }
            _ => return Err(unknown_resource()),
        }
        Ok(Reply::value(201, &review))
    }
}

impl Embedded {
    /// A Binding sent to the namespace: it names the pod itself.
    fn bind_by_name(
        &self,
        parts: &Parts,
        namespace: String,
        query: Query,
        body: Bytes,
    ) -> Result<Reply, ApiError> {
        let served = self.registry().by_kind(kind::POD).ok_or_else(unknown_resource)?;
        let binding = read(parts, &body)?;
        let path = ResourcePath {
            served,
            namespace: Some(namespace),
            name: binding["metadata"]["name"].as_str().map(str::to_owned),
            subresource: Some("binding".to_owned()),
        };
        self.bind(&call(parts, path, query, body, Form::Object))
    }
}

fn read(parts: &Parts, body: &[u8]) -> Result<Value, ApiError> {
    let content_type = parts.headers.get(http::header::CONTENT_TYPE);
    let content_type = content_type.and_then(|value| value.to_str().ok()).unwrap_or_default();
    let bad = |error: String| {
        bad_request(format!("couldn't get version/kind; json parse error: {error}"))
    };
    let value: Value = match content_type.split(';').next().unwrap_or_default().trim() {
        "" | "application/json" => serde_json::from_slice(body).map_err(|e| bad(e.to_string()))?,
        "application/yaml" => serde_yaml::from_slice(body).map_err(|e| bad(e.to_string()))?,
        _ => {
            return Err(unknown_format(
                "application/json, application/yaml, application/vnd.kubernetes.protobuf",
            ));
        }
    };
    if value.is_object() { Ok(value) } else { Err(bad("an object is expected".to_owned())) }
}

/// A review must be of the kind its path names; an absent type is filled in.
fn check_type(review: &Value, group: &str, plural: &str) -> Result<(), ApiError> {
    let kind = review["kind"].as_str().unwrap_or_default();
    let api_version = review["apiVersion"].as_str().unwrap_or_default();
    let expected = format!("{group}/v1");
    if api_version != expected {
        return Err(bad_request(format!(
            "the API version in the data ({api_version}) does not match the expected API version ({expected})"
        )));
    }
    if format!("{}s", kind.to_lowercase()) != plural {
        return Err(bad_request(format!("{kind:?} is not what is created at {plural:?}")));
    }
    Ok(())
}
