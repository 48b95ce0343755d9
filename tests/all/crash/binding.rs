//! Binding, provisioning, reclaiming, protection: a crash at every write.

use std::collections::BTreeMap;

use pvdeck::model::kind::{self, Kind};
use pvdeck::model::object::Key;
use serde_json::{Value, json};

use super::{Play, Story, merge, survives_every_crash};
use crate::by_hand::{ByHand, reference};

struct Binding;

impl Story for Binding {
    const KINDS: &'static [&'static Kind] =
        &[kind::PERSISTENT_VOLUME, kind::PERSISTENT_VOLUME_CLAIM, kind::POD];

    async fn tell(play: &mut Play) {
        story(play).await;
    }

    fn sound_at_every_revision(play: &Play) -> Result<(), String> {
        sound_at_every_revision(play)
    }

    fn plain(object: &mut Value) {
        for (part, field) in
            [("status", "lastPhaseTransitionTime"), ("metadata", "deletionTimestamp")]
        {
            if !object[part][field].is_null() {
                object[part][field] = "<time>".into();
            }
        }
        if let Some(reference) = object["spec"]["claimRef"].as_object_mut() {
            reference.shift_remove("resourceVersion");
        }
        let path = object["spec"]["hostPath"]["path"].as_str().unwrap_or_default();
        if path.starts_with("/tmp/hostpath_pv/") {
            object["spec"]["hostPath"]["path"] = "/tmp/hostpath_pv/<handle>".into();
        }
    }
}

#[test]
fn a_crash_at_any_write_leads_to_the_same_end() {
    survives_every_crash::<Binding>(40);
}

impl Play {
    async fn volume(&mut self, name: &str, size: &str, extra: Value) {
        let mut volume = json!({
            "metadata": {"name": name},
            "spec": {"capacity": {"storage": size}, "accessModes": ["ReadWriteOnce"],
                "storageClassName": "manual", "hostPath": {"path": format!("/srv/{name}")}},
        });
        merge(&mut volume["spec"], extra);
        self.create::<Binding>(kind::PERSISTENT_VOLUME, volume).await;
    }

    async fn claim(&mut self, name: &str, size: &str, extra: Value) {
        let mut claim = json!({
            "metadata": {"name": name, "namespace": "default"},
            "spec": {"accessModes": ["ReadWriteOnce"],
                "resources": {"requests": {"storage": size}}},
        });
        merge(&mut claim["spec"], extra);
        self.create::<Binding>(kind::PERSISTENT_VOLUME_CLAIM, claim).await;
    }

    /// The recycler's pod runs and ends well, as often as one is made.
    async fn run_recycler(&mut self, volume: &str) {
        let pod = reference(kind::POD, &format!("recycler-for-{volume}"));
        for _ in 0..10 {
            if self.user.get(&pod).await.is_none() {
                return;
            }
            self.user.patch_status(&pod, json!({"phase": "Succeeded"})).await;
            self.calm::<Binding>().await;
        }
        panic!("the recycler pod is still there");
    }
}

/// Binding in each direction, provisioning, the default class, reclaiming of
/// each kind.
async fn story(play: &mut Play) {
    play.calm::<Binding>().await;
    let class = |name: &str| {
        json!({"metadata": {"name": name}, "provisioner": "kubernetes.io/host-path",
            "reclaimPolicy": "Delete", "volumeBindingMode": "Immediate"})
    };
    play.create::<Binding>(kind::STORAGE_CLASS, class("std")).await;
    play.volume("pv-free", "5Gi", json!({})).await;
    play.claim("free", "1Gi", json!({"storageClassName": "manual"})).await;
    play.volume("pv-named", "2Gi", json!({})).await;
    play.claim("named", "1Gi", json!({"storageClassName": "manual", "volumeName": "pv-named"}))
        .await;
    let by_name = json!({"claimRef": {"namespace": "default", "name": "reserving"}});
    play.volume("pv-reserved", "3Gi", by_name).await;
    play.claim("reserving", "1Gi", json!({"storageClassName": "manual"})).await;
    play.claim("provisioned", "1Gi", json!({"storageClassName": "std"})).await;
    play.claim("classless", "1Gi", json!({})).await;
    let mark = "storageclass.kubernetes.io/is-default-class";
    let mark = json!({"metadata": {"annotations": {mark: "true"}}});
    play.patch::<Binding>(kind::STORAGE_CLASS, "std", mark).await;
    play.delete::<Binding>(kind::PERSISTENT_VOLUME_CLAIM, "free").await;
    play.delete::<Binding>(kind::PERSISTENT_VOLUME, "pv-free").await;
    play.delete::<Binding>(kind::PERSISTENT_VOLUME_CLAIM, "provisioned").await;
    let recycle = json!({"persistentVolumeReclaimPolicy": "Recycle"});
    play.volume("pv-recycled", "1Gi", recycle).await;
    play.claim("recycling", "1Gi", json!({"storageClassName": "manual"})).await;
    play.delete::<Binding>(kind::PERSISTENT_VOLUME_CLAIM, "recycling").await;
    play.run_recycler("pv-recycled").await;
    play.volume("pv-failing", "1Gi", json!({"persistentVolumeReclaimPolicy": "Delete"})).await;
    let wanted = json!({"storageClassName": "manual", "volumeName": "pv-failing"});
    play.claim("failing", "1Gi", wanted).await;
    play.delete::<Binding>(kind::PERSISTENT_VOLUME_CLAIM, "failing").await;
    // The volume goes first: the claim is Lost.
    play.delete::<Binding>(kind::PERSISTENT_VOLUME, "pv-named").await;
    let unprotect = json!({"metadata": {"finalizers": null}});
    play.patch::<Binding>(kind::PERSISTENT_VOLUME, "pv-named", unprotect).await;
}

/// What must hold at each revision: a claim marked as bound names a volume that
/// refers to it, or one that its admin has taken away.
fn sound_at_every_revision(play: &Play) -> Result<(), String> {
    let mut volumes: BTreeMap<Key, Value> = BTreeMap::new();
    let mut claims: BTreeMap<Key, Value> = BTreeMap::new();
    for commit in play.embedded.commits_after(0) {
        let table = match commit.kind {
            kind if kind == kind::PERSISTENT_VOLUME => &mut volumes,
            kind if kind == kind::PERSISTENT_VOLUME_CLAIM => &mut claims,
            _ => continue,
        };
        match commit.object_after() {
            Some(object) => table.insert(commit.key.clone(), object),
            None => table.remove(&commit.key),
        };
        let mut owners = BTreeMap::new();
        for (key, claim) in &claims {
            let bound = &claim["metadata"]["annotations"]["pv.kubernetes.io/bind-completed"];
            let name = claim["spec"]["volumeName"].as_str().unwrap_or_default();
            if bound.is_null() {
                continue;
            }
            if let Some(other) = owners.insert(name.to_owned(), key.clone()) {
                return Err(format!("{}: {key} and {other} have {name}", commit.revision));
            }
            let Some(volume) = volumes.get(&Key::cluster(name)) else { continue };
            if volume["spec"]["claimRef"]["uid"] != claim["metadata"]["uid"] {
                return Err(format!("{}: {name} does not refer to {key}", commit.revision));
            }
        }
    }
    Ok(())
}
