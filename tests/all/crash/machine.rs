//! Machines that go on when whoever uses them dies at a request.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use futures::future::{BoxFuture, FutureExt, pending};
use pvdeck::model::clock::Clock;
use pvdeck::plugins::host::simulated::World;
use pvdeck::plugins::host::{
    Command, CommandRecord, FileAnswer, FileRequest, Host, HostError, Hosts, MountTable, OnBehalf,
};
use pvdeck::plugins::layout::Layout;
use tokio::sync::watch;

use super::Plan;

/// The machines of a world, reached by a process that dies as planned.
pub struct MortalHosts {
    pub world: World,
    pub plan: Arc<Plan>,
}

impl fmt::Debug for MortalHosts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.world.fmt(f)
    }
}

impl Hosts for MortalHosts {
    fn host(&self, node: &str) -> Option<Arc<dyn Host>> {
        let host = self.world.host(node)?;
        Some(Arc::new(MortalHost { host, plan: self.plan.clone() }))
    }
}

struct MortalHost {
    host: Arc<dyn Host>,
    plan: Arc<Plan>,
}

impl fmt::Debug for MortalHost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.host.fmt(f)
    }
}

impl MortalHost {
    async fn pass<T>(&self, what: String, request: BoxFuture<'_, T>) -> T {
        if self.plan.dead.load(Ordering::SeqCst) {
            return pending().await;
        }
        let number = self.plan.asked.fetch_add(1, Ordering::SeqCst);
        let Some((_, is_done)) = self.plan.last_request.filter(|(last, _)| *last == number) else {
            return request.await;
        };
        *self.plan.fired.lock().expect("the plan") = Some(what);
        self.plan.dead.store(true, Ordering::SeqCst);
        if is_done {
            request.await;
        }
        pending().await
    }
}

impl Host for MortalHost {
    fn node(&self) -> &Arc<str> {
        self.host.node()
    }

    fn layout(&self) -> &Layout {
        self.host.layout()
    }

    fn clock(&self) -> &Arc<dyn Clock> {
        self.host.clock()
    }

    fn run(
        &self,
        on_behalf: &OnBehalf,
        command: Command,
    ) -> BoxFuture<'_, Result<CommandRecord, HostError>> {
        let what = command.argv().join(" ");
        self.pass(what, self.host.run(on_behalf, command)).boxed()
    }

    fn file(&self, request: FileRequest) -> BoxFuture<'_, Result<FileAnswer, HostError>> {
        if request.is_change() {
            let what = format!("{} {}", request.doing(), request.path());
            return self.pass(what, self.host.file(request)).boxed();
        }
        self.host.file(request)
    }

    fn mounts(&self) -> BoxFuture<'_, Result<MountTable, HostError>> {
        self.host.mounts()
    }

    fn records(&self) -> Vec<CommandRecord> {
        self.host.records()
    }

    fn changes(&self) -> watch::Receiver<u64> {
        self.host.changes()
    }
}
