//! The real program in a real terminal, read through a terminal emulator.
