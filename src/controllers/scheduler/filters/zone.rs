//! VolumeZone: bound volumes that carry the labels of a zone or region.

use std::sync::Arc;

use crate::controllers::scheduler::cache::Cache;
use crate::controllers::scheduler::claims::PodClaims;
use crate::controllers::scheduler::reason::Reason;
use crate::model::node::Node;

const ZONE: &str = "topology.kubernetes.io/zone";
const REGION: &str = "topology.kubernetes.io/region";
const BETA_ZONE: &str = "failure-domain.beta.kubernetes.io/zone";
const BETA_REGION: &str = "failure-domain.beta.kubernetes.io/region";
const LABELS: [&str; 4] = [ZONE, REGION, BETA_ZONE, BETA_REGION];

/// A label of a bound volume, and the values that a node may have.
#[derive(Debug)]
pub struct Zoned<'a> {
    volume: &'a Arc<str>,
    label: &'static str,
    values: Vec<&'a str>,
}

/// What the volumes of a pod's bound claims ask for. A label that is empty or
/// cannot be read asks for nothing.
pub fn zoned<'a>(cache: &'a Cache, claims: &PodClaims<'a>) -> Vec<Zoned<'a>> {
    let volumes = claims.bound.iter().filter_map(|claim| cache.stock.seen(&claim.volume_name));
    let labels = volumes.flat_map(|volume| {
        LABELS.into_iter().filter_map(move |label| {
            let values: Vec<&str> = volume.meta.label(label)?.split("__").map(str::trim).collect();
            let name = &volume.meta.key.name;
            let readable = values.iter().all(|value| !value.is_empty());
            readable.then_some(Zoned { volume: name, label, values })
        })
    });
    labels.collect()
}

/// The first volume of another zone. A node without any such label is in a
/// cluster of one zone.
pub fn why_not_in(zoned: &[Zoned<'_>], node: &Node) -> Result<(), Reason> {
    if zoned.is_empty() || !LABELS.iter().any(|label| node.meta.label(label).is_some()) {
        return Ok(());
    }
    for Zoned { volume, label, values } in zoned {
        let own = node.meta.label(label).or_else(|| match *label {
            BETA_ZONE => node.meta.label(ZONE),
            BETA_REGION => node.meta.label(REGION),
            _ => None,
        });
        if !own.is_some_and(|own| values.contains(&own)) {
            return Err(Reason::Zone { volume: (*volume).clone(), label: (*label).into() });
        }
    }
    Ok(())
}
