//! Many binds at once: through the whole path, on a clock moved by hand.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use pvdeck::cluster::clock::ManualClock;
use pvdeck::cluster::write_path::journal::Outcome;
use pvdeck::cluster::write_path::perform;
use pvdeck::model::claim::ClaimPhase;
use pvdeck::model::kind;
use pvdeck::model::object::Key;
use pvdeck::session::{EmbeddedOptions, Session};
use pvdeck::ui::rebind;
use serde_json::json;

use crate::bare_cluster;
use crate::by_hand::{ByHand, reference};

struct Open {
    clock: ManualClock,
    session: Session,
    user: kube::Client,
}

fn run<T>(play: impl AsyncFnOnce(Open) -> T) -> T {
    bare_cluster::run(async {
        let clock = bare_cluster::clock();
        let options = EmbeddedOptions::default();
        let session = Session::embedded_on(Arc::new(clock.clone()), options).expect("a cluster");
        let embedded = &session.demo.as_ref().expect("it is here").embedded;
        let user = kube::Client::new(embedded.clone(), "default");
        let open = Open { clock, session, user };
        assert!(open.clock.settle(100).await);
        play(open).await
    })
}

impl Open {
    async fn volume(&self, name: &str, gib: usize) {
        let volume = json!({
            "metadata": {"name": name},
            "spec": {"capacity": {"storage": format!("{gib}Gi")}, "storageClassName": "manual",
                "accessModes": ["ReadWriteMany", "ReadWriteOnce"],
                "nfs": {"server": "nfs.example", "path": "/"}},
        });
        self.user.create(kind::PERSISTENT_VOLUME, volume).await;
    }

    async fn claim(&self, name: &str, gib: usize) {
        let claim = json!({
            "metadata": {"name": name},
            "spec": {"accessModes": ["ReadWriteOnce"], "storageClassName": "manual",
                "resources": {"requests": {"storage": format!("{gib}Gi")}}},
        });
        self.user.create(kind::PERSISTENT_VOLUME_CLAIM, claim).await;
    }

    /// The phases of a claim and of volume pv-1.
    fn phases(&self, claim: &Key) -> (&'static str, &'static str) {
        self.session.mirror.read(|tables| {
            let claim = tables.claims.get(claim).map_or("gone", |claim| claim.phase.name());
            let volume = tables.volumes.get(&Key::cluster("pv-1"));
            (claim, volume.map_or("gone", |volume| volume.phase.name()))
        })
    }

    /// The names of the volumes that claims are bound to.
    fn bound(&self) -> Vec<String> {
        self.session.mirror.read(|tables| {
            let claims = tables.claims.iter().filter(|claim| claim.phase == ClaimPhase::Bound);
            claims.map(|claim| claim.volume_name.to_string()).collect()
        })
    }

    fn refused(&self) -> Vec<String> {
        self.session.path.journal().read(0, |entries| {
            let bad = entries.filter(|entry| {
                !matches!(entry.outcome, Outcome::Done { .. } | Outcome::Withdrawn { .. })
            });
            bad.map(|entry| format!("{} {:?}", entry.write.object, entry.outcome)).collect()
        })
    }
}

#[test]
fn many_claims_at_once_take_a_volume_each_without_a_conflict() {
    run(async |open| {
        const PAIRS: usize = 100;
        for n in 0..PAIRS {
            open.volume(&format!("pv-{n:03}"), 1 + n % 7).await;
        }
        assert!(open.clock.settle(100).await);
        for n in 0..PAIRS {
            open.claim(&format!("claim-{n:03}"), 1).await;
        }
        assert!(open.clock.settle(1000).await);
        let bound = open.bound();
        assert_eq!(bound.len(), PAIRS, "all at once, no round waited for");
        assert_eq!(bound.iter().collect::<BTreeSet<_>>().len(), PAIRS, "a volume each");
        assert_eq!(open.refused(), Vec::<String>::new());
    });
}

#[test]
fn claims_there_first_are_bound_as_volumes_come() {
    run(async |open| {
        for n in 0..10 {
            open.claim(&format!("claim-{n}"), 1).await;
        }
        assert!(open.clock.settle(100).await);
        let before = seconds(&open.clock);
        for n in 0..10 {
            open.volume(&format!("pv-{n}"), 1).await;
        }
        assert!(open.clock.settle(1000).await);
        assert_eq!(open.bound().len(), 10);
        assert!(seconds(&open.clock) - before < 15, "nobody waits for a round");
    });
}

fn seconds(clock: &ManualClock) -> i64 {
    use pvdeck::model::clock::Clock;
    clock.now().as_second()
}

#[test]
fn a_shut_gate_holds_a_bind_per_claim_and_each_goes_on_by_permits() {
    run(async |open| {
        for n in 0..3 {
            open.volume(&format!("pv-{n}"), 1).await;
        }
        assert!(open.clock.settle(100).await);
        let gate = open.session.path.gate();
        gate.shut();
        for n in 0..3 {
            open.claim(&format!("claim-{n}"), 1).await;
        }
        open.clock.idle().await;
        let held: BTreeSet<_> =
            gate.held().iter().map(|held| held.write.object.to_string()).collect();
        assert_eq!(held.len(), 3, "each bind has a volume of its own: {held:?}");
        let first = gate.held()[0].write.clone();
        assert_eq!(first.reason.rule, "C1/W1");
        let why = "claim-0 wants 1Gi RWO of class manual; pv-0 (1Gi) is the smallest that fits";
        assert_eq!(first.reason.text, why);
        // The volume that was chosen goes meanwhile: the permit is decided anew.
        open.user.delete(&first.object).await;
        for _ in 0..40 {
            open.clock.advance(Duration::from_millis(100)).await;
            gate.pass_one();
        }
        open.clock.idle().await;
        assert_eq!(open.bound().len(), 2, "one volume is gone");
        let status = open.session.host.as_ref().expect("hosted").status();
        assert!(status.iter().all(|status| status.figures.errors == 0), "{status:?}");
    });
}

#[test]
fn access_modes_are_repeated_in_the_volumes_order() {
    run(async |open| {
        open.volume("pv", 1).await;
        open.claim("claim", 1).await;
        assert!(open.clock.settle(100).await);
        let claim = open.user.get(&reference(kind::PERSISTENT_VOLUME_CLAIM, "claim")).await;
        let claim = claim.expect("a claim");
        assert_eq!(claim["status"]["accessModes"], json!(["ReadWriteMany", "ReadWriteOnce"]));
    });
}

#[test]
fn a_stopped_host_leaves_everything_and_a_new_one_goes_on() {
    run(async |mut open| {
        open.volume("pv", 1).await;
        assert!(open.clock.settle(100).await);
        open.session.host.take().expect("hosted").stop().await;
        open.claim("claim", 1).await;
        open.clock.advance(Duration::from_secs(60)).await;
        assert!(open.bound().is_empty());
        let clock = open.session.path.clock().clone();
        let options = pvdeck::controllers::host::Options::default();
        let Session { path, mirror, .. } = &open.session;
        let host = pvdeck::controllers::host::start(path, mirror, &clock, &options);
        assert!(open.clock.settle(100).await);
        assert_eq!(open.bound(), ["pv"]);
        assert!(host.is_idle());
    });
}

#[test]
fn a_held_provisioning_is_withdrawn_when_its_claim_goes() {
    run(async |open| {
        let class = json!({
            "metadata": {"name": "manual"}, "provisioner": "kubernetes.io/host-path"});
        open.user.create(kind::STORAGE_CLASS, class).await;
        let gate = open.session.path.gate();
        gate.shut();
        open.claim("claim", 1).await;
        let first_held = || gate.held().first().map(|held| held.write.verb());
        for _ in 0..20 {
            open.clock.idle().await;
            if first_held() == Some("CREATE") {
                break;
            }
            gate.pass_one();
        }
        assert_eq!(first_held(), Some("CREATE"), "the volume is about to be made");
        let claim = reference(kind::PERSISTENT_VOLUME_CLAIM, "claim");
        // No finalizer holds it back, so that it is gone at once.
        open.user.merge(&claim, json!({"metadata": {"finalizers": null}})).await;
        open.user.delete(&claim).await;
        open.clock.idle().await;
        for _ in 0..10 {
            gate.pass_one();
            open.clock.idle().await;
        }
        assert_eq!(open.session.mirror.read(|tables| tables.volumes.len()), 0);
        assert!(gate.held().is_empty(), "{:?}", gate.held());
    });
}

/// A claim whose volume was deleted and made again, as from a backup, with a
/// reference to an earlier claim of that name.
async fn lost_claim(open: &Open) -> Key {
    open.volume("pv-1", 1).await;
    open.claim("data", 1).await;
    assert!(open.clock.settle(100).await);
    let volume = reference(kind::PERSISTENT_VOLUME, "pv-1");
    open.user.delete(&volume).await;
    open.user.merge(&volume, json!({"metadata": {"finalizers": null}})).await;
    assert!(open.clock.settle(100).await);
    let again = json!({
        "metadata": {"name": "pv-1"},
        "spec": {"capacity": {"storage": "1Gi"}, "storageClassName": "manual",
            "accessModes": ["ReadWriteOnce"], "nfs": {"server": "nfs.example", "path": "/"},
            "claimRef": {"namespace": "default", "name": "data", "uid": "of-an-earlier-one"}},
    });
    open.user.create(kind::PERSISTENT_VOLUME, again).await;
    assert!(open.clock.settle(1000).await);
    Key::new("default", "data")
}

#[test]
fn lost_claim_gets_its_volume_back_by_the_writes_of_a_rebind() {
    run(async |open| {
        let claim = lost_claim(&open).await;
        assert_eq!(open.phases(&claim), ("Lost", "Released"));
        let writes = open.session.mirror.read(|tables| {
            let volume = tables.volumes.get(&Key::cluster("pv-1")).expect("the volume");
            rebind::writes(tables.claims.get(&claim).expect("the claim"), volume)
        });
        for write in writes {
            perform(&open.user, &write).await.expect("taken");
        }
        assert!(open.clock.settle(1000).await);
        assert_eq!(open.phases(&claim), ("Bound", "Bound"));
    });
}

/// Why a rebind writes the uid: by name alone the binder does not know a claim
/// again that was bound before.
#[test]
fn lost_claim_stays_lost_when_its_volume_names_it_without_uid() {
    run(async |open| {
        let claim = lost_claim(&open).await;
        let volume = reference(kind::PERSISTENT_VOLUME, "pv-1");
        let by_name = json!({"spec": {"claimRef": {"uid": null}}});
        open.user.merge(&volume, by_name).await;
        assert!(open.clock.settle(1000).await);
        assert_eq!(open.phases(&claim).0, "Lost");
    });
}
