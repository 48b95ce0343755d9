//! Tries again what the server did not take in: 429 and 503, as it asks.
//!
//! A conflict is never retried: it is decided afresh. Nor is anything whose
//! outcome is unknown. A live client from a kubeconfig retries the same codes
//! by itself below; then little is left to do here.

use std::sync::Arc;
use std::time::Duration;

use http::{Request, Response, StatusCode, header};
use kube::client::Body;
use tower::ServiceExt;

use crate::cluster::write_path::around::{Answer, Around, Below};
use crate::cluster::write_path::perform::Asked;
use crate::model::clock::{Clock, TimerUse};

const TRIES_MAX: u32 = 3;
/// Longest pause that a server's `Retry-After` gets.
const PAUSE_SECONDS_MAX: u64 = 30;

/// See the module.
#[derive(Debug, Clone)]
pub struct Retry {
    pub clock: Arc<dyn Clock>,
}

impl Around for Retry {
    fn handle<S: Below>(&self, mut below: S, request: Request<Body>) -> Answer {
        if request.extensions().get::<Asked>().is_none() {
            return Box::pin(below.call(request));
        }
        let clock = self.clock.clone();
        Box::pin(async move {
            let (parts, body) = request.into_parts();
            let body = body.collect_bytes().await?;
            let again = || Request::from_parts(parts.clone(), Body::from(body.to_vec()));
            let mut response = below.call(again()).await?;
            for _ in 1..TRIES_MAX {
                let Some(pause) = pause_before_retry(&response) else { break };
                clock.sleep(pause, TimerUse::Work).await;
                response = below.clone().oneshot(again()).await?;
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
