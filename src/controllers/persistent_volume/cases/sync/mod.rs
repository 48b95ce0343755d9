//! Sections A to J, K.3 to K.5: one sync of a claim or a volume, operations
//! awaited, and what is then there.

mod compare;
mod rows;
mod start;

use std::collections::BTreeSet;

use serde_json::Value;

use compare::{differences, events_differ, expect};
use rows::{A, B, C, D, E, F, G, H, I, J, K3, K5, K5_15_1, K5_COPPER};
use start::{interfere, prepare, world};

use super::notation::{Names, claim, volume};
use super::world::{World, block_on};
use crate::controllers::persistent_volume::because::{RECLAIM_RULES, RULES};
use crate::model::kind;
use crate::model::object::{Key, ObjectRef};

/// What a section's rows start with.
#[derive(Clone, Copy)]
struct Section {
    rows: &'static str,
    classes: &'static [Value2],
    plugin: bool,
}

/// A class: name, provisioner, whether it waits, whether it is the default.
type Value2 = (&'static str, &'static str, bool, bool);

const MOCK: &str = "kubernetes.io/mock-volume";
const NONE: &str = "kubernetes.io/no-provisioner";

const SECTIONS: [Section; 14] = [
    Section { rows: A, classes: &[("wait", NONE, true, false)], plugin: false },
    Section { rows: B, classes: &[("wait", NONE, true, false)], plugin: false },
    Section { rows: C, classes: &[("wait", NONE, true, false)], plugin: false },
    Section { rows: D, classes: &[("wait", NONE, true, false)], plugin: false },
    Section { rows: E, classes: &[("wait", NONE, true, false)], plugin: false },
    Section { rows: F, classes: &[], plugin: false },
    Section { rows: G, classes: &[], plugin: false },
    Section {
        rows: H,
        classes: &[
            ("gold", MOCK, false, false),
            ("silver", MOCK, false, false),
            ("copper", MOCK, true, false),
            ("external", "vendor.com/my-volume", false, false),
            ("external-wait", "vendor.com/my-volume-wait", true, false),
            ("unknown-internal", "kubernetes.io/unknown", false, false),
            ("unsupported-mountoptions", MOCK, false, false),
            ("csi", "mydriver.csi.k8s.io", false, false),
        ],
        plugin: true,
    },
    Section { rows: I, classes: &[], plugin: true },
    Section { rows: J, classes: &[], plugin: true },
    Section { rows: K3, classes: &[], plugin: false },
    Section { rows: K5_15_1, classes: &[], plugin: false },
    Section {
        rows: K5,
        classes: &[("gold", NONE, false, true), ("silver", NONE, false, false)],
        plugin: false,
    },
    Section {
        rows: K5_COPPER,
        classes: &[("gold", NONE, false, true), ("copper", NONE, false, false)],
        plugin: false,
    },
];

pub fn ids() -> Vec<String> {
    SECTIONS.iter().flat_map(|section| rows(section.rows)).map(|row| row[0].to_owned()).collect()
}

fn rows(text: &'static str) -> impl Iterator<Item = Vec<&'static str>> {
    text.lines()
        .filter(|line| !line.trim().is_empty())
        .map(|line| line.split('|').map(str::trim).collect())
}

#[test]
fn every_sync_leads_where_its_row_says() {
    let (mut failed, mut rules) = (Vec::new(), BTreeSet::new());
    for section in SECTIONS {
        for row in rows(section.rows) {
            if let Err(why) = block_on(run(section, &row, &mut rules)) {
                failed.push(format!("{}: {why}", row[0]));
            }
        }
    }
    assert!(failed.is_empty(), "{} rows fail:\n{}", failed.len(), failed.join("\n"));
    let unmet = RULES.iter().chain(&RECLAIM_RULES).filter(|rule| !rules.contains(**rule));
    let unmet: Vec<_> = unmet.collect();
    assert!(unmet.is_empty(), "rules that no row meets: {unmet:?}");
}

/// The parts of a cell that stands for several volumes.
fn volumes<'a>(names: &Names, cell: &'a str) -> Vec<(String, &'a str)> {
    if matches!(cell, "-" | "=" | "gone" | "PROV") {
        return Vec::new();
    }
    let parts = cell.split("; ").filter(|part| !part.starts_with("message "));
    parts
        .map(|part| {
            let (name, cell) = part.split_once(':').expect("name: cell");
            (names.volume(name.trim()), cell.trim())
        })
        .collect()
}

async fn run(section: Section, row: &[&str], rules: &mut BTreeSet<String>) -> Result<(), String> {
    let [id, call, before, claim_before, after, claim_after, events] = *row else {
        return Err(format!("{} cells", row.len()));
    };
    let names = Names { id: id.trim_end_matches("+plugin").to_owned() };
    let mut world = world(section, call);
    let mut expected: Vec<(ObjectRef, Option<Value>)> = Vec::new();
    for (name, cell) in volumes(&names, before) {
        let object = volume(&names, &name, cell, None);
        expected.push((world.server.put(object.clone()), Some(object)));
    }
    let own_claim =
        ObjectRef::new(kind::PERSISTENT_VOLUME_CLAIM, Key::new("default", names.claim()));
    if claim_before != "-" {
        let cell = claim_before.replace("beta=", "ga=");
        let mut object = claim(&names, &cell, None);
        if cell != claim_before {
            rename(&mut object, "volume.kubernetes.io/", "volume.beta.kubernetes.io/");
        }
        expected.push((world.server.put(object.clone()), Some(object)));
    }
    world.refresh();
    prepare(&world, call, &own_claim);
    let target = match call.starts_with('c') {
        true => own_claim.clone(),
        false => expected.first().map(|(object, _)| object.clone()).ok_or("no volume")?,
    };
    expect(&mut expected, &names, after, claim_after, &own_claim);

    rules.extend(world.controller.rule_now(&target).map(str::to_owned));
    let enqueued = act(&world, call, &names, &target).await?;
    world.refresh();
    rules.extend(world.controller.rule_now(&target).map(str::to_owned));
    let written: Vec<_> =
        world.server.lock().asked.iter().map(|write| write.reason.rule.clone()).collect();
    rules.extend(written);
    let mut wrong = differences(&world, &expected);
    wrong.extend(events_differ(&mut world, events, &enqueued, &own_claim));
    // Settled: looking again writes nothing. Only a volume that has just been
    // provisioned calls for more: the bind.
    let provisioned = after == "PROV" || call.contains("appears");
    let writes = world.writes();
    world.refresh();
    world.sync(&target, |_| {}).await;
    if world.writes() != writes && !provisioned {
        let last = world.server.lock().asked.last().cloned();
        wrong.push(format!("not settled: {:?}", last.map(|write| (write.object, write.change))));
    }
    if wrong.is_empty() { Ok(()) } else { Err(wrong.join("\n      ")) }
}

fn rename(object: &mut Value, from: &str, to: &str) {
    if let Some(annotations) = object["metadata"]["annotations"].as_object_mut() {
        let renamed = std::mem::take(annotations).into_iter();
        *annotations = renamed.map(|(key, value)| (key.replace(from, to), value)).collect();
    }
}

/// Does what the row calls for; the objects enqueued meanwhile.
async fn act(
    world: &World,
    call: &str,
    names: &Names,
    target: &ObjectRef,
) -> Result<Vec<ObjectRef>, String> {
    let before = |world: &World| interfere(world, call, names, target);
    if call.contains('∞') {
        world.sync(target, before).await;
        if call.contains("external-makes") {
            world.refresh();
            world.sync(target, |_| {}).await;
            let name = format!("pvc-{}", names.uid());
            world.server.put(volume(names, &name, "1Gi Available class=external", None));
        }
        if !world.settle().await {
            return Err("it does not settle".to_owned());
        }
        return Ok(Vec::new());
    }
    let mut pass = world.pass(target).await;
    before(world);
    if let Some(operation) = pass.operation.take() {
        operation.await;
    }
    let failed = matches!(pass.outcome, crate::controllers::work_loop::Outcome::Failed(_));
    if failed != call.starts_with("c!") {
        return Err(format!("the sync ended with {:?}", pass.outcome));
    }
    Ok(pass.enqueue)
}
