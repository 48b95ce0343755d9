//! The pods of a node: what is to be done for each, and the containers.
//!
//! ```text
//! pod object, runtime, volumes -> decide (pure) -> Worker: status, mounts, containers
//!                                    status (pure)   │
//!                                    mounts (pure)   v
//!                                              runtime, sub_path -> Host
//! ```

pub mod decide;
pub mod mounts;
pub mod runtime;
pub mod shell;
pub mod spec;
pub mod status;
pub mod worker;

mod addresses;
mod backoff;
mod container_files;
mod directory;
mod sub_path;

#[cfg(test)]
mod cases;

pub use addresses::of_node as address_of_node;
pub use container_files::ContainerFiles;
