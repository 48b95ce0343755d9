//! The volume manager on simulated machines.

mod crash;
mod node;
mod schedules;
mod steps;
