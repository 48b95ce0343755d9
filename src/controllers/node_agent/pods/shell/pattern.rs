//! File name patterns: `*`, `?`, `[abc]`, `[!abc]`. Pure.

/// Whether a text is a pattern at all.
pub fn is_pattern(text: &str) -> bool {
    text.contains(['*', '?', '['])
}

/// Whether a file's name matches. A leading dot has to be named.
pub fn matches(pattern: &str, name: &str) -> bool {
    let hidden = name.starts_with('.') && !pattern.starts_with('.');
    let (pattern, name): (Vec<char>, Vec<char>) =
        (pattern.chars().collect(), name.chars().collect());
    !hidden && fits(&pattern, &name)
}

fn fits(pattern: &[char], name: &[char]) -> bool {
    match (pattern, name) {
        ([], []) => true,
        (['*', rest @ ..], _) => (0..=name.len()).any(|skipped| fits(rest, &name[skipped..])),
        (['?', rest @ ..], [_, left @ ..]) => fits(rest, left),
        (['[', rest @ ..], [first, left @ ..]) => match rest.iter().position(|c| *c == ']') {
            Some(end) => {
                let (negated, set) = match rest[..end] {
                    ['!', ref set @ ..] => (true, set),
                    ref set => (false, set),
                };
                set.contains(first) != negated && fits(&rest[end + 1..], left)
            }
            None => *first == '[' && fits(rest, left),
        },
        ([wanted, rest @ ..], [first, left @ ..]) => wanted == first && fits(rest, left),
        (_, _) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_match_as_in_a_shell() {
        for (pattern, name, expected) in [
            ("*", "a", true),
            ("*", ".a", false),
            (".[!.]*", ".a", true),
            (".[!.]*", "..a", false),
            ("..?*", "..a", true),
            ("..?*", "..", false),
            ("a?c", "abc", true),
            ("*.txt", "file.txt", true),
            ("*.txt", "file.text", false),
            ("[ab]", "b", true),
            ("[", "[", true),
        ] {
            assert_eq!(matches(pattern, name), expected, "{pattern} {name}");
        }
    }
}
