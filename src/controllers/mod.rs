//! The hosted control loops and the host that runs them.
//!
//! Each controller is a pure function from what is known to the next write
//! with its reason, inside a thin shell that watches, queues and performs.
