//! One run of the program: killed at a write or at a host operation if that is
//! its fate. What it has asked of the machines it is told no more of; its
//! successor finds out.

use std::fmt;
use std::future::{Future, pending};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use futures::FutureExt;
use futures::future::BoxFuture;
use pvdeck::plugins::host::around::{Around, Surrounded};
use pvdeck::plugins::host::simulated::World;
use pvdeck::plugins::host::{
    Command, CommandRecord, Disks, FileAnswer, FileRequest, Host, HostError, Hosts, MountTable,
    OnBehalf,
};

use super::sound::Watcher;
use crate::crash::{Plan, Way};

/// At which side of a host operation the program is killed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum When {
    Before,
    After,
}

/// What becomes of a run of the program.
#[derive(Debug, Clone, Copy, Default)]
pub struct Fate {
    /// The write that goes wrong.
    pub write: Option<(usize, Way)>,
    /// The operation on a machine at which it is killed.
    pub host_operation: Option<(usize, When)>,
}

/// A run of the program.
pub struct Process {
    pub plan: Arc<Plan>,
    fate: Fate,
    operations: AtomicUsize,
    /// The host operation at which it was killed.
    killed_at: Mutex<Option<String>>,
    watcher: Arc<Watcher>,
}

impl Process {
    pub fn new(fate: Fate, watcher: Arc<Watcher>) -> Arc<Self> {
        let plan = Arc::new(Plan { fault: fate.write, ..Plan::default() });
        let (operations, killed_at) = (AtomicUsize::new(0), Mutex::default());
        Arc::new(Self { plan, fate, operations, killed_at, watcher })
    }

    pub fn is_dead(&self) -> bool {
        self.plan.dead.load(Ordering::SeqCst)
    }

    pub fn operations(&self) -> usize {
        self.operations.load(Ordering::SeqCst)
    }

    /// Whether its fault at a write has come.
    pub fn failed_at_write(&self) -> bool {
        self.plan.fired.lock().expect("the plan").is_some()
    }

    pub fn killed_at(&self) -> Option<String> {
        self.killed_at.lock().expect("the process").clone()
    }

    /// Waits for a read, unless it is dead.
    async fn look<T>(&self, work: impl Future<Output = T>) -> T {
        if self.is_dead() {
            return pending().await;
        }
        work.await
    }

    /// Carries out an operation, or is killed at it.
    async fn change<T>(&self, what: String, work: impl Future<Output = T>) -> T {
        if self.is_dead() {
            return pending().await;
        }
        let number = self.operations.fetch_add(1, Ordering::SeqCst);
        let when = self.fate.host_operation.filter(|(at, _)| *at == number).map(|(_, when)| when);
        if when == Some(When::Before) {
            return self.die(what).await;
        }
        let done = work.await;
        self.watcher.look(&what);
        if when == Some(When::After) {
            return self.die(what).await;
        }
        done
    }

    async fn die<T>(&self, what: String) -> T {
        *self.killed_at.lock().expect("the process") = Some(what);
        self.plan.dead.store(true, Ordering::SeqCst);
        pending().await
    }
}

/// The machines, as one run of the program reaches them.
#[derive(Clone)]
pub struct Reached {
    pub world: World,
    pub process: Arc<Process>,
}

impl fmt::Debug for Reached {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.world.fmt(f)
    }
}

impl Hosts for Reached {
    fn host(&self, node: &str) -> Option<Arc<dyn Host>> {
        let host = self.world.host(node)?;
        Some(Arc::new(Surrounded { host, around: ByRun(self.process.clone()) }))
    }
}

impl Disks for Reached {
    fn create(&self, id: &str, bytes: u64) -> BoxFuture<'_, Result<(), HostError>> {
        let id = id.to_owned();
        async move {
            self.process.change(format!("create {id}"), self.world.create(&id, bytes)).await
        }
        .boxed()
    }

    fn copy(&self, from: &str, to: &str) -> BoxFuture<'_, Result<(), HostError>> {
        let (from, to) = (from.to_owned(), to.to_owned());
        async move { self.process.change(format!("copy {to}"), self.world.copy(&from, &to)).await }
            .boxed()
    }

    fn delete(&self, id: &str) -> BoxFuture<'_, Result<(), HostError>> {
        let id = id.to_owned();
        async move { self.process.change(format!("delete {id}"), self.world.delete(&id)).await }
            .boxed()
    }

    fn grow(&self, id: &str, bytes: u64) -> BoxFuture<'_, Result<(), HostError>> {
        let id = id.to_owned();
        async move { self.process.change(format!("grow {id}"), self.world.grow(&id, bytes)).await }
            .boxed()
    }

    fn attach(
        &self,
        on_behalf: &OnBehalf,
        id: &str,
        node: &str,
        shared: bool,
    ) -> BoxFuture<'_, Result<String, HostError>> {
        let (on_behalf, id, node) = (on_behalf.clone(), id.to_owned(), node.to_owned());
        async move {
            let attach = self.world.attach(&on_behalf, &id, &node, shared);
            self.process.change(format!("attach {id} to {node}"), attach).await
        }
        .boxed()
    }

    fn detach(
        &self,
        on_behalf: &OnBehalf,
        id: &str,
        node: &str,
    ) -> BoxFuture<'_, Result<(), HostError>> {
        let (on_behalf, id, node) = (on_behalf.clone(), id.to_owned(), node.to_owned());
        async move {
            let detach = self.world.detach(&on_behalf, &id, &node);
            self.process.change(format!("detach {id} from {node}"), detach).await
        }
        .boxed()
    }

    fn attached_to(&self, id: &str) -> BoxFuture<'_, Result<Vec<(String, String)>, HostError>> {
        let id = id.to_owned();
        async move { self.process.look(self.world.attached_to(&id)).await }.boxed()
    }
}

/// The way to a machine for one run of the program.
struct ByRun(Arc<Process>);

impl Around for ByRun {
    fn run<'a>(
        &'a self,
        host: &'a dyn Host,
        on_behalf: &OnBehalf,
        command: Command,
    ) -> BoxFuture<'a, Result<CommandRecord, HostError>> {
        let on_behalf = on_behalf.clone();
        async move {
            let what = format!("{:?} {} on {}", command.verb(), command.object(), host.node());
            self.0.change(what, host.run(&on_behalf, command)).await
        }
        .boxed()
    }

    fn file<'a>(
        &'a self,
        host: &'a dyn Host,
        request: FileRequest,
    ) -> BoxFuture<'a, Result<FileAnswer, HostError>> {
        async move {
            if !request.is_change() {
                return self.0.look(host.file(request)).await;
            }
            let what = format!("{} {} on {}", request.doing(), request.path(), host.node());
            self.0.change(what, host.file(request)).await
        }
        .boxed()
    }

    fn mounts<'a>(&'a self, host: &'a dyn Host) -> BoxFuture<'a, Result<MountTable, HostError>> {
        async move { self.0.look(host.mounts()).await }.boxed()
    }
}
