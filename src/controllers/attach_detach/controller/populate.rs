//! Finding out what pods want attached, and what was attached before.

use std::sync::Arc;

use futures::StreamExt;
use serde_json::Value;

use super::{AttachDetachController, Leftover, State};
use crate::controllers::attach_detach::resolve::{self, Lookup, Named, Resolution};
use crate::controllers::attach_detach::volume::{AttachableVolume, AttachedBy};
use crate::mirror::Tables;
use crate::model::claim::Claim;
use crate::model::csi::CsiDriver;
use crate::model::kind;
use crate::model::object::{Key, ObjectRef};
use crate::model::pod::Pod;
use crate::model::volume::Volume;

/// How many questions are asked at once.
const ASKS: usize = 64;

/// Something to be asked before all is known.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Ask {
    /// The server for an object.
    Read(ObjectRef),
    /// A volume's plugin for the nodes that have it.
    Whereabouts(Arc<str>),
}

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
    /// and asks what has to be for it. An error concerns this node.
    pub(super) async fn populate(&self, node: &str) -> Result<(), String> {
        if self.lock().is_populated() {
            return Ok(());
        }
        let _alone = self.populating.lock().await;
        let mut failed: Vec<(Ask, String)> = Vec::new();
        loop {
            self.lock().look_at_unanswered();
            let mut asks = self.resolve();
            asks.retain(|ask| failed.iter().all(|(unanswered, _)| unanswered != ask));
            asks.sort();
            asks.dedup();
            if asks.is_empty() {
                break;
            }
            let asks = asks.into_iter().map(|ask| async move {
                let done = match &ask {
                    Ask::Read(object) => self.read(object).await,
                    Ask::Whereabouts(volume) => {
                        self.find(volume).await;
                        Ok(())
                    }
                };
                (ask, done)
            });
            let mut answers = futures::stream::iter(asks).buffer_unordered(ASKS);
            while let Some((ask, done)) = answers.next().await {
                failed.extend(done.err().map(|error| (ask, error)));
            }
        }
        match failed.pop() {
            Some((_, error)) if self.waits_for_answers(node) => Err(error),
            _ => Ok(()),
        }
    }

    async fn read(&self, object: &ObjectRef) -> Result<(), String> {
        let answer = self.parts.server.get(object).await;
        self.learn(object, answer.map_err(|error| error.to_string())?.as_ref());
        Ok(())
    }

    /// Asks the plugin where a volume is: what an attach or a detach left
    /// behind that was cut off by the end of its controller. One that cannot
    /// be asked is found when another node wants the volume.
    async fn find(&self, volume: &Arc<str>) {
        let named = self.lock().volumes.get(volume).and_then(|(_, named)| named.clone());
        let mut nodes = Vec::new();
        if let Some((_, volume)) = &named
            && let AttachedBy::Plugin(spec) = &volume.by
            && let Ok(plugin) = self.plugins.of(&spec.source)
        {
            nodes = plugin.attached_to(spec).await.unwrap_or_else(|error| {
                tracing::warn!("it is not known where {} is attached: {error}", volume.name);
                Vec::new()
            });
        }
        let mut state = self.lock();
        state.unanswered.1.remove(&Leftover::Volume(volume.clone()));
        if let Some((unique_name, volume)) = &named {
            for node in nodes {
                self.take_over(&mut state, unique_name, volume, &node.into());
            }
        }
    }

    /// A pair that no node's status tells of: it may be attached. What the
    /// node uses it has said; what it was not told of it does not mount.
    fn take_over(
        &self,
        state: &mut State,
        unique_name: &Arc<str>,
        volume: &Arc<AttachableVolume>,
        node: &Arc<str>,
    ) {
        if state.actual.get(unique_name, node).is_some() {
            return;
        }
        state.actual.mark_uncertain(unique_name, Some(volume), node);
        let key = Key::cluster(node.clone());
        let row = self.parts.mirror.read(|tables| tables.nodes.get(&key).cloned());
        if let Some(row) = row {
            state.actual.set_in_use(node, &row.volumes_in_use);
        }
        state.found_on.insert(node.clone());
    }

    fn waits_for_answers(&self, node: &str) -> bool {
        let state = self.lock();
        self.parts.mirror.read(|tables| {
            let on_node = |pod: &Key| tables.pods.get(pod).is_some_and(|row| *row.node == *node);
            !state.unanswered.1.is_empty() || state.unanswered.0.iter().any(on_node)
        })
    }

    /// Takes in all that can be without asking; gives what has to be asked.
    pub(super) fn resolve(&self) -> Vec<Ask> {
        let mut state = self.lock();
        let mut asks = Vec::new();
        for left in std::mem::take(&mut state.leftovers) {
            self.resolve_leftover(&mut state, left, &mut asks);
        }
        self.parts.mirror.read(|tables| {
            for key in std::mem::take(&mut state.dirty) {
                let Some(pod) = tables.pods.get(&key) else { continue };
                self.resolve_pod(&mut state, tables, pod, &mut asks);
            }
        });
        asks
    }

    /// What was there at the start: if nothing else tells of the pair, it may
    /// be attached.
    fn resolve_leftover(&self, state: &mut State, left: Leftover, asks: &mut Vec<Ask>) {
        let (resolution, attachment) = self
            .parts
            .mirror
            .read(|tables| {
                let attachment = match &left {
                    Leftover::Attachment(key) => Some(tables.attachments.get(key)?.clone()),
                    Leftover::Volume(_) => None,
                };
                let volume = match (&left, &attachment) {
                    (Leftover::Volume(name), _) => name.clone(),
                    (Leftover::Attachment(_), attachment) => attachment.as_ref()?.volume.clone(),
                };
                let row = tables.volumes.get(&Key::cluster(volume))?;
                let known = Known { tables, volumes: &state.volumes };
                Some((resolve::of_volume(&known, &self.plugins, row), attachment))
            })
            .unzip();
        match (resolution, attachment.flatten()) {
            (Some(Resolution::Read(object)), _) => {
                asks.push(Ask::Read(object));
                state.unanswered.1.insert(left);
            }
            (Some(Resolution::Attachable((unique_name, volume))), Some(attachment)) => {
                if matches!(volume.by, AttachedBy::Csi(_)) {
                    self.take_over(state, &unique_name, &volume, &attachment.node);
                }
            }
            (Some(Resolution::Attachable((_, volume))), None) => {
                asks.push(Ask::Whereabouts(volume.name.clone()));
                state.unanswered.1.insert(left);
            }
            (Some(Resolution::NotAttachable | Resolution::Unknown(_)) | None, _) => {}
        }
    }

    fn resolve_pod(&self, state: &mut State, tables: &Tables, pod: &Pod, asks: &mut Vec<Ask>) {
        let key = &pod.meta.key;
        // A node that begins to be managed makes its pods dirty again.
        if pod.is_terminated() || !state.desired.is_managed(&pod.node) {
            return;
        }
        let (mut settled, mut unread) = (true, false);
        for volume in &pod.claims {
            let known = Known { tables, volumes: &state.volumes };
            match resolve::of_claim(&known, &self.plugins, pod, volume) {
                Resolution::Attachable(named) => state.want(pod, &volume.volume, &named),
                Resolution::NotAttachable => state.desired.remove_volume(key, &volume.volume),
                Resolution::Unknown(why) => {
                    tracing::debug!("volume {} of pod {key}: {why}", volume.volume);
                    settled = false;
                }
                Resolution::Read(object) => {
                    asks.push(Ask::Read(object));
                    unread = true;
                }
            }
        }
        if !state.desired.pod(key).is_some_and(|held| held.inline_read) {
            for volume in &pod.inline {
                if let Resolution::Read(object) = resolve::of_inline(&self.plugins, pod, volume) {
                    asks.push(Ask::Read(object));
                    unread = true;
                }
            }
        }
        state.desired.settle(key, settled && !unread);
        if unread {
            state.unanswered.0.insert(key.clone());
        }
    }

    /// Takes in an object that was read.
    fn learn(&self, object: &ObjectRef, value: Option<&Value>) {
        let plugins = &self.plugins;
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
    pub(super) fn is_populated(&self) -> bool {
        let (pods, leftovers) = &self.unanswered;
        self.dirty.is_empty()
            && self.leftovers.is_empty()
            && pods.is_empty()
            && leftovers.is_empty()
    }

    /// What has been asked for may be answered by now.
    fn look_at_unanswered(&mut self) {
        let (mut pods, mut leftovers) = std::mem::take(&mut self.unanswered);
        self.dirty.append(&mut pods);
        self.leftovers.append(&mut leftovers);
    }

    /// A pod wants a volume attached to its node.
    fn want(&mut self, pod: &Pod, name: &Arc<str>, (unique_name, volume): &Named) {
        let key = &pod.meta.key;
        self.desired.begin_pod(key, &pod.meta.uid, &pod.node);
        self.desired.add(key, name, unique_name, volume);
        self.actual.learn_volume(unique_name, volume);
    }
}
