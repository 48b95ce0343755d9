//! Why a claim is where it is: what the controller would do about it now, in
//! its own words, and what speaks against each volume.
//!
//! Works from the mirror alone, so also on a cluster whose controllers run
//! elsewhere. Nothing is compared here: the decision is the controller's, the
//! refusals are those of [`fit`].

use std::sync::Arc;

use crate::controllers::holds::Holds;
use crate::controllers::persistent_volume::because::Because;
use crate::controllers::persistent_volume::cache::Cache;
use crate::controllers::persistent_volume::claim::{decide_claim, is_delayed};
use crate::controllers::persistent_volume::migration;
use crate::controllers::persistent_volume::provisioning::IN_TREE;
use crate::controllers::persistent_volume::verdict::{Live, View, Wake};
use crate::mirror::Tables;
use crate::model::claim::{Claim, ClaimPhase};
use crate::model::class::{BindingMode, StorageClass};
use crate::model::fit::{self, Fit, Misfit, Refusals, Search};
use crate::model::volume::Volume;
use crate::plugins::plugin::{Capability, PluginFacts};

/// How many volumes are named as nearest.
const NEAREST: usize = 3;

/// What can be said about a claim.
#[derive(Debug, Clone, PartialEq)]
pub struct Explanation {
    /// What the controller makes of it now; its `Display` is a sentence.
    pub because: Because,
    /// Whether it looks again at each round without a change of the claim.
    pub looks_again: bool,
    pub class: ClassState,
    /// What speaks against the volumes, counted.
    pub refusals: Refusals,
    /// Volumes that fail by the fewest rules: size alone before anything else.
    pub nearest: Vec<(Arc<str>, Misfit)>,
}

/// The class of a claim, and who provisions for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ClassState {
    /// The claim has none; `default` is the one it would get.
    Unset {
        default: Option<Arc<str>>,
    },
    /// The claim asks for volumes without a class.
    Empty,
    Missing {
        name: Arc<str>,
    },
    Present {
        name: Arc<str>,
        provisioner: Provisioner,
        waits_for_consumer: bool,
    },
}

/// Who provisions volumes of a class.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Provisioner {
    /// The controller itself.
    BuiltIn { name: Arc<str> },
    /// Someone outside; `migrated_from` if an in-tree name stands for it.
    External { name: Arc<str>, migrated_from: Option<Arc<str>> },
    /// Nobody: `kubernetes.io/no-provisioner`, or a plugin that is not there.
    Nobody { name: Arc<str> },
}

impl Explanation {
    /// The reason in a few words, for a row that is not Bound.
    pub fn short(&self) -> String {
        match &self.because {
            Because::NamedUnsuitable { misfit, .. } => misfit.label().to_owned(),
            Because::WaitsForConsumer { .. } => "waits for a pod; that is intended".to_owned(),
            Because::WaitsForPods { .. } => "waits for its pod to be scheduled".to_owned(),
            Because::ClassMissing { class } if self.refusals.volumes == 0 => {
                format!("class {class} does not exist")
            }
            Because::External { provisioner } => format!("{provisioner} is to provision"),
            Because::NoVolumeNoClass
            | Because::ClassMissing { .. }
            | Because::NoProvisioner { .. }
            | Because::ProvisioningOff => self.refusals.to_string(),
            other => other.to_string(),
        }
    }
}

/// Explains a claim. Looks at every volume once.
pub fn explain(tables: &Tables, plugins: &[PluginFacts], claim: &Arc<Claim>) -> Explanation {
    explain_seeing(tables, plugins, claim, &mut |_, _| {})
}

/// Is shown each volume, with what speaks against it.
pub type Seer<'a> = dyn FnMut(&Arc<Volume>, &Result<Fit, Misfit>) + 'a;

/// The same; each volume and what speaks against it are shown to `see`, by
/// name, so that one pass gives both.
pub fn explain_seeing(
    tables: &Tables,
    plugins: &[PluginFacts],
    claim: &Arc<Claim>,
    see: &mut Seer<'_>,
) -> Explanation {
    let mut cache = surroundings(tables, claim);
    let (mut refusals, mut nearest) = (Refusals::default(), Vec::new());
    let mut fitting = false;
    for (volume, answer) in against(tables, claim) {
        see(volume, &answer);
        match &answer {
            // The smallest in the right set of modes is chosen by the decision.
            Ok(Fit::Free | Fit::Reserved) => {
                fitting = true;
                cache.put_volume(volume.clone());
            }
            Err(misfit @ (Misfit::TooSmall { .. } | Misfit::NotAvailable { .. })) => {
                nearest.push((volume.capacity, volume.meta.key.name.clone(), misfit.clone()));
            }
            Err(_) => {}
        }
        refusals.count(volume, answer);
    }
    nearest.sort_by(|a, b| b.0.cmp(&a.0).then_with(|| a.1.cmp(&b.1)));
    nearest.truncate(if fitting { 0 } else { NEAREST });
    let (holds, mut live) = (Holds::default(), Live::default());
    if !claim.volume_name.is_empty() && cache.volume(&claim.volume_name).is_none() {
        live.volumes.insert(claim.volume_name.clone(), None);
    }
    let view =
        View { cache: &cache, plugins, holds: &holds, live: &live, dynamic_provisioning: true };
    let verdict = decide_claim(&view, &claim.meta.key);
    Explanation {
        because: verdict.because,
        looks_again: verdict.wake == Wake::Round,
        class: class_state(&view, claim),
        refusals,
        nearest: nearest.into_iter().map(|(_, name, misfit)| (name, misfit)).collect(),
    }
}

/// Each volume by name with what speaks against it, worked out as it is asked
/// for. That the class waits for a consumer is not held against volumes here.
pub fn against<'a>(
    tables: &'a Tables,
    claim: &'a Claim,
) -> impl Iterator<Item = (&'a Arc<Volume>, Result<Fit, Misfit>)> {
    let volumes = tables.volumes.iter();
    volumes.map(|volume| (volume, fit::why_not_fit(claim, volume, &Search::IMMEDIATE)))
}

/// Whether a claim is in a state that calls for an explanation.
pub fn calls_for_explanation(claim: &Claim) -> bool {
    claim.phase != ClaimPhase::Bound
}

/// What a decision about this claim looks at, volumes that may fit left out.
fn surroundings(tables: &Tables, claim: &Arc<Claim>) -> Cache {
    let mut cache = Cache::default();
    cache.put_claim(claim.clone());
    tables.classes.iter().for_each(|class| cache.put_class(class.clone()));
    tables.pods_using(&claim.meta.key).for_each(|pod| cache.put_pod(pod.clone()));
    tables.volumes_of(&claim.meta.key).for_each(|volume| {
        cache.put_volume(volume.clone());
    });
    let named = crate::model::object::Key::cluster(claim.volume_name.clone());
    if let Some(volume) = tables.volumes.get(&named) {
        cache.put_volume(volume.clone());
    }
    cache
}

fn class_state(view: &View<'_>, claim: &Claim) -> ClassState {
    let Some(name) = claim.class.clone() else {
        let default = view.cache.default_class().map(|class| class.meta.key.name.clone());
        return ClassState::Unset { default };
    };
    if name.is_empty() {
        return ClassState::Empty;
    }
    match view.cache.class(&name) {
        None => ClassState::Missing { name },
        Some(class) => ClassState::Present {
            name,
            provisioner: provisioner(view, class),
            waits_for_consumer: is_delayed(view, claim)
                .unwrap_or(class.binding_mode == Some(BindingMode::WaitForFirstConsumer)),
        },
    }
}

fn provisioner(view: &View<'_>, class: &StorageClass) -> Provisioner {
    let name = class.provisioner.clone();
    if let Some(driver) = migration::driver_of(&name) {
        return Provisioner::External { name: driver.into(), migrated_from: Some(name) };
    }
    let plugin = view.plugins.iter().find(|plugin| plugin.name == &*name);
    match plugin {
        Some(plugin) if plugin.can(Capability::Provision) => Provisioner::BuiltIn { name },
        _ if !name.starts_with(IN_TREE) => Provisioner::External { name, migrated_from: None },
        _ => Provisioner::Nobody { name },
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::mirror::Mirror;
    use crate::model::object::Key;
    use crate::model::row::Row;
    use crate::plugins::kinds::CONTROLLER_PLUGINS;

    fn volume(name: &str, size: &str, class: &str) -> Value {
        json!({
            "metadata": {"name": name, "uid": name, "resourceVersion": "1"},
            "spec": {"capacity": {"storage": size}, "accessModes": ["ReadWriteOnce"],
                "storageClassName": class, "nfs": {"server": "s", "path": "/"}},
            "status": {"phase": "Available"},
        })
    }

    fn explained(volumes: &[Value], class: &str) -> Explanation {
        let mirror = Mirror::default();
        for volume in volumes {
            mirror.apply(Volume::from_object(volume).expect("a volume"));
        }
        let claim = json!({
            "metadata": {"name": "c", "namespace": "d", "uid": "c", "resourceVersion": "2"},
            "spec": {"accessModes": ["ReadWriteOnce"], "storageClassName": class,
                "resources": {"requests": {"storage": "10Gi"}}},
            "status": {"phase": "Pending"},
        });
        mirror.apply(Claim::from_object(&claim).expect("a claim"));
        mirror.read(|tables| {
            let claim = tables.claims.get(&Key::new("d", "c")).expect("it is there");
            explain(tables, &CONTROLLER_PLUGINS, claim)
        })
    }

    #[test]
    fn a_claim_that_nothing_fits_is_explained_by_counted_refusals() {
        let volumes =
            [volume("a", "1Gi", "gold"), volume("b", "5Gi", "gold"), volume("c", "20Gi", "")];
        let explained = explained(&volumes, "gold");
        assert_eq!(explained.short(), "0 of 3 fit: 2 too small, 1 other class");
        assert_eq!(explained.class, ClassState::Missing { name: "gold".into() });
        let nearest: Vec<_> = explained.nearest.iter().map(|(name, _)| &**name).collect();
        assert_eq!(nearest, ["b", "a"]);
    }

    #[test]
    fn a_claim_about_to_be_bound_names_the_volume_the_binder_takes() {
        let volumes = [volume("a", "40Gi", "gold"), volume("b", "20Gi", "gold")];
        let explained = explained(&volumes, "gold");
        assert!(matches!(&explained.because, Because::Smallest { volume, .. } if &**volume == "b"));
        assert_eq!(explained.refusals.fitting, 2);
        assert_eq!(
            explained.because.to_string(),
            "c wants 10Gi RWO of class gold; b (20Gi) is the smallest that fits"
        );
    }

    #[test]
    fn without_volumes_the_missing_class_is_the_reason() {
        assert_eq!(explained(&[], "gold").short(), "class gold does not exist");
    }
}
