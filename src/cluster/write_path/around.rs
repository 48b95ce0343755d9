//! A layer as one function: what is done with a request on its way down, and
//! with the answer on its way up.

use std::task::{Context, Poll};

use futures::future::BoxFuture;
use http::{Request, Response};
use kube::client::Body;
use tower::{BoxError, Layer, Service};

/// The answer to a request, when it comes.
pub type Answer = BoxFuture<'static, Result<Response<Body>, BoxError>>;

/// The service below a layer, ready for one request.
pub trait Below:
    Service<Request<Body>, Response = Response<Body>, Error = BoxError, Future: Send + 'static>
    + Clone
    + Send
    + 'static
{
}

impl<S> Below for S where
    S: Service<Request<Body>, Response = Response<Body>, Error = BoxError, Future: Send + 'static>
        + Clone
        + Send
        + 'static
{
}

/// What a layer does with a request.
pub trait Around {
    /// Answers a request, by `below` or without it.
    fn handle<S: Below>(&self, below: S, request: Request<Body>) -> Answer;
}

/// The layer that does what `A` does.
#[derive(Debug, Clone)]
pub struct AroundLayer<A>(pub A);

impl<A: Clone, S> Layer<S> for AroundLayer<A> {
    type Service = Surrounded<A, S>;

    fn layer(&self, below: S) -> Self::Service {
        Surrounded { around: self.0.clone(), below }
    }
}

/// See [`AroundLayer`].
#[derive(Debug, Clone)]
pub struct Surrounded<A, S> {
    around: A,
    below: S,
}

impl<A: Around, S: Below> Service<Request<Body>> for Surrounded<A, S> {
    type Response = Response<Body>;
    type Error = BoxError;
    type Future = Answer;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.below.poll_ready(cx)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        // The service that was polled ready takes the call; its clone stays.
        let clone = self.below.clone();
        let ready = std::mem::replace(&mut self.below, clone);
        self.around.handle(ready, request)
    }
}
