//! Machines that go on when whoever uses them dies at a request.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use futures::future::{BoxFuture, FutureExt, pending};
use pvdeck::plugins::host::around::{Around, Surrounded};
use pvdeck::plugins::host::simulated::World;
use pvdeck::plugins::host::{
    Command, CommandRecord, FileAnswer, FileRequest, Host, HostError, Hosts, OnBehalf,
};

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
        Some(Arc::new(Surrounded { host, around: Mortal(self.plan.clone()) }))
    }
}

/// The way to a machine for a process that dies as planned.
struct Mortal(Arc<Plan>);

impl Mortal {
    async fn pass<T>(&self, what: String, request: BoxFuture<'_, T>) -> T {
        if self.0.dead.load(Ordering::SeqCst) {
            return pending().await;
        }
        let number = self.0.asked.fetch_add(1, Ordering::SeqCst);
        let Some((_, is_done)) = self.0.last_request.filter(|(last, _)| *last == number) else {
            return request.await;
        };
        *self.0.fired.lock().expect("the plan") = Some(what);
        self.0.dead.store(true, Ordering::SeqCst);
        if is_done {
            request.await;
        }
        pending().await
    }
}

impl Around for Mortal {
    fn run<'a>(
        &'a self,
        host: &'a dyn Host,
        on_behalf: &OnBehalf,
        command: Command,
    ) -> BoxFuture<'a, Result<CommandRecord, HostError>> {
        let what = command.argv().join(" ");
        self.pass(what, host.run(on_behalf, command)).boxed()
    }

    fn file<'a>(
        &'a self,
        host: &'a dyn Host,
        request: FileRequest,
    ) -> BoxFuture<'a, Result<FileAnswer, HostError>> {
        if request.is_change() {
            let what = format!("{} {}", request.doing(), request.path());
            return self.pass(what, host.file(request)).boxed();
        }
        host.file(request)
    }
}
