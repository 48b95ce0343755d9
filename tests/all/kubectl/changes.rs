//! create, apply, edit, patch, label, annotate, delete, wait, scale.

use std::os::unix::fs::PermissionsExt;

use tokio::io::{AsyncBufReadExt, BufReader};

use crate::kubectl::{MANIFEST, has, with_each, with_each_serving};

const CONFIG: &str = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: cfg}\ndata: {a: one}\n";

#[tokio::test]
async fn apply_creates_then_changes_then_leaves_alone() {
    with_each(async |kubectl| {
        has(
            &kubectl.run_with("apply -f -", MANIFEST).await.good(),
            &["persistentvolume/pv-nfs created", "pod/web created"],
        );
        has(&kubectl.run_with("apply -f -", CONFIG).await.good(), &["configmap/cfg created"]);
        let changed = CONFIG.replace("{a: one}", "{b: two}");
        has(&kubectl.run_with("apply -f -", &changed).await.good(), &["configmap/cfg configured"]);
        assert_eq!(kubectl.good("get cm cfg -o jsonpath={.data}").await, r#"{"b":"two"}"#);
        has(&kubectl.run_with("apply -f -", &changed).await.good(), &["configmap/cfg unchanged"]);
        let again = kubectl.run_with("create -f -", CONFIG).await.bad();
        assert!(again.contains("(AlreadyExists)"), "{again}");
        has(
            &kubectl
                .run_with("create -f - --dry-run=server -o name", &CONFIG.replace("cfg", "dry"))
                .await
                .good(),
            &["configmap/dry"],
        );
        kubectl.run("get cm dry").await.bad();
    })
    .await;
}

/// What kubectl makes from its own types it sends in protobuf.
#[tokio::test]
async fn objects_are_created_from_words() {
    with_each(async |kubectl| {
        has(&kubectl.good("create namespace shop").await, &["namespace/shop created"]);
        for words in [
            "configmap cfg --from-literal=a=b",
            "secret generic key --from-literal=k=v",
            "quota limit --hard=requests.storage=10Gi,persistentvolumeclaims=5",
            "serviceaccount robot",
            "service clusterip web --tcp=80:8080",
            "deployment web --image=nginx",
        ] {
            has(&kubectl.good(&format!("create {words} -n shop")).await, &[" created"]);
        }
        let path = "jsonpath={.spec.hard}";
        let hard = kubectl.good(&format!("get quota limit -n shop -o {path}")).await;
        assert_eq!(hard, r#"{"persistentvolumeclaims":"5","requests.storage":"10Gi"}"#);
        let path = "jsonpath={.spec.ports[0].targetPort}/{.spec.type}";
        assert_eq!(kubectl.good(&format!("get svc web -n shop -o {path}")).await, "8080/ClusterIP");
        let path = "jsonpath={.spec.replicas}/{.spec.template.spec.containers[0].image}";
        assert_eq!(kubectl.good(&format!("get deploy web -n shop -o {path}")).await, "1/nginx");
        assert_eq!(kubectl.good("get secret key -n shop -o jsonpath={.data.k}").await, "dg==");
        has(&kubectl.good("auth can-i create pods").await, &["yes"]);
    })
    .await;
}

#[tokio::test]
async fn patches_of_all_kinds_labels_and_annotations() {
    with_each(async |kubectl| {
        kubectl.create_all().await;
        kubectl
            .good(r#"patch pv pv-nfs --type=json -p '[{"op":"replace","path":"/spec/persistentVolumeReclaimPolicy","value":"Delete"}]'"#)
            .await;
        kubectl.good(r#"patch pv pv-nfs --type=merge -p '{"metadata":{"labels":{"tier":"iron"}}}'"#).await;
        kubectl.good(r#"patch pv pv-nfs -p '{"metadata":{"annotations":{"note":"x"}}}'"#).await;
        let path = "jsonpath={.spec.persistentVolumeReclaimPolicy}/{.metadata.labels.tier}/{.metadata.annotations.note}";
        assert_eq!(kubectl.good(&format!("get pv pv-nfs -o {path}")).await, "Delete/iron/x");
        has(&kubectl.good("label pvc data team=a").await, &["persistentvolumeclaim/data labeled"]);
        let overwrite = kubectl.run("label pvc data team=b").await.bad();
        assert!(overwrite.contains("--overwrite is false"), "{overwrite}");
        kubectl.good("label pvc data team=b --overwrite").await;
        kubectl.good("annotate pvc data note=hello").await;
        kubectl.good("label pvc data team-").await;
        let path = "jsonpath={.metadata.annotations.note}/{.metadata.labels.team}";
        assert_eq!(kubectl.good(&format!("get pvc data -o {path}")).await, "hello/");
        let refused = kubectl
            .run(r#"patch pvc data -p '{"spec":{"accessModes":["ReadWriteOnce"]}}'"#)
            .await
            .bad();
        assert!(refused.contains("spec is immutable after creation"), "{refused}");
    })
    .await;
}

#[tokio::test]
async fn edit_applies_what_the_editor_saved() {
    with_each(async |kubectl| {
        kubectl.create_all().await;
        let editor = kubectl.file("editor", "#!/bin/sh\nsed -i s/gold/silver/ \"$1\"\n");
        let mode = std::fs::Permissions::from_mode(0o755);
        std::fs::set_permissions(&editor, mode).expect("executable");
        let mut command = kubectl.command("edit pv pv-nfs");
        command.env("KUBE_EDITOR", &editor);
        has(
            &crate::served::finish(&mut command, "").await.good(),
            &["persistentvolume/pv-nfs edited"],
        );
        let tier = kubectl.good("get pv pv-nfs -o jsonpath={.metadata.labels.tier}").await;
        assert_eq!(tier, "silver");
    })
    .await;
}

#[tokio::test]
async fn delete_waits_for_protection_and_for_the_object_to_go() {
    with_each(async |kubectl| {
        kubectl.create_all().await;
        kubectl.until("get pvc data -o jsonpath={.status.phase}", "Bound").await;
        // By force: the pod is on a node, and nothing here need run its kubelet.
        kubectl.good("delete pod web --wait --force --grace-period=0").await;
        kubectl.good("delete pvc data --wait --timeout=30s").await;
        kubectl.run("get pvc data").await.bad();
        kubectl.until("get pv pv-nfs -o jsonpath={.status.phase}", "Released").await;
        kubectl.good("delete pv pv-nfs --timeout=30s").await;
        assert_eq!(kubectl.good("get pv -o name").await, "");
    })
    .await;
}

#[tokio::test]
async fn wait_ends_when_the_object_goes_or_its_condition_holds() {
    with_each(async |kubectl| {
        has(
            &kubectl.good("wait --for=condition=Ready node/node-1 --timeout=10s").await,
            &["node/node-1 condition met"],
        );
        let held = CONFIG.replace("{name: cfg}", "{name: cfg, finalizers: [example.com/held]}");
        kubectl.run_with("create -f -", &held).await.good();
        kubectl.good("delete cm cfg --wait=false").await;
        // It tells each request; the object may go only once it is watched, as
        // old ones take one that is gone for a mistake.
        let mut waiting = kubectl.command("wait --for=delete cm/cfg --timeout=50s -v=6");
        let mut waiting = waiting.spawn().expect("kubectl");
        let mut told = BufReader::new(waiting.stderr.take().expect("a pipe")).lines();
        while let Some(line) = told.next_line().await.expect("text") {
            if line.contains("watch=true") {
                break;
            }
        }
        kubectl.good(r#"patch cm cfg --type=merge -p '{"metadata":{"finalizers":null}}'"#).await;
        let rest = async { while let Ok(Some(_)) = told.next_line().await {} };
        let (waited, ()) = tokio::join!(waiting.wait(), rest);
        assert!(waited.expect("a status").success());
        if !kubectl.is_old {
            kubectl.create_all().await;
            kubectl.good("wait --for=jsonpath={.status.phase}=Bound pvc/data --timeout=30s").await;
        }
    })
    .await;
}

#[tokio::test]
async fn mistakes_are_refused_with_the_field_named() {
    with_each(async |kubectl| {
        let typo = MANIFEST.replace(
            "accessModes: [ReadWriteMany]\n  persistent",
            "accesModes: [ReadWriteMany]\n  persistent",
        );
        let refused = kubectl.run_with("create -f -", &typo).await.bad();
        assert!(refused.contains("accesModes"), "{refused}");
        kubectl.run("get pv pv-nfs").await.bad();
        let invalid = MANIFEST.replace("[ReadWriteMany]", "[ReadWriteSometimes]");
        let refused = kubectl.run_with("create --validate=false -f -", &invalid).await.bad();
        assert!(refused.contains("spec.accessModes"), "{refused}");
        assert!(refused.contains("ReadWriteSometimes"), "{refused}");
        let broken = kubectl.run_with("create -f -", "kind: [\n").await.bad();
        assert!(broken.contains("error"), "{broken}");
    })
    .await;
}

#[tokio::test]
async fn stateful_set_is_scaled() {
    with_each(async |kubectl| {
        let set = "apiVersion: apps/v1\nkind: StatefulSet\nmetadata: {name: db}\nspec:\n  replicas: 1\n  serviceName: db\n\
            \x20 selector: {matchLabels: {app: db}}\n  template:\n    metadata: {labels: {app: db}}\n\
            \x20   spec: {containers: [{name: db, image: db}]}\n";
        kubectl.run_with("create -f -", set).await.good();
        kubectl.good("scale sts db --replicas=3").await;
        assert_eq!(kubectl.good("get sts db -o jsonpath={.spec.replicas}").await, "3");
    })
    .await;
}

#[tokio::test]
async fn read_only_server_answers_reads_and_refuses_writes() {
    with_each_serving(&["--read-only"], async |kubectl| {
        has(&kubectl.good("get nodes").await, &["node-1 Ready"]);
        let refused = kubectl.run("label node node-1 a=b").await.bad();
        assert!(refused.contains("read-only"), "{refused}");
        let refused = kubectl.run("delete node node-1").await.bad();
        assert!(refused.contains("read-only"), "{refused}");
        assert_eq!(kubectl.good("get nodes -l a=b -o name").await, "");
    })
    .await;
}

#[tokio::test]
async fn priority_classes_are_made_named_and_kept_in_order() {
    with_each(async |kubectl| {
        let made = "create priorityclass high --value=1000 --description=urgent";
        has(&kubectl.good(made).await, &["priorityclass.scheduling.k8s.io/high created"]);
        let all = kubectl.good("get pc --no-headers").await;
        has(&all, &["system-cluster-critical   2000000000", "system-node-critical"]);
        let pod = |name: &str, class: &str| {
            format!(
                "apiVersion: v1\nkind: Pod\nmetadata: {{name: {name}}}\nspec: {{priorityClassName: \
                 {class}, containers: [{{name: c, image: i}}]}}\n"
            )
        };
        kubectl.run_with("create -f -", &pod("urgent", "high")).await.good();
        let priority = kubectl.good("get pod urgent -o jsonpath={.spec.priority}").await;
        assert_eq!(priority, "1000");
        let refused = kubectl.run_with("create -f -", &pod("lost", "nope")).await;
        has(
            &refused.err,
            &["pods \"lost\" is forbidden: no PriorityClass with name nope was found"],
        );
        let refused = kubectl.run("delete pc system-node-critical").await;
        has(&refused.err, &["is forbidden: this is a system priority class and cannot be deleted"]);
    })
    .await;
}
