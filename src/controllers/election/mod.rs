//! Who acts for a cluster: of several schedulers, or controller managers, the
//! one that holds their Lease in `kube-system`.
//!
//! ```text
//! keeper: Lease (read) -> decide (pure) -> take it, renew it, or stand by
//!            └─ Leadership ─> a term to write in ─> LedServer::perform
//! ```
//!
//! A real kube-scheduler or kube-controller-manager that is started on a
//! cluster of ours finds the Lease held, and waits as it does behind another of
//! its kind; ours does the same behind a real one. Whoever does not lead goes on
//! watching and deciding, but its writes wait: they are decided again when it
//! leads. What it would tell in Events is let go. A term that ends takes the
//! writes with it that the step gate holds.
//!
//! Leases are never held by the gate. But a cluster's clock stands while its
//! gate is shut: one that is paused for longer than a Lease lasts may find
//! somebody else in charge.
//!
//! Upstream: `client-go/tools/leaderelection`.

mod decide;
mod keeper;
mod led_server;

use std::sync::Arc;

use tokio::sync::watch;

use crate::cluster::write_path::actor::Term;

pub use keeper::{Keeper, keep};
pub use led_server::LedServer;

/// What only one of several may do at a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Duty {
    /// The name of its Lease, and the actor that keeps it.
    pub lease: &'static str,
}

pub const SCHEDULER: Duty = Duty { lease: "kube-scheduler" };
pub const CONTROLLER_MANAGER: Duty = Duty { lease: "kube-controller-manager" };

/// All duties that are hosted.
pub const DUTIES: [Duty; 2] = [SCHEDULER, CONTROLLER_MANAGER];

/// Actors that are none of the control plane: they work on a node, or beside a
/// driver.
const ON_NODES: [&str; 2] = ["kubelet", "local-volume-provisioner"];
const BESIDE_A_DRIVER: &str = "csi-";

/// The duty under which an actor writes; none for one that needs none.
pub fn duty_of(actor: &str) -> Option<Duty> {
    if actor == SCHEDULER.lease {
        return Some(SCHEDULER);
    }
    let of_its_own = ON_NODES.contains(&actor) || actor.starts_with(BESIDE_A_DRIVER);
    (!of_its_own).then_some(CONTROLLER_MANAGER)
}

/// Where a duty stands.
#[derive(Debug, Clone, Default)]
enum Standing {
    /// The Lease has not been looked at yet.
    #[default]
    Unknown,
    /// We lead; what is decided meanwhile is written in this term.
    Leads(Term),
    StandsBy,
}

/// Whether we lead. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct Leadership(Arc<watch::Sender<Standing>>);

impl Leadership {
    /// The present term, if we lead.
    fn term(&self) -> Option<Term> {
        match &*self.0.borrow() {
            Standing::Leads(term) => Some(term.clone()),
            Standing::Unknown | Standing::StandsBy => None,
        }
    }

    /// Waits until it is known whether we lead; the term if we do.
    async fn known(&self) -> Option<Term> {
        self.wait(|standing| !matches!(standing, Standing::Unknown)).await;
        self.term()
    }

    /// Waits until we lead.
    async fn begun(&self) {
        self.wait(|standing| matches!(standing, Standing::Leads(_))).await;
    }

    async fn wait(&self, until: impl FnMut(&Standing) -> bool) {
        // It cannot be closed: this is one of its senders.
        let _ = self.0.subscribe().wait_for(until).await;
    }

    fn lead(&self) {
        self.0.send_if_modified(|standing| {
            let begins = !matches!(standing, Standing::Leads(_));
            if begins {
                *standing = Standing::Leads(Term::endless());
            }
            begins
        });
    }

    fn stand_by(&self) {
        self.0.send_modify(|standing| {
            if let Standing::Leads(term) = std::mem::replace(standing, Standing::StandsBy) {
                term.end();
            }
        });
    }
}
