//! Claims provisioned through our own CSI driver: so many at once, each call
//! that makes a volume taking so long.
//!
//! - `bound`: from the first claim until all are Bound, beside the ideal, which
//!   is the calls alone, as many at once as the provisioner has workers;
//! - `gone`: from the first deletion until all volumes are gone again, with the
//!   same delay at each call that deletes one;
//! - `calls`: how often each procedure was called, for all claims together.
//!
//! The driver is a process of its own behind its socket, or a part of this one.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Child, Command};
use std::sync::Arc;
use std::time::Duration;

use clap::ValueEnum;
use http::Method;
use pvdeck::controllers::csi::embedded::{self, Csi, EmbeddedDriver};
use pvdeck::controllers::csi::outside::OutsideDrivers;
use pvdeck::controllers::host;
use pvdeck::mirror::Tables;
use pvdeck::model::claim::ClaimPhase;
use pvdeck::plugins::csi::driver::options::NAME;
use pvdeck::plugins::host::simulated::World;
use pvdeck::plugins::layout::Layout;
use serde_json::{Value, json};

use crate::cluster::{Cluster, Hosted, Over};
use crate::load;
use crate::measure::{Cost, Stopwatch};
use crate::start::program;

/// Where the driver is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Driver {
    /// In this process.
    Process,
    /// `pvdeck csi-driver` behind its socket.
    Socket,
}

const CLASSES: &str = "/apis/storage.k8s.io/v1/storageclasses";
const NODE: &str = "node-1";

/// One run, as a line of JSON.
pub async fn run(claims: usize, delay: Duration, at: Driver) -> Value {
    let cluster = Cluster::open(Over::Process).await;
    let folder = tempfile::tempdir().expect("a folder");
    let delay_millis = delay.as_millis();
    let faults =
        ["CreateVolume", "DeleteVolume"].map(|rpc| format!("{rpc}=delay:{delay_millis}ms"));
    let (csi, _process) = match at {
        Driver::Process => (in_process(&cluster, &faults), None),
        Driver::Socket => {
            let (csi, child) = behind_socket(&cluster, &faults, folder.path()).await;
            (csi, Some(child))
        }
    };
    let object = EmbeddedDriver::named(NAME).object();
    cluster.embedded.import(vec![object], "bench").expect("imported");
    let calls = csi.calls.clone();
    let options = host::Options { csi, ..host::Options::default() };
    let (hosted, workers) = (cluster.host(&options), options.parallel);
    let client = cluster.client();
    load::create(&client, CLASSES, &class()).await;
    settle(&hosted).await;

    let clock = Stopwatch::start();
    load::create_all(&client, load::CLAIMS, claims, claim).await;
    until(&hosted, |tables| {
        tables.claims.iter().filter(|row| row.phase == ClaimPhase::Bound).count() == claims
    })
    .await;
    let bound = clock.stop();
    settle(&hosted).await;
    let clock = Stopwatch::start();
    delete_all(&client, claims).await;
    until(&hosted, |tables| tables.claims.is_empty() && tables.volumes.is_empty()).await;
    let gone = clock.stop();

    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    calls.all().iter().for_each(|call| *counts.entry(call.rpc).or_default() += 1);
    let errors: u64 = hosted.host.status().iter().map(|status| status.figures.errors).sum();
    let ideal = delay.as_secs_f64() * claims.div_ceil(workers) as f64;
    json!({
        "claims": claims, "driver": format!("{at:?}"), "delay_millis": delay_millis as u64,
        "workers": workers, "ideal_seconds": ideal, "bound": cost(bound, claims),
        "gone": cost(gone, claims), "calls": counts, "errors": errors,
    })
}

fn cost(cost: Cost, count: usize) -> Value {
    json!({
        "seconds": cost.wall.as_secs_f64(),
        "processor_micros_each": cost.processor.as_secs_f64() * 1e6 / count as f64,
    })
}

fn in_process(cluster: &Cluster, faults: &[String]) -> Csi {
    let world = World::new(cluster.clock.clone(), Layout::default());
    world.add(NODE);
    let mut driver = EmbeddedDriver::named(NAME);
    driver.options.faults = faults.iter().map(|fault| fault.parse().expect("a fault")).collect();
    embedded::start(&[driver], &world, &[NODE], &cluster.clock)
}

async fn behind_socket(cluster: &Cluster, faults: &[String], folder: &Path) -> (Csi, Running) {
    let endpoint = format!("unix://{}", folder.join("csi.sock").display());
    let mut command = Command::new(program());
    command.args(["csi-driver", "--backing", "directory", "--endpoint", &endpoint]);
    command.arg("--root").arg(folder.join("volumes"));
    for fault in faults {
        command.args(["--fault", fault]);
    }
    let child = Running(command.stdout(std::process::Stdio::null()).spawn().expect("the driver"));
    while !folder.join("csi.sock").exists() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let met = OutsideDrivers::meet(&[endpoint], folder.join("nodes"), &cluster.clock).await;
    let mut csi = Csi::default();
    met.expect("a driver").join(&mut csi, &[NODE], &Arc::clone(&cluster.clock));
    (csi, child)
}

/// A process that ends with this.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // One that has ended by itself is none to stop.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn class() -> Value {
    json!({
        "apiVersion": "storage.k8s.io/v1", "kind": "StorageClass", "metadata": {"name": "csi"},
        "provisioner": NAME, "volumeBindingMode": "Immediate",
    })
}

fn claim(n: usize) -> Value {
    json!({
        "apiVersion": "v1", "kind": "PersistentVolumeClaim",
        "metadata": {"name": load::claim_name(n), "namespace": "default"},
        "spec": {"accessModes": ["ReadWriteOnce"], "storageClassName": "csi",
            "resources": {"requests": {"storage": "1Mi"}}},
    })
}

async fn delete_all(client: &kube::Client, count: usize) {
    let tasks = (0..load::WRITERS).map(|first| {
        let client = client.clone();
        tokio::spawn(async move {
            for n in (first..count).step_by(load::WRITERS) {
                let path = format!("{}/{}", load::CLAIMS, load::claim_name(n));
                load::write(&client, Method::DELETE, &path, "application/json", &json!({})).await;
            }
        })
    });
    for task in tasks.collect::<Vec<_>>() {
        task.await.expect("a writer ends well");
    }
}

/// Waits until the controllers have nothing to do.
async fn settle(hosted: &Hosted) {
    while !hosted.host.is_idle() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Looks from time to time: looking at each change would be most of the work.
async fn until(hosted: &Hosted, done: impl Fn(&Tables) -> bool) {
    while !hosted.mirror.read(&done) {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
