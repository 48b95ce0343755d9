//! The operations on each kind, in a form that both versions are written from.

use crate::cluster::embedded::kind::ServedKind;

/// The types of patches, the first of which tells that lists can be merged.
pub const PATCHES: [&str; 3] = [
    "application/json-patch+json",
    "application/merge-patch+json",
    "application/strategic-merge-patch+json",
];

/// A path with what can be done there.
pub struct Path {
    pub path: String,
    /// Whether `{namespace}` and `{name}` stand in it.
    pub namespaced: bool,
    pub named: bool,
    pub operations: Vec<Operation>,
}

/// One operation.
pub struct Operation {
    /// `get`, `post`, …
    pub method: &'static str,
    /// `list`, `deletecollection`, …
    pub action: &'static str,
    /// The suffix of the kind that is answered with: `List` or nothing.
    pub answers: &'static str,
    /// The names of its query parameters.
    pub parameters: &'static [&'static str],
}

const LISTING: &[&str] = &[
    "allowWatchBookmarks",
    "continue",
    "fieldSelector",
    "labelSelector",
    "limit",
    "resourceVersion",
    "resourceVersionMatch",
    "sendInitialEvents",
    "timeoutSeconds",
    "watch",
];
const WRITING: &[&str] = &["dryRun", "fieldManager", "fieldValidation"];
const PATCHING: &[&str] = &["dryRun", "fieldManager", "fieldValidation", "force"];
const DELETING: &[&str] =
    &["dryRun", "gracePeriodSeconds", "orphanDependents", "propagationPolicy"];

const fn operation(
    method: &'static str,
    action: &'static str,
    answers: &'static str,
    parameters: &'static [&'static str],
) -> Operation {
    Operation { method, action, answers, parameters }
}

/// What each query parameter is for.
pub fn parameter_description(name: &str) -> &'static str {
    match name {
        "allowWatchBookmarks" => "Whether a watch may tell how far it has come.",
        "continue" => "Where the page before ended.",
        "dryRun" => "All: do everything but store the outcome.",
        "fieldManager" => "Who makes the change.",
        "fieldSelector" => "Only objects whose fields have these values.",
        "fieldValidation" => "What becomes of unknown fields: Ignore, Warn or Strict.",
        "force" => "Take fields over that others have applied.",
        "gracePeriodSeconds" => "How long the object may take to end; 0 is at once.",
        "labelSelector" => "Only objects with these labels.",
        "limit" => "How many objects a page has at most.",
        "orphanDependents" => "Replaced by propagationPolicy.",
        "propagationPolicy" => "What becomes of dependents: Orphan, Background or Foreground.",
        "resourceVersion" => "The version to read at, or to watch from.",
        "resourceVersionMatch" => "How exactly that version is meant.",
        "sendInitialEvents" => "Whether a watch begins with what is there.",
        "timeoutSeconds" => "How long a list or watch may take.",
        "watch" => "Tell of changes as they happen.",
        _ => "",
    }
}

/// What type a query parameter has.
pub fn parameter_type(name: &str) -> &'static str {
    match name {
        "allowWatchBookmarks" | "force" | "orphanDependents" | "sendInitialEvents" | "watch" => {
            "boolean"
        }
        "gracePeriodSeconds" | "limit" | "timeoutSeconds" => "integer",
        _ => "string",
    }
}

/// Every path of a kind.
pub fn of(row: &ServedKind) -> Vec<Path> {
    let root = row.names.collection_path(None);
    let namespaced = row.names.namespaced;
    let collection = row.names.collection_path(Some("{namespace}"));
    let mut paths = Vec::new();
    if namespaced {
        paths.push(Path {
            path: root,
            namespaced: false,
            named: false,
            operations: vec![operation("get", "list", "List", LISTING)],
        });
    }
    paths.push(Path {
        path: collection.clone(),
        namespaced,
        named: false,
        operations: vec![
            operation("get", "list", "List", LISTING),
            operation("post", "post", "", WRITING),
            operation("delete", "deletecollection", "Status", DELETING),
        ],
    });
    paths.push(Path {
        path: format!("{collection}/{{name}}"),
        namespaced,
        named: true,
        operations: vec![
            operation("get", "get", "", &[]),
            operation("put", "put", "", WRITING),
            operation("patch", "patch", "", PATCHING),
            operation("delete", "delete", "Status", DELETING),
        ],
    });
    for subresource in row.subresources.iter().filter(|subresource| subresource.body.is_none()) {
        let operations = [
            ("get", operation("get", "get", "", &[])),
            ("update", operation("put", "put", "", WRITING)),
            ("patch", operation("patch", "patch", "", PATCHING)),
        ];
        paths.push(Path {
            path: format!("{collection}/{{name}}/{}", subresource.name),
            namespaced,
            named: true,
            operations: operations
                .into_iter()
                .filter(|(verb, _)| subresource.verbs.contains(verb))
                .map(|(_, operation)| operation)
                .collect(),
        });
    }
    paths
}
