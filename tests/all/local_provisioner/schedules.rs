//! Disks that come and go while claims do: no volume is offered with what an
//! earlier claim left on it, and in the end every disk is offered once.

use std::collections::BTreeSet;

use proptest::prelude::*;
use pvdeck::model::claim::ClaimPhase;
use pvdeck::model::object::Key;
use pvdeck::model::volume::VolumePhase;
use pvdeck::plugins::host::{Command, Files, OnBehalf};

use super::{DISCOVERY, ROUND, claim, claim_called, configure, host, mount};
use crate::schedules::Schedules;
use crate::world::World;

/// Disks and claims there may be.
const DISKS: usize = 3;

#[derive(Debug, Clone, Copy)]
enum Event {
    Mount(usize),
    Unmount(usize),
    Claim(usize),
    Unclaim(usize),
    /// The pods of all bound claims write.
    Write,
    Round,
}

fn event() -> impl Strategy<Value = Event> {
    let which = 0..DISKS;
    prop_oneof![
        3 => which.clone().prop_map(Event::Mount),
        1 => which.clone().prop_map(Event::Unmount),
        3 => which.clone().prop_map(Event::Claim),
        2 => which.prop_map(Event::Unclaim),
        3 => Just(Event::Write),
        4 => Just(Event::Round),
    ]
}

fn entry(disk: usize) -> String {
    format!("{DISCOVERY}/vol{disk}")
}

struct Play {
    world: World,
    mounted: BTreeSet<usize>,
    claims: BTreeSet<usize>,
}

impl Play {
    async fn happen(&mut self, event: Event) {
        match event {
            Event::Mount(disk) => {
                if self.mounted.insert(disk) {
                    mount(&self.world, &format!("vol{disk}"), "16m").await;
                }
            }
            Event::Unmount(disk) => {
                if self.mounted.remove(&disk) {
                    let command = Command::Unmount { target: entry(disk), force: false };
                    let ran = host(&self.world).run(&OnBehalf::default(), command).await;
                    assert!(ran.expect("it runs").succeeded());
                }
            }
            Event::Claim(number) => {
                if self.claims.insert(number) {
                    claim(&self.world, &format!("claim-{number}")).await;
                }
            }
            Event::Unclaim(number) => {
                if self.claims.remove(&number) {
                    self.world.delete(&claim_called(&format!("claim-{number}"))).await;
                }
            }
            Event::Write => self.write().await,
            Event::Round => self.world.clock.advance(ROUND).await,
        }
        self.judge(event).await;
    }

    /// Writes on the disks of all bound claims, where they are mounted.
    async fn write(&self) {
        let bound: Vec<String> = self.world.mirror().read(|tables| {
            let bound = tables.claims.iter().filter(|claim| claim.phase == ClaimPhase::Bound);
            let volumes = bound
                .filter_map(|claim| tables.volumes.get(&Key::cluster(claim.volume_name.clone())));
            volumes.map(|volume| volume.source.place.to_string()).collect()
        });
        for path in bound.iter().filter(|path| self.is_mounted(path)) {
            let file = format!("{path}/left");
            Files(&*host(&self.world)).write(&file, b"x", 0o644).await.expect("written");
        }
    }

    fn is_mounted(&self, path: &str) -> bool {
        self.mounted.iter().any(|disk| entry(*disk) == path)
    }

    /// No volume is free while something is left on it.
    async fn judge(&self, event: Event) {
        let free: Vec<String> = self.world.mirror().read(|tables| {
            let free = tables.volumes.iter().filter(|volume| {
                volume.phase == VolumePhase::Available && volume.claim_ref.is_none()
            });
            free.map(|volume| volume.source.place.to_string()).collect()
        });
        for path in free {
            let found = Files(&*host(&self.world)).look(&format!("{path}/left")).await;
            assert_eq!(found, Ok(None), "{path} is free after {event:?}");
        }
    }

    /// Everybody lets go; every disk that is there is offered once.
    async fn end(mut self) {
        for number in 0..DISKS {
            self.happen(Event::Unclaim(number)).await;
        }
        for _ in 0..5 {
            self.happen(Event::Round).await;
        }
        let mut offered: Vec<(String, VolumePhase)> = self.world.mirror().read(|tables| {
            let all = tables.volumes.iter();
            all.map(|volume| (volume.source.place.to_string(), volume.phase)).collect()
        });
        // The volume of a disk that was taken away is nobody's to delete.
        offered.retain(|(path, _)| self.is_mounted(path));
        offered.sort_by(|a, b| a.0.cmp(&b.0));
        let all = self.mounted.iter();
        let expected: Vec<_> = all.map(|disk| (entry(*disk), VolumePhase::Available)).collect();
        assert_eq!(offered, expected);
    }
}

fn check(events: &[Event]) -> Result<(), String> {
    World::run(async |world| {
        configure(&world).await;
        let mut play = Play { world, mounted: BTreeSet::new(), claims: BTreeSet::new() };
        for event in events {
            play.happen(*event).await;
        }
        play.end().await;
    });
    Ok(())
}

#[test]
fn disks_are_offered_clean_and_once() {
    let events = proptest::collection::vec(event(), 5..25);
    Schedules { cases: 12, cases_long: 400, shrinks_max: 200 }
        .play(&events, |events| check(events))
        .unwrap_or_else(|why| panic!("{why}"));
}
