//! Random schedules of placing: pods race for volumes, volumes, claims and
//! nodes come and go while writes are held, the controllers die at any write, a
//! provisioner delivers or rejects. No pod is ever on a node that cannot reach
//! its volume, no volume is given twice, and in the end whatever fits is placed.

mod acts;
mod judge;
mod play;

use std::sync::atomic::{AtomicUsize, Ordering};

use acts::Act;
use play::Play;

use crate::bare_cluster;
use crate::schedules::Schedules;

/// How often something was seen over all schedules: a test of nothing passes
/// easily.
#[derive(Debug, Default)]
pub struct Coverage {
    pub crashes: AtomicUsize,
    pub placed: AtomicUsize,
    pub reserved: AtomicUsize,
    pub provisioned: AtomicUsize,
    pub rejected: AtomicUsize,
    pub refused: AtomicUsize,
    pub left_over: AtomicUsize,
}

impl Coverage {
    pub fn count(of: &AtomicUsize) {
        of.fetch_add(1, Ordering::Relaxed);
    }
}

fn check(acts: &[Act], coverage: &Coverage) -> Result<(), String> {
    bare_cluster::run(async {
        let mut play = Play::started(coverage).await;
        for (at, act) in acts.iter().enumerate() {
            play.act(act).await;
            play.judge().map_err(|why| format!("after {at} {act:?}: {why}"))?;
        }
        play.come_to_rest().await?;
        play.judge()?;
        play.why_not_all_that_fits_is_placed().await
    })
}

#[test]
fn any_schedule_places_what_fits_and_nothing_where_it_cannot_be() {
    let coverage = Coverage::default();
    let outcome = Schedules { cases: 60, cases_long: 1200, shrinks_max: 200 }
        .play(&proptest::collection::vec(acts::act(), 15..60), |acts| check(acts, &coverage));
    println!("{coverage:?}");
    outcome.unwrap_or_else(|why| panic!("{why}"));
    let seen = |of: &AtomicUsize| of.load(Ordering::Relaxed);
    let Coverage { crashes, placed, reserved, provisioned, rejected, refused, left_over } =
        &coverage;
    for (what, of, least) in [
        ("crashes", crashes, 20),
        ("pods placed", placed, 60),
        ("volumes reserved", reserved, 40),
        ("claims provisioned", provisioned, 10),
        ("nodes rejected", rejected, 2),
        ("pods refused", refused, 40),
        ("pods that fit nowhere in the end", left_over, 10),
    ] {
        assert!(seen(of) >= least, "only {} {what}", seen(of));
    }
}
