//! Reviews: who asks, and what they may do. Whoever got this far may do
//! everything.

use bytes::Bytes;
use http::request::Parts;
use serde_json::{Value, json};

use crate::cluster::embedded::Embedded;
use crate::cluster::embedded::negotiate::Form;
use crate::cluster::embedded::path::ResourcePath;
use crate::cluster::embedded::query::Query;
use crate::cluster::embedded::refusal::{bad_request, unknown_object_format, unknown_resource};
use crate::cluster::embedded::reply::Reply;
use crate::cluster::embedded::router::{User, call};
use crate::cluster::embedded::schema::{self, FieldValidation, Format};
use crate::cluster::embedded::status::ApiError;
use crate::cluster::embedded::write::timestamp;
use crate::model::kind::{self, Kind};

/// The user of requests that come from inside.
const OWN_USER: &str = "admin";
const GROUPS: &[&str] = &["system:masters", "system:authenticated"];

impl Embedded {
    /// Answers a POST to a resource that stores nothing.
    pub(super) fn virtual_resource(
        &self,
        parts: &Parts,
        kind: &'static Kind,
        namespace: Option<String>,
        query: Query,
        body: Bytes,
    ) -> Result<Reply, ApiError> {
        let mut review = read(parts, kind, &body)?;
        let user = parts.extensions.get::<User>().map_or(OWN_USER, |user| &user.0);
        match kind.plural {
            "bindings" => {
                let namespace = namespace.ok_or_else(unknown_resource)?;
                return self.bind_by_name(parts, namespace, query, body, &review);
            }
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
        binding: &Value,
    ) -> Result<Reply, ApiError> {
        let served = self.registry().by_kind(kind::POD).ok_or_else(unknown_resource)?;
        let path = ResourcePath {
            served,
            namespace: Some(namespace),
            name: binding["metadata"]["name"].as_str().map(str::to_owned),
            subresource: Some("binding".to_owned()),
        };
        self.bind(&call(parts, path, query, body, Form::Object))
    }
}

/// Reads an object of the kind that the path names.
fn read(parts: &Parts, kind: &'static Kind, body: &[u8]) -> Result<Value, ApiError> {
    let content_type = parts.headers.get(http::header::CONTENT_TYPE);
    let content_type = content_type.and_then(|value| value.to_str().ok()).unwrap_or_default();
    let format = Format::named(content_type).ok_or_else(unknown_object_format)?;
    schema::decode(kind, body, format, FieldValidation::Ignore).map(|decoded| decoded.object)
}
