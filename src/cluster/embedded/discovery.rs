//! What is served here: discovery in both forms, version and health.

use std::hash::{DefaultHasher, Hash, Hasher};

use http::request::Parts;
use http::{HeaderValue, header};
use serde_json::{Value, json};

use crate::cluster::embedded::Embedded;
use crate::cluster::embedded::health;
use crate::cluster::embedded::kind::Subresource;
use crate::cluster::embedded::negotiate::{Encoding, Form, Offer, negotiate};
use crate::cluster::embedded::openapi;
use crate::cluster::embedded::path::{Target, VIRTUAL};
use crate::cluster::embedded::query::Query;
use crate::cluster::embedded::refusal::unknown_resource;
use crate::cluster::embedded::registry::Served;
use crate::cluster::embedded::reply::{Content, Reply};
use crate::cluster::embedded::router::Routed;
use crate::model::kind::Kind;

/// A resource as discovery describes it, stored or not.
struct Announced {
    plural: &'static str,
    singular: &'static str,
    kind: &'static str,
    namespaced: bool,
    verbs: &'static [&'static str],
    short: &'static [&'static str],
    categories: &'static [&'static str],
    subresources: &'static [Subresource],
}

const ALL_VERBS: &[&str] =
    &["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"];
const NAMESPACE_VERBS: &[&str] = &["create", "delete", "get", "list", "patch", "update", "watch"];

impl Embedded {
    /// Answers a GET of anything that is not a resource.
    pub(super) fn information(&self, parts: &Parts, query: &Query, target: Target) -> Routed {
        let offer = match target {
            Target::CoreVersions | Target::Groups => Offer::Discovery,
            _ => Offer::Plain,
        };
        let media = negotiate(&parts.headers, query, offer);
        // Health is asked by things that accept anything or only text.
        if let Target::Health(check) = &target {
            return Ok((health::health(check, query), Default::default()));
        }
        // The description of the API has media types of its own.
        if let Target::OpenApi(document) = &target {
            return openapi_reply(parts, query, document);
        }
        let media = media?;
        let reply = match (&target, media.form) {
            (Target::CoreVersions, Form::Aggregated(version)) => {
                self.aggregated(parts, version, |group| group.is_empty())
            }
            (Target::Groups, Form::Aggregated(version)) => {
                self.aggregated(parts, version, |group| !group.is_empty())
            }
            (target, _) => match self.document(target) {
                Some(document) => with_etag(parts, Reply::value(200, &document)),
                None => return Err(unknown_resource()),
            },
        };
        Ok((reply, media.encoding))
    }

    fn document(&self, target: &Target) -> Option<Value> {
        Some(match target {
            Target::Root => self.root_paths(),
            Target::Version => health::version(),
            Target::CoreVersions => json!({
                "kind": "APIVersions", "versions": ["v1"],
                "serverAddressByClientCIDRs": [
                    {"clientCIDR": "0.0.0.0/0", "serverAddress": "127.0.0.1:6443"},
                ],
            }),
            Target::Groups => {
                let groups = self.groups().into_iter().filter(|(group, _)| !group.is_empty());
                let groups: Vec<Value> = groups.map(|(group, v)| api_group(group, v)).collect();
                json!({"kind": "APIGroupList", "apiVersion": "v1", "groups": groups})
            }
            Target::Group(name) => {
                let (group, version) = self
                    .groups()
                    .into_iter()
                    .find(|(group, _)| group == name && !name.is_empty())?;
                let mut document = json!({"kind": "APIGroup", "apiVersion": "v1"});
                for (key, value) in api_group(group, version).as_object()? {
                    document[key] = value.clone();
                }
                document
            }
            Target::GroupVersion(group, version) => self.resource_list(group, version)?,
            _ => return None,
        })
    }

    /// Every served group with its version, the core group first, the others
    /// by name.
    fn groups(&self) -> Vec<(&'static str, &'static str)> {
        let stored = self.registry().all().iter().map(|served| {
            let names = served.names();
            (names.group, names.version)
        });
        let virtuals = VIRTUAL.iter().map(|kind| (kind.group, kind.version));
        let mut groups: Vec<_> = stored.chain(virtuals).collect();
        groups.sort_unstable();
        groups.dedup();
        groups
    }

    fn announced(&self, group: &str, version: &str) -> Vec<Announced> {
        let is_here = |kind: &Kind| kind.group == group && kind.version == version;
        let stored = self.registry().all().iter().filter(|served| is_here(served.names()));
        let virtuals = VIRTUAL.iter().filter(|kind| is_here(kind));
        let mut announced: Vec<_> = stored
            .map(|served| stored_resource(*served))
            .chain(virtuals.map(virtual_resource))
            .collect();
        announced.sort_by_key(|resource| resource.plural);
        announced
    }

    fn resource_list(&self, group: &str, version: &str) -> Option<Value> {
        let resources: Vec<Value> =
            self.announced(group, version).iter().flat_map(legacy_entries).collect();
        if resources.is_empty() {
            return None;
        }
        let group_version =
            if group.is_empty() { version.to_owned() } else { format!("{group}/{version}") };
        let mut list = json!({"kind": "APIResourceList"});
        if !group.is_empty() {
            list["apiVersion"] = "v1".into();
        }
        list["groupVersion"] = group_version.into();
        list["resources"] = resources.into();
        Some(list)
    }

    fn aggregated(
        &self,
        parts: &Parts,
        discovery_version: &'static str,
        wanted: impl Fn(&str) -> bool,
    ) -> Reply {
        let groups = self.groups().into_iter().filter(|(group, _)| wanted(group));
        let items: Vec<Value> = groups
            .map(|(group, version)| {
                let resources: Vec<Value> = self
                    .announced(group, version)
                    .iter()
                    .map(|resource| aggregated_entry(group, version, resource))
                    .collect();
                let metadata = if group.is_empty() { json!({}) } else { json!({"name": group}) };
                json!({
                    "metadata": metadata,
                    "versions": [
                        {"version": version, "resources": resources, "freshness": "Current"},
                    ],
                })
            })
            .collect();
        let document = json!({
            "kind": "APIGroupDiscoveryList",
            "apiVersion": format!("apidiscovery.k8s.io/{discovery_version}"),
            "metadata": {}, "items": items,
        });
        let mut reply = Reply::value(200, &document);
        // Clients compare these parameters to know which form they got.
        reply.content_type = Some(match discovery_version {
            "v2" => "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList",
            _ => "application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList",
        });
        with_etag(parts, reply)
    }

    fn root_paths(&self) -> Value {
        let mut paths = vec!["/api".to_owned(), "/api/v1".to_owned(), "/apis".to_owned()];
        for (group, version) in self.groups().into_iter().filter(|(group, _)| !group.is_empty()) {
            paths.extend([format!("/apis/{group}"), format!("/apis/{group}/{version}")]);
        }
        let fixed = ["/healthz", "/livez", "/openapi/v2", "/openapi/v3", "/readyz", "/version"];
        paths.extend(fixed.map(str::to_owned));
        json!({"paths": paths})
    }
}

/// Answers a GET below `/openapi`.
fn openapi_reply(parts: &Parts, query: &Query, document: &str) -> Routed {
    let accept = parts.headers.get(header::ACCEPT).and_then(|accept| accept.to_str().ok());
    let wants_protobuf = accept.is_some_and(|accept| accept.contains("openapi.spec.v2"));
    let mut reply = match document.split_once('/').unwrap_or((document, "")) {
        ("v2", "") if wants_protobuf => {
            let mut reply = Reply::json(200, openapi::v2_protobuf());
            reply.content_type = Some(openapi::V2_PROTOBUF);
            reply
        }
        ("v2", "") => Reply::json(200, openapi::v2_json()),
        ("v3", "") => Reply::value(200, &openapi::index()),
        ("v3", path) => {
            let (body, hash) = openapi::document(path).ok_or_else(unknown_resource)?;
            let mut reply = Reply::json(200, body);
            if query.get("hash") == Some(hash) {
                let forever = HeaderValue::from_static("public, max-age=31536000, immutable");
                reply.headers.push((header::CACHE_CONTROL, forever));
            }
            reply
        }
        _ => return Err(unknown_resource()),
    };
    reply = with_etag(parts, reply);
    let gzip = parts.headers.get(header::ACCEPT_ENCODING).and_then(|value| value.to_str().ok());
    let encoding =
        Encoding { gzip: gzip.is_some_and(|value| value.contains("gzip")), ..Default::default() };
    Ok((reply, encoding))
}

fn stored_resource(served: Served) -> Announced {
    let row = served.row;
    let names = row.names;
    Announced {
        plural: names.plural,
        singular: names.singular,
        kind: names.kind,
        namespaced: names.namespaced,
        // Namespaces are not deleted by the dozen.
        verbs: if names.kind == "Namespace" { NAMESPACE_VERBS } else { ALL_VERBS },
        short: names.short,
        categories: row.categories,
        subresources: row.subresources,
    }
}

fn virtual_resource(kind: &'static Kind) -> Announced {
    Announced {
        plural: kind.plural,
        singular: kind.singular,
        kind: kind.kind,
        namespaced: kind.namespaced,
        verbs: &["create"],
        short: kind.short,
        categories: &[],
        subresources: &[],
    }
}

fn api_group(group: &str, version: &str) -> Value {
    let version = json!({"groupVersion": format!("{group}/{version}"), "version": version});
    json!({"name": group, "versions": [version], "preferredVersion": version})
}

/// A resource and its subresources as `APIResource`s.
fn legacy_entries(resource: &Announced) -> Vec<Value> {
    let mut entry = json!({
        "name": resource.plural, "singularName": resource.singular,
        "namespaced": resource.namespaced, "kind": resource.kind, "verbs": resource.verbs,
    });
    if !resource.short.is_empty() {
        entry["shortNames"] = json!(resource.short);
    }
    if !resource.categories.is_empty() {
        entry["categories"] = json!(resource.categories);
    }
    let mut entries = vec![entry];
    for subresource in resource.subresources {
        let mut entry = json!({
            "name": format!("{}/{}", resource.plural, subresource.name), "singularName": "",
            "namespaced": resource.namespaced,
        });
        if let Some((group, version, _)) = subresource.body.filter(|(group, ..)| !group.is_empty())
        {
            entry["group"] = group.into();
            entry["version"] = version.into();
        }
        entry["kind"] = subresource.body.map_or(resource.kind, |(.., kind)| kind).into();
        entry["verbs"] = json!(subresource.verbs);
        entries.push(entry);
    }
    entries
}

fn aggregated_entry(group: &str, version: &str, resource: &Announced) -> Value {
    let scope = if resource.namespaced { "Namespaced" } else { "Cluster" };
    let response_kind = |kind: &str, (group, version): (&str, &str)| json!({"group": group, "version": version, "kind": kind});
    let mut entry = json!({
        "resource": resource.plural,
        "responseKind": response_kind(resource.kind, (group, version)),
        "scope": scope, "singularResource": resource.singular, "verbs": resource.verbs,
    });
    if !resource.short.is_empty() {
        entry["shortNames"] = json!(resource.short);
    }
    if !resource.categories.is_empty() {
        entry["categories"] = json!(resource.categories);
    }
    if !resource.subresources.is_empty() {
        let subresources = resource.subresources.iter().map(|subresource| {
            let kind = subresource.body.map_or_else(
                || response_kind(resource.kind, (group, version)),
                |(g, v, kind)| response_kind(kind, (g, v)),
            );
            json!({
                "subresource": subresource.name, "responseKind": kind, "verbs": subresource.verbs,
            })
        });
        entry["subresources"] = subresources.collect();
    }
    entry
}

/// Adds the tag by which clients know that they have this body already.
fn with_etag(parts: &Parts, mut reply: Reply) -> Reply {
    let Content::Json(body) = &reply.content else { return reply };
    let mut hasher = DefaultHasher::new();
    body.hash(&mut hasher);
    let tag = format!("\"{:016x}\"", hasher.finish());
    let known = parts.headers.get(header::IF_NONE_MATCH).and_then(|value| value.to_str().ok());
    if known.is_some_and(|known| known.split(',').any(|known| known.trim() == tag)) {
        reply.code = 304;
        reply.content = Content::Nothing;
    }
    if let Ok(tag) = HeaderValue::from_str(&tag) {
        reply.headers.push((header::ETAG, tag));
    }
    reply
}
