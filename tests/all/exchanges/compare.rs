//! Comparing an answer with a recorded one, in which tokens stand for what
//! differs from run to run.

use std::collections::HashMap;

use jiff::Timestamp;
use serde_json::Value;

/// The name the real server once generated.
const GENERATED_NAME: &str = "gen-t2vm9";

/// What the tokens have been seen to stand for.
#[derive(Default)]
pub struct Bindings {
    values: HashMap<String, String>,
}

impl Bindings {
    pub fn bind(&mut self, token: &str, value: &str) {
        self.values.insert(token.to_owned(), value.to_owned());
    }

    /// A request's text with its tokens replaced. Those not seen yet stand for
    /// something that does not exist.
    pub fn fill(&self, text: &str) -> String {
        let mut filled = String::new();
        let mut rest = text;
        while let Some((before, token, after)) = next_token(rest) {
            filled.push_str(before);
            filled.push_str(&match self.values.get(token) {
                Some(value) => value.clone(),
                None => unseen(token),
            });
            rest = after;
        }
        filled.push_str(rest);
        filled
    }

    /// A request's body with its tokens replaced.
    pub fn fill_value(&self, value: &Value) -> Value {
        match value {
            Value::String(text) => self.fill(text).into(),
            Value::Array(list) => list.iter().map(|item| self.fill_value(item)).collect(),
            Value::Object(map) => {
                map.iter().map(|(key, value)| (key.clone(), self.fill_value(value))).collect()
            }
            other => other.clone(),
        }
    }

    /// Whether a recorded text and ours say the same.
    fn same_text(&mut self, recorded: &str, ours: &str) -> bool {
        match recorded {
            "<time>" => ours.parse::<Timestamp>().is_ok(),
            "<text>" => !ours.is_empty(),
            "<continue>" => {
                self.bind(recorded, ours);
                !ours.is_empty()
            }
            GENERATED_NAME => {
                let ours_too = ours.len() == recorded.len() && ours.starts_with("gen-");
                ours_too && self.same_token(recorded, ours)
            }
            _ => match next_token(recorded) {
                Some(("", token, "")) => self.same_token(token, ours),
                Some(_) => self.fill(recorded) == ours,
                None => recorded == ours,
            },
        }
    }

    fn same_token(&mut self, token: &str, ours: &str) -> bool {
        let known = self.values.entry(token.to_owned()).or_insert_with(|| ours.to_owned());
        known == ours
    }
}

/// Splits at the next token: text before it, the token, text after it.
fn next_token(text: &str) -> Option<(&str, &str, &str)> {
    let (start, end) = ["<uid-", "<rv-", "<time>", "<continue>"]
        .iter()
        .filter_map(|kind| {
            let start = text.find(kind)?;
            let end = start + text[start..].find('>')? + 1;
            Some((start, end))
        })
        .min()?;
    Some((&text[..start], &text[start..end], &text[end..]))
}

fn unseen(token: &str) -> String {
    match token {
        "<time>" => "2026-01-01T00:00:00.000000Z".to_owned(),
        // The base64 of a byte that begins no JSON.
        "<continue>" => "zw".to_owned(),
        rv if rv.starts_with("<rv-") => "99999999".to_owned(),
        _ => "00000000-0000-4000-8000-000000000000".to_owned(),
    }
}

/// Whether two texts are equal or both ages, as `4s` and `3d2h`.
pub fn age_or_equal(recorded: &str, ours: &str) -> bool {
    let is_age = |text: &str| {
        text.ends_with(['s', 'm', 'h', 'd', 'y'])
            && text.starts_with(|c: char| c.is_ascii_digit())
            && text.chars().all(|c| c.is_ascii_digit() || "smhdy".contains(c))
    };
    recorded == ours || is_age(recorded) && is_age(ours)
}

/// Adds every place in which `ours` differs from what was recorded.
pub fn values(
    recorded: &Value,
    ours: &Value,
    path: &str,
    bindings: &mut Bindings,
    same_cell: fn(&str, &str) -> bool,
    found: &mut Vec<String>,
) {
    match (recorded, ours) {
        (Value::Object(theirs), Value::Object(map)) => {
            for (key, value) in theirs {
                let path = format!("{path}.{key}");
                match map.get(key) {
                    Some(ours) => values(value, ours, &path, bindings, same_cell, found),
                    None => found.push(format!("{path}: {value} is missing")),
                }
            }
            for (key, value) in map.iter().filter(|(key, _)| !theirs.contains_key(*key)) {
                found.push(format!("{path}.{key}: {value} is too much"));
            }
        }
        (Value::Array(theirs), Value::Array(list)) => {
            if theirs.len() != list.len() {
                found.push(format!("{path}: {} items became {}", theirs.len(), list.len()));
            }
            for (index, (value, ours)) in theirs.iter().zip(list).enumerate() {
                let path = format!("{path}[{index}]");
                values(value, ours, &path, bindings, same_cell, found);
            }
        }
        (Value::String(text), Value::String(other)) => {
            let same = bindings.same_text(text, other)
                || path.contains(".cells[") && same_cell(text, other);
            if !same {
                found.push(format!("{path}: {text:?} became {other:?}"));
            }
        }
        (theirs, ours) if theirs == ours => {}
        (theirs, ours) => found.push(format!("{path}: {theirs} became {ours}")),
    }
}
