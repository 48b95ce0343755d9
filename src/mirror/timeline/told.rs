//! A change in words, from the rows before and after: one phrase for each thing
//! that a person would want to know.

use std::fmt::Display;
use std::sync::Arc;

use crate::model::attachment::{Attachment, VolumeError};
use crate::model::attributes_class::AttributesClass;
use crate::model::bare::{ConfigMap, Secret, ServiceAccount};
use crate::model::claim::Claim;
use crate::model::class::StorageClass;
use crate::model::csi::{CsiCapacity, CsiDriver, CsiNode};
use crate::model::deployment::Deployment;
use crate::model::event::Event;
use crate::model::limit_range::LimitRange;
use crate::model::namespace::Namespace;
use crate::model::node::Node;
use crate::model::object::Meta;
use crate::model::pod::Pod;
use crate::model::quota::{ResourceQuota, pretty};
use crate::model::replica_set::{ControllerRevision, ReplicaSet};
use crate::model::row::Row;
use crate::model::service::Service;
use crate::model::stateful_set::StatefulSet;
use crate::model::volume::Volume;

/// A row whose changes can be told.
pub trait Told: Row {
    /// Tells what differs between two rows of the same object, metadata apart.
    fn tell(before: &Self, after: &Self, words: &mut Words);
}

/// The phrases of one change.
#[derive(Debug, Default)]
pub struct Words(Vec<Box<str>>);

impl Words {
    fn say(&mut self, phrase: String) {
        self.0.push(phrase.into());
    }

    /// `phase Pending -> Bound`; an empty value reads as `none`.
    fn turned<T: PartialEq + Display>(&mut self, what: &str, before: T, after: T) {
        if before != after {
            let named = |value: T| Some(value.to_string()).filter(|text| !text.is_empty());
            let (before, after) = (named(before), named(after));
            let (before, after) = (before.as_deref(), after.as_deref());
            self.say(format!("{what} {} -> {}", before.unwrap_or("none"), after.unwrap_or("none")));
        }
    }

    /// As [`Words::turned`], for values that may be missing.
    fn turned_if_any<T: PartialEq + Display>(
        &mut self,
        what: &str,
        before: Option<&T>,
        after: Option<&T>,
    ) {
        if before != after {
            let named = |value: Option<&T>| value.map(T::to_string).unwrap_or_default();
            self.turned(what, named(before), named(after));
        }
    }

    /// `finalizer x added`, `finalizer y removed`.
    fn members<'a>(
        &mut self,
        what: &str,
        before: impl Iterator<Item = &'a str> + Clone,
        after: impl Iterator<Item = &'a str> + Clone,
    ) {
        for gone in before.clone().filter(|old| !after.clone().any(|new| new == *old)) {
            self.say(format!("{what} {gone} removed"));
        }
        for new in after.filter(|new| !before.clone().any(|old| old == *new)) {
            self.say(format!("{what} {new} added"));
        }
    }

    /// A failure that is new or has another text.
    fn failed(&mut self, what: &str, before: Option<&VolumeError>, after: Option<&VolumeError>) {
        let (before, after) = (before.map(|e| &e.message), after.map(|e| &e.message));
        if before != after {
            self.say(match after {
                Some(message) => format!("{what} failed: {message}"),
                None => format!("{what} no longer fails"),
            });
        }
    }
}

/// Everything that differs between two rows of the same object.
pub(super) fn phrases<R: Told>(before: &R, after: &R) -> Vec<Box<str>> {
    let mut words = Words::default();
    R::tell(before, after, &mut words);
    tell_meta(before.meta(), after.meta(), &mut words);
    words.0
}

fn tell_meta(before: &Meta, after: &Meta, words: &mut Words) {
    if before.deleting.is_none() && after.deleting.is_some() {
        words.say("deletion asked for".into());
    }
    words.members("finalizer", texts(&before.finalizers), texts(&after.finalizers));
    tell_pairs("label", &before.labels, &after.labels, words);
    tell_pairs("annotation", &before.annotations, &after.annotations, words);
    let owner = |meta: &Meta| meta.owner.as_ref().map(|o| format!("{}/{}", o.kind, o.name));
    words.turned_if_any("owner", owner(before).as_ref(), owner(after).as_ref());
}

type Texts = [(Arc<str>, Arc<str>)];

fn tell_pairs(what: &str, before: &Texts, after: &Texts, words: &mut Words) {
    if before == after {
        return;
    }
    words.members(what, before.iter().map(|(key, _)| &**key), after.iter().map(|(key, _)| &**key));
    for (key, value) in after {
        let old = before.iter().find(|(old, _)| old == key);
        if let Some((_, old)) = old.filter(|(_, old)| old != value) {
            words.turned(&format!("{what} {key}"), old, value);
        }
    }
}

fn texts(list: &[Arc<str>]) -> impl Iterator<Item = &str> + Clone {
    list.iter().map(|text| &**text)
}

impl Told for Volume {
    fn tell(before: &Self, after: &Self, words: &mut Words) {
        words.turned("phase", before.phase.name(), after.phase.name());
        let claim = |row: &Self| row.claim_ref.as_ref().map(|claim| claim.key.clone());
        words.turned_if_any("claimRef", claim(before).as_ref(), claim(after).as_ref());
        let uid = |row: &Self| row.claim_ref.as_ref().map(|claim| claim.uid.clone());
        if claim(before) == claim(after) {
            words.turned_if_any("claimRef uid", uid(before).as_ref(), uid(after).as_ref());
        }
        words.turned_if_any("capacity", before.capacity.as_ref(), after.capacity.as_ref());
        words.turned("access modes", before.access_modes, after.access_modes);
        words.turned("class", &before.class, &after.class);
        words.turned("attributes class", &before.attributes_class, &after.attributes_class);
        words.turned("reclaim policy", before.reclaim_policy.name(), after.reclaim_policy.name());
        words.turned_if_any("reason", before.reason.as_ref(), after.reason.as_ref());
        words.turned_if_any("message", before.message.as_ref(), after.message.as_ref());
        if before.node_affinity != after.node_affinity {
            words.say("node affinity changed".into());
        }
        words.turned("source", &before.source.place, &after.source.place);
    }
}

impl Told for Claim {
    fn tell(before: &Self, after: &Self, words: &mut Words) {
        words.turned("phase", before.phase.name(), after.phase.name());
        words.turned("volume", &before.volume_name, &after.volume_name);
        words.turned_if_any("request", before.request.as_ref(), after.request.as_ref());
        words.turned_if_any("capacity", before.capacity.as_ref(), after.capacity.as_ref());
        words.turned_if_any("class", before.class.as_ref(), after.class.as_ref());
        words.turned("attributes class", &before.attributes_class, &after.attributes_class);
        let current = |row: &Self| row.current_attributes_class.clone();
        words.turned("current attributes class", current(before), current(after));
    }
}

impl Told for StorageClass {
    fn tell(before: &Self, after: &Self, words: &mut Words) {
        let default = |row: &Self| if row.is_default() { "yes" } else { "no" };
        words.turned("default", default(before), default(after));
        words.turned("expandable", before.expandable, after.expandable);
        words.turned("provisioner", &before.provisioner, &after.provisioner);
    }
}

impl Told for Pod {
    fn tell(before: &Self, after: &Self, words: &mut Words) {
        words.turned("phase", &before.phase, &after.phase);
        words.turned("node", &before.node, &after.node);
        words.turned_if_any("reason", before.reason.as_ref(), after.reason.as_ref());
    }
}

/// Events are evidence about other objects, not objects with a life of their own.
impl Told for Event {
    fn tell(_: &Self, _: &Self, _: &mut Words) {}
}

impl Told for Attachment {
    fn tell(before: &Self, after: &Self, words: &mut Words) {
        let state = |row: &Self| if row.attached { "attached" } else { "detached" };
        if before.attached != after.attached {
            words.say(state(after).into());
        }
        words.failed("attach", before.attach_error.as_deref(), after.attach_error.as_deref());
        words.failed("detach", before.detach_error.as_deref(), after.detach_error.as_deref());
    }
}

impl Told for Node {
    fn tell(before: &Self, after: &Self, words: &mut Words) {
        words.turned("state", before.ready.name(), after.ready.name());
        if before.unschedulable != after.unschedulable {
            words.say(if after.unschedulable { "cordoned" } else { "uncordoned" }.into());
        }
        let taints = |row: &Self| -> Vec<String> {
            row.taints.iter().map(|taint| format!("{}:{}", taint.key, taint.effect)).collect()
        };
        let (old, new) = (taints(before), taints(after));
        words.members("taint", old.iter().map(|t| &**t), new.iter().map(|t| &**t));
        words.members("attached volume", before.attached_names(), after.attached_names());
        let (old, new) = (&before.volumes_in_use, &after.volumes_in_use);
        words.members("volume in use", texts(old), texts(new));
    }
}

impl Told for CsiDriver {
    fn tell(before: &Self, after: &Self, words: &mut Words) {
        words.turned("attach required", before.attach_required, after.attach_required);
        words.turned("storage capacity", before.storage_capacity, after.storage_capacity);
    }
}

impl Told for CsiNode {
    fn tell(before: &Self, after: &Self, words: &mut Words) {
        let names = |row: &Self| -> Vec<Arc<str>> {
            row.drivers.iter().map(|driver| driver.name.clone()).collect()
        };
        words.members("driver", texts(&names(before)), texts(&names(after)));
    }
}

impl Told for CsiCapacity {
    fn tell(before: &Self, after: &Self, words: &mut Words) {
        words.turned_if_any("capacity", before.capacity.as_ref(), after.capacity.as_ref());
    }
}

impl Told for AttributesClass {
    fn tell(before: &Self, after: &Self, words: &mut Words) {
        tell_pairs("parameter", &before.parameters, &after.parameters, words);
    }
}

impl Told for StatefulSet {
    fn tell(before: &Self, after: &Self, words: &mut Words) {
        words.turned("replicas", before.replicas, after.replicas);
        words.turned("ready replicas", before.ready_replicas, after.ready_replicas);
    }
}

impl Told for Deployment {
    fn tell(before: &Self, after: &Self, words: &mut Words) {
        words.turned("replicas", before.replicas, after.replicas);
        words.turned("ready replicas", before.ready_replicas, after.ready_replicas);
        words.turned("progress", &before.progress, &after.progress);
    }
}

impl Told for ReplicaSet {
    fn tell(before: &Self, after: &Self, words: &mut Words) {
        words.turned("replicas", before.replicas, after.replicas);
        words.turned("ready replicas", before.status.ready, after.status.ready);
        words.turned_if_any("failure", before.failure.as_ref(), after.failure.as_ref());
    }
}

impl Told for ControllerRevision {
    fn tell(before: &Self, after: &Self, words: &mut Words) {
        words.turned("revision", before.revision, after.revision);
    }
}

impl Told for Service {
    fn tell(before: &Self, after: &Self, words: &mut Words) {
        words.turned("headless", before.headless, after.headless);
        tell_pairs("selector", &before.selector, &after.selector, words);
    }
}

/// Of these nothing but the metadata is known.
impl Told for ConfigMap {
    fn tell(_: &Self, _: &Self, _: &mut Words) {}
}

impl Told for Secret {
    fn tell(_: &Self, _: &Self, _: &mut Words) {}
}

impl Told for ServiceAccount {
    fn tell(_: &Self, _: &Self, _: &mut Words) {}
}

impl Told for Namespace {
    fn tell(before: &Self, after: &Self, words: &mut Words) {
        words.turned("phase", &before.phase, &after.phase);
    }
}

impl Told for ResourceQuota {
    fn tell(before: &Self, after: &Self, words: &mut Words) {
        words.turned("wanted", pretty(&before.wanted), pretty(&after.wanted));
        words.turned("hard", pretty(&before.hard), pretty(&after.hard));
        words.turned("used", pretty(&before.used), pretty(&after.used));
    }
}

impl Told for LimitRange {
    fn tell(before: &Self, after: &Self, words: &mut Words) {
        if before.claims != after.claims {
            words.say("limits of claims changed".into());
        }
    }
}
