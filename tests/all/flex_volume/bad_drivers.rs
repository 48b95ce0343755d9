//! Drivers that nobody should have written: contained, and shown.

use std::time::Duration;

use pvdeck::model::kind;
use pvdeck::plugins::host::Exit;
use serde_json::json;

use super::{NAME, flex, run};
use crate::pods::{Cluster, WAITS};

/// A pod whose volume is mounted by a driver that does this; what the pod is
/// told.
async fn told(cluster: &Cluster, more: &str, expected: &str) {
    cluster.install(false, more).await;
    cluster.pod("user", flex(json!({})), WAITS).await;
    let whole = format!("FailedMount: MountVolume.SetUp failed for volume \"data\" : {expected}");
    cluster.until_told("user", &whole).await;
    let uid = cluster.get(kind::POD, "user").await.expect("a pod")["metadata"]["uid"].clone();
    let uid = uid.as_str().expect("a uid");
    let left = format!("/var/lib/kubelet/pods/{uid}/volumes/example~simple/data/marker");
    assert_eq!(cluster.file("node-1", &left).await, None);
}

#[test]
fn a_driver_that_fails_is_quoted_and_tried_again() {
    run(async |cluster| {
        let fails =
            "mount) echo '{\"status\":\"Failure\",\"message\":\"no such share\"}'; exit 1 ;;\n";
        let expected = "mount command failed, status: Failure, reason: no such share";
        told(&cluster, fails, expected).await;
        let tried = cluster.commands().len();
        cluster.until("tried again", async || cluster.commands().len() > tried + 1).await;
        // Mended, it works without any help.
        cluster.install(false, "").await;
        cluster.until_phase("user", "Running").await;
    });
}

#[test]
fn a_driver_that_prints_garbage_fails_its_volume_only() {
    run(async |cluster| {
        told(
            &cluster,
            "mount) echo 'mounted!' ;;\n",
            "invalid character 'm' looking for beginning of value",
        )
        .await;
        cluster.world.install("example/other", GOOD);
        let other = json!({"flexVolume": {"driver": "example/other"}});
        cluster.until("found", async || cluster.world.flex_drivers().shown().len() == 2).await;
        cluster.pod("other", other, WAITS).await;
        cluster.until_phase("other", "Running").await;
    });
}

const GOOD: &str = "#!/bin/sh\ncase \"$1\" in\n\
    init) echo '{\"status\":\"Success\",\"capabilities\":{\"attach\":false}}' ;;\n\
    *) echo '{\"status\":\"Success\"}' ;;\nesac\n";

#[test]
fn a_warning_on_standard_error_breaks_a_reply() {
    run(async |cluster| {
        let warns = "mount) echo 'old kernel' >&2; echo '{\"status\":\"Success\"}' ;;\n";
        told(&cluster, warns, "invalid character 'o' looking for beginning of value").await;
    });
}

#[test]
fn a_driver_that_answers_with_wrong_types_is_refused() {
    run(async |cluster| {
        let wrong = "mount) echo '{\"status\":7}' ;;\n";
        let expected =
            "json: cannot unmarshal number into Go struct field DriverStatus.status of type string";
        told(&cluster, wrong, expected).await;
    });
}

#[test]
fn a_driver_that_says_success_and_fails_is_not_believed() {
    run(async |cluster| {
        told(&cluster, "mount) echo '{\"status\":\"Success\"}'; exit 3 ;;\n", "exit status 3")
            .await;
    });
}

#[test]
fn a_driver_that_prints_a_megabyte_is_cut_short() {
    run(async |cluster| {
        let floods = "mount) head -c 1000000 /dev/zero | tr '\\0' x ;;\n";
        told(&cluster, floods, "the driver printed more than 8192 bytes in answer").await;
        let longest = cluster.records("node-1").iter().map(|r| r.output().len()).max();
        assert!(longest <= Some(8192), "{longest:?}");
    });
}

#[test]
fn a_child_that_a_driver_leaves_behind_holds_up_nothing() {
    run(async |cluster| {
        cluster.install(false, "mount) sleep 600 & echo '{\"status\":\"Success\"}' ;;\n").await;
        cluster.pod("user", flex(json!({})), WAITS).await;
        cluster.until_phase("user", "Running").await;
    });
}

#[test]
fn a_driver_that_hangs_holds_up_its_own_volume_and_ends_with_its_agent() {
    run(async |cluster| {
        let folder = cluster.world.drivers_folder().with_file_name("children");
        let hangs = format!("mount) sleep 600 & echo $! > {}; wait ;;\n", folder.display());
        cluster.install(false, &hangs).await;
        cluster.pod("user", flex(json!({})), WAITS).await;
        cluster.until("it hangs", async || cluster.commands() == ["mount"]).await;
        cluster.world.clock.advance(Duration::from_secs(150)).await;
        let record = cluster.records("node-1").pop().expect("a command");
        assert!(record.ended.is_none() && record.line().contains("simple mount"), "{record:?}");
        let empty = json!({"emptyDir": {}});
        cluster.pod("other", empty, WAITS).await;
        cluster.until_phase("other", "Running").await;
        assert_eq!(cluster.phase("user").await, "Pending");
        cluster.world.agents().stop("node-1");
        let ended = async || {
            let records = cluster.records("node-1");
            let own = records.iter().find(|own| own.id == record.id);
            own.and_then(|own| own.exit()) == Some(Exit::GivenUp)
        };
        cluster.until("killed", ended).await;
    });
}

#[test]
fn a_driver_whose_init_fails_is_shown_and_does_not_hide_another() {
    run(async |cluster| {
        cluster.world.install(NAME, "#!/bin/sh\nexit 1\n");
        cluster.world.install("example/hangs", "#!/bin/sh\nsleep 600\n");
        cluster.world.install("plain/good", GOOD);
        cluster.world.install("example/data", "no program at all");
        let shown = || cluster.world.flex_drivers().shown();
        cluster.until("all are probed", async || shown().len() == 4).await;
        let states: Vec<(String, String)> = shown()
            .into_iter()
            .map(|own| (own.name, own.state.err().unwrap_or_else(|| "fine".into())))
            .collect();
        let failed = |directory: &str, why: &str| {
            format!(
                "error creating Flexvolume plugin from directory {directory}, skipping. \
                 Error: {why}"
            )
        };
        let of = |name: &str| &states.iter().find(|(own, _)| own == name).expect("shown").1;
        assert_eq!(*of(NAME), failed("example~simple", "unexpected end of JSON input"));
        assert_eq!(*of("example/hangs"), failed("example~hangs", "timeout"));
        assert_eq!(*of("plain/good"), "fine");
        assert!(of("example/data").starts_with(&failed("example~data", "")), "{states:?}");
        // Mended, it is found.
        cluster.install(false, "").await;
    });
}
