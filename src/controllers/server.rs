//! The cluster as controllers reach it: reads, and writes with their reason.
//!
//! A trait, so that decisions and operations can be tried against a table of
//! objects and with any refusal in between.

use futures::future::{BoxFuture, FutureExt, ready};
use http::Request;
use serde_json::Value;

use crate::cluster::write_path::actor::Term;
use crate::cluster::write_path::step_gate::StepGate;
use crate::cluster::write_path::{WriteError, WritePath, perform, token};
use crate::model::kind::{self, Kind};
use crate::model::object::ObjectRef;
use crate::model::write::{Actor, Write};

/// A read that gave no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("reading `{object}` failed: {message}")]
pub struct ReadError {
    pub object: String,
    pub message: String,
}

/// The cluster as one actor sees it.
pub trait Server: Send + Sync {
    /// The object as it is now; `None` if there is none.
    fn get<'a>(&'a self, object: &'a ObjectRef) -> BoxFuture<'a, Result<Option<Value>, ReadError>>;

    /// All objects of a kind, or those of a namespace.
    fn list<'a>(
        &'a self,
        kind: &'static Kind,
        namespace: Option<&'a str>,
    ) -> BoxFuture<'a, Result<Vec<Value>, ReadError>>;

    /// All pods of a namespace.
    fn list_pods<'a>(&'a self, namespace: &'a str) -> BoxFuture<'a, Result<Vec<Value>, ReadError>> {
        self.list(kind::POD, Some(namespace))
    }

    /// Asks for a token of a service account, and gives the `TokenRequest` as it
    /// is answered. Nothing is stored by that: it is no write, and what comes is
    /// shown nowhere.
    fn token<'a>(
        &'a self,
        account: &'a ObjectRef,
        request: &'a Value,
    ) -> BoxFuture<'a, Result<Value, ReadError>> {
        let _ = request;
        let message = "there are no tokens".to_owned();
        ready(Err(ReadError { object: account.to_string(), message })).boxed()
    }

    /// Performs a write; it may be held, and then has to be decided again.
    fn perform<'a>(&'a self, write: &'a Write) -> BoxFuture<'a, Result<Value, WriteError>>;

    /// Says that a write that was to be decided again is not called for.
    fn nothing_to_do(&self, on_behalf_of: &ObjectRef, why: &str);
}

/// A write is decided again at most so often before the object is given up
/// until its next turn.
const TRIES: usize = 16;

/// Reads an object and performs what is decided on it, until nothing is decided
/// any more; gives the object as it is then. `None`: it is gone. Begins with
/// what is `known` to be there, if that is given. `wrote` is called after each
/// write that was done.
pub async fn settle(
    server: &dyn Server,
    mut known: Option<Value>,
    object: &ObjectRef,
    decide: impl Fn(&Value) -> Option<Write>,
    wrote: impl Fn(),
) -> Result<Option<Value>, WriteError> {
    let mut permitted = false;
    let nothing = |permitted: bool, why: &str| {
        if permitted {
            server.nothing_to_do(object, why);
        }
    };
    let mut last = None;
    for _ in 0..TRIES {
        let now = match known.take() {
            Some(known) => Some(known),
            None => server.get(object).await.map_err(unread)?,
        };
        let Some(now) = now else {
            nothing(permitted, "the object is gone");
            return Ok(None);
        };
        let Some(write) = decide(&now) else {
            nothing(permitted, "it is as it should be");
            return Ok(Some(now));
        };
        match server.perform(&write).await {
            Ok(_) => {
                wrote();
                permitted = false;
            }
            Err(WriteError::DecideAgain { .. }) => permitted = true,
            Err(error @ WriteError::Conflict { .. }) => last = Some(error),
            Err(WriteError::NotFound { .. }) => return Ok(None),
            Err(error) => return Err(error),
        }
    }
    Err(last.unwrap_or_else(|| WriteError::Conflict {
        verb: "PATCH",
        object: object.to_string(),
        message: format!("not settled after {TRIES} tries"),
    }))
}

/// A read that failed before a write that would have been.
fn unread(error: ReadError) -> WriteError {
    WriteError::Conflict { verb: "GET", object: error.object, message: error.message }
}

/// A cluster behind its write path. Clones share the connection.
#[derive(Clone)]
pub struct ClusterServer {
    client: kube::Client,
    gate: StepGate,
    actor: Actor,
}

impl ClusterServer {
    /// The cluster as this actor sees it. Needs a runtime.
    pub fn new(path: &WritePath, actor: &str) -> Self {
        Self::for_term(path, actor, Term::endless())
    }

    /// The same, until a term of leadership ends.
    pub fn for_term(path: &WritePath, actor: &str, term: Term) -> Self {
        let actor = Actor(actor.to_owned());
        let client = path.client_for_term(actor.clone(), term);
        Self { client, gate: path.gate().clone(), actor }
    }

    async fn read(&self, path: &str, object: &str) -> Result<Option<Value>, ReadError> {
        let failed = |message: String| ReadError { object: object.to_owned(), message };
        let request = Request::get(path).body(Vec::new()).map_err(|e| failed(e.to_string()))?;
        match self.client.request(request).await {
            Ok(value) => Ok(Some(value)),
            Err(kube::Error::Api(status)) if status.code == 404 => Ok(None),
            Err(error) => Err(failed(error.to_string())),
        }
    }
}

impl Server for ClusterServer {
    fn get<'a>(&'a self, object: &'a ObjectRef) -> BoxFuture<'a, Result<Option<Value>, ReadError>> {
        Box::pin(async move { self.read(&object.path(), &object.to_string()).await })
    }

    fn list<'a>(
        &'a self,
        kind: &'static Kind,
        namespace: Option<&'a str>,
    ) -> BoxFuture<'a, Result<Vec<Value>, ReadError>> {
        Box::pin(async move {
            let path = kind.collection_path(namespace);
            let of = namespace.map_or_else(String::new, |namespace| format!(" of {namespace}"));
            let list = self.read(&path, &format!("{}{of}", kind.plural)).await?;
            let items = list.and_then(|mut list| match list["items"].take() {
                Value::Array(items) => Some(items),
                _ => None,
            });
            Ok(items.unwrap_or_default())
        })
    }

    fn token<'a>(
        &'a self,
        account: &'a ObjectRef,
        request: &'a Value,
    ) -> BoxFuture<'a, Result<Value, ReadError>> {
        Box::pin(async move {
            let object = format!("a token of {account}");
            let failed = |message: String| ReadError { object: object.clone(), message };
            token(&self.client, account, request).await.map_err(|error| match error {
                kube::Error::Api(status) => failed(status.message),
                error => failed(error.to_string()),
            })
        })
    }

    fn perform<'a>(&'a self, write: &'a Write) -> BoxFuture<'a, Result<Value, WriteError>> {
        Box::pin(perform(&self.client, write))
    }

    fn nothing_to_do(&self, on_behalf_of: &ObjectRef, why: &str) {
        self.gate.nothing_to_do(&self.actor, on_behalf_of, why);
    }
}
