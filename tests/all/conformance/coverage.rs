//! No number of the checklist is without a test.

use std::collections::BTreeSet;
use std::fs;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};

/// The numbers that hold so far. What is left: field ownership (56 to 67),
/// what takes controllers or foreign clients (72, 76, 105, 121, 124), custom
/// resources (49), disruption budgets (119), durability (125).
const HELD: &[RangeInclusive<u32>] =
    &[1..=48, 50..=55, 68..=71, 73..=75, 77..=104, 106..=118, 120..=120, 122..=123, 126..=126];

fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

/// The numbers at the ends of test functions' names in a source.
fn numbers(source: &str) -> impl Iterator<Item = u32> {
    let is_test = |line: &&str| line.starts_with("#[tokio::test") || *line == "#[test]";
    let lines: Vec<&str> = source.lines().map(str::trim).collect();
    let names: Vec<String> = lines
        .windows(2)
        .filter(|pair| is_test(&pair[0]))
        .filter_map(|pair| pair[1].split_once("fn ")?.1.split_once('(').map(|(n, _)| n.to_owned()))
        .collect();
    names.into_iter().filter_map(|name| name.rsplit_once('_')?.1.parse().ok())
}

#[test]
fn every_number_that_holds_has_a_test() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/all/conformance");
    let mut files = Vec::new();
    sources(&folder, &mut files);
    let covered: BTreeSet<u32> = files
        .iter()
        .flat_map(|file| numbers(&fs::read_to_string(file).expect("a text")).collect::<Vec<_>>())
        .collect();
    let held: BTreeSet<u32> = HELD.iter().cloned().flatten().collect();
    println!(
        "{} of {} numbers have tests: {covered:?}",
        held.intersection(&covered).count(),
        held.len()
    );
    let missing: Vec<_> = held.difference(&covered).collect();
    assert!(missing.is_empty(), "no test for {missing:?}");
}
