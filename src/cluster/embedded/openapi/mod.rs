//! The published description of the API, from the rows of the kinds and the
//! table of types.
//!
//! ```text
//! rows  -> paths   ┐
//! types -> schemas ┴-> v3: an index and a document per group version, JSON
//!                   └-> v2: one document, JSON and protobuf
//! ```
//!
//! `kubectl` reads it for `explain`, for its client-side checks and for merge
//! keys. Documents are made when first asked for and kept.

mod descriptions;
mod paths;
mod protobuf;
mod schemas;
mod v2;
mod v3;

use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::LazyLock;

use bytes::Bytes;
use serde_json::{Value, json};

use super::kinds;

/// The content type of the second version in protobuf.
pub const V2_PROTOBUF: &str = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf";

/// A document as it is sent.
struct Document {
    /// `api/v1`, `apis/apps/v1`.
    path: String,
    json: Bytes,
    hash: String,
}

/// Derived from the rows alone and never changed: no state.
static V3: LazyLock<Vec<Document>> = LazyLock::new(|| {
    let mut versions: Vec<(&str, &str)> =
        kinds::ALL.iter().map(|row| (row.names.group, row.names.version)).collect();
    versions.sort_unstable();
    versions.dedup();
    versions
        .into_iter()
        .map(|(group, version)| {
            let json = Bytes::from(v3::document(group, version).to_string());
            let mut hasher = DefaultHasher::new();
            json.hash(&mut hasher);
            Document {
                path: group_path(group, version),
                json,
                hash: format!("{:016X}", hasher.finish()),
            }
        })
        .collect()
});

static V2: LazyLock<(Bytes, Bytes)> = LazyLock::new(|| {
    let document = v2::document();
    (Bytes::from(document.to_string()), Bytes::from(protobuf::document(&document)))
});

fn group_path(group: &str, version: &str) -> String {
    if group.is_empty() { format!("api/{version}") } else { format!("apis/{group}/{version}") }
}

/// `/openapi/v3`: which documents there are.
pub fn index() -> Value {
    let paths: serde_json::Map<String, Value> = V3
        .iter()
        .map(|document| {
            let url = format!("/openapi/v3/{}?hash={}", document.path, document.hash);
            (document.path.clone(), json!({"serverRelativeURL": url}))
        })
        .collect();
    json!({"paths": paths})
}

/// `/openapi/v3/<path>`: one document, with its hash.
pub fn document(path: &str) -> Option<(Bytes, &'static str)> {
    let document = V3.iter().find(|document| document.path == path.trim_matches('/'))?;
    Some((document.json.clone(), &document.hash))
}

/// `/openapi/v2` in JSON.
pub fn v2_json() -> Bytes {
    V2.0.clone()
}

/// `/openapi/v2` in protobuf.
pub fn v2_protobuf() -> Bytes {
    V2.1.clone()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(path: &str) -> Value {
        let (bytes, _) = document(path).expect("it is served");
        serde_json::from_slice(&bytes).expect("it is JSON")
    }

    #[test]
    fn every_group_version_has_a_document_whose_references_lead_somewhere() {
        for (path, _) in index()["paths"].as_object().expect("a map") {
            let document = parsed(path);
            let schemas = document["components"]["schemas"].as_object().expect("schemas");
            let text = document.to_string();
            for reference in text.split("\"$ref\":\"#/components/schemas/").skip(1) {
                let name = reference.split('"').next().unwrap_or_default();
                assert!(schemas.contains_key(name), "{path}: {name}");
            }
        }
    }

    #[test]
    fn patches_say_what_they_take_and_lists_how_they_merge() {
        let document = parsed("apis/apps/v1");
        let path = "/apis/apps/v1/namespaces/{namespace}/deployments/{name}";
        let patch = &document["paths"][path]["patch"];
        assert!(
            patch["requestBody"]["content"]["application/strategic-merge-patch+json"].is_object()
        );
        let named = |name: &str| {
            patch["parameters"].as_array().is_some_and(|all| all.iter().any(|p| p["name"] == name))
        };
        assert!(named("fieldValidation") && named("dryRun"));
        assert_eq!(
            patch["x-kubernetes-group-version-kind"],
            json!({"group": "apps", "version": "v1", "kind": "Deployment"})
        );
        let pod = &document["components"]["schemas"]["io.k8s.api.core.v1.PodSpec"]["properties"];
        assert_eq!(pod["containers"]["x-kubernetes-patch-merge-key"], "name");
        assert_eq!(pod["volumes"]["x-kubernetes-patch-strategy"], "merge,retainKeys");
    }

    #[test]
    fn the_fields_of_a_claim_are_explained() {
        let document = parsed("api/v1");
        let claim =
            &document["components"]["schemas"]["io.k8s.api.core.v1.PersistentVolumeClaimSpec"];
        for (name, field) in claim["properties"].as_object().expect("fields") {
            assert!(field["description"].as_str().is_some_and(|text| text.len() > 10), "{name}");
        }
    }
}
