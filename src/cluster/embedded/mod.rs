//! The embedded cluster: a revisioned object store behind a router that speaks
//! the Kubernetes API.
//!
//! ```text
//! request -> router -> decode -> default -> admit -> prepare -> validate -> store -> answer
//!                                                                            |
//!                                                     watchers <- history <--+
//! ```
//!
//! What is particular to a kind is in its row ([`kind::ServedKind`]); the
//! router and the store know no kind by name. In process an [`Embedded`] is a
//! `tower::Service`; [`serve`] puts the same on loopback HTTPS.
//!
//! Bodies come as JSON, YAML or protobuf; answers are JSON or YAML, which every
//! client accepts beside what it asks for first.
//!
//! Deliberately absent for now: server-side apply and the ownership of fields
//! (`managedFields` are not kept), durability (its place is
//! [`store::CommitLog`]), and every controller: what real clusters leave to
//! the garbage collector and the namespace controller is not done here.

pub mod kind;
pub mod kinds;
pub mod openapi;
pub mod schema;
pub mod serve;
pub mod status;
pub mod store;
pub mod validation;

mod admission;
mod bootstrap;
mod discovery;
mod expiry;
mod form;
mod health;
mod import;
mod list;
mod list_options;
mod negotiate;
mod patch;
mod path;
mod query;
mod refusal;
mod registry;
mod reply;
mod reviews;
mod router;
mod selector;
mod subresource;
mod watch;
mod wire;
mod write;

use std::convert::Infallible;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Poll};

use bytes::Bytes;
use futures::future::BoxFuture;
use http::{Request, Response};
use http_body_util::BodyExt as _;
use jiff::Timestamp;
use tower::{BoxError, Service, ServiceExt};

use crate::cluster::Base;
use crate::cluster::embedded::expiry::Expiry;
use crate::cluster::embedded::query::Query;
use crate::cluster::embedded::registry::{Registry, stored_kind};
use crate::cluster::embedded::store::history::Commit;
use crate::cluster::embedded::store::{CommitLog, Store, Volatile};
use crate::model::clock::Clock;

pub use reply::ReplyBody;
pub use subresource::ContainerLogs;

/// How much history an embedded cluster keeps if nothing else is said.
pub const DEFAULT_RETENTION_BYTES: usize = 256 * 1024 * 1024;

/// How an embedded cluster begins.
#[derive(Debug)]
pub struct Options {
    pub clock: Arc<dyn Clock>,
    /// The bytes of history kept for watches and rewinding.
    pub retention_bytes: usize,
    /// The revision after which it begins: a fork starts above the highest.
    pub start_revision: u64,
    /// Whether the namespaces and objects of every new cluster are made.
    pub bootstrap: bool,
    /// Whether kinds are served that only programs from outside act on.
    pub outside_kinds: bool,
    pub log: Box<dyn CommitLog>,
}

impl Options {
    /// A new cluster on a clock.
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self {
            clock,
            retention_bytes: DEFAULT_RETENTION_BYTES,
            start_revision: 0,
            bootstrap: true,
            outside_kinds: false,
            log: Box::new(Volatile),
        }
    }
}

/// An embedded cluster. Clones share it.
#[derive(Debug, Clone)]
pub struct Embedded {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    store: Store,
    registry: Registry,
    clock: Arc<dyn Clock>,
    expiry: Expiry,
    /// Who knows what containers have printed.
    logs: Mutex<Option<Weak<dyn ContainerLogs>>>,
}

impl Embedded {
    /// A cluster that serves every kind there is a row for, as far as the
    /// options want them.
    pub fn new(options: Options) -> Self {
        let outside = if options.outside_kinds { kinds::OUTSIDE } else { &[] };
        let rows = [kinds::ALL, outside].concat();
        let stored = rows.iter().filter(|row| row.shape.is_none()).map(|row| stored_kind(row));
        let store =
            Store::new(stored, options.start_revision, options.retention_bytes, options.log);
        let registry = Registry::new(&rows, &store);
        let embedded = Self {
            inner: Arc::new(Inner {
                store,
                registry,
                clock: options.clock,
                expiry: Expiry::default(),
                logs: Mutex::default(),
            }),
        };
        if options.bootstrap {
            embedded.make_initial_objects();
        }
        embedded
    }

    /// The cluster as the write path takes it. To be called inside a runtime.
    pub fn base(&self) -> Base {
        // kube's body of a stream can only be made by a client of its own; a
        // whole answer needs no such detour, which takes two tasks to wake.
        let client = kube::Client::new(self.clone(), "default");
        let embedded = self.clone();
        tower::service_fn(move |request: Request<kube::client::Body>| {
            let (client, mut embedded) = (client.clone(), embedded.clone());
            async move {
                if Query::parse(request.uri().query().unwrap_or_default()).flag("watch") {
                    return client.send(request).await.map_err(BoxError::from);
                }
                let response = embedded.call(request).await?;
                let (parts, body) = response.into_parts();
                let body = body.collect().await?.to_bytes();
                Ok(Response::from_parts(parts, kube::client::Body::from(body)))
            }
        })
        .boxed_clone()
    }

    /// The revision of the last commit.
    pub fn revision(&self) -> u64 {
        self.store().revision()
    }

    /// The commits after a revision that history still holds, in order.
    pub fn commits_after(&self, revision: u64) -> Vec<Arc<Commit>> {
        self.store().commits_after(revision)
    }

    /// Wakes whenever the revision rises.
    pub fn revisions(&self) -> tokio::sync::watch::Receiver<u64> {
        self.store().revisions()
    }

    /// Forgets history up to and including a revision, so that watches cannot
    /// resume from before it.
    pub fn compact(&self, up_to: u64) {
        self.store().compact(up_to);
    }

    fn store(&self) -> &Store {
        &self.inner.store
    }

    fn registry(&self) -> &Registry {
        &self.inner.registry
    }

    fn logs_slot(&self) -> MutexGuard<'_, Option<Weak<dyn ContainerLogs>>> {
        self.inner.logs.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn clock(&self) -> &Arc<dyn Clock> {
        &self.inner.clock
    }

    fn now(&self) -> Timestamp {
        self.inner.clock.now()
    }
}

impl<B> Service<Request<B>> for Embedded
where
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    type Response = Response<ReplyBody>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let embedded = self.clone();
        Box::pin(async move {
            let (parts, body) = request.into_parts();
            let body = router::collect(body).await;
            Ok(embedded.answer(parts, body).await)
        })
    }
}
