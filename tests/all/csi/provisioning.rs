//! Claims provisioned by drivers: many at once, through faults, and by a driver
//! outside of the process.

use std::time::Duration;

use pvdeck::controllers::csi::embedded::EmbeddedDriver;
use pvdeck::controllers::csi::outside::OutsideDrivers;
use pvdeck::model::claim::ClaimPhase;
use pvdeck::model::clock::Clock;
use pvdeck::model::kind;
use pvdeck::session::{EmbeddedOptions, Session};
use serde_json::{Value, json};
use tokio::net::UnixListener;
use tokio_stream::wrappers::UnixListenerStream;

use super::Backing;
use crate::by_hand::{ByHand, reference};
use crate::world::World;

const DRIVER: &str = "csi.pvdeck.dev";

fn class() -> Value {
    json!({
        "metadata": {"name": "csi"}, "provisioner": DRIVER, "volumeBindingMode": "Immediate",
    })
}

fn claim(name: &str) -> Value {
    json!({
        "metadata": {"name": name},
        "spec": {
            "accessModes": ["ReadWriteOnce"], "storageClassName": "csi",
            "resources": {"requests": {"storage": "1Mi"}},
        },
    })
}

fn bound(world: &World) -> usize {
    world.mirror().read(|tables| {
        tables.claims.iter().filter(|claim| claim.phase == ClaimPhase::Bound).count()
    })
}

#[test]
fn many_claims_keep_a_slow_driver_busy_and_cost_one_call_each() {
    const CLAIMS_MADE: usize = 200;
    const AT_ONCE: usize = 50;
    World::run_with_drivers(AT_ONCE, vec![EmbeddedDriver::named(DRIVER)], async |world| {
        let slow = "CreateVolume=delay:50ms".parse().expect("a fault");
        world.drivers()[0].faults().set(vec![slow]);
        world.user.create(kind::STORAGE_CLASS, class()).await;
        for number in 0..CLAIMS_MADE {
            world
                .user
                .create(kind::PERSISTENT_VOLUME_CLAIM, claim(&format!("claim-{number}")))
                .await;
        }
        let began = world.clock.now();
        let mut steps = 0;
        while bound(&world) < CLAIMS_MADE {
            assert!(steps < 1000 && world.clock.step().await, "{} bound", bound(&world));
            steps += 1;
        }
        let took = world.clock.now().duration_since(began);
        let ideal = Duration::from_millis(50) * (CLAIMS_MADE / AT_ONCE) as u32;
        println!("{CLAIMS_MADE} claims took {took:?}, ideal {ideal:?}");
        assert!(took.unsigned_abs() <= ideal * 2, "{took:?}");
        let calls = world.calls().all();
        let count = |rpc: &str| calls.iter().filter(|call| call.rpc == rpc).count();
        assert_eq!(count("CreateVolume"), CLAIMS_MADE);
        for rpc in ["GetPluginCapabilities", "ControllerGetCapabilities"] {
            assert_eq!(count(rpc), 1, "{rpc} is asked once, as a companion does at its start");
        }
        assert_eq!(world.drivers()[0].state().volumes.len(), CLAIMS_MADE);
    });
}

#[test]
fn a_lost_reply_makes_no_second_volume() {
    for fault in ["fail-after:Unavailable", "fail-after:DeadlineExceeded", "hang-after", "hang"] {
        World::run_with_drivers(1, vec![EmbeddedDriver::named(DRIVER)], async |world| {
            let fault = format!("CreateVolume={fault},times=2").parse().expect("a fault");
            world.drivers()[0].faults().set(vec![fault]);
            world.user.create(kind::STORAGE_CLASS, class()).await;
            world.user.create(kind::PERSISTENT_VOLUME_CLAIM, claim("claim-1")).await;
            let mut steps = 0;
            while bound(&world) < 1 {
                assert!(steps < 200 && world.clock.step().await, "it stays Pending");
                steps += 1;
            }
            assert_eq!(world.drivers()[0].state().volumes.len(), 1);
        });
    }
}

#[test]
fn a_claim_deleted_while_its_volume_is_in_doubt_leaves_no_volume() {
    World::run_with_drivers(1, vec![EmbeddedDriver::named(DRIVER)], async |world| {
        let fault = "CreateVolume=fail-after:Unavailable,times=2".parse().expect("a fault");
        world.drivers()[0].faults().set(vec![fault]);
        world.user.create(kind::STORAGE_CLASS, class()).await;
        world.user.create(kind::PERSISTENT_VOLUME_CLAIM, claim("claim-1")).await;
        world.clock.idle().await;
        assert_eq!(world.drivers()[0].state().volumes.len(), 1, "made, but nobody knows");
        world.user.delete(&reference(kind::PERSISTENT_VOLUME_CLAIM, "claim-1")).await;
        for _ in 0..60 {
            world.clock.step().await;
        }
        assert!(world.drivers()[0].state().volumes.is_empty(), "it is found and deleted");
        let volumes = world.mirror().read(|tables| tables.volumes.len());
        assert_eq!(volumes, 0);
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn a_driver_outside_provisions_for_a_demo() {
    let directory = tempfile::tempdir().expect("a directory");
    let socket = directory.path().join("csi.sock");
    let place = super::place(Backing::Directories, directory.path(), Default::default());
    let incoming = UnixListenerStream::new(UnixListener::bind(&socket).expect("bound"));
    tokio::spawn(place.router().serve_with_incoming(incoming));
    let clock: std::sync::Arc<dyn Clock> =
        std::sync::Arc::new(pvdeck::cluster::clock::RunningClock::new());
    let endpoint = format!("unix://{}", socket.display());
    let root = directory.path().join("nodes");
    let outside = OutsideDrivers::meet(&[endpoint], root, &clock).await.expect("met");
    let options = EmbeddedOptions { outside: Some(outside), ..EmbeddedOptions::default() };
    let session = Session::embedded(options).expect("opened");
    let demo = session.demo.as_ref().expect("a demo");
    let user = kube::Client::new(demo.embedded.clone(), "default");
    user.create(kind::STORAGE_CLASS, class()).await;
    user.create(kind::PERSISTENT_VOLUME_CLAIM, claim("claim-1")).await;
    let mut changes = session.mirror.subscribe();
    let bound = async {
        let is_bound = || {
            session
                .mirror
                .read(|tables| tables.claims.iter().any(|claim| claim.phase == ClaimPhase::Bound))
        };
        while !is_bound() {
            changes.changed().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), bound).await.expect("bound in time");
    assert_eq!(place.driver().state().volumes.len(), 1);
}
