//! Pod templates told apart: by their text in one fixed form, and by the hashes
//! that Kubernetes makes names from.

use serde_json::Value;

/// The characters of hashes in names: no vowels, nothing that looks alike
/// (upstream: `rand.SafeEncodeString`).
const SAFE: &[u8; 27] = b"bcdfghjklmnpqrstvwxz2456789";

/// The label by which a Deployment's ReplicaSets and their pods are told apart.
pub const POD_TEMPLATE_HASH: &str = "pod-template-hash";

/// A value as Go's encoder writes a map: keys sorted, no spaces, and the
/// characters that could end an HTML page spelt out.
pub fn canonical(value: &Value) -> String {
    let mut text = String::new();
    write_canonical(value, &mut text);
    text
}

fn write_canonical(value: &Value, out: &mut String) {
    match value {
        Value::Object(fields) => {
            let mut keys: Vec<&String> = fields.keys().collect();
            keys.sort();
            out.push('{');
            for (at, key) in keys.into_iter().enumerate() {
                if at > 0 {
                    out.push(',');
                }
                write_text(key, out);
                out.push(':');
                write_canonical(&fields[key], out);
            }
            out.push('}');
        }
        Value::Array(items) => {
            out.push('[');
            for (at, item) in items.iter().enumerate() {
                if at > 0 {
                    out.push(',');
                }
                write_canonical(item, out);
            }
            out.push(']');
        }
        Value::String(text) => write_text(text, out),
        Value::Null | Value::Bool(_) | Value::Number(_) => out.push_str(&value.to_string()),
    }
}

fn write_text(text: &str, out: &mut String) {
    for part in Value::from(text).to_string().chars() {
        match part {
            '<' | '>' | '&' | '\u{2028}' | '\u{2029}' => {
                out.push_str(&format!("\\u{:04x}", u32::from(part)));
            }
            other => out.push(other),
        }
    }
}

/// What a template says, in one number: equal templates have equal ones. The
/// label that a Deployment adds to tell its ReplicaSets apart does not count
/// (upstream: `EqualIgnoreHash`).
pub fn digest(template: &Value) -> u64 {
    let mut template = template.clone();
    if let Some(metadata) = template.get_mut("metadata").and_then(Value::as_object_mut) {
        if let Some(labels) = metadata.get_mut("labels").and_then(Value::as_object_mut) {
            labels.shift_remove(POD_TEMPLATE_HASH);
        }
        metadata.retain(|_, value| !is_nothing(value));
    }
    if let Some(fields) = template.as_object_mut() {
        fields.shift_remove("$patch");
        fields.retain(|_, value| !is_nothing(value));
    }
    let text = canonical(&template);
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

fn is_nothing(value: &Value) -> bool {
    value.is_null() || value.as_object().is_some_and(serde_json::Map::is_empty)
}

/// The hash in a ControllerRevision's name: FNV-1 over its data and the number
/// of collisions so far (upstream: `HashControllerRevision`).
pub fn revision_hash(data: &str, collisions: i64) -> String {
    let collisions = collisions.to_string();
    let bytes = data.bytes().chain(collisions.bytes());
    let hash =
        bytes.fold(0x811c_9dc5_u32, |hash, byte| hash.wrapping_mul(0x0100_0193) ^ u32::from(byte));
    safe(hash)
}

/// The hash in a ReplicaSet's name. The original hashes a dump of a Go
/// structure, which nothing else can make: this one is stable, and not the same.
pub fn replica_set_hash(template: &Value, collisions: i64) -> String {
    let mut bytes = canonical(template).into_bytes();
    if collisions > 0 {
        bytes.extend_from_slice(&collisions.to_le_bytes());
    }
    let hash = bytes
        .iter()
        .fold(0x811c_9dc5_u32, |hash, byte| (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193));
    safe(hash)
}

/// A number's decimal digits in characters that are safe in names.
fn safe(number: u32) -> String {
    let digits = number.to_string();
    digits.bytes().map(|digit| char::from(SAFE[usize::from(digit) % SAFE.len()])).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn keys_are_sorted_and_html_is_spelt_out() {
        let value = json!({"b": ["<a>", 1, null], "a": {"z": true, "y": "&\n"}});
        let text = r#"{"a":{"y":"\u0026\n","z":true},"b":["\u003ca\u003e",1,null]}"#;
        assert_eq!(canonical(&value), text);
    }

    #[test]
    fn the_label_of_a_replica_set_is_no_difference() {
        let template = json!({"metadata": {"labels": {"app": "a"}}, "spec": {"x": 1}});
        let mut labelled = template.clone();
        labelled["metadata"]["labels"][POD_TEMPLATE_HASH] = "5d4".into();
        assert_eq!(digest(&template), digest(&labelled));
        labelled["spec"]["x"] = 2.into();
        assert_ne!(digest(&template), digest(&labelled));
        let bare = json!({"spec": {"x": 1}});
        let mut hashed = bare.clone();
        hashed["metadata"] = json!({"labels": {"pod-template-hash": "5d4"}});
        assert_eq!(digest(&bare), digest(&hashed));
    }

    #[test]
    fn hashes_are_digits_in_safe_characters() {
        assert_eq!(safe(1_234_567_890), "56789bcdf4");
        assert_ne!(revision_hash("a", 0), revision_hash("a", 1));
        let template = json!({"spec": {}});
        assert_ne!(replica_set_hash(&template, 0), replica_set_hash(&template, 1));
    }
}
