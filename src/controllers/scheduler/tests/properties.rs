//! Small random clusters: what is decided holds, and an oracle that looks at
//! everything finds no node where a refused pod would have fitted.

use std::collections::BTreeSet;
use std::sync::Arc;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::given::{Given, anywhere, claim, local, local_class, node, on, reserved, user, with};
use crate::controllers::scheduler::decide::Verdict;
use crate::model::fit::{self, Labels};
use crate::model::object::Key;
use crate::model::quantity::Quantity;
use crate::model::volume::VolumePhase;

/// A volume: size, node or anywhere, and who it is reserved for.
type V = (u8, Option<u8>, Option<u8>);
/// A pod: its claims' sizes, and whether it may only go to one node.
type P = (Vec<u8>, Option<u8>);

fn worlds() -> impl Strategy<Value = (u8, Vec<V>, Vec<P>)> {
    let volume =
        (1_u8..6, prop::option::weighted(0.8, 0_u8..4), prop::option::weighted(0.2, 0_u8..4));
    let pod = (prop::collection::vec(1_u8..6, 1..3), prop::option::weighted(0.3, 0_u8..4));
    (1_u8..4, prop::collection::vec(volume, 0..8), prop::collection::vec(pod, 1..4))
}

fn given(nodes: u8, volumes: &[V], pods: &[P]) -> (Given, Vec<Value>) {
    let mut given = Given::of([local_class()]);
    (0..nodes).for_each(|n| given.put(node(&format!("n{n}"))));
    for (at, (size, place, owner)) in volumes.iter().enumerate() {
        let (name, size) = (format!("pv-{at}"), format!("{size}Gi"));
        let volume = match place {
            Some(n) => local(&name, &size, &format!("n{n}")),
            None => anywhere(&name, &size),
        };
        given.put(match owner {
            Some(pod) => reserved(&format!("c{pod}-0"), "", volume),
            None => volume,
        });
    }
    let mut objects = Vec::new();
    for (at, (sizes, only)) in pods.iter().enumerate() {
        let names: Vec<String> = (0..sizes.len()).map(|n| format!("c{at}-{n}")).collect();
        for (name, size) in names.iter().zip(sizes) {
            given.put(claim(name, &format!("{size}Gi"), "local"));
        }
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let mut pod = user(&format!("p{at}"), &names);
        if let Some(n) = only {
            let selector = json!({"kubernetes.io/hostname": format!("n{n}")});
            pod = with(pod, json!({"spec": {"nodeSelector": selector}}));
        }
        given.put(pod.clone());
        objects.push(pod);
    }
    (given, objects)
}

/// Whether the claims of a pod can all have volumes of a node, tried in every
/// way. A volume reserved for a claim is its only choice.
fn fits_somehow(
    given: &Given,
    labels: Labels<'_>,
    sizes: &[(Key, Quantity)],
    taken: &BTreeSet<Arc<str>>,
) -> bool {
    let Some(((claim, size), rest)) = sizes.split_first() else { return true };
    let all: Vec<_> = given.cache.stock.of_class("local").cloned().collect();
    let own: Vec<_> =
        all.iter().filter(|v| v.claim_ref.as_ref().is_some_and(|by| by.key == *claim)).collect();
    let large = |v: &crate::model::volume::Volume| v.capacity.is_some_and(|c| c >= *size);
    let reserved: Vec<_> = own.into_iter().filter(|v| large(v)).collect();
    let choices: Vec<_> = if reserved.is_empty() {
        all.iter()
            .filter(|v| v.claim_ref.is_none() && v.phase == VolumePhase::Available && large(v))
            .collect()
    } else {
        reserved
    };
    choices.into_iter().any(|v| {
        let name = v.meta.key.name.clone();
        let free = fit::usable_on(v, labels) && !taken.contains(&name);
        let mut taken = taken.clone();
        taken.insert(name);
        free && fits_somehow(given, labels, rest, &taken)
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn no_volume_is_promised_twice_and_what_fits_is_placed((nodes, volumes, pods) in worlds()) {
        let (mut given, pods) = given(nodes, &volumes, &pods);
        let mut promised: BTreeSet<Arc<str>> = BTreeSet::new();
        for pod in &pods {
            let key = Key::new("d", pod["metadata"]["name"].as_str().expect("a name"));
            match given.decide(pod) {
                Verdict::Place(placement) => {
                    let (node, _) = given.cache.node(&placement.node).expect("a node that is there");
                    let node = node.clone();
                    for bind in &placement.plan.bind {
                        let volume = given.cache.stock.get(&bind.volume).expect("a volume that is there");
                        prop_assert!(fit::usable_on(volume, &node.meta.labels), "within reach");
                        prop_assert!(promised.insert(bind.volume.clone()), "{} twice", bind.volume);
                        let claim = given.cache.claims.get(&bind.claim).cloned().expect("a claim");
                        given.cache.stock.promise(&bind.volume, &claim, &key);
                    }
                    given.cache.assume_pod(&key, &placement.node);
                }
                Verdict::Refuse(_) => {
                    let only = pod["spec"]["nodeSelector"]["kubernetes.io/hostname"].as_str();
                    // Smallest first finds a way wherever there is one.
                    let mut sizes: Vec<(Key, Quantity)> = pod["spec"]["volumes"].as_array().expect("a list").iter().map(|v| {
                        let name = v["name"].as_str().expect("a name");
                        let claim = &given.cache.claims[&Key::new("d", name)];
                        (claim.meta.key.clone(), fit::request(claim))
                    }).collect();
                    sizes.sort_by_key(|(_, size)| *size);
                    for (node, _) in given.cache.nodes() {
                        if only.is_none_or(|only| *node.meta.key.name == *only) {
                            let fits = fits_somehow(&given, &node.meta.labels, &sizes, &BTreeSet::new());
                            prop_assert!(!fits, "{key} fits on {}", node.meta.key.name);
                        }
                    }
                }
                Verdict::Fail(error) => prop_assert!(false, "{error}"),
            }
        }
        // Whoever gives up leaves everything as it was.
        for pod in &pods {
            let key = Key::new("d", pod["metadata"]["name"].as_str().expect("a name"));
            given.cache.forget_pod(&key);
            promised.iter().for_each(|volume| given.cache.stock.release(volume, &key));
        }
        prop_assert_eq!(given.cache.promises(), 0);
        prop_assert!(given.cache.nodes().all(|(_, info)| info.pods.is_empty()));
    }

    #[test]
    fn what_a_node_holds_is_the_sum_of_its_pods(moves in prop::collection::vec((0_u8..4, 0_u8..3, any::<bool>()), 0..30)) {
        let mut given = Given::two_nodes([]);
        for (name, place, ends) in moves {
            let spec = json!({"spec": {"containers": [{"resources": {"requests": {"cpu": "100m"}}}]}});
            let pod = with(user(&format!("p{name}"), &["c"]), spec);
            let pod = if place == 0 { pod } else { on(&format!("n{place}"), pod) };
            let phase = if ends { "Succeeded" } else { "Running" };
            given.put(with(pod, json!({"status": {"phase": phase}})));
            let mut users = 0;
            for (_, info) in given.cache.nodes() {
                let pods = i64::try_from(info.pods.len()).expect("few");
                prop_assert_eq!(info.requested.cpu_milli, pods * 100);
                users += info.pods.len();
            }
            prop_assert_eq!(given.cache.users_of(&Key::new("d", "c")).count(), users);
        }
    }
}
