//! Taking in what the mirror has seen, and the sweep that looks at everything.

use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;

use super::{AttachDetachController, Leftover, State, node_ref};
use crate::controllers::attach_detach::resolve;
use crate::mirror::Tables;
use crate::model::kind;
use crate::model::object::{Key, ObjectRef};
use crate::model::pod::Pod;
use crate::plugins::plugin::Plugins;

impl AttachDetachController {
    pub(super) fn take_in_changes(&self, changed: HashSet<ObjectRef>) -> Vec<ObjectRef> {
        let mut changed: Vec<_> = changed.into_iter().collect();
        changed.sort();
        let mut nodes = BTreeSet::new();
        {
            let mut state = self.lock();
            self.parts.mirror.read(|tables| {
                if !state.recovered {
                    state.recovered = true;
                    state.recover(tables, &self.plugins);
                }
                for object in &changed {
                    self.take_in_one(&mut state, tables, object, &mut nodes);
                }
                let dirty = state.dirty.iter().filter_map(|key| tables.pods.get(key));
                nodes.extend(dirty.map(|pod| pod.node.clone()));
            });
        }
        // What needs no asking is taken in before any node is decided about.
        self.resolve();
        let mut state = self.lock();
        nodes.append(&mut state.found_on);
        if nodes.is_empty() && !state.is_populated() {
            // Whichever node is looked at, all is asked for.
            let any =
                |tables: &Tables| tables.nodes.iter().next().map(|row| row.meta.key.name.clone());
            nodes.extend(self.parts.mirror.read(any));
        }
        nodes.iter().map(node_ref).collect()
    }

    fn take_in_one(
        &self,
        state: &mut State,
        tables: &Tables,
        object: &ObjectRef,
        nodes: &mut BTreeSet<Arc<str>>,
    ) {
        let key = &object.key;
        if object.kind == kind::NODE {
            state.take_in_node(tables, key, nodes);
        } else if object.kind == kind::POD {
            state.take_in_pod(tables, key, nodes);
        } else if object.kind == kind::PERSISTENT_VOLUME_CLAIM {
            tables.pods_using(key).for_each(|pod| state.look_at_pod(pod));
        } else if object.kind == kind::PERSISTENT_VOLUME {
            match tables.volumes.get(key) {
                Some(row) => {
                    let claim = row.claim_ref.iter().map(|reference| &reference.key);
                    claim
                        .flat_map(|key| tables.pods_using(key))
                        .for_each(|pod| state.look_at_pod(pod));
                }
                None => {
                    state.volumes.remove(&key.name);
                }
            }
        } else if object.kind == kind::CSI_DRIVER {
            state.take_in_driver(tables, key);
        } else if object.kind == kind::VOLUME_ATTACHMENT {
            self.attachment_changed(object, state);
        }
    }

    /// All nodes are looked at again, whatever the changes have told.
    pub(super) fn begin_sweep(&self) -> Vec<ObjectRef> {
        let mut state = self.lock();
        let State { desired, actual, operations, .. } = &mut *state;
        let mut nodes: BTreeSet<Arc<str>> = desired.nodes().cloned().collect();
        nodes.extend(actual.nodes().cloned());
        operations.retain(|volume| {
            actual.nodes_of(volume).next().is_some()
                || desired.nodes_wanting(volume).next().is_some()
        });
        let revision = self.plugins.revision();
        self.parts.mirror.read(|tables| {
            for node in &nodes {
                state.sweep_node(tables, node);
            }
            state.take_in_plugins(tables, revision);
            let pods =
                tables.pods.iter().filter(|pod| !pod.claims.is_empty() || !pod.inline.is_empty());
            pods.for_each(|pod| state.look_at_pod(pod));
            let dirty = state.dirty.iter().filter_map(|key| tables.pods.get(key));
            nodes.extend(dirty.map(|pod| pod.node.clone()));
        });
        state.sweep.extend(nodes.iter().cloned());
        nodes.iter().map(node_ref).collect()
    }
}

impl State {
    /// Takes over what was attached before this controller started.
    fn recover(&mut self, tables: &Tables, plugins: &Plugins) {
        for node in tables.nodes.iter() {
            let name = &node.meta.key.name;
            for volume in &node.volumes_attached {
                self.actual.mark_attached(&volume.name, None, name, volume.device_path.clone());
            }
        }
        let with_volume = tables.attachments.iter().filter(|row| !row.volume.is_empty());
        self.leftovers =
            with_volume.map(|row| Leftover::Attachment(row.meta.key.clone())).collect();
        let attached = tables.volumes.iter().filter(|row| {
            resolve::attaches(plugins, &row.source.field, row.source.driver.as_deref())
        });
        self.leftovers.extend(attached.map(|row| Leftover::Volume(row.meta.key.name.clone())));
    }

    fn take_in_node(&mut self, tables: &Tables, key: &Key, nodes: &mut BTreeSet<Arc<str>>) {
        let name = &key.name;
        let row = tables.nodes.get(key);
        if row.is_none() {
            self.actual.end_of_node(name);
        }
        if let Some(row) = row {
            self.actual.set_in_use(name, &row.volumes_in_use);
            if row.is_managed() && self.desired.manage(name) {
                tables.pods_on(name).for_each(|pod| self.look_at_pod(pod));
            }
            let told = !row.volumes_attached.is_empty();
            if !told && self.has_nothing_on(name) {
                return;
            }
        }
        nodes.insert(name.clone());
    }

    fn has_nothing_on(&self, node: &str) -> bool {
        self.actual.on(node).next().is_none() && self.desired.on(node).next().is_none()
    }

    fn take_in_pod(&mut self, tables: &Tables, key: &Key, nodes: &mut BTreeSet<Arc<str>>) {
        let row = tables.pods.get(key);
        if let Some(held) = self.desired.pod(key) {
            let same = row.is_some_and(|row| row.meta.uid == held.uid && !row.is_terminated());
            if !same {
                nodes.extend(self.desired.remove_pod(key));
            }
        }
        if let Some(row) = row {
            self.look_at_pod(row);
        }
    }

    /// Enters a pod whose volumes are to be found out, if there may be any.
    fn look_at_pod(&mut self, pod: &Pod) {
        let key = &pod.meta.key;
        let has_volumes = !pod.claims.is_empty() || !pod.inline.is_empty();
        let settled = self.desired.pod(key).is_some_and(|held| held.settled);
        if has_volumes && pod.is_scheduled() && !pod.is_terminated() && !settled {
            self.dirty.insert(key.clone());
        }
    }

    /// A driver that begins or ceases to want attaching changes what every pod
    /// wants. That is rare.
    fn take_in_driver(&mut self, tables: &Tables, key: &Key) {
        let row = tables.csi_drivers.get(key);
        let changed = if row.is_some_and(|row| !row.attach_required) {
            self.unattached_drivers.insert(key.name.clone())
        } else {
            self.unattached_drivers.remove(&key.name)
        };
        if changed {
            for pod in tables.pods.iter() {
                self.desired.settle(&pod.meta.key, false);
                self.look_at_pod(pod);
            }
        }
    }

    /// Drivers that come or go change what can be attached.
    fn take_in_plugins(&mut self, tables: &Tables, revision: u64) {
        if std::mem::replace(&mut self.plugins_revision, revision) != revision {
            self.volumes.retain(|_, (_, attached)| attached.is_some());
            tables.pods.iter().for_each(|pod| self.desired.settle(&pod.meta.key, false));
        }
    }

    /// What a lost change could have left behind on a node.
    fn sweep_node(&mut self, tables: &Tables, node: &Arc<str>) {
        if let Some(row) = tables.nodes.get(&Key::cluster(node.clone())) {
            self.actual.set_in_use(node, &row.volumes_in_use);
        }
        let pods: BTreeSet<Key> =
            self.desired.on(node).flat_map(|(_, wanted)| wanted.pods.values().cloned()).collect();
        pods.iter().for_each(|pod| self.take_in_pod(tables, pod, &mut BTreeSet::new()));
    }
}
