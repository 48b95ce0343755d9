//! The console: draws, never decides.
//!
//! ```text
//! terminal, cluster, clock ─> Message ─> update(State, Data) ─> Effects ─> shell
//!                                              │
//!               draw(State, Data) <────────────┘   one write, if anything changed
//! ```
//!
//! [`state::State`] is what the person did, [`data::Data`] what the cluster
//! holds. Only [`app`] does anything: it reads the terminal, performs effects
//! and draws. Everything else is plain values, so that a test plays keys and
//! compares pictures.

pub mod age;
pub mod app;
pub mod boards;
pub mod calls;
pub mod command;
pub mod consequence;
pub mod data;
pub mod dialog;
pub mod diff;
pub mod editor;
pub mod facts;
pub mod keymap;
pub mod layout;
pub mod lists;
pub mod message;
pub mod picture;
pub mod reason;
pub mod rebind;
pub mod remedy;
pub mod screen;
pub mod sign;
pub mod state;
pub mod target;
pub mod terminal;
pub mod text;
pub mod theme;
pub mod update;
pub mod verdict;
pub mod views;
pub mod why;
pub mod widgets;
pub mod yaml;

pub use app::{Ending, Guard, Opened, Opener, RunOptions, UiError, run};
