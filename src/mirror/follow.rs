//! The list-watch loop of one kind.
//!
//! ```text
//! list, page by page ──> rows appear ──> sweep what was not listed
//!        ^                                        │
//!        └── history gone, list again ── watch <──┘   ends: watch on from the
//!                                          │          version reached
//!                                          └── error: stale, pause, again
//! ```

use std::collections::HashSet;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use serde_json::Value;
use serde_json::value::RawValue;
use tokio::sync::watch;

use crate::mirror::backoff::Backoff;
use crate::mirror::complaint::readable;
use crate::mirror::freshness::Freshness;
use crate::mirror::link::Link;
use crate::mirror::reader::{Line, Page, ReadError, Reader, Status};
use crate::mirror::watch::WatchOptions;
use crate::mirror::{Mirror, Mirrored, News};
use crate::model::clock::TimerUse;
use crate::model::row;

/// A watch is asked to end after this long, as client-go asks: so that a
/// server's load can spread again.
const WATCH_LENGTH: Duration = Duration::from_secs(300);
/// How often to look again for what is forbidden or not served.
const ASK_AGAIN: Duration = Duration::from_secs(60);
/// A watch that was open this long, or brought anything new, was a success.
const GOOD_WATCH: Duration = Duration::from_secs(10);

/// The loop of one kind.
pub(super) struct Follower<R> {
    mirror: Mirror,
    reader: Reader,
    link: watch::Receiver<Link>,
    backoff: Backoff,
    /// Where to look when the whole cluster may not be listed.
    fallback: Option<Arc<str>>,
    /// The namespace it is confined to, if it is.
    confined: Option<Arc<str>>,
    /// The version reached; `None`: list first.
    version: Option<u64>,
    /// The highest version ever reached: a list below it means that the server
    /// was set back, and versions say nothing any more.
    highest: u64,
    stale_since: Option<Timestamp>,
    loaded: bool,
    row: std::marker::PhantomData<fn() -> R>,
}

impl<R: Mirrored> Follower<R> {
    pub(super) fn new(
        mirror: Mirror,
        reader: Reader,
        link: watch::Receiver<Link>,
        options: &WatchOptions,
    ) -> Self {
        let mut hasher = DefaultHasher::new();
        (options.seed, R::KIND).hash(&mut hasher);
        Self {
            mirror,
            reader,
            link,
            backoff: Backoff::new(hasher.finish()),
            fallback: options.namespace.as_deref().filter(|_| R::KIND.namespaced).map(Arc::from),
            confined: None,
            version: None,
            highest: 0,
            stale_since: None,
            loaded: false,
            row: std::marker::PhantomData,
        }
    }

    pub(super) async fn run(mut self) {
        self.mirror.set_freshness(R::KIND, Freshness::Loading { seen: 0 });
        loop {
            let asked_to_list = self.link.borrow_and_update().list_again;
            let mut link = self.link.clone();
            let result = tokio::select! {
                result = self.list_and_watch() => result,
                interrupt = link.wait_for(|link| link.interrupts(asked_to_list)) => match interrupt {
                    Ok(now) if now.list_again != asked_to_list => {
                        self.version = None;
                        continue;
                    }
                    Ok(now) => Err(ReadError::Unreachable(now.lost_because())),
                    // Nobody holds the handle any more.
                    Err(_) => return,
                },
            };
            if let Err(error) = result {
                self.pause_after(error, asked_to_list).await;
            }
        }
    }

    async fn list_and_watch(&mut self) -> Result<(), ReadError> {
        if self.version.is_none() {
            self.version = Some(self.list().await?);
        }
        self.watch().await
    }

    fn path(&self) -> String {
        R::KIND.collection_path(self.confined.as_deref())
    }

    /// Lists page by page, applying each; then takes out what was not listed.
    async fn list(&mut self) -> Result<u64, ReadError> {
        let (path, mut next, mut listed) = (self.path(), String::new(), HashSet::new());
        loop {
            let answer = self.reader.page(&path, &next).await?;
            self.mirror.set_server_ahead(answer.ahead);
            let page = Page::parse(&answer.body)?;
            let version = page.version()?;
            if version < self.highest {
                tracing::warn!(kind = R::KIND.plural, version, "the server was set back");
                self.mirror.forget_all::<R>();
                self.highest = 0;
            }
            let rows: Vec<R> = page.items().iter().filter_map(|item| self.row(item)).collect();
            let (before, readable) = (listed.len(), rows.len() == page.items().len());
            listed.extend(rows.iter().map(|row| row.meta().uid.clone()));
            self.mirror.load(rows, if self.loaded { News::Tell } else { News::Old });
            if !self.loaded && self.stale_since.is_none() {
                let seen = listed.len();
                self.mirror.set_freshness(R::KIND, Freshness::Loading { seen });
            }
            next = page.metadata.next.to_string();
            if next.is_empty() {
                self.mirror.sweep::<R>(&listed, version);
                self.mirror.reached::<R>(version);
                self.loaded = true;
                self.highest = version;
                return Ok(version);
            }
            if readable && listed.len() == before {
                return Err(ReadError::Garbage("a list whose pages go round in a circle".into()));
            }
        }
    }

    /// Follows from the version reached until the server ends the watch.
    async fn watch(&mut self) -> Result<(), ReadError> {
        let version = self.version.unwrap_or_default();
        let mut lines = self.reader.watch(&self.path(), version, WATCH_LENGTH).await?;
        self.stale_since = None;
        self.mirror.set_freshness(R::KIND, self.live());
        let opened = self.reader.clock.now();
        let result = loop {
            match lines.next().await {
                Ok(Some(line)) => {
                    if let Err(error) = self.take_in(&line) {
                        break Err(error);
                    }
                }
                Ok(None) => break Ok(()),
                Err(error) => break Err(error),
            }
        };
        let open_for = self.reader.clock.now().duration_since(opened);
        if self.version > Some(version) || open_for.unsigned_abs() >= GOOD_WATCH {
            self.backoff.reset();
            return result;
        }
        // A server that hangs up at once must not be asked without pause.
        result.and(Err(ReadError::Unreachable("the server ends every watch at once".into())))
    }

    /// Takes in one watch event.
    fn take_in(&mut self, line: &[u8]) -> Result<(), ReadError> {
        let line = Line::parse(line)?;
        match &*line.event {
            "ADDED" | "MODIFIED" => {
                if let Some(row) = self.row(line.object) {
                    self.reached(row.meta().version);
                    self.mirror.apply(row);
                }
            }
            "DELETED" => match parse(line.object).and_then(|object| {
                row::meta(R::KIND, &object).map_err(|malformed| malformed.to_string())
            }) {
                Ok(meta) => {
                    self.reached(meta.version);
                    self.mirror.remove::<R>(&meta.key, &meta.uid, meta.version);
                }
                Err(complaint) => self.mirror.complain(self.reader.clock.now(), complaint),
            },
            "BOOKMARK" => {
                let version = parse(line.object).ok().and_then(|object| {
                    object["metadata"]["resourceVersion"].as_str()?.parse().ok()
                });
                self.reached(version.unwrap_or_default());
            }
            "ERROR" => return Err(error_event(line.object)),
            other => {
                let text =
                    format!("{}: unknown watch event `{}`", R::KIND.kind, readable(other, 40));
                self.mirror.complain(self.reader.clock.now(), text);
            }
        }
        Ok(())
    }

    fn reached(&mut self, version: u64) {
        self.highest = self.highest.max(version);
        self.version = Some(self.highest);
        self.mirror.reached::<R>(version);
    }

    /// Reads a row; what cannot be read is complained of.
    fn row(&self, object: &RawValue) -> Option<R> {
        let row = parse(object)
            .and_then(|object| R::from_object(&object).map_err(|malformed| malformed.to_string()));
        row.map_err(|complaint| self.mirror.complain(self.reader.clock.now(), complaint)).ok()
    }

    fn live(&self) -> Freshness {
        match &self.confined {
            Some(namespace) => Freshness::LiveInNamespace { namespace: namespace.clone() },
            None => Freshness::Live,
        }
    }

    /// Says how things stand after an error, and waits before the next try.
    async fn pause_after(&mut self, error: ReadError, asked_to_list: u64) {
        tracing::debug!(kind = R::KIND.plural, %error, "watch interrupted");
        let pause = match error {
            ReadError::Forbidden(_) if self.confined.is_none() && self.fallback.is_some() => {
                self.confined = self.fallback.clone();
                self.version = None;
                return;
            }
            ReadError::Forbidden(message) => {
                self.confined = None;
                self.out_of_reach(Freshness::Forbidden { message });
                (ASK_AGAIN, TimerUse::Housekeeping)
            }
            ReadError::NotServed => {
                self.out_of_reach(Freshness::NotServed);
                (ASK_AGAIN, TimerUse::Housekeeping)
            }
            ReadError::Gone if self.version.take().is_some() && self.backoff.is_fresh() => {
                self.stale(&error);
                self.backoff.next();
                return;
            }
            _ => {
                self.stale(&error);
                (self.backoff.next(), TimerUse::Work)
            }
        };
        let mut link = self.link.clone();
        let was_lost = link.borrow().is_lost();
        tokio::select! {
            () = self.reader.clock.sleep(pause.0, pause.1) => {}
            _ = link.wait_for(|link| link.calls(asked_to_list, was_lost)) => {}
        }
    }

    /// What was held is no longer known to be there.
    fn out_of_reach(&mut self, freshness: Freshness) {
        self.version = None;
        self.stale_since = None;
        self.loaded = false;
        self.mirror.forget_all::<R>();
        self.mirror.set_freshness(R::KIND, freshness);
    }

    fn stale(&mut self, error: &ReadError) {
        let lost = self.link.borrow().lost_since();
        let now = self.reader.clock.now();
        let since = *self.stale_since.get_or_insert(lost.unwrap_or(now));
        let since = since.checked_add(self.mirror.server_ahead()).unwrap_or(since);
        let error = error.to_string();
        self.mirror.set_freshness(R::KIND, Freshness::Stale { since: since.as_second(), error });
    }
}

fn parse(object: &RawValue) -> Result<Value, String> {
    serde_json::from_str(object.get()).map_err(|error| error.to_string())
}

fn error_event(object: &RawValue) -> ReadError {
    let status: Status = serde_json::from_str(object.get()).unwrap_or_default();
    match status.code {
        410 => ReadError::Gone,
        code => ReadError::Refused { code, message: readable(&status.message, 300) },
    }
}
