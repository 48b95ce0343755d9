//! The queue: who is next, and when one that was refused comes back.

use jiff::{SignedDuration, Timestamp};

use crate::controllers::scheduler::queue::Queue;
use crate::controllers::scheduler::reason::{Plugin, Plugins};
use crate::model::object::Key;

fn key(name: &str) -> Key {
    Key::new("d", name)
}

fn at(millis: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000).expect("in range") + SignedDuration::from_millis(millis)
}

fn popped(queue: &mut Queue, millis: i64) -> Option<String> {
    queue.pop(at(millis)).map(|key| key.name.to_string())
}

fn refuse(queue: &mut Queue, name: &str, millis: i64) {
    queue.refused(&key(name), Plugins::from_iter([Plugin::VolumeBinding]));
    queue.told(&key(name), at(millis));
}

#[test]
fn priority_comes_before_time() {
    let mut queue = Queue::default();
    for (name, priority) in [("a", 0), ("b", 10), ("c", 0), ("a", 99)] {
        queue.add(&key(name), priority);
    }
    let order: Vec<_> = (0..4).map(|_| popped(&mut queue, 0)).collect();
    assert_eq!(order, [Some("b".into()), Some("a".into()), Some("c".into()), None]);
}

#[test]
fn a_refused_pod_waits_for_help_and_is_then_taken_by_an_idle_scheduler() {
    let mut queue = Queue::default();
    queue.add(&key("a"), 0);
    popped(&mut queue, 0);
    refuse(&mut queue, "a", 0);
    assert!(!queue.is_ready(at(100_000)), "time alone does not help");
    queue.help(at(5), |_, by| by.contains(Plugin::NodeAffinity));
    assert!(!queue.is_ready(at(5)), "that was not asked for");
    queue.help(at(5), |_, by| by.contains(Plugin::VolumeBinding));
    assert_eq!(popped(&mut queue, 5).as_deref(), Some("a"));
}

#[test]
fn its_backoff_counts_while_others_are_active() {
    let mut queue = Queue::default();
    queue.add(&key("a"), 5);
    popped(&mut queue, 0);
    refuse(&mut queue, "a", 0);
    queue.help(at(0), |_, _| true);
    for name in ["b", "c"] {
        queue.add(&key(name), 0);
    }
    assert_eq!(popped(&mut queue, 500).as_deref(), Some("b"));
    assert_eq!(popped(&mut queue, 1000).as_deref(), Some("a"), "a second is over");
    assert_eq!(popped(&mut queue, 1000).as_deref(), Some("c"));
}

#[test]
fn help_that_comes_while_it_is_told_counts() {
    let mut queue = Queue::default();
    queue.add(&key("a"), 0);
    popped(&mut queue, 0);
    queue.help(at(0), |_, _| true);
    queue.refused(&key("a"), Plugins::from_iter([Plugin::VolumeBinding]));
    queue.help(at(0), |_, by| by.contains(Plugin::VolumeBinding));
    queue.told(&key("a"), at(0));
    assert_eq!(popped(&mut queue, 0).as_deref(), Some("a"));
}

#[test]
fn an_error_waits_its_time_out_twice_as_long_each_time_up_to_ten_seconds() {
    let mut queue = Queue::default();
    queue.add(&key("a"), 0);
    let mut now = 0;
    for seconds in [1, 2, 4, 8, 10, 10] {
        assert_eq!(popped(&mut queue, now).as_deref(), Some("a"));
        queue.failed(&key("a"), at(now));
        assert_eq!(popped(&mut queue, now + seconds * 1000 - 1), None);
        let (left, backoff) = queue.next_due(at(now)).expect("a backoff");
        assert_eq!((left.as_secs(), backoff), (u64::try_from(seconds).expect("few"), true));
        now += seconds * 1000;
    }
}

#[test]
fn a_refused_pod_is_looked_at_after_five_minutes_all_the_same() {
    let mut queue = Queue::default();
    queue.add(&key("a"), 0);
    popped(&mut queue, 0);
    refuse(&mut queue, "a", 0);
    assert_eq!(
        queue.next_due(at(0)).map(|(left, backoff)| (left.as_secs(), backoff)),
        Some((300, false))
    );
    assert_eq!(popped(&mut queue, 300_000).as_deref(), Some("a"));
}

#[test]
fn a_removed_pod_is_in_no_place() {
    let mut queue = Queue::default();
    queue.add(&key("a"), 0);
    popped(&mut queue, 0);
    refuse(&mut queue, "a", 0);
    queue.remove(&key("a"));
    assert!(!queue.anyone_to_help() && !queue.contains(&key("a")));
    queue.told(&key("a"), at(0));
    queue.failed(&key("a"), at(0));
    assert_eq!((popped(&mut queue, 999_999), queue.next_due(at(0))), (None, None));
}
