//! The few forms of JSONPath that conditions use: `{.status.phase}`,
//! `{.spec.taints[0].key}`, `{.status.conditions[?(@.type=="Ready")].status}`.
//!
//! A dot within a key is written `\.`, as for kubectl.

use std::fmt;
use std::str::FromStr;

use serde_json::Value;

/// A path into an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JsonPath {
    text: String,
    segments: Vec<Segment>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Segment {
    Field(String),
    Index(usize),
    /// The elements whose field at these keys reads so.
    Where {
        keys: Vec<String>,
        equals: String,
    },
}

/// A path that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("path `{path}`: {what}")]
pub struct BadPath {
    path: String,
    what: &'static str,
}

impl JsonPath {
    /// Everything the path leads to, in the object's order.
    pub fn find<'a>(&self, object: &'a Value) -> Vec<&'a Value> {
        let mut found = vec![object];
        for segment in &self.segments {
            found = found.into_iter().flat_map(|value| segment.step(value)).collect();
        }
        found
    }
}

impl Segment {
    fn step<'a>(&self, value: &'a Value) -> Vec<&'a Value> {
        match self {
            Self::Field(key) => value.get(key).into_iter().collect(),
            Self::Index(at) => value.get(at).into_iter().collect(),
            Self::Where { keys, equals } => {
                let matches = |element: &&Value| {
                    let field = keys.iter().try_fold(*element, |value, key| value.get(key));
                    field.and_then(Value::as_str) == Some(equals)
                };
                value.as_array().into_iter().flatten().filter(matches).collect()
            }
        }
    }
}

impl FromStr for JsonPath {
    type Err = BadPath;

    fn from_str(text: &str) -> Result<Self, BadPath> {
        let bad = |what| BadPath { path: text.to_owned(), what };
        let inner = match text.strip_prefix('{') {
            None => text,
            Some(rest) => rest.strip_suffix('}').ok_or(bad("has no closing brace"))?,
        };
        let mut segments = Vec::new();
        let mut rest = inner;
        while !rest.is_empty() {
            let (segment, left) = segment(rest).map_err(bad)?;
            segments.push(segment);
            rest = left;
        }
        if segments.is_empty() {
            return Err(bad("leads nowhere; write for example {.status.phase}"));
        }
        Ok(Self { text: text.to_owned(), segments })
    }
}

impl fmt::Display for JsonPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text.trim_start_matches('{').trim_end_matches('}'))
    }
}

/// The first segment of `text`, and what follows it.
fn segment(text: &str) -> Result<(Segment, &str), &'static str> {
    if let Some(rest) = text.strip_prefix('.') {
        let (key, rest) = key(rest);
        return if key.is_empty() {
            Err("has a dot without a field name")
        } else {
            Ok((Segment::Field(key), rest))
        };
    }
    let Some(rest) = text.strip_prefix('[') else {
        return Err("needs a dot or a bracket before each part");
    };
    if let Some(rest) = rest.strip_prefix("?(@") {
        let (condition, rest) = rest.split_once(")]").ok_or("has a filter without `)]`")?;
        let (keys, equals) = condition.split_once("==").ok_or("has a filter without `==`")?;
        let equals = equals.trim();
        let equals = equals
            .strip_prefix('"')
            .and_then(|text| text.strip_suffix('"'))
            .ok_or("has a filter whose value is not in double quotes")?;
        let keys = keys.trim().split('.').filter(|key| !key.is_empty()).map(str::to_owned);
        return Ok((Segment::Where { keys: keys.collect(), equals: equals.to_owned() }, rest));
    }
    let (index, rest) = rest.split_once(']').ok_or("has a bracket that is not closed")?;
    let index = index.parse().map_err(|_| "has an index that is not a number")?;
    Ok((Segment::Index(index), rest))
}

/// A field name up to the next `.` or `[` that is not escaped.
fn key(text: &str) -> (String, &str) {
    let mut key = String::new();
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '\\' => key.extend(chars.next().map(|(_, escaped)| escaped)),
            '.' | '[' => return (key, &text[at..]),
            _ => key.push(c),
        }
    }
    (key, "")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[track_caller]
    fn check(path: &str, expected: &[Value]) {
        let object = json!({
            "metadata": {"annotations": {"example.com/a": "yes"}},
            "status": {
                "phase": "Bound",
                "conditions": [
                    {"type": "PodScheduled", "status": "True"},
                    {"type": "Ready", "status": "False"},
                ],
            },
        });
        let path: JsonPath = path.parse().expect("a path");
        let found: Vec<Value> = path.find(&object).into_iter().cloned().collect();
        assert_eq!(found, expected, "{path}");
    }

    #[test]
    fn paths_lead_to_fields_elements_and_filtered_elements() {
        check("{.status.phase}", &[json!("Bound")]);
        check(".status.phase", &[json!("Bound")]);
        check("{.status.conditions[1].type}", &[json!("Ready")]);
        check(r#"{.status.conditions[?(@.type=="Ready")].status}"#, &[json!("False")]);
        check(r"{.metadata.annotations.example\.com/a}", &[json!("yes")]);
        check("{.status.conditions[7].type}", &[]);
        check("{.spec.volumeName}", &[]);
    }

    #[test]
    fn unreadable_paths_say_what_is_wrong() {
        for (path, what) in [
            ("{}", "leads nowhere"),
            ("{.status", "no closing brace"),
            ("{status}", "needs a dot"),
            ("{.a..b}", "dot without a field name"),
            ("{.a[x]}", "not a number"),
            ("{.a[?(@.b=='c')]}", "double quotes"),
        ] {
            let error = path.parse::<JsonPath>().expect_err("refused").to_string();
            assert!(error.contains(what), "{path}: {error}");
        }
    }
}
