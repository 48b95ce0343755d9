//! The console: draws, never decides. Nothing knows `ui`.
