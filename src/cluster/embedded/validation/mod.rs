//! Rules that objects of several kinds are held to.
//!
//! Each function adds what it refuses to the [`FieldErrors`] it is given, with
//! the path, the words and the order of the Kubernetes API server; nothing is
//! changed, and nothing here panics on any JSON.

pub mod diff;
pub mod metadata;
pub mod names;
pub mod selectors;

use serde_json::Value;

use super::status::{FieldErrorKind, FieldErrors};

/// What an update may not change.
pub const IMMUTABLE: &str = "field is immutable";

/// Refuses a changed value; `null` and absent are the same.
pub fn immutable(path: &str, new: Option<&Value>, old: Option<&Value>, errors: &mut FieldErrors) {
    let (new, old) = (new.unwrap_or(&Value::Null), old.unwrap_or(&Value::Null));
    if new != old {
        errors.invalid(path, new.clone(), IMMUTABLE);
    }
}

/// Refuses what is longer than `limit`; the value is not shown.
pub fn too_long(path: impl Into<String>, limit: usize, errors: &mut FieldErrors) {
    let detail = format!("may not be more than {limit} bytes");
    errors.push(path, FieldErrorKind::TooLong, Value::Null, detail);
}

/// Refuses what occurs a second time.
pub fn duplicate(path: impl Into<String>, value: impl Into<Value>, errors: &mut FieldErrors) {
    errors.push(path, FieldErrorKind::Duplicate, value, "");
}

/// Refuses a reference to what is not there.
pub fn not_found(path: impl Into<String>, value: impl Into<Value>, errors: &mut FieldErrors) {
    errors.push(path, FieldErrorKind::NotFound, value, "");
}
