//! The clocks of clusters.
