//! Sends a [`Write`]: the one place where writing requests are built.

use std::sync::Arc;

use http::{Method, Request, header};
use serde_json::{Value, json};

use crate::cluster::write_path::step_gate::GateRefusal;
use crate::model::write::{Change, Write};

/// The write a request carries, for the layers on its way.
#[derive(Debug, Clone)]
pub struct Asked(pub Arc<Write>);

/// Why a write did not happen, or may not have.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// The step gate let the held write go: decide again on what is there now,
    /// and perform what comes of it at once.
    #[error("`{object}` is to be decided again")]
    DecideAgain { object: String },
    /// This context is read-only; nothing was sent.
    #[error("{verb} `{object}` was not sent: this context is read-only")]
    ReadOnly { verb: &'static str, object: String },
    /// The leadership in which the write was decided has ended.
    #[error("{verb} `{object}` was not sent: its controller no longer leads")]
    TermEnded { verb: &'static str, object: String },
    /// The object has changed since it was read. Never retried: decide afresh.
    #[error("{verb} `{object}` was refused: {message}")]
    Conflict { verb: &'static str, object: String, message: String },
    #[error("{verb} `{object}` failed: {message}")]
    NotFound { verb: &'static str, object: String, message: String },
    #[error("{verb} `{object}` failed: {message}")]
    AlreadyExists { verb: &'static str, object: String, message: String },
    /// Any other refusal of the server.
    #[error("{verb} `{object}` was refused: {}", status.message)]
    Refused { verb: &'static str, object: String, status: Box<kube::core::Status> },
    /// No answer, or none that can be read: it may have been done.
    #[error("{verb} `{object}` has an unknown outcome: {}", said(source))]
    Unknown { verb: &'static str, object: String, source: Box<kube::Error> },
}

impl WriteError {
    /// What the server said, without our own words around it.
    pub fn words(&self) -> String {
        match self {
            Self::Conflict { message, .. }
            | Self::NotFound { message, .. }
            | Self::AlreadyExists { message, .. } => message.clone(),
            Self::Refused { status, .. } => status.message.clone(),
            Self::DecideAgain { .. }
            | Self::ReadOnly { .. }
            | Self::TermEnded { .. }
            | Self::Unknown { .. } => self.to_string(),
        }
    }
}

/// kube's errors repeat what a cause says; this keeps to the innermost.
fn said(error: &kube::Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
}

/// Sends one write and gives the object (or `Status`) that the server answered.
///
/// A write that the step gate holds waits here; dropping the future withdraws
/// it. Nothing is retried that the server may have done, and a conflict never.
pub async fn perform(client: &kube::Client, write: &Write) -> Result<Value, WriteError> {
    client.request(request(write)).await.map_err(|error| explain(error, write))
}

/// Sends a write that nobody decides again, such as one a person confirmed: the
/// gate's permit sends it as it was shown.
pub async fn perform_as_shown(client: &kube::Client, write: &Write) -> Result<Value, WriteError> {
    loop {
        match perform(client, write).await {
            Err(WriteError::DecideAgain { .. }) => {}
            done => return done,
        }
    }
}

/// What the server would make of the write: the same request with
/// `dryRun=All`. Never held and never in the journal.
pub async fn dry_run(client: &kube::Client, write: &Write) -> Result<Value, WriteError> {
    let mut request = request(write);
    let uri = request.uri();
    let joint = if uri.query().is_some() { '&' } else { '?' };
    let uri = format!("{uri}{joint}dryRun=All");
    // Built from a URI that was one before.
    *request.uri_mut() = uri.parse().unwrap_or_default();
    client.request(request).await.map_err(|error| explain(error, write))
}

fn request(write: &Write) -> Request<Vec<u8>> {
    let version = write.version.map(|version| version.to_string());
    let versioned = |mut body: Value| {
        if let Some(version) = &version {
            body["metadata"]["resourceVersion"] = version.as_str().into();
        }
        body
    };
    let kind = write.object.kind;
    let (method, content_type, body) = match &write.change {
        Change::Create(object) => (Method::POST, "application/json", object.clone()),
        Change::Replace(object) => (Method::PUT, "application/json", versioned(object.clone())),
        Change::Merge(patch) => {
            (Method::PATCH, "application/merge-patch+json", versioned(patch.clone()))
        }
        Change::Strategic(patch) => {
            (Method::PATCH, "application/strategic-merge-patch+json", versioned(patch.clone()))
        }
        Change::Delete(options) => {
            let mut options = options.clone();
            options["kind"] = "DeleteOptions".into();
            options["apiVersion"] = "v1".into();
            if let Some(version) = &version {
                let preconditions = options["preconditions"].as_object_mut();
                match preconditions {
                    Some(preconditions) => {
                        preconditions.insert("resourceVersion".into(), version.as_str().into());
                    }
                    None => options["preconditions"] = json!({"resourceVersion": version}),
                }
            }
            (Method::DELETE, "application/json", options)
        }
    };
    let mut path = match write.change {
        Change::Create(_) if write.subresource.is_none() => {
            kind.collection_path(write.object.key.namespace())
        }
        Change::Delete(_) if write.object.key.name.is_empty() => {
            kind.collection_path(write.object.key.namespace())
        }
        _ => write.object.path(),
    };
    if let Some(subresource) = write.subresource {
        path = format!("{path}/{subresource}");
    }
    let mut request = Request::new(body.to_string().into_bytes());
    *request.method_mut() = method;
    // Names are DNS labels by validation; anything else becomes a refusal of
    // the server, not a panic here.
    *request.uri_mut() = path.parse().unwrap_or_default();
    request
        .headers_mut()
        .insert(header::CONTENT_TYPE, http::HeaderValue::from_static(content_type));
    request.extensions_mut().insert(write.reason.clone());
    request.extensions_mut().insert(Asked(Arc::new(write.clone())));
    request
}

fn explain(error: kube::Error, write: &Write) -> WriteError {
    let (verb, object) = (write.verb(), write.object.to_string());
    match error {
        kube::Error::Service(source) => match source.downcast::<GateRefusal>() {
            Ok(refusal) => match *refusal {
                GateRefusal::DecideAgain => WriteError::DecideAgain { object },
                GateRefusal::TermEnded => WriteError::TermEnded { verb, object },
            },
            Err(source) => {
                WriteError::Unknown { verb, object, source: Box::new(kube::Error::Service(source)) }
            }
        },
        kube::Error::Api(status) => {
            let message = status.message.clone();
            let read_only = status.details.as_ref().is_some_and(|details| {
                details.causes.iter().any(|cause| cause.reason == super::read_only::CAUSE)
            });
            match (status.code, status.reason.as_str()) {
                (403, _) if read_only => WriteError::ReadOnly { verb, object },
                (404, _) => WriteError::NotFound { verb, object, message },
                (409, "AlreadyExists") => WriteError::AlreadyExists { verb, object, message },
                (409, _) => WriteError::Conflict { verb, object, message },
                (500.., _) => {
                    WriteError::Unknown { verb, object, source: Box::new(kube::Error::Api(status)) }
                }
                _ => WriteError::Refused { verb, object, status },
            }
        }
        other => WriteError::Unknown { verb, object, source: Box::new(other) },
    }
}
