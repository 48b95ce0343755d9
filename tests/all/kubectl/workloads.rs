//! scale, rollout, cascades and namespaces, with pods run by hand where no node
//! agent does.

use std::time::Duration;

use serde_json::{Value, json};

use crate::kubectl::{Kubectl, has, with_each, with_each_serving};

const APPS: &str = r#"
apiVersion: apps/v1
kind: Deployment
metadata: {name: app, namespace: default}
spec:
  replicas: 1
  selector: {matchLabels: {app: app}}
  template:
    metadata: {labels: {app: app}}
    spec: {containers: [{name: main, image: "busybox:1.35"}]}
---
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: web, namespace: default}
spec:
  serviceName: web
  replicas: 1
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec: {containers: [{name: main, image: "busybox:1.35"}]}
"#;

/// Runs pods and lets terminating ones go, for a while.
async fn run_pods(kubectl: &Kubectl, rounds: usize) {
    for _ in 0..rounds {
        let pods: Value =
            serde_json::from_str(&kubectl.run("get pods -A -o json").await.out).unwrap_or_default();
        for pod in pods["items"].as_array().into_iter().flatten() {
            let text = |field: &str| pod["metadata"][field].as_str().unwrap_or_default().to_owned();
            let (namespace, name) = (text("namespace"), text("name"));
            if !pod["metadata"]["deletionTimestamp"].is_null() {
                let delete = format!(
                    "delete pod {name} -n {namespace} --force --grace-period=0 --wait=false"
                );
                // An agent may have been faster.
                kubectl.run(&delete).await;
            } else if pod["status"]["phase"] != "Running" {
                let mut pod = pod.clone();
                pod["status"] = json!({"phase": "Running", "conditions": [
                    {"type": "Ready", "status": "True",
                        "lastTransitionTime": "2026-01-01T00:00:00Z"}]});
                let path = format!("/api/v1/namespaces/{namespace}/pods/{name}/status");
                kubectl.run_with(&format!("replace --raw {path} -f -"), &pod.to_string()).await;
            }
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

#[tokio::test]
async fn scaling_and_rolling_out_are_told_to_the_end() {
    with_each(async |kubectl| {
        kubectl.run_with("create -f -", APPS).await.good();
        has(
            &kubectl.good("scale deployment app --replicas=2").await,
            &["deployment.apps/app scaled"],
        );
        has(
            &kubectl.good("scale statefulset web --replicas=2").await,
            &["statefulset.apps/web scaled"],
        );
        run_pods(kubectl, 8).await;
        let status = "rollout status --timeout=60s";
        let said = kubectl.good(&format!("{status} deployment/app")).await;
        has(&said, &["deployment \"app\" successfully rolled out"]);
        let said = kubectl.good(&format!("{status} statefulset/web")).await;
        assert!(said.contains("complete"), "{said}");
        kubectl.good("set image deployment/app main=busybox:1.36").await;
        kubectl.good("set image statefulset/web main=busybox:1.36").await;
        run_pods(kubectl, 12).await;
        let said = kubectl.good(&format!("{status} deployment/app")).await;
        has(&said, &["deployment \"app\" successfully rolled out"]);
        let said = kubectl.good(&format!("{status} statefulset/web")).await;
        assert!(said.contains("complete"), "{said}");
        let history = kubectl.good("rollout history deployment/app").await;
        has(&history, &["1 <none>", "2 <none>"]);
        kubectl.good("rollout undo deployment/app").await;
        kubectl.good("rollout undo statefulset/web").await;
        run_pods(kubectl, 12).await;
        kubectl.good(&format!("{status} deployment/app")).await;
        kubectl.good(&format!("{status} statefulset/web")).await;
        let image = "jsonpath={.spec.template.spec.containers[0].image}";
        for what in ["deployment/app", "statefulset/web"] {
            assert_eq!(kubectl.good(&format!("get {what} -o {image}")).await, "busybox:1.35");
        }
        let described = kubectl.good("describe deployment app").await;
        assert!(described.contains("Scaled up replica set app-"), "{described}");
        assert!(described.contains("NewReplicaSetAvailable"), "{described}");
    })
    .await;
}

#[tokio::test]
async fn cascades_and_namespaces_end_as_asked() {
    with_each(async |kubectl| {
        kubectl.run_with("create -f -", APPS).await.good();
        kubectl.until("get rs -o jsonpath={.items[*].status.replicas}", "1").await;
        kubectl.good("delete deployment app --cascade=orphan").await;
        let owner = "get rs -o jsonpath={.items[0].metadata.ownerReferences}";
        kubectl.until(owner, "").await;
        kubectl.good("delete rs --all --wait=false").await;
        run_pods(kubectl, 3).await;
        kubectl.until("get rs,pods -l app=app -o name", "").await;
        let shop = "apiVersion: v1\nkind: Namespace\nmetadata: {name: shop}\n---\n\
                    apiVersion: v1\nkind: ConfigMap\nmetadata: {name: cfg, namespace: shop}\n";
        kubectl.run_with("create -f -", shop).await.good();
        // Waits until it is gone.
        has(&kubectl.good("delete namespace shop").await, &["namespace \"shop\" deleted"]);
        kubectl.run("get namespace shop").await.bad();
    })
    .await;
}

/// A disk that is translated to a driver elsewhere, and one that nothing knows.
const OF_OLD: &str = r#"
apiVersion: v1
kind: PersistentVolume
metadata: {name: gce}
spec: {
  capacity: {storage: 1Gi}, accessModes: [ReadWriteOnce], storageClassName: gce,
  gcePersistentDisk: {pdName: disk-1, fsType: ext4}}
---
apiVersion: v1
kind: PersistentVolume
metadata: {name: scale}
spec: {
  capacity: {storage: 1Gi}, accessModes: [ReadWriteOnce], storageClassName: scale,
  scaleIO: {gateway: "https://x", system: s, secretRef: {name: s}, volumeName: vol-1}}
---
apiVersion: v1
kind: PersistentVolumeClaim
metadata: {name: gce}
spec: {
  accessModes: [ReadWriteOnce], storageClassName: gce, resources: {requests: {storage: 1Gi}}}
---
apiVersion: v1
kind: PersistentVolumeClaim
metadata: {name: scale}
spec: {
  accessModes: [ReadWriteOnce], storageClassName: scale, resources: {requests: {storage: 1Gi}}}
---
apiVersion: v1
kind: Pod
metadata: {name: web}
spec: {
  containers: [{name: a, image: nginx, volumeMounts: [
    {name: gce, mountPath: /gce}, {name: scale, mountPath: /scale}]}],
  volumes: [{name: gce, persistentVolumeClaim: {claimName: gce}},
    {name: scale, persistentVolumeClaim: {claimName: scale}}]}
"#;

#[tokio::test]
async fn legacy_kinds_attach_and_mount_where_the_nodes_are_asked_to() {
    with_each_serving(&["--legacy-kinds"], async |kubectl| {
        kubectl.run_with("apply -f -", OF_OLD).await.good();
        kubectl.good("wait --for=condition=Ready pod/web --timeout=60s").await;
        let used = kubectl.good("get node -o jsonpath={.items[*].status.volumesInUse}").await;
        assert!(used.contains("kubernetes.io/gce-pd/disk-1"), "{used}");
    })
    .await;
}
