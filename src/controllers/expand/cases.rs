//! Section N of the case file, and kinds that are grown from here.

use std::collections::HashSet;
use std::sync::{Arc, Mutex};

use futures::future::{FutureExt, ready};
use serde_json::{Value, json};
use tokio::sync::mpsc;

use crate::controllers::events::{Note, Recorder};
use crate::controllers::expand::controller::ExpandController;
use crate::controllers::health::Health;
use crate::controllers::parts::Parts;
use crate::controllers::persistent_volume::cases::world::{HastyClock, TestServer, block_on};
use crate::controllers::work_loop::{Outcome, Reconciler};
use crate::mirror::Mirror;
use crate::model::claim::Claim;
use crate::model::event::Severity;
use crate::model::object::ObjectRef;
use crate::model::row::Row;
use crate::model::volume::Volume;
use crate::model::volume_source::VolumeSpec;
use crate::plugins::PluginError;
use crate::plugins::host::Host;
use crate::plugins::plugin::{
    Capabilities, Capability, Done, FoundVolume, NodeVolume, PluginFacts, Plugins, Published,
    VolumePlugin,
};

pub const IDS: [&str; 4] = ["EX-1", "EX-2", "EX-3", "EX-4"];

/// Grows volumes of one driver, as its script says.
#[derive(Default)]
struct Growable {
    needs_node: bool,
    script: Mutex<Vec<&'static str>>,
    asked: Mutex<Vec<u64>>,
}

impl VolumePlugin for Growable {
    fn facts(&self) -> PluginFacts {
        const BOTH: Capabilities =
            Capabilities::of(&[Capability::ExpandController, Capability::ExpandNode]);
        let capabilities =
            if self.needs_node { BOTH } else { BOTH.without(Capability::ExpandNode) };
        PluginFacts { name: "x/growable", source: Some("flexVolume"), driver: None, capabilities }
    }

    fn volume_name(&self, spec: &VolumeSpec) -> Result<String, PluginError> {
        Ok(spec.name.to_string())
    }

    fn expand<'a>(&'a self, _spec: &'a VolumeSpec, bytes: u64) -> Done<'a, u64> {
        self.asked.lock().expect("asked").push(bytes);
        let done = match self.script.lock().expect("script").pop() {
            None => Ok(bytes),
            Some(error) => Err(PluginError::Failed(error.to_owned())),
        };
        ready(done).boxed()
    }

    fn publish<'a>(&'a self, _volume: &'a NodeVolume) -> Done<'a, Published> {
        ready(Err(PluginError::NoPluginMatched)).boxed()
    }

    fn unpublish<'a>(&'a self, _volume: &'a NodeVolume) -> Done<'a, ()> {
        ready(Ok(())).boxed()
    }

    fn reconstruct<'a>(
        &'a self,
        _host: &'a Arc<dyn Host>,
        _found: &'a FoundVolume,
    ) -> Done<'a, VolumeSpec> {
        ready(Err(PluginError::NoPluginMatched)).boxed()
    }
}

struct World {
    server: Arc<TestServer>,
    mirror: Mirror,
    controller: Arc<ExpandController>,
    plugin: Arc<Growable>,
    notes: mpsc::Receiver<Note>,
    claim: ObjectRef,
    volume: Option<ObjectRef>,
}

fn world(claim: Value, volume: Option<Value>, plugin: Growable) -> World {
    let (server, mirror) = (Arc::new(TestServer::default()), Mirror::default());
    let (recorder, notes) = Recorder::new();
    let parts = Parts {
        server: server.clone(),
        mirror: mirror.clone(),
        recorder,
        clock: Arc::new(HastyClock::new()),
        health: Health::default(),
    };
    let plugin = Arc::new(plugin);
    let controller = ExpandController::new(parts, Plugins::new(vec![plugin.clone()]));
    let controller = Arc::new(controller);
    let (claim, volume) = (server.put(claim), volume.map(|volume| server.put(volume)));
    World { server, mirror, controller, plugin, notes, claim, volume }
}

impl World {
    /// The controller hears of both objects, and looks once.
    fn look(&mut self) -> Vec<Outcome> {
        let now = |object: &ObjectRef| self.server.object(object).expect("it is there");
        if let Some(volume) = &self.volume {
            self.mirror.apply(Volume::from_object(&now(volume)).expect("a row"));
        }
        self.mirror.apply(Claim::from_object(&now(&self.claim)).expect("a row"));
        let news = self.controller.take_in(HashSet::from([self.claim.clone()]));
        let pass = |object| block_on(self.controller.clone().reconcile(object)).outcome;
        news.into_iter().map(pass).collect()
    }

    fn told(&mut self) -> Vec<String> {
        let mut told = Vec::new();
        while let Ok(note) = self.notes.try_recv() {
            let letter = if note.severity == Severity::Warning { 'W' } else { 'N' };
            told.push(format!("{letter} {} {}", note.reason, note.message));
        }
        told
    }

    fn claim(&self) -> Value {
        self.server.object(&self.claim).expect("the claim")
    }

    fn volume(&self) -> Value {
        self.server.object(self.volume.as_ref().expect("a volume")).expect("the volume")
    }
}

fn claim(volume: &str, request: &str, capacity: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "PersistentVolumeClaim",
        "metadata": {"name": "data", "namespace": "shop", "uid": "claim-uid"},
        "spec": {"volumeName": volume, "accessModes": ["ReadWriteOnce"],
            "resources": {"requests": {"storage": request}}},
        "status": {"phase": "Bound", "capacity": {"storage": capacity}},
    })
}

fn volume(capacity: &str, source: Value) -> Value {
    let mut volume = json!({
        "apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": "pv", "uid": "pv"},
        "spec": {"capacity": {"storage": capacity}, "accessModes": ["ReadWriteOnce"],
            "claimRef": {"namespace": "shop", "name": "data", "uid": "claim-uid"}},
    });
    if let (Value::Object(spec), Value::Object(source)) = (&mut volume["spec"], source) {
        spec.extend(source);
    }
    volume
}

fn flex() -> Value {
    json!({"flexVolume": {"driver": "x/growable"}})
}

const EBS: &str = "CSI migration enabled for kubernetes.io/aws-ebs; waiting for external resizer \
                   to expand the pvc";

#[test]
fn ex_1_a_claim_without_volume_fails() {
    let mut world = world(claim("", "1Gi", "1Gi"), None, Growable::default());
    assert!(world.look().is_empty(), "nothing is asked for");
    let pass = block_on(world.controller.clone().reconcile(world.claim.clone()));
    assert!(
        matches!(pass.outcome, Outcome::Failed(error) if error.starts_with("failed to get PV \"\""))
    );
}

#[test]
fn ex_2_3_a_translated_kind_is_left_to_its_driver() {
    let ebs = json!({"awsElasticBlockStore": {"volumeID": "vol-1"}});
    let mut before = volume("2Gi", ebs.clone());
    before["metadata"]["annotations"] =
        json!({"volume.alpha.kubernetes.io/pre-resize-capacity": "1Gi"});
    let rows =
        [(claim("pv", "2Gi", "1Gi"), volume("1Gi", ebs)), (claim("pv", "2Gi", "2Gi"), before)];
    for (claim, volume) in rows {
        let mut world = world(claim, Some(volume), Growable::default());
        assert_eq!(world.look(), [Outcome::Done]);
        let annotations = &world.claim()["metadata"]["annotations"];
        assert_eq!(annotations["volume.kubernetes.io/storage-resizer"], "ebs.csi.aws.com");
        assert_eq!(world.told(), [format!("N ExternalExpanding {EBS}")]);
        assert!(world.claim()["status"]["allocatedResources"].is_null());
        assert!(world.look().is_empty(), "nothing has risen since");
    }
}

#[test]
fn ex_4_a_drivers_volume_is_left_to_its_companion() {
    let csi = json!({"csi": {"driver": "com.csi.ceph", "volumeHandle": "h"}});
    let mut world = world(claim("pv", "2Gi", "1Gi"), Some(volume("1Gi", csi)), Growable::default());
    assert_eq!(world.look(), [Outcome::Done]);
    let told = "N ExternalExpanding waiting for an external controller to expand this PVC";
    assert_eq!(world.told(), [told]);
    assert_eq!(world.claim()["status"]["conditions"], Value::Null);
}

#[test]
fn e3_a_volume_is_grown_here_and_the_rest_left_to_its_node() {
    let plugin = Growable { needs_node: true, ..Growable::default() };
    let mut world = world(claim("pv", "2Gi", "1Gi"), Some(volume("1Gi", flex())), plugin);
    assert_eq!(world.look(), [Outcome::Done]);
    assert_eq!(*world.plugin.asked.lock().expect("asked"), [2 << 30]);
    let (claim, volume) = (world.claim(), world.volume());
    let status = &claim["status"];
    assert_eq!(status["allocatedResourceStatuses"]["storage"], "NodeResizePending");
    assert_eq!(status["allocatedResources"]["storage"], "2Gi");
    assert_eq!(
        claim["metadata"]["annotations"]["volume.kubernetes.io/storage-resizer"],
        "x/growable"
    );
    assert_eq!(volume["spec"]["capacity"]["storage"], "2Gi");
    let before = "volume.alpha.kubernetes.io/pre-resize-capacity";
    assert_eq!(volume["metadata"]["annotations"][before], "1Gi");
    assert!(world.told().is_empty());

    let mut done = claim.clone();
    done["status"]["capacity"]["storage"] = "2Gi".into();
    done["status"]["allocatedResourceStatuses"] = Value::Null;
    world.server.put(done);
    assert_eq!(world.look(), [Outcome::Done]);
    assert!(world.volume()["metadata"]["annotations"][before].is_null());
    assert!(world.look().is_empty());
}

#[test]
fn e3_a_volume_without_node_part_is_done_at_once() {
    let mut world =
        world(claim("pv", "2Gi", "1Gi"), Some(volume("1Gi", flex())), Growable::default());
    assert_eq!(world.look(), [Outcome::Done]);
    let status = &world.claim()["status"];
    assert_eq!(status["capacity"]["storage"], "2Gi");
    assert!(status["conditions"].is_null() && status["allocatedResourceStatuses"].is_null());
    assert_eq!(
        world.told(),
        ["N VolumeResizeSuccessful ExpandVolume succeeded for volume shop/data"]
    );
}

#[test]
fn e3_a_failure_is_told_and_a_lower_request_waits_for_the_first() {
    let plugin = Growable { script: Mutex::new(vec!["no room", "no room"]), ..Growable::default() };
    let mut world = world(claim("pv", "5Gi", "1Gi"), Some(volume("1Gi", flex())), plugin);
    let failed = || Outcome::Failed("error expanding pvc shop/data: no room".to_owned());
    assert_eq!(world.look(), [failed()]);
    assert_eq!(world.told(), ["W VolumeResizeFailed error expanding pvc shop/data: no room"]);
    assert_eq!(
        world.claim()["status"]["allocatedResourceStatuses"]["storage"],
        "ControllerResizeInProgress"
    );
    let mut lowered = world.claim();
    lowered["spec"]["resources"]["requests"]["storage"] = "2Gi".into();
    world.server.put(lowered);
    let pass = block_on(world.controller.clone().reconcile(world.claim.clone()));
    assert_eq!(pass.outcome, failed());
    // What was begun may yet happen, so it is brought to its end.
    assert_eq!(*world.plugin.asked.lock().expect("asked"), [5 << 30, 5 << 30]);
}

#[test]
fn a_volume_of_another_claim_is_not_grown() {
    let mut other = volume("1Gi", flex());
    other["spec"]["claimRef"]["uid"] = "another".into();
    let mut world = world(claim("pv", "2Gi", "1Gi"), Some(other), Growable::default());
    let error = "persistent Volume is not bound to PVC being updated : shop/data";
    assert_eq!(world.look(), [Outcome::Failed(error.to_owned())]);
}
