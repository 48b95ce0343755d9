//! The embedded cluster: a revisioned object store behind a router that speaks
//! the Kubernetes API.
//!
//! ```text
//! request -> router -> decode -> default -> admit -> prepare -> validate -> store -> answer
//!                                                                            |
//!                                                     watchers <- history <--+
//! ```
//!
//! What is particular to a kind is in its row ([`kind::ServedKind`]); the
//! router and the store know no kind by name.

pub mod kind;
pub mod kinds;
pub mod schema;
pub mod status;
