//! The object a layer or a dialog is about, frozen by uid and version.

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::model::kind::Kind;
use crate::model::object::{Key, Meta, ObjectRef};

/// An object as it was when it was chosen. A namesake that takes its place
/// later has another uid and is not it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Target {
    #[serde(serialize_with = "kind_to_name", deserialize_with = "kind_from_name")]
    pub kind: &'static Kind,
    pub namespace: String,
    pub name: String,
    pub uid: String,
    pub version: u64,
}

impl Target {
    pub fn new(kind: &'static Kind, meta: &Meta) -> Self {
        Self {
            kind,
            namespace: meta.key.namespace.to_string(),
            name: meta.key.name.to_string(),
            uid: meta.uid.to_string(),
            version: meta.version,
        }
    }

    /// What is known by its name alone: the cluster has no object of it.
    pub fn without_object(kind: &'static Kind, name: &str) -> Self {
        let (namespace, uid) = (String::new(), String::new());
        Self { kind, namespace, name: name.to_owned(), uid, version: 0 }
    }

    /// Whether the cluster had an object of it when it was chosen.
    pub fn has_object(&self) -> bool {
        !self.uid.is_empty()
    }

    pub fn key(&self) -> Key {
        Key::new(self.namespace.as_str(), self.name.as_str())
    }

    pub fn object(&self) -> ObjectRef {
        ObjectRef::new(self.kind, self.key())
    }

    /// `pvc shop/data`: as titles name it.
    pub fn title(&self) -> String {
        let word = self.kind.short.first().copied().unwrap_or(self.kind.singular);
        format!("{word} {}", self.key())
    }
}

fn kind_to_name<S: Serializer>(kind: &&'static Kind, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_str(&format!("{}/{}", kind.api_version(), kind.kind))
}

fn kind_from_name<'de, D: Deserializer<'de>>(from: D) -> Result<&'static Kind, D::Error> {
    let name = String::deserialize(from)?;
    name.rsplit_once('/')
        .and_then(|(version, kind)| Kind::by_type(version, kind))
        .ok_or_else(|| serde::de::Error::custom(format!("`{name}` is no kind")))
}
