//! Objects as YAML for people, and back.

use serde_json::Value;

/// The object as YAML, without what only servers keep books of, and without
/// what is secret.
pub fn to_text(object: &Value) -> String {
    let mut object = object.clone();
    if let Some(metadata) = object["metadata"].as_object_mut() {
        metadata.shift_remove("managedFields");
    }
    if object["kind"] == "Secret" {
        hide_secrets(&mut object);
    }
    // A literal block that begins with a tab is refused by other readers.
    let options = serde_yaml::ser_options! {
        folded_wrap_chars: usize::MAX,
        prefer_block_scalars: !has_leading_tab(&object),
    };
    serde_yaml::to_string_with_options(&object, options)
        .unwrap_or_else(|error| format!("# cannot be shown as YAML: {error}\n"))
}

fn hide_secrets(object: &mut Value) {
    for field in ["data", "stringData"] {
        for value in object[field].as_object_mut().into_iter().flat_map(|map| map.values_mut()) {
            *value = "(hidden)".into();
        }
    }
}

fn has_leading_tab(value: &Value) -> bool {
    match value {
        Value::String(text) => text.starts_with('\t'),
        Value::Array(items) => items.iter().any(has_leading_tab),
        Value::Object(map) => map.values().any(has_leading_tab),
        Value::Null | Value::Bool(_) | Value::Number(_) => false,
    }
}

/// What is wrong with typed YAML, and in which line (from 1; 0: unknown).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BadYaml {
    pub line: u64,
    pub what: String,
}

/// Reads one object.
pub fn from_text(text: &str) -> Result<Value, BadYaml> {
    let options = serde_yaml::options! { legacy_octal_numbers: true };
    let value: Value = serde_yaml::from_str_with_options(text, options).map_err(|error| {
        let what = error.without_snippet().to_string();
        BadYaml {
            line: error.location().map_or(0, |at| at.line()),
            what: what.lines().next().unwrap_or_default().to_owned(),
        }
    })?;
    match value {
        Value::Object(_) => Ok(value),
        _ => Err(BadYaml { line: 1, what: "this is no object".into() }),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn object_comes_back_as_it_was() {
        let object = json!({"kind": "X", "metadata": {"name": "a", "annotations": {"on": "yes"}},
            "spec": {"text": "\tx\ny", "long": "w ".repeat(100), "n": 7}});
        assert_eq!(from_text(&to_text(&object)), Ok(object));
    }

    #[test]
    fn secrets_and_books_are_left_out() {
        let object = json!({"kind": "Secret", "metadata": {"managedFields": [1]}, "data": {"a": "c2VjcmV0"}});
        let text = to_text(&object);
        assert!(!text.contains("c2VjcmV0") && !text.contains("managedFields"), "{text}");
    }

    #[test]
    fn errors_name_the_line() {
        assert_eq!(from_text("a: 1\nb: [\n").expect_err("broken").line, 2);
        assert_eq!(from_text("just text").expect_err("no object").line, 1);
        assert_eq!(from_text("a: 1\na: 2\n").expect_err("twice").line, 2);
    }
}
