//! Lists: the latest state, one not older than asked, or exactly the asked one.

use std::time::Duration;

use crate::cluster::embedded::Embedded;
use crate::cluster::embedded::form::{self, ListMeta};
use crate::cluster::embedded::list_options::{Continuation, ListOptions};
use crate::cluster::embedded::negotiate::Form;
use crate::cluster::embedded::path::ResourcePath;
use crate::cluster::embedded::refusal::{expired, too_large};
use crate::cluster::embedded::reply::Reply;
use crate::cluster::embedded::status::ApiError;
use crate::cluster::embedded::store::{Compacted, Page, Span};
use crate::model::clock::TimerUse;
use serde_json::json;

/// How long a request for a version of the future waits for it.
const FUTURE_WAIT: Duration = Duration::from_secs(3);

impl Embedded {
    /// Answers a list.
    pub(super) async fn list(
        &self,
        path: &ResourcePath,
        options: &ListOptions,
        form: Form,
    ) -> Result<Reply, ApiError> {
        if let Some(version) = options.version {
            self.wait_for_revision(version).await?;
        }
        let page = self.page(path, options)?;
        let continuation = page
            .objects
            .last()
            .filter(|_| page.remaining > 0)
            .map(|last| Continuation { version: Some(page.revision), after: last.key.clone() });
        let meta = ListMeta {
            version: page.revision,
            // The count would mislead where a selector filters.
            remaining: continuation
                .as_ref()
                .filter(|_| options.selector.is_empty())
                .map(|_| page.remaining),
            continuation: continuation.map(|continuation| continuation.encode()),
        };
        Ok(Reply::json(200, form::list(path.served, &page.objects, &meta, form, self.now())))
    }

    /// Reads the objects that a list asks for.
    fn page(&self, path: &ResourcePath, options: &ListOptions) -> Result<Page, ApiError> {
        let continuation = options.continuation.as_ref();
        let span = Span {
            table: path.served.table,
            namespace: path.namespace.as_deref(),
            after: continuation.map(|continuation| &continuation.after),
            at: match continuation {
                Some(continuation) => continuation.version,
                None => options.version.filter(|_| options.exact),
            },
            limit: options.limit,
        };
        self.store().list(&span, |stored| options.selector.matches(stored)).map_err(
            |Compacted { .. }| match continuation {
                Some(continuation) => page_expired(continuation),
                None => expired("The resourceVersion for the provided list is too old."),
            },
        )
    }

    /// Waits until the store has reached a version; 504 if it does not in time.
    pub(super) async fn wait_for_revision(&self, version: u64) -> Result<(), ApiError> {
        let mut revisions = self.store().revisions();
        if self.store().revision() >= version {
            return Ok(());
        }
        let reached = revisions.wait_for(|revision| *revision >= version);
        let timeout = self.clock().sleep(FUTURE_WAIT, TimerUse::Work);
        tokio::select! {
            _ = reached => Ok(()),
            () = timeout => Err(too_large(version, self.store().revision())),
        }
    }
}

/// The snapshot of a paged list is gone; the rest can be had from the latest
/// state.
fn page_expired(continuation: &Continuation) -> ApiError {
    let message = "The provided continue parameter is too old to display a consistent list result. You can \
                   start a new list without the continue parameter, or use the continue token in this \
                   response to retrieve the remainder of the results. Continuing with the provided token \
                   results in an inconsistent list - objects that were created, modified, or deleted between \
                   the time the first chunk was returned and now may show up in the list.";
    let rest = Continuation { version: None, after: continuation.after.clone() };
    expired(message).with_list_meta(json!({"continue": rest.encode()}))
}
