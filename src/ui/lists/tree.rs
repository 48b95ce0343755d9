//! One workload as a tree: pod, claim, volume, node. The rows are objects, so
//! that every key works on them; only those on the screen are formatted.

use std::sync::Arc;

use crate::mirror::Tables;
use crate::model::claim::ClaimPhase;
use crate::model::kind::{self, Kind};
use crate::model::object::{Key, Meta, Seconds};
use crate::model::pod::Pod;
use crate::model::row::Row as _;
use crate::model::stateful_set::StatefulSet;
use crate::ui::lists::filter::Filter;
use crate::ui::lists::order::Listing as _;
use crate::ui::lists::{
    Cell, Column, Context, Listed, RowCells, claims, column, nodes, pods, volumes, workloads,
};
use crate::ui::sign::Sign;
use crate::ui::target::Target;
use crate::ui::theme::Role;

const COLUMNS: &[Column] = &[
    column("OBJECT", 'O', 34, 0).growing(2).unsorted(),
    column("STATE", 'S', 11, 0).unsorted(),
    column("DETAIL", 'D', 24, 0).growing(5).unsorted(),
];

/// Pods of one workload that are shown; the others are counted.
const PODS_MAX: usize = 200;

/// Claims of ordinals above the present replicas that are looked for.
const KEPT_MAX: i64 = 32;

/// One line.
#[derive(Debug, Clone)]
struct Node {
    /// The ids of the lines above it, and its own uid: a shared claim stands
    /// under each of its pods.
    id: String,
    depth: usize,
    kind: &'static Kind,
    name: Arc<str>,
    /// Empty for what is missing.
    uid: Arc<str>,
    /// What is said of one that is missing.
    note: &'static str,
}

/// The lines of one workload's tree, from the top.
#[derive(Debug, Default)]
pub struct Tree {
    nodes: Vec<Node>,
    /// Of which workload and which revision of the rows.
    of: Option<(String, u64, Filter)>,
    total: usize,
    /// Pods that are not shown.
    more: usize,
}

impl Tree {
    /// Grows the tree of a workload anew, unless nothing changed.
    pub fn follow(&mut self, root: &Target, filter: &Filter, tables: &Tables, revision: u64) {
        let of = (root.uid.clone(), revision, filter.clone());
        if self.of.as_ref() == Some(&of) {
            return;
        }
        self.of = Some(of);
        self.nodes.clear();
        self.grow(root, tables);
        self.total = self.nodes.len();
        self.nodes.retain(|node| {
            filter.passes(None, |see| {
                let _ = see(&node.name) || see(node.kind.singular);
            })
        });
    }

    /// How many pods are left out.
    pub fn more(&self) -> usize {
        self.more
    }

    /// The uid of what a row is; empty for what is missing.
    pub fn uid_at(&self, at: usize) -> Option<&str> {
        self.nodes.get(at).map(|node| &*node.uid)
    }

    fn push(&mut self, above: &str, depth: usize, kind: &'static Kind, meta: &Meta) -> String {
        let (name, uid) = (meta.key.name.clone(), meta.uid.clone());
        let id = format!("{above}/{uid}");
        self.nodes.push(Node { id: id.clone(), depth, kind, name, uid, note: "" });
        id
    }

    fn missing(&mut self, above: &str, depth: usize, kind: &'static Kind, name: &Arc<str>) {
        let id = format!("{above}/{}", name);
        let (name, note) = (name.clone(), "does not exist");
        self.nodes.push(Node { id, depth, kind, name, uid: "".into(), note });
    }

    fn grow(&mut self, root: &Target, tables: &Tables) {
        let set = tables.stateful_sets.by_uid(&root.uid);
        let deployment = tables.deployments.by_uid(&root.uid);
        let Some(meta) = set.map(|set| &set.meta).or(deployment.map(|row| &row.meta)) else {
            return;
        };
        let top = self.push("", 0, root.kind, meta);
        let own: Vec<_> = tables.pods_owned_by(&meta.uid).collect();
        let mut left = PODS_MAX;
        self.more = 0;
        self.pods(&top, 1, &own, &mut left, tables);
        let mut old: Vec<_> = tables.replica_sets_owned_by(&meta.uid).collect();
        old.sort_by_key(|set| std::cmp::Reverse(set.revision()));
        for set in old {
            let pods: Vec<_> = tables.pods_owned_by(&set.meta.uid).collect();
            // One that was scaled away is history.
            if set.replicas == 0 && pods.is_empty() {
                continue;
            }
            let above = self.push(&top, 1, kind::REPLICA_SET, &set.meta);
            self.pods(&above, 2, &pods, &mut left, tables);
        }
        if let Some(set) = set {
            self.kept_claims(&top, set, tables);
        }
    }

    fn pods(
        &mut self,
        above: &str,
        depth: usize,
        pods: &[&Arc<Pod>],
        left: &mut usize,
        tables: &Tables,
    ) {
        let mut pods = pods.to_vec();
        pods.sort_by_key(|pod| by_ordinal(&pod.meta.key.name));
        for pod in &pods {
            if *left == 0 {
                self.more += 1;
                continue;
            }
            *left -= 1;
            let at = self.push(above, depth, kind::POD, &pod.meta);
            for used in &pod.claims {
                let key = Key::new(pod.meta.key.namespace.clone(), used.claim.clone());
                self.claim(&at, depth + 1, &key, Some(pod), tables);
            }
            if pod.claims.is_empty() {
                self.node(&at, depth + 1, pod, tables);
            }
        }
    }

    fn claim(&mut self, above: &str, depth: usize, key: &Key, pod: Option<&Pod>, tables: &Tables) {
        let Some(claim) = tables.claims.get(key) else {
            return self.missing(above, depth, kind::PERSISTENT_VOLUME_CLAIM, &key.name);
        };
        let at = self.push(above, depth, kind::PERSISTENT_VOLUME_CLAIM, &claim.meta);
        if !claim.volume_name.is_empty() {
            let name = &claim.volume_name;
            match tables.volumes.get(&Key::cluster(name.clone())) {
                Some(volume) => {
                    let at = self.push(&at, depth + 1, kind::PERSISTENT_VOLUME, &volume.meta);
                    if let Some(pod) = pod {
                        self.node(&at, depth + 2, pod, tables);
                    }
                    return;
                }
                None => self.missing(&at, depth + 1, kind::PERSISTENT_VOLUME, name),
            }
        }
        if let Some(pod) = pod {
            self.node(&at, depth + 1, pod, tables);
        }
    }

    fn node(&mut self, above: &str, depth: usize, pod: &Pod, tables: &Tables) {
        if !pod.is_scheduled() {
            return;
        }
        match tables.nodes.get(&Key::cluster(pod.node.clone())) {
            Some(node) => {
                self.push(above, depth, kind::NODE, &node.meta);
            }
            None => self.missing(above, depth, kind::NODE, &pod.node),
        }
    }

    /// Claims that were kept when the set was scaled down.
    fn kept_claims(&mut self, above: &str, set: &StatefulSet, tables: &Tables) {
        let from = set.start.saturating_add(set.replicas.max(0));
        for ordinal in from..from.saturating_add(KEPT_MAX) {
            for template in &set.claim_templates {
                let name = format!("{}-{}-{ordinal}", template.name, set.meta.key.name);
                let key = Key::new(set.meta.key.namespace.clone(), name);
                let kept = tables.claims.get(&key).is_some();
                if kept && tables.pods_using(&key).next().is_none() {
                    self.claim(above, 1, &key, None, tables);
                }
            }
        }
    }
}

/// The word before a name. kubectl's short name of a node reads as a denial.
fn word(kind: &Kind) -> &'static str {
    match kind.short.first() {
        Some(short) if kind.kind != "Node" => short,
        _ => kind.singular,
    }
}

/// `web-10` after `web-9`.
fn by_ordinal(name: &str) -> (String, u64) {
    match name.rsplit_once('-') {
        Some((set, ordinal)) if ordinal.parse::<u64>().is_ok() => {
            (set.to_owned(), ordinal.parse().unwrap_or(0))
        }
        _ => (name.to_owned(), 0),
    }
}

/// State and detail of an object in the tree.
fn said(node: &Node, context: Context<'_>) -> Option<(Sign, String, String)> {
    let (tables, uid) = (context.tables, &*node.uid);
    if node.kind == kind::POD {
        let pod = tables.pods.by_uid(uid)?;
        let detail = match (&pod.unscheduled, &*pod.node) {
            (Some(why), "") => why.message.to_string(),
            (None, "") => "no node yet".into(),
            (_, node) => format!("on {node}"),
        };
        return Some((pod.sign(context), pods::state_word(pod).to_owned(), detail));
    }
    if node.kind == kind::PERSISTENT_VOLUME_CLAIM {
        let claim = tables.claims.by_uid(uid)?;
        let size = claims::size_text(claim);
        let class = claim.class.as_deref().filter(|class| !class.is_empty()).unwrap_or("no class");
        let unused = tables.pods_using(&claim.meta.key).next().is_none();
        let kept = if unused { ", kept: no pod uses it" } else { "" };
        let waits = match (claim.phase, context.reasons.get(uid)) {
            (ClaimPhase::Bound, _) | (_, None) => String::new(),
            (_, Some(reason)) => format!(", {}", reason.short),
        };
        let detail = format!("{size} {} {class}{kept}{waits}", claim.access_modes);
        return Some((claim.sign(context), claims::state_word(claim).to_owned(), detail));
    }
    if node.kind == kind::PERSISTENT_VOLUME {
        let volume = tables.volumes.by_uid(uid)?;
        let state = volumes::state_word(volume).to_owned();
        return Some((volume.sign(context), state, volumes::source_text(volume)));
    }
    if node.kind == kind::NODE {
        let node = tables.nodes.by_uid(uid)?;
        let attached = nodes::attached_text(node, context, " of ");
        let detail = format!("attached {attached}, in use {}", node.volumes_in_use.len());
        return Some((nodes::sign(node), nodes::state_text(node), detail));
    }
    if node.kind == kind::REPLICA_SET {
        let set = tables.replica_sets.by_uid(uid)?;
        let sign = if set.status.ready >= set.replicas { Sign::Ok } else { Sign::Busy };
        let detail = match &set.failure {
            Some(failure) => failure.to_string(),
            None => format!("revision {}", set.revision()),
        };
        return Some((sign, format!("{}/{}", set.status.ready, set.replicas), detail));
    }
    let (sign, ready) = workloads::sign_of(uid, context)?;
    let kept = match tables.stateful_sets.by_uid(uid) {
        Some(set) if set.deletes_claims_with_set => "its claims go with it",
        Some(_) => "its claims stay when it goes",
        None => "",
    };
    let detail = workloads::in_the_way(uid, tables).unwrap_or_else(|| kept.to_owned());
    Some((sign, ready, detail))
}

impl Listed for Tree {
    fn columns(&self) -> &'static [Column] {
        COLUMNS
    }

    fn len(&self) -> usize {
        self.nodes.len()
    }

    fn total(&self) -> usize {
        self.total
    }

    fn id_at(&self, at: usize) -> Option<String> {
        self.nodes.get(at).map(|node| node.id.clone())
    }

    fn position(&self, _: Context<'_>, id: &str) -> Option<usize> {
        self.nodes.iter().position(|node| node.id == id)
    }

    fn row(&self, context: Context<'_>, at: usize) -> Option<RowCells> {
        let node = self.nodes.get(at)?;
        let word = word(node.kind);
        let (sign, state, detail) = said(node, context)
            .unwrap_or_else(|| (Sign::Fault, "missing".into(), node.note.to_owned()));
        let indent = node.depth * 2;
        let cells = vec![
            Cell::new(format!("{:indent$}{word} {}", "", node.name)),
            Cell::with(state, sign.role()),
            Cell::with(detail, Role::Text),
        ];
        Some(RowCells { sign, cells })
    }

    fn target(&self, context: Context<'_>, id: &str) -> Option<Target> {
        let node = self.nodes.iter().find(|node| node.id == id)?;
        let (tables, uid) = (context.tables, &*node.uid);
        let meta = match node.kind {
            kind if kind == kind::POD => &tables.pods.by_uid(uid)?.meta,
            kind if kind == kind::PERSISTENT_VOLUME_CLAIM => &tables.claims.by_uid(uid)?.meta,
            kind if kind == kind::PERSISTENT_VOLUME => &tables.volumes.by_uid(uid)?.meta,
            kind if kind == kind::NODE => &tables.nodes.by_uid(uid)?.meta,
            kind if kind == kind::REPLICA_SET => tables.replica_sets.by_uid(uid)?.meta(),
            kind if kind == kind::DEPLOYMENT => tables.deployments.by_uid(uid)?.meta(),
            _ => &tables.stateful_sets.by_uid(uid)?.meta,
        };
        Some(Target::new(node.kind, meta))
    }

    fn created(&self, _: Context<'_>, _: usize) -> Option<Seconds> {
        None
    }
}
