//! Tables of decisions, in the words of the behaviour they follow.

mod filters;
pub(super) mod given;
mod hints;
mod preemption;
mod properties;
mod queue;
mod texts;
mod volumes;
