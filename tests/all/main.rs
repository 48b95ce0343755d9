//! What only a whole program can show, in one binary: a module per area.

mod conformance;
mod exchanges;
mod golden;
mod live;
mod memory;
mod tidy;
