//! A controller that looks at a change a little later than others: who has come
//! before it by then is not told a conflict.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;

use crate::controllers::holds::HoldTable;
use crate::controllers::work_loop::{Pass, Reconciler};
use crate::model::clock::{Clock, TimerUse};
use crate::model::object::ObjectRef;

/// A controller, and how much later it looks.
pub struct Settling {
    pub reconciler: Arc<dyn Reconciler>,
    pub clock: Arc<dyn Clock>,
    pub pause: Duration,
}

impl Reconciler for Settling {
    fn take_in(&self, changed: HashSet<ObjectRef>) -> Vec<ObjectRef> {
        self.reconciler.take_in(changed)
    }

    fn everything(&self) -> Vec<ObjectRef> {
        self.reconciler.everything()
    }

    fn holds(&self) -> HoldTable {
        self.reconciler.holds()
    }

    fn reconcile(self: Arc<Self>, object: ObjectRef) -> BoxFuture<'static, Pass> {
        async move {
            self.clock.sleep(self.pause, TimerUse::Work).await;
            self.reconciler.clone().reconcile(object).await
        }
        .boxed()
    }
}
