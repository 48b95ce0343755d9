//! The third version: a document per group version.

use serde_json::{Map, Value, json};

use super::paths::{self, Operation, PATCHES, Path};
use super::schemas::{self, Version, group_version_kind, kind_name};
use crate::cluster::embedded::kind::ServedKind;

/// The document of one group version.
pub fn document(group: &str, version: &str) -> Value {
    let rows = schemas::rows_of(group, version);
    let mut items = Map::new();
    for row in &rows {
        for path in paths::of(row) {
            items.insert(path.path.clone(), path_item(row, &path));
        }
    }
    json!({
        "openapi": "3.0.0",
        "info": {"title": "Kubernetes", "version": "v1.36.0"},
        "paths": items,
        "components": {"schemas": schemas::all(&rows, Version::V3)},
    })
}

fn path_item(row: &ServedKind, path: &Path) -> Value {
    let mut item = Map::new();
    let placed = [("name", path.named), ("namespace", path.namespaced)];
    let parameters: Vec<Value> = placed
        .into_iter()
        .filter(|(_, there)| *there)
        .map(|(name, _)| {
            json!({"name": name, "in": "path", "required": true, "schema": {"type": "string"}})
        })
        .collect();
    if !parameters.is_empty() {
        item.insert("parameters".to_owned(), parameters.into());
    }
    for operation in &path.operations {
        item.insert(operation.method.to_owned(), operation_object(row, operation));
    }
    item.into()
}

fn operation_object(row: &ServedKind, operation: &Operation) -> Value {
    let name = match operation.answers {
        "Status" => "io.k8s.apimachinery.pkg.apis.meta.v1.Status".to_owned(),
        suffix => format!("{}{suffix}", kind_name(row)),
    };
    let answer = json!({"schema": {"$ref": format!("#/components/schemas/{name}")}});
    let code = if operation.method == "post" { "201" } else { "200" };
    let parameters: Vec<Value> = operation
        .parameters
        .iter()
        .map(|name| {
            json!({
                "name": name,
                "in": "query",
                "description": paths::parameter_description(name),
                "schema": {"type": paths::parameter_type(name), "uniqueItems": true},
            })
        })
        .collect();
    let mut object = json!({
        "parameters": parameters,
        "responses": {code: {"description": "The answer.", "content": {
            "application/json": answer, "application/yaml": answer,
        }}},
        "x-kubernetes-action": operation.action,
        "x-kubernetes-group-version-kind": group_version_kind(row, ""),
    });
    let body = json!({"schema": {"$ref": format!("#/components/schemas/{}", kind_name(row))}});
    match operation.method {
        "post" | "put" => {
            object["requestBody"] = json!({"required": true, "content": {
                "application/json": body, "application/yaml": body,
            }});
        }
        "patch" => {
            let any = json!({"schema": {"type": "object"}});
            let content: Map<String, Value> =
                PATCHES.iter().map(|media| ((*media).to_owned(), any.clone())).collect();
            object["requestBody"] = json!({"required": true, "content": content});
        }
        _ => {}
    }
    object
}
