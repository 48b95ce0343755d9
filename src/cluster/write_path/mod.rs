//! The one path of every write of ours.
