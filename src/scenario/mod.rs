//! Scripted scenarios: load, step, expect.
