//! Eviction: a deletion that asks first. Nothing is asked here: no disruption
//! budgets are served.

use serde_json::{Value, json};

use crate::cluster::embedded::Embedded;
use crate::cluster::embedded::refusal::bad_request;
use crate::cluster::embedded::reply::Reply;
use crate::cluster::embedded::status::ApiError;
use crate::cluster::embedded::write::Call;

impl Embedded {
    /// Answers a POST of an Eviction.
    pub(super) fn evict(&self, call: &Call) -> Result<Reply, ApiError> {
        let eviction = call.value("policy.v1.Eviction")?;
        let named = eviction["metadata"]["name"].as_str().unwrap_or_default();
        if !named.is_empty() && named != call.name() {
            return Err(bad_request("name in URL does not match name in Eviction object"));
        }
        let options = match &eviction["deleteOptions"] {
            Value::Null => json!({}),
            options => options.clone(),
        };
        let mut path = call.path.clone();
        path.subresource = None;
        let mut deletion = call.clone_for(path);
        deletion.content_type = "application/json".to_owned();
        deletion.body = options.to_string().into();
        self.delete(&deletion)?;
        let success = json!({
            "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": 201,
        });
        Ok(Reply::value(201, &success))
    }
}
