//! The read-only guard: an allow list of what cannot change anything.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::task::{Context, Poll};

use bytes::Bytes;
use futures::future::{Either, Ready, ready};
use http::{Method, Request, Response, StatusCode, Uri, header};
use serde_json::json;
use tower::{Layer, Service};

/// The cause's reason in the guard's 403, by which [`super::perform`] knows it.
pub const CAUSE: &str = "ReadOnly";

/// Whether a cluster may be written to. Clones share the switch.
#[derive(Debug, Clone)]
pub struct Access {
    state: Arc<AtomicU8>,
}

const WRITABLE: u8 = 0;
const READ_ONLY: u8 = 1;
const LOCKED: u8 = 2;

impl Access {
    pub fn writable() -> Self {
        Self::with(WRITABLE)
    }

    /// Read-only until [`Access::allow_writes`].
    pub fn read_only() -> Self {
        Self::with(READ_ONLY)
    }

    /// Read-only for good: `--read-only`.
    pub fn locked() -> Self {
        Self::with(LOCKED)
    }

    fn with(state: u8) -> Self {
        Self { state: Arc::new(AtomicU8::new(state)) }
    }

    pub fn is_read_only(&self) -> bool {
        self.state.load(Ordering::Acquire) != WRITABLE
    }

    /// Whether nothing inside the program can lift it.
    pub fn is_locked(&self) -> bool {
        self.state.load(Ordering::Acquire) == LOCKED
    }

    /// Lifts read-only; false if it is locked.
    pub fn allow_writes(&self) -> bool {
        let lifted =
            self.state.compare_exchange(READ_ONLY, WRITABLE, Ordering::AcqRel, Ordering::Acquire);
        !matches!(lifted, Err(LOCKED))
    }

    /// Makes a writable cluster read-only again.
    pub fn forbid_writes(&self) {
        // Locked stays locked; read-only is what was asked for.
        let _ =
            self.state.compare_exchange(WRITABLE, READ_ONLY, Ordering::AcqRel, Ordering::Acquire);
    }
}

/// Refuses every request that is not on the allow list, with a 403 `Status`.
#[derive(Debug, Clone)]
pub struct ReadOnlyLayer {
    access: Access,
}

impl ReadOnlyLayer {
    pub fn new(access: Access) -> Self {
        Self { access }
    }
}

impl<S> Layer<S> for ReadOnlyLayer {
    type Service = ReadOnly<S>;

    fn layer(&self, inner: S) -> Self::Service {
        ReadOnly { inner, access: self.access.clone() }
    }
}

/// See [`ReadOnlyLayer`].
#[derive(Debug, Clone)]
pub struct ReadOnly<S> {
    inner: S,
    access: Access,
}

impl<S, B, R> Service<Request<B>> for ReadOnly<S>
where
    S: Service<Request<B>, Response = Response<R>>,
    R: From<Bytes>,
{
    type Response = Response<R>;
    type Error = S::Error;
    type Future = Either<Ready<Result<Response<R>, S::Error>>, S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        if self.access.is_read_only() && !is_harmless(request.method(), request.uri()) {
            let refusal = refusal(request.method(), request.uri());
            return Either::Left(ready(Ok(refusal)));
        }
        Either::Right(self.inner.call(request))
    }
}

/// Subresources that run something or open a channel, whatever the method.
const CHANNELS: [&str; 4] = ["exec", "attach", "proxy", "portforward"];

/// Reviews are posted and change nothing.
const REVIEWS: [&str; 6] = [
    "selfsubjectaccessreviews",
    "selfsubjectrulesreviews",
    "subjectaccessreviews",
    "localsubjectaccessreviews",
    "selfsubjectreviews",
    "tokenreviews",
];

/// Whether a request cannot change anything: get, list and watch outside the
/// channel subresources, access reviews, and `dryRun=All`.
pub fn is_harmless(method: &Method, uri: &Uri) -> bool {
    let segments: Vec<&str> = uri.path().split('/').filter(|s| !s.is_empty()).collect();
    // /api/v1/namespaces/N/pods/P/exec and /api/v1/{nodes,services}/N/proxy/…;
    // an object may well be named `exec`, so only the subresource place counts.
    let rest = match segments.as_slice() {
        ["api", _, rest @ ..] | ["apis", _, _, rest @ ..] => rest,
        _ => &[],
    };
    let (resource, subresource) = match rest {
        ["namespaces", _, resource, _, subresource, ..] => (*resource, *subresource),
        ["namespaces", _, resource, ..] => (*resource, ""),
        [resource, _, subresource, ..] => (*resource, *subresource),
        [resource, ..] => (*resource, ""),
        [] => ("", ""),
    };
    let channel = CHANNELS.contains(&subresource);
    match *method {
        Method::GET | Method::HEAD | Method::OPTIONS => !channel,
        Method::POST if REVIEWS.contains(&resource) => true,
        Method::POST | Method::PUT | Method::PATCH | Method::DELETE => !channel && is_dry_run(uri),
        _ => false,
    }
}

/// Whether every `dryRun` of the query is `All`, and there is one.
pub fn is_dry_run(uri: &Uri) -> bool {
    let mut values = uri
        .query()
        .unwrap_or_default()
        .split('&')
        .filter_map(|pair| pair.strip_prefix("dryRun="))
        .peekable();
    values.peek().is_some() && values.all(|value| value == "All")
}

fn refusal<R: From<Bytes>>(method: &Method, uri: &Uri) -> Response<R> {
    let message = format!("{method} {} is forbidden: this cluster is open read-only", uri.path());
    let body = json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
        "message": message, "reason": "Forbidden",
        "details": {"causes": [{"reason": CAUSE, "message": "open read-only"}]},
        "code": 403,
    });
    let mut response = Response::new(R::from(Bytes::from(body.to_string())));
    *response.status_mut() = StatusCode::FORBIDDEN;
    response
        .headers_mut()
        .insert(header::CONTENT_TYPE, http::HeaderValue::from_static("application/json"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_cannot_change_anything_passes() {
        let harmless = [
            "GET /api/v1/persistentvolumes",
            "GET /api/v1/namespaces/default/pods/web?watch=true",
            "GET /api/v1/namespaces/default/pods/exec",
            "GET /version",
            "POST /apis/authorization.k8s.io/v1/selfsubjectaccessreviews",
            "PATCH /api/v1/persistentvolumes/a?dryRun=All&fieldManager=x",
            "DELETE /api/v1/persistentvolumes/a?dryRun=All",
        ];
        let harmful = [
            "POST /api/v1/persistentvolumes",
            "PUT /api/v1/persistentvolumes/a/status",
            "PATCH /api/v1/persistentvolumes/a",
            "PATCH /api/v1/persistentvolumes/a?dryRun=None",
            "PATCH /api/v1/persistentvolumes/a?dryRun=All&dryRun=",
            "DELETE /api/v1/persistentvolumes/a?xdryRun=All",
            "GET /api/v1/namespaces/default/pods/web/exec?command=rm",
            "GET /api/v1/nodes/n/proxy/logs",
            "POST /api/v1/namespaces/default/pods/web/portforward?dryRun=All",
            "POST /apis/coordination.k8s.io/v1/namespaces/x/leases",
            "BREW /api/v1/pods",
        ];
        let is_harmless = |line: &str| {
            let (method, uri) = line.split_once(' ').expect("two words");
            is_harmless(
                &Method::from_bytes(method.as_bytes()).expect("a method"),
                &uri.parse().expect("a URI"),
            )
        };
        for line in harmless {
            assert!(is_harmless(line), "{line}");
        }
        for line in harmful {
            assert!(!is_harmless(line), "{line}");
        }
    }

    #[test]
    fn locked_access_cannot_be_lifted() {
        let access = Access::locked();
        assert!(!access.allow_writes());
        assert!(access.is_read_only());
        let access = Access::read_only();
        assert!(access.allow_writes());
        assert!(!access.is_read_only());
        access.forbid_writes();
        assert!(access.is_read_only() && !access.is_locked());
    }
}
