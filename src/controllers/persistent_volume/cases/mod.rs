//! The cases of the specified behaviour, as tables. Row ids are those of the
//! reference's own tests; a row that fails is listed with all others that do.
//!
//! Absent: section O (the API server's own rule of transition times).

mod index_cases;
mod notation;
mod properties;
mod running;
mod sync;
pub(crate) mod world;

use std::collections::BTreeSet;

/// Rows of the case file that this program has no part in yet.
const ELSEWHERE: [&str; 11] = [
    // The API server's rule of transition times is tested with that kind.
    "TS-1",
    "TS-2",
    "TS-3",
    "TS-4",
    "TS-5",
    "TS-6",
    "TS-7",
    // A build without volume attributes classes does not exist here.
    "2-13",
    "fail-on-error",
    "fail-volumes-vac",
    "fail-prebound-vac-gate-off",
];

/// Every row id of the case file, in its order.
const IDS: &str = include_str!("ids.txt");

#[test]
fn every_row_of_the_case_file_has_a_test() {
    let mut tested: BTreeSet<String> = BTreeSet::new();
    tested.extend(sync::ids());
    tested.extend(index_cases::IDS.iter().map(|id| (*id).to_owned()));
    tested.extend(running::IDS.iter().map(|id| (*id).to_owned()));
    tested.extend(crate::controllers::protection::tests::ids());
    tested.extend(crate::controllers::expand::cases::IDS.iter().map(|id| (*id).to_owned()));
    tested.extend(ELSEWHERE.iter().map(|id| (*id).to_owned()));
    let missing: Vec<_> = IDS.lines().filter(|id| !tested.contains(*id)).collect();
    assert!(missing.is_empty(), "rows without a test: {missing:?}");
}
