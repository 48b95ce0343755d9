//! The rows of each section.

/// Cells: id, call and script, volumes, claim, volumes after, claim after,
/// events. `=` is unchanged, `-` is nothing, `gone` is deleted.
pub(super) const A: &str = r#"
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

pub(super) const B: &str = r#"
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

pub(super) const C: &str = r#"
3-1 | c | - | 10Gi Bound bc bd | = | Lost | W ClaimLost ~Bound claim has lost reference to PersistentVolume. Data on the volume is lost!
3-3 | c | V: 10Gi Available | 10Gi Pending vol=V bc bd | V: Bound ref=me bc | Bound vol=V bc bd | -
3-4 | c | V: 10Gi Available ref=claim3-4/claim3-4-x | 10Gi Pending vol=V bc bd | = | Lost | W ClaimMisbound ~Two claims are bound to the same volume, this one is bound incorrectly
3-5 | c | V: 10Gi Available ref=me | 10Gi Pending vol=V bd | V: Bound ref=me | Bound vol=V bd | -
3-6 | c | V: 10Gi Available ref=claim3-6-x/uid3-6-x | 10Gi Pending vol=V bd | = | Lost | W ClaimMisbound
B2 | c | - | 10Gi Bound vol=V bc bd | = | Lost | W ClaimLost ~Bound claim has lost its PersistentVolume. Data on the volume is lost!
B5-reserved | c | V: 10Gi Available ref=me/- | 10Gi Bound vol=V bd | = | Lost | W ClaimMisbound
"#;

pub(super) const D: &str = r#"
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

pub(super) const E: &str = r#"
13-1 | c | V-1: 1Gi Available; V-2: 10Gi Available class=gold | 1Gi Pending class=gold | V-2: Bound ref=me bc | Bound vol=V-2 cap=10Gi bc bd | -
13-3 | c | V-1: 1Gi Available class=silver; V-2: 10Gi Available class=gold | 1Gi Pending class=gold | V-2: Bound ref=me bc | Bound vol=V-2 cap=10Gi bc bd | -
13-4 | c | V: 1Gi Available | 1Gi Pending class= | V: Bound ref=me bc | Bound vol=V bc bd | -
13-5 | c | V: 1Gi Available | 1Gi Pending | V: Bound ref=me bc | Bound vol=V bc bd | -
"#;

pub(super) const F: &str = r#"
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

pub(super) const G: &str = r#"
10-1 | c∞ | V: 1Gi Pending | 1Gi Pending | V: Bound ref=me bc | Bound vol=V bc bd | N FailedBinding …
10-2 | c∞ | V-1: 1Gi Bound ref=me bc; V-2: 1Gi Bound ref=me bc | 1Gi Bound vol=V-1 bc bd | V-2: Available | = | -
"#;

pub(super) const H: &str = r#"
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

pub(super) const I: &str = r#"
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

pub(super) const J: &str = r#"
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

pub(super) const K3: &str = r#"
MA-1 | v | V: 1Gi Available pb=kubernetes.io/gce-pd | 1Gi Pending class= vol=x sp=kubernetes.io/gce-pd | V: migrated=pd.csi.storage.gke.io | = | -
MA-1-claim | c | - | 1Gi Pending vol=x sp=kubernetes.io/gce-pd | - | migrated=pd.csi.storage.gke.io | -
MA-2 | c | - | 1Gi Pending vol=x beta=kubernetes.io/gce-pd | - | migrated=pd.csi.storage.gke.io | -
MA-3 | v | V: 1Gi Available pb=kubernetes.io/rbd | - | = | - | -
MA-4 | v | V: 1Gi Available pb=kubernetes.io/rbd migrated=rbd.csi.ceph.com | - | V: unmigrated | - | -
MA-6 | v | V: 1Gi Available pb=non-migrated-plugin | - | = | - | -
MA-7 | v | V: 1Gi Available | - | = | - | -
MA-8 | c | - | 1Gi Pending vol=x | - | = | -
"#;

pub(super) const K5_15_1: &str = "
15-1 | c | - | 1Gi Pending | - | = | N FailedBinding
";
pub(super) const K5: &str = r#"
15-3 | c | - | 1Gi Bound vol=test class=copper bc bd | - | Lost | W ClaimLost
15-4 | c | - | 1Gi Bound vol=test class=copper | - | Pending | -
15-5 | c | - | 1Gi Pending | - | class=gold | -
"#;
pub(super) const K5_COPPER: &str = r#"
15-6 | c | - | 1Gi Pending class=copper | - | = | W ProvisioningFailed ~no volume plugin matched name: kubernetes.io/no-provisioner
15-7 | c | - | 1Gi Pending betaclass=yes | - | = | W ProvisioningFailed ~storageclass.storage.k8s.io "yes" not found
"#;
