//! get, describe, explain, api-resources, version.

use tokio::io::{AsyncBufReadExt, BufReader};

use crate::kubectl::{has, with_each};

const BOUND: &str = "get pvc data -o jsonpath={.status.phase}";
const RUNNING: &str = "get pod web -o jsonpath={.status.phase}";

#[tokio::test]
async fn get_shows_tables_and_every_output_format() {
    with_each(async |kubectl| {
        kubectl.create_all().await;
        kubectl.until(BOUND, "Bound").await;
        has(
            &kubectl.good("get pv").await,
            &[
                "NAME CAPACITY ACCESS MODES RECLAIM POLICY STATUS CLAIM STORAGECLASS",
                "pv-nfs 2Gi RWX Retain Bound default/data manual",
            ],
        );
        has(
            &kubectl.good("get pvc -o wide").await,
            &["data Bound pv-nfs 2Gi RWX manual", "Filesystem"],
        );
        has(&kubectl.good("get pvc -A").await, &["NAMESPACE NAME STATUS", "default data Bound"]);
        has(&kubectl.good("get sc").await, &["manual kubernetes.io/no-provisioner Retain"]);
        kubectl.until(RUNNING, "Running").await;
        has(
            &kubectl.good("get pod,pvc").await,
            &["pod/web 1/1 Running 0", "persistentvolumeclaim/data"],
        );
        has(
            &kubectl.good("get pv pv-nfs -o yaml").await,
            &["path: /exports/pv-nfs", "phase: Bound"],
        );
        let json = kubectl.good("get pv -o json").await;
        let list: serde_json::Value = serde_json::from_str(&json).expect("JSON");
        assert_eq!(list["items"][0]["spec"]["claimRef"]["name"], "data");
        assert_eq!(
            kubectl.good("get pv,pvc -o name").await,
            "persistentvolume/pv-nfs\npersistentvolumeclaim/data\n"
        );
        has(&kubectl.good("get events").await, &["Warning FailedScheduling"][..0]);
    })
    .await;
}

#[tokio::test]
async fn get_selects_by_labels_and_fields() {
    with_each(async |kubectl| {
        kubectl.create_all().await;
        for (selected, expected) in [
            ("pvc -l app=shop", "persistentvolumeclaim/data\n"),
            ("pvc -l app!=shop", ""),
            ("pvc -l 'app in (shop,web)'", "persistentvolumeclaim/data\n"),
            ("pv --field-selector metadata.name=pv-nfs", "persistentvolume/pv-nfs\n"),
            ("pv --field-selector metadata.name!=pv-nfs", ""),
            ("pod --field-selector status.phase!=Failed", "pod/web\n"),
            ("pod -A --field-selector metadata.namespace=kube-system", ""),
        ] {
            assert_eq!(
                kubectl.good(&format!("get {selected} -o name")).await,
                expected,
                "{selected}"
            );
        }
        let refused = kubectl.run("get pv --field-selector spec.nonsense=1").await.bad();
        assert!(refused.contains("not a known field selector"), "{refused}");
        let unknown = kubectl.run("get nonsense").await.bad();
        assert!(unknown.contains("the server doesn't have a resource type"), "{unknown}");
        let missing = kubectl.run("get pv nonsense").await.bad();
        assert!(missing.contains("persistentvolumes \"nonsense\" not found"), "{missing}");
    })
    .await;
}

#[tokio::test]
async fn watch_shows_a_claim_become_bound() {
    with_each(async |kubectl| {
        let mut watching = kubectl.command("get pvc -w -o custom-columns=P:.status.phase");
        let mut process = watching.spawn().expect("kubectl");
        let mut lines = BufReader::new(process.stdout.take().expect("a pipe")).lines();
        kubectl.create_all().await;
        let bound = async {
            while let Some(line) = lines.next_line().await.expect("text") {
                if line.trim() == "Bound" {
                    return true;
                }
            }
            false
        };
        let bound = tokio::time::timeout(std::time::Duration::from_secs(60), bound).await;
        assert!(bound.expect("in time"), "the watch ended before");
    })
    .await;
}

#[tokio::test]
async fn describe_tells_of_volumes_claims_pods_and_classes() {
    with_each(async |kubectl| {
        kubectl.create_all().await;
        kubectl.until(BOUND, "Bound").await;
        has(
            &kubectl.good("describe pv pv-nfs").await,
            &["Claim: default/data", "Status: Bound", "Server: nfs.example", "Labels: tier=gold"],
        );
        has(
            &kubectl.good("describe pvc data").await,
            &["Volume: pv-nfs", "Status: Bound", "Capacity: 2Gi", "Used By: web"],
        );
        kubectl.until(RUNNING, "Running").await;
        has(
            &kubectl.good("describe pod web").await,
            &["ClaimName: data", "Status: Running", "Normal Started", "kubelet Container started"],
        );
        has(&kubectl.good("describe sc manual").await, &["ReclaimPolicy: Retain"]);
    })
    .await;
}

#[tokio::test]
async fn describe_shows_the_events_of_a_claim_that_waits() {
    with_each(async |kubectl| {
        let claim = "apiVersion: v1\nkind: PersistentVolumeClaim\nmetadata: {name: lonely}\n\
            spec: {accessModes: [ReadWriteOnce], storageClassName: '', resources: {requests: {storage: 1Gi}}}\n";
        kubectl.run_with("create -f -", claim).await.good();
        let message = "get events -o jsonpath={.items[0].message}";
        kubectl
            .until(message, "no persistent volumes available for this claim and no storage class is set")
            .await;
        has(&kubectl.good("describe pvc lonely").await, &["Normal FailedBinding"]);
    })
    .await;
}

#[tokio::test]
async fn server_tells_its_kinds_its_version_and_its_fields() {
    with_each(async |kubectl| {
        let kinds = kubectl.good("api-resources").await;
        has(
            &kinds,
            &[
                "persistentvolumes pv v1 false PersistentVolume",
                "persistentvolumeclaims pvc v1 true PersistentVolumeClaim",
                "storageclasses sc storage.k8s.io/v1 false StorageClass",
                "statefulsets sts apps/v1 true StatefulSet",
            ],
        );
        has(&kubectl.good("api-versions").await, &["v1", "storage.k8s.io/v1"]);
        assert!(kubectl.good("version").await.contains("36"));
        assert!(kubectl.good("get --raw /readyz").await.contains("ok"));
        if !kubectl.is_old {
            let explained = kubectl.good("explain pvc.spec.accessModes").await;
            assert!(explained.contains("accessModes"), "{explained}");
            let unknown = kubectl.run("explain pvc.spec.nonsense").await.bad();
            assert!(unknown.contains("does not exist"), "{unknown}");
        }
    })
    .await;
}

#[tokio::test]
async fn nobody_gets_in_without_the_token() {
    with_each(async |kubectl| {
        let text = std::fs::read_to_string(kubectl.served.kubeconfig()).expect("a file");
        let token = text.lines().find(|line| line.trim_start().starts_with("token:"));
        let without = text.replace(token.expect("a token"), "    token: guessed");
        let file = kubectl.file("no-token", &without);
        let refused = kubectl.run(&format!("get pv --kubeconfig {}", file.display())).await.bad();
        assert!(refused.contains("You must be logged in to the server"), "{refused}");
    })
    .await;
}
