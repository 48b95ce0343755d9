//! Strategic merge: like a merge patch, but lists of certain fields are merged
//! by a key, and directives say what a merge cannot. Which lists, and by which
//! key, the types say ([`crate::cluster::embedded::schema`]); whatever they do
//! not know is replaced.

use serde_json::{Map, Value};

use crate::cluster::embedded::schema::{Merge, ObjectType, Type, object_type};

/// What is known of a value that is being merged.
#[derive(Debug, Clone, Copy)]
enum Of {
    Object(&'static ObjectType),
    Map(&'static Type),
    /// No structure is known: lists in it are replaced.
    Unknown,
}

impl Of {
    fn value(of: &'static Type) -> Self {
        match of {
            Type::Object(index) => Self::Object(object_type(*index)),
            Type::Map(values) => Self::Map(values),
            // Merging goes on in the items.
            Type::List(items) => Self::value(items),
            _ => Self::Unknown,
        }
    }

    /// What is known of a field, and how it is merged if it is a list.
    fn field(self, name: &str) -> (Self, Merge) {
        match self {
            Self::Object(of) => of
                .field(name)
                .map_or((Self::Unknown, Merge::Replace), |f| (Self::value(&f.of), f.merge)),
            Self::Map(values) => (Self::value(values), Merge::Replace),
            Self::Unknown => (Self::Unknown, Merge::Replace),
        }
    }
}

const PATCH: &str = "$patch";
const RETAIN_KEYS: &str = "$retainKeys";
const SET_ORDER: &str = "$setElementOrder/";
const DELETE_FROM: &str = "$deleteFromPrimitiveList/";

/// What a strategic merge patch makes of an object of a type.
pub fn apply(
    object: &Value,
    patch: &Value,
    of: Option<&'static ObjectType>,
) -> Result<Value, String> {
    let empty = Map::new();
    let patch = patch.as_object().ok_or("a patch must be an object")?;
    let of = of.map_or(Of::Unknown, Of::Object);
    let merged = merge_maps(object.as_object().unwrap_or(&empty), patch, of)?;
    Ok(Value::Object(merged))
}

fn merge_maps(
    original: &Map<String, Value>,
    patch: &Map<String, Value>,
    of: Of,
) -> Result<Map<String, Value>, String> {
    match patch.get(PATCH).map(|directive| directive.as_str()) {
        Some(Some("delete")) => return Ok(Map::new()),
        Some(Some("replace")) => {
            let rest = patch.iter().filter(|(name, _)| *name != PATCH);
            return Ok(rest.map(|(name, value)| (name.clone(), value.clone())).collect());
        }
        Some(Some("merge")) | None => {}
        Some(other) => {
            return Err(format!("Unknown patch type found: {}", other.unwrap_or_default()));
        }
    }
    let mut merged = retained(original, patch)?;
    for (name, value) in patch {
        if name == PATCH || name == RETAIN_KEYS {
        } else if let Some(field) = name.strip_prefix(DELETE_FROM) {
            delete_from(&mut merged, field, value)?;
        } else if let Some(field) = name.strip_prefix(SET_ORDER) {
            if !patch.contains_key(field) {
                reorder(&mut merged, field, value, of.field(field).1)?;
            }
        } else {
            let order = patch.get(&format!("{SET_ORDER}{name}"));
            merge_field(&mut merged, name, value, order, of.field(name))?;
        }
    }
    Ok(merged)
}

/// The original without the keys that `$retainKeys` does not name.
fn retained(
    original: &Map<String, Value>,
    patch: &Map<String, Value>,
) -> Result<Map<String, Value>, String> {
    let Some(keys) = patch.get(RETAIN_KEYS) else { return Ok(original.clone()) };
    let keys = keys.as_array().ok_or("invalid $retainKeys: a list is expected")?;
    for name in patch.keys().filter(|name| !name.starts_with('$')) {
        if !keys.iter().any(|key| key == name) {
            return Err("the patch contains a field that is not in its $retainKeys".to_owned());
        }
    }
    let kept = original.iter().filter(|(name, _)| keys.iter().any(|key| key == name.as_str()));
    Ok(kept.map(|(name, value)| (name.clone(), value.clone())).collect())
}

fn merge_field(
    merged: &mut Map<String, Value>,
    name: &str,
    value: &Value,
    order: Option<&Value>,
    (of, merge): (Of, Merge),
) -> Result<(), String> {
    match (merged.get(name), value) {
        (_, Value::Null) => {
            merged.shift_remove(name);
        }
        (Some(Value::Object(original)), Value::Object(patch)) => {
            let value = merge_maps(original, patch, of)?;
            // `$patch: delete` in a map takes the whole field away.
            if patch.get(PATCH).is_some_and(|directive| directive == "delete") {
                merged.shift_remove(name);
            } else {
                merged.insert(name.to_owned(), Value::Object(value));
            }
        }
        (original, Value::Array(patch)) if merge != Merge::Replace => {
            let empty = Vec::new();
            let original = original.and_then(Value::as_array).unwrap_or(&empty);
            let order = order.and_then(Value::as_array);
            let list = match merge {
                Merge::ByKey(key) => merge_keyed(original, patch, order, key, of)?,
                _ => merge_sets(original, patch, order),
            };
            merged.insert(name.to_owned(), Value::Array(list));
        }
        (_, Value::Object(patch)) => {
            if patch.get(PATCH).is_none_or(|directive| directive != "delete") {
                let value = merge_maps(&Map::new(), patch, of)?;
                merged.insert(name.to_owned(), Value::Object(value));
            }
        }
        (_, value) => {
            merged.insert(name.to_owned(), value.clone());
        }
    }
    Ok(())
}

fn merge_keyed(
    original: &[Value],
    patch: &[Value],
    order: Option<&Vec<Value>>,
    key: &str,
    of: Of,
) -> Result<Vec<Value>, String> {
    let directive = |item: &Value| item[PATCH].as_str().map(str::to_owned);
    if patch.iter().any(|item| directive(item).as_deref() == Some("replace")) {
        let rest = patch.iter().filter(|item| directive(item).is_none());
        return Ok(rest.cloned().collect());
    }
    let mut merged = original.to_vec();
    for item in patch {
        let id = item
            .get(key)
            .ok_or_else(|| format!("map: {item} does not contain declared merge key: {key}"))?;
        let place = merged.iter().position(|held| held.get(key) == Some(id));
        if directive(item).as_deref() == Some("delete") {
            merged.retain(|held| held.get(key) != Some(id));
            continue;
        }
        let fields = item.as_object().ok_or("a list item must be an object")?;
        let empty = Map::new();
        let held = place.and_then(|at| merged[at].as_object()).unwrap_or(&empty);
        let value = Value::Object(merge_maps(held, fields, of)?);
        match place {
            Some(at) => merged[at] = value,
            None => merged.push(value),
        }
    }
    let id = |item: &Value| item.get(key).cloned().unwrap_or(Value::Null);
    let wanted: Vec<Value> = order.map_or(patch, |order| order).iter().map(id).collect();
    Ok(ordered(merged, original, &wanted, id))
}

fn merge_sets(original: &[Value], patch: &[Value], order: Option<&Vec<Value>>) -> Vec<Value> {
    let mut merged = original.to_vec();
    for item in patch {
        if !merged.contains(item) {
            merged.push(item.clone());
        }
    }
    let wanted = order.map_or(patch, |order| order);
    ordered(merged, original, wanted, Value::clone)
}

/// Puts the wanted items in their order; the others keep their place before
/// the wanted ones that they were before.
fn ordered(
    items: Vec<Value>,
    original: &[Value],
    wanted: &[Value],
    id: impl Fn(&Value) -> Value,
) -> Vec<Value> {
    let wanted_place = |item: &Value| {
        let id = id(item);
        wanted.iter().position(|other| *other == id)
    };
    let original_place = |item: &Value| {
        let own = id(item);
        original.iter().position(|other| id(other) == own)
    };
    let (mut named, others): (Vec<Value>, Vec<Value>) =
        items.into_iter().partition(|item| wanted_place(item).is_some());
    named.sort_by_key(wanted_place);
    let mut result = Vec::with_capacity(named.len() + others.len());
    let mut named = named.into_iter().peekable();
    let mut others = others.into_iter().peekable();
    loop {
        let other_first = match (others.peek(), named.peek()) {
            (Some(other), Some(name)) => {
                original_place(other).zip(original_place(name)).is_some_and(|(o, n)| o < n)
            }
            (Some(_), None) => true,
            (None, _) => false,
        };
        match if other_first { others.next() } else { named.next() } {
            Some(item) => result.push(item),
            None => return result,
        }
    }
}

fn delete_from(merged: &mut Map<String, Value>, field: &str, values: &Value) -> Result<(), String> {
    let values = values.as_array().ok_or("$deleteFromPrimitiveList takes a list")?;
    if let Some(Value::Array(list)) = merged.get_mut(field) {
        list.retain(|item| !values.contains(item));
    }
    Ok(())
}

fn reorder(
    merged: &mut Map<String, Value>,
    field: &str,
    order: &Value,
    merge: Merge,
) -> Result<(), String> {
    let order = order.as_array().ok_or("$setElementOrder takes a list")?;
    if let Some(Value::Array(list)) = merged.get_mut(field) {
        let id = |item: &Value| match merge {
            Merge::ByKey(key) => item.get(key).cloned().unwrap_or(Value::Null),
            _ => item.clone(),
        };
        let wanted: Vec<Value> = order.iter().map(id).collect();
        let original = list.clone();
        *list = ordered(std::mem::take(list), &original, &wanted, id);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::cluster::embedded::schema::root;
    use crate::model::kind::{DEPLOYMENT, Kind, PERSISTENT_VOLUME, POD, STATEFUL_SET};

    #[track_caller]
    fn check(kind: &Kind, original: Value, patch: Value, result: Value) {
        assert_eq!(apply(&original, &patch, root(kind)), Ok(result), "{patch}");
    }

    #[test]
    fn conditions_merge_by_type_and_the_patch_comes_first() {
        check(
            POD,
            json!({"status": {"conditions": [{"type": "Ready", "status": "False"}]}}),
            json!({"status": {"conditions": [{"type": "PodScheduled", "status": "True"}]}}),
            json!({"status": {"conditions": [
                {"type": "PodScheduled", "status": "True"}, {"type": "Ready", "status": "False"},
            ]}}),
        );
    }

    #[test]
    fn lists_inside_merged_items_are_merged_too() {
        check(
            STATEFUL_SET,
            json!({"spec": {"template": {"spec": {"containers": [
                {"name": "a", "image": "i", "env": [{"name": "X", "value": "1"}], "args": ["p"]},
            ]}}}}),
            json!({"spec": {"template": {"spec": {"containers": [
                {"name": "a", "env": [{"name": "Y", "value": "2"}], "args": ["q"]},
                {"name": "b", "image": "j"},
            ]}}}}),
            json!({"spec": {"template": {"spec": {"containers": [
                {"name": "a", "image": "i",
                 "env": [{"name": "Y", "value": "2"}, {"name": "X", "value": "1"}], "args": ["q"]},
                {"name": "b", "image": "j"},
            ]}}}}),
        );
    }

    #[test]
    fn directives_delete_replace_and_retain() {
        check(
            POD,
            json!({"metadata": {"ownerReferences": [{"uid": "1"}, {"uid": "2"}]}}),
            json!({"metadata": {"ownerReferences": [{"$patch": "delete", "uid": "1"}]}}),
            json!({"metadata": {"ownerReferences": [{"uid": "2"}]}}),
        );
        check(
            POD,
            json!({"spec": {"containers": [{"name": "a"}]}}),
            json!({"spec": {"containers": [{"$patch": "replace"}, {"name": "n"}]}}),
            json!({"spec": {"containers": [{"name": "n"}]}}),
        );
        check(
            POD,
            json!({"metadata": {"labels": {"a": "1"}, "name": "n"}}),
            json!({"metadata": {"labels": {"$patch": "replace", "b": "2"}}}),
            json!({"metadata": {"labels": {"b": "2"}, "name": "n"}}),
        );
        check(
            DEPLOYMENT,
            json!({"spec": {"strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1}}}}),
            json!({"spec": {"strategy": {"$retainKeys": ["type"], "type": "Recreate"}}}),
            json!({"spec": {"strategy": {"type": "Recreate"}}}),
        );
        check(
            POD,
            json!({"spec": {"volumes": [{"name": "v", "emptyDir": {}}]}}),
            json!({"spec": {"volumes": [{"name": "v", "$retainKeys": ["name", "nfs"], "nfs": {"server": "s"}}]}}),
            json!({"spec": {"volumes": [{"name": "v", "nfs": {"server": "s"}}]}}),
        );
    }

    #[test]
    fn set_like_lists_lose_and_gain_values() {
        check(
            POD,
            json!({"metadata": {"finalizers": ["a", "b"]}}),
            json!({"metadata": {"$deleteFromPrimitiveList/finalizers": ["a"], "finalizers": ["c"]}}),
            json!({"metadata": {"finalizers": ["c", "b"]}}),
        );
    }

    #[test]
    fn element_order_moves_named_items_and_leaves_others_in_place() {
        let original =
            json!({"spec": {"containers": [{"name": "a"}, {"name": "x"}, {"name": "b"}]}});
        check(
            POD,
            original.clone(),
            json!({"spec": {
                "$setElementOrder/containers": [{"name": "b"}, {"name": "a"}],
                "containers": [{"name": "b", "image": "i"}],
            }}),
            json!({"spec": {"containers": [{"name": "x"}, {"name": "b", "image": "i"}, {"name": "a"}]}}),
        );
        check(
            POD,
            original,
            json!({"spec": {"$setElementOrder/containers": [{"name": "x"}, {"name": "a"}]}}),
            json!({"spec": {"containers": [{"name": "x"}, {"name": "a"}, {"name": "b"}]}}),
        );
    }

    #[test]
    fn lists_without_a_key_are_replaced() {
        check(
            POD,
            json!({"spec": {"tolerations": [{"key": "a"}]}, "unknown": [1]}),
            json!({"spec": {"tolerations": [{"key": "b"}]}, "unknown": [2]}),
            json!({"spec": {"tolerations": [{"key": "b"}]}, "unknown": [2]}),
        );
        check(
            PERSISTENT_VOLUME,
            json!({"spec": {"accessModes": ["ReadWriteOnce"], "claimRef": {"name": "a", "uid": "u"}}}),
            json!({"spec": {"accessModes": ["ReadOnlyMany"], "claimRef": {"name": "b"}}}),
            json!({"spec": {"accessModes": ["ReadOnlyMany"], "claimRef": {"name": "b", "uid": "u"}}}),
        );
    }

    #[test]
    fn an_item_without_its_key_is_refused() {
        assert!(
            apply(&json!({}), &json!({"spec": {"containers": [{"image": "i"}]}}), root(POD))
                .is_err()
        );
    }
}
