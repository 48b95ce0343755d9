//! Compact rows: what decisions and screens need of an API object, and no more.

use std::sync::Arc;

use serde_json::Value;

use crate::model::kind::Kind;
use crate::model::object::{Key, Meta, Owner, OwnerReference, Pairs, Seconds};
use crate::model::quantity::Quantity;

/// Annotations that rows keep; all others stay at the server.
pub const KEPT_ANNOTATIONS: &[&str] = &[
    "controller.kubernetes.io/pod-deletion-cost",
    "deployment.kubernetes.io/revision",
    "pv.kubernetes.io/bind-completed",
    "pv.kubernetes.io/bound-by-controller",
    "pv.kubernetes.io/migrated-to",
    "pv.kubernetes.io/provisioned-by",
    "storageclass.beta.kubernetes.io/is-default-class",
    "storageclass.kubernetes.io/is-default-class",
    "volume.alpha.kubernetes.io/pre-resize-capacity",
    "volume.beta.kubernetes.io/storage-class",
    "volume.beta.kubernetes.io/storage-provisioner",
    "volume.kubernetes.io/node-expansion-not-required",
    "volume.kubernetes.io/selected-node",
    "volume.kubernetes.io/storage-provisioner",
    "volume.kubernetes.io/storage-resizer",
    "volumes.kubernetes.io/controller-managed-attach-detach",
];

/// An API object that cannot be read as a row: the field and what is wrong
/// with it. Objects of a foreign server are bad input like any other.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{kind} `{name}`: {field}: {what}")]
pub struct Malformed {
    pub kind: &'static str,
    pub name: String,
    pub field: String,
    pub what: String,
}

/// A row of one kind.
pub trait Row: Sized + Send + Sync + 'static {
    const KIND: &'static Kind;

    /// Whether only controllers need it: not watched where none is hosted.
    const ONLY_FOR_HOSTED: bool = false;

    /// Reads the row from an object of the API, defaults filled in for fields
    /// that old objects lack.
    fn from_object(object: &Value) -> Result<Self, Malformed>;

    fn meta(&self) -> &Meta;

    /// Puts copies that a cache already has in place of what many objects have
    /// in common. By default of nothing: right for kinds with few objects.
    fn share(&mut self, _with: &mut dyn Sharing) {}
}

/// A cache that keeps one copy of what many rows have in common.
pub trait Sharing {
    fn text(&mut self, text: &mut Arc<str>);
    fn texts(&mut self, texts: &mut Arc<[Arc<str>]>);
    fn pairs(&mut self, pairs: &mut Pairs);
}

/// Shares the metadata: all but names and uids, of which there is one each.
pub fn share_meta(meta: &mut Meta, with: &mut dyn Sharing) {
    with.text(&mut meta.key.namespace);
    with.texts(&mut meta.finalizers);
    with.pairs(&mut meta.labels);
    with.pairs(&mut meta.annotations);
    if let Some(owner) = &mut meta.owner {
        with.text(&mut owner.kind);
    }
    for owner in meta.owners.iter_mut().flat_map(|owners| owners.iter_mut()) {
        with.text(&mut owner.api_version);
        with.text(&mut owner.kind);
    }
}

/// Reads the metadata that every row keeps.
pub fn meta(kind: &'static Kind, object: &Value) -> Result<Meta, Malformed> {
    let metadata = &object["metadata"];
    let name = metadata["name"].as_str().unwrap_or_default();
    let bad = |field: &str, what: String| Malformed {
        kind: kind.kind,
        name: name.to_owned(),
        field: format!("metadata.{field}"),
        what,
    };
    if name.is_empty() {
        return Err(bad("name", "is missing".into()));
    }
    let version = metadata["resourceVersion"].as_str().unwrap_or("0");
    let version = version
        .parse()
        .map_err(|_| bad("resourceVersion", format!("`{version}` is not a number")))?;
    let seconds = |field: &str| match metadata[field].as_str() {
        None => Ok(None),
        Some(text) => text
            .parse::<jiff::Timestamp>()
            .map(|time| Some(time.as_second()))
            .map_err(|error| bad(field, format!("`{text}`: {error}"))),
    };
    Ok(Meta {
        key: Key::new(metadata["namespace"].as_str().unwrap_or_default(), name),
        uid: metadata["uid"].as_str().unwrap_or_default().into(),
        version,
        created: seconds("creationTimestamp")?.unwrap_or_default(),
        deleting: seconds("deletionTimestamp")?,
        finalizers: strings(&metadata["finalizers"]).into(),
        labels: pairs(&metadata["labels"], |_| true).into(),
        annotations: pairs(&metadata["annotations"], |key| KEPT_ANNOTATIONS.contains(&key)).into(),
        owner: controller_owner(&metadata["ownerReferences"]),
        owners: owners(&metadata["ownerReferences"]),
    })
}

/// All annotations of an object, for kinds of which more is needed than
/// [`KEPT_ANNOTATIONS`].
pub fn all_annotations(object: &Value) -> Pairs {
    pairs(&object["metadata"]["annotations"], |_| true).into()
}

/// A text, empty if there is none.
pub fn text(value: &Value) -> Arc<str> {
    value.as_str().unwrap_or_default().into()
}

/// A time, `None` if there is none or it cannot be read.
pub fn seconds(value: &Value) -> Option<Seconds> {
    value.as_str()?.parse::<jiff::Timestamp>().ok().map(|time| time.as_second())
}

/// A quantity, `None` if there is none; `field` names it in the complaint.
pub fn quantity<R: Row>(
    meta: &Meta,
    value: &Value,
    field: &str,
) -> Result<Option<Quantity>, Malformed> {
    let Some(text) = value.as_str() else { return Ok(None) };
    Quantity::parse(text).map(Some).map_err(|error| Malformed {
        kind: R::KIND.kind,
        name: meta.key.to_string(),
        field: field.into(),
        what: format!("`{text}`: {error}"),
    })
}

/// The string items of a JSON list; none if it is no list.
pub fn strings(list: &Value) -> Box<[Arc<str>]> {
    list.as_array().into_iter().flatten().filter_map(Value::as_str).map(Arc::from).collect()
}

/// The string entries of a JSON map whose key is wanted, sorted by key.
pub fn pairs(map: &Value, wanted: impl Fn(&str) -> bool) -> Box<[(Arc<str>, Arc<str>)]> {
    let mut pairs: Vec<(Arc<str>, Arc<str>)> = map
        .as_object()
        .into_iter()
        .flatten()
        .filter(|(key, _)| wanted(key))
        .filter_map(|(key, value)| Some((key.as_str().into(), value.as_str()?.into())))
        .collect();
    pairs.sort();
    pairs.into()
}

fn owners(references: &Value) -> Option<Box<[OwnerReference]>> {
    let references = references.as_array().filter(|list| !list.is_empty())?;
    let owner = |reference: &Value| {
        let text = |field: &str| text(&reference[field]);
        OwnerReference {
            api_version: text("apiVersion"),
            kind: text("kind"),
            name: text("name"),
            uid: text("uid"),
            controller: reference["controller"] == true,
            blocks_deletion: reference["blockOwnerDeletion"] == true,
        }
    };
    Some(references.iter().map(owner).collect())
}

fn controller_owner(references: &Value) -> Option<Box<Owner>> {
    let owner = references
        .as_array()?
        .iter()
        .find(|reference| reference["controller"] == Value::Bool(true))?;
    let text = |field: &str| owner[field].as_str().unwrap_or_default().into();
    Some(Box::new(Owner { kind: text("kind"), name: text("name"), uid: text("uid") }))
}
