//! What only a whole program can show, in one binary: a module per area.

mod attach_detach;
mod binding;
mod conformance;
mod console;
mod crash;
mod csi;
mod examples;
mod exchanges;
mod golden;
mod kubectl;
mod linux_host;
mod live;
mod local_provisioner;
mod memory;
mod node_life;
mod pods;
mod pty;
mod scenario_play;
mod serve;
mod served;
mod stand_in;
mod start;
mod tidy;
mod volume_manager;
mod workloads;
mod world;
