//! The rows that changed a moment ago, which are seen to have changed.

use std::collections::{HashMap, HashSet};

use crate::mirror::{Mirrored, Tables};
use crate::model::attachment::Attachment;
use crate::model::claim::Claim;
use crate::model::class::StorageClass;
use crate::model::csi::CsiDriver;
use crate::model::deployment::Deployment;
use crate::model::event::Event;
use crate::model::kind::Kind;
use crate::model::node::Node;
use crate::model::object::ObjectRef;
use crate::model::pod::Pod;
use crate::model::replica_set::ReplicaSet;
use crate::model::stateful_set::StatefulSet;
use crate::model::volume::Volume;

/// Rows that are marked, by uid.
#[derive(Debug, Default)]
pub struct Changes {
    until_ms: HashMap<String, u64>,
}

/// A changed row is marked for this long.
const CHANGED_MS: u64 = 3_000;

/// When more change at once, it is a reload and no news.
const CHANGES_MAX: usize = 500;

impl Changes {
    /// Marks what changed of the kinds whose changes are news.
    pub fn note(
        &mut self,
        changed: &HashSet<ObjectRef>,
        settled: &HashSet<&'static Kind>,
        tables: &Tables,
        now_ms: u64,
    ) {
        self.until_ms.retain(|_, until| *until > now_ms);
        if changed.len() > CHANGES_MAX {
            return;
        }
        let news = changed.iter().filter(|object| settled.contains(object.kind));
        let uids = news.filter_map(|object| uid_of(object, tables));
        self.until_ms.extend(uids.map(|uid| (uid, now_ms + CHANGED_MS)));
    }

    pub fn is_marked(&self, uid: &str, now_ms: u64) -> bool {
        self.until_ms.get(uid).is_some_and(|until| *until > now_ms)
    }

    /// When the next mark ends.
    pub fn next_end_ms(&self, now_ms: u64) -> Option<u64> {
        self.until_ms.values().copied().filter(|until| *until > now_ms).min()
    }
}

fn uid_of(object: &ObjectRef, tables: &Tables) -> Option<String> {
    fn find<R: Mirrored>(object: &ObjectRef, tables: &Tables) -> Option<String> {
        if object.kind != R::KIND {
            return None;
        }
        Some(R::table(tables).get(&object.key)?.meta().uid.to_string())
    }
    find::<Claim>(object, tables)
        .or_else(|| find::<Volume>(object, tables))
        .or_else(|| find::<StorageClass>(object, tables))
        .or_else(|| find::<Pod>(object, tables))
        .or_else(|| find::<Node>(object, tables))
        .or_else(|| find::<Attachment>(object, tables))
        .or_else(|| find::<CsiDriver>(object, tables))
        .or_else(|| find::<StatefulSet>(object, tables))
        .or_else(|| find::<Deployment>(object, tables))
        .or_else(|| find::<ReplicaSet>(object, tables))
        .or_else(|| find::<Event>(object, tables))
}
