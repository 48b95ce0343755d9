//! Tables of what a node does with its pods, and of what containers do.

mod life;
mod scripts;
