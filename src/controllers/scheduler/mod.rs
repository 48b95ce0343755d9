//! The scheduler: chooses the node that a pod runs on.
//!
//! ```text
//! mirror -> why_not_place(pod, node) -> first node without an answer -> POST binding
//! ```

mod controller;
mod place;

pub use controller::{Parts, Scheduler};
