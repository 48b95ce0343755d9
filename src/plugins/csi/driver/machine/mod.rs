//! What is under a driver: disks or directories, made, mounted and taken away.
//!
//! Every request finds what is there and goes on from it.

pub mod directories;
pub mod disks;
pub mod loop_disks;

use pvdeck_csi_proto::csi::VolumeUsage;
use pvdeck_csi_proto::csi::volume_usage::Unit;

use crate::plugins::csi::driver::Doing;
use crate::plugins::csi::driver::machine::directories::Directories;
use crate::plugins::csi::driver::machine::disks::DiskMachine;
use crate::plugins::csi::driver::rules::Refusal;
use crate::plugins::csi::driver::state::{Staging, Target, Volume};
use crate::plugins::error::PluginError;
use crate::plugins::host::HostError;

/// What volumes are made of.
pub enum Machine {
    /// Disks that are attached to hosts, formatted and mounted there.
    Disks(DiskMachine),
    /// Plain directories and files, linked to where they are wanted: needs no
    /// rights, and cannot make anything read-only.
    Directories(Directories),
}

impl From<HostError> for Refusal {
    fn from(error: HostError) -> Self {
        Self::internal(error.to_string())
    }
}

impl From<PluginError> for Refusal {
    fn from(error: PluginError) -> Self {
        Self::internal(error.to_string())
    }
}

impl Machine {
    /// Makes what is behind a volume.
    pub fn make<'a>(&'a self, volume: &'a Volume) -> Doing<'a, ()> {
        match self {
            Self::Disks(machine) => Box::pin(machine.make(volume)),
            Self::Directories(machine) => Box::pin(async { machine.make(volume) }),
        }
    }

    /// Removes it.
    pub fn remove<'a>(&'a self, volume: &'a Volume) -> Doing<'a, ()> {
        match self {
            Self::Disks(machine) => Box::pin(machine.remove(volume)),
            Self::Directories(machine) => Box::pin(async { machine.remove(volume) }),
        }
    }

    /// Makes it as large as the volume says.
    pub fn grow<'a>(&'a self, volume: &'a Volume) -> Doing<'a, ()> {
        match self {
            Self::Disks(machine) => Box::pin(machine.grow(volume)),
            Self::Directories(machine) => Box::pin(async { machine.grow(volume) }),
        }
    }

    /// Makes a volume usable on a machine, for all pods.
    pub fn stage<'a>(
        &'a self,
        machine: &'a str,
        volume: &'a Volume,
        staging: &'a Staging,
    ) -> Doing<'a, ()> {
        match self {
            Self::Disks(own) => Box::pin(own.stage(machine, volume, staging)),
            Self::Directories(own) => Box::pin(async { own.stage(&staging.path) }),
        }
    }

    /// Undoes [`Machine::stage`].
    pub fn unstage<'a>(
        &'a self,
        machine: &'a str,
        volume: &'a Volume,
        path: &'a str,
    ) -> Doing<'a, ()> {
        match self {
            Self::Disks(own) => Box::pin(own.unstage(machine, volume, path)),
            Self::Directories(_) => Box::pin(async { Ok(()) }),
        }
    }

    /// Puts a volume where a pod wants it.
    pub fn publish<'a>(
        &'a self,
        machine: &'a str,
        volume: &'a Volume,
        staged: &'a str,
        path: &'a str,
        target: &'a Target,
    ) -> Doing<'a, ()> {
        match self {
            Self::Disks(own) => Box::pin(own.publish(machine, volume, staged, path, target)),
            Self::Directories(own) => Box::pin(async { own.publish(volume, path) }),
        }
    }

    /// Undoes [`Machine::publish`]; the path is gone then.
    pub fn unpublish<'a>(
        &'a self,
        machine: &'a str,
        volume: &'a Volume,
        path: &'a str,
    ) -> Doing<'a, ()> {
        match self {
            Self::Disks(own) => Box::pin(own.unpublish(machine, volume, path)),
            Self::Directories(own) => Box::pin(async { own.unpublish(path) }),
        }
    }

    /// Lets a filesystem fill a volume that has grown.
    pub fn grow_on_node<'a>(
        &'a self,
        machine: &'a str,
        volume: &'a Volume,
        path: &'a str,
    ) -> Doing<'a, ()> {
        match self {
            Self::Disks(own) => Box::pin(own.grow_on_node(machine, volume, path)),
            Self::Directories(_) => Box::pin(async { Ok(()) }),
        }
    }

    /// Whether what was put at a path of a machine is still there.
    pub fn is_in_place<'a>(&'a self, machine: &'a str, path: &'a str) -> Doing<'a, bool> {
        match self {
            Self::Disks(own) => Box::pin(own.is_in_place(machine, path)),
            Self::Directories(_) => {
                Box::pin(async move { Ok(std::fs::symlink_metadata(path).is_ok()) })
            }
        }
    }

    /// How full a volume is: bytes, and inodes where there are any.
    pub fn usage(&self, volume: &Volume, path: &str) -> Vec<VolumeUsage> {
        let total = i64::try_from(volume.bytes).unwrap_or(i64::MAX);
        let real = match self {
            Self::Disks(machine) => machine.are_paths_real(),
            Self::Directories(_) => false,
        };
        let facts = rustix::fs::statvfs(path).ok().filter(|_| real && !volume.is_block);
        let Some(facts) = facts else {
            let unit = Unit::Bytes.into();
            return vec![VolumeUsage { available: total, total, used: 0, unit }];
        };
        let number = |value: u64| i64::try_from(value).unwrap_or(i64::MAX);
        let usage = |unit: Unit, total: u64, free: u64, available: u64| VolumeUsage {
            available: number(available),
            total: number(total),
            used: number(total.saturating_sub(free)),
            unit: unit.into(),
        };
        let size = facts.f_frsize;
        vec![
            usage(Unit::Bytes, facts.f_blocks * size, facts.f_bfree * size, facts.f_bavail * size),
            usage(Unit::Inodes, facts.f_files, facts.f_ffree, facts.f_favail),
        ]
    }
}
