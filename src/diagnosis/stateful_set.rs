//! A StatefulSet: its Service, the names of its pods, its claims, its pods.

use super::{Finding, Standing, add_pod, claim, told};
use crate::mirror::Tables;
use crate::model::object::{Key, Pairs};
use crate::model::selector::Operator;
use crate::model::service::{NoNames, pod_dns_name};
use crate::model::stateful_set::StatefulSet;

/// Names shown of a set's pods.
const NAMES_MAX: i64 = 3;

/// What can be said about a StatefulSet.
pub fn find(tables: &Tables, set: &StatefulSet) -> Finding {
    let mut finding = Finding::default();
    pods(tables, set, &mut finding);
    if set.meta.deleting.is_none() {
        claims(tables, set, &mut finding);
        names(tables, set, &mut finding);
    }
    finding
}

/// Why its pods have no names in DNS; `None`: they have.
pub fn why_no_names(tables: &Tables, set: &StatefulSet) -> Option<NoNames> {
    let key = Key { namespace: set.meta.key.namespace.clone(), name: set.service.clone() };
    let Some(service) = tables.services.get(&key) else { return Some(NoNames::NoService) };
    // All its pods have the template's labels, and those are what it selects.
    let labels: Pairs = tables
        .pods_owned_by(&set.meta.uid)
        .next()
        .map(|pod| pod.meta.labels.clone())
        .unwrap_or_default();
    if labels.is_empty() {
        return (!service.headless).then_some(NoNames::NotHeadless);
    }
    service.why_no_names(&labels)
}

fn pods(tables: &Tables, set: &StatefulSet, finding: &mut Finding) {
    let owned: Vec<_> = tables.pods_owned_by(&set.meta.uid).collect();
    if set.ready_replicas >= set.replicas {
        let (ready, all) = (set.ready_replicas, set.replicas);
        finding.says(Standing::Fine, format!("{ready} of {all} pods are ready"));
        return;
    }
    let (there, wanted) = (owned.len(), set.replicas);
    if (there as i64) < wanted && told(tables, &set.meta, finding) {
        finding.next("mend what the message names: the set tries again by itself");
    }
    for pod in owned {
        add_pod(tables, pod, finding);
    }
    if finding.facts.is_empty() {
        let ready = set.ready_replicas;
        finding.says(Standing::Busy, format!("{ready} of {wanted} pods are ready"));
    }
}

/// Claims that were there before and ask for something else than the template:
/// the set uses them as they are.
fn claims(tables: &Tables, set: &StatefulSet, finding: &mut Finding) {
    for pod in set.start..set.start.saturating_add(set.replicas).min(set.start + 1000) {
        for template in &set.claim_templates {
            let name = format!("{}-{}-{pod}", template.name, set.meta.key.name);
            let key = Key { namespace: set.meta.key.namespace.clone(), name: name.as_str().into() };
            let Some(found) = tables.claims.get(&key) else { continue };
            if let Some(differs) = template.why_other(found) {
                finding.says(
                    Standing::Stuck,
                    format!("claim {name} was there before and is used as it is: {differs}"),
                );
                finding.next(format!(
                    "leave claim {name} as it is, or delete it and pod {}-{pod}: the set makes \
                     both anew, and what is on its volume goes by the reclaim policy",
                    set.meta.key.name
                ));
            }
            if found.meta.deleting.is_some() {
                finding.says(Standing::Stuck, format!("claim {name} is being deleted"));
                if let Some(step) = claim::next_step(tables, found, None) {
                    finding.next(step);
                }
            }
        }
    }
}

fn names(tables: &Tables, set: &StatefulSet, finding: &mut Finding) {
    let (namespace, service) = (&set.meta.key.namespace, &set.service);
    let name = |at: i64| {
        let pod = format!("{}-{at}", set.meta.key.name);
        pod_dns_name(&pod, service, namespace)
    };
    match why_no_names(tables, set) {
        None => {
            let last = set.start.saturating_add(set.replicas);
            let shown: Vec<String> = (set.start..last).take(NAMES_MAX as usize).map(name).collect();
            let more = if set.replicas > NAMES_MAX { ", ..." } else { "" };
            finding.says(Standing::Fine, format!("its pods are {}{more}", shown.join(", ")));
        }
        Some(why) => {
            let first = name(set.start);
            finding.says(
                Standing::Stuck,
                format!("no name such as {first} leads to a pod: Service {service}: {why}"),
            );
            let exact = set.selector.requirements.iter().filter_map(|wanted| {
                let [value] = &*wanted.values else { return None };
                (wanted.operator == Operator::In).then(|| format!("{}={value}", wanted.key))
            });
            let labels: Vec<String> = exact.collect();
            finding.next(format!(
                "create a headless Service (clusterIP: None) {service} that selects {}",
                labels.join(",")
            ));
        }
    }
}
