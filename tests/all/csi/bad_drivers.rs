//! Drivers that answer wrongly, lie or never answer: shown, bounded, and mended
//! by nothing but a driver that behaves.

use std::convert::Infallible;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, Response};
use http_body_util::{BodyExt, Full};
use pvdeck::cluster::clock::RunningClock;
use pvdeck::controllers::csi::outside::OutsideDrivers;
use pvdeck::model::kind;
use pvdeck::plugins::csi::driver::Driver;
use pvdeck::plugins::csi::driver::machine::Machine;
use pvdeck::plugins::csi::driver::machine::directories::Directories;
use pvdeck::plugins::csi::driver::options::Options;
use pvdeck::plugins::csi::driver::state::Store;
use pvdeck::plugins::csi::transport::{self, Transport};
use serde_json::{Value, json};
use tonic::body::Body;
use tower::ServiceExt;
use tower::util::BoxCloneSyncService;

use crate::pods::{Cluster, WAITS};
use crate::world::World;

const DRIVER: &str = "csi.bad.dev";

/// What a driver does instead of what it should.
#[derive(Debug, Clone)]
enum Tampering {
    /// Answers with these bytes as its message.
    Bytes(&'static [u8]),
    /// Answers with another volume each time.
    NewVolumes,
    /// Does not have the call.
    Unimplemented,
    Silence,
}

/// A driver that does as it should, but for one call.
#[derive(Clone)]
struct Bad {
    tampering: Arc<Mutex<Option<(&'static str, Tampering)>>>,
    volumes: Arc<AtomicU32>,
    driver: Driver,
}

impl Bad {
    fn does(&self, rpc: &'static str, tampering: Tampering) {
        *self.tampering.lock().expect("not poisoned") = Some((rpc, tampering));
    }

    fn behaves(&self) {
        *self.tampering.lock().expect("not poisoned") = None;
    }

    fn tampering(&self, path: &str) -> Option<Tampering> {
        let tampering = self.tampering.lock().expect("not poisoned").clone();
        tampering.filter(|(rpc, _)| path.ends_with(&format!("/{rpc}"))).map(|(_, how)| how)
    }

    async fn answer(&self, how: Tampering) -> Response<Body> {
        match how {
            Tampering::Bytes(message) => reply(message),
            Tampering::NewVolumes => {
                let number = self.volumes.fetch_add(1, Ordering::Relaxed);
                let id = format!("volume-{number}");
                // Field 1, a message: field 2, a string.
                let mut message = vec![0x0a, id.len() as u8 + 2, 0x12, id.len() as u8];
                message.extend(id.as_bytes());
                reply(&message)
            }
            Tampering::Unimplemented => {
                let answer = Response::builder().header("content-type", "application/grpc");
                let answer = answer.header("grpc-status", "12").body(Body::empty());
                answer.expect("an answer")
            }
            Tampering::Silence => std::future::pending().await,
        }
    }
}

/// A message as gRPC sends it, with the status that all went well.
fn reply(message: &[u8]) -> Response<Body> {
    let mut frame = vec![0];
    frame.extend((message.len() as u32).to_be_bytes());
    frame.extend(message);
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", HeaderValue::from_static("0"));
    let ended = std::future::ready(Some(Ok::<_, Infallible>(trailers)));
    let body = Full::new(Bytes::from(frame)).with_trailers(ended);
    let answer = Response::builder().header("content-type", "application/grpc");
    answer.body(Body::new(body)).expect("an answer")
}

fn between(bad: Bad, behind: Transport) -> Transport {
    BoxCloneSyncService::new(tower::service_fn(move |request: Request<Body>| {
        let (bad, behind) = (bad.clone(), behind.clone());
        async move {
            match bad.tampering(request.uri().path()) {
                Some(how) => Ok(bad.answer(how).await),
                None => behind.oneshot(request).await,
            }
        }
    }))
}

/// A cluster with such a driver, and its class.
fn run(play: impl AsyncFnOnce(Cluster, Bad)) {
    run_from_the_start(None, play);
}

/// The same with a driver that behaves badly before anybody has asked it.
fn run_from_the_start(
    bad: Option<(&'static str, Tampering)>,
    play: impl AsyncFnOnce(Cluster, Bad),
) {
    let tampering = Arc::new(Mutex::new(bad));
    let folder = tempfile::tempdir().expect("a folder");
    let options = Options { name: DRIVER.into(), ..Options::default() };
    let machine = Machine::Directories(Directories::new(folder.path().join("volumes")));
    let clock = Arc::new(RunningClock::new());
    let driver = Driver::open(options, Store::Memory, machine, clock, Arc::new(|| {}));
    let driver = driver.expect("opened");
    let behind = transport::in_process(&driver.at("node-1", "node-1"));
    let bad = Bad { tampering, volumes: Arc::default(), driver };
    let ways = vec![(DRIVER.to_owned(), between(bad.clone(), behind))];
    let outside = OutsideDrivers::of(ways, folder.path().join("nodes"));
    World::run_with_outside(outside, async |world| {
        let cluster = Cluster { world };
        cluster.class(json!({})).await;
        play(cluster, bad).await;
    });
}

impl Cluster {
    async fn class(&self, parameters: Value) {
        let class = json!({
            "metadata": {"name": "bad"}, "provisioner": DRIVER,
            "volumeBindingMode": "Immediate", "parameters": parameters,
        });
        self.create(kind::STORAGE_CLASS, class).await;
    }

    async fn dynamic_claim(&self, name: &str) {
        let claim = json!({"metadata": {"name": name}, "spec": {
            "accessModes": ["ReadWriteOnce"], "storageClassName": "bad",
            "resources": {"requests": {"storage": "1Mi"}},
        }});
        self.create(kind::PERSISTENT_VOLUME_CLAIM, claim).await;
    }

    async fn claim_phase(&self, name: &str) -> String {
        let claim = self.get(kind::PERSISTENT_VOLUME_CLAIM, name).await.expect("a claim");
        claim["status"]["phase"].as_str().unwrap_or_default().to_owned()
    }

    async fn until_bound(&self, name: &str) {
        self.until("bound", async || self.claim_phase(name).await == "Bound").await;
    }

    fn made(&self, rpc: &str) -> usize {
        self.world.calls().all().iter().filter(|call| call.rpc == rpc).count()
    }

    fn volumes(&self) -> usize {
        self.world.mirror().read(|tables| tables.volumes.len())
    }
}

/// A claim that such a driver fails: what it is told, and that the driver is
/// not pestered; then the driver is mended.
async fn fails(cluster: &Cluster, bad: &Bad, told: &str) {
    cluster.dynamic_claim("data").await;
    cluster.until_told("data", told).await;
    cluster.world.clock.advance(Duration::from_secs(300)).await;
    assert_eq!(cluster.claim_phase("data").await, "Pending");
    assert_eq!(cluster.volumes(), 0);
    let calls = cluster.world.calls().all();
    let flying = calls.iter().filter(|call| call.ended.is_none()).count();
    assert!(flying <= 1, "{flying} calls in flight");
    let most = calls.iter().filter(|call| call.rpc == "CreateVolume").count();
    assert!(most <= 12, "{most} calls in five minutes");
    bad.behaves();
    cluster.until_bound("data").await;
    assert_eq!(cluster.volumes(), 1);
    assert_eq!(bad.driver.state().volumes.len(), 1, "one volume, however often it was tried");
}

#[test]
fn an_answer_that_is_no_message_is_told_and_tried_again() {
    run(async |cluster, bad| {
        // A string that is longer than the message.
        bad.does("CreateVolume", Tampering::Bytes(&[0x0a, 0x7f, 0x01]));
        fails(&cluster, &bad, "ProvisioningFailed: ").await;
    });
}

#[test]
fn an_answer_of_another_type_is_told_and_tried_again() {
    run(async |cluster, bad| {
        // Field 1 as a number, where a message belongs.
        bad.does("CreateVolume", Tampering::Bytes(&[0x08, 0x2a]));
        fails(&cluster, &bad, "ProvisioningFailed: rpc error: code = ").await;
    });
}

#[test]
fn an_answer_without_a_volume_makes_none() {
    run(async |cluster, bad| {
        bad.does("CreateVolume", Tampering::Bytes(&[]));
        fails(&cluster, &bad, "ProvisioningFailed: the driver gave the volume no identity").await;
    });
}

#[test]
fn a_driver_that_never_answers_holds_up_its_claim_only() {
    run(async |cluster, bad| {
        bad.does("CreateVolume", Tampering::Silence);
        let told = "ProvisioningFailed: rpc error: code = DeadlineExceeded desc = context \
                    deadline exceeded";
        cluster.claim(json!({"nfs": {"server": "nfs.example", "path": "/x"}})).await;
        cluster.delete(kind::PERSISTENT_VOLUME_CLAIM, "data", None).await;
        cluster.world.clock.settle(100).await;
        cluster.delete(kind::PERSISTENT_VOLUME, "data", None).await;
        cluster.world.clock.settle(100).await;
        fails(&cluster, &bad, told).await;
    });
}

#[test]
fn a_driver_that_lacks_a_call_it_announced_is_told_so() {
    run(async |cluster, bad| {
        bad.does("CreateVolume", Tampering::Unimplemented);
        fails(&cluster, &bad, "ProvisioningFailed: rpc error: code = Unimplemented").await;
    });
}

#[test]
fn a_driver_that_announces_nothing_is_not_called() {
    let nothing = ("ControllerGetCapabilities", Tampering::Bytes(&[]));
    run_from_the_start(Some(nothing), async |cluster, _| {
        let told = "ProvisioningFailed: CSI driver does not support dynamic provisioning: \
                    controller CREATE_DELETE_VOLUME capability is not reported";
        cluster.dynamic_claim("data").await;
        cluster.until_told("data", told).await;
        assert_eq!(cluster.made("CreateVolume"), 0);
    });
}

#[test]
fn a_driver_with_another_volume_for_each_call_gets_one_object() {
    run(async |cluster, bad| {
        bad.does("CreateVolume", Tampering::NewVolumes);
        cluster.dynamic_claim("data").await;
        cluster.until_bound("data").await;
        let handle = async || {
            let claim = cluster.get(kind::PERSISTENT_VOLUME_CLAIM, "data").await.expect("a claim");
            let name = claim["spec"]["volumeName"].as_str().unwrap_or_default().to_owned();
            let volume = cluster.get(kind::PERSISTENT_VOLUME, &name).await.expect("a volume");
            volume["spec"]["csi"]["volumeHandle"].clone()
        };
        let first = handle().await;
        cluster.world.clock.advance(Duration::from_secs(400)).await;
        assert_eq!(handle().await, first);
        assert_eq!((cluster.volumes(), cluster.made("CreateVolume")), (1, 1));
    });
}

#[test]
fn a_class_with_an_unknown_reserved_parameter_never_reaches_the_driver() {
    run(async |cluster, _| {
        cluster.delete(kind::STORAGE_CLASS, "bad", None).await;
        cluster.class(json!({"csi.storage.k8s.io/colour": "red"})).await;
        cluster.dynamic_claim("data").await;
        let told = "found unknown parameter key \"csi.storage.k8s.io/colour\" with reserved \
                    namespace csi.storage.k8s.io/";
        cluster.until_told("data", told).await;
        assert_eq!(cluster.made("CreateVolume"), 0);
        // A parameter of the driver's own is the driver's business.
        cluster.delete(kind::PERSISTENT_VOLUME_CLAIM, "data", None).await;
        cluster.delete(kind::STORAGE_CLASS, "bad", None).await;
        cluster.class(json!({"colour": "red"})).await;
        cluster.dynamic_claim("other").await;
        cluster.until_bound("other").await;
    });
}

#[test]
fn a_node_service_that_lies_or_is_silent_holds_up_its_pod_until_it_behaves() {
    for (rpc, tampering, told) in [
        ("NodeStageVolume", Tampering::Unimplemented, "code = Unimplemented"),
        ("NodeStageVolume", Tampering::Silence, "code = DeadlineExceeded"),
        ("NodePublishVolume", Tampering::Bytes(&[0x0a, 0x7f]), "rpc error: code = "),
    ] {
        run(async |cluster, bad| {
            cluster.dynamic_claim("data").await;
            cluster.until_bound("data").await;
            bad.does(rpc, tampering.clone());
            let claimed = json!({"persistentVolumeClaim": {"claimName": "data"}});
            cluster.pod("user", claimed, WAITS).await;
            cluster.until_told("user", told).await;
            assert_eq!(cluster.phase("user").await, "Pending");
            bad.behaves();
            cluster.until_phase("user", "Running").await;
        });
    }
}
