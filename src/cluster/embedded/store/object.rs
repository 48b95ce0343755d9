//! A stored object: its encoded JSON and the little that is indexed beside it.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use serde::de::{DeserializeSeed, Deserializer, MapAccess, Visitor};
use serde_json::{Map, Value};

use crate::cluster::embedded::kind::SelectableField;
use crate::model::kind::Kind;
use crate::model::object::Key;

/// The order in which metadata is encoded; other fields follow. The version
/// stands where a commit fills it in.
const METADATA_ORDER: &[&str] = &[
    "name",
    "generateName",
    "namespace",
    "uid",
    "resourceVersion",
    "generation",
    "creationTimestamp",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
    "labels",
    "annotations",
    "ownerReferences",
    "finalizers",
];

/// One state of one object, never changed once committed.
///
/// The JSON has no `kind` and `apiVersion` (lists leave them out, everything
/// else puts them before) and begins with `{"metadata":{`.
#[derive(Debug)]
pub struct Stored {
    pub key: Key,
    pub version: u64,
    pub uid: Box<str>,
    /// Sorted by key.
    pub labels: Box<[(Arc<str>, Arc<str>)]>,
    /// The values of the kind's selectable fields, in the row's order.
    pub fields: Box<[Box<str>]>,
    json: Bytes,
    /// Where the version's digits stand in `json`.
    version_at: Range<usize>,
    /// Where the metadata object stands in `json`.
    metadata_at: Range<usize>,
}

impl Stored {
    /// The encoded object without `kind` and `apiVersion`.
    pub fn json(&self) -> &Bytes {
        &self.json
    }

    /// The encoded `metadata`.
    pub fn metadata_json(&self) -> Bytes {
        self.json.slice(self.metadata_at.clone())
    }

    /// The encoded object with another version: how a deletion shows the last
    /// state.
    pub fn json_at(&self, version: u64) -> Bytes {
        if version == self.version {
            return self.json.clone();
        }
        splice(&self.json, &self.version_at, version)
    }

    /// Like [`Stored::metadata_json`], with another version.
    pub fn metadata_json_at(&self, version: u64) -> Bytes {
        if version == self.version {
            return self.metadata_json();
        }
        let start = self.metadata_at.start;
        let at = self.version_at.start - start..self.version_at.end - start;
        splice(&self.json[self.metadata_at.clone()], &at, version)
    }

    /// Decodes the object, with `kind` and `apiVersion` first.
    pub fn to_value(&self, kind: &Kind) -> Value {
        with_type(kind.kind, &kind.api_version(), &self.json)
    }

    /// The bytes this state holds in memory, roughly.
    pub fn weight(&self) -> usize {
        let labels: usize = self.labels.iter().map(|(k, v)| k.len() + v.len() + 64).sum();
        let fields: usize = self.fields.iter().map(|field| field.len() + 16).sum();
        size_of::<Self>() + self.json.len() + labels + fields
    }
}

/// Decodes what this module encoded, with a kind put before it.
fn with_type(kind: &str, api_version: &str, json: &[u8]) -> Value {
    let mut decoder = serde_json::Deserializer::from_slice(json);
    // What the store encoded, it can decode.
    let fields = WithType { kind, api_version }.deserialize(&mut decoder);
    fields.unwrap_or_default().into()
}

/// Reads an object's fields behind its kind and version, which saves building
/// the map twice.
struct WithType<'a> {
    kind: &'a str,
    api_version: &'a str,
}

impl<'de> DeserializeSeed<'de> for WithType<'_> {
    type Value = Map<String, Value>;

    fn deserialize<D: Deserializer<'de>>(self, decoder: D) -> Result<Self::Value, D::Error> {
        decoder.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for WithType<'_> {
    type Value = Map<String, Value>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut given: A) -> Result<Self::Value, A::Error> {
        let mut fields = Map::with_capacity(8);
        fields.insert("kind".to_owned(), self.kind.into());
        fields.insert("apiVersion".to_owned(), self.api_version.into());
        while let Some((name, value)) = given.next_entry()? {
            fields.insert(name, value);
        }
        Ok(fields)
    }
}

fn splice(json: &[u8], at: &Range<usize>, version: u64) -> Bytes {
    let digits = version.to_string();
    let mut out = Vec::with_capacity(json.len() + digits.len());
    out.extend_from_slice(&json[..at.start]);
    out.extend_from_slice(digits.as_bytes());
    out.extend_from_slice(&json[at.end..]);
    out.into()
}

/// An encoded object that lacks only its version: all the work that need not
/// be done while the store is locked.
#[derive(Debug)]
pub struct Draft {
    key: Key,
    uid: Box<str>,
    labels: Box<[(Arc<str>, Arc<str>)]>,
    fields: Box<[Box<str>]>,
    /// Up to the version's digits.
    head: Vec<u8>,
    /// From the version's closing quote on.
    tail: Vec<u8>,
    /// How much of `tail` belongs to the metadata.
    metadata_tail: usize,
}

/// Where the metadata begins: after `{"metadata":`.
const METADATA_START: usize = r#"{"metadata":"#.len();

impl Draft {
    /// Encodes an object. `fields` are the selectable fields of its row.
    pub fn new(key: Key, object: &Value, fields: &[SelectableField]) -> Self {
        let empty = Map::new();
        let metadata = object["metadata"].as_object().unwrap_or(&empty);
        let mut head = br#"{"metadata":{"#.to_vec();
        let (before, after): (Vec<_>, Vec<_>) = ordered(metadata)
            .partition(|(name, _)| matches!(*name, "name" | "generateName" | "namespace" | "uid"));
        for (name, value) in before {
            entry(&mut head, name, value);
            head.push(b',');
        }
        head.extend_from_slice(br#""resourceVersion":""#);
        let mut tail = b"\"".to_vec();
        for (name, value) in after {
            tail.push(b',');
            entry(&mut tail, name, value);
        }
        tail.push(b'}');
        let metadata_tail = tail.len();
        for (name, value) in object.as_object().into_iter().flatten() {
            if !matches!(name.as_str(), "kind" | "apiVersion" | "metadata") {
                tail.push(b',');
                entry(&mut tail, name, value);
            }
        }
        tail.push(b'}');
        Self {
            key,
            uid: metadata.get("uid").and_then(Value::as_str).unwrap_or_default().into(),
            labels: labels(metadata),
            fields: fields.iter().map(|field| (field.value)(object).into_boxed_str()).collect(),
            head,
            tail,
            metadata_tail,
        }
    }

    pub fn key(&self) -> &Key {
        &self.key
    }

    /// The object as it is at the version its commit gives it.
    pub fn at_version(self, version: u64) -> Stored {
        let digits = version.to_string();
        let version_at = self.head.len()..self.head.len() + digits.len();
        let mut json = self.head;
        json.reserve_exact(digits.len() + self.tail.len());
        json.extend_from_slice(digits.as_bytes());
        json.extend_from_slice(&self.tail);
        Stored {
            key: self.key,
            version,
            uid: self.uid,
            labels: self.labels,
            fields: self.fields,
            metadata_at: METADATA_START..version_at.end + self.metadata_tail,
            version_at,
            json: json.into(),
        }
    }
}

/// Metadata in the order of encoding, without the version and what the store
/// does not keep.
fn ordered(metadata: &Map<String, Value>) -> impl Iterator<Item = (&str, &Value)> {
    let known = METADATA_ORDER.iter().filter_map(|name| Some((*name, metadata.get(*name)?)));
    let others = metadata
        .iter()
        .map(|(name, value)| (name.as_str(), value))
        .filter(|(name, _)| !METADATA_ORDER.contains(name));
    known
        .chain(others)
        .filter(|(name, _)| !matches!(*name, "resourceVersion" | "managedFields" | "selfLink"))
}

fn entry(out: &mut Vec<u8>, name: &str, value: &Value) {
    // Writing JSON values to memory cannot fail.
    let _ = serde_json::to_writer(&mut *out, name);
    out.push(b':');
    let _ = serde_json::to_writer(&mut *out, value);
}

fn labels(metadata: &Map<String, Value>) -> Box<[(Arc<str>, Arc<str>)]> {
    let labels = metadata.get("labels").and_then(Value::as_object).into_iter().flatten();
    let mut labels: Vec<(Arc<str>, Arc<str>)> = labels
        .filter_map(|(name, value)| Some((name.as_str().into(), value.as_str()?.into())))
        .collect();
    labels.sort();
    labels.into()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn stored(object: &Value) -> Stored {
        Draft::new(Key::new("shop", "data"), object, &[]).at_version(7)
    }

    #[test]
    fn an_object_comes_back_with_its_version_and_type() {
        let object = json!({
            "spec": {"b": 1, "a": [null]},
            "metadata": {"labels": {"x": "y"}, "name": "data", "managedFields": [{}], "resourceVersion": "3"},
            "apiVersion": "v1", "kind": "ConfigMap",
        });
        let stored = stored(&object);
        assert_eq!(
            stored.json(),
            r#"{"metadata":{"name":"data","resourceVersion":"7","labels":{"x":"y"}},"spec":{"b":1,"a":[null]}}"#
        );
        assert_eq!(stored.to_value(crate::model::kind::CONFIG_MAP)["apiVersion"], "v1");
        assert_eq!(
            stored.metadata_json(),
            r#"{"name":"data","resourceVersion":"7","labels":{"x":"y"}}"#
        );
    }

    #[test]
    fn a_later_version_replaces_only_the_digits() {
        let stored = stored(&json!({"metadata": {"name": "7"}}));
        assert_eq!(stored.json_at(1234), r#"{"metadata":{"name":"7","resourceVersion":"1234"}}"#);
        assert_eq!(stored.metadata_json_at(1234), r#"{"name":"7","resourceVersion":"1234"}"#);
    }
}
