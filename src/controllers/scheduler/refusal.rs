//! That no node takes a pod, as Kubernetes says it.
//!
//! Upstream: `FitError` in `pkg/scheduler/framework/types.go`, and the texts of
//! the plugins DynamicResources and DefaultPreemption behind it.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use crate::controllers::scheduler::preemption::Preemption;
use crate::controllers::scheduler::reason::{NodeRefusal, Plugin, Plugins, Whole};

/// Why a pod stays where it is.
#[derive(Debug, Clone, PartialEq)]
pub struct Refusal {
    /// How many nodes there are.
    pub nodes: usize,
    /// Why no node was looked at.
    pub whole: Option<Whole>,
    pub by_node: Vec<(Arc<str>, NodeRefusal)>,
    /// What preemption says; `None` if no node was looked at.
    pub preemption: Option<Preemption>,
}

impl Refusal {
    /// The node that the pod is to be nominated to: where pods go for it. It
    /// keeps `now` while they do, and else has none.
    pub fn nominated<'a>(&'a self, now: &'a str) -> &'a str {
        match &self.preemption {
            Some(Preemption::Victims(victims)) => &victims.node,
            Some(Preemption::UnderWay) => now,
            Some(Preemption::NotHelpful(_) | Preemption::Never) | None => "",
        }
    }

    /// The plugins that refused some node, or all.
    pub fn refused_by(&self) -> Plugins {
        let nodes = self.by_node.iter().map(|(_, refusal)| refusal.plugin);
        nodes.chain(self.whole.iter().map(Whole::plugin)).collect()
    }

    /// The plugins that refused, with how many nodes each.
    pub fn by_plugin(&self) -> BTreeMap<Plugin, usize> {
        let mut counts = BTreeMap::new();
        for (_, refusal) in &self.by_node {
            *counts.entry(refusal.plugin).or_default() += 1;
        }
        counts
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.nodes == 0 {
            return f.write_str("no nodes available to schedule pods");
        }
        write!(f, "0/{} nodes are available:", self.nodes)?;
        match &self.whole {
            // The state of DynamicResources was never written, and it says so.
            Some(whole) => write!(f, " {whole}. not found"),
            None => {
                let reasons = self.by_node.iter().flat_map(|(_, refusal)| &refusal.reasons);
                counted(f, reasons.map(ToString::to_string))?;
                let after = " no new claims to deallocate, preemption:";
                match &self.preemption {
                    None | Some(Preemption::Victims(_)) => Ok(()),
                    Some(Preemption::Never) => {
                        write!(f, "{after} not eligible due to preemptionPolicy=Never.")
                    }
                    Some(Preemption::UnderWay) => write!(
                        f,
                        "{after} not eligible due to a terminating pod on the nominated node."
                    ),
                    Some(Preemption::NotHelpful(lines)) => {
                        write!(f, "{after} 0/{} nodes are available:", self.nodes)?;
                        counted(f, lines.iter().cloned())
                    }
                }
            }
        }
    }
}

/// ` 1 Too many pods, 2 node(s) were unschedulable.`: sorted as texts, so that
/// 10 stands before 2.
fn counted(f: &mut fmt::Formatter<'_>, reasons: impl Iterator<Item = String>) -> fmt::Result {
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    reasons.for_each(|reason| *counts.entry(reason).or_default() += 1);
    let mut entries: Vec<String> =
        counts.into_iter().map(|(reason, count)| format!("{count} {reason}")).collect();
    entries.sort();
    if entries.is_empty() {
        return Ok(());
    }
    write!(f, " {}.", entries.join(", "))
}

/// How many bytes of a text an event holds.
const NOTE_BYTES_MAX: usize = 1024;

/// The text cut to what an event holds.
pub fn cut_for_event(text: &str) -> String {
    const END: &str = " ...";
    if text.len() <= NOTE_BYTES_MAX {
        return text.to_owned();
    }
    let end = text.floor_char_boundary(NOTE_BYTES_MAX - END.len());
    format!("{}{END}", &text[..end])
}
