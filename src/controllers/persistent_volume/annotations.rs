//! The annotations and finalizers that the controller reads and writes. Of an
//! annotation its presence counts, never its value.

use crate::model::object::Meta;

/// On a claim: binding finished once; the claim stays in the bound branch.
pub const BIND_COMPLETED: &str = "pv.kubernetes.io/bind-completed";
/// On a claim: this controller set its `volumeName`. On a volume: it was not
/// reserved for the claim before.
pub const BOUND_BY_CONTROLLER: &str = "pv.kubernetes.io/bound-by-controller";
/// On a claim: the node its first pod goes to.
pub const SELECTED_NODE: &str = "volume.kubernetes.io/selected-node";
/// On a claim: who is expected to provision it.
pub const STORAGE_PROVISIONER: &str = "volume.kubernetes.io/storage-provisioner";
pub const BETA_STORAGE_PROVISIONER: &str = "volume.beta.kubernetes.io/storage-provisioner";
/// On a volume: the plugin or driver that made it.
pub const PROVISIONED_BY: &str = "pv.kubernetes.io/provisioned-by";
/// On both: the CSI driver that took over from the in-tree plugin.
pub const MIGRATED_TO: &str = "pv.kubernetes.io/migrated-to";
/// On a volume: the claim's capacity before a resize that a node has to finish.
pub const PRE_RESIZE_CAPACITY: &str = "volume.alpha.kubernetes.io/pre-resize-capacity";

/// Holds a provisioned volume until its backing store is deleted.
pub const CONTROLLER_FINALIZER: &str = "kubernetes.io/pv-controller";
pub const EXTERNAL_PROVISIONER_FINALIZER: &str =
    "external-provisioner.volume.kubernetes.io/finalizer";

/// The value of a marker annotation.
pub const YES: &str = "yes";

/// Whether an annotation is present.
pub fn has(meta: &Meta, key: &str) -> bool {
    meta.annotation(key).is_some()
}
