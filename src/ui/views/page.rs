//! A page of text under construction: lines of styled words, wrapped to the
//! width of the screen.
//!
//! A page is a column of rows: each line is one, and each entry of a list, on
//! however many lines it stands. Lists may be long, so of theirs only what is
//! wanted is formatted; the few lines around them always are.

use std::ops::Range;

use ratatui::text::{Line, Span};

use crate::ui::data::Look;
use crate::ui::sign::Sign;
use crate::ui::state::Place;
use crate::ui::text::{self, Glyphs};
use crate::ui::theme::Role;

/// Cells kept for a time at the end of a line.
const TOOK: usize = 11;

/// Which part of a page is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    Whole,
    /// So many lines from a place on.
    From {
        place: Place,
        lines: usize,
    },
    /// The rows before this one, back to at least so many lines.
    Before {
        row: usize,
        lines: usize,
    },
}

/// Lines of styled text.
#[derive(Debug)]
pub struct Page<'a> {
    look: &'a Look,
    width: usize,
    part: Part,
    lines: Vec<Line<'static>>,
    /// The number of the row that comes next.
    row: usize,
    /// What is pushed belongs to an entry of a list, not to rows of its own.
    in_entry: bool,
    heights: Heights,
}

/// How many lines each of some rows takes.
#[derive(Debug, Default)]
pub struct Heights {
    /// The first row that is told of.
    pub first: usize,
    pub lines: Vec<usize>,
}

impl Heights {
    fn tell(&mut self, row: usize, lines: usize) {
        if self.lines.is_empty() {
            self.first = row;
        }
        self.lines.push(lines);
    }
}

impl<'a> Page<'a> {
    /// A page of which everything is wanted.
    pub fn new(look: &'a Look, width: usize) -> Self {
        Self::of_part(look, width, Part::Whole)
    }

    pub fn of_part(look: &'a Look, width: usize, part: Part) -> Self {
        let (lines, heights) = (Vec::new(), Heights::default());
        Self { look, width, part, lines, row: 0, in_entry: false, heights }
    }

    /// The lines that were wanted.
    pub fn into_lines(mut self) -> Vec<Line<'static>> {
        if let Part::From { place, lines } = self.part {
            self.lines.drain(..place.line.min(self.lines.len()));
            self.lines.truncate(lines);
        }
        self.lines
    }

    /// The heights of the rows that were wanted.
    pub fn into_heights(self) -> Heights {
        self.heights
    }

    /// Whether all that was wanted is there.
    fn is_full(&self) -> bool {
        match self.part {
            Part::Whole => false,
            Part::From { place, lines } => self.lines.len() >= place.line + lines,
            Part::Before { row, .. } => self.row >= row,
        }
    }

    /// Which of so many entries that come next are wanted.
    fn wanted(&self, count: usize) -> Range<usize> {
        let before = |row: usize| row.saturating_sub(self.row).min(count);
        match self.part {
            Part::Whole => 0..count,
            Part::From { place, .. } => before(place.row)..count,
            // Each entry takes at least a line.
            Part::Before { row, lines } => before(row).saturating_sub(lines)..before(row),
        }
    }

    /// Adds a line: a row of its own, unless an entry is being written.
    fn push(&mut self, line: Line<'static>) {
        if self.in_entry {
            return self.lines.push(line);
        }
        let wanted = !self.wanted(1).is_empty() && !self.is_full();
        if wanted {
            self.lines.push(line);
            self.heights.tell(self.row, 1);
        }
        self.row += 1;
    }

    /// The entries of a list, of which only those that are wanted are formatted.
    pub fn each<T>(&mut self, entries: &[T], mut format: impl FnMut(&mut Self, &T)) {
        if self.in_entry {
            return entries.iter().for_each(|entry| format(self, entry));
        }
        let (first, wanted) = (self.row, self.wanted(entries.len()));
        if matches!(self.part, Part::Before { .. }) && wanted.start > 0 {
            // What is left out is followed by lines enough.
            self.heights = Heights::default();
        }
        for at in wanted {
            self.row = first + at;
            if self.is_full() {
                break;
            }
            let before = self.lines.len();
            self.in_entry = true;
            format(self, &entries[at]);
            self.in_entry = false;
            self.heights.tell(self.row, self.lines.len() - before);
        }
        self.row = first + entries.len();
    }

    /// Cells of a line.
    pub fn width(&self) -> usize {
        self.width
    }

    /// How many lines there are already, on a page without lists.
    pub fn lines_so_far(&self) -> usize {
        self.row
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
        self.push(Line::from(spans));
    }

    /// One line as it is; what does not fit is reached by scrolling sideways.
    pub fn raw(&mut self, role: Role, text: &str) {
        let text = text.chars().map(|char| if char.is_control() { ' ' } else { char }).collect();
        let span = self.span(role, text);
        self.push(Line::from(span));
    }

    /// Text, wrapped, indented by a cell.
    pub fn say(&mut self, role: Role, text: &str) {
        self.indented(1, role, text);
    }

    /// Text, wrapped, indented.
    pub fn indented(&mut self, indent: usize, role: Role, text: &str) {
        for line in text::wrap(text, self.width.saturating_sub(indent + 1)) {
            let span = self.span(role, format!("{:indent$}{line}", ""));
            self.push(Line::from(span));
        }
    }

    /// Text after a word that stands out, wrapped below itself.
    pub fn after_word(&mut self, word: &str, role: Role, text: &str) {
        self.at_most(usize::MAX, role, word, text);
    }

    /// The same, cut after so many lines.
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
            self.push(Line::from(spans));
        }
    }

    pub fn blank(&mut self) {
        self.push(Line::default());
    }

    pub fn rule(&mut self) {
        let span = self.span(Role::Border, self.look.glyphs.rule().repeat(self.width));
        self.push(Line::from(span));
    }

    /// A heading of a part.
    pub fn heading(&mut self, text: &str) {
        self.say(Role::Heading, text);
    }

    /// ` * name       text`, the text wrapped below itself.
    pub fn signed(&mut self, sign: Sign, name: &str, name_width: usize, text: &str) {
        let lines = self.signed_lines(sign, name, name_width, text, self.width);
        lines.into_iter().for_each(|line| self.push(line));
    }

    /// As [`Page::signed`], with a time at the right end of the first line.
    pub fn timed(&mut self, sign: Sign, name: &str, name_width: usize, text: &str, took: &str) {
        // All lines leave the room, so that the times stand by themselves.
        let room = self.width.saturating_sub(TOOK);
        let mut lines = self.signed_lines(sign, name, name_width, text, room);
        if let Some(first) = lines.first_mut() {
            let pad = self.width.saturating_sub(first.width() + text::width(took) + 1);
            first.spans.push(self.span(Role::Dim, format!("{:pad$}{took}", "")));
        }
        lines.into_iter().for_each(|line| self.push(line));
    }

    fn signed_lines(
        &self,
        sign: Sign,
        name: &str,
        name_width: usize,
        text: &str,
        width: usize,
    ) -> Vec<Line<'static>> {
        let indent = 4 + name_width;
        let role = match sign {
            Sign::NotYet => Role::Dim,
            _ => Role::Text,
        };
        let mut wrapped = text::wrap(text, width.saturating_sub(indent + 1)).into_iter();
        let name = text::fit(name, name_width.saturating_sub(1), self.look.glyphs).into_owned();
        let pad = name_width.saturating_sub(text::width(&name));
        let first = vec![
            self.span(sign.role(), format!(" {} ", sign.mark())),
            self.span(role, format!("{name}{:pad$} ", "")),
            self.span(role, wrapped.next().unwrap_or_default()),
        ];
        let rest = wrapped.map(|line| self.span(role, format!("{:indent$}{line}", "")));
        std::iter::once(Line::from(first)).chain(rest.map(Line::from)).collect()
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
        self.push(Line::from(spans));
        for line in wrapped {
            let span = self.span(role, format!("{:indent$}{line}", ""));
            self.push(Line::from(span));
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
        self.push(Line::from(first));
        for line in wrapped {
            let span = self.span(Role::Text, format!("{:1$}{line}", "", LABEL + 1));
            self.push(Line::from(span));
        }
    }
}
