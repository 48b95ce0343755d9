//! The volume manager on simulated machines.

mod node;
mod steps;
