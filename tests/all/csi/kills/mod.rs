//! Kills around the calls of a driver: the driver, or all controllers and
//! agents, or one agent, die between a call and its reply. In the end every
//! claim has one volume of its size, and no volume is left over.

mod cluster;
mod every_call;
mod schedules;

/// The calls of a volume's life that change something, and when they strike.
const CALLS: [&str; 10] = [
    "CreateVolume",
    "ControllerPublishVolume",
    "NodeStageVolume",
    "NodePublishVolume",
    "ControllerExpandVolume",
    "NodeExpandVolume",
    "NodeUnpublishVolume",
    "NodeUnstageVolume",
    "ControllerUnpublishVolume",
    "DeleteVolume",
];
