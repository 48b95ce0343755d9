//! The companions of CSI drivers, hosted here: what provisions, attaches, grows
//! and changes volumes by calling a driver's controller service.
//!
//! ```text
//! claims, volumes ──> provisioner, resizer, modifier ──┐
//! attachments ──────> attacher ────────────────────────┴──> plugins::csi::client ──> driver
//! ```
//!
//! One loop of each per driver, as upstream runs one process of each beside a
//! driver. They speak with the rest of the cluster through its objects only, so
//! that a companion elsewhere can take the place of any of them: those of a
//! driver that are not hosted here are expected there.
//!
//! Decisions are in [`parameters`], [`plan`], [`topology`], [`attach`],
//! [`resize`] and [`modify`]; they
//! import no client or runtime and perform nothing. Calls of a driver may
//! be repeated, so a companion that was killed between a call and the write
//! that follows makes the call again.
//!
//! Upstream: external-provisioner, external-attacher, external-resizer.
//!
//! Absent: snapshots as sources; writing back a migrated volume in its old
//! form; a claim that is deleted while its creation is in doubt is remembered
//! only as long as the process lives, as upstream.

pub mod attach;
pub mod attacher;
pub mod capacity;
pub mod embedded;
pub mod liveness;
pub mod modifier;
pub mod modify;
pub mod outside;
pub mod parameters;
pub mod plan;
pub mod provisioner;
pub mod published;
pub mod registration;
pub mod registry;
pub mod resize;
pub mod resizer;
pub mod retries;
pub mod shell;
pub mod topology;

use std::sync::Arc;
use std::time::Duration;

use crate::controllers::csi::retries::Retries;
use crate::controllers::parts;
use crate::controllers::work_loop::Pass;
use crate::model::object::ObjectRef;
use crate::plugins::csi::client::Client;

/// How a driver's companions behave: their flags.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The name of the classes' provisioner that is answered to; empty: the
    /// driver's own. A driver may stand in for one that is no CSI driver.
    pub provisioner: String,
    /// The filesystem of a class that names none.
    pub default_fs_type: String,
    /// The pause after a first failure; it doubles with each more.
    pub retry_start: Duration,
    pub retry_max: Duration,
    /// How long a call may take.
    pub timeout: Duration,
    /// Provision for the selected node's own topology only.
    pub strict_topology: bool,
    /// Ask for all nodes' topologies where none is selected.
    pub immediate_topology: bool,
    /// Tell the driver the names of claim and volume.
    pub extra_create_metadata: bool,
}

impl Default for Settings {
    /// The companions' own defaults, with ext4 as most deployments have it.
    fn default() -> Self {
        Self {
            provisioner: String::new(),
            default_fs_type: "ext4".to_owned(),
            retry_start: Duration::from_secs(1),
            retry_max: Duration::from_secs(300),
            timeout: Duration::from_secs(10),
            strict_topology: false,
            immediate_topology: true,
            extra_create_metadata: false,
        }
    }
}

/// A driver whose companions are hosted.
#[derive(Debug, Clone)]
pub struct HostedDriver {
    pub client: Client,
    pub settings: Settings,
}

impl HostedDriver {
    /// The name of the provisioner that it is.
    pub fn provisioner(&self) -> Arc<str> {
        match &*self.settings.provisioner {
            "" => self.client.driver().clone(),
            name => name.into(),
        }
    }

    /// Whether it answers to a name that is not the driver's.
    pub fn is_stand_in(&self) -> bool {
        self.provisioner() != *self.client.driver()
    }
}

/// What a companion works with.
pub struct Parts {
    /// Whose companion it is: the driver's name, or the one it stands in for.
    pub driver: Arc<str>,
    pub client: Client,
    pub settings: Settings,
    pub shell: parts::Parts,
}

impl Parts {
    /// The end of a pass over one object: what went wrong is told, and tried
    /// again after the pause that it asks for, or after a growing one.
    fn end(
        &self,
        retries: &Retries,
        object: &ObjectRef,
        done: Result<(), (String, Option<Duration>)>,
    ) -> Pass {
        let Err((error, pause)) = done else {
            retries.succeeded(object);
            return Pass::done();
        };
        self.shell.health.failed(self.shell.clock.now(), object.to_string(), error);
        let (start, max) = (self.settings.retry_start, self.settings.retry_max);
        let pause = pause.unwrap_or_else(|| retries.failed(object, start, max));
        Pass { again_after: Some(pause), ..Pass::done() }
    }
}
