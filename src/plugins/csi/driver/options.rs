//! How a driver is set up.

use std::collections::BTreeMap;

use crate::plugins::csi::driver::faults::Fault;

/// The driver's name if none is given.
pub const NAME: &str = "csi.pvdeck.dev";

/// One GiB.
pub const GIB: u64 = 1 << 30;

/// What a driver announces and allows.
#[derive(Debug, Clone)]
pub struct Options {
    /// Reported by `GetPluginInfo`; a class names it as provisioner.
    pub name: String,
    /// The sum of all volumes, in bytes.
    pub capacity: u64,
    /// The largest single volume, in bytes.
    pub volume_bytes_max: u64,
    /// Whether volumes are attached to a node before they are used there.
    pub attach: bool,
    /// How many volumes a node may have; zero: any number.
    pub volumes_per_node_max: u64,
    /// Where the nodes are: `zone=a`. Empty: volumes are reachable from all.
    pub topology: BTreeMap<String, String>,
    /// Parameters that may be changed while a volume exists.
    pub mutable_parameters: Vec<String>,
    pub faults: Vec<Fault>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            name: NAME.to_owned(),
            capacity: 10 * 1024 * GIB,
            volume_bytes_max: 1024 * GIB,
            attach: true,
            volumes_per_node_max: 0,
            topology: BTreeMap::new(),
            mutable_parameters: ["iops", "throughput", "tier"].map(str::to_owned).into(),
            faults: Vec::new(),
        }
    }
}
