//! What only a whole program can show, in one binary: a module per area.

mod golden;
mod memory;
mod tidy;
