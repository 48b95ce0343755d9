//! A crash at every write: a story is played once to count the controllers'
//! writes; then, for each of them and each way to fail there, it is played
//! afresh, with new controllers built from the cluster alone where the old
//! ones died. The end must be the same, every revision sound, and nothing left
//! to do.

mod binding;
mod growing;
mod node_life;
mod placing;
mod plan;
mod play;
mod pods;
mod preempting;
mod provisioner;
mod workloads;

use std::collections::BTreeMap;
use std::sync::Arc;

use pvdeck::model::kind::Kind;
use pvdeck::model::object::Key;
use pvdeck::plugins::host::simulated::mortal::When;
use serde_json::Value;

pub use self::plan::{Fault, Plan, WAYS, Way, faulty};
pub use self::play::Play;
use self::play::counts;
use crate::bare_cluster;
use crate::schedules::is_long_run;

/// A story, and what is to hold of it.
pub trait Story {
    /// The kinds whose objects must be the same in the end.
    const KINDS: &'static [&'static Kind];

    /// The nodes that have machines, which go on whatever happens to the
    /// controllers.
    const NODES: &'static [&'static str] = &[];

    /// The CSI driver that the nodes have, if any; it goes on as well.
    const DRIVER: Option<&'static str> = None;

    /// Whether each write goes wrong in every way each time; a story that takes
    /// long has two ways for each but in long runs.
    const EVERY_WAY: bool = true;

    async fn tell(play: &mut Play);

    /// What must hold at each revision.
    fn sound_at_every_revision(play: &Play) -> Result<(), String>;

    /// What the world does that no controller here does, such as running pods;
    /// whether it did anything.
    async fn live(_play: &mut Play) -> bool {
        false
    }

    /// Takes out of an object what differs from run to run.
    fn plain(object: &mut Value);
}

pub fn merge(into: &mut Value, extra: Value) {
    if let (Value::Object(into), Value::Object(extra)) = (into, extra) {
        into.extend(extra);
    }
}

/// The story's objects at the end, without what differs from run to run.
fn ending<S: Story>(play: &Play) -> String {
    let mut objects: BTreeMap<(String, Key), Value> = BTreeMap::new();
    let mut uids = Vec::new();
    for commit in play.embedded.commits_after(0) {
        if !S::KINDS.contains(&commit.kind) {
            continue;
        }
        let at = (commit.kind.plural.to_owned(), commit.key.clone());
        match commit.object_after() {
            Some(object) => {
                let uid = object["metadata"]["uid"].as_str().unwrap_or_default().to_owned();
                uids.push((uid, format!("<uid:{}>", commit.key.name)));
                objects.insert(at, object);
            }
            None => {
                objects.remove(&at);
            }
        }
    }
    let mut lines: Vec<String> = objects
        .into_iter()
        .map(|((plural, _), mut object)| {
            for field in ["resourceVersion", "creationTimestamp", "generation"] {
                object["metadata"].as_object_mut().expect("metadata").shift_remove(field);
            }
            S::plain(&mut object);
            object.sort_all_objects();
            let mut line = format!("{plural} {object}");
            for (uid, token) in &uids {
                line = line.replace(uid.as_str(), token);
            }
            line
        })
        .collect();
    lines.sort();
    lines.join("\n")
}

/// Plays a story with one fault; the plan and the end.
fn play<S: Story>(fault: Option<Fault>) -> Result<(Arc<Plan>, String), String> {
    bare_cluster::run(async {
        let mut play = Play::new(Plan::new(fault), S::NODES, S::DRIVER);
        S::tell(&mut play).await;
        S::sound_at_every_revision(&play)?;
        let end = ending::<S>(&play);
        let revision = play.embedded.revision();
        play.restart();
        play.calm::<S>().await;
        let left: Vec<_> = play.embedded.commits_after(revision);
        let left = left.iter().filter(|commit| counts(commit.kind));
        let left: Vec<_> = left.map(|commit| format!("{} {}", commit.kind, commit.key)).collect();
        if !left.is_empty() {
            return Err(format!("not settled: {left:?}"));
        }
        Ok((play.plan.clone(), end))
    })
}

/// Every write of a story goes wrong in every way, once each.
pub fn survives_every_crash<S: Story>(writes_min: usize) {
    survives::<S>(writes_min, |plan| {
        let writes = plan.writes();
        let all = S::EVERY_WAY || is_long_run();
        let ways = |at: usize| {
            let ways = WAYS.into_iter().enumerate().filter(move |(n, _)| all || n % 2 == at % 2);
            ways.map(move |(_, way)| Fault::Write(at, way))
        };
        (writes, (0..writes).flat_map(ways).collect())
    });
}

/// Everything but the machines is killed before and after each change to them.
pub fn survives_every_kill<S: Story>(changes_min: usize) {
    survives::<S>(changes_min, |plan| {
        let changes = plan.process.changes();
        let sides = |at| [When::Before, When::After].map(|when| Fault::Machine(at, when));
        (changes, (0..changes).flat_map(sides).collect())
    });
}

/// Plays a story once without fault, then with each of the faults that may
/// happen in it.
fn survives<S: Story>(least: usize, faults: impl Fn(&Plan) -> (usize, Vec<Fault>)) {
    let (plan, wanted) = play::<S>(None).expect("the story without fault");
    let (count, cases) = faults(&plan);
    println!("{count} places, {} plays; without fault they end as\n{wanted}", cases.len());
    assert!(count > least, "the story is told: {count}");
    let failed = failures(&cases, |case| check::<S>(*case, &wanted));
    assert!(failed.is_empty(), "{} of {}:\n{}", failed.len(), cases.len(), failed.join("\n"));
}

/// What is wrong about each case, checked by all processors.
pub fn failures<C: Sync>(cases: &[C], check: impl Fn(&C) -> Option<String> + Sync) -> Vec<String> {
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let check = &check;
    std::thread::scope(|scope| {
        let shares = cases.chunks(cases.len().div_ceil(threads));
        let workers: Vec<_> = shares
            .map(|share| {
                scope.spawn(move || -> Vec<_> { share.iter().filter_map(check).collect() })
            })
            .collect();
        workers.into_iter().flat_map(|worker| worker.join().expect("a worker")).collect()
    })
}

/// Plays one fault; what is wrong about it.
fn check<S: Story>(fault: Fault, wanted: &str) -> Option<String> {
    let outcome = play::<S>(Some(fault)).and_then(|(plan, end)| {
        let fired = plan.fired().ok_or("the fault did not fire")?;
        if end == wanted {
            return Ok(());
        }
        let differs = end.lines().zip(wanted.lines()).find(|(found, wanted)| found != wanted);
        Err(format!("at {fired}: the end differs: {differs:?}"))
    });
    outcome.err().map(|why| format!("{fault:?}: {why}"))
}
