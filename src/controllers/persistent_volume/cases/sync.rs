//! Sections A to J, K.3 to K.5: one sync of a claim or a volume, operations
//! awaited, and what is then there.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::notation::{Names, claim, compared, volume};
use super::world::{Fault, World, block_on};
use crate::controllers::persistent_volume::because::{RECLAIM_RULES, RULES};
use crate::model::event::Severity;
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

/// Cells: id, call and script, volumes, claim, volumes after, claim after,
/// events. `=` is unchanged, `-` is nothing, `gone` is deleted.
const A: &str = r#"
1-1 | c | V: 1Gi Available | 1Gi Pending | V: Bound ref=me bc | Bound vol=V bc bd | -
1-2 | c | V: 1Gi Available | 10Gi Pending | = | = | N FailedBinding ~no persistent volumes available for this claim and no storage class is set
1-3 | c | V: 1Gi Available | 10Gi Bound | = | Pending | N FailedBinding
1-4 | c | V_1: 10Gi Available; V_2: 1Gi Available | 1Gi Pending | V_2: Bound ref=me bc | Bound vol=V_2 bc bd | -
1-6 | c | V_1: 10Gi Available ref=me; V_2: 1Gi Available | 1Gi Pending | V_1: Bound ref=me | Bound vol=V_1 cap=10Gi bc bd | -
1-7 | c | V: 10Gi Available ref=claim1-7/uid1-777 | 1Gi Pending | = | = | N FailedBinding
1-8 | c | V: 1Gi Available ref=me bc | 1Gi Pending | V: Bound ref=me bc | Bound vol=V bc bd | -
1-9 | c | V: 1Gi Bound ref=me bc | 1Gi Pending | V: Bound ref=me bc | Bound vol=V bc bd | -
1-11 | c | V: 1Gi Available labels=foo=true,bar=false | 1Gi Pending selector=foo=true,bar=false | V: Bound ref=me bc | Bound vol=V bc bd | -
1-12 | c | V: 1Gi Available | 1Gi Pending selector=foo=true,bar=false | = | = | N FailedBinding
1-13 | c | V: 1Gi Available class=wait | 1Gi Pending class=wait | = | = | N WaitForFirstConsumer ~waiting for first consumer to be created before binding
C3b | c pods=a | - | 1Gi Pending class=wait | - | = | N WaitForPodScheduled ~waiting for pod a to be scheduled
C3c | c pods=a,b | - | 1Gi Pending class=wait | - | = | N WaitForPodScheduled ~waiting for pods a,b to be scheduled
1-14 | c | V: 1Gi Available ref=me/- class=wait | 1Gi Pending class=wait | V: Bound ref=me | Bound vol=V bc bd | -
1-16 | c | V: 1Gi Available | 1Gi Pending vol=V modes=RWX | = | = | W VolumeMismatch ~Cannot bind to requested volume "volume1-16": incompatible accessMode
1-17 | c | V_1: 1Gi Pending; V_2: 1Gi Failed; V_3: 1Gi Released; V_4: 1Gi nophase | 1Gi Pending | = | = | N FailedBinding
1-18 | c | V: 1Gi Available ref=me class=wait | 1Gi Pending class=wait sn=node1 | V: Bound ref=me | Bound vol=V bc bd | -
"#;

const B: &str = r#"
2-1 | c | - | 10Gi Pending vol=V | = | = | -
2-3 | c | V: 1Gi Available | 1Gi Pending vol=V | V: Bound ref=me bc | Bound vol=V bd | -
2-4 | c | V: 1Gi Available ref=me/- | 1Gi Pending vol=V | V: Bound ref=me | Bound vol=V bd | -
2-5 | c | V: 1Gi Available ref=me | 1Gi Pending vol=V | V: Bound ref=me | Bound vol=V bd | -
2-6 | c | V: 1Gi Bound ref=claim2-6_1/uid2-6_1 | 1Gi Bound vol=V | = | Pending | W FailedBinding ~volume "volume2-6" already bound to a different claim.
2-8 | c | V: 1Gi Available | 1Gi Pending vol=V selector=foo=true,bar=false | V: Bound ref=me bc | Bound vol=V bd | -
2-9 | c | V: 1Gi Available | 2Gi Bound vol=V | = | Pending | W VolumeMismatch ~requested PV is too small
2-10 | c | V: 1Gi Available class=gold | 1Gi Bound vol=V | = | Pending | W VolumeMismatch ~storageClassName does not match
2-11 | c | V: 1Gi Available vac=gold | 1Gi Bound vol=V | = | Pending | W VolumeMismatch ~volumeAttributesClassName does not match
C8b | c! | V: 1Gi Bound ref=other/u | 1Gi Bound vol=V bc | = | = | W FailedBinding ~already bound to a different claim.
"#;

const C: &str = r#"
3-1 | c | - | 10Gi Bound bc bd | = | Lost | W ClaimLost ~Bound claim has lost reference to PersistentVolume. Data on the volume is lost!
3-3 | c | V: 10Gi Available | 10Gi Pending vol=V bc bd | V: Bound ref=me bc | Bound vol=V bc bd | -
3-4 | c | V: 10Gi Available ref=claim3-4/claim3-4-x | 10Gi Pending vol=V bc bd | = | Lost | W ClaimMisbound ~Two claims are bound to the same volume, this one is bound incorrectly
3-5 | c | V: 10Gi Available ref=me | 10Gi Pending vol=V bd | V: Bound ref=me | Bound vol=V bd | -
3-6 | c | V: 10Gi Available ref=claim3-6-x/uid3-6-x | 10Gi Pending vol=V bd | = | Lost | W ClaimMisbound
B2 | c | - | 10Gi Bound vol=V bc bd | = | Lost | W ClaimLost ~Bound claim has lost its PersistentVolume. Data on the volume is lost!
B5-reserved | c | V: 10Gi Available ref=me/- | 10Gi Bound vol=V bd | = | Lost | W ClaimMisbound
"#;

const D: &str = r#"
4-1 | v | V: 10Gi Available | - | = | - | -
4-2 | v | V: 10Gi Available ref=me/- | - | = | - | -
4-3 | v | V: 10Gi Bound ref=me | - | V: Released ref=me | - | -
4-4 | v | V: 10Gi Bound ref=me | 10Gi Bound vol=V bd uid=uid4-4-x | V: Released ref=me | = | -
4-5b | v | V: 10Gi Bound ref=me | 10Gi Pending | = | = | enqueued
4-6 | v | V: 10Gi Available ref=me | 10Gi Bound vol=V | V: Bound ref=me | = | -
4-7 | v | V: 10Gi Bound ref=me bc | 10Gi Bound vol=volume4-7-x | V: Available | = | -
4-8 | v | V: 10Gi Bound ref=me | 10Gi Bound vol=volume4-8-x | V: Available ref=me/- | = | -
4-10 | v | V: 10Gi Available ref=me Delete | - | V: Failed ref=me ; message error getting deleter volume plugin for volume "volume4-10": no volume plugin matched | - | W VolumeFailedDelete ~error getting deleter volume plugin for volume "volume4-10": no volume plugin matched
4-11 | v hide-claim | V: 10Gi Available ref=me Delete | 10Gi Bound vol=V | V: Bound ref=me | = | -
4-12 | v old-claim | V: 10Gi Available ref=claim4-12/uid4-12-new Delete | 10Gi Bound vol=V | V: Bound ref=claim4-12/uid4-12-new | uid=uid4-12-new | -
R0 | v | V: 1Gi Released ref=me Delete migrated=pd.csi.storage.gke.io pb=kubernetes.io/gce-pd | - | = | - | -
R1 | v | V: 1Gi Released ref=me Retain | - | = | - | -
R4 | v | V: 1Gi Released ref=me Shred | - | V: Failed ref=me ; message Volume has unrecognized PersistentVolumeReclaimPolicy | - | W VolumeUnknownReclaimPolicy ~Volume has unrecognized PersistentVolumeReclaimPolicy
V0 | v | V: 1Gi Available Delete pb fin=[X] | - | V: fin=[X,PVC] | - | -
"#;

const E: &str = r#"
13-1 | c | V-1: 1Gi Available; V-2: 10Gi Available class=gold | 1Gi Pending class=gold | V-2: Bound ref=me bc | Bound vol=V-2 cap=10Gi bc bd | -
13-3 | c | V-1: 1Gi Available class=silver; V-2: 10Gi Available class=gold | 1Gi Pending class=gold | V-2: Bound ref=me bc | Bound vol=V-2 cap=10Gi bc bd | -
13-4 | c | V: 1Gi Available | 1Gi Pending class= | V: Bound ref=me bc | Bound vol=V bc bd | -
13-5 | c | V: 1Gi Available | 1Gi Pending | V: Bound ref=me bc | Bound vol=V bc bd | -
"#;

const F: &str = r#"
14-1 | c | V: 10Gi Available Block | 10Gi Pending Block | V: Bound ref=me bc | Bound vol=V bc bd | -
14-2 | c | V: 10Gi Available Filesystem | 10Gi Pending Filesystem | V: Bound ref=me bc | Bound vol=V bc bd | -
14-3 | c | V: 10Gi Available Filesystem | 10Gi Pending Block | = | = | N FailedBinding
14-4 | c | V: 10Gi Available Block | 10Gi Pending Filesystem | = | = | N FailedBinding
14-5-1 | c | V: 10Gi Available Filesystem class=gold | 10Gi Pending Filesystem class=silver | = | = | W ProvisioningFailed ~storageclass.storage.k8s.io "silver" not found
14-5-2 | c | V: 10Gi Available Filesystem class=gold | 10Gi Pending Filesystem class=silver vol=V | = | = | W VolumeMismatch
14-7 | c | V: 10Gi Available Block ref=me/- | 10Gi Pending Block | V: Bound ref=me | Bound vol=V bc bd | -
14-8 | c | V: 10Gi Available Block | 10Gi Pending Filesystem vol=V | = | = | W VolumeMismatch ~incompatible volumeMode
14-9 | c | V: 10Gi Available Block | 10Gi Pending Block vol=V | V: Bound ref=me bc | Bound vol=V bd | -
14-10 | c | V: 10Gi Available Block ref=me/- | 10Gi Pending Block | V: Bound ref=me | Bound vol=V bc bd | -
14-11 | c | V: 10Gi Available Filesystem | 10Gi Pending Filesystem vol=V | V: Bound ref=me bc | Bound vol=V bd | -
14-12 | c | V: 10Gi Available Filesystem ref=me/- | 10Gi Pending Filesystem | V: Bound ref=me | Bound vol=V bc bd | -
14-13-1 | v | V: 10Gi Available Block ref=me bc | 10Gi Pending Filesystem | = | = | W VolumeMismatch ~Cannot bind PersistentVolume to requested PersistentVolumeClaim "claim14-13-1" due to incompatible volumeMode. & W VolumeMismatch ~Cannot bind PersistentVolume "volume14-13-1" to requested PersistentVolumeClaim due to incompatible volumeMode.
14-14 | v | V: 10Gi Available Block ref=me bc | 10Gi Pending Block | = | = | enqueued
14-14-1 | v | V: 10Gi Available Filesystem ref=me bc | 10Gi Pending Filesystem | = | = | enqueued
"#;

const G: &str = r#"
10-1 | c∞ | V: 1Gi Pending | 1Gi Pending | V: Bound ref=me bc | Bound vol=V bc bd | N FailedBinding …
10-2 | c∞ | V-1: 1Gi Bound ref=me bc; V-2: 1Gi Bound ref=me bc | 1Gi Bound vol=V-1 bc bd | V-2: Available | = | -
"#;

const H: &str = r#"
11-1 | c provision=ok | - | 1Gi Pending class=gold | PROV | sp | N ProvisioningSucceeded ~Successfully provisioned volume pvc-uid11-1 using kubernetes.io/mock-volume
11-2 | c no-plugin | - | 1Gi Pending class=gold | - | = | W ProvisioningFailed ~no volume plugin matched name: kubernetes.io/mock-volume
11-3 | c | - | 1Gi Pending class=gold | - | sp | W ProvisioningFailed ~Failed to create provisioner: Mock plugin error: no provisionCalls configured
11-4 | c provision=error | - | 1Gi Pending class=gold | - | sp | W ProvisioningFailed ~Failed to provision volume with StorageClass "gold": Mock provisioner error
11-7 | c appears | - | 1Gi Pending class=gold | pvc-uid11-7: 1Gi Bound ref=me Delete class=gold bc pb | sp | -
11-8 | c provision=ok creates=error | - | 1Gi Pending class=gold | PROV | sp | N ProvisioningSucceeded
11-9 | c provision=ok creates=error*5 deletes=ok | - | 1Gi Pending class=gold | - | sp | W ProvisioningFailed ~Error creating provisioned PV object for claim default/claim11-9:
11-10 | c provision=ok creates=error*5 | - | 1Gi Pending class=gold | - | sp | W ProvisioningFailed & W ProvisioningCleanupFailed ~Please delete manually.
11-12 | c provision=ok creates=error*5 deletes=error,ok | - | 1Gi Pending class=gold | - | sp | W ProvisioningFailed
11-13 | c provision=ok | - | 1Gi Pending class=silver | PROV | sp | N ProvisioningSucceeded
11-14 | c | - | 1Gi Pending class=non-existing | - | = | W ProvisioningFailed ~storageclass.storage.k8s.io "non-existing" not found
11-15 | c | - | 1Gi Pending class= | - | = | N FailedBinding
11-17 | c | - | 1Gi Pending class=external | - | sp=vendor.com/my-volume | N ExternalProvisioning ~Waiting for a volume to be created either by the external provisioner 'vendor.com/my-volume' or manually by the system administrator. If volume creation is delayed, please verify that the provisioner is running and correctly registered.
11-18 | c | - | 1Gi Pending class=unknown-internal | - | = | W ProvisioningFailed ~no volume plugin matched name: kubernetes.io/unknown
11-19 | c provision=ok creates=error,exists | - | 1Gi Pending class=gold | - | sp | N ProvisioningSucceeded
11-20 | c | - | 1Gi Pending class=unsupported-mountoptions | - | sp | W ProvisioningFailed ~Mount options are not supported by the provisioner but StorageClass "unsupported-mountoptions" has mount options [foo]
11-22 | c | V: 1Gi Available class=external | 1Gi Pending class=external | V: Bound ref=me bc | Bound vol=V bc bd | -
11-23 | c provision=ok | V: 1Gi Available Delete class=copper | 1Gi Pending class=copper sn=node1 | PROV | sp | N ProvisioningSucceeded
11-24 | c no-plugin | V: 1Gi Available Delete class=external-wait | 1Gi Pending class=external-wait sn=node1 | = | sp=vendor.com/my-volume-wait | N ExternalProvisioning
11-25 | c no-plugin | - | 1Gi Pending class=gold snapshot=test-snap | - | = | W ProvisioningFailed
11-25+plugin | c | - | 1Gi Pending class=gold snapshot=test-snap | - | = | W ProvisioningFailed ~plugin "kubernetes.io/mock-volume" is not a CSI plugin. Only CSI plugin can provision a claim with a datasource
11-node | c provision=ok | - | 1Gi Pending class=copper sn=node2 | - | sp | W ProvisioningFailed ~Failed to get target node: nodes "node2" not found
12-1 | c∞ provision=ok | - | 1Gi Pending class=gold | PROV | Bound vol=pvc-uid12-1 bc bd sp | N ProvisioningSucceeded
12-2 | c∞ external-makes | - | 1Gi Pending class=external | pvc-uid12-2: 1Gi Bound class=external ref=me bc | Bound vol=pvc-uid12-2 bc bd sp=vendor.com/my-volume | N ExternalProvisioning …
12-3 | c∞ | - | 1Gi Pending class=external | - | sp=vendor.com/my-volume | N ExternalProvisioning …
DIS | c off | - | 1Gi Pending class=gold | - | = | -
"#;

const I: &str = r#"
8-1 | v deletes=ok | V: 1Gi Bound ref=me Delete bc | - | gone | - | -
8-2 | v deletes=ok | V: 1Gi Bound ref=me Delete | - | gone | - | -
8-3 | v no-plugin | V: 1Gi Bound ref=me Delete | - | V: Failed ref=me ; message error getting deleter volume plugin for volume "volume8-3": no volume plugin matched | - | W VolumeFailedDelete
8-4 | v | V: 1Gi Bound ref=me Delete | - | V: Failed ref=me ; message failed to create deleter for volume "volume8-4": Mock plugin error: no deleteCalls configured | - | W VolumeFailedDelete
8-6 | v vanishes | V: 1Gi Bound ref=me Delete | - | gone | - | -
8-7 | v claim-returns | V: 1Gi Bound ref=me Delete bc | - | V: Bound ref=me bc | 10Gi Bound vol=V | -
8-9 | v deletes=ok | V: 1Gi Bound ref=me Delete | 10Gi Pending uid=uid8-9-x | gone | = | -
8-10-1 | v no-plugin | V: csi 1Gi Bound ref=claim10-1-1/uid10-1-1 Delete bc pb=external.io/test | - | V: Released ref=claim10-1-1/uid10-1-1 bc | - | -
8-10-3 | v no-plugin | V: 1Gi Bound ref=claim10-1-3/uid10-1-3 Delete pb=kubernetes.io/gce-pd migrated=pd.csi.storage.gke.io | - | V: Released ref=claim10-1-3/uid10-1-3 | - | -
8-11 | v deletes=ok | V-1: 1Gi Bound ref=me Delete pb fin=[PVC]; V-2: 1Gi Bound ref=me Delete pb fin=[PVC] | 10Gi Bound vol=V-2 | V-1: gone | = | -
8-12 | v no-plugin | V-1: csi 1Gi Bound ref=me Delete pb=external.io/test; V-2: csi 1Gi Bound ref=me Delete pb=pd.csi.storage.gke.io | 10Gi Bound vol=V-2 | V-1: Released ref=me | = | -
9-1 | v∞ deletes=Mock_delete_error,ok | V: 1Gi Bound ref=me Delete fin=[PVC] | - | gone | - | W VolumeFailedDelete ~Mock delete error
"#;

const J: &str = r#"
6-1 | v recycle=ok | V: 1Gi Bound Recycle ref=me bc | - | V: Available | - | N VolumeRecycled ~Volume recycled
6-2 | v recycle=ok | V: 1Gi Bound Recycle ref=me | - | V: Available ref=me/- | - | N VolumeRecycled
6-3 | v no-plugin | V: 1Gi Bound Recycle ref=me | - | V: Failed ref=me ; message No recycler plugin found for the volume! | - | W VolumeFailedRecycle ~No recycler plugin found for the volume!
6-4 | v | V: 1Gi Bound Recycle ref=me | - | V: Failed ref=me ; message Recycle failed: Mock plugin error: no recycleCalls configured | - | W VolumeFailedRecycle
6-6 | v vanishes | V: 1Gi Bound Recycle ref=me | - | gone | - | -
6-7 | v recycled-already | V: 1Gi Bound Recycle ref=me bc | - | V: Available | - | -
6-8 | v recycled-already | V: 1Gi Bound Recycle ref=me | - | V: Available | - | -
6-9 | v recycle=ok | V: 1Gi Bound Recycle ref=me | 10Gi Pending uid=uid6-9-x | V: Available ref=me/- | = | N VolumeRecycled
6-11 | v no-plugin | V: 1Gi Bound Recycle ref=runningClaim/uid6-11 bc | - | V: Released ref=runningClaim/uid6-11 bc | - | N VolumeFailedRecycle ~Volume is used by pods: default/runningPod
6-12 | v no-plugin | V: 1Gi Bound Recycle ref=pendingClaim/uid6-12 bc | - | V: Released ref=pendingClaim/uid6-12 bc | - | N VolumeFailedRecycle ~default/pendingPod
6-13 | v recycle=ok | V: 1Gi Bound Recycle ref=completedClaim/uid6-13 bc | - | V: Available | - | N VolumeRecycled
7-1 | v∞ recycle=Mock_recycle_error,ok | V: 1Gi Bound Recycle ref=me | - | V: Available ref=me/- | - | W VolumeFailedRecycle ~Recycle failed: Mock recycle error & N VolumeRecycled
"#;

const K3: &str = r#"
MA-1 | v | V: 1Gi Available pb=kubernetes.io/gce-pd | 1Gi Pending class= vol=x sp=kubernetes.io/gce-pd | V: migrated=pd.csi.storage.gke.io | = | -
MA-1-claim | c | - | 1Gi Pending vol=x sp=kubernetes.io/gce-pd | - | migrated=pd.csi.storage.gke.io | -
MA-2 | c | - | 1Gi Pending vol=x beta=kubernetes.io/gce-pd | - | migrated=pd.csi.storage.gke.io | -
MA-3 | v | V: 1Gi Available pb=kubernetes.io/rbd | - | = | - | -
MA-4 | v | V: 1Gi Available pb=kubernetes.io/rbd migrated=rbd.csi.ceph.com | - | V: unmigrated | - | -
MA-6 | v | V: 1Gi Available pb=non-migrated-plugin | - | = | - | -
MA-7 | v | V: 1Gi Available | - | = | - | -
MA-8 | c | - | 1Gi Pending vol=x | - | = | -
"#;

const K5_15_1: &str = "
15-1 | c | - | 1Gi Pending | - | = | N FailedBinding
";
const K5: &str = r#"
15-3 | c | - | 1Gi Bound vol=test class=copper bc bd | - | Lost | W ClaimLost
15-4 | c | - | 1Gi Bound vol=test class=copper | - | Pending | -
15-5 | c | - | 1Gi Pending | - | class=gold | -
"#;
const K5_COPPER: &str = r#"
15-6 | c | - | 1Gi Pending class=copper | - | = | W ProvisioningFailed ~no volume plugin matched name: kubernetes.io/no-provisioner
15-7 | c | - | 1Gi Pending betaclass=yes | - | = | W ProvisioningFailed ~storageclass.storage.k8s.io "yes" not found
"#;

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

fn script(text: &str) -> std::collections::VecDeque<Result<(), String>> {
    let entries = text.split(',').map(|entry| match entry {
        "ok" => Ok(()),
        "error" => Err("Mock provisioner error".to_owned()),
        text => Err(text.replace('_', " ")),
    });
    entries.collect()
}

fn world(section: Section, call: &str) -> World {
    let words: Vec<&str> = call.split_whitespace().collect();
    let plugin = section.plugin && !words.contains(&"no-plugin");
    let world = World::new(plugin, !words.contains(&"off"));
    for (name, provisioner, waits, default) in section.classes {
        world.server.put(class(name, provisioner, *waits, *default));
    }
    world.server.put(json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "node1"}}));
    if section.rows == J {
        for (pod, phase) in
            [("running", "Running"), ("pending", "Pending"), ("completed", "Succeeded")]
        {
            world.server.put(json!({
                "apiVersion": "v1", "kind": "Pod",
                "metadata": {"name": format!("{pod}Pod"), "namespace": "default"},
                "spec": {"volumes": [{"name": "v",
                    "persistentVolumeClaim": {"claimName": format!("{pod}Claim")}}]},
                "status": {"phase": phase},
            }));
        }
    }
    for word in words {
        if let Some(pods) = word.strip_prefix("pods=") {
            pods.split(',').for_each(|pod| waiting_pod(&world, call, pod));
        }
        let (key, value) = word.split_once('=').unwrap_or((word, ""));
        match key {
            "provision" => *world.plugin.provisions.lock().expect("script") = script(value),
            "deletes" => *world.plugin.deletes.lock().expect("script") = Some(script(value)),
            "recycle" => *world.plugin.recycles.lock().expect("script") = script(value),
            "creates" => {
                let (value, times) = value.split_once('*').unwrap_or((value, "1"));
                let times: usize = times.parse().expect("a number");
                let faults = value.split(',').map(|fault| match fault {
                    "exists" => Some(Fault::Exists),
                    _ => Some(Fault::Error),
                });
                let faults: Vec<_> = faults.collect();
                world.server.lock().creations = faults.repeat(times).into();
            }
            _ => {}
        }
    }
    world
}

/// A pod that is not scheduled and uses the row's claim.
fn waiting_pod(world: &World, call: &str, pod: &str) {
    let claim = if call.contains(',') { "claimC3c" } else { "claimC3b" };
    world.server.put(json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": pod, "namespace": "default"},
        "spec": {"volumes": [{"name": "v", "persistentVolumeClaim": {"claimName": claim}}]},
    }));
}

fn class(name: &str, provisioner: &str, waits: bool, default: bool) -> Value {
    let mode = if waits { "WaitForFirstConsumer" } else { "Immediate" };
    let mut class = json!({
        "apiVersion": "storage.k8s.io/v1", "kind": "StorageClass", "metadata": {"name": name},
        "provisioner": provisioner, "reclaimPolicy": "Delete", "volumeBindingMode": mode,
    });
    if default {
        class["metadata"]["annotations"]["storageclass.kubernetes.io/is-default-class"] =
            "true".into();
    }
    if name == "unsupported-mountoptions" {
        class["mountOptions"] = json!(["foo"]);
    }
    class
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

/// What the cache is made not to know.
fn prepare(world: &World, call: &str, own_claim: &ObjectRef) {
    if call.contains("hide-claim") {
        let object = world.server.lock().objects.remove(own_claim).expect("the claim");
        world.refresh();
        world.server.put(object);
    }
    if call.contains("old-claim") {
        let mut object = world.server.object(own_claim).expect("the claim");
        object["metadata"]["uid"] = "uid4-12-new".into();
        world.server.put(object);
    }
}

fn expect(
    expected: &mut Vec<(ObjectRef, Option<Value>)>,
    names: &Names,
    after: &str,
    claim_after: &str,
    own_claim: &ObjectRef,
) {
    if after == "gone" {
        expected[0].1 = None;
    }
    let message = after.split_once("; message ").map(|(_, message)| message);
    let mut cells: Vec<(String, String)> =
        volumes(names, after).into_iter().map(|(name, cell)| (name, cell.to_owned())).collect();
    if after == "PROV" {
        let claim = expected.iter().find(|(object, _)| object == own_claim);
        let class =
            claim.and_then(|(_, claim)| claim.as_ref()?["spec"]["storageClassName"].as_str());
        let phase = if claim_after.contains("Bound") { "Bound" } else { "Pending" };
        let class = class.unwrap_or_default();
        let cell = format!("1Gi {phase} ref=me Delete class={class} bc pb fin=[PVC]");
        cells.push((format!("pvc-{}", names.uid()), cell));
    }
    for (name, cell) in cells {
        let object = ObjectRef::new(kind::PERSISTENT_VOLUME, Key::cluster(&*name));
        let held = expected.iter().position(|(other, _)| *other == object);
        if cell == "gone" {
            expected[held.expect("a volume")].1 = None;
            continue;
        }
        let before = held.and_then(|at| expected[at].1.clone());
        let unmigrated = cell == "unmigrated";
        let mut wanted = match (unmigrated, before.as_ref()) {
            (true, Some(before)) => before.clone(),
            (_, before) => volume(names, &name, &cell, before),
        };
        if unmigrated && let Some(annotations) = wanted["metadata"]["annotations"].as_object_mut() {
            annotations.remove("pv.kubernetes.io/migrated-to");
        }
        if let Some(message) = message {
            wanted["status"]["message"] = message.into();
        }
        match held {
            Some(at) => expected[at].1 = Some(wanted),
            None => expected.push((object, Some(wanted))),
        }
    }
    if matches!(claim_after, "=" | "-") {
        return;
    }
    let held = expected.iter().position(|(object, _)| object == own_claim);
    let before = held.and_then(|at| expected[at].1.clone());
    let wanted = match claim_after.strip_prefix("migrated=") {
        Some(driver) => {
            let mut wanted = before.expect("a claim");
            wanted["metadata"]["annotations"]["pv.kubernetes.io/migrated-to"] = driver.into();
            wanted
        }
        None => claim(names, claim_after, before.as_ref()),
    };
    match held {
        Some(at) => expected[at].1 = Some(wanted),
        None => expected.push((own_claim.clone(), Some(wanted))),
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

/// What happens just before the operation starts.
fn interfere(world: &World, call: &str, names: &Names, target: &ObjectRef) {
    if call.contains("vanishes") {
        world.server.lock().objects.remove(target);
    }
    if call.contains("appears") {
        let name = format!("pvc-{}", names.uid());
        let cell = "1Gi Bound ref=me Delete class=gold bc pb";
        world.server.put(volume(names, &name, cell, None));
    }
    if call.contains("recycled-already") {
        let object = world.server.object(target).expect("the volume");
        world.server.put(volume(names, &target.key.name, "Available", Some(&object)));
    }
    if call.contains("claim-returns") {
        world.server.put(claim(names, "10Gi Bound vol=V", None));
        let object = world.server.object(target).expect("the volume");
        world.server.put(volume(names, &target.key.name, "Bound ref=me bc", Some(&object)));
        world.refresh();
    }
}

fn differences(world: &World, expected: &[(ObjectRef, Option<Value>)]) -> Vec<String> {
    let mut wrong = Vec::new();
    for (object, wanted) in expected {
        let found = world.server.object(object).as_ref().map(compared);
        let wanted = wanted.as_ref().map(compared);
        if found != wanted {
            let text = |value: Option<Value>| value.map_or("nothing".into(), |v| v.to_string());
            wrong.push(format!(
                "{object} is {}\n      but should be {}",
                text(found),
                text(wanted)
            ));
        }
    }
    let kinds = [kind::PERSISTENT_VOLUME, kind::PERSISTENT_VOLUME_CLAIM];
    for object in world.server.lock().objects.keys() {
        let known = expected.iter().any(|(other, _)| other == object);
        if kinds.contains(&object.kind) && !known {
            wrong.push(format!("{object} should not be there"));
        }
    }
    wrong
}

fn events_differ(
    world: &mut World,
    events: &str,
    enqueued: &[ObjectRef],
    own_claim: &ObjectRef,
) -> Vec<String> {
    let notes = world.notes();
    let told: Vec<String> = notes
        .iter()
        .map(|note| {
            let severity = if note.severity == Severity::Normal { "N" } else { "W" };
            format!("{severity} {} ~{}", note.reason, note.message)
        })
        .collect();
    if events == "enqueued" {
        let right = told.is_empty() && enqueued == [own_claim.clone()];
        return (!right)
            .then(|| format!("told {told:?}, enqueued {enqueued:?}"))
            .into_iter()
            .collect();
    }
    let repeats = events.ends_with('…');
    let wanted: Vec<&str> = match events.trim_end_matches('…').trim() {
        "-" => Vec::new(),
        list => list.split(" & ").collect(),
    };
    let matches = |wanted: &str, told: &str| {
        let (head, message) = wanted.split_once(" ~").unwrap_or((wanted, ""));
        told.starts_with(&format!("{head} ~")) && told.contains(message)
    };
    let right = if repeats {
        !told.is_empty() && told.iter().all(|told| matches(wanted[0], told))
    } else {
        told.len() == wanted.len() && wanted.iter().zip(&told).all(|(w, t)| matches(w, t))
    };
    (!right).then(|| format!("told {told:?}, but should {wanted:?}")).into_iter().collect()
}
