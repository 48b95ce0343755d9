//! `kubernetes.io/vac-protection`: an attributes class stays while a volume or
//! claim names it.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};

use futures::future::{BoxFuture, ready};

use super::{Duty, SETTLED, adding, duty, removing};
use crate::controllers::parts::Parts;
use crate::controllers::work_loop::{Pass, Reconciler};
use crate::model::claim::Claim;
use crate::model::kind;
use crate::model::object::ObjectRef;
use crate::model::volume::Volume;
use crate::model::write::Write;

pub const FINALIZER: &str = "kubernetes.io/vac-protection";
const RULE: &str = "AP";

/// The class names that claims and volumes point at, and how many do.
#[derive(Debug, Default)]
struct References {
    of: HashMap<ObjectRef, BTreeSet<Arc<str>>>,
    users: HashMap<Arc<str>, usize>,
}

impl References {
    /// Replaces what one object points at; the names it no longer does.
    fn set(&mut self, object: ObjectRef, names: BTreeSet<Arc<str>>) -> Vec<Arc<str>> {
        for name in &names {
            *self.users.entry(name.clone()).or_default() += 1;
        }
        let before = if names.is_empty() {
            self.of.remove(&object)
        } else {
            self.of.insert(object, names.clone())
        };
        let before = before.unwrap_or_default();
        for name in &before {
            if let Some(users) = self.users.get_mut(name) {
                *users -= 1;
                if *users == 0 {
                    self.users.remove(name);
                }
            }
        }
        before.difference(&names).cloned().collect()
    }
}

fn names<'a>(texts: impl IntoIterator<Item = &'a Arc<str>>) -> BTreeSet<Arc<str>> {
    texts.into_iter().filter(|text| !text.is_empty()).cloned().collect()
}

fn of_claim(claim: &Claim) -> BTreeSet<Arc<str>> {
    names([
        &claim.attributes_class,
        &claim.current_attributes_class,
        &claim.target_attributes_class,
    ])
}

fn of_volume(volume: &Volume) -> BTreeSet<Arc<str>> {
    names([&volume.attributes_class])
}

/// The controller.
pub struct AttributesClassProtection {
    parts: Parts,
    references: Mutex<References>,
}

impl AttributesClassProtection {
    pub fn new(parts: Parts) -> Self {
        Self { parts, references: Mutex::default() }
    }

    fn decide(&self, object: &ObjectRef) -> Option<Write> {
        let class =
            self.parts.mirror.read(|tables| tables.attributes_classes.get(&object.key).cloned())?;
        match duty(&class.meta, FINALIZER) {
            Duty::Add => Some(adding(&*class, FINALIZER, RULE)),
            Duty::RemoveUnlessUsed => {
                let references = self.references.lock().unwrap_or_else(PoisonError::into_inner);
                let used = references.users.contains_key(&object.key.name);
                (!used).then(|| removing(&*class, FINALIZER, RULE))
            }
            Duty::Nothing => None,
        }
    }
}

impl Reconciler for AttributesClassProtection {
    fn take_in(&self, changed: HashSet<ObjectRef>) -> Vec<ObjectRef> {
        let mut classes = BTreeSet::new();
        let class = |name: Arc<str>| {
            ObjectRef::new(kind::VOLUME_ATTRIBUTES_CLASS, crate::model::object::Key::cluster(name))
        };
        let mut references = self.references.lock().unwrap_or_else(PoisonError::into_inner);
        for object in changed {
            let names = self.parts.mirror.read(|tables| {
                if object.kind == kind::PERSISTENT_VOLUME_CLAIM {
                    Some(tables.claims.get(&object.key).map(|row| of_claim(row)))
                } else if object.kind == kind::PERSISTENT_VOLUME {
                    Some(tables.volumes.get(&object.key).map(|row| of_volume(row)))
                } else {
                    None
                }
            });
            match names {
                Some(names) => {
                    let dropped = references.set(object, names.unwrap_or_default());
                    classes.extend(dropped.into_iter().map(class));
                }
                None if object.kind == kind::VOLUME_ATTRIBUTES_CLASS => {
                    classes.insert(object);
                }
                None => {}
            }
        }
        classes.into_iter().collect()
    }

    fn reconcile(self: Arc<Self>, object: ObjectRef) -> BoxFuture<'static, Pass> {
        Box::pin(async move {
            self.parts.write_once(&object, SETTLED, || ready(Ok(self.decide(&object)))).await
        })
    }
}
