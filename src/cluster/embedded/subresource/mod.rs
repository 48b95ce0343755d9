//! Subresources: another way to the same object.

mod binding;
mod eviction;
mod log;
mod scale;
mod token;

pub use log::ContainerLogs;

use crate::cluster::embedded::Embedded;
use crate::cluster::embedded::negotiate::{Offer, negotiate};
use crate::cluster::embedded::path::ResourcePath;
use crate::cluster::embedded::query::Query;
use crate::cluster::embedded::refusal::{method_not_allowed, unknown_resource};
use crate::cluster::embedded::router::{Routed, call};
use crate::cluster::embedded::status::ApiError;
use crate::model::kind;
use bytes::Bytes;
use http::Method;
use http::request::Parts;

/// Ways into a running container.
const CHANNELS: &[&str] = &["exec", "attach", "portforward", "proxy"];

impl Embedded {
    /// Answers a request to a subresource.
    pub(super) fn subresource(
        &self,
        parts: &Parts,
        method: &Method,
        path: ResourcePath,
        query: Query,
        body: Bytes,
    ) -> Routed {
        let media = negotiate(&parts.headers, &query, Offer::Object)?;
        let name = path.subresource.clone().unwrap_or_default();
        // A proxied path goes on below the subresource.
        let first = name.split('/').next().unwrap_or_default();
        if CHANNELS.contains(&first) && path.served.names() == kind::POD {
            return Err(not_here(first));
        }
        let row = path.served.subresource(&name).ok_or_else(unknown_resource)?;
        let verb = match *method {
            Method::GET => "get",
            Method::PUT => "update",
            Method::PATCH => "patch",
            Method::POST => "create",
            _ => return Err(method_not_allowed()),
        };
        if !row.verbs.contains(&verb) {
            return Err(method_not_allowed());
        }
        let call = call(parts, path, query, body, media.form);
        let reply = match (name.as_str(), verb) {
            ("scale", "get") => self.read_scale(&call)?,
            ("scale", "update") => self.replace_scale(&call)?,
            ("scale", "patch") => self.patch_scale(&call)?,
            ("binding", _) => self.bind(&call)?,
            ("eviction", _) => self.evict(&call)?,
            ("token", _) => self.make_token(&call)?,
            ("log", _) => self.log(&call)?,
            (_, "get") => self.read(&call)?,
            (_, "update") => self.replace(&call)?,
            (_, "patch") => self.patch(&call)?,
            _ => return Err(method_not_allowed()),
        };
        Ok((reply, media.encoding))
    }
}

/// A channel into a container.
fn not_here(what: &str) -> ApiError {
    ApiError::new(
        501,
        "",
        format!(
            "{what} is not served: containers are simulated here; the files of a pod's volumes \
             are in the console's files view"
        ),
    )
}
