//! What a request's path addresses.

use crate::cluster::embedded::query::percent_decoded;
use crate::cluster::embedded::registry::{Registry, Served};
use crate::model::kind::Kind;

/// What lies behind a path.
#[derive(Debug)]
pub enum Target {
    /// `/`.
    Root,
    /// `/api`.
    CoreVersions,
    /// `/apis`.
    Groups,
    /// `/apis/<group>`.
    Group(String),
    /// `/api/v1` or `/apis/<group>/<version>`.
    GroupVersion(String, String),
    /// `/version`.
    Version,
    /// `/healthz`, `/livez`, `/readyz` and what is below them.
    Health(String),
    /// `/openapi/v2`, `/openapi/v3` and the documents below it.
    OpenApi(String),
    /// A collection, an object or a subresource.
    Resource(ResourcePath),
    /// A resource that stores nothing: reviews and bindings.
    Virtual { kind: &'static Kind, namespace: Option<String> },
    /// A served group and version, but no such resource.
    UnknownResource,
    /// Nothing.
    Unknown,
}

/// A path below a served resource.
#[derive(Debug, Clone)]
pub struct ResourcePath {
    pub served: Served,
    pub namespace: Option<String>,
    pub name: Option<String>,
    /// Joined by slashes if it has several parts.
    pub subresource: Option<String>,
}

/// Kinds that are only created, and then answered instead of stored.
pub const VIRTUAL: &[Kind] = &[
    virtual_kind("", "Binding", "bindings", "binding", true),
    review("SelfSubjectAccessReview", "selfsubjectaccessreviews", "selfsubjectaccessreview"),
    review("SelfSubjectRulesReview", "selfsubjectrulesreviews", "selfsubjectrulesreview"),
    review("SubjectAccessReview", "subjectaccessreviews", "subjectaccessreview"),
    virtual_kind(
        AUTHORIZATION,
        "LocalSubjectAccessReview",
        "localsubjectaccessreviews",
        "localsubjectaccessreview",
        true,
    ),
    virtual_kind(
        AUTHENTICATION,
        "SelfSubjectReview",
        "selfsubjectreviews",
        "selfsubjectreview",
        false,
    ),
    virtual_kind(AUTHENTICATION, "TokenReview", "tokenreviews", "tokenreview", false),
];

const AUTHENTICATION: &str = "authentication.k8s.io";
const AUTHORIZATION: &str = "authorization.k8s.io";

const fn review(kind: &'static str, plural: &'static str, singular: &'static str) -> Kind {
    virtual_kind(AUTHORIZATION, kind, plural, singular, false)
}

const fn virtual_kind(
    group: &'static str,
    kind: &'static str,
    plural: &'static str,
    singular: &'static str,
    namespaced: bool,
) -> Kind {
    Kind { group, version: "v1", kind, plural, singular, short: &[], namespaced }
}

impl Target {
    /// Reads a path.
    pub fn parse(path: &str, registry: &Registry) -> Self {
        let segments: Vec<String> = path
            .split('/')
            .filter(|segment| !segment.is_empty())
            .map(|segment| percent_decoded(segment).into_owned())
            .collect();
        let segments: Vec<&str> = segments.iter().map(String::as_str).collect();
        match segments.as_slice() {
            [] => Self::Root,
            ["api"] => Self::CoreVersions,
            ["apis"] => Self::Groups,
            ["version"] => Self::Version,
            ["healthz" | "livez" | "readyz", rest @ ..] => Self::Health(rest.join("/")),
            ["openapi", rest @ ..] => Self::OpenApi(rest.join("/")),
            ["apis", group] => Self::Group((*group).to_owned()),
            ["api", version] => Self::GroupVersion(String::new(), (*version).to_owned()),
            ["apis", group, version] => {
                Self::GroupVersion((*group).to_owned(), (*version).to_owned())
            }
            ["api", version, rest @ ..] => resource("", version, rest, registry),
            ["apis", group, version, rest @ ..] => resource(group, version, rest, registry),
            _ => Self::Unknown,
        }
    }
}

fn resource(group: &str, version: &str, rest: &[&str], registry: &Registry) -> Target {
    let (namespace, rest) = match rest {
        // `/namespaces/<n>/status` is the object's, `/namespaces/<n>/pods` a
        // collection in it.
        ["namespaces", namespace, plural, rest @ ..]
            if !group.is_empty() || !matches!(*plural, "status" | "finalize") =>
        {
            (Some(*namespace), [&[*plural], rest].concat())
        }
        rest => (None, rest.to_vec()),
    };
    let (plural, name, subresource) = match rest.as_slice() {
        [plural] => (*plural, None, None),
        [plural, name] => (*plural, Some(*name), None),
        [plural, name, subresource @ ..] => (*plural, Some(*name), Some(subresource.join("/"))),
        [] => return Target::Unknown,
    };
    let addressed =
        |kind: &&Kind| (kind.group, kind.version, kind.plural) == (group, version, plural);
    if let Some(kind) = VIRTUAL.iter().find(addressed)
        && name.is_none()
    {
        return Target::Virtual { kind, namespace: namespace.map(str::to_owned) };
    }
    let is_served = registry.serves(group, version);
    let Some(served) = registry.by_path(group, version, plural) else {
        return if is_served { Target::UnknownResource } else { Target::Unknown };
    };
    let misplaced = match namespace {
        Some(_) => !served.names().namespaced,
        None => served.names().namespaced && name.is_some(),
    };
    if misplaced {
        return Target::UnknownResource;
    }
    Target::Resource(ResourcePath {
        served,
        namespace: namespace.map(str::to_owned),
        name: name.map(str::to_owned),
        subresource,
    })
}
