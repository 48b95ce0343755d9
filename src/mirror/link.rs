//! Whether the server is there at all: one heartbeat for all watch loops.
//!
//! An open watch on a quiet cluster looks the same whether the server is well
//! or a cable is out. Without this, a picture hours old would pass for live.

use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::watch;

use crate::mirror::Mirror;
use crate::mirror::reader::{ReadError, Reader};
use crate::model::clock::TimerUse;

const INTERVAL: Duration = Duration::from_secs(10);
/// While it does not answer, to be back soon after it does.
const INTERVAL_LOST: Duration = Duration::from_secs(3);
/// An answer that takes longer counts as none.
const PATIENCE: Duration = Duration::from_secs(5);

/// What all loops of one mirror listen to.
#[derive(Debug, Clone, Default)]
pub(super) struct Link {
    /// Rises when everything is to be listed again.
    pub(super) list_again: u64,
    lost: Option<Lost>,
}

#[derive(Debug, Clone)]
struct Lost {
    /// When the server last answered.
    since: Timestamp,
    because: String,
}

impl Link {
    /// Whether an open watch has to be given up.
    pub(super) fn interrupts(&self, asked_to_list: u64) -> bool {
        self.lost.is_some() || self.list_again != asked_to_list
    }

    /// Whether a pause has to be cut short.
    pub(super) fn calls(&self, asked_to_list: u64, was_lost: bool) -> bool {
        (was_lost && self.lost.is_none()) || self.list_again != asked_to_list
    }

    pub(super) fn is_lost(&self) -> bool {
        self.lost.is_some()
    }

    pub(super) fn lost_since(&self) -> Option<Timestamp> {
        self.lost.as_ref().map(|lost| lost.since)
    }

    pub(super) fn lost_because(&self) -> String {
        self.lost.as_ref().map(|lost| lost.because.clone()).unwrap_or_default()
    }
}

/// Asks the server now and then; tells the loops when it stops answering and
/// when it answers again. Any answer will do, a refusal too.
pub(super) async fn heartbeat(reader: Reader, mirror: Mirror, link: watch::Sender<Link>) {
    let mut answered = reader.clock.now();
    loop {
        let interval = if link.borrow().is_lost() { INTERVAL_LOST } else { INTERVAL };
        reader.clock.sleep(interval, TimerUse::Housekeeping).await;
        let answer = tokio::select! {
            answer = reader.get("/version") => answer,
            () = reader.clock.sleep(PATIENCE, TimerUse::Housekeeping) => {
                Err(ReadError::Silent(PATIENCE))
            }
        };
        let lost = match answer {
            Err(error @ (ReadError::Unreachable(_) | ReadError::Silent(_))) => {
                Some(Lost { since: answered, because: error.to_string() })
            }
            Ok(answer) => {
                mirror.set_server_ahead(answer.ahead);
                None
            }
            Err(_) => None,
        };
        if lost.is_none() {
            answered = reader.clock.now();
        }
        link.send_if_modified(|link| {
            let news = link.lost.is_some() != lost.is_some();
            link.lost = lost;
            news
        });
    }
}
