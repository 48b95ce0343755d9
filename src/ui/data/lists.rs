//! The rows in the order of each view.

use std::collections::{BTreeSet, HashMap, HashSet};

use crate::mirror::Tables;
use crate::model::attachment::Attachment;
use crate::model::claim::Claim;
use crate::model::class::StorageClass;
use crate::model::deployment::Deployment;
use crate::model::event::Event;
use crate::model::kind::{self, Kind};
use crate::model::node::Node;
use crate::model::object::Key;
use crate::model::pod::Pod;
use crate::model::stateful_set::StatefulSet;
use crate::model::volume::Volume;
use crate::ui::lists::board::BoardList;
use crate::ui::lists::drivers::Drivers;
use crate::ui::lists::order::{Lens, Order};
use crate::ui::lists::plain::PlainList;
use crate::ui::lists::problems::Problems;
use crate::ui::lists::timeline::Timeline;
use crate::ui::lists::tree::Tree;
use crate::ui::lists::verdict::VerdictList;
use crate::ui::lists::workloads::Workloads;
use crate::ui::lists::{Context, Listed};
use crate::ui::state::TableId;

/// A list for each table.
#[derive(Debug, Default)]
pub(super) struct Lists {
    pub problems: Problems,
    pub claims: Order<Claim>,
    pub volumes: Order<Volume>,
    pub classes: Order<StorageClass>,
    pub pods: Order<Pod>,
    pub nodes: Order<Node>,
    pub board: BoardList,
    pub attachments: Order<Attachment>,
    pub drivers: Drivers,
    pub stateful_sets: Order<StatefulSet>,
    pub deployments: Order<Deployment>,
    pub workloads: Workloads,
    pub tree: Tree,
    pub plugins: PlainList,
    pub files: PlainList,
    pub verdict: VerdictList,
    pub events: Order<Event>,
    pub timeline: Timeline,
    pub controllers: PlainList,
    pub contexts: PlainList,
    pub namespaces: PlainList,
    /// Kinds whose first list has been taken in: what came before is not news.
    pub settled: HashSet<&'static Kind>,
}

/// Keys of changed objects, by their kind.
pub type ByKind<'a> = HashMap<&'static Kind, Vec<&'a Key>>;

impl Lists {
    /// Takes in that these objects changed.
    pub fn touch(&mut self, by_kind: &ByKind<'_>, context: Context<'_>) {
        let claims = affected_claims(by_kind, context.tables);
        let keys = |kind: &'static Kind| by_kind.get(kind).into_iter().flatten().copied();
        self.claims.touch(claims.iter(), context);
        self.volumes.touch(keys(kind::PERSISTENT_VOLUME), context);
        self.classes.touch(keys(kind::STORAGE_CLASS), context);
        self.pods.touch(keys(kind::POD), context);
        self.nodes.touch(keys(kind::NODE), context);
        self.attachments.touch(keys(kind::VOLUME_ATTACHMENT), context);
        if by_kind.contains_key(kind::CSI_DRIVER) || by_kind.contains_key(kind::CSI_NODE) {
            self.drivers.rebuild(context);
        }
        self.stateful_sets.touch(keys(kind::STATEFUL_SET), context);
        self.workloads.sets.touch(keys(kind::STATEFUL_SET), context);
        self.deployments.touch(keys(kind::DEPLOYMENT), context);
        self.workloads.deployments.touch(keys(kind::DEPLOYMENT), context);
        self.events.touch(keys(kind::EVENT), context);
        if by_kind.contains_key(kind::CSI_NODE) {
            // Where drivers are changes rarely, and then every claim counts
            // that waits for one.
            self.nodes.touch(keys(kind::CSI_NODE), context);
            self.claims.rebuild(context);
            self.problems.rebuild(context);
        }
        self.problems.touch::<Claim>(claims.iter(), context);
        self.problems.touch::<Volume>(keys(kind::PERSISTENT_VOLUME), context);
        self.problems.touch::<Node>(keys(kind::NODE), context);
    }

    /// Sorts everything anew.
    pub fn rebuild(&mut self, context: Context<'_>) {
        self.claims.rebuild(context);
        self.volumes.rebuild(context);
        self.classes.rebuild(context);
        self.pods.rebuild(context);
        self.nodes.rebuild(context);
        self.attachments.rebuild(context);
        self.drivers.rebuild(context);
        self.stateful_sets.rebuild(context);
        self.deployments.rebuild(context);
        self.workloads.rebuild(context);
        self.events.rebuild(context);
        self.problems.rebuild(context);
    }

    /// Looks at a table through a lens, if its rows are kept in an order.
    pub fn set_lens(&mut self, table: TableId, lens: Lens, context: Context<'_>) {
        match table {
            TableId::Overview => self.problems.set_lens(lens),
            TableId::Claims => self.claims.set_lens(lens, context),
            TableId::Volumes => self.volumes.set_lens(lens, context),
            TableId::Classes => self.classes.set_lens(lens, context),
            TableId::Pods => self.pods.set_lens(lens, context),
            TableId::Nodes => self.nodes.set_lens(lens, context),
            TableId::Attachments => self.attachments.set_lens(lens, context),
            TableId::Drivers => self.drivers.set_lens(lens, context),
            TableId::StatefulSets => self.stateful_sets.set_lens(lens, context),
            TableId::Deployments => self.deployments.set_lens(lens, context),
            TableId::Workloads => self.workloads.set_lens(lens, context),
            TableId::Events => self.events.set_lens(lens, context),
            TableId::Tree
            | TableId::Plugins
            | TableId::Verdict
            | TableId::Files
            | TableId::Timeline
            | TableId::Controllers
            | TableId::Board
            | TableId::Contexts
            | TableId::Namespaces => {}
        }
    }

    /// The uid of the claim in a row, where a table shows what claims wait for.
    pub fn claim_at(&self, table: TableId, at: usize, context: Context<'_>) -> Option<String> {
        let listed = self.listed(table);
        match table {
            TableId::Claims | TableId::Overview => listed.id_at(at),
            TableId::Tree => self.tree.uid_at(at).map(str::to_owned),
            TableId::Verdict => Some(listed.target(context, &listed.id_at(at)?)?.uid),
            _ => None,
        }
    }

    /// The list behind a table.
    pub fn listed(&self, table: TableId) -> &dyn Listed {
        match table {
            TableId::Overview => &self.problems,
            TableId::Claims => &self.claims,
            TableId::Volumes => &self.volumes,
            TableId::Classes => &self.classes,
            TableId::Pods => &self.pods,
            TableId::Nodes => &self.nodes,
            TableId::Board => &self.board,
            TableId::Attachments => &self.attachments,
            TableId::Drivers => &self.drivers,
            TableId::StatefulSets => &self.stateful_sets,
            TableId::Deployments => &self.deployments,
            TableId::Workloads => &self.workloads,
            TableId::Tree => &self.tree,
            TableId::Plugins => &self.plugins,
            TableId::Files => &self.files,
            TableId::Verdict => &self.verdict,
            TableId::Events => &self.events,
            TableId::Timeline => &self.timeline,
            TableId::Controllers => &self.controllers,
            TableId::Contexts => &self.contexts,
            TableId::Namespaces => &self.namespaces,
        }
    }
}

/// The kind by which one tells how current the rows of a table are.
pub fn kind_of(table: TableId) -> Option<&'static Kind> {
    Some(match table {
        TableId::Overview | TableId::Claims => kind::PERSISTENT_VOLUME_CLAIM,
        TableId::Volumes => kind::PERSISTENT_VOLUME,
        TableId::Classes => kind::STORAGE_CLASS,
        TableId::Pods | TableId::Tree => kind::POD,
        TableId::Nodes | TableId::Board | TableId::Verdict => kind::NODE,
        TableId::Attachments => kind::VOLUME_ATTACHMENT,
        TableId::Drivers => kind::CSI_DRIVER,
        TableId::StatefulSets | TableId::Workloads => kind::STATEFUL_SET,
        TableId::Deployments => kind::DEPLOYMENT,
        TableId::Events => kind::EVENT,
        TableId::Namespaces => kind::NAMESPACE,
        TableId::Plugins
        | TableId::Files
        | TableId::Timeline
        | TableId::Controllers
        | TableId::Contexts => return None,
    })
}

/// The claims whose rows may look otherwise now: those that changed, and those
/// whose pods, volumes or classes did.
fn affected_claims(by_kind: &HashMap<&'static Kind, Vec<&Key>>, tables: &Tables) -> BTreeSet<Key> {
    let keys = |kind: &'static Kind| by_kind.get(kind).into_iter().flatten().copied();
    let mut claims: BTreeSet<Key> = keys(kind::PERSISTENT_VOLUME_CLAIM).cloned().collect();
    for pod in keys(kind::POD).filter_map(|key| tables.pods.get(key)) {
        let namespace = &pod.meta.key.namespace;
        claims.extend(pod.claims.iter().map(|c| Key::new(namespace.clone(), c.claim.clone())));
    }
    let classes: HashSet<&str> = keys(kind::STORAGE_CLASS).map(|key| &*key.name).collect();
    if !classes.is_empty() {
        // Classes change rarely, and then every claim of theirs counts.
        let of_class =
            tables.claims.iter().filter(|claim| classes.contains(claim.effective_class()));
        claims.extend(of_class.map(|claim| claim.meta.key.clone()));
    }
    claims
}
