//! Who names whom as owner, kept from what changed.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use crate::model::kind::Kind;
use crate::model::object::{Key, Meta, ObjectRef, OwnerReference};

/// The owner references of all objects, both ways.
#[derive(Debug, Default)]
pub struct Graph {
    /// What names an owner of this uid.
    dependents: HashMap<Arc<str>, BTreeSet<ObjectRef>>,
    /// The uids by which an object at this place is named as owner.
    named_at: HashMap<ObjectRef, BTreeSet<Arc<str>>>,
    /// The owners that each dependent names, to take it out again.
    owners: HashMap<ObjectRef, Vec<Link>>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Link {
    uid: Arc<str>,
    /// Where the owner should be; `None` for an unknown kind.
    place: Option<ObjectRef>,
}

/// Where an owner should be: in the dependent's own namespace. `None` for a
/// kind that is not known here.
pub fn place(dependent: &Key, owner: &OwnerReference) -> Option<ObjectRef> {
    let kind = Kind::by_type(&owner.api_version, &owner.kind)?;
    let namespace = if kind.namespaced { dependent.namespace.clone() } else { "".into() };
    Some(ObjectRef::new(kind, Key { namespace, name: owner.name.clone() }))
}

impl Graph {
    /// Takes in how an object is now (`None`: gone); the places of the owners
    /// that it names or has named.
    pub fn note(&mut self, object: &ObjectRef, meta: Option<&Meta>) -> Vec<ObjectRef> {
        let owners = meta.map(Meta::owners).unwrap_or_default();
        let now: Vec<Link> = owners
            .iter()
            .map(|owner| Link { uid: owner.uid.clone(), place: place(&object.key, owner) })
            .collect();
        let before = self.owners.remove(object).unwrap_or_default();
        let places = |links: &[Link]| -> Vec<ObjectRef> {
            links.iter().filter_map(|link| link.place.clone()).collect()
        };
        let mut touched = places(&before);
        if before == now {
            if !now.is_empty() {
                self.owners.insert(object.clone(), now);
            }
            return touched;
        }
        before.iter().for_each(|link| self.unlink(object, link));
        for link in &now {
            self.dependents.entry(link.uid.clone()).or_default().insert(object.clone());
            if let Some(place) = &link.place {
                self.named_at.entry(place.clone()).or_default().insert(link.uid.clone());
            }
        }
        touched.extend(places(&now));
        if !now.is_empty() {
            self.owners.insert(object.clone(), now);
        }
        touched
    }

    fn unlink(&mut self, object: &ObjectRef, link: &Link) {
        let Some(dependents) = self.dependents.get_mut(&link.uid) else { return };
        dependents.remove(object);
        if !dependents.is_empty() {
            return;
        }
        self.dependents.remove(&link.uid);
        if let Some(place) = &link.place
            && let Some(uids) = self.named_at.get_mut(place)
        {
            uids.remove(&link.uid);
            if uids.is_empty() {
                self.named_at.remove(place);
            }
        }
    }

    /// The objects that name an owner of this uid.
    pub fn dependents(&self, uid: &str) -> impl Iterator<Item = &ObjectRef> {
        self.dependents.get(uid).into_iter().flatten()
    }

    /// The uids by which an object at this place is named as owner.
    pub fn named_at(&self, place: &ObjectRef) -> impl Iterator<Item = &Arc<str>> {
        self.named_at.get(place).into_iter().flatten()
    }
}
