//! Whoever uses the machines of a world, killed at one of its changes to them:
//! the change is made or not, and it never hears of it. The machines go on, and
//! who comes after it finds out.

use std::fmt;
use std::future::{Future, pending};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use futures::FutureExt;
use futures::future::BoxFuture;

use crate::plugins::host::around::{Around, Surrounded};
use crate::plugins::host::simulated::World;
use crate::plugins::host::{
    Command, CommandRecord, DiskFuture, Disks, FileAnswer, FileRequest, Host, HostError, Hosts,
    MountTable, OnBehalf,
};

/// At which side of a change to a machine one is killed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum When {
    Before,
    After,
}

/// Told of each change that is done.
type Tell = Box<dyn Fn(&str) + Send + Sync>;

/// One who uses machines until it is killed. Whatever it asks for when it is
/// dead is not done and never answered.
#[derive(Default)]
pub struct Mortal {
    end: Option<(usize, When)>,
    changes: AtomicUsize,
    is_dead: AtomicBool,
    killed_at: Mutex<Option<String>>,
    tell: Option<Tell>,
}

impl Mortal {
    /// One that is killed at a change, counted from 0, if any.
    pub fn new(end: Option<(usize, When)>) -> Self {
        Self { end, ..Self::default() }
    }

    /// The same, and each change is told when it is done.
    pub fn telling(self, tell: impl Fn(&str) + Send + Sync + 'static) -> Self {
        Self { tell: Some(Box::new(tell)), ..self }
    }

    pub fn is_dead(&self) -> bool {
        self.is_dead.load(Ordering::SeqCst)
    }

    /// Kills it for another reason than a change to a machine.
    pub fn kill(&self) {
        self.is_dead.store(true, Ordering::SeqCst);
    }

    /// Lets another go on in the place of a dead one; whether it was dead.
    pub fn replace_if_dead(&self) -> bool {
        self.is_dead.swap(false, Ordering::SeqCst)
    }

    /// How many changes it asked for.
    pub fn changes(&self) -> usize {
        self.changes.load(Ordering::SeqCst)
    }

    /// The change at which it was killed, for people.
    pub fn killed_at(&self) -> Option<String> {
        self.killed_at.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    async fn look<T>(&self, work: impl Future<Output = T>) -> T {
        if self.is_dead() {
            return pending().await;
        }
        work.await
    }

    async fn change<T>(&self, what: String, work: impl Future<Output = T>) -> T {
        if self.is_dead() {
            return pending().await;
        }
        let number = self.changes.fetch_add(1, Ordering::SeqCst);
        let when = self.end.filter(|(end, _)| *end == number).map(|(_, when)| when);
        if when == Some(When::Before) {
            return self.die(what).await;
        }
        let done = work.await;
        if let Some(tell) = &self.tell {
            tell(&what);
        }
        if when == Some(When::After) {
            return self.die(what).await;
        }
        done
    }

    async fn die<T>(&self, what: String) -> T {
        *self.killed_at.lock().unwrap_or_else(PoisonError::into_inner) = Some(what);
        self.kill();
        pending().await
    }
}

impl Around for Arc<Mortal> {
    fn run<'a>(
        &'a self,
        host: &'a dyn Host,
        on_behalf: &OnBehalf,
        command: Command,
    ) -> BoxFuture<'a, Result<CommandRecord, HostError>> {
        let on_behalf = on_behalf.clone();
        let what = format!("{:?} {} on {}", command.verb(), command.object(), host.node());
        self.change(what, async move { host.run(&on_behalf, command).await }).boxed()
    }

    fn file<'a>(
        &'a self,
        host: &'a dyn Host,
        request: FileRequest,
    ) -> BoxFuture<'a, Result<FileAnswer, HostError>> {
        if !request.is_change() {
            return self.look(async move { host.file(request).await }).boxed();
        }
        let what = format!("{} {} on {}", request.doing(), request.path(), host.node());
        self.change(what, async move { host.file(request).await }).boxed()
    }

    fn mounts<'a>(&'a self, host: &'a dyn Host) -> BoxFuture<'a, Result<MountTable, HostError>> {
        self.look(async move { host.mounts().await }).boxed()
    }
}

/// The machines of a world and the disks between them, as one reaches them who
/// may be killed.
#[derive(Clone)]
pub struct Reached {
    pub world: World,
    pub by: Arc<Mortal>,
}

impl fmt::Debug for Reached {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.world.fmt(f)
    }
}

impl Hosts for Reached {
    fn host(&self, node: &str) -> Option<Arc<dyn Host>> {
        let host = self.world.host(node)?;
        Some(Arc::new(Surrounded { host, around: self.by.clone() }))
    }
}

impl Disks for Reached {
    fn create<'a>(&'a self, id: &'a str, bytes: u64) -> DiskFuture<'a> {
        self.by.change(format!("create {id}"), self.world.create(id, bytes)).boxed()
    }

    fn copy<'a>(&'a self, from: &'a str, to: &'a str) -> DiskFuture<'a> {
        self.by.change(format!("copy {from} to {to}"), self.world.copy(from, to)).boxed()
    }

    fn delete<'a>(&'a self, id: &'a str) -> DiskFuture<'a> {
        self.by.change(format!("delete {id}"), self.world.delete(id)).boxed()
    }

    fn grow<'a>(&'a self, id: &'a str, bytes: u64) -> DiskFuture<'a> {
        self.by.change(format!("grow {id}"), self.world.grow(id, bytes)).boxed()
    }

    fn attach<'a>(
        &'a self,
        on_behalf: &'a OnBehalf,
        id: &'a str,
        node: &'a str,
        shared: bool,
    ) -> DiskFuture<'a, String> {
        let attach = self.world.attach(on_behalf, id, node, shared);
        self.by.change(format!("attach {id} to {node}"), attach).boxed()
    }

    fn detach<'a>(&'a self, on_behalf: &'a OnBehalf, id: &'a str, node: &'a str) -> DiskFuture<'a> {
        let detach = self.world.detach(on_behalf, id, node);
        self.by.change(format!("detach {id} from {node}"), detach).boxed()
    }

    fn attached_to<'a>(&'a self, id: &'a str) -> DiskFuture<'a, Vec<(String, String)>> {
        self.by.look(self.world.attached_to(id)).boxed()
    }
}
