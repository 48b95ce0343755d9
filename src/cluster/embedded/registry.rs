//! The rows that one cluster serves, and where their objects are stored.

use bytes::Bytes;
use serde_json::Value;

use crate::cluster::embedded::kind::{SelectableField, ServedKind, Subresource};
use crate::cluster::embedded::store::object::Stored;
use crate::cluster::embedded::store::{Store, TableId};
use crate::model::kind::Kind;

/// A served kind with its table.
#[derive(Clone, Copy)]
pub struct Served {
    pub row: &'static ServedKind,
    pub table: TableId,
    /// The selectable fields that are kept beside the stored object.
    pub stored_fields: &'static [SelectableField],
}

impl std::fmt::Debug for Served {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.row.names.kind)
    }
}

/// All served kinds, in the order of the rows.
#[derive(Debug)]
pub struct Registry {
    served: Vec<Served>,
}

impl Registry {
    /// Joins rows with the tables of a store; a shape takes the table of the
    /// kind it is stored as.
    pub fn new(rows: &[&'static ServedKind], store: &Store) -> Self {
        let served = rows
            .iter()
            .filter_map(|row| {
                let stored = stored_kind(row);
                let stored_row = rows.iter().find(|other| other.names == stored)?;
                Some(Served { row, table: store.table(stored)?, stored_fields: stored_row.fields })
            })
            .collect();
        Self { served }
    }

    pub fn all(&self) -> &[Served] {
        &self.served
    }

    /// The kind at a path.
    pub fn by_path(&self, group: &str, version: &str, plural: &str) -> Option<Served> {
        self.served.iter().copied().find(|served| {
            let names = served.row.names;
            names.plural == plural && names.group == group && names.version == version
        })
    }

    pub fn by_kind(&self, kind: &Kind) -> Option<Served> {
        self.served.iter().copied().find(|served| served.row.names == kind)
    }

    /// The kind with an object's `apiVersion` and `kind`.
    pub fn by_type(&self, api_version: &str, kind: &str) -> Option<Served> {
        let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
        self.served.iter().copied().find(|served| {
            let names = served.row.names;
            names.kind == kind && names.group == group && names.version == version
        })
    }

    pub fn serves(&self, group: &str, version: &str) -> bool {
        self.served
            .iter()
            .any(|served| served.row.names.group == group && served.row.names.version == version)
    }
}

/// The kind whose table holds a row's objects.
pub fn stored_kind(row: &ServedKind) -> &'static Kind {
    row.shape.map_or(row.names, |shape| shape.stored)
}

impl Served {
    pub fn names(&self) -> &'static Kind {
        self.row.names
    }

    pub fn subresource(&self, name: &str) -> Option<&'static Subresource> {
        self.row.subresources.iter().find(|subresource| subresource.name == name)
    }

    /// The object in the shape it is stored in: what the row's functions take.
    pub fn stored_object(&self, stored: &Stored) -> Value {
        stored.to_value(stored_kind(self.row))
    }

    /// The object as this kind shows it.
    pub fn object(&self, stored: &Stored) -> Value {
        self.shown(self.stored_object(stored))
    }

    /// From the stored shape to the one this kind shows.
    pub fn shown(&self, mut object: Value) -> Value {
        if let Some(shape) = self.row.shape {
            (shape.from_stored)(&mut object);
        }
        object
    }

    /// The object as this kind shows it, encoded, at a version.
    pub fn object_json(&self, stored: &Stored, version: u64) -> Bytes {
        if self.row.shape.is_none() {
            return self.typed(&stored.json_at(version));
        }
        let mut object = self.object(stored);
        object["metadata"]["resourceVersion"] = version.to_string().into();
        object.to_string().into()
    }

    /// The object without kind and version, as an item of a typed list.
    pub fn item_json(&self, stored: &Stored) -> Bytes {
        if self.row.shape.is_none() {
            return stored.json().clone();
        }
        let mut object = self.object(stored);
        if let Some(fields) = object.as_object_mut() {
            fields.shift_remove("kind");
            fields.shift_remove("apiVersion");
        }
        object.to_string().into()
    }

    /// Puts kind and version before an encoded object.
    fn typed(&self, json: &[u8]) -> Bytes {
        let names = self.row.names;
        let mut out = Vec::with_capacity(json.len() + 64);
        out.extend_from_slice(br#"{"kind":""#);
        out.extend_from_slice(names.kind.as_bytes());
        out.extend_from_slice(br#"","apiVersion":""#);
        if !names.group.is_empty() {
            out.extend_from_slice(names.group.as_bytes());
            out.push(b'/');
        }
        out.extend_from_slice(names.version.as_bytes());
        out.extend_from_slice(br#"","#);
        out.extend_from_slice(json.get(1..).unwrap_or_default());
        out.into()
    }
}
