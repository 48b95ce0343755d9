//! Which calls a driver gets, with what, and what its answers do.

use pvdeck::model::kind;
use serde_json::json;

use super::{NAME, flex, log, run, script};
use crate::pods::{WAITS, claimed};

#[test]
fn a_driver_without_attach_is_called_for_each_pod_with_its_data() {
    run(async |cluster| {
        cluster.install(false, "").await;
        cluster.claim(flex(json!({"share": "one"}))).await;
        cluster.pod("reader", claimed(), "cat /data/marker > /dev/termination-log").await;
        cluster.until_phase("reader", "Succeeded").await;
        let pod = cluster.get(kind::POD, "reader").await.expect("a pod");
        let state = &pod["status"]["containerStatuses"][0]["state"]["terminated"];
        assert_eq!(state["message"], "flex\n");
        cluster.until("unmounted", async || cluster.called().len() == 2).await;
        let uid = pod["metadata"]["uid"].as_str().expect("a uid");
        let end = format!("/var/lib/kubelet/pods/{uid}/volumes/example~simple/data");
        let [mount, unmount] = &cluster.called()[..] else { panic!("{:?}", cluster.called()) };
        assert!(unmount.starts_with("unmount ") && unmount.ends_with(&end), "{unmount}");
        let (at, options) = mount.split_once(" {").expect("options");
        assert!(at.starts_with("mount ") && at.ends_with(&end), "{at}");
        let expected = format!(
            "\"kubernetes.io/fsType\":\"\",\"kubernetes.io/pod.name\":\"reader\",\
             \"kubernetes.io/pod.namespace\":\"default\",\"kubernetes.io/pod.uid\":\"{uid}\",\
             \"kubernetes.io/pvOrVolumeName\":\"data\",\"kubernetes.io/readwrite\":\"rw\",\
             \"kubernetes.io/serviceAccount.name\":\"\",\"share\":\"one\"}}"
        );
        assert_eq!(options, expected);
        let table = cluster.host("node-1").mounts().await.expect("a table");
        assert!(table.below("/var/lib/kubelet/pods").is_empty(), "{table:?}");
    });
}

#[test]
fn a_driver_that_attaches_is_called_by_controller_and_node_in_order() {
    let more = r#"attach) echo '{"status":"Success","device":"/dev/flex0"}' ;;
waitforattach) echo '{"status":"Success","device":"/dev/flex1"}' ;;
mountdevice) mount -t tmpfs tmpfs "$2" && echo '{"status":"Success"}' ;;
unmountdevice) umount "$2" && echo '{"status":"Success"}' ;;
detach) echo '{"status":"Success"}' ;;
mount) echo '{"status":"Not supported"}' ;;
unmount) echo '{"status":"Not supported"}' ;;
"#;
    run(async |cluster| {
        cluster.install(true, more).await;
        cluster.claim(flex(json!({}))).await;
        cluster.pod("user", claimed(), WAITS).await;
        cluster.until_phase("user", "Running").await;
        let node = cluster.get(kind::NODE, "node-1").await.expect("a node");
        let attached = &node["status"]["volumesAttached"][0];
        assert_eq!(attached["name"], "example/simple/data");
        assert_eq!(attached["devicePath"], "/dev/flex0");
        // The bind is the kubelet's own.
        let staged = "/var/lib/kubelet/plugins/kubernetes.io/flexvolume/example/simple/mounts/data";
        let lines: Vec<String> = cluster.records("node-1").iter().map(|r| r.line()).collect();
        let bound = format!("mount -t auto -o bind {staged} ");
        assert!(lines.iter().any(|line| line.starts_with(&bound)), "{lines:#?}");
        cluster.delete(kind::POD, "user", None).await;
        cluster.until("detached", async || cluster.commands().contains(&"detach".into())).await;
        let mut told = Vec::new();
        for line in cluster.called() {
            let mut words = line.split(' ').filter(|word| !word.starts_with('{'));
            let command = words.next().unwrap_or_default().to_owned();
            let rest: Vec<&str> =
                words.map(|word| word.rfind("/var/lib").map_or(word, |at| &word[at..])).collect();
            told.push(format!("{command} {}", rest.join(" ")));
        }
        told.dedup();
        let expected = [
            "getvolumename ".to_owned(),
            "attach node-1".to_owned(),
            "waitforattach /dev/flex0".to_owned(),
            format!("mountdevice {staged} /dev/flex1"),
        ];
        assert_eq!(told[..4], expected, "{told:#?}");
        assert_eq!(told.last().map(String::as_str), Some("detach data node-1"), "{told:#?}");
        assert!(told.contains(&format!("unmountdevice {staged}")), "{told:#?}");
        // What is not supported was asked once.
        let asked = cluster.commands();
        for once in ["getvolumename", "mount", "unmount"] {
            assert_eq!(asked.iter().filter(|own| *own == once).count(), 1, "{once}: {asked:?}");
        }
    });
}

#[test]
fn drivers_come_change_and_go_while_the_nodes_run() {
    run(async |cluster| {
        cluster.pod("early", flex(json!({})), WAITS).await;
        let missing = "failed to get Plugin from volumeSpec for volume \"data\" \
                       err=no volume plugin matched";
        cluster.until_told("early", missing).await;
        cluster.install(false, "").await;
        cluster.until_phase("early", "Running").await;
        let before = cluster.probed();
        let other = script(&cluster, true, "");
        cluster.world.install(NAME, &other);
        cluster.until("probed anew", async || cluster.probed() > before).await;
        let shown = cluster.world.flex_drivers().shown();
        assert!(shown[0].state.as_ref().is_ok_and(|can| can.attach), "{shown:?}");
        cluster.world.install(NAME, &script(&cluster, false, ""));
        std::fs::remove_dir_all(cluster.world.drivers_folder().join("example~simple"))
            .expect("removed");
        let none = async || cluster.world.flex_drivers().shown().is_empty();
        cluster.until("gone", none).await;
        cluster.pod("late", flex(json!({})), WAITS).await;
        cluster.until_told("late", missing).await;
        assert_eq!(cluster.phase("early").await, "Running");
        std::fs::remove_dir_all(cluster.world.drivers_folder()).expect("removed");
        let there = async || cluster.world.drivers_folder().is_dir();
        cluster.until("made again", there).await;
        cluster.install(false, "").await;
        cluster.until_phase("late", "Running").await;
    });
}

#[test]
fn a_pod_that_goes_while_its_agent_is_stopped_is_unmounted_afterwards() {
    run(async |cluster| {
        cluster.install(false, "").await;
        cluster.pod("user", flex(json!({})), WAITS).await;
        cluster.until_phase("user", "Running").await;
        cluster.world.agents().stop("node-1");
        cluster.delete(kind::POD, "user", Some(0)).await;
        cluster.world.clock.settle(50).await;
        assert_eq!(cluster.commands(), ["mount"]);
        cluster.world.agents().start("node-1");
        cluster.until("unmounted", async || cluster.commands().len() > 1).await;
        assert_eq!(cluster.commands(), ["mount", "unmount"]);
    });
}

#[test]
fn a_secret_reaches_the_driver_and_nobody_else() {
    run(async |cluster| {
        cluster.install(false, "").await;
        let secret = |name: &str, kind: &str| json!({"metadata": {"name": name}, "type": kind, "data": {"key": "c2VjcmV0"}});
        cluster.create(kind::SECRET, secret("wrong", "Opaque")).await;
        cluster.create(kind::SECRET, secret("right", NAME)).await;
        let with =
            |name: &str| json!({"flexVolume": {"driver": NAME, "secretRef": {"name": name}}});
        cluster.pod("none", with("absent"), WAITS).await;
        let told = "couldn't get secret default/absent err: secrets \"absent\" not found";
        cluster.until_told("none", told).await;
        cluster.pod("wrong", with("wrong"), WAITS).await;
        let told = "couldn't get secret default/wrong err: cannot get secret of type \
                    example/simple";
        cluster.until_told("wrong", told).await;
        assert_eq!(cluster.commands(), Vec::<String>::new());
        cluster.pod("right", with("right"), WAITS).await;
        cluster.until_phase("right", "Running").await;
        let called = std::fs::read_to_string(log(&cluster)).expect("calls");
        assert!(called.contains(r#""kubernetes.io/secret/key":"c2VjcmV0""#), "{called}");
        for record in cluster.records("node-1") {
            assert!(!format!("{record:?}").contains("c2VjcmV0"), "{record:?}");
        }
    });
}

#[test]
fn files_are_the_pods_group_and_read_only_is_told() {
    run(async |cluster| {
        cluster.install(false, "").await;
        let read_only = json!({"flexVolume": {"driver": NAME, "readOnly": true}});
        cluster.pod("reader", read_only, "echo x > /data/new").await;
        cluster.until_phase("reader", "Failed").await;
        let called = cluster.called();
        assert!(called[0].contains(r#""kubernetes.io/readwrite":"ro""#), "{called:?}");
    });
}

#[test]
fn a_driver_that_attaches_is_asked_to_grow_the_volume_and_its_filesystem() {
    let more = r#"attach) echo '{"status":"Success","device":"/dev/flex0"}' ;;
waitforattach) echo '{"status":"Success","device":"/dev/flex1"}' ;;
isattached) echo '{"status":"Success","attached":true}' ;;
mountdevice) mount -t tmpfs tmpfs "$2" && echo '{"status":"Success"}' ;;
unmountdevice) umount "$2" && echo '{"status":"Success"}' ;;
detach|expandvolume|expandfs) echo '{"status":"Success"}' ;;
mount) echo '{"status":"Not supported"}' ;;
unmount) echo '{"status":"Not supported"}' ;;
"#;
    run(async |cluster| {
        cluster.install(true, more).await;
        let class = json!({
            "metadata": {"name": "manual"}, "provisioner": "kubernetes.io/no-provisioner",
            "allowVolumeExpansion": true,
        });
        cluster.create(kind::STORAGE_CLASS, class).await;
        cluster.claim(flex(json!({}))).await;
        cluster.pod("user", claimed(), WAITS).await;
        cluster.until_phase("user", "Running").await;
        cluster.ask_for("2Gi").await;
        cluster.until_grown("2Gi").await;
        let staged = "/var/lib/kubelet/plugins/kubernetes.io/flexvolume/example/simple/mounts/data";
        let called = |command: &str| -> Vec<String> {
            let calls = cluster.called().into_iter();
            calls.filter(|line| line.split(' ').next() == Some(command)).collect()
        };
        let [volume] = &called("expandvolume")[..] else { panic!("{:?}", cluster.called()) };
        assert!(volume.ends_with(" 2147483648 1073741824"), "{volume}");
        let [filesystem] = &called("expandfs")[..] else { panic!("{:?}", cluster.called()) };
        let end = format!("{staged} 2147483648 1073741824");
        assert!(filesystem.ends_with(&end), "{filesystem}");
        let asked = async || !called("isattached").is_empty();
        cluster.until("it is asked what is attached", asked).await;
        let [first, ..] = &called("isattached")[..] else { panic!("asked") };
        assert!(first.ends_with(" node-1"), "{first}");
    });
}
