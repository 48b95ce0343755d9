//! `kubectl logs` of simulated containers.

use http::Request;
use kube::client::Body;
use serde_json::{Value, json};

use super::{Cluster, claimed, local};
use pvdeck::model::kind;

impl Cluster {
    /// What the server answers to a request for a pod's log.
    async fn log(&self, pod: &str, query: &str) -> (u16, String) {
        let path = format!("/api/v1/namespaces/default/pods/{pod}/log?{query}");
        let request = Request::get(path).body(Body::empty()).expect("a request");
        let response = self.world.user.send(request).await.expect("an answer");
        let code = response.status().as_u16();
        let body = response.into_body().collect_bytes().await.expect("a body");
        let text = String::from_utf8_lossy(&body).into_owned();
        let refused: Result<Value, _> = serde_json::from_str(&text);
        match refused {
            Ok(status) if code >= 400 => {
                (code, status["message"].as_str().unwrap_or_default().to_owned())
            }
            _ => (code, text),
        }
    }
}

#[test]
fn logs_tell_what_a_container_printed_and_why_there_is_nothing_yet() {
    Cluster::run(async |cluster| {
        let script = "echo one; echo two; trap 'exit 0' TERM; while :; do sleep 1; done";
        let volume = json!({"persistentVolumeClaim": {"claimName": "data"}, "name": "data"});
        let pod = json!({"metadata": {"name": "early"}, "spec": {
            "nodeName": "node-1",
            "containers": [{"name": "main", "image": "busybox:1.35", "command": ["sh", "-c", script],
                "volumeMounts": [{"name": "data", "mountPath": "/data"}]}],
            "volumes": [volume],
        }});
        cluster.create(kind::POD, pod).await;
        cluster.world.clock.advance(std::time::Duration::from_secs(1)).await;
        let waits = "container \"main\" in pod \"early\" is waiting to start: ContainerCreating";
        assert_eq!(cluster.log("early", "").await, (400, waits.to_owned()));
        let other = "container other is not valid for pod early";
        assert_eq!(cluster.log("early", "container=other").await, (400, other.to_owned()));
        cluster.make_directory("/mnt/data").await;
        cluster.claim(local("/mnt/data")).await;
        cluster.until_phase("early", "Running").await;
        assert_eq!(cluster.log("early", "").await, (200, "one\ntwo\n".to_owned()));
        assert_eq!(cluster.log("early", "tailLines=1").await, (200, "two\n".to_owned()));
        let none = "previous terminated container \"main\" in pod \"early\" not found";
        assert_eq!(cluster.log("early", "previous=true").await, (400, none.to_owned()));
        assert_eq!(cluster.log("missing", "").await.0, 404);
    });
}

#[test]
fn the_log_of_the_run_before_is_told_after_a_restart() {
    Cluster::run(async |cluster| {
        cluster.make_directory("/mnt/data").await;
        cluster.claim(local("/mnt/data")).await;
        let script = "if test -f /data/once; then echo again; sleep 100000; fi; \
                      echo first; echo x > /data/once; exit 1";
        let pod = json!({"metadata": {"name": "twice"}, "spec": {
            "nodeName": "node-1",
            "containers": [{"name": "main", "image": "busybox:1.35", "command": ["sh", "-c", script],
                "volumeMounts": [{"name": "data", "mountPath": "/data"}]}],
            "volumes": [{"name": "data", "persistentVolumeClaim": {"claimName": "data"}}],
        }});
        cluster.create(kind::POD, pod).await;
        cluster
            .until("it runs again", async || cluster.log("twice", "").await.1 == "again\n")
            .await;
        // The status tells of the run before, and a little later than the log.
        cluster
            .until("its restart is told", async || {
                let pod = cluster.get(kind::POD, "twice").await.expect("a pod");
                pod["status"]["containerStatuses"][0]["restartCount"] == 1
            })
            .await;
        assert_eq!(cluster.log("twice", "previous=true").await, (200, "first\n".to_owned()));
    });
}

#[test]
fn a_status_tells_how_volumes_are_mounted_and_what_it_is_about() {
    Cluster::run(async |cluster| {
        cluster.make_directory("/mnt/data").await;
        cluster.claim(local("/mnt/data")).await;
        let mounts = json!([
            {"name": "data", "mountPath": "/data"},
            {"name": "data", "mountPath": "/seen", "readOnly": true},
            {"name": "data", "mountPath": "/deep", "readOnly": true, "recursiveReadOnly": "Enabled"},
        ]);
        let mut volume = claimed();
        volume["name"] = "data".into();
        let pod = json!({"metadata": {"name": "pod-1"}, "spec": {
            "containers": [{"name": "main", "image": "busybox:1.35", "volumeMounts": mounts,
                "readinessProbe": {"exec": {"command": ["false"]}}}],
            "volumes": [volume],
        }});
        cluster.create(kind::POD, pod).await;
        cluster.until_phase("pod-1", "Running").await;
        let pod = cluster.get(kind::POD, "pod-1").await.expect("a pod");
        let generation = &pod["metadata"]["generation"];
        assert_eq!((&pod["status"]["observedGeneration"], generation), (&json!(1), &json!(1)));
        let conditions = pod["status"]["conditions"].as_array().expect("conditions");
        let ready = conditions.iter().find(|c| c["type"] == "Ready").expect("Ready");
        assert_eq!((&ready["status"], &ready["observedGeneration"]), (&json!("True"), &json!(1)));
        let told = &pod["status"]["containerStatuses"][0]["volumeMounts"];
        let expected = json!([
            {"name": "data", "mountPath": "/data"},
            {"name": "data", "mountPath": "/seen", "readOnly": true,
             "recursiveReadOnly": "Disabled"},
            {"name": "data", "mountPath": "/deep", "readOnly": true, "recursiveReadOnly": "Enabled"},
        ]);
        assert_eq!(told, &expected);
    });
}
