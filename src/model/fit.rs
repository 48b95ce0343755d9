//! Whether a volume fits a claim, and if not, why not.
//!
//! The binder asks whether there is an answer, the console shows which. There
//! is no second comparison of size, mode, class or selector anywhere.
//!
//! Rules: M1-M15 are those of the search for a volume, S1-S6 those for a claim
//! that names its volume (upstream: `FindMatchingVolume`,
//! `checkVolumeSatisfyClaim`).

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use crate::model::access_modes::AccessModes;
use crate::model::claim::Claim;
use crate::model::quantity::Quantity;
use crate::model::selector::{Operator, Requirement};
use crate::model::volume::{ClaimRef, Volume, VolumeMode, VolumePhase};

/// Labels of a node, sorted by key.
pub type Labels<'a> = &'a [(Arc<str>, Arc<str>)];

/// Under which conditions a volume is sought.
#[derive(Clone, Copy)]
pub struct Search<'a> {
    /// The claim's class waits for its first consumer: only a volume that is
    /// reserved for the claim will do.
    pub delayed: bool,
    /// The node the volume must be usable on; `None` for the binder, which
    /// never looks at nodes.
    pub node: Option<Labels<'a>>,
    /// Volumes that are not to be chosen, such as those another bind in flight
    /// has set its mind on.
    pub excluded: &'a dyn Fn(&Volume) -> bool,
}

impl Search<'_> {
    /// A search at once, on no node, with nothing excluded.
    pub const IMMEDIATE: Search<'static> =
        Search { delayed: false, node: None, excluded: &|_| false };
}

/// How a volume fits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fit {
    /// It is reserved for this very claim: the search ends here (M8).
    Reserved,
    /// It is free and suits; the smallest such volume wins (M15).
    Free,
}

/// Why a volume does not fit a claim, with what was compared.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Misfit {
    /// M1: another bind in flight has chosen it.
    BeingBound,
    /// M2: it belongs to, or is reserved for, another claim.
    Claimed { by: ClaimRef, namesake: bool },
    /// M14, S6, and the buckets of the search: it lacks access modes.
    AccessModes { missing: AccessModes },
    /// M3, S2.
    TooSmall { capacity: Option<Quantity>, request: Quantity },
    /// M4, S5.
    VolumeMode { volume: VolumeMode, claim: VolumeMode },
    /// M5, S4.
    AttributesClass { volume: Arc<str>, claim: Arc<str> },
    /// M6, S1.
    Deleting { volume: Arc<str> },
    /// M8: it is reserved for this claim, but cannot be used on this node; no
    /// other volume will do.
    ReservedElsewhere,
    /// M9: the claim waits for its first consumer.
    WaitsForConsumer,
    /// M10.
    NotAvailable { phase: VolumePhase },
    /// M11: the first requirement of the selector that its labels do not meet.
    Selector { requirement: Requirement },
    /// M12, S3.
    Class { volume: Arc<str>, claim: Arc<str> },
    /// M13.
    NodeAffinity,
}

/// Whether the volume is bound to, or reserved for, this claim: its reference
/// has the claim's namespace and name, and the claim's uid or none.
pub fn is_bound_to(volume: &Volume, claim: &Claim) -> bool {
    volume.claim_ref.as_ref().is_some_and(|by| {
        by.key == claim.meta.key && (by.uid.is_empty() || by.uid == claim.meta.uid)
    })
}

/// Whether a search for a volume for this claim may end at this one (M1-M14).
pub fn why_not_fit(claim: &Claim, volume: &Volume, search: &Search<'_>) -> Result<Fit, Misfit> {
    if (search.excluded)(volume) {
        return Err(Misfit::BeingBound);
    }
    let reserved = is_bound_to(volume, claim);
    if let Some(by) = volume.claim_ref.as_ref().filter(|_| !reserved) {
        return Err(Misfit::Claimed { by: by.clone(), namesake: by.key == claim.meta.key });
    }
    // The binder looks at volumes of the right modes only; on a node the one
    // reserved for the claim will do whatever its modes.
    if search.node.is_none() {
        has_modes(claim, volume)?;
    }
    if volume.capacity.is_none_or(|capacity| capacity < request(claim)) {
        return Err(too_small(claim, volume));
    }
    same_volume_mode(claim, volume)?;
    same_attributes_class(claim, volume)?;
    not_deleting(volume)?;
    let on_node = search.node.is_none_or(|labels| usable_on(volume, labels));
    if reserved {
        return if on_node { Ok(Fit::Reserved) } else { Err(Misfit::ReservedElsewhere) };
    }
    if search.delayed && search.node.is_none() {
        return Err(Misfit::WaitsForConsumer);
    }
    if volume.phase != VolumePhase::Available {
        return Err(Misfit::NotAvailable { phase: volume.phase });
    }
    if let Some(unmet) =
        claim.selector.as_ref().and_then(|selector| selector.why_not_match(&volume.meta.labels))
    {
        return Err(Misfit::Selector { requirement: unmet.clone() });
    }
    same_class(claim, volume)?;
    if !on_node {
        return Err(Misfit::NodeAffinity);
    }
    has_modes(claim, volume)?;
    Ok(Fit::Free)
}

/// Whether a volume that a claim names may be bound to it (S1-S6). Selector,
/// phase and node affinity do not matter then.
pub fn why_not_satisfy(claim: &Claim, volume: &Volume) -> Result<(), Misfit> {
    not_deleting(volume)?;
    // Compared in whole units, as upstream does; it overflows beyond 2^63,
    // which is not worth following.
    if volume.capacity.is_none_or(|capacity| capacity.units() < request(claim).units()) {
        return Err(too_small(claim, volume));
    }
    same_class(claim, volume)?;
    same_attributes_class(claim, volume)?;
    same_volume_mode(claim, volume)?;
    has_modes(claim, volume)
}

/// Whether volume and claim agree on file system or block device. The volume
/// sync asks for this alone.
pub fn same_volume_mode(claim: &Claim, volume: &Volume) -> Result<(), Misfit> {
    if volume.mode == claim.mode {
        return Ok(());
    }
    Err(Misfit::VolumeMode { volume: volume.mode, claim: claim.mode })
}

/// Whether a node with these labels can use the volume. No affinity suits
/// every node.
pub fn usable_on(volume: &Volume, labels: Labels<'_>) -> bool {
    volume.node_affinity.as_ref().is_none_or(|affinity| affinity.matches_labels(labels))
}

/// What the claim asks for; the API server insists on a request.
pub fn request(claim: &Claim) -> Quantity {
    claim.request.unwrap_or(Quantity::ZERO)
}

fn has_modes(claim: &Claim, volume: &Volume) -> Result<(), Misfit> {
    if volume.access_modes.contains_all(claim.access_modes) {
        return Ok(());
    }
    Err(Misfit::AccessModes { missing: claim.access_modes.without(volume.access_modes) })
}

fn too_small(claim: &Claim, volume: &Volume) -> Misfit {
    Misfit::TooSmall { capacity: volume.capacity, request: request(claim) }
}

fn same_attributes_class(claim: &Claim, volume: &Volume) -> Result<(), Misfit> {
    if volume.attributes_class == claim.attributes_class {
        return Ok(());
    }
    Err(Misfit::AttributesClass {
        volume: volume.attributes_class.clone(),
        claim: claim.attributes_class.clone(),
    })
}

fn same_class(claim: &Claim, volume: &Volume) -> Result<(), Misfit> {
    if &*volume.class == claim.effective_class() {
        return Ok(());
    }
    Err(Misfit::Class { volume: volume.class.clone(), claim: claim.effective_class().into() })
}

fn not_deleting(volume: &Volume) -> Result<(), Misfit> {
    match volume.meta.deleting {
        None => Ok(()),
        Some(_) => Err(Misfit::Deleting { volume: volume.meta.key.name.clone() }),
    }
}

impl Misfit {
    /// The rule's id in the search, for journals and tests.
    pub fn rule(&self) -> &'static str {
        match self {
            Self::BeingBound => "M1",
            Self::Claimed { .. } => "M2",
            Self::TooSmall { .. } => "M3",
            Self::VolumeMode { .. } => "M4",
            Self::AttributesClass { .. } => "M5",
            Self::Deleting { .. } => "M6",
            Self::ReservedElsewhere => "M8",
            Self::WaitsForConsumer => "M9",
            Self::NotAvailable { .. } => "M10",
            Self::Selector { .. } => "M11",
            Self::Class { .. } => "M12",
            Self::NodeAffinity => "M13",
            Self::AccessModes { .. } => "M14",
        }
    }

    /// Two or three words, for counting many.
    pub fn label(&self) -> &'static str {
        match self {
            Self::BeingBound => "being bound",
            Self::Claimed { .. } => "taken",
            Self::TooSmall { .. } => "too small",
            Self::VolumeMode { .. } => "other volume mode",
            Self::AttributesClass { .. } => "other attributes class",
            Self::Deleting { .. } => "being deleted",
            Self::ReservedElsewhere | Self::NodeAffinity => "other node",
            Self::WaitsForConsumer => "waiting for consumer",
            Self::NotAvailable { .. } => "not available",
            Self::Selector { .. } => "labels differ",
            Self::Class { .. } => "other class",
            Self::AccessModes { .. } => "other access modes",
        }
    }

    /// What Kubernetes says in its event when a claim names this volume
    /// (S1-S6); `None` for refusals that cannot occur then.
    pub fn kubernetes_words(&self) -> Option<String> {
        Some(match self {
            Self::Deleting { volume } => {
                format!("the volume is marked for deletion \"{volume}\"")
            }
            Self::TooSmall { .. } => "requested PV is too small".to_owned(),
            Self::Class { .. } => "storageClassName does not match".to_owned(),
            Self::AttributesClass { .. } => "volumeAttributesClassName does not match".to_owned(),
            Self::VolumeMode { .. } => "incompatible volumeMode".to_owned(),
            Self::AccessModes { .. } => "incompatible accessMode".to_owned(),
            Self::NodeAffinity | Self::ReservedElsewhere => {
                "no matching NodeSelectorTerms".to_owned()
            }
            Self::BeingBound
            | Self::Claimed { .. }
            | Self::WaitsForConsumer
            | Self::NotAvailable { .. }
            | Self::Selector { .. } => return None,
        })
    }
}

impl fmt::Display for Misfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BeingBound => f.write_str("another claim is being bound to it"),
            Self::Claimed { by, namesake: true } => {
                write!(f, "it belongs to an earlier claim `{}` (uid {})", by.key, by.uid)
            }
            Self::Claimed { by, namesake: false } if by.uid.is_empty() => {
                write!(f, "it is reserved for claim `{}`", by.key)
            }
            Self::Claimed { by, namesake: false } => {
                write!(f, "it belongs to claim `{}`", by.key)
            }
            Self::AccessModes { missing } => write!(f, "it does not offer {missing}"),
            Self::TooSmall { capacity: Some(capacity), request } => {
                write!(f, "too small: {capacity} of {request}")
            }
            Self::TooSmall { capacity: None, request } => {
                write!(f, "it has no capacity, {request} is asked for")
            }
            Self::VolumeMode { volume, claim } => {
                write!(f, "volume mode {}, {} is asked for", volume.name(), claim.name())
            }
            Self::AttributesClass { volume, claim } => {
                write!(f, "attributes class {}, {} is asked for", Named(volume), Named(claim))
            }
            Self::Deleting { .. } => f.write_str("it is being deleted"),
            Self::ReservedElsewhere => {
                f.write_str("it is reserved for this claim, but cannot be used on this node")
            }
            Self::WaitsForConsumer => f.write_str("the claim's class waits for its first consumer"),
            Self::NotAvailable { phase: VolumePhase::Unset } => {
                f.write_str("not Available: it has no phase yet")
            }
            Self::NotAvailable { phase } => write!(f, "not Available but {}", phase.name()),
            Self::Selector { requirement } => write!(f, "its labels lack {}", Shown(requirement)),
            Self::Class { volume, claim } => {
                write!(f, "class {}, {} is asked for", Named(volume), Named(claim))
            }
            Self::NodeAffinity => f.write_str("it cannot be used on this node"),
        }
    }
}

/// A class's name, or that there is none.
struct Named<'a>(&'a str);

impl fmt::Display for Named<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() { f.write_str("none") } else { write!(f, "`{}`", self.0) }
    }
}

/// A selector's requirement as one types it.
struct Shown<'a>(&'a Requirement);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Requirement { key, operator, values } = self.0;
        let values = values.iter().map(|value| &**value).collect::<Vec<_>>().join(",");
        match operator {
            Operator::In => write!(f, "{key} in ({values})"),
            Operator::NotIn => write!(f, "{key} notin ({values})"),
            Operator::Exists => write!(f, "{key}"),
            Operator::DoesNotExist => write!(f, "!{key}"),
            Operator::Gt => write!(f, "{key} > {values}"),
            Operator::Lt => write!(f, "{key} < {values}"),
            Operator::Unknown => write!(f, "{key} with an unknown operator"),
        }
    }
}

/// How many examples of each refusal are kept.
const EXAMPLES: usize = 3;

/// Refusals, counted: "0 of 12 fit: 7 too small, 5 other class".
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Refusals {
    pub volumes: usize,
    pub fitting: usize,
    counted: BTreeMap<&'static str, Counted>,
}

/// How often one refusal occurred, and where first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Counted {
    pub label: &'static str,
    pub count: usize,
    /// The first few volumes by name, with their refusal.
    pub examples: Vec<(Arc<str>, Misfit)>,
}

impl Refusals {
    /// Counts one volume's answer. Volumes are to come in order of name, so
    /// that the examples are the same each time.
    pub fn count(&mut self, volume: &Volume, answer: Result<Fit, Misfit>) {
        self.volumes += 1;
        let Err(misfit) = answer else {
            self.fitting += 1;
            return;
        };
        let label = misfit.label();
        let counted = self.counted.entry(label).or_insert_with(|| Counted {
            label,
            count: 0,
            examples: Vec::new(),
        });
        counted.count += 1;
        if counted.examples.len() < EXAMPLES {
            counted.examples.push((volume.meta.key.name.clone(), misfit));
        }
    }

    /// The refusals, most frequent first, then by name.
    pub fn by_frequency(&self) -> Vec<&Counted> {
        let mut counted: Vec<_> = self.counted.values().collect();
        counted.sort_by_key(|counted| std::cmp::Reverse(counted.count));
        counted
    }
}

impl fmt::Display for Refusals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.volumes == 0 {
            return f.write_str("there are no volumes");
        }
        write!(f, "{} of {} fit", self.fitting, self.volumes)?;
        for (at, counted) in self.by_frequency().into_iter().enumerate() {
            let before = if at == 0 { ": " } else { ", " };
            write!(f, "{before}{} {}", counted.count, counted.label)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::row::Row;
    use serde_json::json;

    fn volume(name: &str, size: &str, class: &str) -> Volume {
        Volume::from_object(&json!({
            "metadata": {"name": name},
            "spec": {
                "capacity": {"storage": size}, "accessModes": ["ReadWriteOnce"],
                "storageClassName": class, "nfs": {"server": "s", "path": "/p"},
            },
            "status": {"phase": "Available"},
        }))
        .expect(name)
    }

    fn claim(size: &str, class: &str) -> Claim {
        Claim::from_object(&json!({
            "metadata": {"name": "claim-1", "namespace": "default", "uid": "u"},
            "spec": {
                "resources": {"requests": {"storage": size}},
                "accessModes": ["ReadWriteOnce"], "storageClassName": class,
            },
        }))
        .expect("claim")
    }

    #[test]
    fn refusals_are_counted_most_frequent_first() {
        let claim = claim("10Gi", "gold");
        let mut refusals = Refusals::default();
        for (name, size, class) in
            [("a", "1Gi", "gold"), ("b", "20Gi", ""), ("c", "2Gi", "gold"), ("d", "10Gi", "gold")]
        {
            let volume = volume(name, size, class);
            refusals.count(&volume, why_not_fit(&claim, &volume, &Search::IMMEDIATE));
        }
        assert_eq!(refusals.to_string(), "1 of 4 fit: 2 too small, 1 other class");
        let first = refusals.by_frequency()[0];
        assert_eq!(&*first.examples[0].0, "a");
        assert_eq!(first.examples[0].1.to_string(), "too small: 1Gi of 10Gi");
    }

    #[test]
    fn no_volumes_are_said_to_be_none() {
        assert_eq!(Refusals::default().to_string(), "there are no volumes");
    }

    #[test]
    fn refusals_name_what_was_compared() {
        let refusal = |v: &Volume, c: &Claim| {
            why_not_fit(c, v, &Search::IMMEDIATE).expect_err("refusal").to_string()
        };
        assert_eq!(
            refusal(&volume("v", "1Gi", "silver"), &claim("1Gi", "")),
            "class `silver`, none is asked for"
        );
        let mut reserved = volume("v", "1Gi", "");
        reserved.claim_ref =
            Some(ClaimRef { key: crate::model::object::Key::new("shop", "data"), uid: "".into() });
        assert_eq!(refusal(&reserved, &claim("1Gi", "")), "it is reserved for claim `shop/data`");
    }
}
