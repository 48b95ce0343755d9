//! StatefulSets and Deployments in one list, with what becomes of their
//! claims; Enter opens one as a tree.

use std::sync::Arc;

use crate::diagnosis;
use crate::mirror::Tables;
use crate::model::claim::{Claim, ClaimPhase};
use crate::model::deployment::Deployment;
use crate::model::object::{Key, Seconds};
use crate::model::pod::Pod;
use crate::model::stateful_set::StatefulSet;
use crate::ui::age::age;
use crate::ui::lists::order::{Lens, Listing, Order};
use crate::ui::lists::{Cell, Column, Context, Listed, RowCells, column};
use crate::ui::sign::Sign;
use crate::ui::target::Target;
use crate::ui::theme::Role;

const COLUMNS: &[Column] = &[
    column("NAMESPACE", 'N', 9, 1).growing(1).unsorted(),
    column("NAME", 'M', 16, 0).growing(3).unsorted(),
    column("KIND", 'K', 6, 0).unsorted(),
    column("READY", 'R', 7, 0).to_the_right().unsorted(),
    column("AGE", 'A', 5, 0).to_the_right().unsorted(),
    column("CLAIMS", 'C', 24, 0).growing(4).unsorted(),
];

/// Pods looked at for one row's claims.
const PODS_MAX: usize = 200;

/// Both kinds, each kept current by itself.
#[derive(Debug, Default)]
pub struct Workloads {
    pub sets: Order<StatefulSet>,
    pub deployments: Order<Deployment>,
}

impl Workloads {
    pub fn set_lens(&mut self, lens: Lens, context: Context<'_>) {
        // The kinds have other columns than the list of both.
        let lens = Lens { sort: None, ..lens };
        self.sets.set_lens(lens.clone(), context);
        self.deployments.set_lens(lens, context);
    }

    pub fn rebuild(&mut self, context: Context<'_>) {
        self.sets.rebuild(context);
        self.deployments.rebuild(context);
    }
}

/// The pods of a workload: its own, or those of its ReplicaSets.
pub fn pods_of<'a>(uid: &str, tables: &'a Tables) -> impl Iterator<Item = &'a Arc<Pod>> {
    let sets = tables.replica_sets_owned_by(uid);
    tables.pods_owned_by(uid).chain(sets.flat_map(|set| tables.pods_owned_by(&set.meta.uid)))
}

/// The claims that a pod names and that there are.
pub fn claims_of<'a>(pod: &'a Pod, tables: &'a Tables) -> impl Iterator<Item = &'a Arc<Claim>> {
    let key = |name: &Arc<str>| Key::new(pod.meta.key.namespace.clone(), name.clone());
    pod.claims.iter().filter_map(move |used| tables.claims.get(&key(&used.claim)))
}

/// `3 bound`, `2 bound, 1 waits`: each claim once, however many pods share it.
fn claims_text(uid: &str, tables: &Tables) -> (Role, String) {
    let mut claims: Vec<&Arc<Claim>> = Vec::new();
    let mut pods = 0;
    for pod in pods_of(uid, tables).take(PODS_MAX) {
        pods += 1;
        for claim in claims_of(pod, tables) {
            if !claims.iter().any(|known| known.meta.uid == claim.meta.uid) {
                claims.push(claim);
            }
        }
    }
    let count = |phase| claims.iter().filter(|claim| claim.phase == phase).count();
    let (bound, lost) = (count(ClaimPhase::Bound), count(ClaimPhase::Lost));
    let waiting = claims.len() - bound - lost;
    let parts = [(bound, "bound"), (waiting, "pending"), (lost, "lost")];
    let parts = parts.iter().filter(|(count, _)| *count > 0);
    let mut words =
        parts.map(|(count, word)| format!("{count} {word}")).collect::<Vec<_>>().join(", ");
    if pods == PODS_MAX {
        words.push_str(" and more");
    }
    let role = match (lost, waiting) {
        (1.., _) => Role::Lost,
        (0, 1..) => Role::Busy,
        (0, 0) => Role::Text,
    };
    (role, words)
}

fn row<R: Listing>(
    row: &R,
    kind: &'static str,
    (ready, all): (i64, i64),
    context: Context<'_>,
) -> RowCells {
    let meta = row.meta();
    let sign = sign(&meta.uid, row.sign(context), context.tables);
    let (role, claims) = claims_text(&meta.uid, context.tables);
    let claims = if claims.is_empty() { Cell::or_dash("") } else { Cell::with(claims, role) };
    let cells = vec![
        Cell::new(meta.key.namespace.to_string()),
        Cell::new(meta.key.name.to_string()),
        Cell::with(kind, Role::Dim),
        Cell::with(format!("{ready}/{all}"), sign.role()),
        Cell::new(age(meta.created, context.now)),
        claims,
    ];
    RowCells { sign, cells }
}

impl Listed for Workloads {
    fn columns(&self) -> &'static [Column] {
        COLUMNS
    }

    fn len(&self) -> usize {
        self.sets.len() + self.deployments.len()
    }

    fn total(&self) -> usize {
        self.sets.total() + self.deployments.total()
    }

    fn id_at(&self, at: usize) -> Option<String> {
        let sets = self.sets.len();
        if at < sets { self.sets.id_at(at) } else { self.deployments.id_at(at - sets) }
    }

    fn position(&self, context: Context<'_>, id: &str) -> Option<usize> {
        let later = || Some(self.sets.len() + self.deployments.position(context, id)?);
        self.sets.position(context, id).or_else(later)
    }

    fn row(&self, context: Context<'_>, at: usize) -> Option<RowCells> {
        if let Some(set) = self.sets.held(context, at) {
            let counts = (set.ready_replicas, set.replicas);
            return Some(row(&**set, "sts", counts, context));
        }
        let deployment = self.deployments.held(context, at.checked_sub(self.sets.len())?)?;
        let counts = (deployment.ready_replicas, deployment.replicas);
        Some(row(&**deployment, "deploy", counts, context))
    }

    fn target(&self, context: Context<'_>, id: &str) -> Option<Target> {
        self.sets.target(context, id).or_else(|| self.deployments.target(context, id))
    }

    fn created(&self, _: Context<'_>, _: usize) -> Option<Seconds> {
        None
    }
}

/// What keeps a workload short of pods, or its first pod from its node, in
/// Kubernetes' words; `None` if all are ready or nothing was said.
pub fn in_the_way(uid: &str, tables: &Tables) -> Option<String> {
    let (ready, all) = match tables.stateful_sets.by_uid(uid) {
        Some(set) => (set.ready_replicas, set.replicas),
        None => {
            let deployment = tables.deployments.by_uid(uid)?;
            (deployment.ready_replicas, deployment.replicas)
        }
    };
    if ready >= all {
        return None;
    }
    let pods: Vec<_> = pods_of(uid, tables).take(PODS_MAX).collect();
    let unplaced = pods.iter().find_map(|pod| {
        let why = pod.unscheduled.as_ref()?;
        Some(format!("pod {}: {}", pod.meta.key.name, why.message))
    });
    if unplaced.is_some() || i64::try_from(pods.len()).is_ok_and(|there| there >= all) {
        return unplaced;
    }
    let makers = tables.replica_sets_owned_by(uid).map(|set| &*set.meta.uid).chain([uid]);
    let warning = makers.filter_map(|uid| diagnosis::newest_warning(tables, uid)).last()?;
    Some(format!("{}: {}", warning.reason, warning.message))
}

/// What a workload's own sign amounts to once its pods are looked at.
fn sign(uid: &str, own: Sign, tables: &Tables) -> Sign {
    match own {
        Sign::Busy if in_the_way(uid, tables).is_some() => Sign::Fault,
        own => own,
    }
}

/// What the sign of either kind is, for a tree's root.
pub fn sign_of(uid: &str, context: Context<'_>) -> Option<(Sign, String)> {
    let tables = context.tables;
    let (own, ready, all) = match tables.stateful_sets.by_uid(uid) {
        Some(set) => (set.sign(context), set.ready_replicas, set.replicas),
        None => {
            let row = tables.deployments.by_uid(uid)?;
            (row.sign(context), row.ready_replicas, row.replicas)
        }
    };
    Some((sign(uid, own, tables), format!("{ready}/{all}")))
}
