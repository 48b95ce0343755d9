//! pvdeck: a terminal console for Kubernetes persistent storage that hosts the
//! storage controllers in its own process.
//!
//! What may know what, from the ground up; a tidy test holds these layers:
//!
//! ```text
//! model        vocabulary and rules; knows nothing
//! plugins      what a kind of volume can do, and hosts under nodes; know model
//! cluster      whatever answers behind kube::Client; knows model
//! mirror       watch caches of compact rows; knows cluster, model
//! controllers  the hosted control loops; know mirror, plugins, cluster, model
//! diagnosis    why something is stuck and what helps; knows what is above
//! scenario     scripted scenarios; knows what is above
//! ui           the console: draws, never decides; nothing knows ui
//! ```

pub mod cli;
pub mod cluster;
pub mod config;
pub mod console;
pub mod controllers;
pub mod csi_driver;
pub mod diagnosis;
pub mod failure;
pub mod flex_volume;
pub mod log;
pub mod mirror;
pub mod model;
pub mod panic_report;
pub mod plugins;
pub mod scenario;
pub mod serve;
pub mod session;
pub mod ui;
