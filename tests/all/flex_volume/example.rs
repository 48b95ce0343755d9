//! The driver of `examples/flex-volume`, on simulated nodes.

use std::path::Path;

use pvdeck::model::kind;
use pvdeck::plugins::host::command::Verb;
use pvdeck::plugins::host::simulated::rules::{Effect, Rule};
use serde_json::{Value, json};

use super::run;
use crate::pods::{Cluster, WAITS, claimed};

async fn install(cluster: &Cluster) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/flex-volume/k8s~nfs/nfs");
    let script = std::fs::read_to_string(path).expect("the driver");
    cluster.world.install("k8s/nfs", &script);
    let usable = async || {
        let shown = cluster.world.flex_drivers().shown();
        shown.iter().any(|driver| driver.name == "k8s/nfs" && driver.state.is_ok())
    };
    cluster.until("it is found", usable).await;
}

fn share(more: Value) -> Value {
    let mut options = json!({"server": "nfs.example", "share": "exports/a"});
    for (key, value) in more.as_object().into_iter().flatten() {
        options[key] = value.clone();
    }
    json!({"flexVolume": {"driver": "k8s/nfs", "options": options}})
}

#[test]
fn pods_share_what_the_example_driver_mounts() {
    run(async |cluster| {
        install(&cluster).await;
        cluster.claim(share(json!({"mountOptions": "nfsvers=4.1,hard"}))).await;
        cluster.pod("writer", claimed(), "echo hello > /data/note").await;
        cluster.until_phase("writer", "Succeeded").await;
        let lines: Vec<String> = cluster.records("node-1").iter().map(|r| r.line()).collect();
        let mounted = "mount -t nfs -o rw,nfsvers=4.1,hard nfs.example:/exports/a ";
        assert!(lines.iter().any(|line| line.starts_with(mounted)), "{lines:#?}");
        let gone = async || {
            let table = cluster.host("node-1").mounts().await.expect("a table");
            table.below("/var/lib/kubelet/pods").is_empty()
        };
        cluster.until("unmounted", gone).await;
        cluster.pod("reader", share(json!({})), "cat /data/note > /dev/termination-log").await;
        cluster.until_phase("reader", "Succeeded").await;
        let pod = cluster.get(kind::POD, "reader").await.expect("a pod");
        let state = &pod["status"]["containerStatuses"][0]["state"]["terminated"];
        assert_eq!(state["message"], "hello\n");
    });
}

#[test]
fn the_example_driver_says_what_is_wrong() {
    run(async |cluster| {
        install(&cluster).await;
        let told = |why: &str| format!("mount command failed, status: Failure, reason: {why}");
        let nothing = json!({"flexVolume": {"driver": "k8s/nfs", "options": {"share": "a"}}});
        cluster.pod("bare", nothing, WAITS).await;
        cluster.until_told("bare", &told("option server is missing")).await;
        cluster.pod("evil", share(json!({"share": "a; \"rm\" -rf /"})), WAITS).await;
        let refused = "option share has characters that are not allowed";
        cluster.until_told("evil", &told(refused)).await;
        cluster.world.machines().add_rule(Rule {
            node: None,
            verb: Some(Verb::Mount),
            object: Some("nfs.example:".into()),
            after: 0,
            times: Some(1),
            effect: Effect::Fail { exit: 32, output: "mount.nfs: \"x\" timed out\n".into() },
        });
        cluster.pod("slow", share(json!({})), WAITS).await;
        let failed = "mount of nfs.example:/exports/a failed: mount.nfs: \"x\" timed out";
        cluster.until_told("slow", &told(failed)).await;
        cluster.until_phase("slow", "Running").await;
    });
}
