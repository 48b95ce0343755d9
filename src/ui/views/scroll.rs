//! Scrolling through a page of text of which only the seen part is formatted:
//! moves by lines are worked out from the heights of the rows that they pass.

use ratatui::text::Line;

use crate::ui::state::Place;
use crate::ui::views::page::{Heights, Page, Part};

/// A page that is written part by part, and how many of its lines are seen.
pub struct Scroll<'a, W: Fn(Part) -> Page<'a>> {
    pub write: W,
    pub lines: usize,
}

impl<'a, W: Fn(Part) -> Page<'a>> Scroll<'a, W> {
    /// What is seen from a place on; at the end of the page what fits there.
    pub fn seen(&self, place: Place) -> Vec<Line<'static>> {
        let from = |place| (self.write)(Part::From { place, lines: self.lines }).into_lines();
        let seen = from(place);
        match seen.len() < self.lines && place > Place::default() {
            true => from(self.end().min(place)),
            false => seen,
        }
    }

    /// The place where the last lines of the page fill the screen.
    pub fn end(&self) -> Place {
        back(&self.before(usize::MAX, self.lines), self.lines)
    }

    /// So many lines further down, and not beyond the end.
    pub fn down(&self, from: Place, by: usize) -> Place {
        let heights = (self.write)(Part::From { place: from, lines: by }).into_heights();
        let mut left = from.line + by;
        let mut row = from.row;
        for lines in heights.lines {
            if left < lines {
                break;
            }
            left -= lines;
            row += 1;
        }
        Place { row, line: left }.min(self.end())
    }

    /// So many lines further up.
    pub fn up(&self, from: Place, by: usize) -> Place {
        // The page may have become shorter under the reader.
        let from = from.min(self.end());
        match by.checked_sub(from.line) {
            None | Some(0) => Place { line: from.line - by, ..from },
            Some(by) => back(&self.before(from.row, by), by),
        }
    }

    fn before(&self, row: usize, lines: usize) -> Heights {
        (self.write)(Part::Before { row, lines }).into_heights()
    }
}

/// The place so many lines before the end of these rows; the top if they are
/// fewer.
fn back(rows: &Heights, by: usize) -> Place {
    let mut left = by;
    for (at, lines) in rows.lines.iter().enumerate().rev() {
        if *lines >= left {
            return Place { row: rows.first + at, line: lines - left };
        }
        left -= lines;
    }
    Place::default()
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use proptest::prelude::*;

    use super::*;
    use crate::ui::data::Look;
    use crate::ui::text::Glyphs;
    use crate::ui::theme::{Role, Theme};

    /// Lines, and lists with the height of each entry.
    #[derive(Debug, Clone)]
    enum Block {
        Lines(usize),
        List(Vec<usize>),
    }

    fn blocks() -> impl Strategy<Value = Vec<Block>> {
        let list = prop::collection::vec(1..5usize, 0..40).prop_map(Block::List);
        let block = prop_oneof![(0..4usize).prop_map(Block::Lines), list];
        prop::collection::vec(block, 0..5)
    }

    fn look() -> Look {
        let theme = Theme::built_in("mono").expect("a theme");
        Look { theme, glyphs: Glyphs::Ascii }
    }

    fn write<'a>(
        look: &'a Look,
        blocks: &[Block],
        part: Part,
        formatted: &Cell<usize>,
    ) -> Page<'a> {
        let mut page = Page::of_part(look, 40, part);
        for (at, block) in blocks.iter().enumerate() {
            match block {
                Block::Lines(lines) => {
                    (0..*lines).for_each(|line| page.raw(Role::Text, &format!("{at} {line}")));
                }
                Block::List(heights) => {
                    let entries: Vec<_> = heights.iter().enumerate().collect();
                    page.each(&entries, |page, (entry, height)| {
                        formatted.set(formatted.get() + 1);
                        let line = |line| format!("{at} entry {entry} {line}");
                        (0..**height).for_each(|at| page.raw(Role::Text, &line(at)));
                    });
                }
            }
        }
        page
    }

    fn texts(lines: &[Line<'_>]) -> Vec<String> {
        lines.iter().map(ToString::to_string).collect()
    }

    proptest! {
        /// Where one is after some moves is where one would be in the whole page,
        /// and no move formats more entries than a few screens have lines.
        #[test]
        fn moving_is_as_on_the_whole_page(
            blocks in blocks(),
            lines in 1..12usize,
            moves in prop::collection::vec((any::<bool>(), 1..15usize), 1..12),
        ) {
            let (look, formatted) = (look(), Cell::new(0));
            let whole = write(&look, &blocks, Part::Whole, &formatted).into_lines();
            let whole = texts(&whole);
            let last = whole.len().saturating_sub(lines);
            let write = |part| write(&look, &blocks, part, &formatted);
            let scroll = Scroll { write, lines };
            let (mut place, mut line) = (Place::default(), 0usize);
            for (down, by) in moves {
                formatted.set(0);
                (place, line) = match down {
                    true => (scroll.down(place, by), (line + by).min(last)),
                    false => (scroll.up(place, by), line.saturating_sub(by)),
                };
                let seen = texts(&scroll.seen(place));
                prop_assert_eq!(&seen[..], &whole[line..(line + lines).min(whole.len())]);
                let lists = blocks.len();
                prop_assert!(formatted.get() <= (2 + lists) * (by + 2 * lines + 2));
            }
            prop_assert_eq!(texts(&scroll.seen(scroll.end())), &whole[last..]);
        }
    }

    #[test]
    fn place_beyond_a_page_that_became_shorter_shows_its_end() {
        let (look, formatted) = (look(), Cell::new(0));
        let blocks = [Block::List(vec![2; 10])];
        let scroll = Scroll { write: |part| write(&look, &blocks, part, &formatted), lines: 4 };
        let gone = Place { row: 400, line: 1 };
        assert_eq!(texts(&scroll.seen(gone)), texts(&scroll.seen(Place { row: 8, line: 0 })));
        assert_eq!(scroll.up(gone, 1), Place { row: 7, line: 1 });
    }
}
