//! From a request to the function that answers it.

use bytes::Bytes;
use http::request::Parts;
use http::{Method, Response, header};
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use tower::BoxError;

use crate::cluster::embedded::list_options::ListOptions;
use crate::cluster::embedded::negotiate::{Offer, encoding_of_errors, negotiate};
use crate::cluster::embedded::path::{ResourcePath, Target};
use crate::cluster::embedded::query::Query;
use crate::cluster::embedded::refusal::{
    bad_request, method_not_allowed, not_found, too_big, unknown_resource,
};
use crate::cluster::embedded::reply::{Content, Reply, ReplyBody};
use crate::cluster::embedded::status::ApiError;
use crate::cluster::embedded::store::history::Author;
use crate::cluster::embedded::write::Call;
use crate::cluster::embedded::{Embedded, form};
use crate::model::object::Key;
use crate::model::write::{Actor, Reason};

/// The largest body that is read.
pub const BODY_LIMIT: usize = 3 * 1024 * 1024;

/// The user behind a request's credential, set by whoever checked it.
#[derive(Debug, Clone)]
pub struct User(pub std::sync::Arc<str>);

/// Reads a body whole, up to the limit.
pub async fn collect<B>(body: B) -> Result<Bytes, ApiError>
where
    B: http_body::Body<Data = Bytes> + Send,
    B::Error: Into<BoxError>,
{
    match Limited::new(body, BODY_LIMIT).collect().await {
        Ok(collected) => Ok(collected.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => Err(too_big(BODY_LIMIT)),
        Err(error) => Err(bad_request(format!("the body could not be read: {error}"))),
    }
}

impl Embedded {
    /// Answers a request whose body has been read.
    pub(super) async fn answer(
        &self,
        parts: Parts,
        body: Result<Bytes, ApiError>,
    ) -> Response<ReplyBody> {
        let query = Query::parse(parts.uri.query().unwrap_or_default());
        let fallback = encoding_of_errors(&parts.headers, &query);
        let is_head = parts.method == Method::HEAD;
        let outcome = match body {
            Ok(body) => self.route(&parts, query, body).await,
            Err(error) => Err(error),
        };
        let (mut reply, encoding) = match outcome {
            Ok(outcome) => outcome,
            Err(error) => (Reply::from(error), fallback),
        };
        if is_head {
            reply.content = Content::Nothing;
        }
        reply.into_response(encoding)
    }

    async fn route(&self, parts: &Parts, query: Query, body: Bytes) -> Routed {
        let method = match parts.method {
            // What a GET would answer, without its body.
            Method::HEAD => &Method::GET,
            ref method => method,
        };
        match Target::parse(parts.uri.path(), self.registry()) {
            Target::Resource(path) => match (&path.name, &path.subresource) {
                (None, _) => self.collection(parts, method, path, query, body).await,
                (Some(_), None) => self.object(parts, method, path, query, body).await,
                (Some(_), Some(_)) => self.subresource(parts, method, path, query, body),
            },
            Target::Virtual { kind, namespace } => {
                let media = negotiate(&parts.headers, &query, Offer::Plain)?;
                if method != Method::POST {
                    return Err(method_not_allowed());
                }
                let reply = self.virtual_resource(parts, kind, namespace, query, body)?;
                Ok((reply, media.encoding))
            }
            Target::UnknownResource | Target::Unknown => Err(unknown_resource()),
            target if method == Method::GET => self.information(parts, &query, target),
            _ => Err(method_not_allowed()),
        }
    }

    async fn collection(
        &self,
        parts: &Parts,
        method: &Method,
        path: ResourcePath,
        query: Query,
        body: Bytes,
    ) -> Routed {
        // Objects of a namespaced kind are made in a namespace.
        let placed = path.namespace.is_some() || !path.served.names().namespaced;
        match *method {
            Method::GET => {
                let media = negotiate(&parts.headers, &query, Offer::List)?;
                let watch = query.flag("watch");
                let options = ListOptions::parse(&query, path.served, watch)?;
                let reply = if watch {
                    self.watch(&path, options, media.form).await?
                } else {
                    self.list(&path, &options, media.form).await?
                };
                // Events are one JSON document a line, and flushed one by one.
                let plain = if watch { Default::default() } else { media.encoding };
                Ok((reply, plain))
            }
            Method::POST if placed => {
                let media = negotiate(&parts.headers, &query, Offer::Object)?;
                let call = call(parts, path, query, body, media.form);
                Ok((self.create(&call)?, media.encoding))
            }
            Method::DELETE if placed => {
                let media = negotiate(&parts.headers, &query, Offer::List)?;
                let call = call(parts, path, query, body, media.form);
                Ok((self.delete_collection(&call)?, media.encoding))
            }
            _ => Err(method_not_allowed()),
        }
    }

    async fn object(
        &self,
        parts: &Parts,
        method: &Method,
        path: ResourcePath,
        query: Query,
        body: Bytes,
    ) -> Routed {
        let media = negotiate(&parts.headers, &query, Offer::Object)?;
        let call = call(parts, path, query, body, media.form);
        let reply = match *method {
            Method::GET => {
                if let Some(version) = call.query.get("resourceVersion") {
                    let version = version.parse().map_err(|_| {
                        bad_request(format!("invalid resource version: {version:?}"))
                    })?;
                    self.wait_for_revision(version).await?;
                }
                self.read(&call)?
            }
            Method::PUT => self.replace(&call)?,
            Method::PATCH => self.patch(&call)?,
            Method::DELETE => self.delete(&call)?,
            _ => return Err(method_not_allowed()),
        };
        Ok((reply, media.encoding))
    }

    /// Answers a GET of one object.
    pub(super) fn read(&self, call: &Call) -> Result<Reply, ApiError> {
        let served = call.served();
        let key: Key = call.key();
        let stored = self
            .store()
            .get(served.table, &key)
            .ok_or_else(|| not_found(served.names(), call.name()))?;
        let body = form::object(served, &stored, stored.version, call.form, self.now());
        Ok(Reply::json(200, body))
    }
}

/// An answer with its encoding.
pub(super) type Routed = Result<(Reply, crate::cluster::embedded::negotiate::Encoding), ApiError>;

/// Gathers what a writing function needs.
pub(super) fn call(
    parts: &Parts,
    path: ResourcePath,
    query: Query,
    body: Bytes,
    form: crate::cluster::embedded::negotiate::Form,
) -> Call {
    let header = |name| {
        parts.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned()
    };
    let author = author(parts, &query, &header(header::USER_AGENT));
    Call {
        path,
        content_type: header(header::CONTENT_TYPE),
        query,
        body,
        form,
        author,
        reason: parts.extensions.get::<Reason>().cloned(),
    }
}

/// Who sent a request: the actor of our write path, or what a foreign client
/// calls itself.
fn author(parts: &Parts, query: &Query, user_agent: &str) -> Author {
    let field_manager = query.get("fieldManager");
    let foreign = || {
        let agent = user_agent.split('/').next().filter(|agent| !agent.is_empty());
        Actor(agent.or(field_manager).unwrap_or("unknown").to_owned())
    };
    Author {
        actor: parts.extensions.get::<Actor>().cloned().unwrap_or_else(foreign),
        user: parts.extensions.get::<User>().map(|user| user.0.clone()),
        user_agent: user_agent.into(),
        field_manager: field_manager.map(Into::into),
    }
}
