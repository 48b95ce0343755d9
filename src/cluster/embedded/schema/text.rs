//! From text to a value: JSON or YAML, with the fields that occur twice.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

/// A value as it was written.
#[derive(Debug)]
pub struct Parsed {
    pub value: Value,
    /// Paths of fields that occur more than once; the last one counts.
    pub duplicates: Vec<String>,
}

/// Reads a JSON body. The error is in the words of a Go JSON parser where that
/// matters to clients.
pub fn json(body: &[u8]) -> Result<Parsed, String> {
    let mut duplicates = Vec::new();
    let mut source = serde_json::Deserializer::from_slice(body);
    let seed = Node { path: String::new(), duplicates: &mut duplicates };
    let read = seed.deserialize(&mut source).and_then(|value| source.end().map(|()| value));
    let value = read.map_err(|error| {
        if error.is_eof() {
            return "unexpected end of JSON input".to_owned();
        }
        if error.to_string().starts_with("recursion limit") {
            return "exceeded max depth".to_owned();
        }
        match character_at(body, error.line(), error.column()) {
            Some(found) => format!("invalid character {found:?} looking for beginning of value"),
            None => error.to_string(),
        }
    })?;
    Ok(Parsed { value, duplicates })
}

/// The character at a place counted from 1, as the parser gives it.
fn character_at(body: &[u8], line: usize, column: usize) -> Option<char> {
    let text = body.split(|byte| *byte == b'\n').nth(line.checked_sub(1)?)?;
    let byte = *text.get(column.checked_sub(1)?)?;
    byte.is_ascii().then_some(char::from(byte))
}

/// Reads a YAML body.
pub fn yaml(body: &[u8]) -> Result<Parsed, String> {
    let mut duplicates = Vec::new();
    let text = std::str::from_utf8(body).map_err(|error| format!("yaml: {error}"))?;
    let options = yaml_options();
    let value = serde_yaml::with_deserializer_from_str_with_options(text, options, |source| {
        Node { path: String::new(), duplicates: &mut duplicates }.deserialize(source)
    })
    .map_err(|error| format!("yaml: {error}"))?;
    Ok(Parsed { value, duplicates })
}

/// YAML as Kubernetes reads it: old octal numbers, `yes` and `no` as booleans,
/// and no smaller limits than a request body has.
fn yaml_options() -> serde_yaml::Options {
    let budget = serde_yaml::budget! {
        max_events: 2_000_000,
        max_nodes: 1_000_000,
        max_total_scalar_bytes: 8 << 20,
    };
    serde_yaml::options! {
        duplicate_keys: serde_yaml::DuplicateKeyPolicy::PassThrough,
        legacy_octal_numbers: true,
        budget: budget,
        with_snippet: false,
    }
}

/// One node of the text, and where it stands.
struct Node<'a> {
    path: String,
    duplicates: &'a mut Vec<String>,
}

impl<'de> DeserializeSeed<'de> for Node<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, source: D) -> Result<Value, D::Error> {
        source.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Node<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(Number::from_f64(value).map_or(Value::Null, Value::Number))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_none<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_some<D: Deserializer<'de>>(self, source: D) -> Result<Value, D::Error> {
        source.deserialize_any(self)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        loop {
            let path = format!("{}[{}]", self.path, list.len());
            match items.next_element_seed(Node { path, duplicates: self.duplicates })? {
                Some(item) => list.push(item),
                None => return Ok(list.into()),
            }
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let mut map = Map::new();
        while let Some(key) = entries.next_key_seed(Key)? {
            let path =
                if self.path.is_empty() { key.clone() } else { format!("{}.{key}", self.path) };
            let node = Node { path: path.clone(), duplicates: self.duplicates };
            let value = entries.next_value_seed(node)?;
            if map.insert(key, value).is_some() && !self.duplicates.contains(&path) {
                self.duplicates.push(path);
            }
        }
        Ok(map.into())
    }
}

/// A key: YAML allows ones that are no strings, which are read as they are
/// written.
struct Key;

impl<'de> DeserializeSeed<'de> for Key {
    type Value = String;

    fn deserialize<D: Deserializer<'de>>(self, source: D) -> Result<String, D::Error> {
        <String as serde::Deserialize>::deserialize(source)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_given_twice_is_named_and_its_last_value_counts() {
        let body = br#"{"spec": {"a": 1, "list": [{"x": 1, "x": 2}], "a": 2}}"#;
        let parsed = json(body).expect("it is JSON");
        assert_eq!(parsed.value, serde_json::json!({"spec": {"a": 2, "list": [{"x": 2}]}}));
        assert_eq!(parsed.duplicates, ["spec.list[0].x", "spec.a"]);
    }

    #[test]
    fn yaml_reads_as_kubernetes_reads_it() {
        let body = b"mode: 0644\nsize: 1Gi\non: true\nlist:\n- a\n- 2\nmode: 0600\n";
        let parsed = yaml(body).expect("it is YAML");
        assert_eq!(
            parsed.value,
            serde_json::json!({"mode": 0o600, "size": "1Gi", "on": true, "list": ["a", 2]})
        );
        assert_eq!(parsed.duplicates, ["mode"]);
    }

    #[test]
    fn broken_text_is_refused_in_the_parser_s_words() {
        assert_eq!(json(b"{").unwrap_err(), "unexpected end of JSON input");
        assert_eq!(
            json(b"nope").unwrap_err(),
            "invalid character 'o' looking for beginning of value"
        );
        assert_eq!(json(&b"[".repeat(1000)).unwrap_err(), "exceeded max depth");
        assert!(yaml(b"a: [1").is_err());
        assert!(yaml(&b"[".repeat(100_000)).is_err());
    }

    proptest::proptest! {
        #![proptest_config(proptest::prelude::ProptestConfig {
            failure_persistence: None,
            ..Default::default()
        })]

        #[test]
        fn no_bytes_make_the_reader_panic(bytes: Vec<u8>, text in "[-{}\\[\\]:,&*!|>'\"a0 \n#%@`]{0,40}") {
            for body in [bytes.as_slice(), text.as_bytes()] {
                let _ = json(body);
                let _ = yaml(body);
            }
        }
    }
}
