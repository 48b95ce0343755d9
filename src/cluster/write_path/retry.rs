//! Tries again what the server did not take in: 429 and 503, as it asks.
//!
//! A conflict is never retried: it is decided afresh. Nor is anything whose
//! outcome is unknown. A live client from a kubeconfig retries the same codes
//! by itself below; then little is left to do here.

use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures::future::BoxFuture;
use http::{Request, Response, StatusCode, header};
use kube::client::Body;
use tower::{BoxError, Layer, Service, ServiceExt};

use crate::cluster::write_path::perform::Asked;
use crate::model::clock::{Clock, TimerUse};

const TRIES_MAX: u32 = 3;
/// Longest pause that a server's `Retry-After` gets.
const PAUSE_SECONDS_MAX: u64 = 30;

/// See the module.
#[derive(Debug, Clone)]
pub struct RetryLayer {
    clock: Arc<dyn Clock>,
}

impl RetryLayer {
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self { clock }
    }
}

impl<S> Layer<S> for RetryLayer {
    type Service = Retry<S>;

    fn layer(&self, inner: S) -> Self::Service {
        Retry { inner, clock: self.clock.clone() }
    }
}

/// See [`RetryLayer`].
#[derive(Debug, Clone)]
pub struct Retry<S> {
    inner: S,
    clock: Arc<dyn Clock>,
}

impl<S> Service<Request<Body>> for Retry<S>
where
    S: Service<Request<Body>, Response = Response<Body>, Error = BoxError> + Clone + Send + 'static,
    S::Future: Send,
{
    type Response = Response<Body>;
    type Error = BoxError;
    type Future = BoxFuture<'static, Result<Response<Body>, BoxError>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        // The service that was polled ready takes the call; its clone stays.
        let clone = self.inner.clone();
        let mut ready = std::mem::replace(&mut self.inner, clone);
        if request.extensions().get::<Asked>().is_none() {
            return Box::pin(ready.call(request));
        }
        let (clock, service) = (self.clock.clone(), self.inner.clone());
        Box::pin(async move {
            let (parts, body) = request.into_parts();
            let body = body.collect_bytes().await?;
            let again = || Request::from_parts(parts.clone(), Body::from(body.to_vec()));
            let mut response = ready.call(again()).await?;
            for _ in 1..TRIES_MAX {
                let Some(pause) = pause_before_retry(&response) else { break };
                clock.sleep(pause, TimerUse::Work).await;
                response = service.clone().oneshot(again()).await?;
            }
            Ok(response)
        })
    }
}

/// How long to wait before trying again, if at all: only for answers that say
/// both that nothing was done and when to come back.
fn pause_before_retry<B>(response: &Response<B>) -> Option<Duration> {
    if !matches!(response.status(), StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE)
    {
        return None;
    }
    let seconds: u64 = response.headers().get(header::RETRY_AFTER)?.to_str().ok()?.parse().ok()?;
    Some(Duration::from_secs(seconds.min(PAUSE_SECONDS_MAX)))
}
