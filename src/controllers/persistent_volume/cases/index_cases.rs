//! Section L: which volume a search finds.

use std::sync::Arc;

use serde_json::{Value, json};

use super::notation::{self, Names};
use crate::controllers::holds::Holds;
use crate::controllers::persistent_volume::cache::Cache;
use crate::controllers::persistent_volume::claim::is_delayed;
use crate::controllers::persistent_volume::index::VolumeIndex;
use crate::controllers::persistent_volume::verdict::{Live, View};
use crate::model::claim::Claim;
use crate::model::class::StorageClass;
use crate::model::fit::{self, Search};
use crate::model::object::Key;
use crate::model::row::Row;
use crate::model::volume::{ClaimRef, Volume};

pub const IDS: &[&str] = &[
    "match-gce-10",
    "match-nfs-5",
    "skip-1g-bound-volume",
    "no-match",
    "no-match-size-with-selector",
    "match-with-selector",
    "match-with-empty-VAC",
    "match-with-VAC",
    "match-with-class-and-selector",
    "match-with-class",
    "very-large",
    "exactly-extremely-large",
    "delayed-mode",
    "L2-1",
    "L2-2",
    "L2-3",
    "L2-4",
    "L2-5",
    "L.3-1",
    "L.3-2",
    "L.3-3",
    "L.3-4",
    "L.3-6",
    "L.3-7",
    "L.4-1",
    "L.4-2",
    "L.4-3",
    "L.4-4",
    "L.5-1",
    "L.5-2",
    "L.5-3",
    "L.5-4",
    "L.5-5",
    "L.5-6",
    "L.5-7",
    "L.5-8",
    "L.6-1",
    "L.6-2",
    "L.6-3",
    "L.6-4",
    "L.6-5",
    "L.6-6",
    "L.7-1",
    "L.7-2",
    "L.7-3",
    "L.8-1",
    "L.8-2",
    "L.8-3",
    "success-match",
    "success-prebound",
    "success-exclusion",
    "fail-exclusion",
    "fail-nodeaffinity",
    "fail-prebound-node-affinity",
    "fail-nonavailable",
    "success-bad-and-good-node-affinity",
    "fail-vac",
    "fail-prebound-vac",
    "L.10-1",
    "L.10-2",
    "L.10-3",
    "L.10-4",
    "L.11-valid-nil",
    "L.11-valid-no-constraints",
    "L.11-select-nothing",
    "L.11-select-nothing-empty-terms",
    "L.11-valid-multiple-match-expressions",
    "L.11-invalid--key",
    "L.11-invalid--values",
    "L.11-invalid-multiple-terms",
    "L.12-1",
    "L.12-2",
    "L.12-3",
];

/// uid, name, cell.
const FIXTURE: &str = "
gce-pd-10 gce003 10G Available
gce-pd-20 gce004 20G Bound ref=/def456
nfs-5 nfs002 5G Available modes=RWO,ROX,RWX
gce-pd-1 gce001 1G Bound ref=/abc123
nfs-10 nfs003 10G Available modes=RWO,ROX,RWX
gce-pd-5 gce002 5G Available
nfs-1 nfs001 1G Available modes=RWO,ROX,RWX
gce-pd-2 gce0022 20000G Available modes=RWO labels=should-exist=true
gce-pd-silver1 gce0023 10000G Available modes=RWO class=silver labels=should-exist=true
gce-pd-silver2 gce0024 100G Available modes=RWO class=silver
gce-pd-gold gce0025 50G Available modes=RWO class=gold
local-pd-very-large local001 200E Available modes=RWO,ROX,RWX class=large
local-pd-extremely-large local002 800E Available modes=RWO,ROX,RWX class=large
affinity-pv affinity001 100G Available class=wait node=key1:value1
affinity-pv2 affinity002 150G Available class=wait node=key1:value1
affinity-prebound affinity003 100G Available class=wait ref=claim02/- node=key1:value1
affinity-pv3 affinity003 200G Available class=wait node=key1:value3
affinity-pv4-pending affinity004-pending 200G Pending class=wait node=key1:value4
affinity-pv4-failed affinity004-failed 200G Failed class=wait node=key1:value4
affinity-pv4-released affinity004-released 200G Released class=wait node=key1:value4
affinity-pv4-empty affinity004-empty 200G nophase class=wait node=key1:value4
gce-pd-vac-silver1 gce-pd-vac-silver1 100G Available vac=silver
";

/// For searches with a node.
const NODE_FIXTURE: &str = "
local001 local001 5G Available
local002 local002 200E Available class=large
affinity-pv affinity001 100G Available class=wait node=key1:value1
affinity-pv2 affinity002 150G Available class=wait node=key1:value1
affinity-prebound affinity-prebound 100G Available class=wait ref=claim02/- node=key1:value1
affinity-pv3 affinity-pv3 200G Available class=wait node=key1:value3
affinity-pv4 affinity004 200G nophase class=wait node=key1:value4
";

fn names() -> Names {
    Names { id: "claim01".into() }
}

fn volume_row(name: &str, cell: &str) -> Volume {
    let mut object = notation::volume(&names(), name, cell, None);
    if let Some(reference) = object["spec"]["claimRef"].as_object_mut() {
        // These claims live in `myns`; a reference may have no name at all.
        let named = reference["name"] != "";
        reference.insert("namespace".into(), if named { "myns".into() } else { "".into() });
    }
    Volume::from_object(&object).expect(name)
}

fn index(fixture: &str, extra: &str) -> VolumeIndex {
    let mut index = VolumeIndex::default();
    for line in fixture.lines().filter(|line| !line.is_empty()) {
        let (uid, rest) = line.split_once(' ').expect("uid");
        let (name, cell) = rest.split_once(' ').expect("name");
        index.insert(Arc::new(volume_row(name, &format!("{cell} uid={uid} {extra}"))));
    }
    index
}

/// A claim `myns/<name>` without uid.
fn claim_row(name: &str, cell: &str) -> Claim {
    let mut object = notation::claim(&names(), &format!("{cell} Pending"), None);
    object["metadata"] = json!({"name": name, "namespace": "myns",
        "annotations": object["metadata"]["annotations"]});
    Claim::from_object(&object).expect("a claim")
}

fn labels(value: &str) -> Vec<(Arc<str>, Arc<str>)> {
    vec![("key1".into(), value.into())]
}

#[test]
fn searches_find_the_volume_of_their_row() {
    const ROWS: &str = "
match-gce-10 | 8G | gce-pd-10
match-nfs-5 | 5G modes=ROX,RWO,RWX | nfs-5
skip-1g-bound-volume | 1G | gce-pd-5
no-match | 999G | -
no-match-size-with-selector | 20000G selector=should-exist=true modes=ROX,RWO | -
match-with-selector | 20000G selector=should-exist=true modes=RWO | gce-pd-2
match-with-empty-VAC | 8G vac= | gce-pd-10
match-with-VAC | 1G vac=silver | gce-pd-vac-silver1
match-with-class-and-selector | 1G modes=RWO class=silver selector=should-exist=true | gce-pd-silver1
match-with-class | 1G modes=RWO class=silver | gce-pd-silver2
very-large | 1E modes=RWO class=large | local-pd-very-large
exactly-extremely-large | 800E modes=RWO class=large | local-pd-extremely-large
delayed-mode | 8G delayed | -
";
    let index = index(FIXTURE, "");
    let mut failed = Vec::new();
    for row in ROWS.lines().filter(|line| !line.is_empty()) {
        let cells: Vec<&str> = row.split('|').map(str::trim).collect();
        let delayed = cells[1].contains("delayed");
        let claim = claim_row("claim01", &cells[1].replace("delayed", ""));
        let search = Search { delayed, ..Search::IMMEDIATE };
        let found = index.find(&claim, &search).map_or("-", |(volume, _)| &*volume.meta.uid);
        if found != cells[2] {
            failed.push(format!("{}: found {found}, not {}", cells[0], cells[2]));
        }
        agrees_with_every_volume(&index, &claim, &search);
    }
    assert!(failed.is_empty(), "{}", failed.join("\n"));
}

/// The oracle: the same choice by looking at every volume.
#[track_caller]
fn agrees_with_every_volume(index: &VolumeIndex, claim: &Claim, search: &Search<'_>) {
    let best = super::properties::choose(index.iter(), claim, search);
    let found = index.find(claim, search).map(|(volume, _)| volume.meta.key.name.clone());
    assert_eq!(found, best, "{claim:?}");
}

#[test]
fn l2_buckets_list_by_size_and_serve_by_modes() {
    // L2-1
    let two = index("abc123 gce001 1G Bound ref=/abc123\ngce002 gce002 1G Available", "");
    let found = two.find(&claim_row("claim01", "1G"), &Search::IMMEDIATE).expect("found");
    assert_eq!(&*found.0.meta.key.name, "gce002");
    let index = index(FIXTURE, "");
    let modes = |list: &str| claim_row("claim01", &format!("1G modes={list}")).access_modes;
    let listed = |list: &str| -> Vec<String> {
        let mut bucket: Vec<_> =
            index.iter().filter(|volume| volume.access_modes == modes(list)).collect();
        bucket.sort_by_key(|volume| volume.capacity);
        bucket.iter().map(|volume| volume.meta.uid.to_string()).collect()
    };
    // L2-2, L2-3
    assert_eq!(listed("RWO,ROX")[..3], ["gce-pd-1", "gce-pd-5", "gce-pd-10"]);
    let wide = ["nfs-1", "nfs-5", "nfs-10", "local-pd-very-large", "local-pd-extremely-large"];
    assert_eq!(listed("RWO,ROX,RWX"), wide);
    // L2-4, L2-5
    let serving = |list: &str| -> Vec<String> {
        index.serving(modes(list)).map(|modes| modes.to_string()).collect()
    };
    assert_eq!(serving("RWO"), ["RWO", "RWO,ROX", "RWO,ROX,RWX"]);
    assert_eq!(serving("RWX"), ["RWO,ROX,RWX"]);
}

#[test]
fn l3_the_narrowest_modes_win() {
    let volumes = |ebs: &str, gce: &str| {
        let fixture = format!(
            "ebs ebs 10G Available modes=RWO {ebs}\ngce gce 10G Available {gce}\n\
             nfs nfs 10G Available modes=RWO,ROX,RWX"
        );
        index(&fixture, "")
    };
    let (taken, free) = ("ref=/", "");
    for (step, ebs, gce, modes, wanted) in [
        ("1", free, free, "RWO", "ebs"),
        ("2", free, free, "RWO,ROX", "gce"),
        ("3", free, free, "RWX,RWO,ROX", "nfs"),
        ("4", free, free, "RWX", "nfs"),
        ("6", taken, taken, "RWO", "nfs"),
        ("7", taken, free, "ROX", "gce"),
    ] {
        let index = volumes(ebs, gce);
        let claim = claim_row("claim01", &format!("1G modes={modes}"));
        let found = index.find(&claim, &Search::IMMEDIATE).expect("found").0;
        assert_eq!(&*found.meta.uid, wanted, "step {step}");
    }
}

#[test]
fn l4_a_reserved_volume_wins_if_it_suits() {
    let reserve = |name: &str, namespace: &str, claim: &str| {
        let fixture = "pv1 pv1 1Gi Available\npv5 pv5 5Gi Available\npv8 pv8 8Gi Available\n\
                       pvBadSize pvBadSize 1Mi Available";
        let mut index = index(fixture, "modes=RWO");
        index.insert(Arc::new(volume_row("pvBadMode", "1Gi Available modes=ROX")));
        if !name.is_empty() {
            let mut row = (**index.get(name).expect(name)).clone();
            row.claim_ref = Some(ClaimRef { key: Key::new(namespace, claim), uid: "".into() });
            index.insert(Arc::new(row));
        }
        index
    };
    for (step, index, wanted) in [
        ("1", reserve("", "", ""), "pv1"),
        ("2", reserve("pv1", "foo", "bar"), "pv5"),
        ("3", reserve("pv8", "myns", "claim01"), "pv8"),
        ("4", reserve("pvBadSize", "myns", "claim01"), "pv1"),
    ] {
        let claim = claim_row("claim01", "1Gi modes=RWO");
        let found = index.find(&claim, &Search::IMMEDIATE).expect("found").0;
        assert_eq!(&*found.meta.key.name, wanted, "step {step}");
    }
}

#[test]
fn l5_l6_volume_modes_must_agree_and_default_to_filesystem() {
    let of = |claim: &str, volume: &str| {
        let claim = claim_row("claim01", &format!("8G modes=RWO {claim}"));
        (claim, volume_row("v", &format!("10G Available modes=RWO {volume}")))
    };
    for (claim, volume, agree) in [
        ("Block", "Filesystem", false),
        ("Filesystem", "Block", false),
        ("Block", "Block", true),
        ("Filesystem", "Filesystem", true),
        ("", "Filesystem", true),
        ("", "", true),
        ("", "Block", false),
        ("Block", "", false),
        ("Filesystem", "", true),
    ] {
        let (row, offered) = of(claim, volume);
        assert_eq!(fit::same_volume_mode(&row, &offered).is_ok(), agree, "{claim} {volume}");
        let mut index = VolumeIndex::default();
        index.insert(Arc::new(offered));
        let found = index.find(&row, &Search::IMMEDIATE).is_some();
        assert_eq!(found, agree, "search: {claim} {volume}");
    }
}

#[test]
fn l7_l8_deletion_and_access_modes() {
    let claim = claim_row("claim01", "1G modes=RWO");
    let (here, leaving) = (
        volume_row("pv1", "1G Available modes=RWO"),
        volume_row("pv1", "1G Available modes=RWO deleting"),
    );
    assert_eq!(fit::why_not_satisfy(&claim, &here), Ok(()));
    let refusal = fit::why_not_satisfy(&claim, &leaving).expect_err("refused");
    let words = "the volume is marked for deletion \"pv1\"";
    assert_eq!(refusal.kubernetes_words().as_deref(), Some(words));
    assert!(fit::why_not_fit(&claim, &here, &Search::IMMEDIATE).is_ok());
    assert!(fit::why_not_fit(&claim, &leaving, &Search::IMMEDIATE).is_err());
    let offered = volume_row("v", "1G Available modes=RWO,RWX").access_modes;
    for (wanted, contained) in [("RWX", true), ("RWX,RWO", true), ("ROX", false)] {
        let wanted = claim_row("c", &format!("1G modes={wanted}")).access_modes;
        assert_eq!(offered.contains_all(wanted), contained);
    }
}

#[test]
fn l9_searches_with_a_node() {
    for (id, extra, claim, name, node, excluded, wanted) in [
        ("success-match", "", "", "claim01", "value1", "", "affinity001"),
        ("success-prebound", "", "", "claim02", "value1", "", "affinity-prebound"),
        ("success-exclusion", "", "", "claim01", "value1", "affinity001", "affinity002"),
        ("fail-exclusion", "", "", "claim01", "value1", "affinity001 affinity002", "-"),
        ("fail-nodeaffinity", "", "", "claim01", "value2", "", "-"),
        ("fail-prebound-node-affinity", "", "", "claim02", "value3", "", "-"),
        ("fail-nonavailable", "", "", "claim04", "value4", "", "-"),
        ("success-bad-and-good-node-affinity", "", "", "claim03", "value3", "", "affinity-pv3"),
        ("fail-vac", "", "vac=silver", "claim01", "value1", "", "-"),
        ("fail-prebound-vac", "vac=gold", "vac=silver", "claim02", "value1", "", "-"),
    ] {
        let index = index(NODE_FIXTURE, extra);
        let claim = claim_row(name, &format!("100G class=wait modes=RWO {claim}"));
        let labels = labels(node);
        let excluded =
            |volume: &Volume| excluded.split(' ').any(|name| *name == *volume.meta.key.name);
        let search = Search { delayed: true, node: Some(&labels), excluded: &excluded };
        let found = index.find(&claim, &search).map_or("-", |(volume, _)| &*volume.meta.key.name);
        assert_eq!(found, wanted, "{id}");
    }
}

#[test]
fn l10_a_class_decides_whether_binding_waits() {
    let mut cache = Cache::default();
    for (name, mode) in [
        ("no-mode", Value::Null),
        ("immediate-mode", "Immediate".into()),
        ("wait-mode", "WaitForFirstConsumer".into()),
    ] {
        let class = json!({"metadata": {"name": name}, "provisioner": "p",
            "volumeBindingMode": mode});
        cache.put_class(Arc::new(StorageClass::from_object(&class).expect("a class")));
    }
    let (holds, live) = (Holds::default(), Live::default());
    let view = View {
        cache: &cache,
        plugins: &[],
        holds: &holds,
        live: &live,
        dynamic_provisioning: true,
    };
    let delayed = |cell: &str| is_delayed(&view, &claim_row("claim01", cell));
    assert_eq!(delayed("1G"), Ok(false));
    let error = delayed("1G class=no-mode").expect_err("an error").to_string();
    assert_eq!(error, "VolumeBindingMode not set for StorageClass \"no-mode\"");
    assert_eq!(delayed("1G class=immediate-mode"), Ok(false));
    assert_eq!(delayed("1G class=wait-mode"), Ok(true));
}

#[test]
fn l11_node_affinity_of_a_volume() {
    let (key1, key2, key3) = ("test-key1", "test-key2", "test-key3");
    let node: Vec<(Arc<str>, Arc<str>)> =
        vec![(key1.into(), "test-value1".into()), (key2.into(), "test-value2".into())];
    let term = |expressions: &[(&str, [&str; 2])]| {
        let expressions: Vec<Value> = expressions
            .iter()
            .map(|(key, values)| json!({"key": key, "operator": "In", "values": values}))
            .collect();
        json!({"matchExpressions": expressions})
    };
    let (v0, v1, v2, v3, v4) =
        ("test-value0", "test-value1", "test-value2", "test-value3", "test-value4");
    let terms = |terms: Vec<Value>| json!({"required": {"nodeSelectorTerms": terms}});
    for (id, affinity, matches) in [
        ("valid-nil", Value::Null, true),
        ("valid-no-constraints", json!({"required": null}), true),
        ("select-nothing", terms(vec![]), false),
        ("select-nothing-empty-terms", terms(vec![term(&[])]), false),
        (
            "valid-multiple-match-expressions",
            terms(vec![term(&[(key1, [v1, v3]), (key2, [v0, v2])])]),
            true,
        ),
        ("invalid-key", terms(vec![term(&[(key1, [v1, v3]), (key3, [v0, v2])])]), false),
        ("invalid-values", terms(vec![term(&[(key1, [v3, v4]), (key2, [v0, v2])])]), false),
        (
            "invalid-multiple-terms",
            terms(vec![term(&[(key3, [v1, v3])]), term(&[(key2, [v0, v1])])]),
            false,
        ),
    ] {
        let mut object = notation::volume(&names(), "v", "1G Available", None);
        object["spec"]["nodeAffinity"] = affinity;
        let volume = Volume::from_object(&object).expect("a volume");
        assert_eq!(fit::usable_on(&volume, &node), matches, "{id}");
    }
}

#[test]
fn l12_an_empty_class_is_a_class() {
    assert_eq!(claim_row("c", "1G").class, None);
    assert!(claim_row("c", "1G betaclass=").class.is_some());
    assert!(claim_row("c", "1G class=").class.is_some());
}
