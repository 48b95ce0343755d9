//! Everything that answers behind `kube::Client`.
//!
//! A live cluster, the embedded cluster, and later a dump, a recording or a
//! fork: outside this folder nothing knows which one it talks to. Knows
//! `model`. No statics: several clusters share a process.
//!
//! ```text
//! decision -> perform(Write) -> actor -> read-only -> step gate -> journal -> retry -> base
//! ```

pub mod clock;
pub mod connect;
pub mod embedded;
pub mod permissions;
pub mod write_path;

use http::{Request, Response};
use tower::BoxError;
use tower::util::BoxCloneService;

/// Whatever answers API requests, below the write path.
pub type Base =
    BoxCloneService<Request<kube::client::Body>, Response<kube::client::Body>, BoxError>;

/// An error with its causes, each said once: kube's errors repeat theirs.
pub fn causes(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let more = cause.to_string();
        if !text.contains(&more) {
            text.push_str(": ");
            text.push_str(&more);
        }
        next = cause.source();
    }
    text
}
