//! Finding out what pods want attached, and what was attached before.

use std::sync::Arc;

use futures::StreamExt;
use serde_json::Value;

use super::{AttachDetachController, State};
use crate::controllers::attach_detach::resolve::{self, Lookup, Named, Resolution};
use crate::controllers::attach_detach::volume::AttachedBy;
use crate::mirror::Tables;
use crate::model::claim::Claim;
use crate::model::csi::CsiDriver;
use crate::model::kind;
use crate::model::object::{Key, ObjectRef};
use crate::model::pod::Pod;
use crate::model::volume::Volume;

/// How many objects are read at once.
const READS: usize = 64;

/// What the mirror and the reads so far know.
struct Known<'a> {
    tables: &'a Tables,
    volumes: &'a std::collections::HashMap<Arc<str>, (Arc<str>, Option<Named>)>,
}

impl Lookup for Known<'_> {
    fn claim(&self, key: &Key) -> Option<Arc<Claim>> {
        self.tables.claims.get(key).cloned()
    }

    fn volume(&self, name: &str) -> Option<Arc<Volume>> {
        self.tables.volumes.get(&Key::cluster(name)).cloned()
    }

    fn driver(&self, name: &str) -> Option<Arc<CsiDriver>> {
        self.tables.csi_drivers.get(&Key::cluster(name)).cloned()
    }

    fn known(&self, name: &str, uid: &str) -> Option<Option<Named>> {
        let (held, known) = self.volumes.get(name)?;
        (**held == *uid).then(|| known.clone())
    }
}

impl AttachDetachController {
    /// Takes in what is known of dirty pods and of what was there before; reads
    /// what has to be read for it. An error concerns this node.
    pub(super) async fn populate(&self, node: &str) -> Result<(), String> {
        if self.lock().is_populated() {
            return Ok(());
        }
        let _alone = self.populating.lock().await;
        let mut failed: Vec<(ObjectRef, String)> = Vec::new();
        loop {
            let mut wanted = self.resolve();
            wanted.retain(|object| failed.iter().all(|(unread, _)| unread != object));
            wanted.sort();
            wanted.dedup();
            if wanted.is_empty() {
                break;
            }
            let reads = wanted.into_iter().map(|object| async move {
                let answer = self.parts.server.get(&object).await;
                (object, answer)
            });
            let mut answers = futures::stream::iter(reads).buffer_unordered(READS);
            while let Some((object, answer)) = answers.next().await {
                match answer {
                    Ok(value) => self.learn(&object, value.as_ref()),
                    Err(error) => failed.push((object, error.to_string())),
                }
            }
        }
        match failed.pop() {
            Some((_, error)) if self.waits_for_reads(node) => Err(error),
            _ => Ok(()),
        }
    }

    fn waits_for_reads(&self, node: &str) -> bool {
        let state = self.lock();
        self.parts.mirror.read(|tables| {
            let on_node = |pod: &Key| tables.pods.get(pod).is_some_and(|row| *row.node == *node);
            !state.leftovers.is_empty() || state.dirty.iter().any(on_node)
        })
    }

    /// Takes in all that can be without reading; gives what has to be read.
    pub(super) fn resolve(&self) -> Vec<ObjectRef> {
        let mut state = self.lock();
        self.parts.mirror.read(|tables| {
            let mut reads = Vec::new();
            for key in std::mem::take(&mut state.leftovers) {
                self.resolve_leftover(&mut state, tables, key, &mut reads);
            }
            for key in std::mem::take(&mut state.dirty) {
                let Some(pod) = tables.pods.get(&key) else { continue };
                self.resolve_pod(&mut state, tables, pod, &mut reads);
            }
            reads
        })
    }

    /// A VolumeAttachment that was there at the start: if nothing else tells of
    /// the pair, it may be attached.
    fn resolve_leftover(
        &self,
        state: &mut State,
        tables: &Tables,
        key: Key,
        reads: &mut Vec<ObjectRef>,
    ) {
        let Some(attachment) = tables.attachments.get(&key) else { return };
        let Some(row) = tables.volumes.get(&Key::cluster(attachment.volume.clone())) else {
            return;
        };
        let known = Known { tables, volumes: &state.volumes };
        match resolve::of_volume(&known, &self.parts.plugins, row) {
            Resolution::Attachable((unique_name, volume)) => {
                let csi = matches!(volume.by, AttachedBy::Csi(_));
                if csi && state.actual.get(&unique_name, &attachment.node).is_none() {
                    state.actual.mark_uncertain(&unique_name, Some(&volume), &attachment.node);
                }
            }
            Resolution::Read(object) => {
                reads.push(object);
                state.leftovers.push(key);
            }
            Resolution::NotAttachable | Resolution::Unknown(_) => {}
        }
    }

    fn resolve_pod(
        &self,
        state: &mut State,
        tables: &Tables,
        pod: &Pod,
        reads: &mut Vec<ObjectRef>,
    ) {
        let key = &pod.meta.key;
        // A node that begins to be managed makes its pods dirty again.
        if pod.is_terminated() || !state.desired.is_managed(&pod.node) {
            return;
        }
        let (mut settled, mut unread) = (true, false);
        for volume in &pod.claims {
            let known = Known { tables, volumes: &state.volumes };
            match resolve::of_claim(&known, &self.parts.plugins, pod, volume) {
                Resolution::Attachable(named) => state.want(pod, &volume.volume, &named),
                Resolution::NotAttachable => state.desired.remove_volume(key, &volume.volume),
                Resolution::Unknown(why) => {
                    tracing::debug!("volume {} of pod {key}: {why}", volume.volume);
                    settled = false;
                }
                Resolution::Read(object) => {
                    reads.push(object);
                    unread = true;
                }
            }
        }
        if !state.desired.pod(key).is_some_and(|held| held.inline_read) {
            for volume in &pod.inline {
                if let Resolution::Read(object) =
                    resolve::of_inline(&self.parts.plugins, pod, volume)
                {
                    reads.push(object);
                    unread = true;
                }
            }
        }
        state.desired.settle(key, settled && !unread);
        if unread {
            state.dirty.insert(key.clone());
        }
    }

    /// Takes in an object that was read.
    fn learn(&self, object: &ObjectRef, value: Option<&Value>) {
        let plugins = &self.parts.plugins;
        let complain = |error: String| {
            tracing::warn!("{object} is not attached: {error}");
            None
        };
        if object.kind == kind::PERSISTENT_VOLUME {
            let uid = |value: &Value| value["metadata"]["uid"].as_str().unwrap_or_default().into();
            let (uid, named) = match value {
                Some(value) => {
                    (uid(value), resolve::read_volume(plugins, value).unwrap_or_else(complain))
                }
                // Deleted since: nothing is to be done until the mirror tells.
                None => (self.uid_in_mirror(&object.key), None),
            };
            self.lock().volumes.insert(object.key.name.clone(), (uid, named));
            return;
        }
        let row = self.parts.mirror.read(|tables| tables.pods.get(&object.key).cloned());
        let Some(row) = row else { return };
        let mut state = self.lock();
        state.desired.begin_pod(&row.meta.key, &row.meta.uid, &row.node);
        state.desired.set_inline_read(&row.meta.key);
        // Of another pod of that name, or none, the mirror will tell.
        let value = value.filter(|value| value["metadata"]["uid"] == *row.meta.uid);
        let Some(value) = value else { return };
        for volume in &row.inline {
            let read = resolve::read_inline(plugins, value, &row.meta.uid, &volume.volume);
            if let Some(named) = read.unwrap_or_else(complain) {
                state.want(&row, &volume.volume, &named);
            }
        }
    }

    fn uid_in_mirror(&self, key: &Key) -> Arc<str> {
        let row = self.parts.mirror.read(|tables| tables.volumes.get(key).cloned());
        row.map_or_else(|| "".into(), |row| row.meta.uid.clone())
    }
}

impl State {
    /// Whether there is nothing to find out.
    fn is_populated(&self) -> bool {
        self.dirty.is_empty() && self.leftovers.is_empty()
    }

    /// A pod wants a volume attached to its node.
    fn want(&mut self, pod: &Pod, name: &Arc<str>, (unique_name, volume): &Named) {
        let key = &pod.meta.key;
        self.desired.begin_pod(key, &pod.meta.uid, &pod.node);
        self.desired.add(key, name, unique_name, volume);
        self.actual.learn_volume(unique_name, volume);
    }
}
