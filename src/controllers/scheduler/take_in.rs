//! Taking in what the mirror has seen.

use std::collections::HashSet;
use std::sync::Arc;

use super::controller::{Scheduler, State};
use crate::controllers::scheduler::change::{Became, Change};
use crate::controllers::scheduler::decide::is_to_be_placed;
use crate::mirror::Tables;
use crate::model::kind;
use crate::model::object::{Key, ObjectRef};
use crate::model::pod::Pod;

impl Scheduler {
    /// Brings the cache up to date, adds new pods, and wakes whom it may help.
    pub(super) fn take_in(&self, changed: HashSet<ObjectRef>) {
        let now = self.parts.clock.now();
        // The nodes and volumes before the pods that may go there.
        let mut pods: Vec<Key> = Vec::new();
        let mut others: Vec<ObjectRef> = Vec::new();
        for object in changed {
            if object.kind == kind::POD {
                pods.push(object.key);
            } else if object.kind != kind::EVENT {
                others.push(object);
            }
        }
        let mut state = self.lock();
        let changes = self.parts.mirror.read(|tables| {
            let mut changes: Vec<Change> =
                others.iter().filter_map(|object| state.take_in_other(tables, object)).collect();
            // In the order in which they came about, as far as it can be seen.
            pods.sort_by_cached_key(|key| {
                (tables.pods.get(key).map(|pod| pod.meta.version), key.clone())
            });
            changes.extend(pods.iter().filter_map(|key| state.take_in_pod(tables, key)));
            changes
        });
        state.requeue(&changes, now);
        state.help(&changes, now);
    }
}

impl State {
    fn take_in_other(&mut self, tables: &Tables, object: &ObjectRef) -> Option<Change> {
        let (cache, key) = (&mut self.cache, &object.key);
        let (kind, name) = (object.kind, &object.key.name);
        if kind == kind::NODE {
            let change = cache.put_node(name, tables.nodes.get(key).cloned());
            if tables.nodes.get(key).is_none() {
                self.wake_flights_to(name);
            }
            change
        } else if kind == kind::PERSISTENT_VOLUME {
            let change = cache.put_volume(name, tables.volumes.get(key).cloned());
            if let Some(Change::Volume(Became { before, after })) = &change {
                let claims = before.iter().chain(after).filter_map(|row| row.claim_ref.as_ref());
                let claims: Vec<Key> = claims.map(|by| by.key.clone()).collect();
                claims.iter().for_each(|claim| self.wake_flights_of(claim));
            }
            change
        } else if kind == kind::PERSISTENT_VOLUME_CLAIM {
            let change = cache.put_claim(key, tables.claims.get(key).cloned());
            self.wake_flights_of(key);
            change
        } else if kind == kind::STORAGE_CLASS {
            cache.put_class(name, tables.classes.get(key).cloned())
        } else if kind == kind::CSI_NODE {
            cache.put_csi_node(name, tables.csi_nodes.get(key).cloned())
        } else if kind == kind::CSI_DRIVER {
            cache.put_csi_driver(name, tables.csi_drivers.get(key).cloned())
        } else if kind == kind::CSI_STORAGE_CAPACITY {
            cache.put_capacity(key, tables.csi_capacities.get(key).cloned())
        } else if kind == kind::VOLUME_ATTACHMENT {
            cache.put_attachment(key, tables.attachments.get(key).cloned())
        } else {
            if kind == kind::NAMESPACE {
                cache.put_namespace(name, tables.namespaces.get(key).cloned());
            }
            None
        }
    }

    fn take_in_pod(&mut self, tables: &Tables, key: &Key) -> Option<Change> {
        let change = self.cache.put_pod(key, tables.pods.get(key).cloned());
        if let Some(flight) = self.flights.get(key) {
            flight.woken.notify_one();
            let now = self.cache.pod(key).map(|pod| &pod.meta.uid);
            if now != Some(&flight.pod.meta.uid) {
                flight.gone.notify_one();
            }
        }
        change
    }

    /// Adds the pods that wait for a node, and lets go of those that no longer
    /// do.
    fn requeue(&mut self, changes: &[Change], now: jiff::Timestamp) {
        for change in changes {
            let Change::Pod { pod: Became { before, after }, .. } = change else { continue };
            let Some(pod) = after.as_ref().filter(|pod| is_to_be_placed(pod)) else {
                let gone = after.as_ref().or(before.as_ref()).map(|pod| pod.meta.key.clone());
                gone.iter().for_each(|key| self.queue.remove(key));
                continue;
            };
            let key = &pod.meta.key;
            // A flight under way looks at its successor when it ends, and one
            // that has ended well only waits to be seen.
            let on_its_way = self.cache.node_of(key).is_some();
            if self.queue.contains(key) {
                if before.as_ref().is_some_and(|before| asks_otherwise(before, pod)) {
                    self.queue.changed(key, now);
                }
            } else if !self.flights.contains_key(key) && !on_its_way {
                self.queue.add(key, pod.needs.priority);
            }
        }
    }

    fn wake_flights_of(&self, claim: &Key) {
        for pod in self.by_claim.get(claim).into_iter().flatten() {
            if let Some(flight) = self.flights.get(pod) {
                flight.woken.notify_one();
            }
        }
    }

    fn wake_flights_to(&self, node: &Arc<str>) {
        let theirs = self.flights.values().filter(|flight| {
            flight.placement.as_ref().is_some_and(|placement| placement.node == *node)
        });
        theirs.for_each(|flight| flight.woken.notify_one());
    }
}

/// Whether a pod asks for something else than before; what the scheduler
/// itself writes on it does not count.
fn asks_otherwise(before: &Pod, after: &Pod) -> bool {
    before.needs != after.needs
        || before.meta.labels != after.meta.labels
        || before.meta.deleting != after.meta.deleting
}
