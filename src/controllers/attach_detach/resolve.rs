//! From a volume of a pod to what is attached for it: the claim, its volume,
//! what is behind it, and who attaches that.
//!
//! Upstream: `util/util.go` (`CreateVolumeSpec`), `plugins.go`
//! (`FindAttachablePluginBySpec`).

use std::sync::Arc;

use serde_json::{Value, json};

use crate::controllers::attach_detach::volume::{AttachableVolume, AttachedBy, CsiVolume};
use crate::model::access_modes::{AccessMode, AccessModes};
use crate::model::claim::{Claim, ClaimPhase};
use crate::model::csi::CsiDriver;
use crate::model::kind;
use crate::model::object::{Key, ObjectRef};
use crate::model::pod::{InlineVolume, Pod, PodClaim};
use crate::model::volume::{Source, Volume};
use crate::model::volume_source::{VolumeSource, VolumeSpec};
use crate::plugins::csi_translation::{self, Translated};
use crate::plugins::kinds;
use crate::plugins::plugin::{Capability, Plugins, unique_volume_name};

const FLEX_VOLUME: &str = "flexVolume";

/// What is known of the cluster.
pub trait Lookup {
    fn claim(&self, key: &Key) -> Option<Arc<Claim>>;
    fn volume(&self, name: &str) -> Option<Arc<Volume>>;
    fn driver(&self, name: &str) -> Option<Arc<CsiDriver>>;
    /// What was read of the volume of this name and uid: `None` if it was not
    /// read yet, `Some(None)` if nothing is attached for it.
    fn known(&self, name: &str, uid: &str) -> Option<Option<Named>>;
}

/// A volume and its unique name.
pub type Named = (Arc<str>, Arc<AttachableVolume>);

/// What became of one volume of a pod.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Resolution {
    /// It is attached to nodes.
    Attachable(Named),
    /// Its kind is not attached to nodes.
    NotAttachable,
    /// Not known yet, in Kubernetes' words; a change of the claim, the volume
    /// or the driver may tell.
    Unknown(String),
    /// This object has to be read first.
    Read(ObjectRef),
}

/// Finds what is attached for a claim of a pod.
pub fn of_claim(
    lookup: &impl Lookup,
    plugins: &Plugins,
    pod: &Pod,
    volume: &PodClaim,
) -> Resolution {
    let key = Key { namespace: pod.meta.key.namespace.clone(), name: volume.claim.clone() };
    let Some(claim) = lookup.claim(&key) else {
        return Resolution::Unknown(format!("failed to find PVC {key} in PVCInformer cache"));
    };
    if volume.ephemeral {
        let owner = claim.meta.owner.as_ref();
        if owner.is_none_or(|owner| owner.uid != pod.meta.uid) {
            let text =
                format!("PVC {key} was not created for pod {} (pod is not owner)", pod.meta.key);
            return Resolution::Unknown(text);
        }
    }
    if claim.phase != ClaimPhase::Bound || claim.volume_name.is_empty() {
        return Resolution::Unknown(format!(
            "PVC {key} has non-bound phase ({:?}) or empty pvc.Spec.VolumeName ({:?})",
            claim.phase.name(),
            claim.volume_name
        ));
    }
    let name = &claim.volume_name;
    let Some(row) = lookup.volume(name) else {
        return Resolution::Unknown(format!("failed to find PV {name:?} in PVInformer cache"));
    };
    match &row.claim_ref {
        None => Resolution::Unknown(format!(
            "found PV object {name:?} but it has a nil pv.Spec.ClaimRef indicating it is not yet bound to the claim"
        )),
        Some(reference) if reference.uid != claim.meta.uid => Resolution::Unknown(format!(
            "found PV object {name:?} but its pv.Spec.ClaimRef.UID ({:?}) does not point to claim.UID ({:?})",
            reference.uid, claim.meta.uid
        )),
        Some(_) => of_volume(lookup, plugins, &row),
    }
}

/// Finds what is attached for a PersistentVolume. A CSI volume's row says
/// enough; of any other the object is read, once.
pub fn of_volume(lookup: &impl Lookup, plugins: &Plugins, row: &Volume) -> Resolution {
    let name = &row.meta.key.name;
    let Source { field, driver, place } = &row.source;
    if let ("csi", Some(driver)) = (&**field, driver) {
        let csi = CsiVolume { driver: driver.clone(), handle: (&**place).into() };
        return of_csi(lookup, name, row.access_modes, csi);
    }
    let attached = attaches(plugins, field, driver.as_deref());
    let translated = kinds::by_field(field).and_then(|kind| kind.migrated_to());
    if !attached && translated.is_none() {
        return Resolution::NotAttachable;
    }
    match lookup.known(name, &row.meta.uid) {
        Some(None) => Resolution::NotAttachable,
        Some(Some((unique_name, volume))) => match &volume.by {
            // Its driver may have changed since.
            AttachedBy::Csi(csi) => of_csi(lookup, name, row.access_modes, csi.clone()),
            AttachedBy::Plugin(_) => Resolution::Attachable((unique_name, volume)),
        },
        None => Resolution::Read(ObjectRef::new(kind::PERSISTENT_VOLUME, row.meta.key.clone())),
    }
}

fn of_csi(lookup: &impl Lookup, name: &Arc<str>, modes: AccessModes, csi: CsiVolume) -> Resolution {
    // A driver that has not said otherwise wants attaching.
    if lookup.driver(&csi.driver).is_some_and(|driver| !driver.attach_required) {
        return Resolution::NotAttachable;
    }
    Resolution::Attachable(named_csi(name, modes, csi))
}

fn named_csi(name: &Arc<str>, modes: AccessModes, csi: CsiVolume) -> Named {
    let shared = modes == AccessModes::NONE
        || modes.contains(AccessMode::ReadWriteMany)
        || modes.contains(AccessMode::ReadOnlyMany);
    let unique_name = csi.unique_name();
    (
        unique_name,
        Arc::new(AttachableVolume { name: name.clone(), shared, by: AttachedBy::Csi(csi) }),
    )
}

/// What a PersistentVolume that was read is for attaching; `None`: nothing. The
/// refusal is in Kubernetes' words.
pub fn read_volume(plugins: &Plugins, object: &Value) -> Result<Option<Named>, String> {
    let mut spec = VolumeSpec::from_volume(object, false);
    // Where it may be used is the scheduler's business, and takes space.
    spec.node_affinity = None;
    if let Some(named) = by_plugin(plugins, spec.clone(), "")? {
        return Ok(Some(named));
    }
    let Some(translated) = csi_translation::translate(object) else { return Ok(None) };
    let Translated { driver, handle } = translated?;
    Ok(Some(named_csi(&spec.name, spec.access_modes, CsiVolume { driver, handle })))
}

/// Finds what is attached for an inline volume of a pod.
pub fn of_inline(plugins: &Plugins, pod: &Pod, volume: &InlineVolume) -> Resolution {
    if attaches(plugins, volume.field, volume.driver.as_deref()) {
        return Resolution::Read(ObjectRef::new(kind::POD, pod.meta.key.clone()));
    }
    Resolution::NotAttachable
}

/// What an inline volume of a pod that was read is for attaching.
pub fn read_inline(
    plugins: &Plugins,
    pod: &Value,
    pod_uid: &str,
    name: &str,
) -> Result<Option<Named>, String> {
    let volumes = pod["spec"]["volumes"].as_array().into_iter().flatten();
    let mut volumes = volumes.filter(|volume| volume["name"] == name);
    let Some(volume) = volumes.next() else { return Ok(None) };
    by_plugin(plugins, VolumeSpec::from_inline(volume), pod_uid)
}

fn by_plugin(plugins: &Plugins, spec: VolumeSpec, pod_uid: &str) -> Result<Option<Named>, String> {
    let Ok(plugin) = plugins.of(&spec.source) else { return Ok(None) };
    if spec.source.field() == "csi" || !plugin.facts_of(&spec).can(Capability::Attach) {
        return Ok(None);
    }
    let unique_name = unique_volume_name(&**plugin, &spec, pod_uid).map_err(|e| e.to_string())?;
    let volume = AttachableVolume {
        name: spec.name.clone(),
        shared: spec.allows_multi_attach(),
        by: AttachedBy::Plugin(Arc::new(spec)),
    };
    Ok(Some((unique_name.into(), Arc::new(volume))))
}

/// Whether a plugin here attaches volumes with this source.
pub fn attaches(plugins: &Plugins, field: &str, driver: Option<&str>) -> bool {
    if field == FLEX_VOLUME {
        // Its drivers come and go.
        let source = json!({FLEX_VOLUME: {"driver": driver.unwrap_or_default()}});
        return plugins.of(&VolumeSource::from_json(&source)).is_ok();
    }
    let source = Source { field: field.into(), driver: driver.map(Arc::from), ..Source::default() };
    let facts = plugins.iter().map(|plugin| plugin.facts());
    field != "csi"
        && facts.into_iter().any(|facts| facts.can(Capability::Attach) && facts.supports(&source))
}
