//! The hosted control loops and the host that runs them.
//!
//! Each controller is a pure function from what is known to the next write
//! with its reason, inside a thin shell that watches, queues and performs.
//!
//! ```text
//! mirror ─ changed keys ─> work loop ─> decide (pure) ─> Server::perform ─> write path
//!                             ^                             │
//!                             └── answers, pauses, resync <─┘
//! ```
//!
//! Invariant: decisions (`decide_*`) import no shell, client or runtime; time
//! reaches a loop only through its [`crate::model::clock::Clock`].

pub mod attach_detach;
pub mod csi;
pub mod election;
pub mod events;
pub mod expand;
pub mod health;
pub mod holds;
pub mod host;
pub mod local_provisioner;
pub mod machines;
pub mod node_agent;
pub mod node_life;
pub mod parts;
pub mod persistent_volume;
pub mod protection;
pub mod resource_quota;
pub mod scheduler;
pub mod server;
pub mod work_loop;
pub mod workloads;
