//! Why the controller decided as it did: a variant per rule, with what was
//! compared. Journal, console and tests share it.

use std::fmt;
use std::sync::Arc;

use crate::model::access_modes::AccessModes;
use crate::model::fit::Misfit;
use crate::model::object::Key;
use crate::model::quantity::Quantity;
use crate::model::volume::{ClaimRef, VolumeMode};

/// What a claim asks for, in the words of a sentence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wish {
    pub claim: Arc<str>,
    pub request: Quantity,
    pub access_modes: AccessModes,
    pub class: Arc<str>,
}

/// The rule that led to a verdict.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Because {
    /// The object is not there (any more).
    Gone,
    /// C0, V0: the provisioner's CSI driver is recorded, or no longer is.
    Migrated { driver: Option<Arc<str>> },
    /// V0: the finalizers of deletion are put right.
    Finalizers { provisioner: Arc<str>, policy: Box<str> },
    /// C1: the smallest free volume that fits.
    Smallest { wish: Wish, volume: Arc<str>, capacity: Option<Quantity> },
    /// C1 by M8: the volume is reserved for the claim.
    Reserved { wish: Wish, volume: Arc<str>, capacity: Option<Quantity> },
    /// C2: nothing fits, and there is a default class.
    DefaultClass { class: Arc<str> },
    /// C3a.
    WaitsForConsumer { class: Arc<str> },
    /// C3b, C3c.
    WaitsForPods { class: Arc<str>, pods: Vec<Arc<str>> },
    /// C5.
    NoVolumeNoClass,
    /// Upstream's error for a class without binding mode.
    NoBindingMode { class: Arc<str> },
    /// C6a.
    NamedUnsuitable { volume: Arc<str>, misfit: Misfit },
    /// C6b.
    NamedFree { volume: Arc<str> },
    /// C7.
    NamedReserved { volume: Arc<str> },
    /// C8a; C8b if the controller had set the name itself.
    NamedTaken { volume: Arc<str>, by: ClaimRef, own_choice: bool },
    /// C9.
    NamedMissing { volume: Arc<str> },
    /// B1.
    LostName,
    /// B2.
    LostVolume { volume: Arc<str> },
    /// B2, as long as only the watch lags behind.
    VolumeNotSeen { volume: Arc<str> },
    /// B3.
    LetGo { volume: Arc<str> },
    /// B4.
    Bound { volume: Arc<str> },
    /// B5.
    Misbound { volume: Arc<str>, by: ClaimRef },
    /// W4 cannot be written.
    NoCapacity { volume: Arc<str> },
    /// P0.
    ProvisioningOff,
    /// P1.
    ClassMissing { class: Arc<str> },
    /// P5.
    NoProvisioner { provisioner: Arc<str>, known: bool },
    /// P10.
    External { provisioner: Arc<str> },
    /// P20 step 1.
    DataSource { plugin: &'static str },
    /// P20.
    Provision { plugin: &'static str, class: Arc<str> },
    /// V1.
    Unused,
    /// V2.
    ReservedByName { claim: Key },
    /// Before V4: the server is asked whether the claim is really gone.
    Ask { claim: Key },
    /// V4.
    ClaimGone { claim: ClaimRef },
    /// V5a.
    ModesDiffer { claim: Key, volume: VolumeMode, wanted: VolumeMode },
    /// V5b.
    ClaimToFinish { claim: Key },
    /// V6.
    BoundTo { claim: Key },
    /// V7.
    Surplus { claim: Key, other: Arc<str> },
    /// V8, and V9 if a user had reserved the volume.
    BoundElsewhere { claim: Key, other: Arc<str>, by_user: bool },
    /// R0.
    ReclaimedByDriver { driver: Arc<str> },
    /// R1.
    Retained,
    /// R2.
    Recycle,
    /// R3 with a plugin.
    Delete { plugin: &'static str },
    /// R3 without: an external provisioner deletes.
    DeletedByOthers,
    /// R3: nobody can delete it.
    NoDeleter { why: Box<str> },
    /// R4.
    UnknownPolicy { policy: Box<str> },
    /// R2: nobody can recycle it, or doing so failed.
    RecycleFailed { why: Box<str> },
    /// R3: deleting failed.
    DeleteFailed { why: Box<str> },
    /// R2: the volume was emptied.
    Recycled,
    /// R3: the backing store is gone.
    Deleted,
}

impl Because {
    /// The rule's id in the specification of the behaviour.
    pub fn rule(&self) -> &'static str {
        match self {
            Self::Gone => "-",
            Self::Migrated { .. } => "C0",
            Self::Finalizers { .. } => "V0",
            Self::Smallest { .. } | Self::Reserved { .. } => "C1",
            Self::DefaultClass { .. } => "C2",
            Self::WaitsForConsumer { .. } => "C3a",
            Self::WaitsForPods { pods, .. } if pods.len() == 1 => "C3b",
            Self::WaitsForPods { .. } => "C3c",
            Self::NoVolumeNoClass => "C5",
            Self::NoBindingMode { .. } => "C4",
            Self::NamedUnsuitable { .. } => "C6a",
            Self::NamedFree { .. } => "C6b",
            Self::NamedReserved { .. } => "C7",
            Self::NamedTaken { own_choice: false, .. } => "C8a",
            Self::NamedTaken { own_choice: true, .. } => "C8b",
            Self::NamedMissing { .. } => "C9",
            Self::LostName => "B1",
            Self::LostVolume { .. } | Self::VolumeNotSeen { .. } => "B2",
            Self::LetGo { .. } => "B3",
            Self::Bound { .. } => "B4",
            Self::Misbound { .. } => "B5",
            Self::NoCapacity { .. } => "W4",
            Self::ProvisioningOff => "P0",
            Self::ClassMissing { .. } => "P1",
            Self::NoProvisioner { .. } => "P5",
            Self::External { .. } => "P10",
            Self::DataSource { .. } | Self::Provision { .. } => "P20",
            Self::Unused => "V1",
            Self::ReservedByName { .. } => "V2",
            Self::Ask { .. } => "V3",
            Self::ClaimGone { .. } => "V4",
            Self::ModesDiffer { .. } => "V5a",
            Self::ClaimToFinish { .. } => "V5b",
            Self::BoundTo { .. } => "V6",
            Self::Surplus { .. } => "V7",
            Self::BoundElsewhere { by_user: false, .. } => "V8",
            Self::BoundElsewhere { by_user: true, .. } => "V9",
            Self::ReclaimedByDriver { .. } => "R0",
            Self::Retained => "R1",
            Self::Recycle | Self::RecycleFailed { .. } | Self::Recycled => "R2",
            Self::Delete { .. }
            | Self::DeletedByOthers
            | Self::NoDeleter { .. }
            | Self::DeleteFailed { .. }
            | Self::Deleted => "R3",
            Self::UnknownPolicy { .. } => "R4",
        }
    }
}

/// Every rule there is; a test meets each.
#[cfg(test)]
pub(crate) const RULES: [&str; 34] = [
    "C0", "C1", "C2", "C3a", "C3b", "C3c", "C5", "C6a", "C6b", "C7", "C8a", "C8b", "C9", "B1",
    "B2", "B3", "B4", "B5", "P0", "P1", "P5", "P10", "P20", "V0", "V1", "V2", "V3", "V4", "V5a",
    "V5b", "V6", "V7", "V8", "V9",
];

/// The rules of reclaiming, likewise.
#[cfg(test)]
pub(crate) const RECLAIM_RULES: [&str; 5] = ["R0", "R1", "R2", "R3", "R4"];

impl fmt::Display for Wish {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} wants {} {}", self.claim, self.request, self.access_modes)?;
        if self.class.is_empty() {
            f.write_str(" of no class")
        } else {
            write!(f, " of class {}", self.class)
        }
    }
}

fn sized(volume: &str, capacity: Option<Quantity>) -> String {
    capacity.map_or_else(|| volume.to_owned(), |size| format!("{volume} ({size})"))
}

impl fmt::Display for Because {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Gone => f.write_str("it is not there any more"),
            Self::Migrated { driver: Some(driver) } => {
                write!(f, "its in-tree plugin is served by the CSI driver {driver}")
            }
            Self::Migrated { driver: None } => f.write_str("its plugin is no longer migrated"),
            Self::Finalizers { provisioner, policy } => {
                write!(f, "{provisioner} made it and its reclaim policy is {policy}")
            }
            Self::Smallest { wish, volume, capacity } => {
                write!(f, "{wish}; {} is the smallest that fits", sized(volume, *capacity))
            }
            Self::Reserved { wish, volume, capacity } => {
                write!(f, "{wish}; {} is reserved for it", sized(volume, *capacity))
            }
            Self::DefaultClass { class } => {
                write!(f, "it has no class, no volume fits, and {class} is the default class")
            }
            Self::WaitsForConsumer { class } => {
                write!(f, "class {class} waits for a first pod, and no pod uses it")
            }
            Self::WaitsForPods { class, pods } => {
                let pods = pods.join(", ");
                write!(f, "class {class} waits until {pods} is scheduled")
            }
            Self::NoVolumeNoClass => f.write_str("no volume fits, and no storage class is set"),
            Self::NoBindingMode { class } => {
                write!(f, "VolumeBindingMode not set for StorageClass \"{class}\"")
            }
            Self::NamedUnsuitable { volume, misfit } => {
                write!(f, "it names {volume}, which does not suit: {misfit}")
            }
            Self::NamedFree { volume } => write!(f, "it names {volume}, which is free and suits"),
            Self::NamedReserved { volume } => {
                write!(f, "it names {volume}, which is reserved for it")
            }
            Self::NamedTaken { volume, by, .. } => {
                write!(f, "it names {volume}, which belongs to {}", by.key)
            }
            Self::NamedMissing { volume } => write!(f, "it names {volume}, which does not exist"),
            Self::LostName => f.write_str("it was bound and no longer names its volume"),
            Self::LostVolume { volume } => write!(f, "its volume {volume} is gone"),
            Self::VolumeNotSeen { volume } => {
                write!(f, "its volume {volume} exists, but the watch has not shown it yet")
            }
            Self::LetGo { volume } => write!(f, "its volume {volume} lost its reference to it"),
            Self::Bound { volume } => write!(f, "it is bound to {volume}"),
            Self::Misbound { volume, by } => {
                write!(f, "its volume {volume} belongs to {} (uid {})", by.key, by.uid)
            }
            Self::NoCapacity { volume } => {
                write!(f, "PersistentVolume \"{volume}\" is without a storage capacity")
            }
            Self::ProvisioningOff => f.write_str("no volume fits, and provisioning is off"),
            Self::ClassMissing { class } => {
                write!(f, "no volume fits, and its class {class} does not exist")
            }
            Self::NoProvisioner { provisioner, known: false } => {
                write!(f, "no volume fits, and no plugin is named {provisioner}")
            }
            Self::NoProvisioner { provisioner, known: true } => {
                write!(f, "no volume fits, and {provisioner} cannot provision")
            }
            Self::External { provisioner } => {
                write!(f, "no volume fits, so {provisioner} is to provision one")
            }
            Self::DataSource { plugin } => {
                write!(f, "it has a data source, which {plugin} cannot copy")
            }
            Self::Provision { plugin, class } => {
                write!(f, "no volume fits, so {plugin} provisions one of class {class}")
            }
            Self::Unused => f.write_str("no claim refers to it"),
            Self::ReservedByName { claim } => write!(f, "it is reserved for {claim}"),
            Self::Ask { claim } => write!(f, "its claim {claim} is not known here"),
            Self::ClaimGone { claim } => {
                write!(f, "its claim {} (uid {}) is gone", claim.key, claim.uid)
            }
            Self::ModesDiffer { claim, volume, wanted } => {
                write!(f, "{claim} wants {}, it is {}", wanted.name(), volume.name())
            }
            Self::ClaimToFinish { claim } => write!(f, "{claim} has yet to name it"),
            Self::BoundTo { claim } => write!(f, "{claim} names it"),
            Self::Surplus { claim, other } => {
                write!(f, "it was provisioned for {claim}, which took {other}")
            }
            Self::BoundElsewhere { claim, other, by_user: false } => {
                write!(f, "it was chosen for {claim}, which took {other}")
            }
            Self::BoundElsewhere { claim, other, by_user: true } => {
                write!(f, "it was reserved for {claim}, which took {other}")
            }
            Self::ReclaimedByDriver { driver } => write!(f, "{driver} reclaims it"),
            Self::Retained => f.write_str("its reclaim policy is Retain"),
            Self::Recycle => f.write_str("its reclaim policy is Recycle"),
            Self::Delete { plugin } => {
                write!(f, "its reclaim policy is Delete, and {plugin} can delete it")
            }
            Self::DeletedByOthers => {
                f.write_str("its reclaim policy is Delete, left to its external provisioner")
            }
            Self::NoDeleter { why } | Self::RecycleFailed { why } | Self::DeleteFailed { why } => {
                f.write_str(why)
            }
            Self::UnknownPolicy { policy } => write!(f, "its reclaim policy is {policy}"),
            Self::Recycled => f.write_str("it was emptied for its next claim"),
            Self::Deleted => f.write_str("its backing store is deleted"),
        }
    }
}
