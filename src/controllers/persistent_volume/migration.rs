//! In-tree plugins that CSI drivers have taken over, all of them for good.

use serde_json::{Value, json};

use crate::controllers::persistent_volume::annotations::{
    BETA_STORAGE_PROVISIONER, MIGRATED_TO, PROVISIONED_BY, STORAGE_PROVISIONER,
};
use crate::model::object::Meta;
use crate::plugins::kinds;

/// The driver that took over from an in-tree plugin.
pub fn driver_of(plugin: &str) -> Option<&'static str> {
    kinds::by_plugin(plugin)?.migrated_to()
}

/// The provisioner recorded on a claim: the current annotation, else its
/// deprecated twin.
pub fn claim_provisioner(claim: &Meta) -> Option<&str> {
    claim.annotation(STORAGE_PROVISIONER).or_else(|| claim.annotation(BETA_STORAGE_PROVISIONER))
}

/// The provisioner recorded on a volume.
pub fn volume_provisioner(volume: &Meta) -> Option<&str> {
    volume.annotation(PROVISIONED_BY)
}

/// What `migrated-to` has to become, as the value of a merge patch (null takes
/// it away); `None` if it is right as it is.
pub fn migrated_to(meta: &Meta, provisioner: Option<&str>) -> Option<Value> {
    let held = meta.annotation(MIGRATED_TO).unwrap_or_default();
    match (provisioner.and_then(driver_of), provisioner) {
        (Some(driver), _) if driver != held => Some(json!(driver)),
        (None, Some(_)) if !held.is_empty() => Some(Value::Null),
        (Some(_), _) | (None, _) => None,
    }
}
