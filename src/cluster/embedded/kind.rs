//! One row describes a served kind: adding a kind is adding a row and its rules.
//!
//! Discovery, paths, tables, field selectors, defaulting, validation and
//! admission all derive from the rows in `kinds::ALL`.

use std::time::Duration;

use jiff::Timestamp;
use serde_json::Value;

use crate::cluster::embedded::status::{ApiError, FieldErrors};
use crate::model::kind::Kind;

/// A kind as the embedded cluster serves it.
pub struct ServedKind {
    pub names: &'static Kind,
    /// Set where this kind is another shape of objects that are stored as a
    /// different kind (`events.k8s.io` over core events).
    pub shape: Option<&'static Shape>,
    /// Discovery categories, such as `all`.
    pub categories: &'static [&'static str],
    pub subresources: &'static [Subresource],
    pub traits: Traits,
    pub columns: &'static [Column],
    /// The cells of one row, in the order of `columns`.
    pub cells: fn(object: &Value, now: Timestamp) -> Vec<Value>,
    /// The selectable fields beside `metadata.name` and `metadata.namespace`.
    pub fields: &'static [SelectableField],
    /// Fills in defaults, after decoding and for patches after patching.
    pub default: fn(object: &mut Value),
    /// Resets what this endpoint does not take. `old` is `None` on create.
    /// `subresource` is `None` for the object itself.
    pub prepare:
        fn(object: &mut Value, old: Option<&Value>, subresource: Option<&str>, now: Timestamp),
    /// Mutating and refusing admission. `old` is `None` on create.
    pub admit: fn(
        object: &mut Value,
        old: Option<&Value>,
        view: &dyn AdmissionView,
    ) -> Result<(), ApiError>,
    /// Checks an object to be created.
    pub validate: fn(object: &Value, errors: &mut FieldErrors),
    /// Checks an update against the stored object; runs `validate`'s rules
    /// itself where they hold for updates too.
    pub validate_update:
        fn(object: &Value, old: &Value, subresource: Option<&str>, errors: &mut FieldErrors),
    /// Texts for `Warning` headers.
    pub warnings: fn(object: &Value) -> Vec<String>,
}

/// Another shape of the objects of a stored kind.
pub struct Shape {
    /// The kind whose objects these are.
    pub stored: &'static Kind,
    /// From this shape to the stored one.
    pub to_stored: fn(object: &mut Value),
    /// From the stored shape to this one.
    pub from_stored: fn(object: &mut Value),
}

/// How the endpoints of a kind differ.
#[derive(Debug, Clone, Copy)]
pub struct Traits {
    /// PUT without `resourceVersion` is allowed.
    pub unconditional_update: bool,
    /// PUT of a missing object creates it.
    pub create_on_update: bool,
    /// `metadata.generation` rises when the spec changes.
    pub generation: bool,
    /// DELETE answers with the object, not with a Status.
    pub delete_returns_object: bool,
    /// Deletion waits for a grace period (pods).
    pub graceful_deletion: bool,
    /// Objects go by themselves this long after their last write (events).
    pub lifetime: Option<Duration>,
}

/// A subresource path below an object.
#[derive(Debug, Clone, Copy)]
pub struct Subresource {
    pub name: &'static str,
    pub verbs: &'static [&'static str],
    /// Group, version and kind of its body, where they differ.
    pub body: Option<(&'static str, &'static str, &'static str)>,
}

/// A column of `kubectl get`.
#[derive(Debug, Clone, Copy)]
pub struct Column {
    pub name: &'static str,
    /// `string`, `integer`, `boolean`, `date`.
    pub kind: &'static str,
    /// `name` for the first column.
    pub format: &'static str,
    /// 0: always shown; 1: with `-o wide`.
    pub priority: u8,
    pub description: &'static str,
}

/// A field that field selectors know.
#[derive(Debug, Clone, Copy)]
pub struct SelectableField {
    pub label: &'static str,
    pub value: fn(object: &Value) -> String,
}

/// What admission may look at: other objects, as they are at this revision.
pub trait AdmissionView {
    /// All objects of a kind (of a namespace, if given).
    fn list(&self, kind: &'static Kind, namespace: Option<&str>) -> Vec<Value>;
    fn get(&self, kind: &'static Kind, namespace: Option<&str>, name: &str) -> Option<Value>;
}
