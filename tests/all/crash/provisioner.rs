//! The provisioner of local volumes: found, claimed, released, cleaned and made
//! anew, with a crash at every write and a kill at every request to the node.

use std::sync::Arc;
use std::time::Duration;

use pvdeck::model::kind::{self, Kind};
use pvdeck::plugins::host::{Command, Files, Host, Hosts, OnBehalf};
use serde_json::{Value, json};

use super::{Play, Story, survives_every_crash, survives_every_kill};
use crate::by_hand::{ByHand, reference};

const NODE: &str = "node-1";
const VOLUME: &str = "/mnt/fast/vol1";

struct Provisioned;

impl Story for Provisioned {
    const KINDS: &'static [&'static Kind] =
        &[kind::PERSISTENT_VOLUME, kind::PERSISTENT_VOLUME_CLAIM];
    const NODES: &'static [&'static str] = &[NODE];

    async fn tell(play: &mut Play) {
        mount(play).await;
        configure(play).await;
        let labels = json!({"kubernetes.io/hostname": NODE});
        play.create::<Self>(kind::NODE, json!({"metadata": {"name": NODE, "labels": labels}}))
            .await;
        for name in ["first", "second"] {
            let claim = json!({"metadata": {"name": name, "namespace": "default"}, "spec": {
                "accessModes": ["ReadWriteOnce"], "storageClassName": "fast",
                "resources": {"requests": {"storage": "10Mi"}},
            }});
            play.create::<Self>(kind::PERSISTENT_VOLUME_CLAIM, claim).await;
            let claim = play.user.get(&reference(kind::PERSISTENT_VOLUME_CLAIM, name)).await;
            assert_eq!(claim.expect("the claim")["status"]["phase"], "Bound", "{name}");
            write(play).await;
            play.delete::<Self>(kind::PERSISTENT_VOLUME_CLAIM, name).await;
            let left = Files(&*own(play)).list(VOLUME).await.expect("listed");
            assert!(left.is_empty(), "emptied: {left:?}");
        }
    }

    /// At most one volume of the mount at any time, and none is given to a
    /// claim that had another volume object before.
    fn sound_at_every_revision(play: &Play) -> Result<(), String> {
        for commit in play.embedded.commits_after(0) {
            if commit.kind != kind::PERSISTENT_VOLUME {
                continue;
            }
            let Some(after) = commit.object_after() else { continue };
            let claimed = after["spec"]["claimRef"]["uid"].as_str();
            let before = commit.object_before();
            let earlier = before.as_ref().and_then(|v| v["spec"]["claimRef"]["uid"].as_str());
            if earlier.is_some() && claimed != earlier {
                return Err(format!("{}: handed on with what is on it", commit.revision));
            }
        }
        Ok(())
    }

    /// Cleaning is none of the cluster's business, so a round of it shows only
    /// in the next: not at rest while a volume is released, or yet to be made.
    async fn live(play: &mut Play) -> bool {
        let volumes = play.user.list(kind::PERSISTENT_VOLUME).await;
        let is_released = |volume: &Value| volume["status"]["phase"] == "Released";
        let configured = play.user.get(&reference(kind::NODE, NODE)).await.is_some();
        let waits = volumes.iter().any(is_released) || (configured && volumes.is_empty());
        if waits {
            play.clock.advance(Duration::from_secs(10)).await;
        }
        waits
    }

    fn plain(object: &mut Value) {
        if let Some(status) = object["status"].as_object_mut() {
            status.shift_remove("lastPhaseTransitionTime");
        }
    }
}

#[test]
fn a_crash_at_any_write_of_the_provisioner_leads_to_the_same_end() {
    survives_every_crash::<Provisioned>(15);
}

#[test]
fn a_kill_at_any_request_to_the_node_leads_to_the_same_end() {
    survives_every_kill::<Provisioned>(3);
}

/// What the admin and a pod do on the node is none of the controllers'.
fn own(play: &Play) -> Arc<dyn Host> {
    play.world.as_ref().and_then(|world| world.host(NODE)).expect("a machine")
}

async fn mount(play: &Play) {
    let host = own(play);
    Files(&*host).make_directories(VOLUME, 0o755).await.expect("made");
    let command = Command::tmpfs("tmpfs", VOLUME, vec!["size=16m".into()]);
    let record = host.run(&OnBehalf::default(), command).await.expect("it runs");
    assert!(record.succeeded(), "{}", record.output());
}

async fn write(play: &Play) {
    let host = own(play);
    let files = Files(&*host);
    files.make_directories("/mnt/fast/vol1/left", 0o755).await.expect("made");
    for file in ["left/behind", "note"] {
        files.write(&format!("{VOLUME}/{file}"), b"x", 0o644).await.expect("written");
    }
}

async fn configure(play: &mut Play) {
    let class = json!({"metadata": {"name": "fast"},
        "provisioner": "kubernetes.io/no-provisioner", "volumeBindingMode": "Immediate"});
    play.create::<Provisioned>(kind::STORAGE_CLASS, class).await;
    let map = "fast:\n  hostDir: /mnt/fast\n  mountDir: /mnt/fast\n";
    let config = json!({
        "metadata": {"name": "local-provisioner-config", "namespace": "kube-system"},
        "data": {"storageClassMap": map, "useNodeNameOnly": "true"}});
    play.create::<Provisioned>(kind::CONFIG_MAP, config).await;
}
