//! The real kube-controller-manager and kube-scheduler, with their default
//! settings, on a `pvdeck serve` without controllers of its own.
//!
//! `PVDECK_KUBERNETES` names the folder that has them; without it the test says
//! `skipped:`.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::process::Child;

use crate::kubectl::{Kubectl, with_each_serving};

/// How long anything that they do may take: their caches fill within seconds.
const PATIENCE: Duration = Duration::from_secs(60);

const OBJECTS: &str = r#"
apiVersion: storage.k8s.io/v1
kind: StorageClass
metadata: {name: local}
provisioner: kubernetes.io/no-provisioner
volumeBindingMode: WaitForFirstConsumer
---
apiVersion: v1
kind: PersistentVolume
metadata: {name: disk}
spec:
  capacity: {storage: 2Gi}
  accessModes: [ReadWriteOnce]
  persistentVolumeReclaimPolicy: Retain
  storageClassName: local
  local: {path: /mnt/disk}
  nodeAffinity:
    required:
      nodeSelectorTerms:
      - matchExpressions: [{key: kubernetes.io/hostname, operator: In, values: [node-2]}]
---
apiVersion: v1
kind: PersistentVolumeClaim
metadata: {name: late, namespace: default}
spec:
  accessModes: [ReadWriteOnce]
  storageClassName: local
  resources: {requests: {storage: 1Gi}}
---
apiVersion: v1
kind: PersistentVolume
metadata: {name: share}
spec:
  capacity: {storage: 2Gi}
  accessModes: [ReadWriteMany]
  storageClassName: ""
  nfs: {server: nfs.example, path: /share}
---
apiVersion: v1
kind: PersistentVolumeClaim
metadata: {name: now, namespace: default}
spec:
  accessModes: [ReadWriteMany]
  storageClassName: ""
  resources: {requests: {storage: 1Gi}}
"#;

const POD: &str = r#"
apiVersion: v1
kind: Pod
metadata: {name: user, namespace: default}
spec:
  containers: [{name: main, image: nginx}]
  volumes: [{name: data, persistentVolumeClaim: {claimName: late}}]
"#;

const DEPLOYMENT: &str = r#"
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, namespace: shop}
spec:
  replicas: 0
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec: {containers: [{name: main, image: nginx}]}
"#;

fn folder() -> Option<PathBuf> {
    std::env::var_os("PVDECK_KUBERNETES").map(PathBuf::from)
}

fn start(kubectl: &Kubectl, programs: &Path, name: &str, arguments: &[&str]) -> Child {
    let own = kubectl.served.folder.path();
    let log = || File::create(own.join(format!("{name}.log"))).expect("a log");
    let mut command = kubectl.served.client(&programs.join(name));
    command.arg("--kubeconfig").arg(kubectl.served.kubeconfig()).arg("--secure-port=0");
    command.args(arguments).stdout(log()).stderr(log());
    command.spawn().unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// Waits until a query has this answer.
async fn becomes(kubectl: &Kubectl, query: &str, expected: &str) {
    let mut last = String::new();
    let wait = async {
        loop {
            let finished = kubectl.run(query).await;
            last = format!("{}{}", finished.out, finished.err);
            if last.contains(expected) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(300)).await;
        }
    };
    let reached = tokio::time::timeout(PATIENCE, wait).await;
    reached.unwrap_or_else(|_| panic!("{query}: {last:?}, not {expected:?}"));
}

/// Numbers 121, 123 and 124 of the conformance checklist, with real programs.
#[tokio::test]
async fn controllers_and_scheduler_of_kubernetes_work_here() {
    let Some(programs) = folder() else {
        println!("skipped: PVDECK_KUBERNETES names no folder");
        return;
    };
    with_each_serving(&["--no-controllers"], async |kubectl| {
        if kubectl.is_old {
            return;
        }
        let flex = kubectl.served.folder.path().join("flex").display().to_string();
        let flex = format!("--flex-volume-plugin-dir={flex}");
        let _manager = start(kubectl, &programs, "kube-controller-manager", &[&flex]);
        let _scheduler = start(kubectl, &programs, "kube-scheduler", &[]);
        kubectl.run_with("create -f -", OBJECTS).await.good();
        let phase = "-o jsonpath={.status.phase}/{.spec.volumeName}";
        becomes(kubectl, &format!("get pvc now {phase}"), "Bound/share").await;
        becomes(kubectl, "get events", "waiting for first consumer to be created").await;
        kubectl.run_with("create -f -", POD).await.good();
        becomes(kubectl, "get pod user -o jsonpath={.spec.nodeName}", "node-2").await;
        becomes(kubectl, &format!("get pvc late {phase}"), "Bound/disk").await;
        becomes(kubectl, "get events", "Successfully assigned default/user to node-2").await;
        for lease in ["kube-scheduler", "kube-controller-manager"] {
            let holder = "-o jsonpath=held-by-{.spec.holderIdentity}";
            becomes(kubectl, &format!("get lease {lease} -n kube-system {holder}"), "held-by-")
                .await;
        }
        // A claim in use stays, and its volume with it.
        kubectl.good("delete pvc late --wait=false").await;
        let finalizers = "-o jsonpath={.metadata.finalizers}";
        becomes(kubectl, &format!("get pvc late {finalizers}"), "pvc-protection").await;
        kubectl.good("delete pod user --force --grace-period=0").await;
        becomes(kubectl, "get pvc late", "NotFound").await;
        becomes(kubectl, "get pv disk -o jsonpath={.status.phase}", "Released").await;
        // The garbage collector and the namespace controller.
        kubectl.good("create namespace shop").await;
        kubectl.run_with("create -f -", DEPLOYMENT).await.good();
        becomes(kubectl, "get rs -n shop -o name", "replicaset.apps/web-").await;
        kubectl.good("delete deployment web -n shop").await;
        becomes(kubectl, "get rs -n shop", "No resources found").await;
        kubectl.good("create configmap cfg -n shop").await;
        kubectl.good("delete namespace shop").await;
        becomes(kubectl, "get namespace shop", "NotFound").await;
    })
    .await;
}
