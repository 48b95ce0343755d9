//! A cluster as an actor sees it that may write only while it leads.

use std::sync::{Mutex, PoisonError};

use futures::future::BoxFuture;
use serde_json::Value;

use super::Leadership;
use crate::cluster::write_path::actor::Term;
use crate::cluster::write_path::{WriteError, WritePath};
use crate::controllers::server::{ClusterServer, ReadError, Server};
use crate::model::kind::{self, Kind};
use crate::model::object::ObjectRef;
use crate::model::write::Write;

/// Reads as it likes; writes wait until we lead, and are then to be decided
/// again.
pub struct LedServer {
    path: WritePath,
    actor: String,
    leadership: Leadership,
    reads: ClusterServer,
    /// Writes in the last term that was written in.
    writes: Mutex<Option<(Term, ClusterServer)>>,
}

impl LedServer {
    /// Needs a runtime.
    pub fn new(path: &WritePath, actor: &str, leadership: Leadership) -> Self {
        let reads = ClusterServer::new(path, actor);
        let writes = Mutex::new(None);
        Self { path: path.clone(), actor: actor.to_owned(), leadership, reads, writes }
    }

    /// What writes in this term; made when it is first written in.
    fn in_term(&self, term: Term) -> ClusterServer {
        let mut writes = self.writes.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, server)) = writes.as_ref().filter(|(held, _)| !held.has_ended()) {
            return server.clone();
        }
        let server = ClusterServer::for_term(&self.path, &self.actor, term.clone());
        *writes = Some((term, server.clone()));
        server
    }
}

impl Server for LedServer {
    fn get<'a>(&'a self, object: &'a ObjectRef) -> BoxFuture<'a, Result<Option<Value>, ReadError>> {
        self.reads.get(object)
    }

    fn list<'a>(
        &'a self,
        kind: &'static Kind,
        namespace: Option<&'a str>,
    ) -> BoxFuture<'a, Result<Vec<Value>, ReadError>> {
        self.reads.list(kind, namespace)
    }

    fn perform<'a>(&'a self, write: &'a Write) -> BoxFuture<'a, Result<Value, WriteError>> {
        Box::pin(async move {
            let tells = [kind::EVENT, kind::EVENT_V1].contains(&write.object.kind);
            let term = if tells { self.leadership.known().await } else { self.leadership.term() };
            if let Some(term) = term {
                match self.in_term(term).perform(write).await {
                    Err(WriteError::TermEnded { .. }) => {}
                    answered => return answered,
                }
            }
            let object = write.object.to_string();
            if tells {
                return Err(WriteError::TermEnded { verb: write.verb(), object });
            }
            self.leadership.begun().await;
            Err(WriteError::DecideAgain { object })
        })
    }

    fn nothing_to_do(&self, on_behalf_of: &ObjectRef, why: &str) {
        self.reads.nothing_to_do(on_behalf_of, why);
    }
}
