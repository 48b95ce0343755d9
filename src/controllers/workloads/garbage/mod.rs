//! GarbageCollector: what becomes of objects whose owners are gone or going
//! (workloads 12).
//!
//! ```text
//! changed keys -> Graph (who names whom as owner) -> objects whose owners look wrong
//!              -> owners asked for at the server -> decide (pure) -> one act, or rest
//! ```
//!
//! An owner counts as gone only once the server has said so: watches of two
//! kinds are not in step, and what is deleted here is lost. Work follows what
//! changed: an object that neither has owners nor is one costs two look-ups.
//! Upstream: `pkg/controller/garbagecollector`.

pub mod controller;
pub mod decide;
pub mod graph;
