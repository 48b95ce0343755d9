//! The second version: one document of all kinds.

use serde_json::{Map, Value, json};

use super::paths::{self, Operation, PATCHES, Path};
use super::schemas::{self, Version, group_version_kind, kind_name};
use crate::cluster::embedded::kind::ServedKind;
use crate::cluster::embedded::kinds;

/// The document.
pub fn document() -> Value {
    let mut items = Map::new();
    for row in kinds::ALL {
        for path in paths::of(row) {
            items.insert(path.path.clone(), path_item(row, &path));
        }
    }
    json!({
        "swagger": "2.0",
        "info": {"title": "Kubernetes", "version": "v1.36.0"},
        "paths": items,
        "definitions": schemas::all(kinds::ALL, Version::V2),
    })
}

fn path_item(row: &ServedKind, path: &Path) -> Value {
    let mut item = Map::new();
    let placed = [("name", path.named), ("namespace", path.namespaced)];
    let parameters: Vec<Value> = placed
        .into_iter()
        .filter(|(_, there)| *there)
        .map(|(name, _)| json!({"name": name, "in": "path", "required": true, "type": "string"}))
        .collect();
    for operation in &path.operations {
        item.insert(operation.method.to_owned(), operation_object(row, operation));
    }
    if !parameters.is_empty() {
        item.insert("parameters".to_owned(), parameters.into());
    }
    item.into()
}

fn operation_object(row: &ServedKind, operation: &Operation) -> Value {
    let mut parameters: Vec<Value> = operation
        .parameters
        .iter()
        .map(|name| {
            json!({
                "name": name,
                "in": "query",
                "description": paths::parameter_description(name),
                "type": paths::parameter_type(name),
                "uniqueItems": true,
            })
        })
        .collect();
    let body = match operation.method {
        "post" | "put" => Some(json!({"$ref": format!("#/definitions/{}", kind_name(row))})),
        "patch" => Some(json!({"type": "object"})),
        _ => None,
    };
    if let Some(schema) = body {
        parameters.insert(
            0,
            json!({
                "name": "body", "in": "body", "required": true, "schema": schema,
            }),
        );
    }
    let answer = match operation.answers {
        "Status" => "io.k8s.apimachinery.pkg.apis.meta.v1.Status".to_owned(),
        suffix => format!("{}{suffix}", kind_name(row)),
    };
    let code = if operation.method == "post" { "201" } else { "200" };
    let consumes: &[&str] =
        if operation.method == "patch" { &PATCHES } else { &["application/json"] };
    json!({
        "consumes": consumes,
        "produces": ["application/json", "application/yaml"],
        "parameters": parameters,
        "responses": {code: {
            "description": "The answer.",
            "schema": {"$ref": format!("#/definitions/{answer}")},
        }},
        "x-kubernetes-action": operation.action,
        "x-kubernetes-group-version-kind": group_version_kind(row, ""),
    })
}
