//! Objects in the forms that clients ask for: whole, as table rows, or metadata
//! only.

use bytes::{BufMut, Bytes, BytesMut};
use jiff::Timestamp;
use serde_json::{Value, json};

use crate::cluster::embedded::negotiate::{Form, Include};
use crate::cluster::embedded::registry::Served;
use crate::cluster::embedded::store::object::Stored;

/// What a list says about itself.
#[derive(Debug, Clone, Default)]
pub struct ListMeta {
    pub version: u64,
    pub continuation: Option<String>,
    pub remaining: Option<usize>,
}

/// One object in a form, at a version (its own, or that of its deletion).
pub fn object(served: Served, stored: &Stored, version: u64, form: Form, now: Timestamp) -> Bytes {
    match form {
        Form::Object | Form::Aggregated(_) => served.object_json(stored, version),
        Form::Metadata => metadata_only(stored, version),
        Form::Table(include) => {
            let row = table_row(served, stored, version, include, now);
            let meta = json!({"resourceVersion": version.to_string()});
            table(&meta, &columns(served), &[row])
        }
    }
}

/// An object in its stored shape that was not stored (a dry run), in a form.
pub fn unstored(served: Served, stored: &Value, form: Form, now: Timestamp) -> Bytes {
    let object = &served.shown(stored.clone());
    let meta = |object: &Value| json!({"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": object["metadata"]});
    match form {
        Form::Object | Form::Aggregated(_) => object.to_string().into(),
        Form::Metadata => meta(object).to_string().into(),
        Form::Table(include) => {
            let beside = match include {
                Include::Nothing => None,
                Include::Object => Some(object.to_string()),
                Include::Metadata => Some(meta(object).to_string()),
            };
            let cells = Value::from((served.row.cells)(stored, now)).to_string();
            let row = encoded_row(&cells, beside.as_deref().map(str::as_bytes));
            let version = object["metadata"]["resourceVersion"].clone();
            table(&json!({"resourceVersion": version}), &columns(served), &[row])
        }
    }
}

/// An object of a table watch: columns only in the first.
pub fn watched_row(
    served: Served,
    stored: &Stored,
    version: u64,
    include: Include,
    first: bool,
    now: Timestamp,
) -> Bytes {
    let row = table_row(served, stored, version, include, now);
    let columns = if first { columns(served) } else { Value::Null };
    table(&json!({"resourceVersion": version.to_string()}), &columns, &[row])
}

/// A list in a form.
pub fn list(
    served: Served,
    objects: &[impl AsRef<Stored>],
    meta: &ListMeta,
    form: Form,
    now: Timestamp,
) -> Bytes {
    let objects = objects.iter().map(AsRef::as_ref);
    match form {
        Form::Object | Form::Aggregated(_) => {
            let kind = format!("{}List", served.names().kind);
            let items = objects.map(|stored| served.item_json(stored));
            typed_list(&kind, &served.names().api_version(), meta, items)
        }
        Form::Metadata => {
            let items = objects.map(|stored| metadata_only(stored, stored.version));
            typed_list("PartialObjectMetadataList", "meta.k8s.io/v1", meta, items)
        }
        Form::Table(include) => {
            let rows: Vec<_> = objects
                .map(|stored| table_row(served, stored, stored.version, include, now))
                .collect();
            table(&list_meta(meta), &columns(served), &rows)
        }
    }
}

/// The bookmark of a watch.
pub fn bookmark(served: Served, form: Form, version: u64, ends_initial_events: bool) -> Bytes {
    let mut meta = json!({"resourceVersion": version.to_string()});
    if ends_initial_events {
        meta["annotations"] = json!({"k8s.io/initial-events-end": "true"});
    }
    let object = match form {
        Form::Object | Form::Aggregated(_) => {
            let names = served.names();
            json!({"kind": names.kind, "apiVersion": names.api_version(), "metadata": meta})
        }
        Form::Metadata => {
            json!({"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": meta})
        }
        Form::Table(_) => json!({
            "kind": "Table", "apiVersion": "meta.k8s.io/v1", "metadata": meta,
            "columnDefinitions": null, "rows": [],
        }),
    };
    object.to_string().into()
}

fn metadata_only(stored: &Stored, version: u64) -> Bytes {
    let metadata = stored.metadata_json_at(version);
    let mut out = BytesMut::with_capacity(metadata.len() + 80);
    out.put_slice(br#"{"kind":"PartialObjectMetadata","apiVersion":"meta.k8s.io/v1","metadata":"#);
    out.put_slice(&metadata);
    out.put_u8(b'}');
    out.freeze()
}

fn list_meta(meta: &ListMeta) -> Value {
    let mut value = json!({"resourceVersion": meta.version.to_string()});
    if let Some(token) = &meta.continuation {
        value["continue"] = token.as_str().into();
    }
    if let Some(remaining) = meta.remaining {
        value["remainingItemCount"] = remaining.into();
    }
    value
}

fn typed_list(
    kind: &str,
    api_version: &str,
    meta: &ListMeta,
    items: impl Iterator<Item = Bytes>,
) -> Bytes {
    let head = json!({"kind": kind, "apiVersion": api_version, "metadata": list_meta(meta)});
    let head = head.to_string();
    let items: Vec<Bytes> = items.collect();
    let length: usize = items.iter().map(|item| item.len() + 1).sum();
    let mut out = BytesMut::with_capacity(head.len() + length + 16);
    out.put_slice(&head.as_bytes()[..head.len() - 1]);
    out.put_slice(br#","items":["#);
    for (at, item) in items.iter().enumerate() {
        if at > 0 {
            out.put_u8(b',');
        }
        out.put_slice(item);
    }
    out.put_slice(b"]}");
    out.freeze()
}

fn columns(served: Served) -> Value {
    let columns = served.row.columns.iter().map(|column| {
        json!({
            "name": column.name, "type": column.kind, "format": column.format,
            "description": column.description, "priority": column.priority,
        })
    });
    columns.collect()
}

fn table(meta: &Value, columns: &Value, rows: &[Bytes]) -> Bytes {
    let mut out = BytesMut::new();
    out.put_slice(br#"{"kind":"Table","apiVersion":"meta.k8s.io/v1","metadata":"#);
    out.put_slice(meta.to_string().as_bytes());
    out.put_slice(br#","columnDefinitions":"#);
    out.put_slice(columns.to_string().as_bytes());
    out.put_slice(br#","rows":["#);
    for (at, row) in rows.iter().enumerate() {
        if at > 0 {
            out.put_u8(b',');
        }
        out.put_slice(row);
    }
    out.put_slice(b"]}");
    out.freeze()
}

fn table_row(
    served: Served,
    stored: &Stored,
    version: u64,
    include: Include,
    now: Timestamp,
) -> Bytes {
    let cells = Value::from((served.row.cells)(&served.stored_object(stored), now)).to_string();
    let beside = match include {
        Include::Nothing => None,
        Include::Object => Some(served.object_json(stored, version)),
        Include::Metadata => Some(metadata_only(stored, version)),
    };
    encoded_row(&cells, beside.as_deref())
}

fn encoded_row(cells: &str, object: Option<&[u8]>) -> Bytes {
    let mut out = BytesMut::new();
    out.put_slice(br#"{"cells":"#);
    out.put_slice(cells.as_bytes());
    out.put_slice(br#","object":"#);
    out.put_slice(object.unwrap_or(b"null"));
    out.put_u8(b'}');
    out.freeze()
}
