//! Which directories hold drivers, and which are to be probed: pure.
//!
//! A driver is the executable `<dir>/<vendor>~<driver>/<driver>`. Whatever
//! changes in its directory makes it be probed again; without its executable
//! it is gone. Names that begin with a dot count for nothing, so that a driver
//! is installed under such a name and then renamed.
//!
//! A first look that fails is not repeated until something changes. What
//! changed later and fails is tried again, each time after a longer pause.
//!
//! Upstream: `pkg/volume/flexvolume/probe.go`.

use std::collections::BTreeMap;

use crate::plugins::host::FileKind;
use crate::plugins::host::files::FileEntry;
use crate::plugins::layout::unescaped;

/// The longest pause between two tries, in looks.
const PAUSE_MAX: u32 = 64;

/// What tells that a directory has changed: name, time and size of each entry.
pub type Stamp = Vec<(String, i128, u64)>;

/// What became of a directory when it was last probed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Probed {
    pub stamp: Stamp,
    pub failed: Option<Failed>,
}

/// A probe that failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failed {
    pub why: String,
    /// After so many looks it is tried again; `None`: when something changes.
    pub again_in: Option<u32>,
    pub pause: u32,
}

/// What is to be done about a directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// Call `init`.
    Probe(String),
    Remove(String),
}

/// The name of a driver, from that of its directory.
pub fn driver_name(directory: &str) -> String {
    unescaped(directory)
}

/// The path of an executable, of that of the directory of all drivers.
pub fn executable(top: &str, driver: &str) -> String {
    let file = driver.rsplit('/').next().unwrap_or_default();
    format!("{top}/{}/{file}", driver.replace('/', "~"))
}

/// Whether a directory may hold a driver.
pub fn may_hold(entry: &FileEntry) -> bool {
    !entry.name.starts_with('.') && matches!(entry.facts.kind, FileKind::Directory | FileKind::Link)
}

/// What is to be remembered of a directory's entries; `None`: no driver is in
/// it.
pub fn stamp(directory: &str, entries: &[FileEntry]) -> Option<Stamp> {
    let driver = driver_name(directory);
    let file = driver.rsplit('/').next()?;
    let shown = entries.iter().filter(|entry| !entry.name.starts_with('.'));
    let stamp: Stamp =
        shown.map(|entry| (entry.name.clone(), entry.facts.modified, entry.facts.size)).collect();
    stamp.iter().any(|(name, ..)| name == file).then_some(stamp)
}

/// What is to be done about what is seen now.
pub fn decide(known: &BTreeMap<String, Probed>, seen: &BTreeMap<String, Stamp>) -> Vec<Change> {
    let gone = known.keys().filter(|name| !seen.contains_key(*name));
    let mut changes: Vec<Change> = gone.cloned().map(Change::Remove).collect();
    for (name, stamp) in seen {
        let due = known.get(name).is_none_or(|known| {
            let failed = known.failed.as_ref();
            known.stamp != *stamp || failed.is_some_and(|failed| failed.again_in == Some(0))
        });
        if due {
            changes.push(Change::Probe(name.clone()));
        }
    }
    changes
}

/// A failure, after an earlier one of the same contents if there was one.
pub fn failed(why: String, is_first_look: bool, before: Option<&Failed>) -> Failed {
    let pause = before.map_or(1, |before| (before.pause * 2).min(PAUSE_MAX));
    Failed { why, again_in: (!is_first_look).then_some(pause), pause }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plugins::host::files::FileFacts;

    fn entry(name: &str, modified: i128) -> FileEntry {
        let kind = FileKind::File;
        let facts = FileFacts { kind, mode: 0o755, group: 0, size: 1, link: None, modified };
        FileEntry { name: name.into(), facts }
    }

    #[test]
    fn a_directory_without_its_executable_holds_no_driver() {
        assert_eq!(driver_name("k8s~nfs"), "k8s/nfs");
        assert_eq!(executable("/exec", "k8s/nfs"), "/exec/k8s~nfs/nfs");
        assert_eq!(executable("/exec", "plain"), "/exec/plain/plain");
        assert_eq!(stamp("k8s~nfs", &[entry("other", 1)]), None);
        assert_eq!(stamp("k8s~nfs", &[entry(".nfs", 1)]), None);
        let seen = stamp("k8s~nfs", &[entry(".nfs", 1), entry("nfs", 2)]);
        assert_eq!(seen, Some(vec![("nfs".into(), 2, 1)]));
        assert!(stamp("plain", &[entry("plain", 1)]).is_some());
    }

    #[test]
    fn what_changes_is_probed_again_and_what_is_gone_is_removed() {
        let stamp = |modified| vec![("d".to_owned(), modified, 1)];
        let known = |modified, failed| Probed { stamp: stamp(modified), failed };
        let failed = |again_in| Some(Failed { why: "x".into(), again_in, pause: 1 });
        let known: BTreeMap<String, Probed> = [
            ("same".to_owned(), known(1, None)),
            ("touched".to_owned(), known(1, None)),
            ("gone".to_owned(), known(1, None)),
            ("forgotten".to_owned(), known(1, failed(None))),
            ("pausing".to_owned(), known(1, failed(Some(3)))),
            ("due".to_owned(), known(1, failed(Some(0)))),
        ]
        .into();
        let seen = ["same", "forgotten", "pausing", "due", "new"];
        let mut seen: BTreeMap<String, Stamp> = seen.map(|name| (name.to_owned(), stamp(1))).into();
        seen.insert("touched".into(), stamp(2));
        let probe = |name: &str| Change::Probe(name.into());
        assert_eq!(
            decide(&known, &seen),
            [Change::Remove("gone".into()), probe("due"), probe("new"), probe("touched")]
        );
    }

    #[test]
    fn a_driver_that_fails_is_tried_ever_more_rarely() {
        let first = failed("x".into(), false, None);
        let second = failed("x".into(), false, Some(&first));
        assert_eq!((first.again_in, second.again_in), (Some(1), Some(2)));
        assert_eq!(failed("x".into(), true, None).again_in, None);
        let mut last = second;
        for _ in 0..10 {
            last = failed("x".into(), false, Some(&last));
        }
        assert_eq!(last.again_in, Some(PAUSE_MAX));
    }
}
