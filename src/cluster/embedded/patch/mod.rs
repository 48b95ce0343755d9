//! Patches: what each kind of patch makes of an object. Pure.

pub mod json;
pub mod merge;
pub mod strategic;

use serde_json::{Value, json as object};

use crate::cluster::embedded::refusal::{bad_request, unknown_format};
use crate::cluster::embedded::schema::ObjectType;
use crate::cluster::embedded::status::ApiError;

/// A patch that was read but not applied.
#[derive(Debug)]
pub enum Patch {
    Json(Vec<json::Operation>),
    Merge(Value),
    Strategic(Value),
}

/// The most operations a JSON patch may have.
const MAX_OPERATIONS: usize = 10_000;

impl Patch {
    /// Reads a patch of some media type.
    pub fn parse(content_type: &str, body: &[u8]) -> Result<Self, ApiError> {
        let media = content_type.split(';').next().unwrap_or_default().trim();
        match media {
            "application/json-patch+json" => {
                let operations = json::parse(body).map_err(bad_request)?;
                if operations.len() > MAX_OPERATIONS {
                    let message = format!(
                        "Request entity too large: The allowed maximum operations in a JSON patch is \
                         {MAX_OPERATIONS}, got {}",
                        operations.len()
                    );
                    return Err(ApiError::new(413, "RequestEntityTooLarge", message));
                }
                Ok(Self::Json(operations))
            }
            "application/merge-patch+json" => Ok(Self::Merge(parse(body)?)),
            "application/strategic-merge-patch+json" => Ok(Self::Strategic(parse(body)?)),
            // Ownership of fields is not kept, so applying has no meaning here.
            "application/apply-patch+yaml" => Err(unknown_format(
                "application/json-patch+json, application/merge-patch+json, application/strategic-merge-patch+json",
            )),
            _ => Err(ApiError::new(415, "UnsupportedMediaType", "415: Unsupported Media Type")
                .with_details(object!({}))),
        }
    }

    /// What the patch makes of an object of a type, if that is known.
    pub fn apply(
        &self,
        mut object: Value,
        of: Option<&'static ObjectType>,
    ) -> Result<Value, ApiError> {
        match self {
            Self::Json(operations) => {
                // The original does not say which operation failed.
                json::apply(&mut object, operations).map_err(|_| rejected())?;
                Ok(object)
            }
            Self::Merge(patch) => {
                merge::apply(&mut object, patch);
                Ok(object)
            }
            Self::Strategic(patch) => strategic::apply(&object, patch, of).map_err(bad_request),
        }
    }
}

fn parse(body: &[u8]) -> Result<Value, ApiError> {
    let patch: Value = serde_json::from_slice(body)
        .map_err(|error| bad_request(format!("error decoding patch: {error}")))?;
    if patch.is_object() {
        return Ok(patch);
    }
    Err(bad_request(
        "error decoding patch: json: cannot unmarshal into Go value of type map[string]interface {}",
    ))
}

fn rejected() -> ApiError {
    ApiError::new(422, "Invalid", "the server rejected our request due to an error in our request")
        .with_details(object!({}))
}
