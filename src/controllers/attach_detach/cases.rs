//! Tables of the pure decisions, in the order of the rules.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::controllers::attach_detach::actual::ActualState;
use crate::controllers::attach_detach::because::{Because, Force};
use crate::controllers::attach_detach::decide::{
    NEW_WISH_WAIT, REPORT_WAIT, Standing, Step, UNMOUNT_WAIT_MAX, Verdict, View, decide, standing,
};
use crate::controllers::attach_detach::desired::DesiredState;
use crate::controllers::attach_detach::operations::{Doing, NotNow, OperationKey, Operations};
use crate::controllers::attach_detach::volume::{AttachableVolume, AttachedBy, CsiVolume};
use crate::model::node::Node;
use crate::model::object::Key;
use crate::model::row::Row;

fn text(text: &str) -> Arc<str> {
    text.into()
}

fn at(seconds: u64) -> Timestamp {
    Timestamp::from_second(1_800_000_000).expect("in range") + Duration::from_secs(seconds)
}

fn volume(name: &str, shared: bool) -> Arc<AttachableVolume> {
    let by = AttachedBy::Csi(CsiVolume { driver: "d".into(), handle: name.into() });
    Arc::new(AttachableVolume { name: name.into(), shared, by })
}

/// A world of a few nodes and volumes, told in calls.
#[derive(Default)]
struct World {
    desired: DesiredState,
    actual: ActualState,
    operations: Operations,
    nodes: BTreeMap<&'static str, Value>,
    untold_since: Option<Timestamp>,
    now: u64,
}

impl World {
    /// Nodes that are managed and Ready, and use nothing.
    fn new(nodes: &[&'static str]) -> Self {
        let mut world = Self::default();
        for node in nodes {
            let ready = json!([{"type": "Ready", "status": "True"}]);
            let object = json!({"metadata": {"name": node}, "status": {"conditions": ready}});
            world.nodes.insert(node, object);
            world.desired.manage(&text(node));
        }
        world
    }

    fn wants(mut self, node: &str, name: &str, pod: &str) -> Self {
        self.want(node, volume(name, false), pod);
        self
    }

    fn want(&mut self, node: &str, volume: Arc<AttachableVolume>, pod: &str) {
        let key = Key::new("shop", pod);
        self.desired.begin_pod(&key, &text(pod), &text(node));
        self.desired.add(&key, &volume.name, &volume.name, &volume);
    }

    fn has(mut self, node: &str, name: &str) -> Self {
        self.have(node, volume(name, false));
        self
    }

    /// Attached and told, and the node has said that it uses nothing.
    fn have(&mut self, node: &str, volume: Arc<AttachableVolume>) {
        self.actual.mark_attached(&volume.name, Some(&volume), &text(node), "/dev/x".into());
        self.actual.set_in_use(&text(node), &[]);
        let entry = json!({"name": &*volume.name, "devicePath": "/dev/x"});
        let told = &mut self.nodes.get_mut(node).expect("a node")["status"]["volumesAttached"];
        match told.as_array_mut() {
            Some(told) => told.push(entry),
            None => *told = json!([entry]),
        }
    }

    /// As after the write that takes it off the node's list.
    fn taken_off(mut self, node: &str, name: &str) -> Self {
        self.actual.report(name, node, false);
        let told = &mut self.nodes.get_mut(node).expect("a node")["status"]["volumesAttached"];
        told.as_array_mut().expect("a list").retain(|entry| entry["name"] != name);
        self
    }

    fn view<T>(&self, node: &str, look: impl FnOnce(&View<'_>) -> T) -> T {
        let name = text(node);
        let row = self.nodes.get(node).map(|object| Node::from_object(object).expect("a node"));
        look(&View {
            desired: &self.desired,
            actual: &self.actual,
            operations: &self.operations,
            name: &name,
            node: row.as_ref(),
            untold_since: self.untold_since,
            force_detach: true,
            now: at(self.now),
        })
    }

    fn decide(&self, node: &str) -> Verdict {
        self.view(node, decide)
    }

    #[track_caller]
    fn check(&self, node: &str, expected: Step) {
        assert_eq!(self.decide(node).step, expected);
    }

    fn key(&self, node: &str, name: &str) -> OperationKey {
        OperationKey::new(&text(name), &text(node), false)
    }

    fn start(&mut self, node: &str, name: &str, doing: Doing) {
        let key = self.key(node, name);
        self.operations.start(&key, &text(node), doing, at(self.now));
    }

    fn finish(&mut self, node: &str, name: &str, error: Option<&str>) {
        let key = self.key(node, name);
        self.operations.finish(&key, error, at(self.now));
    }
}

fn attach(name: &str) -> Step {
    Step::Attach { volume: name.into() }
}

fn take_off(name: &str) -> Step {
    Step::TakeOff { volume: name.into() }
}

fn detach(name: &str) -> Step {
    Step::Detach { volume: name.into(), verify: true }
}

#[test]
fn a_volume_is_attached_where_a_pod_is_and_then_told_to_the_node() {
    let mut world = World::new(&["a"]).wants("a", "v", "p");
    let verdict = world.decide("a");
    assert_eq!(verdict.step, attach("v"));
    assert_eq!(verdict.because.to_string(), "pod shop/p was put on a and uses v");
    world.start("a", "v", Doing::Attach);
    world.check("a", Step::Rest);
    let v = volume("v", false);
    world.actual.mark_attached(&text("v"), Some(&v), &text("a"), "/dev/x".into());
    // The record ends after the state has changed: what is running comes first.
    assert_eq!(world.view("a", |view| standing(view, &text("v"))), Some(Standing::Busy));
    world.finish("a", "v", None);
    let verdict = world.decide("a");
    assert_eq!(verdict.step, Step::Report);
    assert_eq!(verdict.because.to_string(), "v is attached");
    world.have("a", v);
    world.check("a", Step::Rest);
}

#[test]
fn a_node_is_told_of_several_volumes_together_but_does_not_wait_long() {
    let mut world = World::new(&["a"]).wants("a", "v", "p").wants("a", "w", "p");
    let attached = |world: &mut World, name: &str| {
        let volume = volume(name, false);
        world.actual.mark_attached(&text(name), Some(&volume), &text("a"), "/dev/x".into());
        world.finish("a", name, None);
    };
    world.start("a", "v", Doing::Attach);
    world.start("a", "w", Doing::Attach);
    attached(&mut world, "v");
    world.untold_since = Some(at(0));
    let verdict = world.decide("a");
    assert_eq!((verdict.step, verdict.again_at), (Step::Rest, Some(at(0) + REPORT_WAIT)));
    world.now = 1;
    world.check("a", Step::Report);
    world.now = 0;
    attached(&mut world, "w");
    let verdict = world.decide("a");
    assert_eq!(verdict.step, Step::Report, "nothing more is on its way");
    assert_eq!(verdict.because.to_string(), "v, w are attached");
}

#[test]
fn a_new_wish_is_looked_at_a_moment_later_and_one_timer_does_for_all() {
    let mut world = World::new(&["a", "b"]).has("b", "w").wants("a", "v", "p").wants("a", "w", "p");
    world.desired.note_wishes("a", at(0));
    let until = at(0) + NEW_WISH_WAIT;
    assert_eq!(world.view("a", |view| standing(view, &text("v"))), Some(Standing::New { until }));
    let verdict = world.decide("a");
    assert_eq!((verdict.step, verdict.again_at), (Step::Rest, Some(until)));
    // A pod more that wants the same is no new wish.
    world.now = 1;
    world.want("a", volume("v", false), "q");
    world.desired.note_wishes("a", at(1));
    world.check("a", attach("v"));
    world.start("a", "v", Doing::Attach);
    world.check("a", Step::RefuseMultiAttach { volume: text("w") });
    // It begins anew once nobody has wanted it.
    world.finish("a", "v", None);
    for pod in ["p", "q"] {
        world.desired.remove_pod(&Key::new("shop", pod));
    }
    world.want("a", volume("v", false), "r");
    world.desired.note_wishes("a", at(1));
    world.check("a", Step::Rest);
    // What is attached already is wanted without a wait.
    let mut world = World::new(&["a"]).has("a", "v").wants("a", "v", "p");
    world.desired.note_wishes("a", at(0));
    assert_eq!(world.view("a", |view| standing(view, &text("v"))), Some(Standing::Attached));
}

#[test]
fn a_volume_leaves_the_nodes_list_before_it_is_detached() {
    let world = World::new(&["a"]).has("a", "v");
    let verdict = world.decide("a");
    assert_eq!(verdict.step, take_off("v"));
    assert_eq!(verdict.because.to_string(), "no pod on a wants v any more");
    let mut world = world.taken_off("a", "v");
    world.check("a", detach("v"));
    // One that still stands there, whoever wrote it, is taken off first.
    world.nodes.get_mut("a").expect("a node")["status"]["volumesAttached"] =
        json!([{"name": "v", "devicePath": ""}]);
    world.check("a", take_off("v"));
    // A node that is gone reads nothing.
    world.actual.report("v", "a", true);
    world.nodes.remove("a");
    world.check("a", detach("v"));
}

/// The table of section 6.1: node, in use, seconds waited, what comes of it.
#[test]
fn a_volume_in_use_is_detached_only_by_force() {
    let ready = |status: &'static str| json!([{"type": "Ready", "status": status}]);
    let out_of_service = json!([{"key": "node.kubernetes.io/out-of-service"}]);
    let limit = UNMOUNT_WAIT_MAX.as_secs();
    let go = |force, verify| Standing::Detach { force, verify };
    let stay = Standing::InUse { force_at: None };
    let wait = Standing::InUse { force_at: Some(at(limit)) };
    let rows = [
        ("ready, not in use", Some(ready("True")), None, false, 0, go(None, true)),
        ("ready, late", Some(ready("True")), None, false, limit, go(None, false)),
        ("ready, in use", Some(ready("True")), None, true, 0, stay.clone()),
        ("ready, in use for hours", Some(ready("True")), None, true, 9 * limit, stay),
        (
            "ready, out of service",
            Some(ready("True")),
            Some(out_of_service),
            true,
            0,
            go(Some(Force::OutOfService), false),
        ),
        ("not ready, waits", Some(ready("False")), None, true, limit - 1, wait.clone()),
        ("unknown, waits", Some(ready("Unknown")), None, true, 1, wait.clone()),
        ("gone, waits", None, None, true, 1, wait),
        (
            "not ready, late",
            Some(ready("False")),
            None,
            true,
            limit,
            go(Some(Force::Timeout), false),
        ),
        ("gone, late", None, None, true, limit, go(Some(Force::Timeout), false)),
        ("not ready, not in use", Some(ready("False")), None, false, 0, go(None, true)),
    ];
    for (row, conditions, taints, in_use, waited, expected) in rows {
        let mut world = World::new(&["a"]).has("a", "v");
        world.actual.request_detach("v", "a", at(0));
        world.now = waited;
        if in_use {
            world.actual.set_in_use(&text("a"), &[text("v")]);
        }
        match conditions {
            Some(conditions) => {
                let node = world.nodes.get_mut("a").expect("a node");
                node["status"]["conditions"] = conditions;
                node["spec"]["taints"] = taints.unwrap_or_default();
            }
            None => drop(world.nodes.remove("a")),
        }
        assert_eq!(world.view("a", |view| standing(view, &text("v"))), Some(expected), "{row}");
    }
}

#[test]
fn without_force_a_node_that_is_not_ready_keeps_its_volume() {
    let mut world = World::new(&["a"]).has("a", "v");
    world.actual.set_in_use(&text("a"), &[text("v")]);
    world.actual.request_detach("v", "a", at(0));
    world.nodes.remove("a");
    world.now = 10 * UNMOUNT_WAIT_MAX.as_secs();
    let standing =
        world.view("a", |view| standing(&View { force_detach: false, ..*view }, &text("v")));
    assert_eq!(standing, Some(Standing::InUse { force_at: None }));
}

#[test]
fn what_was_just_attached_counts_as_in_use_until_the_node_says_otherwise() {
    let mut world = World::new(&["a"]);
    world.actual.mark_uncertain(&text("v"), Some(&volume("v", false)), &text("a"));
    world.check("a", Step::Rest);
    world.actual.set_in_use(&text("a"), &[text("other")]);
    world.check("a", detach("v"));
}

#[test]
fn an_exclusive_volume_waits_for_its_holder_and_the_pods_are_told_once() {
    let mut world = World::new(&["a", "b"]).has("a", "v").wants("a", "v", "p").wants("b", "v", "q");
    let verdict = world.decide("b");
    assert_eq!(verdict.step, Step::RefuseMultiAttach { volume: text("v") });
    assert_eq!(verdict.because.to_string(), "a has v, and only one node may");
    world.desired.tell_multi_attach("b", "v");
    world.check("b", Step::Rest);
    // Only what is certain keeps others away.
    world.actual.mark_uncertain(&text("v"), None, &text("a"));
    world.check("b", attach("v"));
    world.check("a", attach("v"));
    // Whichever starts first keeps the other away.
    world.start("b", "v", Doing::Attach);
    world.check("a", Step::Report);
}

#[test]
fn a_shared_volume_goes_to_many_nodes_at_once() {
    let mut world = World::new(&["a", "b"]);
    let shared = volume("v", true);
    world.have("a", shared.clone());
    for (node, pod) in [("a", "p"), ("b", "q")] {
        world.want(node, shared.clone(), pod);
    }
    world.check("a", Step::Rest);
    world.check("b", attach("v"));
    let key = OperationKey::new(&text("v"), &text("a"), true);
    world.operations.start(&key, &text("a"), Doing::Detach, at(0));
    world.check("b", attach("v"));
}

#[test]
fn detaches_come_before_attaches_and_reports_last() {
    let world = World::new(&["a"]).has("a", "z").wants("a", "b", "p");
    world.check("a", take_off("z"));
    let mut world = world.taken_off("a", "z");
    world.check("a", detach("z"));
    world.start("a", "z", Doing::Detach);
    world.check("a", attach("b"));
    world.start("a", "b", Doing::Attach);
    world.check("a", Step::Rest);
    world.actual.mark_attached(&text("c"), None, &text("a"), "".into());
    world.want("a", volume("c", false), "p");
    world.check("a", Step::Report);
}

#[test]
fn a_failed_operation_is_paused_and_the_other_kind_is_not() {
    let mut world = World::new(&["a"]).wants("a", "v", "p");
    world.start("a", "v", Doing::Attach);
    world.actual.mark_uncertain(&text("v"), Some(&volume("v", false)), &text("a"));
    world.finish("a", "v", Some("no"));
    let verdict = world.decide("a");
    assert_eq!(verdict.step, Step::Rest);
    assert_eq!(verdict.again_at, Some(at(0) + Duration::from_millis(500)));
    world.desired.remove_pod(&Key::new("shop", "p"));
    world.actual.set_in_use(&text("a"), &[]);
    world.check("a", detach("v"));
}

#[test]
fn pauses_double_to_a_limit_and_end_with_a_success() {
    let mut world = World::default();
    let mut pauses = Vec::new();
    for _ in 0..11 {
        world.start("a", "v", Doing::Detach);
        assert_eq!(
            world.operations.why_not(&world.key("b", "v"), Doing::Attach, at(world.now)),
            Some(NotNow::Running),
            "an exclusive volume is one key for all nodes"
        );
        world.finish("a", "v", Some("no"));
        let key = world.key("a", "v");
        let Some(NotNow::Until(until)) =
            world.operations.why_not(&key, Doing::Detach, at(world.now))
        else {
            panic!("no pause")
        };
        pauses.push(until.duration_since(at(world.now)).as_millis());
        world.now += 1000;
        assert_eq!(world.operations.why_not(&key, Doing::Detach, at(world.now)), None);
    }
    assert_eq!(pauses[..4], [500, 1000, 2000, 4000]);
    assert_eq!(pauses[8..], [122_000, 122_000, 122_000]);
    world.start("a", "v", Doing::Attach);
    world.finish("a", "v", Some("no"));
    let held: Vec<_> = world.operations.of("v").collect();
    assert_eq!((held.len(), held[0].failures), (1, 1), "another kind begins anew");
    world.start("a", "v", Doing::Attach);
    world.finish("a", "v", None);
    assert_eq!(world.operations.of("v").count(), 0);
}

#[test]
fn a_list_that_was_wiped_is_written_again_and_foreign_entries_go() {
    let mut world = World::new(&["a"]).has("a", "v").wants("a", "v", "p");
    let node = world.nodes.get_mut("a").expect("a node");
    node["status"]["volumesAttached"] = json!([{"name": "w", "devicePath": ""}]);
    let verdict = world.decide("a");
    assert_eq!(verdict.step, Step::Report);
    let expected = Because::Report { attached: vec![text("v")], gone: vec![text("w")] };
    assert_eq!(verdict.because, expected);
    assert_eq!(verdict.because.to_string(), "v is attached; w is not attached any more");
}

#[test]
fn a_node_that_looks_after_itself_keeps_its_list() {
    let mut world = World::default();
    let told = json!({"volumesAttached": [{"name": "w", "devicePath": ""}]});
    world.nodes.insert("a", json!({"metadata": {"name": "a"}, "status": told}));
    world.check("a", Step::Rest);
}

#[test]
fn a_pod_that_goes_takes_its_wishes_along_and_others_keep_theirs() {
    let mut world = World::new(&["a"]).wants("a", "v", "p").wants("a", "v", "q");
    world.desired.remove_pod(&Key::new("shop", "p"));
    world.check("a", attach("v"));
    assert_eq!(world.desired.remove_pod(&Key::new("shop", "q")), Some(text("a")));
    world.check("a", Step::Rest);
    assert!(!world.desired.nodes_wanting("v").any(|_| true));
    assert!(world.desired.unmanage("a"));
}

#[test]
fn a_node_that_goes_uses_what_it_said_and_nothing_that_was_only_assumed() {
    let mut actual = ActualState::default();
    let (node, said, tried) = (text("a"), text("said"), text("tried"));
    actual.set_in_use(&node, std::slice::from_ref(&said));
    actual.mark_uncertain(&tried, None, &node);
    assert!(actual.is_in_use(&said, &node) && actual.is_in_use(&tried, &node));
    actual.end_of_node(&node);
    assert!(actual.is_in_use(&said, &node) && !actual.is_in_use(&tried, &node));
}
