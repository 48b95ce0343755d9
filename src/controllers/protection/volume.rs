//! `kubernetes.io/pv-protection`: a volume stays while it is Bound.

use std::collections::HashSet;
use std::sync::Arc;

use futures::future::{BoxFuture, ready};

use super::{Duty, SETTLED, adding, duty, removing};
use crate::controllers::parts::Parts;
use crate::controllers::work_loop::{Pass, Reconciler};
use crate::model::kind;
use crate::model::object::{Key, ObjectRef};
use crate::model::volume::{Volume, VolumePhase};
use crate::model::write::Write;

pub const FINALIZER: &str = "kubernetes.io/pv-protection";
const RULE: &str = "VP";

/// The write a volume's finalizer calls for.
pub fn decide(volume: &Volume) -> Option<Write> {
    match duty(&volume.meta, FINALIZER) {
        Duty::Add => Some(adding(volume, FINALIZER, RULE)),
        Duty::RemoveUnlessUsed if volume.phase != VolumePhase::Bound => {
            Some(removing(volume, FINALIZER, RULE))
        }
        Duty::RemoveUnlessUsed | Duty::Nothing => None,
    }
}

/// The controller.
pub struct VolumeProtection {
    parts: Parts,
}

impl VolumeProtection {
    pub fn new(parts: Parts) -> Self {
        Self { parts }
    }

    fn decide(&self, key: &Key) -> Option<Write> {
        self.parts.mirror.read(|tables| tables.volumes.get(key).and_then(|row| decide(row)))
    }
}

impl Reconciler for VolumeProtection {
    fn take_in(&self, changed: HashSet<ObjectRef>) -> Vec<ObjectRef> {
        let volumes = changed.into_iter().filter(|object| object.kind == kind::PERSISTENT_VOLUME);
        let mut called_for: Vec<_> =
            volumes.filter(|object| self.decide(&object.key).is_some()).collect();
        called_for.sort();
        called_for
    }

    fn reconcile(self: Arc<Self>, object: ObjectRef) -> BoxFuture<'static, Pass> {
        Box::pin(async move {
            self.parts.write_once(&object, SETTLED, || ready(Ok(self.decide(&object.key)))).await
        })
    }
}
