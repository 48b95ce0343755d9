//! Asks for tokens of service accounts. Nothing is stored by that, so nobody
//! holds it back, and nothing of it is written down.

use http::{Request, header};
use serde_json::Value;

use crate::model::object::ObjectRef;

/// Sends a `TokenRequest` for an account; gives it as it is answered.
pub async fn token(
    client: &kube::Client,
    account: &ObjectRef,
    request: &Value,
) -> Result<Value, kube::Error> {
    let sent = Request::post(format!("{}/token", account.path()))
        .header(header::CONTENT_TYPE, "application/json")
        .body(request.to_string().into_bytes())
        .map_err(kube::Error::HttpError)?;
    client.request(sent).await
}
