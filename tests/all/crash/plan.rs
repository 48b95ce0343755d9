//! What goes wrong in one playing: a write, or a kill at a change to a machine.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use http::{Method, Request, Response};
use kube::client::Body;
use pvdeck::cluster::Base;
use pvdeck::model::write::Reason;
use pvdeck::plugins::host::simulated::mortal::{Mortal, When};
use serde_json::json;
use tower::{BoxError, ServiceExt, service_fn};

/// How the write goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    KilledBefore,
    KilledAfterCommit,
    Conflict,
    DoneTwice,
}

pub const WAYS: [Way; 4] =
    [Way::KilledBefore, Way::KilledAfterCommit, Way::Conflict, Way::DoneTwice];

/// What goes wrong; places are counted from 0.
#[derive(Debug, Clone, Copy)]
pub enum Fault {
    Write(usize, Way),
    /// A kill at a change to a machine.
    Machine(usize, When),
}

/// What is to go wrong, and what was seen.
#[derive(Default)]
pub struct Plan {
    failing: Option<(usize, Way)>,
    writes: AtomicUsize,
    /// Whoever writes, and uses the machines if there are any.
    pub process: Arc<Mortal>,
    failed: Mutex<Option<String>>,
}

impl Plan {
    pub fn new(fault: Option<Fault>) -> Arc<Self> {
        Self::telling(fault, |_| {})
    }

    /// The same, and each change to a machine is told when it is done.
    pub fn telling(fault: Option<Fault>, tell: impl Fn(&str) + Send + Sync + 'static) -> Arc<Self> {
        let (failing, end) = match fault {
            None => (None, None),
            Some(Fault::Write(at, way)) => (Some((at, way)), None),
            Some(Fault::Machine(at, when)) => (None, Some((at, when))),
        };
        let process = Arc::new(Mortal::new(end).telling(tell));
        Arc::new(Self { failing, process, ..Self::default() })
    }

    /// How many writes were counted.
    pub fn writes(&self) -> usize {
        self.writes.load(Ordering::SeqCst)
    }

    /// The write that went wrong, for people; said once.
    pub fn take_failed_write(&self) -> Option<String> {
        self.failed.lock().expect("the plan").take()
    }

    /// Where the fault happened, if it did.
    pub fn fired(&self) -> Option<String> {
        self.process.killed_at().or_else(|| self.failed.lock().expect("the plan").clone())
    }

    pub fn does_twice(&self) -> bool {
        matches!(self.failing, Some((_, Way::DoneTwice)))
    }
}

/// Events and Leases come and go whatever happens.
const UNCOUNTED: [&str; 2] = ["/events", "/leases"];

/// A base below which the plan's fault happens.
pub fn faulty(base: Base, plan: Arc<Plan>) -> Base {
    service_fn(move |request: Request<Body>| {
        let (base, plan) = (base.clone(), plan.clone());
        async move {
            if plan.process.is_dead() {
                return std::future::pending().await;
            }
            let counts = request.extensions().get::<Reason>().is_some()
                && !UNCOUNTED.iter().any(|part| request.uri().path().contains(part));
            if !counts || request.method() == Method::GET {
                return base.oneshot(request).await;
            }
            let number = plan.writes.fetch_add(1, Ordering::SeqCst);
            match plan.failing.filter(|(at, _)| *at == number) {
                None => base.oneshot(request).await,
                Some((_, way)) => fail(base, &plan, way, request).await,
            }
        }
    })
    .boxed_clone()
}

async fn fail(
    base: Base,
    plan: &Plan,
    way: Way,
    request: Request<Body>,
) -> Result<Response<Body>, BoxError> {
    let (parts, body) = request.into_parts();
    let why = parts.extensions.get::<Reason>().map(|r| format!("{}: {}", r.rule, r.text));
    let write = format!("{} {} ({})", parts.method, parts.uri.path(), why.unwrap_or_default());
    *plan.failed.lock().expect("the plan") = Some(write);
    let body = body.collect_bytes().await?.to_vec();
    let again = || Request::from_parts(parts.clone(), Body::from(body.clone()));
    match way {
        Way::KilledBefore => {}
        Way::KilledAfterCommit => {
            base.oneshot(again()).await?;
        }
        Way::Conflict => {
            let status = json!({"kind": "Status", "apiVersion": "v1", "status": "Failure",
                "message": "the object has been modified", "reason": "Conflict", "code": 409});
            let mut answer = Response::new(Body::from(status.to_string().into_bytes()));
            *answer.status_mut() = http::StatusCode::CONFLICT;
            return Ok(answer);
        }
        Way::DoneTwice => {
            base.clone().oneshot(again()).await?;
            return base.oneshot(again()).await;
        }
    }
    plan.process.kill();
    std::future::pending().await
}
