//! What a list lets through: text, its negation, or labels.

use std::sync::Arc;

use crate::model::object::Meta;
use crate::model::selector::{LabelSelector, Operator, Requirement};

/// A filter as it was typed after `/`.
///
/// ```text
/// mysql        rows that contain it, in any case (with a capital: exactly so)
/// !mysql       rows that do not
/// -l app=web   rows whose labels match the selector
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Filter {
    #[default]
    All,
    Text {
        needle: Box<str>,
        exact_case: bool,
        negated: bool,
    },
    Labels(Box<LabelSelector>),
}

impl Filter {
    /// Reads what was typed; an error says what is wrong with a selector.
    pub fn parse(text: &str) -> Result<Self, String> {
        let text = text.trim();
        if let Some(selector) = text.strip_prefix("-l") {
            return Ok(match label_selector(selector)? {
                selector if selector.requirements.is_empty() => Self::All,
                selector => Self::Labels(Box::new(selector)),
            });
        }
        let (text, negated) = match text.strip_prefix('!') {
            Some(rest) => (rest.trim(), true),
            None => (text, false),
        };
        if text.is_empty() {
            return Ok(Self::All);
        }
        let exact_case = text.chars().any(char::is_uppercase);
        Ok(Self::Text { needle: text.into(), exact_case, negated })
    }

    /// Whether a row passes. `texts` shows the row's texts one by one until
    /// the closure it is given returns true.
    pub fn passes(
        &self,
        meta: Option<&Meta>,
        texts: impl FnOnce(&mut dyn FnMut(&str) -> bool),
    ) -> bool {
        match self {
            Self::All => true,
            Self::Labels(selector) => meta.is_some_and(|meta| selector.matches(&meta.labels)),
            Self::Text { needle, exact_case, negated } => {
                let mut found = false;
                texts(&mut |text| {
                    found = found || contains(text, needle, *exact_case);
                    found
                });
                found != *negated
            }
        }
    }
}

fn contains(text: &str, needle: &str, exact_case: bool) -> bool {
    if exact_case {
        return text.contains(needle);
    }
    let (text_bytes, needle_bytes) = (text.as_bytes(), needle.as_bytes());
    if text.is_ascii() || needle.is_ascii() {
        return text_bytes
            .windows(needle_bytes.len())
            .any(|window| window.eq_ignore_ascii_case(needle_bytes));
    }
    text.to_lowercase().contains(needle)
}

/// Reads `a=b,c!=d,e,!f`.
fn label_selector(text: &str) -> Result<LabelSelector, String> {
    let requirement = |part: &str| {
        let (key, operator, value) = if let Some((key, value)) = part.split_once("!=") {
            (key, Operator::NotIn, Some(value))
        } else if let Some((key, value)) = part.split_once('=') {
            (key, Operator::In, Some(value.trim_start_matches('=')))
        } else if let Some(key) = part.strip_prefix('!') {
            (key, Operator::DoesNotExist, None)
        } else {
            (part, Operator::Exists, None)
        };
        let key = key.trim();
        if key.is_empty() || key.contains(char::is_whitespace) {
            return Err(format!("`{part}` is no label selector; write `-l app=web,tier!=gold`"));
        }
        let values = value.map(|value| Arc::from(value.trim())).into_iter().collect();
        Ok(Requirement { key: key.into(), operator, values })
    };
    let parts = text.split(',').map(str::trim).filter(|part| !part.is_empty());
    Ok(LabelSelector { requirements: parts.map(requirement).collect::<Result<_, _>>()? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(filter: &str, texts: &[&str], expected: bool) {
        let filter = Filter::parse(filter).expect("is right");
        let passes = filter.passes(None, |see| {
            let _ = texts.iter().any(|text| see(text));
        });
        assert_eq!(passes, expected, "{filter:?} {texts:?}");
    }

    #[test]
    fn text_is_found_in_any_case_unless_typed_with_a_capital() {
        check("mysql", &["shop", "data-MySQL-0"], true);
        check("MySQL", &["data-mysql-0"], false);
        check("!mysql", &["shop", "data-mysql-0"], false);
        check("!mysql", &["shop"], true);
        check("", &["anything"], true);
        check("ÄÖ", &["aäÖ"], false);
        check("漢", &["漢字"], true);
    }

    #[test]
    fn labels_are_selected_as_kubectl_does() {
        let label = |key: &str, value: &str| (Arc::from(key), Arc::from(value));
        let meta =
            Meta { labels: [label("app", "web"), label("tier", "gold")].into(), ..Meta::default() };
        for (selector, expected) in [
            ("-l app=web", true),
            ("-l app==web,tier!=silver", true),
            ("-l app=web,tier!=gold", false),
            ("-l tier", true),
            ("-l !tier", false),
            ("-l", true),
        ] {
            let filter = Filter::parse(selector).expect("is right");
            assert_eq!(filter.passes(Some(&meta), |_| {}), expected, "{selector}");
        }
        assert!(Filter::parse("-l app in web").is_err());
    }
}
