//! The store by itself: versions, history, snapshots.

use jiff::Timestamp;
use serde_json::json;

use super::*;
use crate::model::kind::{CONFIG_MAP, PERSISTENT_VOLUME};

fn store(retention_bytes: usize) -> Store {
    Store::new([CONFIG_MAP, PERSISTENT_VOLUME], 0, retention_bytes, Box::new(Volatile))
}

fn change(store: &Store, key: &Key, expected: Option<u64>, text: Option<&str>) -> Change {
    let next = text.map(|text| {
        let object = json!({"metadata": {"name": *key.name}, "data": {"text": text}});
        Draft::new(key.clone(), &object, &[])
    });
    Change {
        table: store.table(CONFIG_MAP).expect("a table"),
        key: key.clone(),
        expected,
        next,
        author: Author::named("test"),
        reason: None,
        time: Timestamp::UNIX_EPOCH,
    }
}

#[track_caller]
fn put(store: &Store, name: &str, text: Option<&str>) -> u64 {
    let key = Key::new("shop", name);
    let table = store.table(CONFIG_MAP).expect("a table");
    let expected = store.get(table, &key).map(|stored| stored.version);
    store.commit(change(store, &key, expected, text)).expect("a commit").revision
}

fn names(store: &Store, at: Option<u64>, after: Option<&Key>) -> Vec<String> {
    let table = store.table(CONFIG_MAP).expect("a table");
    let span = Span { table, namespace: Some("shop"), after, at, limit: None };
    let page = store.list(&span, |_| true).expect("a page");
    page.objects.iter().map(|stored| format!("{}@{}", stored.key.name, stored.version)).collect()
}

#[test]
fn a_change_decided_on_another_version_is_refused() {
    let store = store(usize::MAX);
    put(&store, "a", Some("1"));
    let key = Key::new("shop", "a");
    for expected in [None, Some(7)] {
        let refused = store.commit(change(&store, &key, expected, Some("2")));
        assert!(matches!(refused, Err(CommitError::Raced)), "{expected:?}");
    }
    assert_eq!(store.revision(), 1);
}

#[test]
fn a_past_state_is_read_back_from_history() {
    let store = store(usize::MAX);
    put(&store, "a", Some("1"));
    put(&store, "c", Some("1"));
    put(&store, "b", Some("1"));
    put(&store, "a", Some("2"));
    put(&store, "c", None);
    assert_eq!(names(&store, None, None), ["a@4", "b@3"]);
    assert_eq!(names(&store, Some(3), None), ["a@1", "b@3", "c@2"]);
    assert_eq!(names(&store, Some(2), None), ["a@1", "c@2"]);
    assert_eq!(names(&store, Some(3), Some(&Key::new("shop", "a"))), ["b@3", "c@2"]);
}

#[test]
fn history_is_bounded_and_says_where_it_ends() {
    let store = store(3000);
    for round in 0..100 {
        put(&store, "a", Some(&round.to_string()));
    }
    let oldest = store.oldest();
    assert!((50..100).contains(&oldest), "{oldest}");
    let table = store.table(CONFIG_MAP).expect("a table");
    assert_eq!(store.tail(table, oldest - 1, 10).unwrap_err(), Compacted { oldest });
    let tail = store.tail(table, oldest, 1000).expect("a tail");
    assert_eq!(tail.commits.len() as u64, 100 - oldest);
    assert_eq!(tail.up_to, 100);
}

#[test]
fn a_tail_stops_at_its_limit_and_is_resumed_without_gap() {
    let store = store(usize::MAX);
    for name in ["a", "b", "c"] {
        put(&store, name, Some("1"));
    }
    let table = store.table(CONFIG_MAP).expect("a table");
    let first = store.tail(table, 0, 2).expect("a tail");
    assert_eq!((first.commits.len(), first.up_to), (2, 2));
    let second = store.tail(table, first.up_to, 2).expect("a tail");
    assert_eq!((second.commits.len(), second.up_to), (1, 3));
}

#[derive(Debug)]
struct FullDisk;

impl CommitLog for FullDisk {
    fn append(&self, _commit: &Commit) -> Result<(), LogError> {
        Err(LogError("disk full".into()))
    }
}

#[test]
fn a_commit_that_cannot_be_logged_does_not_happen() {
    let store = Store::new([CONFIG_MAP], 0, usize::MAX, Box::new(FullDisk));
    let key = Key::new("shop", "a");
    assert!(matches!(
        store.commit(change(&store, &key, None, Some("1"))),
        Err(CommitError::Log(_))
    ));
    assert_eq!(store.revision(), 0);
    assert!(names(&store, None, None).is_empty());
}

#[test]
fn a_tail_from_any_revision_begins_with_the_next_commit() {
    let store = store(usize::MAX);
    for text in 0..40 {
        // Every third commit is of another table's kind: this one has gaps.
        put(&store, "a", Some(&text.to_string()));
        if text % 3 == 0 {
            let mut other = change(&store, &Key::cluster(text.to_string()), None, Some(""));
            other.table = store.table(PERSISTENT_VOLUME).expect("a table");
            store.commit(other).expect("a commit");
        }
    }
    let table = store.table(CONFIG_MAP).expect("a table");
    let all = store.tail(table, 0, usize::MAX).expect("all of history").commits;
    for after in 0..=store.revision() {
        let found = store.tail(table, after, usize::MAX).expect("a tail").commits;
        let expected = all.iter().map(|commit| commit.revision).filter(|r| *r > after);
        assert!(found.iter().map(|commit| commit.revision).eq(expected), "after {after}");
    }
}
