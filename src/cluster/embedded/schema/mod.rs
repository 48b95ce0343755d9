//! The types of the served kinds as data, and what follows from them.
//!
//! ```text
//! types.txt -> table -> decode     text or protobuf to an object in normal form, or the refusal
//!                    -> normalise  the same for an object made or changed in here
//!                    -> openapi    the published schemas
//!                    -> fields     merge keys for strategic merge patches
//! ```
//!
//! *Normal form* is what a real server would write: fields in the order of
//! their type, unknown ones gone, quantities and times canonical, absent where
//! the zero value says nothing, present where it is always written. Two
//! objects are equal if their normal forms are.

mod decode;
mod is_normal;
mod normal_form;
mod protobuf;
#[cfg(test)]
mod protobuf_tests;
mod table;
#[cfg(test)]
mod tests;
mod text;

pub use decode::{Decoded, FieldValidation, Format, decode, decode_as, decode_value};
pub use normal_form::normalise;
pub use table::{Field, Merge, ObjectType, Presence, Type, named, object_type, object_types, root};
