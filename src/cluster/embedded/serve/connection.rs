//! One connection: TLS, then requests, each with its credential checked.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use futures::FutureExt as _;
use futures::future::BoxFuture;
use http::{HeaderMap, Request, Response, header};
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt as _;
use http_body_util::combinators::UnsyncBoxBody;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tower::{BoxError, Service, ServiceExt as _};

use crate::cluster::embedded::negotiate::Encoding;
use crate::cluster::embedded::reply::Reply;
use crate::cluster::embedded::router::{User, collect};
use crate::cluster::embedded::status::ApiError;

/// The user that the token stands for.
const TOKEN_USER: &str = "admin";
/// The user of requests without a credential.
const ANONYMOUS: &str = "system:anonymous";
/// What may be asked without one.
const OPEN_PATHS: &[&str] = &["/version", "/healthz", "/livez", "/readyz"];

/// Requests at once on one connection: informers put all their watches on one.
const STREAMS: u32 = 2000;

/// Serves one connection to its end.
pub async fn run<S, R>(
    stream: TcpStream,
    acceptor: TlsAcceptor,
    token: Arc<str>,
    service: S,
    ending: CancellationToken,
) where
    S: Service<Request<kube::client::Body>, Response = Response<R>> + Clone + Send + 'static,
    S::Future: Send + 'static,
    S::Error: Into<BoxError>,
    R: Body<Data = Bytes> + Send + 'static,
    R::Error: Into<BoxError>,
{
    // Events are small and must not wait for more.
    let _ = stream.set_nodelay(true);
    let accepted = tokio::select! {
        accepted = acceptor.accept(stream) => accepted,
        () = ending.cancelled() => return,
    };
    let Ok(stream) = accepted else { return };
    let until = ending.clone();
    let answer = service_fn(move |request: Request<Incoming>| {
        answer(request, service.clone(), token.clone(), until.clone())
    });
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder.http2().max_concurrent_streams(STREAMS);
    let connection = builder.serve_connection(TokioIo::new(stream), answer);
    tokio::pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = ending.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(error, "a connection ended early");
    }
}

async fn answer<S, R>(
    request: Request<Incoming>,
    service: S,
    token: Arc<str>,
    ending: CancellationToken,
) -> Result<Response<UnsyncBoxBody<Bytes, BoxError>>, BoxError>
where
    S: Service<Request<kube::client::Body>, Response = Response<R>>,
    S::Error: Into<BoxError>,
    R: Body<Data = Bytes> + Send + 'static,
    R::Error: Into<BoxError>,
{
    let (mut parts, body) = request.into_parts();
    let user = match user(&parts.headers, parts.uri.path(), &token) {
        Some(user) => user,
        None => return Ok(refuse(ApiError::new(401, "Unauthorized", "Unauthorized"))),
    };
    parts.extensions.insert(User(user.into()));
    let body = match collect(body).await {
        Ok(body) => body,
        Err(error) => return Ok(refuse(error)),
    };
    let request = Request::from_parts(parts, kube::client::Body::from(body));
    let response = service.oneshot(request).await.map_err(Into::into)?;
    Ok(response.map(|body| UntilEnding::new(body, ending).boxed_unsync()))
}

fn refuse(error: ApiError) -> Response<UnsyncBoxBody<Bytes, BoxError>> {
    let response = Reply::from(error).into_response(Encoding::default());
    response.map(|body| body.map_err(|never| match never {}).boxed_unsync())
}

/// Who asks; `None`: a wrong credential, or none where one is needed.
fn user(headers: &HeaderMap, path: &str, token: &str) -> Option<&'static str> {
    let given = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    let given = given.and_then(|value| value.strip_prefix("Bearer "));
    if given.is_some_and(|given| is_same(given.trim().as_bytes(), token.as_bytes())) {
        return Some(TOKEN_USER);
    }
    let open = OPEN_PATHS.iter().any(|open| {
        path.strip_prefix(open).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    });
    open.then_some(ANONYMOUS)
}

/// Compares in a time that does not tell where they differ.
fn is_same(given: &[u8], token: &[u8]) -> bool {
    given.len() == token.len() && given.iter().zip(token).fold(0, |d, (a, b)| d | (a ^ b)) == 0
}

/// A body whose stream, if it is one, ends when the server does.
struct UntilEnding<B> {
    body: Pin<Box<B>>,
    ending: BoxFuture<'static, ()>,
}

impl<B: Body> UntilEnding<B> {
    fn new(body: B, ending: CancellationToken) -> Self {
        Self { body: Box::pin(body), ending: ending.cancelled_owned().boxed() }
    }
}

impl<B> Body for UntilEnding<B>
where
    B: Body<Data = Bytes>,
    B::Error: Into<BoxError>,
{
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let is_stream = self.body.size_hint().exact().is_none();
        if is_stream && self.ending.poll_unpin(cx).is_ready() {
            return Poll::Ready(None);
        }
        self.body.as_mut().poll_frame(cx).map_err(Into::into)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_token_opens_what_is_not_open() {
        let with = |value: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::AUTHORIZATION, value.parse().expect("a header"));
            headers
        };
        for (headers, path, expected) in [
            (with("Bearer secret"), "/api/v1/pods", Some(TOKEN_USER)),
            (with("Bearer secrets"), "/api/v1/pods", None),
            (with("Basic secret"), "/api/v1/pods", None),
            (HeaderMap::new(), "/api/v1/pods", None),
            (HeaderMap::new(), "/version", Some(ANONYMOUS)),
            (HeaderMap::new(), "/readyz/ping", Some(ANONYMOUS)),
            (HeaderMap::new(), "/versions", None),
            (with("Bearer wrong"), "/healthz", Some(ANONYMOUS)),
        ] {
            assert_eq!(user(&headers, path, "secret"), expected, "{path} {headers:?}");
        }
    }
}
