//! Whatever happens to a set: its pods keep their order, its claims are never
//! lost, and once the world is calm it ends complete.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::super::because::Because;
use super::super::decide::{Memory, Next};
use super::super::set::{REVISION, parse_pod_name};
use super::World;
use crate::model::kind;
use crate::model::write::Change;

/// What happens from outside.
#[derive(Debug, Clone)]
enum Event {
    /// So many acts of the controller, then it is killed.
    Acts(usize),
    Ready(usize, bool),
    Fail(usize),
    DeletePod(usize),
    DeletionsEnd,
    Scale(i64),
    Start(i64),
    Template(u8),
    Partition(i64),
    Retain(bool),
    Seconds(i64),
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        4 => (1..8_usize).prop_map(Event::Acts),
        3 => (0..6_usize, any::<bool>()).prop_map(|(pod, ready)| Event::Ready(pod, ready)),
        1 => (0..6_usize).prop_map(Event::Fail),
        1 => (0..6_usize).prop_map(Event::DeletePod),
        3 => Just(Event::DeletionsEnd),
        1 => (0..5_i64).prop_map(Event::Scale),
        1 => (0..3_i64).prop_map(Event::Start),
        1 => (0..3_u8).prop_map(Event::Template),
        1 => (0..3_i64).prop_map(Event::Partition),
        1 => any::<bool>().prop_map(Event::Retain),
        1 => (1..20_i64).prop_map(Event::Seconds),
    ]
}

impl World {
    fn happen(&mut self, event: &Event) {
        let nth = |at: usize| self.pods.keys().nth(at).cloned();
        match event {
            Event::Acts(count) => self.some_acts(*count),
            Event::Ready(at, ready) => {
                if let Some(pod) = nth(*at) {
                    self.run(&pod, *ready);
                }
            }
            Event::Fail(at) => {
                if let Some(pod) = nth(*at) {
                    self.pods.entry(pod).and_modify(|pod| pod["status"]["phase"] = "Failed".into());
                }
            }
            Event::DeletePod(at) => {
                if let Some(pod) = nth(*at) {
                    let time = "2027-01-01T00:00:00Z";
                    self.pods
                        .entry(pod)
                        .and_modify(|pod| pod["metadata"]["deletionTimestamp"] = time.into());
                }
            }
            Event::DeletionsEnd => {
                self.finish_deletions();
            }
            Event::Scale(replicas) => self.set["spec"]["replicas"] = (*replicas).into(),
            Event::Start(start) => self.set["spec"]["ordinals"] = json!({"start": start}),
            Event::Template(image) => {
                self.set["spec"]["template"]["spec"]["image"] = (*image).into()
            }
            Event::Partition(partition) => {
                let rolling = json!({"type": "RollingUpdate",
                    "rollingUpdate": {"partition": partition}});
                self.set["spec"]["updateStrategy"] = rolling;
            }
            Event::Retain(retain) => {
                let policy = if *retain { "Retain" } else { "Delete" };
                self.set["spec"]["persistentVolumeClaimRetentionPolicy"] =
                    json!({"whenDeleted": policy, "whenScaled": "Retain"});
            }
            Event::Seconds(seconds) => self.now += seconds,
        }
    }

    /// A pass that ends after so many acts, each judged before it is done.
    fn some_acts(&mut self, count: usize) {
        let mut memory = Memory::default();
        for _ in 0..count {
            let Next::Act(act) = self.next(&memory) else { return };
            self.judge(&act.write.object.key.name, act.write.object.kind, &act.write.change);
            self.apply(&act, &mut memory);
        }
    }

    /// What no act may do.
    fn judge(&self, name: &str, kind: &kind::Kind, change: &Change) {
        let is_delete = matches!(change, Change::Delete(_));
        assert!(!(is_delete && *kind == *kind::PERSISTENT_VOLUME_CLAIM), "{name} is never deleted");
        if *kind != *kind::POD {
            return;
        }
        let (_, ordinal) = parse_pod_name(name).expect("a pod of the set");
        let ordered = self.set["spec"]["podManagementPolicy"] != "Parallel";
        let ready = |pod: &Value| {
            pod["status"]["phase"] == "Running"
                && pod["metadata"]["deletionTimestamp"].is_null()
                && pod["status"]["conditions"][0]["status"] == "True"
        };
        let start = self.set["spec"]["ordinals"]["start"].as_i64().unwrap_or(0);
        if matches!(change, Change::Create(_)) {
            assert!(!self.pods.contains_key(name), "{name} is there");
            assert!(self.claims.contains_key(&format!("data-{name}")), "{name} has its claim");
            for lower in (start..ordinal).filter(|_| ordered) {
                let pod = self.pods.get(&format!("web-{lower}"));
                assert!(pod.is_some_and(ready), "web-{lower} is ready before {name} comes");
            }
        }
        if is_delete && ordered {
            let terminating = self.pods.iter().find(|(other, pod)| {
                !pod["metadata"]["deletionTimestamp"].is_null() && other.as_str() != name
            });
            // A pod that ended is replaced at once, whatever else goes on.
            let ended = self.pods[name]["status"]["phase"] == "Failed";
            let above = terminating.filter(|_| !ended).map(|(other, _)| other);
            let end = start + self.set["spec"]["replicas"].as_i64().unwrap_or(1);
            let in_range = |other: &&String| {
                parse_pod_name(other).is_some_and(|(_, n)| (start..end).contains(&n))
            };
            assert_eq!(above.filter(in_range), None, "{name} goes while another is going");
        }
    }
}

fn check(parallel: bool, events: &[Event]) {
    let policy = if parallel { "Parallel" } else { "OrderedReady" };
    let mut world = World::new(json!({"replicas": 2, "podManagementPolicy": policy,
        "minReadySeconds": 5}));
    for event in events {
        let claims: Vec<String> = world.claims.keys().cloned().collect();
        world.happen(event);
        assert!(claims.iter().all(|claim| world.claims.contains_key(claim)), "no claim is lost");
    }
    // Calm: whoever is broken gets well.
    for _ in 0..60 {
        world.settle();
        world.now += 10;
        let broken: Vec<String> = world.pods.keys().cloned().collect();
        broken.iter().for_each(|pod| world.run(pod, true));
        world.now += 10;
    }
    assert_eq!(world.settle(), Because::Complete);
    let start = world.set["spec"]["ordinals"]["start"].as_i64().unwrap_or(0);
    let replicas = world.set["spec"]["replicas"].as_i64().unwrap_or(1);
    let expected: Vec<String> = (start..start + replicas).map(|n| format!("web-{n}")).collect();
    assert_eq!(world.pods.keys().cloned().collect::<Vec<_>>(), expected);
    let rolling = &world.set["spec"]["updateStrategy"]["rollingUpdate"];
    let partition = rolling["partition"].as_i64().unwrap_or(0);
    let newest = &world.set["status"]["updateRevision"];
    for (name, pod) in &world.pods {
        let (_, ordinal) = parse_pod_name(name).expect("a pod of the set");
        let at = &pod["metadata"]["labels"][REVISION];
        assert!(ordinal - start < partition || at == newest, "{name} is at {at}, not {newest}");
    }
    assert_eq!(world.set["status"]["readyReplicas"], replicas);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn ordered_sets_keep_their_order_and_their_claims(
        events in prop::collection::vec(event(), 0..40),
    ) {
        check(false, &events);
    }

    #[test]
    fn parallel_sets_keep_their_claims_and_end_complete(
        events in prop::collection::vec(event(), 0..40),
    ) {
        check(true, &events);
    }
}
