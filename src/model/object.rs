//! Which object: keys, references, and the metadata that rows share.

use std::fmt;
use std::sync::Arc;

use crate::model::kind::Kind;

/// Namespace and name; the namespace is empty for cluster-scoped objects.
/// Orders as the API lists: by namespace, then name.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct Key {
    pub namespace: Arc<str>,
    pub name: Arc<str>,
}

impl Key {
    pub fn new(namespace: impl Into<Arc<str>>, name: impl Into<Arc<str>>) -> Self {
        Self { namespace: namespace.into(), name: name.into() }
    }

    /// The key of a cluster-scoped object.
    pub fn cluster(name: impl Into<Arc<str>>) -> Self {
        Self::new("", name)
    }

    /// The namespace, `None` for a cluster-scoped object.
    pub fn namespace(&self) -> Option<&str> {
        (!self.namespace.is_empty()).then_some(&*self.namespace)
    }
}

impl fmt::Display for Key {
    /// `namespace/name`, or the bare name.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.namespace() {
            Some(namespace) => write!(f, "{namespace}/{}", self.name),
            None => f.write_str(&self.name),
        }
    }
}

/// A kind and a key: enough to address an object, not to tell it from its
/// namesake of yesterday (that takes the uid). Without a name it stands for all
/// objects of the kind in the namespace.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ObjectRef {
    pub kind: &'static Kind,
    pub key: Key,
}

impl ObjectRef {
    pub fn new(kind: &'static Kind, key: Key) -> Self {
        Self { kind, key }
    }

    /// The object's path at the API server.
    pub fn path(&self) -> String {
        format!("{}/{}", self.kind.collection_path(self.key.namespace()), self.key.name)
    }
}

impl fmt::Display for ObjectRef {
    /// `persistentvolumeclaim/shop/data`, or `persistentvolumeclaims of shop`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.key.name.is_empty() {
            return write!(f, "{} of {}", self.kind.plural, self.key.namespace);
        }
        write!(f, "{}/{}", self.kind.singular, self.key)
    }
}

/// A moment at the cluster, in seconds since 1970 (the API's own precision).
pub type Seconds = i64;

/// Labels or annotations, sorted by key. Many objects have the same, so that a
/// cache can keep one copy.
pub type Pairs = Arc<[(Arc<str>, Arc<str>)]>;

/// The metadata that every row keeps.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Meta {
    pub key: Key,
    pub uid: Arc<str>,
    /// `metadata.resourceVersion` as a number: versions compare numerically.
    pub version: u64,
    pub created: Seconds,
    /// `metadata.deletionTimestamp`: set means Terminating.
    pub deleting: Option<Seconds>,
    pub finalizers: Arc<[Arc<str>]>,
    /// All labels, sorted by key.
    pub labels: Pairs,
    /// Only the annotations in [`crate::model::row::KEPT_ANNOTATIONS`], sorted
    /// by key. Whoever needs another reads the object.
    pub annotations: Pairs,
    /// The controlling owner, if any.
    pub owner: Option<Box<Owner>>,
    /// All owners, the controlling one included; `None` without any.
    pub owners: Option<Box<[OwnerReference]>>,
}

impl Meta {
    pub fn annotation(&self, key: &str) -> Option<&str> {
        lookup(&self.annotations, key)
    }

    pub fn label(&self, key: &str) -> Option<&str> {
        lookup(&self.labels, key)
    }

    /// All owners, the controlling one included.
    pub fn owners(&self) -> &[OwnerReference] {
        self.owners.as_deref().unwrap_or_default()
    }

    pub fn has_finalizer(&self, name: &str) -> bool {
        self.finalizers.iter().any(|finalizer| &**finalizer == name)
    }
}

pub fn lookup<'a>(sorted: &'a [(Arc<str>, Arc<str>)], key: &str) -> Option<&'a str> {
    sorted.binary_search_by(|(k, _)| (**k).cmp(key)).ok().map(|at| &*sorted[at].1)
}

/// The owner reference with `controller: true`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Owner {
    pub kind: Arc<str>,
    pub name: Arc<str>,
    pub uid: Arc<str>,
}

/// Any owner reference.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OwnerReference {
    pub api_version: Arc<str>,
    pub kind: Arc<str>,
    pub name: Arc<str>,
    pub uid: Arc<str>,
    pub controller: bool,
    /// Whether the owner waits for this object in a foreground deletion.
    pub blocks_deletion: bool,
}
