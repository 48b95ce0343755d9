//! A crash at every write: the story is played once to count the controllers'
//! writes; then, for each of them and each way to fail there, it is played
//! afresh, with new controllers built from the cluster alone where the old
//! ones died. The end must be the same, every revision sound, and nothing left
//! to do.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use http::{Method, Request, Response};
use jiff::Timestamp;
use kube::client::Body;
use pvdeck::cluster::Base;
use pvdeck::cluster::clock::ManualClock;
use pvdeck::cluster::embedded::{Embedded, Options};
use pvdeck::cluster::write_path::read_only::Access;
use pvdeck::cluster::write_path::{WriteError, WritePath, perform};
use pvdeck::model::kind::{self, Kind};
use pvdeck::model::object::{Key, ObjectRef};
use pvdeck::model::write::{Actor, Change, Reason, Write};
use pvdeck::session::{EmbeddedOptions, Session};
use serde_json::{Value, json};
use tower::{BoxError, ServiceExt, service_fn};

/// How the write goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    KilledBefore,
    KilledAfterCommit,
    Conflict,
    DoneTwice,
}

const WAYS: [Way; 4] = [Way::KilledBefore, Way::KilledAfterCommit, Way::Conflict, Way::DoneTwice];

/// What is to go wrong, and what was seen.
#[derive(Default)]
struct Plan {
    fault: Option<(usize, Way)>,
    seen: AtomicUsize,
    dead: AtomicBool,
    /// The write at which the fault fired.
    fired: Mutex<Option<String>>,
}

/// A base below which the plan's fault happens.
fn faulty(base: Base, plan: Arc<Plan>) -> Base {
    service_fn(move |request: Request<Body>| {
        let (base, plan) = (base.clone(), plan.clone());
        async move {
            if plan.dead.load(Ordering::SeqCst) {
                return std::future::pending().await;
            }
            let counts = request.extensions().get::<Reason>().is_some()
                && !request.uri().path().contains("/events");
            if !counts || request.method() == Method::GET {
                return base.oneshot(request).await;
            }
            let number = plan.seen.fetch_add(1, Ordering::SeqCst);
            match plan.fault.filter(|(at, _)| *at == number) {
                None => base.oneshot(request).await,
                Some((_, way)) => fail(base, &plan, way, request).await,
            }
        }
    })
    .boxed_clone()
}

async fn fail(
    base: Base,
    plan: &Plan,
    way: Way,
    request: Request<Body>,
) -> Result<Response<Body>, BoxError> {
    let (parts, body) = request.into_parts();
    let why = parts.extensions.get::<Reason>().map(|r| format!("{}: {}", r.rule, r.text));
    let write = format!("{} {} ({})", parts.method, parts.uri.path(), why.unwrap_or_default());
    *plan.fired.lock().expect("the plan") = Some(write);
    let body = body.collect_bytes().await?.to_vec();
    let again = || Request::from_parts(parts.clone(), Body::from(body.clone()));
    match way {
        Way::KilledBefore => {}
        Way::KilledAfterCommit => {
            base.oneshot(again()).await?;
        }
        Way::Conflict => {
            let status = json!({"kind": "Status", "apiVersion": "v1", "status": "Failure",
                "message": "the object has been modified", "reason": "Conflict", "code": 409});
            let mut answer = Response::new(Body::from(status.to_string().into_bytes()));
            *answer.status_mut() = http::StatusCode::CONFLICT;
            return Ok(answer);
        }
        Way::DoneTwice => {
            base.clone().oneshot(again()).await?;
            return base.oneshot(again()).await;
        }
    }
    plan.dead.store(true, Ordering::SeqCst);
    std::future::pending().await
}

/// One playing of the story.
struct Play {
    clock: ManualClock,
    embedded: Embedded,
    user: kube::Client,
    session: Option<Session>,
    plan: Arc<Plan>,
}

impl Play {
    fn new(fault: Option<(usize, Way)>) -> Self {
        let clock = ManualClock::new(Timestamp::from_second(1_800_000_000).expect("in range"));
        let embedded = Embedded::new(Options::new(Arc::new(clock.clone())));
        let base = embedded.base();
        let path =
            WritePath::new(base.clone(), "default", Arc::new(clock.clone()), Access::writable());
        let user = path.client(Actor("user".into()));
        let plan = Arc::new(Plan { fault, ..Plan::default() });
        let mut play = Self { clock, embedded, user, session: None, plan };
        play.session = Some(play.open(faulty(base, play.plan.clone())));
        play
    }

    fn open(&self, base: Base) -> Session {
        let clock = Arc::new(self.clock.clone());
        Session::over(base, clock, self.embedded.clone(), EmbeddedOptions::default())
    }

    /// Lets everything happen that will; new controllers take over from dead
    /// ones.
    async fn calm(&mut self) {
        for _ in 0..20 {
            let before = self.embedded.revision();
            assert!(self.clock.settle(500).await, "it settles");
            if self.plan.dead.load(Ordering::SeqCst) && self.session.is_some() {
                self.restart();
            }
            // A round of resync.
            self.clock.advance(Duration::from_secs(16)).await;
            if !self.changed_since(before) {
                return;
            }
        }
        panic!("no calm in 20 rounds");
    }

    /// Whether anything but events was written.
    fn changed_since(&self, revision: u64) -> bool {
        let commits = self.embedded.commits_after(revision);
        commits.iter().any(|commit| commit.kind != kind::EVENT)
    }

    fn restart(&mut self) {
        self.plan.dead.store(false, Ordering::SeqCst);
        drop(self.session.take());
        self.session = Some(self.open(self.embedded.base()));
    }

    async fn write(&self, object: ObjectRef, subresource: Option<&'static str>, change: Change) {
        let write = Write {
            on_behalf_of: object.clone(),
            object,
            subresource,
            change,
            version: None,
            reason: Reason::new("user", "the story says so"),
        };
        match perform(&self.user, &write).await {
            Ok(_) | Err(WriteError::NotFound { .. }) => {}
            Err(error) => panic!("{error}"),
        }
    }

    async fn create(&mut self, kind: &'static Kind, mut object: Value) {
        object["apiVersion"] = kind.api_version().into();
        object["kind"] = kind.kind.into();
        let name = object["metadata"]["name"].as_str().expect("a name").to_owned();
        self.write(reference(kind, &name), None, Change::Create(object)).await;
        self.calm().await;
    }

    async fn delete(&mut self, kind: &'static Kind, name: &str) {
        self.write(reference(kind, name), None, Change::Delete(json!({}))).await;
        self.calm().await;
    }

    async fn get(&self, object: &ObjectRef) -> Option<Value> {
        let request = Request::get(object.path()).body(Vec::new()).expect("a request");
        self.user.request(request).await.ok()
    }

    async fn volume(&mut self, name: &str, size: &str, extra: Value) {
        let mut volume = json!({
            "metadata": {"name": name},
            "spec": {"capacity": {"storage": size}, "accessModes": ["ReadWriteOnce"],
                "storageClassName": "manual", "hostPath": {"path": format!("/srv/{name}")}},
        });
        merge(&mut volume["spec"], extra);
        self.create(kind::PERSISTENT_VOLUME, volume).await;
    }

    async fn claim(&mut self, name: &str, size: &str, extra: Value) {
        let mut claim = json!({
            "metadata": {"name": name, "namespace": "default"},
            "spec": {"accessModes": ["ReadWriteOnce"],
                "resources": {"requests": {"storage": size}}},
        });
        merge(&mut claim["spec"], extra);
        self.create(kind::PERSISTENT_VOLUME_CLAIM, claim).await;
    }

    /// The recycler's pod runs and ends well, as often as one is made.
    async fn run_recycler(&mut self, volume: &str) {
        let pod = reference(kind::POD, &format!("recycler-for-{volume}"));
        for _ in 0..10 {
            if self.get(&pod).await.is_none() {
                return;
            }
            let done = json!({"status": {"phase": "Succeeded"}});
            self.write(pod.clone(), Some("status"), Change::Merge(done)).await;
            self.calm().await;
        }
        panic!("the recycler pod is still there");
    }
}

fn merge(into: &mut Value, extra: Value) {
    if let (Value::Object(into), Value::Object(extra)) = (into, extra) {
        into.extend(extra);
    }
}

fn reference(kind: &'static Kind, name: &str) -> ObjectRef {
    let key = if kind.namespaced { Key::new("default", name) } else { Key::cluster(name) };
    ObjectRef::new(kind, key)
}

/// Binding in each direction, provisioning, the default class, reclaiming of
/// each kind.
async fn story(play: &mut Play) {
    play.calm().await;
    let class = |name: &str| {
        json!({"metadata": {"name": name}, "provisioner": "kubernetes.io/host-path",
            "reclaimPolicy": "Delete", "volumeBindingMode": "Immediate"})
    };
    play.create(kind::STORAGE_CLASS, class("std")).await;
    play.volume("pv-free", "5Gi", json!({})).await;
    play.claim("free", "1Gi", json!({"storageClassName": "manual"})).await;
    play.volume("pv-named", "2Gi", json!({})).await;
    play.claim("named", "1Gi", json!({"storageClassName": "manual", "volumeName": "pv-named"}))
        .await;
    let by_name = json!({"claimRef": {"namespace": "default", "name": "reserving"}});
    play.volume("pv-reserved", "3Gi", by_name).await;
    play.claim("reserving", "1Gi", json!({"storageClassName": "manual"})).await;
    play.claim("provisioned", "1Gi", json!({"storageClassName": "std"})).await;
    play.claim("classless", "1Gi", json!({})).await;
    let mark = "storageclass.kubernetes.io/is-default-class";
    let mark = json!({"metadata": {"annotations": {mark: "true"}}});
    play.write(reference(kind::STORAGE_CLASS, "std"), None, Change::Merge(mark)).await;
    play.calm().await;
    play.delete(kind::PERSISTENT_VOLUME_CLAIM, "free").await;
    play.delete(kind::PERSISTENT_VOLUME, "pv-free").await;
    play.delete(kind::PERSISTENT_VOLUME_CLAIM, "provisioned").await;
    let recycle = json!({"persistentVolumeReclaimPolicy": "Recycle"});
    play.volume("pv-recycled", "1Gi", recycle).await;
    play.claim("recycling", "1Gi", json!({"storageClassName": "manual"})).await;
    play.delete(kind::PERSISTENT_VOLUME_CLAIM, "recycling").await;
    play.run_recycler("pv-recycled").await;
    play.volume("pv-failing", "1Gi", json!({"persistentVolumeReclaimPolicy": "Delete"})).await;
    let wanted = json!({"storageClassName": "manual", "volumeName": "pv-failing"});
    play.claim("failing", "1Gi", wanted).await;
    play.delete(kind::PERSISTENT_VOLUME_CLAIM, "failing").await;
    // The volume goes first: the claim is Lost.
    play.delete(kind::PERSISTENT_VOLUME, "pv-named").await;
    let unprotect = json!({"metadata": {"finalizers": null}});
    play.write(reference(kind::PERSISTENT_VOLUME, "pv-named"), None, Change::Merge(unprotect))
        .await;
    play.calm().await;
}

/// Volumes, claims and pods at the end, without what differs from run to run.
fn ending(play: &Play) -> String {
    let mut objects: BTreeMap<(String, Key), Value> = BTreeMap::new();
    let mut uids = Vec::new();
    for commit in play.embedded.commits_after(0) {
        if ![kind::PERSISTENT_VOLUME, kind::PERSISTENT_VOLUME_CLAIM, kind::POD]
            .contains(&commit.kind)
        {
            continue;
        }
        let at = (commit.kind.plural.to_owned(), commit.key.clone());
        match commit.object_after() {
            Some(object) => {
                let uid = object["metadata"]["uid"].as_str().unwrap_or_default().to_owned();
                uids.push((uid, format!("<uid:{}>", commit.key.name)));
                objects.insert(at, object);
            }
            None => {
                objects.remove(&at);
            }
        }
    }
    let mut lines: Vec<String> = objects
        .into_iter()
        .map(|((plural, _), mut object)| {
            for field in ["resourceVersion", "creationTimestamp", "generation"] {
                object["metadata"].as_object_mut().expect("metadata").shift_remove(field);
            }
            for (part, field) in
                [("status", "lastPhaseTransitionTime"), ("metadata", "deletionTimestamp")]
            {
                if !object[part][field].is_null() {
                    object[part][field] = "<time>".into();
                }
            }
            if let Some(reference) = object["spec"]["claimRef"].as_object_mut() {
                reference.shift_remove("resourceVersion");
            }
            let path = object["spec"]["hostPath"]["path"].as_str().unwrap_or_default();
            if path.starts_with("/tmp/hostpath_pv/") {
                object["spec"]["hostPath"]["path"] = "/tmp/hostpath_pv/<handle>".into();
            }
            object.sort_all_objects();
            let mut line = format!("{plural} {object}");
            for (uid, token) in &uids {
                line = line.replace(uid.as_str(), token);
            }
            line
        })
        .collect();
    lines.sort();
    lines.join("\n")
}

/// What must hold at each revision: a claim marked as bound names a volume that
/// refers to it, or one that its admin has taken away.
fn sound_at_every_revision(play: &Play) -> Result<(), String> {
    let mut volumes: BTreeMap<Key, Value> = BTreeMap::new();
    let mut claims: BTreeMap<Key, Value> = BTreeMap::new();
    for commit in play.embedded.commits_after(0) {
        let table = match commit.kind {
            kind if kind == kind::PERSISTENT_VOLUME => &mut volumes,
            kind if kind == kind::PERSISTENT_VOLUME_CLAIM => &mut claims,
            _ => continue,
        };
        match commit.object_after() {
            Some(object) => table.insert(commit.key.clone(), object),
            None => table.remove(&commit.key),
        };
        let mut owners = BTreeMap::new();
        for (key, claim) in &claims {
            let bound = &claim["metadata"]["annotations"]["pv.kubernetes.io/bind-completed"];
            let name = claim["spec"]["volumeName"].as_str().unwrap_or_default();
            if bound.is_null() {
                continue;
            }
            if let Some(other) = owners.insert(name.to_owned(), key.clone()) {
                return Err(format!("{}: {key} and {other} have {name}", commit.revision));
            }
            let Some(volume) = volumes.get(&Key::cluster(name)) else { continue };
            if volume["spec"]["claimRef"]["uid"] != claim["metadata"]["uid"] {
                return Err(format!("{}: {name} does not refer to {key}", commit.revision));
            }
        }
    }
    Ok(())
}

/// Plays the story with one fault; the plan and the end.
fn play(fault: Option<(usize, Way)>) -> Result<(Arc<Plan>, String), String> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .start_paused(true)
        .build()
        .map_err(|error| error.to_string())?;
    runtime.block_on(async {
        let mut play = Play::new(fault);
        story(&mut play).await;
        sound_at_every_revision(&play)?;
        let end = ending(&play);
        let revision = play.embedded.revision();
        play.restart();
        play.calm().await;
        let left: Vec<_> = play.embedded.commits_after(revision);
        let left = left.iter().filter(|commit| commit.kind != kind::EVENT);
        let left: Vec<_> = left.map(|commit| format!("{} {}", commit.kind, commit.key)).collect();
        if !left.is_empty() {
            return Err(format!("not settled: {left:?}"));
        }
        Ok((play.plan.clone(), end))
    })
}

#[test]
fn a_crash_at_any_write_leads_to_the_same_end() {
    let (plan, wanted) = play(None).expect("the story without fault");
    let writes = plan.seen.load(Ordering::SeqCst);
    println!("{writes} writes, {} ways each; without fault they end as\n{wanted}", WAYS.len());
    assert!(writes > 40, "the story is told: {writes}");
    let cases: Vec<_> = (0..writes).flat_map(|at| WAYS.map(|way| (at, way))).collect();
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let shares: Vec<&[(usize, Way)]> = cases.chunks(cases.len().div_ceil(threads)).collect();
    let wanted = &wanted;
    let failed: Vec<String> = std::thread::scope(|scope| {
        let workers: Vec<_> = shares
            .iter()
            .map(|share| {
                scope.spawn(move || -> Vec<_> {
                    share.iter().filter_map(|case| check(*case, wanted)).collect()
                })
            })
            .collect();
        workers.into_iter().flat_map(|worker| worker.join().expect("a worker")).collect()
    });
    assert!(failed.is_empty(), "{} of {}:\n{}", failed.len(), writes * 4, failed.join("\n"));
}

/// Plays one fault; what is wrong about it.
fn check((at, way): (usize, Way), wanted: &str) -> Option<String> {
    let outcome = play(Some((at, way))).and_then(|(plan, end)| {
        let fired = plan.fired.lock().expect("the plan").clone();
        let fired = fired.ok_or("the fault did not fire")?;
        if end == wanted {
            return Ok(());
        }
        let differs = end.lines().zip(wanted.lines()).find(|(found, wanted)| found != wanted);
        Err(format!("at {fired}: the end differs: {differs:?}"))
    });
    outcome.err().map(|why| format!("write {at}, {way:?}: {why}"))
}
