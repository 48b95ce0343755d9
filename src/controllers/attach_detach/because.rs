//! Why something is written, in words.

use std::fmt;
use std::sync::Arc;

use crate::model::object::Key;
use crate::model::write::Reason;

/// What lets a volume be detached that the node reports as in use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Force {
    /// The node has not been Ready, and six minutes have passed.
    Timeout,
    /// The node carries the taint `node.kubernetes.io/out-of-service`.
    OutOfService,
}

/// The rule that led to a step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Because {
    /// Section 6.1: no pod on the node wants it.
    Unwanted { volume: Arc<str>, node: Arc<str>, force: Option<Force> },
    /// Section 6.2: a pod that was put on the node wants it.
    WantedBy { volume: Arc<str>, node: Arc<str>, pod: Key },
    /// Section 6.3: another node has it, and only one may.
    Exclusive { volume: Arc<str>, nodes: Vec<Arc<str>> },
    /// Section 6.4: what the node is told differs from what is attached.
    Report { attached: Vec<Arc<str>>, gone: Vec<Arc<str>> },
    /// Nothing is to be done now.
    Settled,
}

impl Because {
    /// The section of the behaviour that has the rule.
    pub fn rule(&self) -> &'static str {
        match self {
            Self::Unwanted { .. } => "6.1",
            Self::WantedBy { .. } => "6.2",
            Self::Exclusive { .. } => "6.3",
            Self::Report { .. } => "6.4",
            Self::Settled => "-",
        }
    }

    pub fn reason(&self) -> Reason {
        Reason::new(self.rule(), self.to_string())
    }
}

impl fmt::Display for Because {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unwanted { volume, node, force } => {
                write!(f, "no pod on {node} wants {volume} any more")?;
                match force {
                    None => Ok(()),
                    Some(Force::Timeout) => {
                        f.write_str("; the node is not Ready and has not let go of it in 6 minutes")
                    }
                    Some(Force::OutOfService) => {
                        f.write_str("; the node is marked as out of service")
                    }
                }
            }
            Self::WantedBy { volume, node, pod } => {
                write!(f, "pod {pod} was put on {node} and uses {volume}")
            }
            Self::Exclusive { volume, nodes } => {
                write!(f, "{} has {volume}, and only one node may", nodes.join(", "))
            }
            Self::Report { attached, gone } => {
                let lists = [(attached, "attached"), (gone, "not attached any more")];
                let lists = lists.into_iter().filter(|(names, _)| !names.is_empty());
                for (at, (names, what)) in lists.enumerate() {
                    let joint = if at > 0 { "; " } else { "" };
                    let verb = if names.len() == 1 { "is" } else { "are" };
                    write!(f, "{joint}{} {verb} {what}", names.join(", "))?;
                }
                Ok(())
            }
            Self::Settled => f.write_str("everything is where it is wanted"),
        }
    }
}
