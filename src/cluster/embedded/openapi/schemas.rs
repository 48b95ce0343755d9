//! The types as JSON schemas, in either version's manner.

use serde_json::{Map, Value, json};

use super::descriptions;
use crate::cluster::embedded::kind::ServedKind;
use crate::cluster::embedded::kinds;
use crate::cluster::embedded::schema::{Field, Merge, ObjectType, Type, object_type, object_types};

/// Which manner: they differ in where schemas stand and how they are referred
/// to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Version {
    V2,
    V3,
}

impl Version {
    fn reference(self, name: &str) -> Value {
        let place = match self {
            Self::V2 => "#/definitions/",
            Self::V3 => "#/components/schemas/",
        };
        json!({"$ref": format!("{place}{name}")})
    }
}

const META: &str = "io.k8s.apimachinery.pkg.apis.meta.v1";

/// The published name of a type.
pub fn published_name(of: &ObjectType) -> String {
    match of.package {
        "meta.v1" => format!("{META}.{}", of.name),
        package => format!("io.k8s.api.{package}.{}", of.name),
    }
}

/// The published name of a kind's type.
pub fn kind_name(row: &ServedKind) -> String {
    let group = row.names.group.split('.').next().filter(|group| !group.is_empty());
    format!("io.k8s.api.{}.{}.{}", group.unwrap_or("core"), row.names.version, row.names.kind)
}

/// What a kind is, as extensions say it.
pub fn group_version_kind(row: &ServedKind, suffix: &str) -> Value {
    json!({
        "group": row.names.group,
        "version": row.names.version,
        "kind": format!("{}{suffix}", row.names.kind),
    })
}

/// All schemas that the kinds among `rows` need, by name.
pub fn all(rows: &[&'static ServedKind], version: Version) -> Map<String, Value> {
    let mut found = Map::new();
    for row in rows {
        if let Some(of) = crate::cluster::embedded::schema::root(row.names) {
            collect(of, version, &mut found);
        }
        let name = kind_name(row);
        if let Some(schema) = found.get_mut(&name) {
            schema["x-kubernetes-group-version-kind"] = json!([group_version_kind(row, "")]);
        }
        found.insert(format!("{name}List"), list(row, &name, version));
    }
    for of in object_types() {
        let general = matches!(of.name, "DeleteOptions" | "Status" | "ListMeta" | "Scale");
        if general {
            collect(of, version, &mut found);
        }
    }
    for (name, schema) in scalars(version) {
        found.insert(name, schema);
    }
    found.sort_keys();
    found
}

fn collect(of: &ObjectType, version: Version, found: &mut Map<String, Value>) {
    let name = published_name(of);
    if found.contains_key(&name) {
        return;
    }
    found.insert(name.clone(), Value::Null);
    let mut properties = Map::new();
    for field in &of.fields {
        properties.insert(field.name.to_owned(), property(of, field, version));
        if let Some(inner) = innermost(&field.of) {
            collect(inner, version, found);
        }
    }
    let required: Vec<&str> =
        of.fields.iter().filter(|field| field.required).map(|field| field.name).collect();
    let mut schema = json!({
        "description": descriptions::of_type(of),
        "type": "object",
        "properties": properties,
    });
    if !required.is_empty() {
        schema["required"] = required.into();
    }
    if of.atomic {
        schema["x-kubernetes-map-type"] = "atomic".into();
    }
    found.insert(name, schema);
}

fn innermost(of: &Type) -> Option<&'static ObjectType> {
    match of {
        Type::Object(index) => Some(object_type(*index)),
        Type::List(item) | Type::Map(item) => innermost(item),
        _ => None,
    }
}

fn property(of: &ObjectType, field: &Field, version: Version) -> Value {
    let mut schema = type_schema(&field.of, version);
    if version == Version::V3 && schema.get("$ref").is_some() {
        // Beside a reference nothing else may stand there.
        schema = json!({"allOf": [schema], "default": {}});
        if field.optional {
            schema = json!({"allOf": schema["allOf"]});
        }
    }
    let description = descriptions::of_field(of, field);
    if !description.is_empty() {
        schema["description"] = description.into();
    }
    let strategy = match (field.merge, field.retain_keys) {
        (Merge::Replace, false) => "",
        (Merge::Replace, true) => "retainKeys",
        (_, false) => "merge",
        (_, true) => "merge,retainKeys",
    };
    if !strategy.is_empty() {
        schema["x-kubernetes-patch-strategy"] = strategy.into();
    }
    if let Merge::ByKey(key) = field.merge {
        schema["x-kubernetes-patch-merge-key"] = key.into();
    }
    match field.list {
        None => {}
        Some(kind @ ("atomic" | "set")) => schema["x-kubernetes-list-type"] = kind.into(),
        Some(keys) => {
            schema["x-kubernetes-list-type"] = "map".into();
            schema["x-kubernetes-list-map-keys"] = keys.split(',').collect::<Vec<_>>().into();
        }
    }
    schema
}

fn type_schema(of: &Type, version: Version) -> Value {
    match of {
        Type::Text => json!({"type": "string"}),
        Type::Bool => json!({"type": "boolean"}),
        Type::Int32 => json!({"type": "integer", "format": "int32"}),
        Type::Int64 => json!({"type": "integer", "format": "int64"}),
        Type::Bytes => json!({"type": "string", "format": "byte"}),
        Type::Any => json!({"type": "object"}),
        Type::Quantity => version.reference("io.k8s.apimachinery.pkg.api.resource.Quantity"),
        Type::Time => version.reference(&format!("{META}.Time")),
        Type::MicroTime => version.reference(&format!("{META}.MicroTime")),
        Type::IntOrString => version.reference("io.k8s.apimachinery.pkg.util.intstr.IntOrString"),
        Type::List(item) => json!({"type": "array", "items": type_schema(item, version)}),
        Type::Map(item) => {
            json!({"type": "object", "additionalProperties": type_schema(item, version)})
        }
        Type::Object(index) => version.reference(&published_name(object_type(*index))),
    }
}

/// The types that are written as one value.
fn scalars(version: Version) -> [(String, Value); 4] {
    let either = match version {
        Version::V2 => json!({"type": "string", "format": "int-or-string"}),
        Version::V3 => {
            json!({"oneOf": [{"type": "integer"}, {"type": "string"}], "format": "int-or-string"})
        }
    };
    let amount = match version {
        Version::V2 => json!({"type": "string"}),
        Version::V3 => json!({"oneOf": [{"type": "string"}, {"type": "number"}]}),
    };
    let described = |mut schema: Value, text: &str| {
        schema["description"] = text.into();
        schema
    };
    let moment = || json!({"type": "string", "format": "date-time"});
    [
        (
            "io.k8s.apimachinery.pkg.api.resource.Quantity".to_owned(),
            described(amount, descriptions::QUANTITY),
        ),
        (
            "io.k8s.apimachinery.pkg.util.intstr.IntOrString".to_owned(),
            described(either, "A number, or a string such as a percentage or the name of a port."),
        ),
        (format!("{META}.Time"), described(moment(), "A moment, to the second.")),
        (format!("{META}.MicroTime"), described(moment(), "A moment, to the microsecond.")),
    ]
}

fn list(row: &ServedKind, item: &str, version: Version) -> Value {
    let meta = version.reference(&format!("{META}.ListMeta"));
    let meta = if version == Version::V3 { json!({"allOf": [meta]}) } else { meta };
    json!({
        "description": format!("A list of objects of the kind {}.", row.names.kind),
        "type": "object",
        "required": ["items"],
        "properties": {
            "apiVersion": {"type": "string", "description": descriptions::API_VERSION},
            "items": {
                "type": "array",
                "description": "The objects.",
                "items": version.reference(item),
            },
            "kind": {"type": "string", "description": descriptions::KIND},
            "metadata": meta,
        },
        "x-kubernetes-group-version-kind": [group_version_kind(row, "List")],
    })
}

/// The rows of one group version.
pub fn rows_of(group: &str, version: &str) -> Vec<&'static ServedKind> {
    let mut rows = kinds::ALL.to_vec();
    rows.retain(|row| row.names.group == group && row.names.version == version);
    rows
}
