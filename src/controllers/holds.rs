//! One operation per object at a time.
//!
//! A loop holds the object it works on, and a bind also the volume it has
//! chosen, before the first write is sent. Without this two claims that are
//! bound at the same time would choose the same volume, and a volume's own
//! sync would run into the bind's versions.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use crate::model::object::ObjectRef;

/// Which objects are held, and by the work on which object.
#[derive(Debug, Clone, Default)]
pub struct Holds {
    held: HashMap<ObjectRef, ObjectRef>,
}

impl Holds {
    /// On whose behalf an object is held.
    pub fn holder(&self, object: &ObjectRef) -> Option<&ObjectRef> {
        self.held.get(object)
    }

    /// Holds `object` on behalf of `holder`, for tests of decisions.
    pub fn insert(&mut self, object: ObjectRef, holder: ObjectRef) {
        self.held.insert(object, holder);
    }
}

/// The holds of one controller. Clones share them.
#[derive(Debug, Clone, Default)]
pub struct HoldTable {
    inner: Arc<Mutex<Inner>>,
    let_go: Arc<Notify>,
}

#[derive(Debug, Default)]
struct Inner {
    holds: Holds,
    freed: Vec<ObjectRef>,
}

impl HoldTable {
    /// Holds an object until the answer is dropped; `None` if it is held.
    pub fn try_hold(&self, object: &ObjectRef, holder: &ObjectRef) -> Option<Hold> {
        let mut inner = self.lock();
        if inner.holds.held.contains_key(object) {
            return None;
        }
        inner.holds.held.insert(object.clone(), holder.clone());
        Some(Hold { table: self.clone(), object: object.clone() })
    }

    /// Holds an object as soon as it is let go.
    pub async fn hold(&self, object: &ObjectRef, holder: &ObjectRef) -> Hold {
        loop {
            let mut let_go = std::pin::pin!(self.let_go.notified());
            // Listening before looking, so that no letting go falls between.
            let_go.as_mut().enable();
            if let Some(hold) = self.try_hold(object, holder) {
                return hold;
            }
            let_go.await;
        }
    }

    /// The objects let go since this was last asked.
    pub fn take_freed(&self) -> Vec<ObjectRef> {
        std::mem::take(&mut self.lock().freed)
    }

    /// Looks at the holds.
    pub fn read<T>(&self, read: impl FnOnce(&Holds) -> T) -> T {
        read(&self.lock().holds)
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// An object held; dropping it lets go.
#[derive(Debug)]
pub struct Hold {
    table: HoldTable,
    object: ObjectRef,
}

impl Hold {
    pub fn object(&self) -> &ObjectRef {
        &self.object
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        let mut inner = self.table.lock();
        inner.holds.held.remove(&self.object);
        inner.freed.push(self.object.clone());
        drop(inner);
        self.table.let_go.notify_waiters();
    }
}
