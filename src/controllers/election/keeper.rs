//! The shell: looks at the Lease from time to time, and writes what is decided.

use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use super::decide::{DURATION, Seen, Step, decide};
use super::{Duty, Leadership};
use crate::cluster::write_path::WriteError;
use crate::controllers::health::LoopState;
use crate::controllers::parts::Parts;
use crate::model::clock::TimerUse;
use crate::model::kind;
use crate::model::object::{Key, ObjectRef};
use crate::model::write::{Reason, Write};

/// Where the Leases of the control plane are.
pub(super) const NAMESPACE: &str = "kube-system";

/// Who we are. One name for every run: a cluster of ours has one process that
/// hosts its controllers, and after a restart it goes on at once.
const IDENTITY: &str = "pvdeck";

/// How often the Lease is renewed, or looked at.
const PERIOD: Duration = Duration::from_secs(5);
/// After so long without a renewal that was answered we do not lead any more
/// (upstream: `RenewDeadline`), before others may (see [`DURATION`]).
const RENEWED_WITHIN: SignedDuration = SignedDuration::from_secs(10);
const _: () = assert!(RENEWED_WITHIN.as_secs() < DURATION.as_secs());

/// What keeping a Lease takes.
pub struct Keeper {
    pub duty: Duty,
    pub leadership: Leadership,
    pub parts: Parts,
}

/// Keeps the Lease until dropped, or waits for it.
pub async fn keep(keeper: Keeper) {
    let (mut seen, mut renewed): (Option<Seen>, Option<Timestamp>) = (None, None);
    loop {
        match keeper.look(&mut seen).await {
            Ok(None) => {
                renewed = Some(keeper.parts.clock.now());
                keeper.leadership.lead();
                keeper.parts.health.change(|figures| figures.state = LoopState::Running);
            }
            Ok(Some(holder)) => keeper.stand_by(&holder),
            Err(error) => {
                let now = keeper.parts.clock.now();
                keeper.parts.health.failed(now, keeper.lease().to_string(), error);
                let late = |at: &Timestamp| now.duration_since(*at) >= RENEWED_WITHIN;
                if renewed.as_ref().is_none_or(late) {
                    keeper.stand_by("nobody that can be asked");
                }
            }
        }
        keeper.parts.clock.sleep(PERIOD, TimerUse::Housekeeping).await;
    }
}

impl Keeper {
    fn lease(&self) -> ObjectRef {
        ObjectRef::new(kind::LEASE, Key::new(NAMESPACE, self.duty.lease))
    }

    fn stand_by(&self, holder: &str) {
        self.leadership.stand_by();
        let state = LoopState::StandsBy { holder: holder.to_owned() };
        self.parts.health.change(|figures| figures.state = state);
    }

    /// Looks at the Lease, and takes or renews it if it is ours to; who holds it
    /// if somebody else does.
    async fn look(&self, seen: &mut Option<Seen>) -> Result<Option<Arc<str>>, String> {
        let (lease, now) = (self.lease(), self.parts.clock.now());
        let found = self.parts.server.get(&lease).await.map_err(|error| error.to_string())?;
        *seen = found.map(|found| see(found, seen.take(), now));
        let (change, version, why) = match decide(self.duty.lease, seen.as_ref(), IDENTITY, now) {
            Step::StandBy { holder } => return Ok(Some(holder)),
            Step::Write { change, version, why } => (change, version, why),
        };
        let write = Write {
            on_behalf_of: lease.clone(),
            object: lease,
            subresource: None,
            change,
            version,
            reason: Reason::new("lead", why),
        };
        match self.parts.server.perform(&write).await {
            Ok(_) => {
                self.parts.health.wrote();
                Ok(None)
            }
            // Somebody was faster: who, the next look tells.
            Err(WriteError::Conflict { .. } | WriteError::AlreadyExists { .. }) => {
                Ok(Some("somebody who was faster".into()))
            }
            Err(error) => Err(error.to_string()),
        }
    }
}

/// A Lease that was read, beside what was seen of it before.
fn see(mut found: Value, before: Option<Seen>, now: Timestamp) -> Seen {
    let version = found["metadata"]["resourceVersion"].as_str();
    let version = version.and_then(|version| version.parse().ok()).unwrap_or(0);
    let spec = found["spec"].take();
    let since = before.filter(|before| before.spec == spec).map_or(now, |before| before.since);
    Seen { version, spec, since }
}
