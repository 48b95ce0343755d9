//! Rule 3: the global order.

use std::collections::{BTreeMap, HashMap};

use super::compare::{Difference, Places};
use super::observation::{Happening, Observation};
use super::trace::{OrderEntry, Trace};

/// How many readings of one observation are tried. Two sequences of equal
/// contents number the same states differently; either may be meant.
const MAX_READINGS: usize = 64;

/// The first place where the order is not as recorded, under the reading that
/// is best for it.
pub fn difference(
    trace: &Trace,
    seen: &Observation,
    places: &BTreeMap<String, Vec<Places>>,
) -> Option<Difference> {
    let mut first = None;
    for reading in readings(places) {
        let violation = violation(trace, &ranks(seen, &reading))?;
        first.get_or_insert(violation);
    }
    first.map(|what| Difference(format!("order: {what}")))
}

/// One choice of places for every object.
type Reading<'a> = Vec<(&'a str, &'a Places)>;

fn readings(places: &BTreeMap<String, Vec<Places>>) -> Vec<Reading<'_>> {
    let mut readings: Vec<Reading<'_>> = vec![Vec::new()];
    for (object, choices) in places {
        let mut longer = Vec::new();
        for reading in &readings {
            for choice in choices {
                let mut reading = reading.clone();
                reading.push((object, choice));
                longer.push(reading);
            }
        }
        longer.truncate(MAX_READINGS);
        readings = longer;
    }
    readings
}

/// Where in the log each item of the recorded order came about.
fn ranks(seen: &Observation, reading: &[(&str, &Places)]) -> HashMap<String, usize> {
    let mut ranks = HashMap::new();
    for (at, happening) in seen.log.iter().enumerate() {
        if let Happening::Step(n) = happening {
            ranks.insert(format!("step {n}"), at);
        }
    }
    for (object, places) in reading {
        for (at, state) in places.iter() {
            if let Some(state) = state {
                ranks.insert(format!("{object}@{state}"), *at);
            }
        }
    }
    ranks
}

fn violation(trace: &Trace, ranks: &HashMap<String, usize>) -> Option<String> {
    let mut latest: Option<(usize, &str)> = None;
    for entry in &trace.order {
        let mut latest_here = latest;
        for item in entry.items() {
            let Some(rank) = ranks.get(item) else {
                // A state without a counterpart, where only fields agree.
                if item.starts_with("step ") {
                    return Some(format!("`{item}` did not take place"));
                }
                continue;
            };
            if let Some((_, other)) = latest.filter(|(before, _)| before > rank) {
                return Some(format!("`{other}` came after `{item}`, recorded before it"));
            }
            if latest_here.is_none_or(|(at, _)| at < *rank) {
                latest_here = Some((*rank, item));
            }
        }
        if let OrderEntry::Group(group) = entry {
            for (first, second) in &group.but {
                if let (Some(a), Some(b)) = (ranks.get(first), ranks.get(second))
                    && a > b
                {
                    return Some(format!("`{first}` came after `{second}`, recorded before it"));
                }
            }
        }
        latest = latest_here;
    }
    None
}
