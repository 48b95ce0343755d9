//! Nodes that fall silent, come back, are cordoned, tainted, deleted and made
//! anew, in any order: pods leave only where they have to, and in the end all is
//! as if nothing had been.

use std::collections::BTreeMap;
use std::time::Duration;

use proptest::prelude::*;
use pvdeck::model::clock::Clock;
use pvdeck::model::kind;
use pvdeck::model::object::ObjectRef;
use serde_json::{Value, json};

use super::{condition, node_by_hand, taints};
use crate::by_hand::reference;
use crate::schedules::Schedules;
use crate::world::World;

/// Nodes made by hand; two more have agents and always live.
const NODES: usize = 3;
const PODS_MAX: usize = 6;

#[derive(Debug, Clone, Copy)]
enum Event {
    Silent(usize),
    Back(usize),
    Cordon(usize, bool),
    OutOfService(usize, bool),
    Delete(usize),
    Make(usize),
    /// A pod that tolerates its node's end for so many seconds.
    Pod(usize, u64),
    Seconds(u64),
}

fn event() -> impl Strategy<Value = Event> {
    let which = 0..NODES;
    prop_oneof![
        2 => which.clone().prop_map(Event::Silent),
        2 => which.clone().prop_map(Event::Back),
        1 => (which.clone(), any::<bool>()).prop_map(|(node, on)| Event::Cordon(node, on)),
        1 => (which.clone(), any::<bool>()).prop_map(|(node, on)| Event::OutOfService(node, on)),
        1 => which.clone().prop_map(Event::Delete),
        1 => which.clone().prop_map(Event::Make),
        3 => (which, prop_oneof![Just(0), Just(20), Just(100)])
            .prop_map(|(node, seconds)| Event::Pod(node, seconds)),
        4 => prop_oneof![Just(10), Just(30), Just(70)].prop_map(Event::Seconds),
    ]
}

fn name(node: usize) -> String {
    format!("hand-{node}")
}

#[derive(Default)]
struct Node {
    exists: bool,
    is_alive: bool,
    is_cordoned: bool,
    is_out: bool,
}

struct Play {
    world: World,
    nodes: Vec<Node>,
    pods: usize,
}

impl Play {
    async fn happen(&mut self, event: Event) {
        let world = &self.world;
        match event {
            Event::Silent(node) => self.nodes[node].is_alive = false,
            Event::Back(node) => self.nodes[node].is_alive = true,
            Event::Cordon(node, on) if self.nodes[node].exists => {
                self.nodes[node].is_cordoned = on;
                let spec =
                    json!({"spec": {"unschedulable": if on { json!(true) } else { Value::Null }}});
                world.merge(&self.reference(node), spec).await;
            }
            Event::OutOfService(node, on)
                if self.nodes[node].exists && self.nodes[node].is_out != on =>
            {
                self.nodes[node].is_out = on;
                let key = "node.kubernetes.io/out-of-service";
                let held = world.get(&self.reference(node)).await.unwrap_or_default();
                let mut taints = held["spec"]["taints"].as_array().cloned().unwrap_or_default();
                taints.retain(|taint| taint["key"] != key);
                if on {
                    taints.push(json!({"key": key, "effect": "NoExecute"}));
                }
                // A list of taints is replaced as a whole.
                let spec = json!({"spec": {"taints": taints}});
                world.merge(&self.reference(node), spec).await;
            }
            Event::Delete(node) if self.nodes[node].exists => {
                world.delete(&self.reference(node)).await;
                self.nodes[node] = Node::default();
            }
            Event::Make(node) if !self.nodes[node].exists => {
                node_by_hand(world, &name(node)).await;
                self.nodes[node] = Node { exists: true, is_alive: true, ..Node::default() };
            }
            Event::Pod(node, seconds) if self.pods < PODS_MAX => {
                self.pods += 1;
                pod(world, &format!("pod-{}", self.pods), &name(node), seconds).await;
            }
            Event::Seconds(seconds) => self.seconds(seconds).await,
            Event::Cordon(..)
            | Event::OutOfService(..)
            | Event::Delete(_)
            | Event::Make(_)
            | Event::Pod(..) => {}
        }
    }

    fn reference(&self, node: usize) -> ObjectRef {
        reference(kind::NODE, &name(node))
    }

    /// Time passes; live nodes report every ten seconds.
    async fn seconds(&self, seconds: u64) {
        for _ in 0..seconds.div_ceil(10) {
            for (at, node) in self.nodes.iter().enumerate() {
                if node.exists && node.is_alive {
                    let now = self.world.clock.now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
                    let ready = json!([{"type": "Ready", "status": "True",
                        "lastHeartbeatTime": now}]);
                    let status = json!({"conditions": ready});
                    self.world.patch_status(&self.reference(at), status).await;
                }
            }
            self.world.clock.advance(Duration::from_secs(10)).await;
        }
    }

    /// All nodes live again: nothing is left of what was.
    async fn end(mut self) {
        for node in 0..NODES {
            self.happen(Event::Make(node)).await;
            self.happen(Event::Back(node)).await;
            self.happen(Event::OutOfService(node, false)).await;
        }
        self.seconds(60).await;
        for (at, node) in self.nodes.iter().enumerate() {
            let found = self.world.get(&self.reference(at)).await.expect("a node");
            assert_eq!(condition(&found, "Ready")["status"], "True", "{found}");
            let cordoned = if node.is_cordoned { vec!["unschedulable:NoSchedule"] } else { vec![] };
            assert_eq!(taints(&found), cordoned, "{}", name(at));
        }
    }
}

/// A pod on a node, by hand, whether the node is there or not.
async fn pod(world: &World, name: &str, node: &str, seconds: u64) {
    let tolerates = |key: &str| {
        json!({"key": format!("node.kubernetes.io/{key}"), "operator": "Exists",
            "effect": "NoExecute", "tolerationSeconds": seconds})
    };
    let spec = json!({"nodeName": node, "containers": [{"name": "main", "image": "i"}],
        "tolerations": [tolerates("unreachable"), tolerates("not-ready")]});
    world.create(kind::POD, json!({"metadata": {"name": name}, "spec": spec})).await;
    let ready = json!({"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]});
    world.patch_status(&reference(kind::POD, name), ready).await;
}

/// Nobody leaves a node that is in order, and nobody is gone whose node may
/// still run it.
fn judge(world: &World) {
    let mut nodes: BTreeMap<String, Value> = BTreeMap::new();
    for commit in world.commits_after(0) {
        let Some(any) = commit.after.as_ref().or(commit.before.as_ref()) else { continue };
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let called = text(&any["metadata"]["name"]);
        if any["kind"] == "Node" {
            match commit.after {
                Some(node) => drop(nodes.insert(called, node)),
                None => drop(nodes.remove(&called)),
            }
        } else if any["kind"] == "Pod" {
            let Some(node) = nodes.get(&text(&any["spec"]["nodeName"])) else { continue };
            let taints = taints(node);
            let is_going = |pod: &Value| pod["metadata"]["deletionTimestamp"].is_string();
            let before = commit.before.as_ref().is_some_and(is_going);
            if commit.after.as_ref().is_some_and(is_going) && !before {
                let evicts = taints.iter().any(|taint| taint.ends_with(":NoExecute"));
                assert!(evicts, "{}: {called} had no need to leave {taints:?}", commit.revision);
            }
            if commit.after.is_none() {
                let out = taints.iter().any(|taint| taint.starts_with("out-of-service"));
                let silent = condition(node, "Ready")["status"] != "True";
                assert!(out && silent, "{}: {called} is gone, {taints:?}", commit.revision);
            }
        }
    }
}

fn check(events: &[Event]) -> Result<(), String> {
    World::run(async |world| {
        let nodes = (0..NODES).map(|_| Node::default()).collect();
        let mut play = Play { world, nodes, pods: 0 };
        for node in 0..NODES {
            play.happen(Event::Make(node)).await;
        }
        for event in events {
            play.happen(*event).await;
        }
        judge(&play.world);
        play.end().await;
    });
    Ok(())
}

#[test]
fn pods_leave_only_where_they_have_to() {
    let events = proptest::collection::vec(event(), 5..25);
    Schedules { cases: 10, cases_long: 300, shrinks_max: 200 }
        .play(&events, |events| check(events))
        .unwrap_or_else(|why| panic!("{why}"));
}
