//! Text in cells: widths, cutting short, and the few signs that ASCII
//! terminals need otherwise.

use std::borrow::Cow;

use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

/// Which characters the terminal can show.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum Glyphs {
    Unicode,
    Ascii,
}

impl Glyphs {
    /// The mark of text that was cut short.
    pub fn ellipsis(self) -> &'static str {
        match self {
            Self::Unicode => "…",
            Self::Ascii => "~",
        }
    }

    /// A horizontal rule's character.
    pub fn rule(self) -> &'static str {
        match self {
            Self::Unicode => "─",
            Self::Ascii => "-",
        }
    }

    pub fn ascending(self) -> &'static str {
        match self {
            Self::Unicode => "↑",
            Self::Ascii => "^",
        }
    }

    pub fn descending(self) -> &'static str {
        match self {
            Self::Unicode => "↓",
            Self::Ascii => "v",
        }
    }
}

/// Cells that a text takes.
pub fn width(text: &str) -> usize {
    text.width()
}

/// Text that fits into `cells`, marked if something was cut off.
pub fn fit(text: &str, cells: usize, glyphs: Glyphs) -> Cow<'_, str> {
    if width(text) <= cells {
        return clean(text);
    }
    if cells == 0 {
        return Cow::Borrowed("");
    }
    let mut kept = String::new();
    let mut used = 0;
    for char in text.chars() {
        let char = shown(char);
        let wide = char.width().unwrap_or(0);
        if used + wide + 1 > cells {
            break;
        }
        used += wide;
        kept.push(char);
    }
    kept.push_str(glyphs.ellipsis());
    Cow::Owned(kept)
}

/// A path that fits into `cells`, `..` for its first parts; at least its last
/// part, which tells paths of a kubelet apart.
pub fn short_path(path: &str, cells: usize) -> String {
    if width(path) <= cells {
        return path.to_owned();
    }
    let parts: Vec<&str> = path.split('/').collect();
    let mut short = format!("../{}", parts.last().copied().unwrap_or_default());
    for from in (1..parts.len().saturating_sub(1)).rev() {
        let longer = format!("../{}", parts[from..].join("/"));
        if width(&longer) > cells {
            break;
        }
        short = longer;
    }
    short
}

/// Control characters from an object must never reach the terminal.
fn clean(text: &str) -> Cow<'_, str> {
    if text.chars().any(char::is_control) {
        Cow::Owned(text.chars().map(shown).collect())
    } else {
        Cow::Borrowed(text)
    }
}

fn shown(char: char) -> char {
    if char.is_control() { ' ' } else { char }
}

/// Breaks text at spaces into lines of at most `cells`.
pub fn wrap(text: &str, cells: usize) -> Vec<String> {
    let mut lines = Vec::new();
    let mut line = String::new();
    for word in text.split_whitespace() {
        let mut word = word;
        while width(&line) + usize::from(!line.is_empty()) + width(word) > cells {
            if !line.is_empty() {
                lines.push(std::mem::take(&mut line));
                continue;
            }
            let cut = cut_at(word, cells.max(1));
            lines.push(word[..cut].to_owned());
            word = &word[cut..];
        }
        if !line.is_empty() && !word.is_empty() {
            line.push(' ');
        }
        line.push_str(word);
    }
    if !line.is_empty() || lines.is_empty() {
        lines.push(line);
    }
    lines
}

/// The byte at which the first `cells` of a text end; at least one character.
fn cut_at(text: &str, cells: usize) -> usize {
    let mut used = 0;
    for (at, char) in text.char_indices() {
        used += char.width().unwrap_or(0);
        if used > cells && at > 0 {
            return at;
        }
    }
    text.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_cut_by_cells_not_by_characters() {
        assert_eq!(fit("data", 4, Glyphs::Unicode), "data");
        assert_eq!(fit("database", 5, Glyphs::Unicode), "data…");
        assert_eq!(fit("漢字漢字", 5, Glyphs::Unicode), "漢字…");
        assert_eq!(fit("漢字漢字", 4, Glyphs::Ascii), "漢~");
        assert_eq!(fit("x", 0, Glyphs::Ascii), "");
    }

    #[test]
    fn paths_are_cut_in_front() {
        let path = "/var/lib/kubelet/pods/5f1c/volumes/kubernetes.io~nfs/pv-1";
        assert_eq!(short_path(path, 80), path);
        assert_eq!(short_path(path, 30), "../kubernetes.io~nfs/pv-1");
        assert_eq!(short_path(path, 5), "../pv-1");
        assert_eq!(short_path("", 5), "");
    }

    #[test]
    fn control_characters_do_not_reach_the_screen() {
        assert_eq!(fit("a\x1b[31mb", 20, Glyphs::Ascii), "a [31mb");
    }

    #[test]
    fn words_wrap_and_long_ones_break() {
        assert_eq!(wrap("too small: 1Gi", 9), ["too", "small:", "1Gi"]);
        assert_eq!(wrap("abcdefgh ij", 4), ["abcd", "efgh", "ij"]);
        assert_eq!(wrap("", 4), [""]);
        assert_eq!(wrap("漢字漢", 1).len(), 3);
    }
}
