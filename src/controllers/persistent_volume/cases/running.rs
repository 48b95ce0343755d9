//! Sections K, K.2 and K.4: the controller among changes, the rule of its
//! store, and the finalizers of deletion.

use std::sync::Arc;

use serde_json::Value;

use super::notation::{Names, claim, volume};
use super::world::{World, block_on};
use crate::controllers::persistent_volume::cache::Cache;
use crate::controllers::persistent_volume::volume::deletion_finalizers;
use crate::model::kind;
use crate::model::object::{Key, ObjectRef};
use crate::model::row::Row;
use crate::model::volume::Volume;

pub const IDS: &[&str] = &[
    "5-2", "5-2-2", "5-2-3", "5-3", "5-5", "5-6", "5-7", "5-8", "K.2-1", "K.2-2", "K.2-3", "K.2-4",
    "K.2-5", "K.2-6", "DF-1", "DF-2", "DF-3", "DF-4", "DF-6", "DF-7", "DF-8", "DF-9", "DF-11",
    "DF-12", "DF-13", "DF-14",
];

struct Case {
    names: Names,
    world: World,
}

impl Case {
    fn new(id: &str) -> Self {
        let world = World::new(false, true);
        world.server.put(serde_json::json!({
            "apiVersion": "storage.k8s.io/v1", "kind": "StorageClass",
            "metadata": {"name": "external"}, "provisioner": "gcr.io/vendor-csi",
            "volumeBindingMode": "Immediate",
        }));
        Self { names: Names { id: id.into() }, world }
    }

    fn volume(&self, cell: &str) {
        let name = self.names.volume("V");
        self.world.server.put(volume(&self.names, &name, cell, None));
    }

    fn claim(&self, cell: &str) {
        self.world.server.put(claim(&self.names, cell, None));
    }

    fn settle(&self) {
        assert!(block_on(self.world.settle()), "it settles");
    }

    fn own_volume(&self) -> ObjectRef {
        ObjectRef::new(kind::PERSISTENT_VOLUME, Key::cluster(self.names.volume("V")))
    }

    fn own_claim(&self) -> ObjectRef {
        let key = Key::new("default", self.names.claim());
        ObjectRef::new(kind::PERSISTENT_VOLUME_CLAIM, key)
    }

    fn delete(&self, object: &ObjectRef) {
        self.world.server.lock().objects.remove(object);
    }

    #[track_caller]
    fn phases(&self, volume: &str, claim: &str) {
        let phase = |object| {
            let object = self.world.server.object(object);
            object.map_or("gone".to_owned(), |object| {
                object["status"]["phase"].as_str().unwrap_or_default().to_owned()
            })
        };
        let found = (phase(&self.own_volume()), phase(&self.own_claim()));
        assert_eq!(found, (volume.to_owned(), claim.to_owned()), "{}", self.names.id);
    }

    fn reasons(&mut self) -> Vec<&'static str> {
        self.world.notes().into_iter().map(|note| note.reason).collect()
    }
}

#[test]
fn k_5_2_a_claim_added_later_or_there_at_start_is_bound() {
    for later in [true, false] {
        let mut case = Case::new("5-2");
        case.volume("1Gi Available");
        if later {
            case.settle();
        }
        case.claim("1Gi Pending");
        case.settle();
        case.phases("Bound", "Bound");
        assert!(case.reasons().is_empty(), "binding tells nothing");
    }
}

#[test]
fn a_claim_replaced_before_it_was_seen_to_go_has_its_volume_released() {
    let case = Case::new("5-2");
    case.volume("1Gi Available");
    case.claim("1Gi Pending");
    case.settle();
    case.phases("Bound", "Bound");
    let mut another = claim(&case.names, "2Gi Pending", None);
    another["metadata"]["uid"] = "another".into();
    case.world.server.put(another);
    case.settle();
    case.phases("Released", "Pending");
}

#[test]
fn k_5_2_3_capacity_before_a_pending_resize_is_the_claims() {
    let case = Case::new("5-2");
    case.volume("2Gi Available bc resize=1Gi");
    case.claim("2Gi Pending cap=2Gi");
    case.settle();
    case.phases("Bound", "Bound");
    let claim = case.world.server.object(&case.own_claim()).expect("the claim");
    assert_eq!(claim["status"]["capacity"]["storage"], "1Gi");
    let volume = case.world.server.object(&case.own_volume()).expect("the volume");
    let annotations = &volume["metadata"]["annotations"];
    assert_eq!(annotations["volume.alpha.kubernetes.io/pre-resize-capacity"], "1Gi");
}

#[test]
fn k_5_3_a_deleted_claim_releases_its_volume() {
    let case = Case::new("5-3");
    case.volume("10Gi Bound ref=me bc Retain");
    case.claim("1Gi Bound vol=V bc bd");
    case.settle();
    case.delete(&case.own_claim());
    case.settle();
    case.phases("Released", "gone");
}

const EXTERNAL: &str = "1Gi Bound vol=V class=external ga=gcr.io/vendor-csi bc bd";

#[test]
fn k_5_5_an_external_deletion_is_timed_once() {
    let case = Case::new("5-5");
    case.volume("10Gi Bound ref=me Delete class=external bc pb=gcr.io/vendor-csi");
    case.claim(EXTERNAL);
    case.settle();
    case.delete(&case.own_claim());
    case.settle();
    case.phases("Released", "gone");
    case.delete(&case.own_volume());
    case.settle();
    case.phases("gone", "gone");
    assert_eq!(case.world.controller.latency().deletions(), 1);
}

#[test]
fn k_5_6_a_deletion_left_to_a_driver_is_remembered() {
    let case = Case::new("5-6");
    case.volume("csi 10Gi Bound ref=me Delete class=external bc pb=gcr.io/vendor-csi");
    case.claim(EXTERNAL);
    case.settle();
    case.delete(&case.own_claim());
    case.settle();
    case.phases("Released", "gone");
    assert!(case.world.controller.latency().deleting_since("volume5-6").is_some());
}

#[test]
fn k_5_7_a_volume_deleted_first_is_not_timed() {
    let mut case = Case::new("5-7");
    case.volume("10Gi Bound ref=me Delete class=external bc pb=gcr.io/vendor-csi");
    case.claim(EXTERNAL);
    case.settle();
    case.delete(&case.own_volume());
    case.settle();
    case.phases("gone", "Lost");
    assert_eq!(case.reasons(), ["ClaimLost"]);
    case.delete(&case.own_claim());
    case.settle();
    assert!(case.world.controller.latency().deleting_since("volume5-7").is_none());
}

#[test]
fn k_5_8_a_deleted_claim_ends_its_provisioning_time() {
    let mut case = Case::new("5-8");
    case.claim("1Gi Pending class=external ga=gcr.io/vendor-csi");
    case.settle();
    let key = case.own_claim().key;
    assert!(case.world.controller.latency().provisioning_since(&key).is_some());
    assert!(case.reasons().iter().all(|reason| *reason == "ExternalProvisioning"));
    case.delete(&case.own_claim());
    case.settle();
    assert!(case.world.controller.latency().provisioning_since(&key).is_none());
}

#[test]
fn k2_the_store_takes_in_what_is_not_older() {
    let mut cache = Cache::default();
    let row = |version: &str| {
        let names = Names { id: "1".into() };
        let mut object = volume(&names, "v", "1Gi Available", None);
        object["metadata"]["resourceVersion"] = version.into();
        Volume::from_object(&object)
    };
    for (step, version, accepted, held) in [
        (1, "1", true, 1),
        (2, "1", true, 1),
        (3, "2", true, 2),
        (4, "1", false, 2),
        (5, "10", true, 10),
    ] {
        let taken = cache.put_volume(Arc::new(row(version).expect("a volume")));
        let version = cache.volume("v").expect("held").meta.version;
        assert_eq!((taken, version), (accepted, held), "step {step}");
    }
    // Step 6
    let error = row("xxx").expect_err("not a number").to_string();
    assert!(error.contains("`xxx` is not a number"), "{error}");
}

#[test]
fn k4_the_finalizers_of_deletion() {
    const ROWS: &str = "
DF-1 | csi pb=rbd.csi.ceph.com Delete fin=[EXT] | =
DF-2 | csi pb=rbd.csi.ceph.com Delete | =
DF-3 | pb Delete fin=[X] | X,PVC
DF-4 | pb Delete | PVC
DF-6 | pb Delete fin=[EXT,X] | X,PVC
DF-7 | pb=kubernetes.io/gce-pd migrated=pd.csi.storage.gke.io Delete fin=[EXT,PVC] | EXT
DF-8 | pb Delete fin=[EXT] | PVC
DF-9 | pb Delete fin=[EXT,X] | X,PVC
DF-11 | Delete | =
DF-12 | pb Retain | =
DF-13 | pb Recycle | =
DF-14 | pb Retain fin=[PVC] | none
";
    let mut failed = Vec::new();
    for row in ROWS.lines().filter(|line| !line.is_empty()) {
        let cells: Vec<&str> = row.split('|').map(str::trim).collect();
        let names = Names { id: "1".into() };
        let cell = format!("1Gi Bound class=copper ref=me bc {}", cells[1]);
        let row = Volume::from_object(&volume(&names, "v", &cell, None)).expect("a volume");
        let provisioner = row.meta.annotation("pv.kubernetes.io/provisioned-by");
        let found = provisioner.and_then(|by| deletion_finalizers(&row, by));
        let wanted = match cells[2] {
            "=" => None,
            "none" => Some(Value::Array(Vec::new())),
            list => {
                let object = volume(&names, "v", &format!("1Gi fin=[{list}]"), None);
                Some(object["metadata"]["finalizers"].clone())
            }
        };
        if found != wanted {
            failed.push(format!("{}: {found:?}, not {wanted:?}", cells[0]));
        }
    }
    assert!(failed.is_empty(), "{}", failed.join("\n"));
}
