//! Who writes: the actor as user agent, field manager and request extension.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use http::{HeaderValue, Method, Request, Uri, header};
use tower::{Layer, Service};

use crate::model::write::Actor;

/// A stretch of leadership. Writes decided in it are refused once it has ended.
#[derive(Debug, Clone)]
pub struct Term {
    ended: Arc<AtomicBool>,
}

impl Term {
    /// A term that ends with [`Term::end`], or never.
    pub fn endless() -> Self {
        Self { ended: Arc::new(AtomicBool::new(false)) }
    }

    pub fn end(&self) {
        self.ended.store(true, Ordering::Release);
    }

    pub fn has_ended(&self) -> bool {
        self.ended.load(Ordering::Acquire)
    }
}

/// Puts one actor's name on every request.
#[derive(Debug, Clone)]
pub struct ActorLayer {
    actor: Actor,
    term: Term,
}

impl ActorLayer {
    pub fn new(actor: Actor, term: Term) -> Self {
        Self { actor, term }
    }
}

impl<S> Layer<S> for ActorLayer {
    type Service = ActorService<S>;

    fn layer(&self, inner: S) -> Self::Service {
        let agent = format!("{}/pvdeck-{}", self.actor, env!("CARGO_PKG_VERSION"));
        ActorService {
            inner,
            actor: self.actor.clone(),
            term: self.term.clone(),
            // An actor whose name no header can hold goes without one.
            agent: HeaderValue::from_str(&agent).ok(),
        }
    }
}

/// See [`ActorLayer`].
#[derive(Debug, Clone)]
pub struct ActorService<S> {
    inner: S,
    actor: Actor,
    term: Term,
    agent: Option<HeaderValue>,
}

impl<S, B> Service<Request<B>> for ActorService<S>
where
    S: Service<Request<B>>,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        if let Some(agent) = &self.agent {
            request.headers_mut().insert(header::USER_AGENT, agent.clone());
        }
        request.extensions_mut().insert(self.actor.clone());
        request.extensions_mut().insert(self.term.clone());
        if matches!(*request.method(), Method::POST | Method::PUT | Method::PATCH)
            && let Some(uri) = with_field_manager(request.uri(), &self.actor)
        {
            *request.uri_mut() = uri;
        }
        self.inner.call(request)
    }
}

/// The URI with the actor as `fieldManager`, unless it names one already.
fn with_field_manager(uri: &Uri, actor: &Actor) -> Option<Uri> {
    let query = uri.query().unwrap_or_default();
    if query.split('&').any(|pair| pair.starts_with("fieldManager=")) {
        return None;
    }
    let manager: String = actor
        .0
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() || "-._".contains(c) { c } else { '-' })
        .collect();
    let joint = if query.is_empty() { "" } else { "&" };
    let path = format!("{}?{query}{joint}fieldManager={manager}", uri.path());
    let mut parts = uri.clone().into_parts();
    parts.path_and_query = Some(path.parse().ok()?);
    Uri::from_parts(parts).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_actor_becomes_field_manager_once() {
        let actor = Actor("volume binder".into());
        let check = |from: &str, to: Option<&str>| {
            let uri = with_field_manager(&from.parse().expect("a URI"), &actor);
            assert_eq!(uri.map(|uri| uri.to_string()).as_deref(), to, "{from}");
        };
        check("/api/v1/pods", Some("/api/v1/pods?fieldManager=volume-binder"));
        check("/x?dryRun=All", Some("/x?dryRun=All&fieldManager=volume-binder"));
        check("/x?fieldManager=a", None);
    }
}
