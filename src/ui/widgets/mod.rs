//! Pieces of the screen that views share.

pub mod bar;
pub mod table;
pub mod title;
