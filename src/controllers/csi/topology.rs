//! Where a volume may be, in a driver's terms. Pure.
//!
//! Upstream: `pkg/controller/topology.go` of external-provisioner.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use pvdeck_csi_proto::csi::{Topology, TopologyRequirement};
use serde_json::Value;

use crate::model::object::Pairs;

/// Keys with their values, sorted.
type Term = BTreeMap<String, String>;

/// A node with the driver: its name, the driver's topology keys, its labels.
pub type NodeWithDriver = (Arc<str>, Vec<Arc<str>>, Pairs);

/// What the choice depends on.
pub struct Where<'a> {
    /// The claim's name: replicas are spread by their number.
    pub claim: &'a str,
    /// The node that the first pod goes to, if binding waits for it.
    pub selected: Option<&'a str>,
    /// The class's `allowedTopologies`.
    pub allowed: &'a Value,
    pub nodes: &'a [NodeWithDriver],
    pub strict: bool,
    pub immediate: bool,
}

/// The requirement; `None`: no wish.
pub fn requirement(place: &Where<'_>) -> Result<Option<TopologyRequirement>, String> {
    let allowed = combinations(place.allowed);
    let Some(selected) = place.selected else { return anywhere(place, allowed) };
    let node = place.nodes.iter().find(|(name, ..)| &**name == selected);
    let keys = node.map(|(_, keys, _)| keys).filter(|keys| !keys.is_empty());
    let (Some(keys), Some((_, _, labels))) = (keys, node) else {
        return Err(format!("no topology key found for node {selected}"));
    };
    let Some(own) = term(keys, labels) else {
        return Err(format!(
            "topology labels from selected node {} does not match topology keys from CSINode {}",
            shown_pairs(labels),
            shown_keys(keys)
        ));
    };
    if place.strict {
        if !allowed.is_empty() && !allowed.iter().any(|term| is_within(&own, term)) {
            return Err(format!(
                "selected node '{selected}' topology '{}' is not in allowed topologies: {}",
                shown(&own),
                shown_all(&allowed)
            ));
        }
        return Ok(Some(made(vec![own.clone()], vec![own])));
    }
    let requisite = if allowed.is_empty() { of_nodes(place, Some(keys)) } else { allowed };
    let at = requisite.iter().position(|term| is_within(&own, term));
    let at = at.ok_or_else(|| {
        format!(
            "topology {} from selected node {selected} is not in requisite: {}",
            shown(&own),
            shown_all(&requisite)
        )
    })?;
    let preferred = rotated(&requisite, at);
    Ok(Some(made(requisite, preferred)))
}

/// Without a node: all that is allowed, or all there is.
fn anywhere(place: &Where<'_>, allowed: Vec<Term>) -> Result<Option<TopologyRequirement>, String> {
    if allowed.is_empty() && !place.immediate {
        return Ok(None);
    }
    let requisite = if allowed.is_empty() { of_nodes(place, None) } else { allowed };
    if requisite.is_empty() {
        return Err("no available topology found".to_owned());
    }
    let (hash, ordinal) = hash_and_ordinal(place.claim);
    let at = hash.wrapping_add(ordinal) as usize % requisite.len();
    let preferred = rotated(&requisite, at);
    Ok(Some(made(requisite, preferred)))
}

/// The node's own values of these keys; `None` if it lacks one.
fn term(keys: &[Arc<str>], labels: &Pairs) -> Option<Term> {
    let value = |key: &Arc<str>| {
        let (_, value) = labels.iter().find(|(own, _)| own == key)?;
        Some((key.to_string(), value.to_string()))
    };
    keys.iter().map(value).collect()
}

/// The topologies of all nodes, or of those with these very keys.
fn of_nodes(place: &Where<'_>, keys: Option<&Vec<Arc<str>>>) -> Vec<Term> {
    let same = |own: &Vec<Arc<str>>| keys.is_none_or(|keys| keys == own);
    let nodes = place.nodes.iter().filter(|(_, own, _)| !own.is_empty() && same(own));
    let terms: BTreeSet<Term> = nodes.filter_map(|(_, own, labels)| term(own, labels)).collect();
    terms.into_iter().collect()
}

/// All combinations of the values that a class allows.
fn combinations(allowed: &Value) -> Vec<Term> {
    let mut all = BTreeSet::new();
    for selector in allowed.as_array().into_iter().flatten() {
        let mut terms = vec![Term::new()];
        for expression in selector["matchLabelExpressions"].as_array().into_iter().flatten() {
            let key = expression["key"].as_str().unwrap_or_default();
            let values: Vec<&str> = expression["values"]
                .as_array()
                .into_iter()
                .flatten()
                .filter_map(Value::as_str)
                .collect();
            let with = |term: &Term, value: &str| {
                let mut term = term.clone();
                term.insert(key.to_owned(), value.to_owned());
                term
            };
            terms = terms
                .iter()
                .flat_map(|term| values.iter().map(|value| with(term, value)).collect::<Vec<_>>())
                .collect();
        }
        all.extend(terms.into_iter().filter(|term| !term.is_empty()));
    }
    all.into_iter().collect()
}

fn is_within(own: &Term, term: &Term) -> bool {
    term.iter().all(|(key, value)| own.get(key) == Some(value))
}

fn rotated(terms: &[Term], at: usize) -> Vec<Term> {
    terms[at..].iter().chain(&terms[..at]).cloned().collect()
}

fn made(requisite: Vec<Term>, preferred: Vec<Term>) -> TopologyRequirement {
    let of = |terms: Vec<Term>| {
        terms.into_iter().map(|term| Topology { segments: term.into_iter().collect() }).collect()
    };
    TopologyRequirement { requisite: of(requisite), preferred: of(preferred) }
}

/// Spreads the replicas of a StatefulSet, and puts the claims of one replica
/// into one place: `data-web-2` hashes `web`, and counts 2.
fn hash_and_ordinal(claim: &str) -> (u32, u32) {
    let parts = claim.rsplit_once('-');
    let Some((before, ordinal)) =
        parts.and_then(|(before, number)| Some((before, number.parse::<u32>().ok()?)))
    else {
        return (fnv(claim), 0);
    };
    let set = before.rsplit_once('-').map_or(before, |(_, set)| set);
    (fnv(set), ordinal)
}

/// FNV-1, 32 bits.
fn fnv(text: &str) -> u32 {
    text.bytes()
        .fold(0x811c_9dc5, |hash: u32, byte| hash.wrapping_mul(0x0100_0193) ^ u32::from(byte))
}

fn shown(term: &Term) -> String {
    let pairs: Vec<String> = term.iter().map(|(key, value)| format!("{key}:{value}")).collect();
    format!("map[{}]", pairs.join(" "))
}

fn shown_all(terms: &[Term]) -> String {
    format!("[{}]", terms.iter().map(shown).collect::<Vec<_>>().join(" "))
}

fn shown_pairs(pairs: &Pairs) -> String {
    shown(&pairs.iter().map(|(key, value)| (key.to_string(), value.to_string())).collect())
}

fn shown_keys(keys: &[Arc<str>]) -> String {
    format!("[{}]", keys.iter().map(|key| &**key).collect::<Vec<_>>().join(" "))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn nodes() -> Vec<NodeWithDriver> {
        let node = |name: &str, zone: &str| {
            let labels: Pairs = vec![("zone".into(), zone.into())].into();
            (name.into(), vec!["zone".into()], labels)
        };
        let bare: Pairs = Vec::new().into();
        vec![
            node("n1", "a"),
            node("n2", "b"),
            node("n3", "a"),
            ("n4".into(), vec!["zone".into()], bare.clone()),
            ("n5".into(), Vec::new(), bare),
        ]
    }

    #[track_caller]
    fn check(claim: &str, selected: Option<&str>, allowed: Value, strict: bool, expected: &str) {
        let nodes = nodes();
        let place =
            Where { claim, selected, allowed: &allowed, nodes: &nodes, strict, immediate: true };
        let zones = |list: &[Topology]| {
            list.iter().map(|one| one.segments["zone"].clone()).collect::<String>()
        };
        let said = match requirement(&place) {
            Ok(Some(made)) => format!("{}/{}", zones(&made.requisite), zones(&made.preferred)),
            Ok(None) => "no wish".to_owned(),
            Err(error) => error,
        };
        assert_eq!(said, expected);
    }

    #[test]
    fn the_selected_nodes_place_comes_first() {
        let none = || Value::Null;
        let only =
            |zones: Value| json!([{"matchLabelExpressions": [{"key": "zone", "values": zones}]}]);
        check("c", Some("n2"), none(), false, "ab/ba");
        check("c", Some("n2"), none(), true, "b/b");
        check("c", Some("n2"), only(json!(["c", "b"])), false, "bc/bc");
        check(
            "c",
            Some("n2"),
            only(json!(["a"])),
            true,
            "selected node 'n2' topology 'map[zone:b]' is not in allowed topologies: [map[zone:a]]",
        );
        check(
            "c",
            Some("n2"),
            only(json!(["a"])),
            false,
            "topology map[zone:b] from selected node n2 is not in requisite: [map[zone:a]]",
        );
        check("c", Some("n5"), none(), false, "no topology key found for node n5");
        check(
            "c",
            Some("n4"),
            none(),
            false,
            "topology labels from selected node map[] does not match topology keys from CSINode \
             [zone]",
        );
    }

    #[test]
    fn replicas_spread_and_claims_of_one_replica_stay_together() {
        let of = |claim: &str| {
            let (hash, ordinal) = hash_and_ordinal(claim);
            hash.wrapping_add(ordinal) % 2
        };
        assert_ne!(of("data-web-0"), of("data-web-1"));
        assert_eq!(of("data-web-1"), of("logs-web-1"));
        assert_eq!(hash_and_ordinal("plain").1, 0);
    }
}
