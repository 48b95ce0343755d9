//! Watches: what is there, then every change, in the order of commits.
//!
//! A watch is a place in the store's history and a filter. It is polled by the
//! connection that reads it: one that does not read costs nothing, and is told
//! to start over when history has moved past it.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use futures::StreamExt as _;
use futures::future::BoxFuture;
use futures::stream::{self, BoxStream};
use tokio::sync::watch::Receiver;

use crate::cluster::embedded::Embedded;
use crate::cluster::embedded::form;
use crate::cluster::embedded::list_options::ListOptions;
use crate::cluster::embedded::negotiate::{Form, Include};
use crate::cluster::embedded::path::ResourcePath;
use crate::cluster::embedded::refusal::too_old;
use crate::cluster::embedded::registry::Served;
use crate::cluster::embedded::reply::Reply;
use crate::cluster::embedded::selector::Selector;
use crate::cluster::embedded::status::ApiError;
use crate::cluster::embedded::store::history::Commit;
use crate::cluster::embedded::store::object::Stored;
use crate::cluster::embedded::store::{Compacted, Span};
use crate::model::clock::TimerUse;

/// How often a watch says how far it has come.
const BOOKMARK_EVERY: Duration = Duration::from_secs(60);
/// A watch that is told no end ends after this long, and up to as much again.
const END_AFTER: Duration = Duration::from_secs(1800);
/// A last bookmark comes this long before the end.
const BOOKMARK_BEFORE_END: Duration = Duration::from_secs(2);
/// Commits read from history at once.
const BATCH: usize = 256;
/// Encoded events handed to the connection at once.
const CHUNK_BYTES: usize = 64 * 1024;

/// Which events a watch begins with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Start {
    /// Everything present, then changes.
    Present { end_bookmark: bool },
    /// Changes after this version.
    After(u64),
}

impl Embedded {
    /// Answers a watch.
    pub(super) async fn watch(
        &self,
        path: &ResourcePath,
        options: ListOptions,
        form: Form,
    ) -> Result<Reply, ApiError> {
        let start = match (options.send_initial_events, options.version) {
            (Some(true), _) => Start::Present { end_bookmark: true },
            (Some(false), None | Some(0)) => Start::After(self.store().revision()),
            (None, None | Some(0)) => Start::Present { end_bookmark: false },
            (_, Some(version)) => Start::After(version),
        };
        if options.send_initial_events == Some(true)
            && let Some(version) = options.version
            && let Err(error) = self.wait_for_revision(version).await
        {
            return Ok(Reply::events(stream::once(async move { error_line(&error) }).boxed()));
        }
        Ok(Reply::events(self.events(path, options, form, start)))
    }

    fn events(
        &self,
        path: &ResourcePath,
        options: ListOptions,
        form: Form,
        start: Start,
    ) -> BoxStream<'static, Bytes> {
        let timeout = options.timeout.unwrap_or_else(|| END_AFTER + END_AFTER.mul_f64(jitter()));
        let mut watch = Watch {
            // Subscribed before anything is read, so that no change is missed.
            changes: self.store().changes(path.served.table),
            embedded: self.clone(),
            served: path.served,
            namespace: path.namespace.clone(),
            selector: options.selector,
            form,
            seen: 0,
            initial: VecDeque::new(),
            end_bookmark: None,
            rows_sent: false,
            ended: false,
            bookmark_due: options.bookmarks.then(|| self.housekeeping(BOOKMARK_EVERY)),
            last_bookmark_due: (options.bookmarks && timeout > BOOKMARK_BEFORE_END)
                .then(|| self.housekeeping(timeout - BOOKMARK_BEFORE_END)),
            end_due: self.housekeeping(timeout),
        };
        watch.start(start, options.bookmarks);
        stream::unfold(watch, |mut watch| async move {
            let chunk = watch.next().await?;
            Some((chunk, watch))
        })
        .boxed()
    }

    fn housekeeping(&self, after: Duration) -> BoxFuture<'static, ()> {
        self.clock().sleep(after, TimerUse::Housekeeping)
    }
}

/// A number from 0 to 1 that spreads the ends of watches.
fn jitter() -> f64 {
    getrandom::u32().map_or(0.5, |number| f64::from(number) / f64::from(u32::MAX))
}

/// One watch, polled by its connection.
struct Watch {
    embedded: Embedded,
    served: Served,
    namespace: Option<String>,
    selector: Selector,
    form: Form,
    changes: Receiver<u64>,
    /// Every change up to this version has been sent or is of no interest.
    seen: u64,
    /// Present objects not sent yet.
    initial: VecDeque<Arc<Stored>>,
    /// The bookmark that ends the initial events, not sent yet.
    end_bookmark: Option<u64>,
    /// Table columns go out with the first row only.
    rows_sent: bool,
    ended: bool,
    bookmark_due: Option<BoxFuture<'static, ()>>,
    last_bookmark_due: Option<BoxFuture<'static, ()>>,
    end_due: BoxFuture<'static, ()>,
}

impl Watch {
    fn start(&mut self, start: Start, bookmarks: bool) {
        let end_bookmark = match start {
            Start::After(version) => {
                self.seen = version;
                return;
            }
            Start::Present { end_bookmark } => end_bookmark,
        };
        let span = Span {
            table: self.served.table,
            namespace: self.namespace.as_deref(),
            after: None,
            at: None,
            limit: None,
        };
        // The latest state is never compacted.
        if let Ok(page) = self.embedded.store().list(&span, |stored| self.selector.matches(stored))
        {
            self.seen = page.revision;
            self.initial = page.objects.into();
            self.end_bookmark = (end_bookmark && bookmarks).then_some(page.revision);
        }
    }

    /// The next lines, or `None` at the end of the watch.
    async fn next(&mut self) -> Option<Bytes> {
        if self.ended {
            return None;
        }
        if let Some(chunk) = self.next_initial() {
            return Some(chunk);
        }
        loop {
            self.changes.mark_unchanged();
            match self.embedded.store().tail(self.served.table, self.seen, BATCH) {
                Err(Compacted { oldest }) => {
                    self.ended = true;
                    return Some(error_line(&too_old(self.seen, oldest)));
                }
                Ok(tail) => {
                    let chunk = self.lines(&tail.commits);
                    self.seen = tail.up_to;
                    if !chunk.is_empty() {
                        return Some(chunk);
                    }
                    if !tail.commits.is_empty() {
                        continue;
                    }
                }
            }
            tokio::select! {
                biased;
                changed = self.changes.changed() => {
                    // The store is gone with its cluster.
                    changed.ok()?;
                }
                () = &mut self.end_due => return None,
                () = due(&mut self.last_bookmark_due) => {
                    self.last_bookmark_due = None;
                    if let Some(line) = self.bookmark() { return Some(line); }
                }
                () = due(&mut self.bookmark_due) => {
                    self.bookmark_due = Some(self.embedded.housekeeping(BOOKMARK_EVERY));
                    if let Some(line) = self.bookmark() { return Some(line); }
                }
            }
        }
    }

    /// A bookmark, if nothing that it would promise is still to be sent.
    fn bookmark(&mut self) -> Option<Bytes> {
        let tail = self.embedded.store().tail(self.served.table, self.seen, 1).ok()?;
        if !tail.commits.is_empty() {
            return None;
        }
        self.seen = tail.up_to;
        Some(line("BOOKMARK", &form::bookmark(self.served, self.form, self.seen, false)))
    }

    fn next_initial(&mut self) -> Option<Bytes> {
        let mut out = BytesMut::new();
        while out.len() < CHUNK_BYTES {
            let Some(stored) = self.initial.pop_front() else {
                if let Some(version) = self.end_bookmark.take() {
                    let bookmark = form::bookmark(self.served, self.form, version, true);
                    out.put(line("BOOKMARK", &bookmark));
                }
                break;
            };
            let object = self.object(&stored, stored.version);
            out.put(line("ADDED", &object));
        }
        (!out.is_empty()).then(|| out.freeze())
    }

    /// The events that these commits are to this watch.
    fn lines(&mut self, commits: &[Arc<Commit>]) -> Bytes {
        let mut out = BytesMut::new();
        for commit in commits {
            if let Some((kind, stored)) = self.event(commit) {
                let version = if kind == "DELETED" { commit.revision } else { stored.version };
                let object = self.object(&stored, version);
                out.put(line(kind, &object));
            }
        }
        out.freeze()
    }

    /// What a commit is to this watch: an object that begins to match is added,
    /// one that ceases to is deleted, with its last matching state.
    fn event(&self, commit: &Commit) -> Option<(&'static str, Arc<Stored>)> {
        if self.namespace.as_deref().is_some_and(|namespace| *commit.key.namespace != *namespace) {
            return None;
        }
        let matching =
            |state: &Option<Arc<Stored>>| state.clone().filter(|s| self.selector.matches(s));
        match (matching(&commit.before), matching(&commit.after)) {
            (None, Some(after)) => Some(("ADDED", after)),
            (Some(_), Some(after)) => Some(("MODIFIED", after)),
            (Some(before), None) => Some(("DELETED", before)),
            (None, None) => None,
        }
    }

    fn object(&mut self, stored: &Stored, version: u64) -> Bytes {
        let now = self.embedded.now();
        match self.form {
            Form::Table(include) => self.row(stored, version, include),
            form => form::object(self.served, stored, version, form, now),
        }
    }

    fn row(&mut self, stored: &Stored, version: u64, include: Include) -> Bytes {
        let first = !std::mem::replace(&mut self.rows_sent, true);
        form::watched_row(self.served, stored, version, include, first, self.embedded.now())
    }
}

async fn due(timer: &mut Option<BoxFuture<'static, ()>>) {
    match timer {
        Some(timer) => timer.await,
        None => std::future::pending().await,
    }
}

fn line(kind: &str, object: &[u8]) -> Bytes {
    let mut out = BytesMut::with_capacity(object.len() + 40);
    out.put_slice(br#"{"type":""#);
    out.put_slice(kind.as_bytes());
    out.put_slice(br#"","object":"#);
    out.put_slice(object);
    out.put_slice(b"}\n");
    out.freeze()
}

fn error_line(error: &ApiError) -> Bytes {
    line("ERROR", error.body().to_string().as_bytes())
}
