//! Time as a trait: every hosted loop, simulated host and the embedded server
//! take a [`Clock`]. Its implementations are in `cluster::clock`.

use std::fmt;
use std::time::Duration;

use futures::future::BoxFuture;
use jiff::Timestamp;

/// What a timer is for. A cluster is *quiet* when no queue is filled and no
/// [`TimerUse::Work`] timer is due within an hour.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TimerUse {
    /// Something will happen when it fires: a backoff, a grace period.
    Work,
    /// Looking again without cause: resyncs, bookmarks, watch ends, heartbeats.
    Housekeeping,
}

/// One cluster's time. It stands while that cluster's step gate is shut.
pub trait Clock: Send + Sync + fmt::Debug {
    /// The cluster's present.
    fn now(&self) -> Timestamp;

    /// Resolves once the cluster's time has advanced by `duration`. Dropping
    /// the future takes the timer away.
    fn sleep(&self, duration: Duration, usage: TimerUse) -> BoxFuture<'static, ()>;
}
