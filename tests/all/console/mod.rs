//! The console: its screens, its keys, what it sends, and the real program in
//! a terminal.

mod boards;
mod drivers;
mod files;
mod keys;
mod sample;
mod screens;
mod terminal;
mod verdict;
mod wire;
mod workloads;
