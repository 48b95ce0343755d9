//! What must never be, revision by revision, and an oracle of what fits that
//! tries everything.

use std::collections::BTreeMap;

use pvdeck::cluster::embedded::Embedded;
use pvdeck::model::object::Key;
use serde_json::Value;

use super::Coverage;
use super::acts::NODES;

type Objects = BTreeMap<(&'static str, Key), Value>;

/// The cluster as of the last revision that was looked at.
#[derive(Default)]
pub struct Judge {
    seen: u64,
    objects: Objects,
}

impl Judge {
    pub fn look(&mut self, embedded: &Embedded, coverage: &Coverage) -> Result<(), String> {
        for commit in embedded.commits_after(self.seen) {
            self.seen = commit.revision;
            let plural = commit.kind.plural;
            let at = (plural, commit.key.clone());
            let before = self.objects.get(&at).cloned().unwrap_or_default();
            let Some(after) = commit.object_after() else {
                self.objects.remove(&at);
                continue;
            };
            self.objects.insert(at, after.clone());
            let judged = match plural {
                "pods" => self.pod(&before, &after, coverage),
                "persistentvolumes" => volume(&before, &after, coverage),
                "persistentvolumeclaims" => self.claim(&before, &after),
                _ => Ok(()),
            };
            judged.map_err(|why| format!("{} at {}: {why}", commit.key, commit.revision))?;
        }
        Ok(())
    }

    /// A pod that comes to its node finds its claims bound, to volumes that can
    /// be reached there; what a user took away meanwhile apart.
    fn pod(&self, before: &Value, after: &Value, coverage: &Coverage) -> Result<(), String> {
        let refused = |pod: &Value| {
            let mut conditions = pod["status"]["conditions"].as_array().into_iter().flatten();
            conditions.any(|own| own["reason"] == "Unschedulable")
        };
        if refused(after) && !refused(before) {
            Coverage::count(&coverage.refused);
        }
        let Some(node) = after["spec"]["nodeName"].as_str() else { return Ok(()) };
        if before["spec"]["nodeName"].is_string() {
            return Ok(());
        }
        Coverage::count(&coverage.placed);
        for name in claims_of(after) {
            let claim = self.objects.get(&("persistentvolumeclaims", Key::new("default", name)));
            let Some(claim) = claim else { continue };
            let bound = text(&claim["spec"]["volumeName"]);
            let Some(volume) = self.objects.get(&("persistentvolumes", Key::cluster(bound))) else {
                continue;
            };
            let theirs = volume["spec"]["claimRef"]["uid"] == claim["metadata"]["uid"];
            if theirs && !reaches(volume, node) {
                return Err(format!("it is on {node}, and {bound} of {name} is not"));
            }
        }
        Ok(())
    }

    /// A claim that comes to say Bound is the one that its volume names.
    fn claim(&self, before: &Value, after: &Value) -> Result<(), String> {
        if after["status"]["phase"] != "Bound" || before["status"]["phase"] == "Bound" {
            return Ok(());
        }
        let name = text(&after["spec"]["volumeName"]);
        let uid = &after["metadata"]["uid"];
        let others = self.objects.iter().filter(|((plural, _), other)| {
            *plural == "persistentvolumeclaims"
                && other["metadata"]["uid"] != *uid
                && other["status"]["phase"] == "Bound"
                && text(&other["spec"]["volumeName"]) == name
        });
        match others.map(|((_, key), _)| key).next() {
            Some(other) if self.names(name, uid) => Err(format!("{other} has {name}, too")),
            _ => Ok(()),
        }
    }

    /// Whether the volume names a claim other than this one.
    fn names(&self, volume: &str, uid: &Value) -> bool {
        let volume = self.objects.get(&("persistentvolumes", Key::cluster(volume)));
        volume.is_some_and(|volume| volume["spec"]["claimRef"]["uid"] != *uid)
    }
}

/// A volume is promised once: never from one claim to another directly.
fn volume(before: &Value, after: &Value, coverage: &Coverage) -> Result<(), String> {
    let by = |volume: &Value| text(&volume["spec"]["claimRef"]["uid"]).to_owned();
    let (was, is) = (by(before), by(after));
    if before["metadata"]["uid"] != after["metadata"]["uid"] || was == is || is.is_empty() {
        return Ok(());
    }
    Coverage::count(&coverage.reserved);
    if was.is_empty() { Ok(()) } else { Err(format!("from claim {was} to {is}")) }
}

fn claims_of(pod: &Value) -> Vec<&str> {
    let volumes = pod["spec"]["volumes"].as_array().into_iter().flatten();
    volumes.filter_map(|own| own["persistentVolumeClaim"]["claimName"].as_str()).collect()
}

fn reaches(volume: &Value, node: &str) -> bool {
    let terms = &volume["spec"]["nodeAffinity"]["required"]["nodeSelectorTerms"];
    let values = terms[0]["matchExpressions"][0]["values"].as_array();
    values.is_none_or(|values| values.iter().any(|value| value == node))
}

/// The first node that a pod fits on; all nodes are there and have room.
pub fn fits_on(pod: &Value, claims: &[Value], volumes: &[Value]) -> Option<&'static str> {
    let only = pod["spec"]["nodeSelector"]["kubernetes.io/hostname"].as_str();
    let named: Option<Vec<&Value>> = claims_of(pod)
        .into_iter()
        .map(|name| claims.iter().find(|claim| claim["metadata"]["name"] == name))
        .collect();
    let claims = named?;
    let usable = |claim: &&Value| {
        claim["status"]["phase"] != "Lost" && claim["metadata"]["deletionTimestamp"].is_null()
    };
    if !claims.iter().all(usable) {
        return None;
    }
    let mut nodes = NODES.into_iter().filter(|node| only.is_none_or(|only| only == *node));
    nodes.find(|node| can_have(&claims, volumes, node, &mut Vec::new()))
}

/// Whether every claim finds a volume of its own there. One that is reserved for
/// a claim elsewhere keeps it from this node.
fn can_have(claims: &[&Value], volumes: &[Value], node: &str, taken: &mut Vec<String>) -> bool {
    let Some((claim, others)) = claims.split_first() else { return true };
    let bound = text(&claim["spec"]["volumeName"]);
    if !bound.is_empty() {
        let volume = volumes.iter().find(|volume| volume["metadata"]["name"] == bound);
        return volume.is_some_and(|volume| reaches(volume, node))
            && can_have(others, volumes, node, taken);
    }
    if claim["spec"]["storageClassName"] == "fast" {
        let selected = &claim["metadata"]["annotations"]["volume.kubernetes.io/selected-node"];
        return (selected.is_null() || selected == node) && can_have(others, volumes, node, taken);
    }
    let reserved = |volume: &&Value| volume["spec"]["claimRef"]["uid"] == claim["metadata"]["uid"];
    if volumes.iter().filter(reserved).any(|volume| !reaches(volume, node)) {
        return false;
    }
    volumes.iter().filter(|volume| is_for(volume, claim, node)).any(|volume| {
        let name = text(&volume["metadata"]["name"]).to_owned();
        if taken.contains(&name) {
            return false;
        }
        taken.push(name);
        let fits = can_have(others, volumes, node, taken);
        taken.pop();
        fits
    })
}

/// Whether a free volume, or one that is reserved for it, is what a claim asks
/// for.
fn is_for(volume: &Value, claim: &Value, node: &str) -> bool {
    let by = &volume["spec"]["claimRef"];
    let reserved = by["uid"] == claim["metadata"]["uid"];
    let gib =
        |value: &Value| -> u64 { text(value).trim_end_matches("Gi").parse().unwrap_or_default() };
    let free = by.is_null() && volume["status"]["phase"] == "Available";
    volume["spec"]["storageClassName"] == "local"
        && (free || reserved)
        && volume["metadata"]["deletionTimestamp"].is_null()
        && reaches(volume, node)
        && gib(&volume["spec"]["capacity"]["storage"])
            >= gib(&claim["spec"]["resources"]["requests"]["storage"])
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}
