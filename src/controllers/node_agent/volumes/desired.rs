//! What a node should have: the volumes that its pods' containers use.
//!
//! Upstream: `pkg/kubelet/volumemanager/cache/desired_state_of_world.go`.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::Timestamp;

use crate::controllers::expand::growth::Growth;
use crate::controllers::node_agent::volumes::pod::WantedPod;
use crate::model::object::Key;
use crate::model::volume_source::VolumeSpec;
use crate::plugins::plugin::{Capability, PluginFacts};

/// How many different errors of a pod are kept until they are read.
const ERRORS_MAX: usize = 10;

/// How far the volumes of a pod have been read from the API.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Processing {
    /// Not once.
    Never,
    /// It failed the first time and is tried once more by itself.
    Again { at: Timestamp },
    /// Someone asked for it.
    Asked,
    /// Done, or failed: until someone asks.
    Processed,
}

/// A pod whose containers may run.
#[derive(Debug, Clone)]
pub struct DesiredPod {
    pub pod: Arc<WantedPod>,
    /// Higher than that of any pod wanted before it.
    pub turn: u64,
    pub processing: Processing,
    /// Being read now.
    pub is_reading: bool,
    /// All its volumes are wanted, as of some reading: until then what is
    /// mounted for it stays.
    pub is_complete: bool,
    /// Its wanted volumes: outer to unique name.
    pub volumes: BTreeMap<Arc<str>, Arc<str>>,
    /// Until they are read.
    errors: Vec<String>,
    /// Why a volume is not wanted, by outer name, for the board.
    pub refused: BTreeMap<Arc<str>, (String, Timestamp)>,
}

impl DesiredPod {
    fn new(pod: Arc<WantedPod>, turn: u64) -> Self {
        Self {
            pod,
            turn,
            processing: Processing::Never,
            is_reading: false,
            is_complete: false,
            volumes: BTreeMap::new(),
            errors: Vec::new(),
            refused: BTreeMap::new(),
        }
    }

    /// Notes an error until it is read.
    pub fn add_error(&mut self, error: String) {
        if self.errors.len() < ERRORS_MAX && !self.errors.contains(&error) {
            self.errors.push(error);
        }
    }

    /// The errors since they were last read, joined.
    pub fn take_errors(&mut self) -> Option<String> {
        let errors = std::mem::take(&mut self.errors);
        (!errors.is_empty()).then(|| errors.join("; "))
    }

    pub fn drop_errors(&mut self) {
        self.errors.clear();
    }
}

/// A volume that at least one pod wants.
#[derive(Debug, Clone)]
pub struct DesiredVolume {
    pub facts: PluginFacts,
    pub spec: VolumeSpec,
    pub pods: BTreeMap<Arc<str>, DesiredMount>,
}

impl DesiredVolume {
    pub fn is_attachable(&self) -> bool {
        self.facts.can(Capability::Attach)
    }

    /// The turn of the pod that wanted it first.
    pub fn wanted_first(&self) -> Option<u64> {
        self.pods.values().map(|mount| mount.turn).min()
    }
}

/// A volume as one pod wants it.
#[derive(Debug, Clone)]
pub struct DesiredMount {
    pub pod: Arc<WantedPod>,
    /// The pod's turn.
    pub turn: u64,
    pub spec: VolumeSpec,
    /// The names it has in the pod.
    pub outer: BTreeSet<Arc<str>>,
    pub claim: Option<Key>,
    /// What the claim says of its growth.
    pub growth: Option<Growth>,
    /// The PersistentVolume's uid and version, for events about it.
    pub volume: Option<(Arc<str>, u64)>,
}

/// One volume of a pod, read.
#[derive(Debug, Clone)]
pub struct ReadVolume {
    pub outer: Arc<str>,
    pub unique: Arc<str>,
    pub facts: PluginFacts,
    pub spec: VolumeSpec,
    pub claim: Option<Key>,
    pub growth: Option<Growth>,
    pub volume: Option<(Arc<str>, u64)>,
}

/// What one node should have.
#[derive(Debug, Default)]
pub struct Desired {
    pub pods: BTreeMap<Arc<str>, DesiredPod>,
    pub volumes: BTreeMap<Arc<str>, DesiredVolume>,
    /// How many pods were wanted so far.
    turns: u64,
}

impl Desired {
    /// The pod's containers may run; a newer object takes the older's place.
    pub fn want(&mut self, pod: WantedPod) {
        let pod = Arc::new(pod);
        let own = self.pods.entry(pod.uid.clone()).or_insert_with(|| {
            self.turns += 1;
            DesiredPod::new(pod.clone(), self.turns)
        });
        own.pod = pod.clone();
        for unique in own.volumes.values() {
            let mount = self.volumes.get_mut(unique).and_then(|own| own.pods.get_mut(&pod.uid));
            if let Some(mount) = mount {
                mount.pod = pod.clone();
            }
        }
    }

    /// The pod needs nothing any more.
    pub fn let_go(&mut self, uid: &str) {
        let Some(pod) = self.pods.remove(uid) else { return };
        for unique in pod.volumes.values() {
            if let Some(volume) = self.volumes.get_mut(unique) {
                volume.pods.remove(uid);
                if volume.pods.is_empty() {
                    self.volumes.remove(unique);
                }
            }
        }
    }

    /// A volume of a wanted pod has been read: it is to be mounted.
    pub fn add(&mut self, uid: &str, read: ReadVolume) {
        let Some(pod) = self.pods.get_mut(uid) else { return };
        pod.volumes.insert(read.outer.clone(), read.unique.clone());
        pod.refused.remove(&read.outer);
        let volume = self.volumes.entry(read.unique).or_insert_with(|| DesiredVolume {
            facts: read.facts.clone(),
            spec: read.spec.clone(),
            pods: BTreeMap::new(),
        });
        let mount = volume.pods.entry(pod.pod.uid.clone()).or_insert_with(|| DesiredMount {
            pod: pod.pod.clone(),
            turn: pod.turn,
            spec: read.spec.clone(),
            outer: BTreeSet::new(),
            claim: read.claim.clone(),
            growth: read.growth,
            volume: read.volume.clone(),
        });
        mount.outer.insert(read.outer);
        (mount.spec, mount.volume, mount.claim) = (read.spec, read.volume, read.claim);
        mount.growth = read.growth;
    }

    pub fn is_wanted_by(&self, volume: &str, pod: &str) -> bool {
        self.volumes.get(volume).is_some_and(|own| own.pods.contains_key(pod))
    }

    /// Whether what a pod has must stay because not all of its volumes are
    /// known: one of them may be it.
    pub fn is_incomplete(&self, pod: &str) -> bool {
        self.pods.get(pod).is_some_and(|own| !own.is_complete)
    }

    /// Whether a wanted pod has a volume of this inner name.
    pub fn has_inner(&self, pod: &str, inner: &str) -> bool {
        let Some(own) = self.pods.get(pod) else { return false };
        let mut volumes = own.volumes.values().filter_map(|unique| self.volumes.get(unique));
        volumes.any(|volume| &*volume.spec.name == inner)
    }
}
