//! Reading and filling of JSON objects by path, safe on any input.
//!
//! Objects that come through the decoder have the types of their schema, but
//! nothing here relies on it: what is missing or of another type reads as
//! empty, and nothing is written into what is no object.

use serde_json::{Map, Value};

/// What stands at `pointer`, if anything. Unlike [`Value::pointer`] it knows no
/// escapes, which none of our paths has: those cost two strings a step, and
/// rules look at some twenty paths for each write.
fn at<'a>(value: &'a Value, pointer: &str) -> Option<&'a Value> {
    pointer.split('/').skip(1).try_fold(value, |inside, step| match inside {
        Value::Object(fields) => fields.get(step),
        Value::Array(items) => items.get(step.parse::<usize>().ok()?),
        _ => None,
    })
}

/// The string at `pointer`, or the empty one.
pub fn text<'a>(value: &'a Value, pointer: &str) -> &'a str {
    at(value, pointer).and_then(Value::as_str).unwrap_or_default()
}

/// The integer at `pointer`, or 0.
pub fn integer(value: &Value, pointer: &str) -> i64 {
    at(value, pointer).and_then(Value::as_i64).unwrap_or_default()
}

/// Whether `true` stands at `pointer`.
pub fn is_true(value: &Value, pointer: &str) -> bool {
    at(value, pointer).and_then(Value::as_bool).unwrap_or_default()
}

/// The items of the list at `pointer`, or none.
pub fn list<'a>(value: &'a Value, pointer: &str) -> &'a [Value] {
    at(value, pointer).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

/// The entries of the map at `pointer`, or none.
pub fn entries<'a>(
    value: &'a Value,
    pointer: &str,
) -> impl Iterator<Item = (&'a String, &'a Value)> + use<'a> {
    at(value, pointer).and_then(Value::as_object).into_iter().flatten()
}

/// Whether there is anything but `null` at `pointer`.
pub fn is_set(value: &Value, pointer: &str) -> bool {
    at(value, pointer).is_some_and(|value| !value.is_null())
}

/// An annotation's value.
pub fn annotation<'a>(object: &'a Value, name: &str) -> Option<&'a str> {
    object.get("metadata")?.get("annotations")?.get(name)?.as_str()
}

/// The object under `key`, made if there is none. `None` where `value` is no
/// object or something else stands there.
pub fn child<'a>(value: &'a mut Value, key: &str) -> Option<&'a mut Value> {
    let child = value.as_object_mut()?.entry(key).or_insert(Value::Null);
    if child.is_null() {
        *child = Value::Object(Map::new());
    }
    child.is_object().then_some(child)
}

/// Puts `default` under `key` where nothing, `null` or an empty string stands.
pub fn fill(value: &mut Value, key: &str, default: impl Into<Value>) {
    if let Some(map) = value.as_object_mut() {
        let empty = match map.get(key) {
            None | Some(Value::Null) => true,
            Some(Value::String(text)) => text.is_empty(),
            Some(_) => false,
        };
        if empty {
            map.insert(key.to_owned(), default.into());
        }
    }
}

/// Puts `value` under `key`, or removes `key` where there is none.
pub fn put(object: &mut Value, key: &str, value: Option<Value>) {
    if let Some(map) = object.as_object_mut() {
        match value {
            Some(value) => {
                map.insert(key.to_owned(), value);
            }
            None => {
                map.shift_remove(key);
            }
        }
    }
}

/// Takes `key` over from `old`, absent if it is absent there.
pub fn restore(object: &mut Value, old: &Value, key: &str) {
    if object.get(key) != old.get(key) {
        put(object, key, old.get(key).cloned());
    }
}

/// Every item of the list at `pointer`, to be changed.
pub fn items_mut<'a>(
    value: &'a mut Value,
    pointer: &str,
) -> impl Iterator<Item = &'a mut Value> + use<'a> {
    value.pointer_mut(pointer).and_then(Value::as_array_mut).into_iter().flatten()
}

/// Appends a finalizer unless it is there.
pub fn add_finalizer(object: &mut Value, name: &str) {
    let Some(metadata) = child(object, "metadata") else { return };
    fill(metadata, "finalizers", Value::Array(Vec::new()));
    if let Some(list) = metadata.get_mut("finalizers").and_then(Value::as_array_mut)
        && !list.iter().any(|finalizer| finalizer == name)
    {
        list.push(name.into());
    }
}
