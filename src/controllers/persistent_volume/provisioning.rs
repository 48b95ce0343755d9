//! Who makes a volume for a claim that nothing fits. Rules P0-P20.
//!
//! Upstream: `provisionClaim`. The external path is decided here whole; the
//! internal one up to the operation that does it.

use std::sync::Arc;

use serde_json::{Value, json};

use crate::controllers::events::Note;
use crate::controllers::persistent_volume::annotations::{
    BETA_STORAGE_PROVISIONER, MIGRATED_TO, STORAGE_PROVISIONER,
};
use crate::controllers::persistent_volume::because::Because;
use crate::controllers::persistent_volume::bind::{object, patch};
use crate::controllers::persistent_volume::migration;
use crate::controllers::persistent_volume::verdict::{Operation, Step, Verdict, View, Wake};
use crate::model::claim::Claim;
use crate::plugins::plugin::Capability;

/// Provisioners of this prefix are part of Kubernetes; all others are external.
pub const IN_TREE: &str = "kubernetes.io/";

/// What to do about a claim of a class that no volume fits.
pub fn decide(view: &View<'_>, claim: &Claim) -> Verdict {
    // P0
    if !view.dynamic_provisioning {
        return Verdict::rest(Because::ProvisioningOff, Wake::Round);
    }
    let name = claim.effective_class();
    // P1 (row 11-14)
    let Some(class) = view.cache.class(name) else {
        let because = Because::ClassMissing { class: name.into() };
        let message = format!("storageclass.storage.k8s.io \"{name}\" not found");
        return failed(claim, because, message);
    };
    let provisioner = &class.provisioner;
    // P2
    if let Some(driver) = migration::driver_of(provisioner) {
        return external(claim, driver);
    }
    let plugin = view.plugins.iter().find(|plugin| plugin.name == &**provisioner);
    match plugin {
        // P3 (row 11-1)
        Some(plugin) if plugin.can(Capability::Provision) => internal(claim, name, plugin.name),
        // P4 (row 11-17)
        _ if !provisioner.starts_with(IN_TREE) => external(claim, provisioner),
        // P5 (rows 11-2, 11-18)
        Some(_) => {
            let because = Because::NoProvisioner { provisioner: provisioner.clone(), known: true };
            failed(claim, because, "no provisionable volume plugin matched")
        }
        None => {
            let because = Because::NoProvisioner { provisioner: provisioner.clone(), known: false };
            let message = format!("no volume plugin matched name: {provisioner}");
            failed(claim, because, message)
        }
    }
}

/// P10: the claim is marked for its provisioner, who is then waited for.
fn external(claim: &Claim, provisioner: &str) -> Verdict {
    let because = Because::External { provisioner: provisioner.into() };
    if let Some(verdict) = annotate(claim, provisioner, &because) {
        return verdict;
    }
    let message = format!(
        "Waiting for a volume to be created either by the external provisioner '{provisioner}' \
         or manually by the system administrator. If volume creation is delayed, please verify \
         that the provisioner is running and correctly registered."
    );
    Verdict::rest(because, Wake::Round).telling(Note::normal(
        claim,
        "ExternalProvisioning",
        message,
    ))
}

/// P20: the claim is marked, then the plugin's operation runs. The refusal of a
/// data source is told each round, where upstream tells it ever more rarely.
fn internal(claim: &Claim, class: &str, plugin: &'static str) -> Verdict {
    // Step 1 (row 11-25)
    if claim.has_data_source && plugin != "kubernetes.io/csi" {
        let message = format!(
            "plugin \"{plugin}\" is not a CSI plugin. Only CSI plugin can provision a claim \
             with a datasource"
        );
        return failed(claim, Because::DataSource { plugin }, message);
    }
    let class: Arc<str> = class.into();
    let because = Because::Provision { plugin, class: class.clone() };
    // Step 2
    if let Some(verdict) = annotate(claim, plugin, &because) {
        return verdict;
    }
    // The other steps need the server and the plugin.
    let (key, uid) = (claim.meta.key.clone(), claim.meta.uid.clone());
    let run = Step::Run(Operation::Provision { claim: key, uid, class, plugin });
    Verdict::new(run, because, Wake::Round)
}

/// Marks the claim with its provisioner; `None` if it is marked, even if the
/// deprecated twin is missing.
fn annotate(claim: &Claim, provisioner: &str, because: &Because) -> Option<Verdict> {
    if claim.meta.annotation(STORAGE_PROVISIONER) == Some(provisioner) {
        return None;
    }
    let mut annotations = json!({
        STORAGE_PROVISIONER: provisioner,
        BETA_STORAGE_PROVISIONER: provisioner,
    });
    if let Some(migrated) = migration::migrated_to(&claim.meta, Some(provisioner)) {
        annotations[MIGRATED_TO] = migrated;
    }
    let change: Value = json!({"metadata": {"annotations": annotations}});
    let write = patch(claim, change, &object(claim), "", because);
    let mut verdict = Verdict::write(write, because.clone());
    let refused = Note::warning(claim, "ProvisioningFailed", "Error saving claim: ");
    verdict.if_refused = Some(Box::new(refused));
    Some(verdict)
}

fn failed(claim: &Claim, because: Because, message: impl Into<String>) -> Verdict {
    Verdict::rest(because, Wake::Round).telling(Note::warning(claim, "ProvisioningFailed", message))
}
