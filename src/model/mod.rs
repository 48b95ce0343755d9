//! The vocabulary of persistent storage and its pure rules.
//!
//! Quantities, access modes, selectors, the compact rows of volumes, claims
//! and classes, the write as a value, and the clock as a trait. Knows nothing
//! of the layers above.
//!
//! Invariant: no I/O, no task, no `now()` and no randomness in here. Rows are
//! read from API objects as they are ([`row::Row::from_object`]); a row never
//! holds more than decisions and screens need, so that 100,000 of them are
//! cheap. Whole objects stay at the server.

pub mod clock;
pub mod kind;
pub mod object;
pub mod row;
pub mod write;

pub mod access_modes;
pub mod quantity;
pub mod quota;
pub mod resources;
pub mod selector;
pub mod template;

pub mod attachment;
pub mod attributes_class;
pub mod bare;
pub mod claim;
pub mod class;
pub mod csi;
pub mod deployment;
pub mod event;
pub mod limit_range;
pub mod namespace;
pub mod node;
pub mod node_board;
pub mod pod;
pub mod pod_needs;
pub mod replica_set;
pub mod service;
pub mod stateful_set;
pub mod volume;
pub mod volume_source;

pub mod fit;
