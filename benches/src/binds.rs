//! Binds: so many volumes, then as many claims, until every claim is Bound.
//!
//! Volumes are created first and become Available: a claim that finds no
//! volume waits for the next round, here as with Kubernetes' own controller,
//! and the figure would be that round's length. What is timed:
//!
//! - `volumes`: creation of the volumes until all are Available, two writes
//!   each;
//! - `binds`: creation of the claims until all are Bound, five writes each;
//! - `whole`: both;
//! - `round`, if asked for: the processor time of looking at everything again
//!   when nothing has changed, which happens every fifteen seconds.

use std::collections::HashSet;
use std::time::Duration;

use pvdeck::controllers::host;
use pvdeck::controllers::persistent_volume::controller::RESYNC;
use pvdeck::mirror::Tables;
use pvdeck::model::claim::ClaimPhase;
use pvdeck::model::kind::{self, Kind};
use pvdeck::model::object::Key;
use pvdeck::model::volume::VolumePhase;
use serde_json::{Value, json};

use crate::cluster::{Cluster, Hosted, Over};
use crate::load;
use crate::measure::{Cost, Stopwatch, resident};

/// One run, as a line of JSON.
pub async fn run(over: Over, pairs: usize, with_round: bool) -> Value {
    let cluster = Cluster::open(over).await;
    let hosted = cluster.host(&host::Options::default());
    let client = cluster.client();
    settle(&hosted).await;

    let all = Stopwatch::start();
    load::create_all(&client, load::VOLUMES, pairs, load::volume).await;
    until(&hosted, kind::PERSISTENT_VOLUME, pairs, |tables, key| {
        tables.volumes.get(key).is_some_and(|row| row.phase == VolumePhase::Available)
    })
    .await;
    let volumes = all.stop();
    let binds = Stopwatch::start();
    load::create_all(&client, load::CLAIMS, pairs, load::claim).await;
    until(&hosted, kind::PERSISTENT_VOLUME_CLAIM, pairs, |tables, key| {
        tables.claims.get(key).is_some_and(|row| row.phase == ClaimPhase::Bound)
    })
    .await;
    let (binds, whole) = (binds.stop(), all.stop());
    let round = if with_round { round(&hosted).await } else { Value::Null };
    let errors: u64 = hosted.host.status().iter().map(|status| status.figures.errors).sum();
    json!({
        "pairs": pairs, "over": over.name(),
        "volumes": cost(volumes, pairs), "binds": cost(binds, pairs), "whole": cost(whole, pairs),
        "round_processor_millis": round, "errors": errors, "revision": cluster.embedded.revision(), "peak_bytes": resident().1,
    })
}

/// What a quiet stretch of two rounds' length costs, for one round.
async fn round(hosted: &Hosted) -> Value {
    settle(hosted).await;
    let clock = Stopwatch::start();
    tokio::time::sleep(2 * RESYNC).await;
    (clock.stop().processor.as_secs_f64() * 1e3 / 2.0).into()
}

fn cost(cost: Cost, count: usize) -> Value {
    let micros = |time: Duration| time.as_secs_f64() * 1e6 / count as f64;
    json!({
        "per_second": count as f64 / cost.wall.as_secs_f64(),
        "processor_micros_each": micros(cost.processor),
    })
}

/// Waits until the controllers run and have nothing to do.
async fn settle(hosted: &Hosted) {
    while !hosted.host.is_idle() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Waits until `count` objects of a kind are as wanted. Looks only at what
/// changed, as the console does.
async fn until(
    hosted: &Hosted,
    kind: &'static Kind,
    count: usize,
    wanted: impl Fn(&Tables, &Key) -> bool,
) {
    let mut changes = hosted.mirror.subscribe();
    let mut done: HashSet<Key> = HashSet::new();
    while done.len() < count {
        let changed = changes.changed().await;
        hosted.mirror.read(|tables| {
            let changed = changed.into_iter().filter(|object| object.kind == kind);
            done.extend(changed.map(|object| object.key).filter(|key| wanted(tables, key)));
        });
    }
}
