//! The cluster that is measured: in process, or served on loopback HTTPS and
//! reached by its kubeconfig, as a live one would be.

use std::sync::Arc;

use clap::ValueEnum;
use pvdeck::cluster::Base;
use pvdeck::cluster::clock::RunningClock;
use pvdeck::cluster::connect::Contexts;
use pvdeck::cluster::embedded::serve::Listener;
use pvdeck::cluster::embedded::{Embedded, Options};
use pvdeck::cluster::write_path::WritePath;
use pvdeck::cluster::write_path::read_only::Access;
use pvdeck::controllers::host::{self, Host};
use pvdeck::mirror::Mirror;
use pvdeck::mirror::watch::{WatchOptions, Watching};
use pvdeck::model::clock::Clock;
use pvdeck::model::write::Actor;

/// How the cluster is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Over {
    /// As a service in this process.
    Process,
    /// Through TLS on the loopback interface.
    Https,
}

impl Over {
    pub const ALL: [Self; 2] = [Self::Process, Self::Https];

    pub fn name(self) -> &'static str {
        match self {
            Self::Process => "process",
            Self::Https => "https",
        }
    }
}

/// An embedded cluster and the way to it.
pub struct Cluster {
    pub embedded: Embedded,
    pub base: Base,
    pub clock: Arc<dyn Clock>,
}

impl Cluster {
    pub async fn open(over: Over) -> Self {
        let clock: Arc<dyn Clock> = Arc::new(RunningClock::new());
        let embedded = Embedded::new(Options::new(clock.clone()));
        let base = match over {
            Over::Process => embedded.base(),
            Over::Https => served(embedded.clone()).await,
        };
        Self { embedded, base, clock }
    }

    /// A client of its own, past the write path.
    pub fn client(&self) -> kube::Client {
        kube::Client::new(self.base.clone(), "default")
    }

    /// The mirror and the controllers, as a session has them.
    pub fn host(&self, options: &host::Options) -> Hosted {
        let path =
            WritePath::new(self.base.clone(), "default", self.clock.clone(), Access::writable());
        let mirror = Mirror::default();
        let client = path.client(Actor("pvdeck".into()));
        let watch = WatchOptions { hosting: true, ..WatchOptions::default() };
        let watching = Watching::start(&mirror, client, self.clock.clone(), &watch);
        let host = host::start(&path, &mirror, &self.clock, options);
        Hosted { mirror, host, watching }
    }
}

/// The controllers of a cluster at work.
pub struct Hosted {
    pub mirror: Mirror,
    pub host: Host,
    watching: Watching,
}

impl Hosted {
    /// Lists everything again, as after a 410.
    pub fn list_again(&self) {
        self.watching.list_again();
    }
}

/// Serves the cluster until the process ends; the way back by the kubeconfig.
async fn served(embedded: Embedded) -> Base {
    let listener = Listener::bind(0).await.expect("a free port");
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("kubeconfig");
    listener.write_kubeconfig(&file).expect("a kubeconfig");
    tokio::spawn(listener.serve(embedded, std::future::pending()));
    let contexts = Contexts::read(Some(&file)).expect("readable").expect("a context");
    contexts.connect(None).await.expect("a connection").base
}
