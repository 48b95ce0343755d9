//! What is known of the volumes on the nodes that are looked at: told by the
//! hosted agents, or inferred from the API where the kubelets run elsewhere.
//!
//! Only the nodes that the seen view is about are held, so that a frame costs
//! the same on a cluster of a thousand nodes.

use std::collections::HashMap;
use std::sync::Arc;

use crate::mirror::Tables;
use crate::mirror::inferred_board::{self, Kinds, VolumeFacts};
use crate::model::node_board::{BoardRow, NodeBoard};
use crate::model::object::Key;
use crate::model::volume::{Volume, VolumeMode};
use crate::plugins::host::CommandRecord;
use crate::plugins::kinds;
use crate::plugins::layout::Layout;
use crate::plugins::plugin::Capability;
use crate::ui::state::{State, TableId, View};

/// One node's board, and the commands that were run there.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct NodeFacts {
    pub board: NodeBoard,
    /// Oldest first; empty where the machine is not ours.
    pub commands: Vec<CommandRecord>,
}

impl NodeFacts {
    pub fn row(&self, unique_name: &str) -> Option<&BoardRow> {
        self.board.rows.iter().find(|row| &*row.unique_name == unique_name)
    }

    /// The commands run for one volume, oldest first.
    pub fn commands_of(
        &self,
        unique_name: &str,
    ) -> impl DoubleEndedIterator<Item = &CommandRecord> {
        self.commands.iter().filter(move |record| &*record.on_behalf.volume == unique_name)
    }
}

/// The nodes looked at.
#[derive(Debug, Default)]
pub struct Boards {
    told: HashMap<Arc<str>, Arc<NodeFacts>>,
    /// With the revision of the rows each was inferred from.
    inferred: HashMap<Arc<str>, (u64, Arc<NodeFacts>)>,
}

/// Nodes of one claim that are shown; the others are counted.
pub const NODES_MAX: usize = 8;

impl Boards {
    /// What is known of a node, as told before as inferred.
    pub fn get(&self, node: &str) -> Option<&Arc<NodeFacts>> {
        self.told.get(node).or_else(|| self.inferred.get(node).map(|(_, facts)| facts))
    }

    /// Takes over what agents tell; what they told before is forgotten.
    pub fn tell(&mut self, told: Vec<NodeFacts>) {
        let by_node = told.into_iter().map(|facts| (facts.board.node.clone(), Arc::new(facts)));
        self.told = by_node.collect();
    }

    /// Infers what nobody told, unless nothing changed since.
    pub(super) fn infer(&mut self, wanted: &[Arc<str>], tables: &Tables, revision: u64) {
        self.inferred.retain(|node, _| wanted.contains(node));
        for name in wanted.iter().filter(|name| !self.told.contains_key(*name)) {
            if self.inferred.get(name).is_some_and(|(of, _)| *of == revision) {
                continue;
            }
            let Some(node) = tables.nodes.get(&Key::cluster(name.clone())) else {
                self.inferred.remove(name);
                continue;
            };
            let board = inferred_board::infer(tables, node, &InTree { tables });
            let facts = Arc::new(NodeFacts { board, commands: Vec::new() });
            self.inferred.insert(name.clone(), (revision, facts));
        }
    }
}

/// The nodes whose boards the seen view shows.
pub fn wanted(state: &State, tables: &Tables) -> Vec<Arc<str>> {
    match &state.top().view {
        View::Table(TableId::Board) => {
            state.top().about.iter().map(|node| node.name.as_str().into()).collect()
        }
        View::BoardVolume { node, .. } | View::Output { node, .. } => {
            vec![node.name.as_str().into()]
        }
        View::Journey(claim) => match tables.claims.by_uid(&claim.uid) {
            Some(claim) => nodes_of_claim(&claim.meta.key, &claim.volume_name, tables),
            None => Vec::new(),
        },
        _ => Vec::new(),
    }
}

/// Whether the seen view shows boards at all.
pub fn shows_boards(state: &State) -> bool {
    matches!(
        &state.top().view,
        View::Table(TableId::Board)
            | View::BoardVolume { .. }
            | View::Output { .. }
            | View::Journey(_)
    )
}

/// The nodes of a claim's pods, and those its volume is attached to; at most
/// [`NODES_MAX`].
pub fn nodes_of_claim(claim: &Key, volume: &str, tables: &Tables) -> Vec<Arc<str>> {
    let pods = tables.pods_using(claim).filter(|pod| pod.is_scheduled());
    let attached = tables.attachments_of(volume).map(|attachment| &attachment.node);
    let mut nodes: Vec<Arc<str>> = Vec::new();
    for node in pods.map(|pod| &pod.node).chain(attached) {
        if !nodes.contains(node) {
            nodes.push(node.clone());
        }
        if nodes.len() == NODES_MAX {
            break;
        }
    }
    nodes
}

/// The kinds of the tree, as a kubelet of 1.36 has them.
struct InTree<'a> {
    tables: &'a Tables,
}

impl Kinds for InTree<'_> {
    fn facts(&self, volume: &Volume) -> VolumeFacts {
        let source = &volume.source;
        let migrated = kinds::by_field(&source.field).and_then(kinds::Kind::migrated_to);
        let driver = source.driver.as_deref().filter(|_| &*source.field == "csi").or(migrated);
        if let Some(driver) = driver {
            let known = self.tables.csi_drivers.get(&Key::cluster(driver));
            return VolumeFacts {
                unique_name: format!("kubernetes.io/csi/{driver}^{}", source.place).into(),
                attaches: known.is_none_or(|driver| driver.attach_required),
                stages: true,
            };
        }
        let kind = kinds::by_field(&source.field);
        let can = |what| kind.is_some_and(|kind| kind.facts.can(what));
        let plugin = kind.map_or("unknown", |kind| kind.facts.name);
        VolumeFacts {
            unique_name: format!("{plugin}/{}", volume.meta.key.name).into(),
            attaches: can(Capability::Attach),
            stages: can(Capability::Stage),
        }
    }

    fn host_path(&self, volume: &Volume, pod_uid: &str) -> String {
        let Some(kind) = kinds::by_field(&volume.source.field) else { return String::new() };
        let layout = Layout::default();
        let name = &volume.meta.key.name;
        let is_csi = kind.field() == "csi" || kind.migrated_to().is_some();
        match (volume.mode, is_csi) {
            (VolumeMode::Block, _) => String::new(),
            (VolumeMode::Filesystem, true) => {
                format!("{}/mount", layout.csi_pod_volume(pod_uid, name))
            }
            (VolumeMode::Filesystem, false) if kind.field() == "hostPath" => {
                volume.source.place.to_string()
            }
            (VolumeMode::Filesystem, false) => layout.pod_volume(pod_uid, kind.facts.name, name),
        }
    }
}
