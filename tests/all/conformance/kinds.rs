//! What is particular to the kinds: defaults, refusals, columns, the published
//! description.

use serde_json::{Value, json};

use super::client::*;

const CLASSES: &str = "/apis/storage.k8s.io/v1/storageclasses";

fn class(name: &str, is_default: bool) -> Value {
    json!({
        "apiVersion": "storage.k8s.io/v1", "kind": "StorageClass",
        "metadata": {"name": name, "annotations": {
            "storageclass.kubernetes.io/is-default-class": is_default.to_string(),
        }},
        "provisioner": "csi.example.com",
    })
}

#[tokio::test(start_paused = true)]
async fn a_volume_without_capacity_is_refused_with_causes_24() {
    let server = Server::new();
    let mut body = volume("x");
    body["spec"]["capacity"] = Value::Null;
    let answer = server.post(VOLUMES, &body).await;
    let message = answer.refusal(422, "Invalid");
    assert!(message.starts_with("PersistentVolume \"x\" is invalid: "), "{message}");
    let details = &answer.json()["details"];
    assert_eq!(details["kind"], "PersistentVolume");
    assert_eq!(
        details["causes"][0],
        json!({
            "reason": "FieldValueRequired", "message": "Required value", "field": "spec.capacity",
        })
    );
}

#[tokio::test(start_paused = true)]
async fn quantities_are_canonical_and_integers_exact_27() {
    let server = Server::new();
    let mut body = volume("x");
    body["spec"]["capacity"]["storage"] = "0.5Gi".into();
    let made = server.post(VOLUMES, &body).await.ok();
    assert_eq!(made["spec"]["capacity"]["storage"], "512Mi");
    let mut set = stateful_set("web");
    set["spec"]["template"]["spec"]["activeDeadlineSeconds"] = Value::Null;
    set["spec"]["template"]["spec"]["terminationGracePeriodSeconds"] =
        json!(9_007_199_254_740_993_i64);
    let made = server.post(SETS, &set).await.ok();
    assert_eq!(
        made["spec"]["template"]["spec"]["terminationGracePeriodSeconds"],
        json!(9_007_199_254_740_993_i64)
    );
}

#[tokio::test(start_paused = true)]
async fn a_claim_without_class_gets_the_default_one_28() {
    let server = Server::new();
    server.post(CLASSES, &class("plain", false)).await.ok();
    server.post(CLASSES, &class("fast", true)).await.ok();
    let mut without = claim("without");
    without["spec"]["storageClassName"] = Value::Null;
    let made = server.post(CLAIMS, &without).await.ok();
    assert_eq!(made["spec"]["storageClassName"], "fast");
    let mut none = claim("none");
    none["spec"]["storageClassName"] = "".into();
    let made = server.post(CLAIMS, &none).await.ok();
    assert_eq!(made["spec"]["storageClassName"], "");
}

#[tokio::test(start_paused = true)]
async fn a_pod_gets_its_defaults_29() {
    let server = Server::new();
    let made = server.post(PODS, &pod("p")).await.ok();
    let spec = &made["spec"];
    assert_eq!(spec["tolerations"].as_array().map(Vec::len), Some(2));
    assert_eq!(spec["priority"], 0);
    assert_eq!(spec["restartPolicy"], "Always");
    assert_eq!(spec["schedulerName"], "default-scheduler");
    assert_eq!(spec["terminationGracePeriodSeconds"], 30);
}

#[tokio::test(start_paused = true)]
async fn a_changed_claim_is_refused_with_the_difference_38() {
    let server = Server::new();
    let made = server.create(&claim("data")).await;
    let mut changed = made.clone();
    changed["spec"]["accessModes"] = json!(["ReadWriteMany"]);
    let answer = server.put(&path_of(&made), &changed).await;
    let message = answer.refusal(422, "Invalid");
    assert!(
        message.starts_with(
            "PersistentVolumeClaim \"data\" is invalid: spec: Forbidden: spec is immutable after \
             creation except resources.requests and volumeAttributesClassName for bound claims\n@@ "
        ),
        "{message}"
    );
    assert!(message.contains("-  \"ReadWriteOnce\"\n+  \"ReadWriteMany\"\n"), "{message}");
}

#[tokio::test(start_paused = true)]
async fn the_third_openapi_has_an_index_and_documents_110() {
    let server = Server::new();
    let index = server.get("/openapi/v3").await.ok();
    let url = index["paths"]["api/v1"]["serverRelativeURL"].as_str().expect("a document");
    let answer = server.get(url).await;
    assert!(answer.header("cache-control").contains("immutable"));
    let etag = answer.header("etag").to_owned();
    let document = answer.ok();
    let claim = &document["components"]["schemas"]["io.k8s.api.core.v1.PersistentVolumeClaim"];
    assert_eq!(
        claim["x-kubernetes-group-version-kind"],
        json!([{"group": "", "version": "v1", "kind": "PersistentVolumeClaim"}])
    );
    let again = server.call("GET", url).header("if-none-match", &etag).send().await;
    assert_eq!(again.code, 304);
    assert_eq!(server.get("/openapi/v3/apis/none/v1").await.code, 404);
}

#[tokio::test(start_paused = true)]
async fn the_second_openapi_is_protobuf_for_those_who_ask_111() {
    let server = Server::new();
    let accept = "application/com.github.proto-openapi.spec.v2@v1.0+protobuf";
    let answer = server.call("GET", "/openapi/v2").header("accept", accept).send().await;
    assert_eq!(answer.code, 200);
    assert_eq!(
        answer.header("content-type"),
        "application/com.github.proto-openapi.spec.v2.v1.0+protobuf"
    );
    // Field 1 of the document: swagger "2.0".
    assert!(answer.bytes.starts_with(b"\x0a\x032.0"));
    let plain = server.get("/openapi/v2").await.ok();
    assert_eq!(plain["swagger"], "2.0");
}

#[tokio::test(start_paused = true)]
async fn unknown_fields_are_refused_warned_of_or_dropped_112() {
    let server = Server::new();
    let mut body = claim("data");
    body["spec"]["foo"] = 1.into();
    let at = |validation: &str| format!("{CLAIMS}?fieldValidation={validation}");
    let message = server.post(&at("Strict"), &body).await.refusal(400, "BadRequest");
    assert_eq!(
        message,
        "PersistentVolumeClaim in version \"v1\" cannot be handled as a PersistentVolumeClaim: \
         strict decoding error: unknown field \"spec.foo\""
    );
    let ignored = server.post(&format!("{}&dryRun=All", at("Ignore")), &body).await;
    assert_eq!((ignored.code, ignored.header("warning")), (201, ""));
    let warned = server.post(&at("Warn"), &body).await;
    assert_eq!(warned.header("warning"), "299 - \"unknown field \\\"spec.foo\\\"\"");
    let made = warned.ok();
    assert!(made["spec"].get("foo").is_none());
    let message = server
        .patch(
            "merge",
            &format!("{}?fieldValidation=Strict", path_of(&made)),
            &json!({"spec": {"foo": 1}}),
        )
        .await
        .refusal(422, "Invalid");
    assert!(message.starts_with(" \"\" is invalid: patch: Invalid value: \""), "{message}");
    assert!(message.ends_with("strict decoding error: unknown field \"spec.foo\""), "{message}");
}

/// Column names and cells of the first row, as a real server gives them.
async fn table(server: &Server, path: &str) -> (Vec<String>, Vec<Value>) {
    let accept = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json";
    let table = server.call("GET", path).header("accept", accept).send().await.ok();
    let columns = table["columnDefinitions"].as_array().expect("columns");
    let names = columns
        .iter()
        .map(|column| {
            let name = column["name"].as_str().unwrap_or_default();
            if column["priority"] == 1 { format!("({name})") } else { name.to_owned() }
        })
        .collect();
    (names, table["rows"][0]["cells"].as_array().cloned().unwrap_or_default())
}

#[tokio::test(start_paused = true)]
async fn tables_have_a_real_servers_columns_and_cells_114() {
    let server = Server::new();
    server.create(&volume("pv")).await;
    server.create(&claim("data")).await;
    server.post(CLASSES, &class("fast", true)).await.ok();
    server.post(SETS, &stateful_set("web")).await.ok();
    server.post(PODS, &pod("p")).await.ok();
    let node = json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "n"}});
    server.post("/api/v1/nodes", &node).await.ok();
    let rows: [(&str, &str, Value); 6] = [
        (
            VOLUMES,
            "Name,Capacity,Access Modes,Reclaim Policy,Status,Claim,StorageClass,\
             VolumeAttributesClass,Reason,Age,(VolumeMode)",
            json!([
                "pv",
                "1Gi",
                "RWO",
                "Retain",
                "Pending",
                "",
                "",
                "<unset>",
                "",
                "0s",
                "Filesystem"
            ]),
        ),
        (
            CLAIMS,
            "Name,Status,Volume,Capacity,Access Modes,StorageClass,VolumeAttributesClass,Age,\
             (VolumeMode)",
            json!(["data", "Pending", "", "", "", "", "<unset>", "0s", "Filesystem"]),
        ),
        (
            CLASSES,
            "Name,Provisioner,ReclaimPolicy,VolumeBindingMode,AllowVolumeExpansion,Age",
            json!(["fast (default)", "csi.example.com", "Delete", "Immediate", false, "0s"]),
        ),
        (SETS, "Name,Ready,Age,(Containers),(Images)", json!(["web", "0/1", "0s", "c", "i"])),
        (
            PODS,
            "Name,Ready,Status,Restarts,Age,(IP),(Node),(Nominated Node),(Readiness Gates)",
            json!(["p", "0/1", "Pending", "0", "0s", "<none>", "<none>", "<none>", "<none>"]),
        ),
        (
            "/api/v1/nodes",
            "Name,Status,Roles,Age,Version,(Internal-IP),(External-IP),(OS-Image),\
             (Kernel-Version),(Container-Runtime)",
            json!([
                "n",
                "Unknown",
                "<none>",
                "0s",
                "",
                "<none>",
                "<none>",
                "<unknown>",
                "<unknown>",
                "<unknown>",
            ]),
        ),
    ];
    for (path, columns, cells) in rows {
        let (names, found) = table(&server, path).await;
        assert_eq!(names.join(","), columns, "{path}");
        assert_eq!(Value::from(found), cells, "{path}");
    }
}
