//! What changed between two texts, line by line.

use serde::{Deserialize, Serialize};
use similar::{ChangeTag, TextDiff};

use crate::ui::theme::Role;

/// One line of a diff.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DiffLine {
    pub kind: DiffKind,
    pub text: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum DiffKind {
    Same,
    Added,
    Removed,
    /// Lines left out between two changes.
    Gap,
}

impl DiffKind {
    pub fn mark(self) -> &'static str {
        match self {
            Self::Same => " ",
            Self::Added => "+",
            Self::Removed => "-",
            Self::Gap => " ",
        }
    }

    pub fn role(self) -> Role {
        match self {
            Self::Same => Role::Text,
            Self::Added => Role::Added,
            Self::Removed => Role::Removed,
            Self::Gap => Role::Dim,
        }
    }
}

/// Lines shown around a change.
const AROUND: usize = 2;

/// The changed lines with those around them; empty if the texts are the same.
pub fn diff(before: &str, after: &str) -> Vec<DiffLine> {
    let diff = TextDiff::from_lines(before, after);
    let mut lines = Vec::new();
    for group in diff.grouped_ops(AROUND) {
        if !lines.is_empty() {
            lines.push(DiffLine { kind: DiffKind::Gap, text: "...".into() });
        }
        for change in group.iter().flat_map(|op| diff.iter_changes(op)) {
            let kind = match change.tag() {
                ChangeTag::Equal => DiffKind::Same,
                ChangeTag::Insert => DiffKind::Added,
                ChangeTag::Delete => DiffKind::Removed,
            };
            lines.push(DiffLine { kind, text: change.value().trim_end_matches('\n').to_owned() });
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changed_lines_stand_with_their_neighbours() {
        let before = "a\nb\nc\nd\ne\nf\n";
        let after = "a\nb\nc\nD\ne\nf\n";
        let shown: Vec<_> = diff(before, after)
            .into_iter()
            .map(|line| format!("{}{}", line.kind.mark(), line.text))
            .collect();
        assert_eq!(shown, [" b", " c", "-d", "+D", " e", " f"]);
        assert_eq!(diff(before, before), []);
    }
}
