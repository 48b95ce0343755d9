//! Keeps a mirror current: one list-watch loop per kind.
//!
//! Guarantees: a loop never ends while its [`Watching`] is held; a kind that
//! cannot be read never holds up another; an object that cannot be read is
//! skipped with a complaint. Dropping [`Watching`] stops everything.

use std::collections::HashMap;
use std::sync::Arc;

use tokio::sync::watch;
use tokio::task::{AbortHandle, Id, JoinSet};

use crate::mirror::Mirror;
use crate::mirror::follow::Follower;
use crate::mirror::freshness::Freshness;
use crate::mirror::link::{self, Link};
use crate::mirror::reader::Reader;
use crate::mirror::tables::for_each_kind;
use crate::model::clock::Clock;
use crate::model::kind::Kind;
use crate::model::row;

/// How to watch.
#[derive(Debug, Clone, Default)]
pub struct WatchOptions {
    /// Where to look when the user may not list all namespaces.
    pub namespace: Option<String>,
    /// Ask the server now and then whether it is there: finds a dead
    /// connection within seconds. Not needed for a cluster in this process.
    pub heartbeat: bool,
    /// Controllers are hosted: watch also what only they need.
    pub hosting: bool,
    /// Makes the jitter of this process differ from that of others.
    pub seed: u64,
}

/// The running loops of one mirror; they stop when this is dropped.
#[derive(Debug)]
pub struct Watching {
    supervisor: AbortHandle,
    link: watch::Sender<Link>,
}

impl Drop for Watching {
    fn drop(&mut self) {
        self.supervisor.abort();
    }
}

impl Watching {
    /// Starts the loops; call inside a runtime.
    pub fn start(
        mirror: &Mirror,
        client: kube::Client,
        clock: Arc<dyn Clock>,
        options: &WatchOptions,
    ) -> Self {
        let link = watch::Sender::new(Link::default());
        // Started again on the same mirror, it keeps its first clock: a mirror
        // is of one cluster, and a cluster has one clock.
        let _ = mirror.inner.clock.set(clock.clone());
        let reader = Reader { client, clock };
        let mut loops = Loops::default();
        macro_rules! follow {
            ($($(#[$doc:meta])* $field:ident: $row:ty, $reindex:ident, $share:ident;)*) => {$(
            if options.hosting || !<$row as row::Row>::ONLY_FOR_HOSTED {
                let follower =
                    Follower::<$row>::new(mirror.clone(), reader.clone(), link.subscribe(), options);
                loops.spawn(<$row as row::Row>::KIND, follower.run());
            })*};
        }
        for_each_kind!(follow);
        if options.heartbeat {
            loops.beats.spawn(link::heartbeat(reader.clone(), mirror.clone(), link.clone()));
        }
        let supervisor = tokio::spawn(loops.supervise(mirror.clone(), reader.clock)).abort_handle();
        Self { supervisor, link }
    }

    /// Lists everything again, at once.
    pub fn list_again(&self) {
        self.link.send_modify(|link| link.list_again += 1);
    }
}

/// The tasks of one [`Watching`].
#[derive(Default)]
struct Loops {
    follows: JoinSet<()>,
    kinds: HashMap<Id, &'static Kind>,
    beats: JoinSet<()>,
}

impl Loops {
    fn spawn(&mut self, kind: &'static Kind, run: impl Future<Output = ()> + Send + 'static) {
        self.kinds.insert(self.follows.spawn(run).id(), kind);
    }

    /// Loops do not end; one that does has a fault, which must show.
    async fn supervise(mut self, mirror: Mirror, clock: Arc<dyn Clock>) {
        while let Some(ended) = self.follows.join_next_with_id().await {
            let (id, error) = match ended {
                Ok((id, ())) => (id, "it ended".to_owned()),
                Err(error) => (error.id(), error.to_string()),
            };
            let Some(kind) = self.kinds.get(&id) else { continue };
            tracing::error!(kind = kind.plural, error, "a watch loop died");
            let error = format!("the watch of {} died, a fault of pvdeck: {error}", kind.plural);
            let since = clock.now().as_second();
            mirror.set_freshness(kind, Freshness::Stale { since, error });
        }
    }
}
