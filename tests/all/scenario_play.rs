//! How a scenario is played: progress, expectations that fail, and someone
//! stepping through it.

use std::time::Duration;

use http::Request;
use pvdeck::cluster::write_path::step_gate::Held;
use pvdeck::model::clock::Clock;
use pvdeck::scenario::play::{Pace, PlayState, Player};
use pvdeck::scenario::{Progress, Scenario, built_in};
use serde_json::{Value, json};
use tokio::task::JoinHandle;

use crate::world::World;

const VOLUME: &str = "\
title: One volume
intro: There is one volume.
pause: 5
steps:
- caption: The admin makes a volume.
  apply:
  - apiVersion: v1
    kind: PersistentVolume
    metadata: {name: pv-1}
    spec:
      capacity: {storage: 1Gi}
      accessModes: [ReadWriteOnce]
      storageClassName: manual
      nfs: {server: nfs.example, path: /a}
  expect:
  - {kind: pv, name: pv-1, path: '{.status.phase}', value: Available, within: 30}
- caption: Nobody claims it.
  expect:
  - {kind: pv, name: pv-1, path: '{.status.phase}', value: Bound, within: 30}
";

struct Playing {
    progress: tokio::sync::watch::Receiver<Progress>,
    result: JoinHandle<Result<(), String>>,
}

impl Playing {
    fn now(&self) -> (usize, PlayState) {
        let progress = self.progress.borrow();
        (progress.step, progress.state.clone())
    }
}

fn start(world: &World, scenario: Scenario, pace: Pace) -> Playing {
    let player = Player::new(&scenario, world.path(), world.mirror(), pace);
    let progress = player.progress();
    let play = async { player.play().await.map_err(|error| error.to_string()) };
    Playing { progress, result: tokio::spawn(play) }
}

fn one_volume() -> Scenario {
    Scenario::read("one-volume", VOLUME).expect("a scenario")
}

#[test]
fn an_unmet_expectation_says_what_is_there_instead() {
    World::run(async |world| {
        let began = world.clock.now();
        let playing = start(&world, one_volume(), Pace::AtOnce);
        world.clock.idle().await;
        let waiting = PlayState::WaitingFor("persistentvolume/pv-1 .status.phase is Bound".into());
        assert_eq!(playing.now(), (2, waiting));
        world.clock.advance(Duration::from_secs(31)).await;
        let error = playing.result.await.expect("joined").expect_err("unmet");
        let expected = "step 2 (`Nobody claims it.`): expected persistentvolume/pv-1 \
                        .status.phase is Bound within 30s, but .status.phase is Available";
        assert_eq!(error, expected);
        assert_eq!(playing.progress.borrow().state, PlayState::Failed(expected.into()));
        let took = world.clock.now().duration_since(began);
        assert!(took < jiff::SignedDuration::from_secs(32), "{took}");
    });
}

#[test]
fn people_get_time_to_read_between_steps() {
    World::run(async |world| {
        let playing = start(&world, one_volume(), Pace::ForPeople);
        world.clock.advance(Duration::from_secs(4)).await;
        assert_eq!(playing.now(), (0, PlayState::Resting));
        world.clock.advance(Duration::from_secs(2)).await;
        assert_eq!(playing.now(), (1, PlayState::Resting));
        world.clock.advance(Duration::from_secs(5)).await;
        assert_eq!(playing.now().0, 2);
    });
}

fn held(world: &World) -> Vec<(String, &'static str, String)> {
    let said =
        |held: &Held| (held.actor.to_string(), held.write.verb(), held.write.object.to_string());
    world.gate().held().iter().map(said).collect()
}

#[test]
fn who_steps_by_hand_finds_each_write_of_the_scenario_at_the_gate() {
    World::run(async |world| {
        world.gate().shut();
        let playing = start(&world, one_volume(), Pace::ForPeople);
        world.clock.idle().await;
        let created = ("admin".into(), "CREATE", "persistentvolume/pv-1".into());
        assert_eq!(held(&world), [created]);
        assert_eq!(world.gate().held()[0].write.reason.text, "The admin makes a volume.");
        assert_eq!(playing.now(), (1, PlayState::Acting));
        world.gate().pass_one();
        world.clock.idle().await;
        let controller = held(&world);
        assert_eq!(controller.len(), 1, "the controller's write waits next: {controller:?}");
        assert_eq!(controller[0].2, "persistentvolume/pv-1");
        world.gate().pass_one();
        world.clock.idle().await;
        assert_eq!(playing.now().0, 2, "the shut gate ends the time to read");
        playing.result.abort();
    });
}

#[test]
fn a_scenario_that_is_stopped_withdraws_its_write() {
    World::run(async |world| {
        world.gate().shut();
        let playing = start(&world, built_in(None).expect("a scenario"), Pace::AtOnce);
        world.clock.idle().await;
        assert_eq!(held(&world).len(), 1);
        playing.result.abort();
        world.clock.idle().await;
        assert_eq!(held(&world).len(), 0);
    });
}

#[test]
fn a_refused_step_ends_the_scenario_with_the_servers_words() {
    World::run(async |world| {
        let text = VOLUME.replace("storage: 1Gi", "storage: 0");
        let scenario = Scenario::read("zero", &text).expect("a scenario");
        let playing = start(&world, scenario, Pace::AtOnce);
        world.clock.idle().await;
        let PlayState::Failed(why) = playing.now().1 else { panic!("{:?}", playing.now()) };
        assert!(why.starts_with("step 1 (`The admin makes a volume.`) could not be done"), "{why}");
        assert!(why.contains("must be greater than zero"), "{why}");
    });
}

#[test]
fn an_expectation_about_an_object_that_the_mirror_does_not_keep_is_noticed() {
    World::run(async |world| {
        let text = "\
title: Settings
steps:
- caption: Somebody makes the settings.
  expect:
  - {kind: ConfigMap, name: settings, path: '{.data.mode}', value: demo, within: 30}
";
        let scenario = Scenario::read("settings", text).expect("a scenario");
        let playing = start(&world, scenario, Pace::AtOnce);
        world.clock.advance(Duration::from_secs(5)).await;
        let body = json!({
            "apiVersion": "v1", "kind": "ConfigMap",
            "metadata": {"name": "settings"}, "data": {"mode": "demo"},
        });
        let request = Request::post("/api/v1/namespaces/default/configmaps")
            .header("content-type", "application/json")
            .body(body.to_string().into_bytes())
            .expect("a request");
        world.user.request::<Value>(request).await.expect("created");
        world.clock.advance(Duration::from_secs(2)).await;
        assert_eq!(playing.now(), (1, PlayState::Done));
    });
}
