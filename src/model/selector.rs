//! Label selectors and node selectors, as objects hold them.

use std::sync::Arc;

use serde_json::Value;

use crate::model::row;

/// `matchLabels` and `matchExpressions`, all of which must hold. Empty matches
/// everything.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct LabelSelector {
    pub requirements: Box<[Requirement]>,
}

/// The terms of a node selector, any of which suffices. No term, or a term
/// without expressions, matches nothing.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct NodeSelector {
    pub terms: Box<[Term]>,
}

/// Expressions on a node's labels and fields, all of which must hold.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Term {
    pub expressions: Box<[Requirement]>,
    pub fields: Box<[Requirement]>,
}

/// One expression: a key, an operator and values.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Requirement {
    pub key: Arc<str>,
    pub operator: Operator,
    pub values: Box<[Arc<str>]>,
}

/// The operators of both kinds of selector. An unknown one matches nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Operator {
    In,
    NotIn,
    Exists,
    DoesNotExist,
    Gt,
    Lt,
    Unknown,
}

impl LabelSelector {
    /// Reads a `LabelSelector`; `None` if there is none.
    pub fn from_json(value: &Value) -> Option<Self> {
        let selector = value.as_object()?;
        let labels = row::pairs(selector.get("matchLabels").unwrap_or(&Value::Null), |_| true);
        let labels = labels.into_iter().map(|(key, value)| Requirement {
            key,
            operator: Operator::In,
            values: Box::new([value]),
        });
        let expressions = requirements(selector.get("matchExpressions").unwrap_or(&Value::Null));
        Some(Self { requirements: labels.chain(expressions).collect() })
    }

    /// Whether these labels (sorted by key) meet every requirement.
    pub fn matches(&self, labels: &[(Arc<str>, Arc<str>)]) -> bool {
        self.why_not_match(labels).is_none()
    }

    /// The first requirement that these labels do not meet.
    pub fn why_not_match(&self, labels: &[(Arc<str>, Arc<str>)]) -> Option<&Requirement> {
        self.requirements.iter().find(|requirement| !requirement.holds(labels))
    }
}

impl NodeSelector {
    /// Reads a `NodeSelector`; `None` if there is none.
    pub fn from_json(value: &Value) -> Option<Self> {
        value.as_object()?;
        let terms = value["nodeSelectorTerms"].as_array().into_iter().flatten();
        Some(Self { terms: terms.map(Term::from_json).collect() })
    }

    /// Whether a node with these labels is selected, whatever its name.
    ///
    /// Upstream's check of a volume's affinity builds a node that carries only
    /// labels, and skips the fields of a term where a node has none: so a term
    /// of fields alone admits every node.
    pub fn matches_labels(&self, labels: &[(Arc<str>, Arc<str>)]) -> bool {
        self.terms.iter().any(|term| !term.is_empty() && term.matches_labels(labels))
    }

    /// Whether the node of this name with these labels is selected.
    pub fn matches_node(&self, name: &str, labels: &[(Arc<str>, Arc<str>)]) -> bool {
        self.terms.iter().any(|term| term.matches_node(name, labels))
    }
}

impl Term {
    /// Reads a `NodeSelectorTerm`.
    pub fn from_json(term: &Value) -> Self {
        Self {
            expressions: requirements(&term["matchExpressions"]).collect(),
            fields: requirements(&term["matchFields"]).collect(),
        }
    }

    /// Whether the node of this name with these labels meets all of the term;
    /// an empty one selects nothing.
    pub fn matches_node(&self, name: &str, labels: &[(Arc<str>, Arc<str>)]) -> bool {
        let named: [(Arc<str>, Arc<str>); 1] = [("metadata.name".into(), name.into())];
        !self.is_empty()
            && self.matches_labels(labels)
            && self.fields.iter().all(|requirement| requirement.holds(&named))
    }

    /// Whether it asks for nothing, and so selects nothing.
    pub fn is_empty(&self) -> bool {
        self.expressions.is_empty() && self.fields.is_empty()
    }

    fn matches_labels(&self, labels: &[(Arc<str>, Arc<str>)]) -> bool {
        self.expressions.iter().all(|requirement| requirement.holds(labels))
    }
}

impl Requirement {
    /// Whether labels (sorted by key) meet this requirement.
    pub fn holds(&self, labels: &[(Arc<str>, Arc<str>)]) -> bool {
        let value =
            labels.binary_search_by(|(key, _)| key.cmp(&self.key)).ok().map(|at| &labels[at].1);
        let number = |text: &str| text.parse::<i64>().ok();
        let bound = || number(self.values.first()?);
        match self.operator {
            Operator::In => value.is_some_and(|value| self.values.contains(value)),
            Operator::NotIn => value.is_none_or(|value| !self.values.contains(value)),
            Operator::Exists => value.is_some(),
            Operator::DoesNotExist => value.is_none(),
            Operator::Gt => value.and_then(|v| number(v)).zip(bound()).is_some_and(|(v, b)| v > b),
            Operator::Lt => value.and_then(|v| number(v)).zip(bound()).is_some_and(|(v, b)| v < b),
            Operator::Unknown => false,
        }
    }
}

fn requirements(list: &Value) -> impl Iterator<Item = Requirement> {
    list.as_array().into_iter().flatten().map(|expression| Requirement {
        key: expression["key"].as_str().unwrap_or_default().into(),
        operator: match expression["operator"].as_str().unwrap_or_default() {
            "In" => Operator::In,
            "NotIn" => Operator::NotIn,
            "Exists" => Operator::Exists,
            "DoesNotExist" => Operator::DoesNotExist,
            "Gt" => Operator::Gt,
            "Lt" => Operator::Lt,
            _ => Operator::Unknown,
        },
        values: row::strings(&expression["values"]),
    })
}
