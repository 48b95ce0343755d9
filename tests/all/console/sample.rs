//! A cluster to look at: the same objects, times and uids each time.

use pvdeck::cluster::write_path::journal::{Entry, Outcome};
use pvdeck::cluster::write_path::step_gate::{Held, Mode};
use pvdeck::mirror::freshness::Freshness;
use pvdeck::mirror::{Mirror, Mirrored};
use pvdeck::model::claim::Claim;
use pvdeck::model::class::StorageClass;
use pvdeck::model::csi::CsiNode;
use pvdeck::model::event::Event;
use pvdeck::model::kind;
use pvdeck::model::namespace::Namespace;
use pvdeck::model::node::Node;
use pvdeck::model::object::{Key, ObjectRef};
use pvdeck::model::pod::Pod;
use pvdeck::model::volume::Volume;
use pvdeck::model::write::{Actor, Change, Reason, Write};
use pvdeck::ui::data::{Access, ControllerFacts, Data, Look, SessionFacts, Stepping};
use pvdeck::ui::message::{Effect, Message};
use pvdeck::ui::state::{State, TableId};
use pvdeck::ui::terminal::input::Decoder;
use pvdeck::ui::text::Glyphs;
use pvdeck::ui::theme::Theme;
use pvdeck::ui::update::{settle_anew, update};
use serde_json::{Value, json};

/// The cluster's present: 2026-11-21 09:41:07 UTC.
pub const NOW: i64 = 1_795_254_067;

/// A console in a test: state and data, driven by keys.
pub struct Console {
    pub state: State,
    pub data: Data,
    pub effects: Vec<Effect>,
    pub now_ms: u64,
}

impl Console {
    /// A console that looks at a mirror.
    pub fn over(mirror: Mirror, width: u16, height: u16, theme: &str) -> Self {
        let session = SessionFacts {
            context: "prod-eu".into(),
            live: true,
            access: Access::ReadOnly,
            contexts: vec!["demo".into(), "prod-eu".into(), "staging".into()],
            themes: vec!["dark".into(), "mono".into()],
            refused: Vec::new(),
        };
        let theme = Theme::built_in(theme).expect("a theme");
        let look = Look { theme, glyphs: Glyphs::Unicode };
        let mut data = Data::new(mirror, session, look);
        data.now = NOW;
        data.heard = Some(NOW);
        data.rebuild();
        let state = State::new(width, height, TableId::Overview);
        // What the first frame has seen is no news.
        data.absorb_awaiting(0);
        let mut console = Self { state, data, effects: Vec::new(), now_ms: 1_000 };
        console.tell(Message::Changed);
        console
    }

    /// The sample cluster.
    pub fn sample(width: u16, height: u16, theme: &str) -> Self {
        Self::over(mirror(), width, height, theme)
    }

    /// One message, as the shell gives it.
    pub fn tell(&mut self, message: Message) {
        self.now_ms += 1;
        let effects = update(&mut self.state, &self.data, message, self.now_ms);
        for effect in effects {
            if matches!(effect, Effect::Relens(_)) {
                self.data.follow(&self.state);
                settle_anew(&mut self.state, &self.data);
            }
            self.effects.push(effect);
        }
        // As the shell does before each frame.
        self.data.follow(&self.state);
        self.data.find_reasons(&self.state);
    }

    /// Bytes as the terminal sends them.
    pub fn press(&mut self, bytes: &str) -> &mut Self {
        let mut decoder = Decoder::default();
        let mut inputs = decoder.feed(bytes.as_bytes());
        inputs.extend(decoder.give_up_waiting());
        for input in inputs {
            self.tell(Message::Input(input));
        }
        self
    }

    /// Lets time pass, without anything happening.
    pub fn wait(&mut self, ms: u64) -> &mut Self {
        self.now_ms += ms;
        self.tell(Message::Tick);
        self
    }

    /// A change of one object, as the mirror tells it.
    pub fn apply<R: Mirrored>(&mut self, object: Value) -> &mut Self {
        let row = R::from_object(&object).expect("a row");
        let key = row.meta().key.clone();
        self.data.mirror.apply(row);
        self.data.absorb(&[ObjectRef::new(R::KIND, key)].into(), self.now_ms);
        self.tell(Message::Changed);
        self
    }

    /// The object under the cursor goes away.
    pub fn remove<R: Mirrored>(&mut self, key: Key) -> &mut Self {
        let uid = self
            .data
            .mirror
            .read(|tables| R::table(tables).get(&key).map(|row| row.meta().uid.clone()));
        self.data.mirror.remove::<R>(&key, &uid.expect("is there"), u64::MAX);
        self.data.absorb(&[ObjectRef::new(R::KIND, key)].into(), self.now_ms);
        self.tell(Message::Changed);
        self
    }

    /// The name of the object under the cursor.
    pub fn under_cursor(&self) -> String {
        self.data.target(&self.state).map_or("-".into(), |target| target.name)
    }

    /// Writes are allowed and can be stepped.
    pub fn writable(mut self) -> Self {
        self.data.session.access = Access::Writable;
        self.data.session.live = false;
        self.data.session.context = "demo".into();
        self
    }
}

fn at(seconds_ago: i64) -> String {
    jiff::Timestamp::from_second(NOW - seconds_ago).expect("a time").to_string()
}

fn meta(namespace: &str, name: &str, version: u64, seconds_ago: i64) -> Value {
    json!({"namespace": namespace, "name": name, "uid": format!("uid-{namespace}-{name}"),
        "resourceVersion": version.to_string(), "creationTimestamp": at(seconds_ago)})
}

/// A claim as the API gives it.
#[expect(clippy::too_many_arguments, reason = "a row of the sample reads best in one line")]
pub fn claim(
    namespace: &str,
    name: &str,
    version: u64,
    age: i64,
    phase: &str,
    size: &str,
    class: &str,
    volume: &str,
) -> Value {
    let mut object = json!({
        "apiVersion": "v1", "kind": "PersistentVolumeClaim",
        "metadata": meta(namespace, name, version, age),
        "spec": {"accessModes": ["ReadWriteOnce"], "storageClassName": class,
            "resources": {"requests": {"storage": size}}},
        "status": {"phase": phase},
    });
    if !volume.is_empty() {
        object["spec"]["volumeName"] = volume.into();
    }
    if phase == "Bound" {
        object["status"]["capacity"] = json!({"storage": size});
        object["status"]["accessModes"] = json!(["ReadWriteOnce"]);
    }
    object
}

/// A volume as the API gives it.
pub fn volume(
    name: &str,
    version: u64,
    phase: &str,
    size: &str,
    class: &str,
    policy: &str,
    claim: Option<(&str, &str, &str)>,
) -> Value {
    let mut object = json!({
        "apiVersion": "v1", "kind": "PersistentVolume",
        "metadata": meta("", name, version, 86_400 * 12),
        "spec": {"accessModes": ["ReadWriteOnce"], "storageClassName": class,
            "capacity": {"storage": size}, "persistentVolumeReclaimPolicy": policy,
            "nfs": {"server": "nfs.example", "path": format!("/exports/{name}")}},
        "status": {"phase": phase},
    });
    if let Some((namespace, claim, uid)) = claim {
        object["spec"]["claimRef"] = json!({"namespace": namespace, "name": claim, "uid": uid});
    }
    object
}

fn class(name: &str, provisioner: &str, mode: &str) -> Value {
    json!({"metadata": meta("", name, 10, 86_400 * 90), "provisioner": provisioner,
        "reclaimPolicy": "Delete", "volumeBindingMode": mode, "allowVolumeExpansion": true})
}

fn pod(namespace: &str, name: &str, claim: &str, node: &str, phase: &str) -> Value {
    json!({"metadata": meta(namespace, name, 40, 86_400), "spec": {"nodeName": node,
        "volumes": [{"name": "data", "persistentVolumeClaim": {"claimName": claim}}]},
        "status": {"phase": phase}})
}

fn event(name: &str, uid: &str, about: &str, kind: &str, reason: &str, message: &str) -> Value {
    json!({"metadata": meta("shop", name, 50, 60), "type": kind, "reason": reason,
        "message": message, "count": 3, "firstTimestamp": at(240), "lastTimestamp": at(12),
        "source": {"component": "persistentvolume-controller"},
        "involvedObject": {"kind": "PersistentVolumeClaim", "namespace": "shop", "name": about, "uid": uid}})
}

/// The sample cluster's rows.
pub fn mirror() -> Mirror {
    let mirror = Mirror::default();
    fn put<R: Mirrored>(mirror: &Mirror, objects: Vec<Value>) {
        for object in objects {
            mirror.apply(R::from_object(&object).expect("a row"));
        }
        mirror.set_freshness(R::KIND, Freshness::Live);
    }
    let mut terminating =
        claim("shop", "data-mysql-2", 23, 86_400 * 12, "Bound", "20Gi", "fast", "pvc-91aa41");
    terminating["metadata"]["deletionTimestamp"] = at(300).into();
    terminating["metadata"]["finalizers"] = json!(["kubernetes.io/pvc-protection"]);
    put::<Claim>(
        &mirror,
        vec![
            claim("shop", "data-mysql-0", 21, 252, "Pending", "20Gi", "fast", ""),
            claim("shop", "data-mysql-1", 22, 86_400 * 12, "Bound", "20Gi", "fast", "pvc-7c1f0e"),
            terminating,
            claim("web", "assets", 24, 86_400 * 2, "Pending", "5Gi", "manual", ""),
            claim("web", "registry", 25, 86_400 * 90, "Bound", "1Gi", "manual", "nfs-registry"),
            claim("web", "old-site", 26, 86_400 * 30, "Lost", "2Gi", "manual", "nfs-gone"),
            claim("dev", "cache", 27, 8, "Pending", "1Gi", "local", ""),
        ],
    );
    put::<Volume>(
        &mirror,
        vec![
            volume(
                "nfs-registry",
                31,
                "Bound",
                "1Gi",
                "manual",
                "Retain",
                Some(("web", "registry", "uid-web-registry")),
            ),
            volume("pv-01", 32, "Available", "1Gi", "manual", "Retain", None),
            volume("pv-02", 33, "Available", "10Gi", "slow", "Retain", None),
            volume(
                "pv-05",
                34,
                "Released",
                "10Gi",
                "manual",
                "Retain",
                Some(("web", "assets", "uid-old")),
            ),
            volume(
                "pvc-7c1f0e",
                35,
                "Bound",
                "20Gi",
                "fast",
                "Delete",
                Some(("shop", "data-mysql-1", "uid-shop-data-mysql-1")),
            ),
            volume(
                "pvc-91aa41",
                36,
                "Bound",
                "20Gi",
                "fast",
                "Delete",
                Some(("shop", "data-mysql-2", "uid-shop-data-mysql-2")),
            ),
        ],
    );
    put::<StorageClass>(
        &mirror,
        vec![
            class("fast", "csi.fast.io", "Immediate"),
            class("local", "kubernetes.io/no-provisioner", "WaitForFirstConsumer"),
        ],
    );
    put::<Pod>(
        &mirror,
        vec![
            pod("shop", "mysql-0", "data-mysql-0", "", "Pending"),
            pod("shop", "mysql-1", "data-mysql-1", "node-1", "Running"),
            pod("shop", "mysql-2", "data-mysql-2", "node-2", "Running"),
        ],
    );
    let ready = json!([{"type": "Ready", "status": "True", "lastTransitionTime": at(90_000)}]);
    put::<Node>(
        &mirror,
        ["node-1", "node-2"]
            .map(|name| {
                json!({"metadata": meta("", name, 45, 86_400 * 90), "spec": {}, "status": {
                    "conditions": ready, "nodeInfo": {"kubeletVersion": "v1.36.2"}}})
            })
            .into(),
    );
    put::<CsiNode>(
        &mirror,
        vec![json!({"metadata": meta("", "node-1", 46, 100), "spec": {"drivers": []}})],
    );
    put::<Namespace>(
        &mirror,
        ["dev", "shop", "web"]
            .map(|name| json!({"metadata": meta("", name, 5, 86_400 * 90)}))
            .into(),
    );
    put::<Event>(
        &mirror,
        vec![
            event(
                "data-mysql-0.1",
                "uid-shop-data-mysql-0",
                "data-mysql-0",
                "Normal",
                "ExternalProvisioning",
                "Waiting for a volume to be created either by the external provisioner 'csi.fast.io' or manually by the system administrator.",
            ),
            event(
                "data-mysql-2.1",
                "uid-shop-data-mysql-2",
                "data-mysql-2",
                "Warning",
                "FailedBinding",
                "something is wrong",
            ),
        ],
    );
    mirror
}

fn write(kind: &'static kind::Kind, key: Key, change: Change, rule: &str, why: &str) -> Write {
    let object = ObjectRef::new(kind, key);
    Write {
        object: object.clone(),
        subresource: None,
        change,
        version: Some(40),
        on_behalf_of: object,
        reason: Reason::new(rule, why),
    }
}

/// A paused demo with held writes, a journal and controllers.
pub fn stepping(console: &mut Console) {
    let reserve = write(
        kind::PERSISTENT_VOLUME,
        Key::cluster("pv-02"),
        Change::Merge(
            json!({"spec": {"claimRef": {"namespace": "web", "name": "assets", "uid": "5f1c"}}}),
        ),
        "C1",
        "assets wants 5Gi RWO of class manual; pv-02 (10Gi) is the smallest that fits",
    );
    let status = write(
        kind::PERSISTENT_VOLUME_CLAIM,
        Key::new("dev", "cache"),
        Change::Merge(json!({"status": {"phase": "Pending"}})),
        "C3",
        "class local waits for the first pod",
    );
    let actor = Actor("persistent-volume-binder".into());
    let held = |id, write: &Write| Held {
        id,
        actor: actor.clone(),
        write: write.clone().into(),
        instead_of: None,
    };
    console.data.stepping = Some(Stepping {
        mode: Mode::Shut { permits: 0 },
        held: vec![held(1, &reserve), held(2, &status)],
    });
    let entry = |number: u64, seconds_ago, write: &Write, outcome| Entry {
        number,
        time: jiff::Timestamp::from_second(NOW - seconds_ago).expect("a time"),
        actor: actor.clone(),
        write: write.clone().into(),
        outcome,
    };
    let message = "the object has been modified".into();
    console.data.journal = vec![
        entry(0, 30, &status, Outcome::Done { uid: "uid-dev-cache".into(), version: 38 }),
        entry(1, 20, &reserve, Outcome::Refused { code: 409, message }),
        entry(2, 10, &reserve, Outcome::Pending),
    ];
    console.data.controllers = vec![
        ControllerFacts {
            name: "persistentvolume-binder-controller".into(),
            state: "running".into(),
            queued: 2,
            writes: 17,
            ..ControllerFacts::default()
        },
        ControllerFacts {
            name: "persistentvolumeclaim-protection-controller".into(),
            state: "DEAD: it panicked".into(),
            faulty: true,
            last_error: Some("persistentvolumeclaim/shop/data-mysql-2: no answer".into()),
            ..ControllerFacts::default()
        },
    ];
    console.tell(Message::Changed);
}
