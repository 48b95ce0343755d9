//! A page of text under construction: lines of styled words, wrapped to the
//! width of the screen.

use ratatui::text::{Line, Span};

use crate::ui::data::Look;
use crate::ui::sign::Sign;
use crate::ui::text::{self, Glyphs};
use crate::ui::theme::Role;

/// Cells kept for a time at the end of a line.
const TOOK: usize = 11;

/// Lines of styled text.
#[derive(Debug)]
pub struct Page<'a> {
    look: &'a Look,
    width: usize,
    lines: Vec<Line<'static>>,
}

impl<'a> Page<'a> {
    pub fn new(look: &'a Look, width: usize) -> Self {
        Self { look, width, lines: Vec::new() }
    }

    pub fn into_lines(self) -> Vec<Line<'static>> {
        self.lines
    }

    /// Cells of a line.
    pub fn width(&self) -> usize {
        self.width
    }

    /// How many lines there are already.
    pub fn lines_so_far(&self) -> usize {
        self.lines.len()
    }

    pub fn glyphs(&self) -> Glyphs {
        self.look.glyphs
    }

    fn span(&self, role: Role, text: String) -> Span<'static> {
        Span::styled(text, self.look.theme.style(role))
    }

    /// One line of several pieces, not wrapped.
    pub fn pieces(&mut self, pieces: &[(Role, &str)]) {
        let mut left = self.width;
        let mut spans = Vec::new();
        for (role, piece) in pieces {
            let piece = text::fit(piece, left, self.look.glyphs).into_owned();
            left = left.saturating_sub(text::width(&piece));
            spans.push(self.span(*role, piece));
        }
        self.lines.push(Line::from(spans));
    }

    /// One line as it is; what does not fit is reached by scrolling sideways.
    pub fn raw(&mut self, role: Role, text: &str) {
        let text = text.chars().map(|char| if char.is_control() { ' ' } else { char }).collect();
        let span = self.span(role, text);
        self.lines.push(Line::from(span));
    }

    /// Text, wrapped, indented by a cell.
    pub fn say(&mut self, role: Role, text: &str) {
        self.indented(1, role, text);
    }

    /// Text, wrapped, indented.
    pub fn indented(&mut self, indent: usize, role: Role, text: &str) {
        for line in text::wrap(text, self.width.saturating_sub(indent + 1)) {
            let span = self.span(role, format!("{:indent$}{line}", ""));
            self.lines.push(Line::from(span));
        }
    }

    /// Text after a word that stands out, wrapped, cut after so many lines.
    pub fn at_most(&mut self, lines: usize, role: Role, word: &str, text: &str) {
        let indent = 1 + text::width(word);
        let room = self.width.saturating_sub(indent + 1);
        let mut wrapped = text::wrap(text, room);
        if wrapped.len() > lines {
            let rest = wrapped.split_off(lines.saturating_sub(1)).join(" ");
            wrapped.push(text::fit(&rest, room, self.look.glyphs).into_owned());
        }
        for (at, line) in wrapped.into_iter().enumerate() {
            let before = if at == 0 { format!(" {word}") } else { format!("{:indent$}", "") };
            let spans = vec![self.span(Role::Title, before), self.span(role, line)];
            self.lines.push(Line::from(spans));
        }
    }

    pub fn blank(&mut self) {
        self.lines.push(Line::default());
    }

    pub fn rule(&mut self) {
        let span = self.span(Role::Border, self.look.glyphs.rule().repeat(self.width));
        self.lines.push(Line::from(span));
    }

    /// A heading of a part.
    pub fn heading(&mut self, text: &str) {
        self.say(Role::Heading, text);
    }

    /// ` * name       text`, the text wrapped below itself.
    pub fn signed(&mut self, sign: Sign, name: &str, name_width: usize, text: &str) {
        let indent = 4 + name_width;
        let role = match sign {
            Sign::NotYet => Role::Dim,
            _ => Role::Text,
        };
        let mut wrapped = text::wrap(text, self.width.saturating_sub(indent + 1)).into_iter();
        let name = text::fit(name, name_width.saturating_sub(1), self.look.glyphs).into_owned();
        let pad = name_width.saturating_sub(text::width(&name));
        let first = vec![
            self.span(sign.role(), format!(" {} ", sign.mark())),
            self.span(role, format!("{name}{:pad$} ", "")),
            self.span(role, wrapped.next().unwrap_or_default()),
        ];
        self.lines.push(Line::from(first));
        for line in wrapped {
            let span = self.span(role, format!("{:indent$}{line}", ""));
            self.lines.push(Line::from(span));
        }
    }

    /// As [`Page::signed`], with a time at the right end of the first line.
    pub fn timed(&mut self, sign: Sign, name: &str, name_width: usize, text: &str, took: &str) {
        let whole = self.width;
        // All lines leave the room, so that the times stand by themselves.
        self.width = whole.saturating_sub(TOOK);
        let first = self.lines.len();
        self.signed(sign, name, name_width, text);
        self.width = whole;
        let pad = whole.saturating_sub(self.lines[first].width() + text::width(took) + 1);
        let took = self.span(Role::Dim, format!("{:pad$}{took}", ""));
        self.lines[first].spans.push(took);
    }

    /// Columns of a given width, then text that is wrapped below itself.
    pub fn columns(&mut self, first: &[(Role, String, usize)], role: Role, text: &str) {
        let indent = 1 + first.iter().map(|(_, _, width)| width).sum::<usize>();
        let mut wrapped = text::wrap(text, self.width.saturating_sub(indent + 1)).into_iter();
        let mut spans = vec![self.span(Role::Text, " ".into())];
        for (role, text, width) in first {
            let pad = width.saturating_sub(text::width(text));
            spans.push(self.span(*role, format!("{text}{:pad$}", "")));
        }
        spans.push(self.span(role, wrapped.next().unwrap_or_default()));
        self.lines.push(Line::from(spans));
        for line in wrapped {
            let span = self.span(role, format!("{:indent$}{line}", ""));
            self.lines.push(Line::from(span));
        }
    }

    /// ` label       text`, the text wrapped below itself.
    pub fn fact(&mut self, label: &str, text: &str) {
        const LABEL: usize = 14;
        let mut wrapped = text::wrap(text, self.width.saturating_sub(LABEL + 2)).into_iter();
        let first = vec![
            self.span(Role::Dim, format!(" {label:<LABEL$}")),
            self.span(Role::Text, wrapped.next().unwrap_or_default()),
        ];
        self.lines.push(Line::from(first));
        for line in wrapped {
            let span = self.span(Role::Text, format!("{:1$}{line}", "", LABEL + 1));
            self.lines.push(Line::from(span));
        }
    }
}
