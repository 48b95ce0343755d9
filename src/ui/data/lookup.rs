//! Finding objects: what keys act upon, and what leads from one to another.

use std::sync::Arc;

use jiff::Timestamp;

use crate::mirror::{Mirrored, Tables};
use crate::model::attachment::Attachment;
use crate::model::claim::Claim;
use crate::model::class::StorageClass;
use crate::model::csi::CsiDriver;
use crate::model::deployment::Deployment;
use crate::model::event::Event;
use crate::model::kind;
use crate::model::node::Node;
use crate::model::object::Key;
use crate::model::pod::Pod;
use crate::model::replica_set::ReplicaSet;
use crate::model::row::Row as _;
use crate::model::stateful_set::StatefulSet;
use crate::model::volume::Volume;
use crate::ui::boards;
use crate::ui::data::Data;
use crate::ui::lists::board;
use crate::ui::state::{State, View};
use crate::ui::target::Target;

/// Names offered for completion.
const NAMES_MAX: usize = 20;

impl Data {
    /// The object that keys act upon: the layer's own, or the one under the
    /// cursor.
    pub fn target(&self, state: &State) -> Option<Target> {
        if let Some(target) = state.top().target() {
            // The layer keeps the object it was opened on; its version moves.
            return Some(self.renewed(target).unwrap_or_else(|| target.clone()));
        }
        if let View::BoardVolume { volume, .. } | View::Output { volume, .. } = &state.top().view {
            let (node, _) = state.board_volume()?;
            let row = self.boards.get(&node.name)?.row(volume)?;
            return self.read(|context| board::target(row, context));
        }
        let id = state.top().list.cursor.as_ref()?;
        self.read(|context| self.listed(state.table()?).target(context, id))
    }

    /// The nodes whose boards the seen view shows.
    pub fn wanted_nodes(&self, state: &State) -> Vec<Arc<str>> {
        self.mirror.read(|tables| boards::wanted(state, tables))
    }

    /// The cluster's present, as exactly as it is known.
    pub fn instant(&self) -> Timestamp {
        match self.present.as_second() == self.now {
            true => self.present,
            false => Timestamp::from_second(self.now).unwrap_or(self.present),
        }
    }

    /// A node by its name.
    pub fn node(&self, name: &str) -> Option<Target> {
        self.mirror.read(|tables| {
            Some(Target::new(kind::NODE, &tables.nodes.get(&Key::cluster(name))?.meta))
        })
    }

    /// The node that an object is, or the one that a pod or a claim is on.
    pub fn node_of(&self, target: &Target) -> Option<Target> {
        if target.kind == kind::NODE {
            return Some(target.clone());
        }
        let node = self.mirror.read(|tables| {
            if let Some(claim) = tables.claims.by_uid(&target.uid) {
                let nodes = boards::nodes_of_claim(&claim.meta.key, &claim.volume_name, tables);
                return nodes.into_iter().next();
            }
            Some(tables.pods.by_uid(&target.uid)?.node.clone())
        });
        self.node(&node?)
    }

    /// Whose files are meant by what is chosen: the pod, and the volume's name in
    /// it; empty if the pod itself is chosen.
    pub fn files_of(&self, state: &State) -> Result<(Target, String), String> {
        let nobody = || "no running pod has it mounted, and files are seen where it is".to_owned();
        let target = self.target(state).ok_or_else(nobody)?;
        self.mirror.read(|tables| {
            if let Some(pod) = tables.pods.by_uid(&target.uid) {
                return Ok((Target::new(kind::POD, &pod.meta), String::new()));
            }
            let of_volume = || tables.claims_of(&target.name).next();
            let claim = tables.claims.by_uid(&target.uid).or_else(of_volume).ok_or_else(nobody)?;
            let board = state.board_volume().map(|(node, _)| node.name.as_str());
            let mut pods = tables.pods_using(&claim.meta.key).filter(|pod| {
                pod.is_scheduled()
                    && !pod.is_terminated()
                    && board.is_none_or(|node| &*pod.node == node)
            });
            let pod = pods.next().ok_or_else(nobody)?;
            let mut used = pod.claims.iter().filter(|used| used.claim == claim.meta.key.name);
            let volume = used.next().map(|used| used.volume.to_string()).unwrap_or_default();
            Ok((Target::new(kind::POD, &pod.meta), volume))
        })
    }

    /// From a claim's journey: the node where it is stuck, or its first, and
    /// the unique name of its volume there.
    pub fn board_of_journey(&self, state: &State) -> Option<(Target, Option<String>)> {
        let claim = state.top().target()?;
        let key = claim.key();
        let nodes = self.wanted_nodes(state);
        let row = |node: &Arc<str>| {
            let facts = self.boards.get(node)?;
            let mut rows = facts.board.rows.iter();
            rows.find(|row| row.claim.as_ref() == Some(&key)).cloned()
        };
        let stuck =
            nodes.iter().find(|node| row(node).is_some_and(|row| board::sign(&row).needs_person()));
        let node = stuck.or(nodes.first())?;
        let volume = row(node).map(|row| row.unique_name.to_string());
        Some((self.node(node)?, volume))
    }

    /// The first nodes whose names begin so, for completion.
    pub fn node_names(&self, prefix: &str) -> Vec<String> {
        self.mirror.read(|tables| {
            let names = tables.nodes.iter().map(|node| &node.meta.key.name);
            let fitting = names.filter(|name| name.starts_with(prefix));
            fitting.take(NAMES_MAX).map(|name| name.to_string()).collect()
        })
    }

    /// The claim that a volume of a node's board belongs to.
    pub fn claim_on_board(&self, node: &str, volume: &str) -> Option<Target> {
        let claim = self.boards.get(node)?.row(volume)?.claim.clone()?;
        self.mirror.read(|tables| Some(Target::new(Claim::KIND, &tables.claims.get(&claim)?.meta)))
    }

    /// The same object as it is now; none if it is gone.
    pub fn renewed(&self, target: &Target) -> Option<Target> {
        fn find<R: Mirrored>(target: &Target, tables: &Tables) -> Option<Target> {
            Some(Target::new(R::KIND, R::table(tables).by_uid(&target.uid)?.meta()))
        }
        self.mirror.read(|tables| {
            find::<Claim>(target, tables)
                .or_else(|| find::<Volume>(target, tables))
                .or_else(|| find::<StorageClass>(target, tables))
                .or_else(|| find::<Pod>(target, tables))
                .or_else(|| find::<Node>(target, tables))
                .or_else(|| find::<Attachment>(target, tables))
                .or_else(|| find::<CsiDriver>(target, tables))
                .or_else(|| find::<StatefulSet>(target, tables))
                .or_else(|| find::<Deployment>(target, tables))
                .or_else(|| find::<ReplicaSet>(target, tables))
                .or_else(|| find::<Event>(target, tables))
        })
    }
}
