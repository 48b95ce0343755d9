//! Why a StatefulSet's controller does nothing, in a value and in words.

use std::fmt;
use std::sync::Arc;

/// What a set waits for; a variant a rule of the specification's sections 3 to 5.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Because {
    /// Everything is as wanted.
    Complete,
    /// The set is being deleted: its pods are the collector's.
    SetDeleted,
    /// A pod that ended is on its way out.
    PodEnded { pod: Arc<str> },
    /// A claim of an earlier pod of this name has still to be collected.
    StaleClaim { claim: Arc<str>, pod: Arc<str> },
    /// A pod's predecessor has still to go: its name is taken.
    PodTerminating { pod: Arc<str> },
    /// The next pod comes when this one is Running and Ready.
    PodNotReady { pod: Arc<str> },
    /// The next pod comes when this one was ready for so many seconds more.
    PodNotLongReady { pod: Arc<str>, seconds: i64 },
    /// The update goes on when this pod is available again.
    UpdateWaits { pod: Arc<str> },
}

impl fmt::Display for Because {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Complete => write!(f, "all pods are as wanted"),
            Self::SetDeleted => write!(f, "the set is being deleted"),
            Self::PodEnded { pod } => write!(f, "{pod} has ended and is about to go"),
            Self::StaleClaim { claim, pod } => {
                write!(f, "{claim} belongs to an earlier {pod} and has still to be collected")
            }
            Self::PodTerminating { pod } => write!(f, "{pod} is still terminating"),
            Self::PodNotReady { pod } => write!(f, "{pod} is not Running and Ready"),
            Self::PodNotLongReady { pod, seconds } => {
                write!(f, "{pod} has to be ready for {seconds} s more")
            }
            Self::UpdateWaits { pod } => {
                write!(f, "the update goes on when {pod} is available again")
            }
        }
    }
}
