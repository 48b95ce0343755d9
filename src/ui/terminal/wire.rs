//! What goes over the line: a `ratatui` backend that encodes a frame into as
//! few bytes as it can and sends it with one write.
//!
//! ```text
//! changed cells -> encode -> one buffer per frame -> flush: one write, or none
//! ```
//!
//! The library's own backend writes each cell by itself, resets all colours
//! with several sequences after each frame even if nothing changed, hides the
//! cursor each time, and names the 16 colours by the long form that serial
//! consoles do not know. None of that here.

use std::io::{self, Write};

use ratatui::backend::{Backend, ClearType, WindowSize};
use ratatui::buffer::{Buffer, Cell};
use ratatui::layout::{Position, Rect, Size};
use ratatui::style::{Color, Modifier};

/// How many colours the terminal takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ColorDepth {
    /// No colour sequence is ever sent: bold, underline and reverse only.
    Mono,
    /// The terminal's own 16, in their short codes (30-37, 90-97).
    Sixteen,
    /// Direct colour.
    True,
}

/// Bytes gathered before anything is sent; a whole first frame fits.
const BUFFER_BYTES: usize = 64 * 1024;

/// Blank cells in a row from which erasing them is shorter than writing them.
const BLANKS_WORTH_ERASING: usize = 10;

/// A backend that sends each frame as one write to `out`.
#[derive(Debug)]
pub struct Wire<W: Write> {
    out: W,
    frame: Vec<u8>,
    size: Size,
    depth: ColorDepth,
    /// The terminal said that it holds back drawing between the brackets.
    synchronized: bool,
    /// Whether the terminal shows its cursor, as far as it was told by us.
    cursor_shown: bool,
    cursor: Position,
    /// What the terminal shows. Knowing the cells between two changes, they can
    /// be written over where that is shorter than going past them.
    shown: Buffer,
}

impl<W: Write> Wire<W> {
    /// A backend for a terminal of this size whose cursor is hidden already.
    pub fn new(out: W, size: Size, depth: ColorDepth) -> Self {
        Self {
            out,
            frame: Vec::with_capacity(BUFFER_BYTES),
            size,
            depth,
            synchronized: false,
            cursor_shown: false,
            cursor: Position::ORIGIN,
            shown: Buffer::empty(Rect::from((Position::ORIGIN, size))),
        }
    }

    /// The size that the next frame is drawn for. The terminal is not asked
    /// each time: the window-change signal tells.
    pub fn set_size(&mut self, size: Size) {
        self.size = size;
        self.shown = Buffer::empty(Rect::from((Position::ORIGIN, size)));
    }

    /// Brackets each frame from now on (mode 2026). To be called only after
    /// the terminal confirmed that it knows the mode.
    pub fn set_synchronized(&mut self, synchronized: bool) {
        self.synchronized = synchronized;
    }

    /// Puts a sequence into the next frame.
    pub fn queue(&mut self, sequence: &str) {
        self.frame.extend_from_slice(sequence.as_bytes());
    }

    /// The writer, for tests that count.
    pub fn out(&self) -> &W {
        &self.out
    }

    fn encode(&mut self, cells: &[(u16, u16, &Cell)]) {
        let mut pen = Pen::default();
        let mut at: Option<Position> = None;
        let mut rest = cells;
        while let Some((&(x, y, cell), tail)) = rest.split_first() {
            self.go_to(at, Position { x, y }, &pen);
            let (blanks, changed) = self.blanks_from(rest);
            if blanks >= BLANKS_WORTH_ERASING {
                pen.set(&mut self.frame, &Cell::EMPTY, self.depth);
                let _ = write!(self.frame, "\x1b[{blanks}X");
                at = Some(Position { x, y });
                rest = &rest[changed..];
                continue;
            }
            pen.set(&mut self.frame, cell, self.depth);
            self.frame.extend_from_slice(cell.symbol().as_bytes());
            let width = unicode_width::UnicodeWidthStr::width(cell.symbol()).max(1) as u16;
            // Past the last column terminals differ about where the cursor is.
            at = (x + width < self.size.width).then_some(Position { x: x + width, y });
            rest = tail;
        }
        pen.set(&mut self.frame, &Cell::EMPTY, self.depth);
        for (x, y, cell) in cells {
            if let Some(shown) = self.shown.cell_mut((*x, *y)) {
                *shown = (*cell).clone();
            }
        }
    }

    fn go_to(&mut self, from: Option<Position>, to: Position, pen: &Pen) {
        let _ = match from {
            Some(from) if from == to => Ok(()),
            Some(from) if from.y == to.y && to.x > from.x => {
                if self.write_over(from, to, pen) {
                    return;
                }
                match to.x - from.x {
                    1 => write!(self.frame, "\x1b[C"),
                    cells => write!(self.frame, "\x1b[{cells}C"),
                }
            }
            _ if to.x == 0 => write!(self.frame, "\x1b[{}H", to.y + 1),
            _ => write!(self.frame, "\x1b[{};{}H", to.y + 1, to.x + 1),
        };
    }

    /// Writes the few cells between two changes once more, if they look as the
    /// pen writes; false if they do not.
    fn write_over(&mut self, from: Position, to: Position, pen: &Pen) -> bool {
        const CELLS_MAX: u16 = 4;
        if to.x - from.x > CELLS_MAX {
            return false;
        }
        let between = (from.x..to.x).map(|x| self.shown.cell((x, to.y)));
        let mut symbols = String::new();
        for cell in between {
            match cell {
                Some(cell) if cell.symbol().is_ascii() && *pen == Pen::of(cell, self.depth) => {
                    symbols.push_str(cell.symbol());
                }
                _ => return false,
            }
        }
        self.frame.extend_from_slice(symbols.as_bytes());
        true
    }

    /// How many cells from the first are blank and unstyled, those between
    /// changes included, and how many changes that covers.
    fn blanks_from(&self, cells: &[(u16, u16, &Cell)]) -> (usize, usize) {
        let Some(&(first, row, _)) = cells.first() else { return (0, 0) };
        let blank = |cell: &Cell| {
            cell.symbol() == " " && cell.bg == Color::Reset && cell.modifier.is_empty()
        };
        let (mut blanks, mut changed) = (0, 0);
        let mut next = first;
        for (x, y, cell) in cells {
            let between = next..*x;
            let open = *y == row
                && *x >= next
                && between.clone().all(|x| self.shown.cell((x, row)).is_some_and(blank))
                && blank(cell);
            if !open {
                break;
            }
            next = x + 1;
            changed += 1;
            blanks = usize::from(next - first);
        }
        (blanks, changed)
    }
}

/// The style that the terminal writes with.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
struct Pen {
    fg: Color,
    bg: Color,
    modifier: Modifier,
}

impl Pen {
    fn of(cell: &Cell, depth: ColorDepth) -> Self {
        let (fg, bg) = match depth {
            ColorDepth::Mono => (Color::Reset, Color::Reset),
            ColorDepth::Sixteen | ColorDepth::True => (cell.fg, cell.bg),
        };
        Self { fg, bg, modifier: cell.modifier }
    }

    /// Switches to a cell's style by the shortest sequence: additions alone
    /// where they suffice, else from the beginning.
    fn set(&mut self, frame: &mut Vec<u8>, cell: &Cell, depth: ColorDepth) {
        let wanted = Pen::of(cell, depth);
        if wanted == *self {
            return;
        }
        let mut codes = String::new();
        let only_adds = wanted.modifier.contains(self.modifier);
        let mut from = *self;
        if wanted == Pen::default() {
            frame.extend_from_slice(b"\x1b[m");
            *self = wanted;
            return;
        }
        if !only_adds {
            codes.push_str("0;");
            from = Pen::default();
        }
        for (flag, code) in MODIFIERS {
            if wanted.modifier.contains(flag) && !from.modifier.contains(flag) {
                codes.push_str(code);
                codes.push(';');
            }
        }
        if wanted.fg != from.fg {
            color_code(&mut codes, wanted.fg, 30, depth);
        }
        if wanted.bg != from.bg {
            color_code(&mut codes, wanted.bg, 40, depth);
        }
        let _ = write!(frame, "\x1b[{}m", codes.trim_end_matches(';'));
        *self = wanted;
    }
}

const MODIFIERS: [(Modifier, &str); 5] = [
    (Modifier::BOLD, "1"),
    (Modifier::DIM, "2"),
    (Modifier::ITALIC, "3"),
    (Modifier::UNDERLINED, "4"),
    (Modifier::REVERSED, "7"),
];

/// Appends the code of a colour; `base` is 30 for the foreground, 40 for the
/// background.
fn color_code(codes: &mut String, color: Color, base: u8, depth: ColorDepth) {
    use std::fmt::Write as _;
    let color = match (color, depth) {
        (Color::Rgb(r, g, b), ColorDepth::Sixteen) => nearest_of_sixteen(r, g, b),
        (color, _) => color,
    };
    let short = |at: u8| if at < 8 { base + at } else { base + 60 + at - 8 };
    let _ = match color {
        Color::Rgb(r, g, b) => write!(codes, "{};2;{r};{g};{b};", base + 8),
        Color::Indexed(at) if at > 15 => write!(codes, "{};5;{at};", base + 8),
        color => match ansi_index(color) {
            Some(at) => write!(codes, "{};", short(at)),
            None => write!(codes, "{};", base + 9),
        },
    };
}

/// Where a named colour stands among the 16; none for the terminal's own.
fn ansi_index(color: Color) -> Option<u8> {
    Some(match color {
        Color::Black => 0,
        Color::Red => 1,
        Color::Green => 2,
        Color::Yellow => 3,
        Color::Blue => 4,
        Color::Magenta => 5,
        Color::Cyan => 6,
        Color::Gray => 7,
        Color::DarkGray => 8,
        Color::LightRed => 9,
        Color::LightGreen => 10,
        Color::LightYellow => 11,
        Color::LightBlue => 12,
        Color::LightMagenta => 13,
        Color::LightCyan => 14,
        Color::White => 15,
        Color::Indexed(at) => at,
        Color::Reset | Color::Rgb(..) => return None,
    })
}

/// The nearest of the 16 colours in their usual values.
fn nearest_of_sixteen(r: u8, g: u8, b: u8) -> Color {
    const USUAL: [(Color, [u8; 3]); 16] = [
        (Color::Black, [0, 0, 0]),
        (Color::Red, [205, 0, 0]),
        (Color::Green, [0, 205, 0]),
        (Color::Yellow, [205, 205, 0]),
        (Color::Blue, [0, 0, 238]),
        (Color::Magenta, [205, 0, 205]),
        (Color::Cyan, [0, 205, 205]),
        (Color::Gray, [229, 229, 229]),
        (Color::DarkGray, [127, 127, 127]),
        (Color::LightRed, [255, 0, 0]),
        (Color::LightGreen, [0, 255, 0]),
        (Color::LightYellow, [255, 255, 0]),
        (Color::LightBlue, [92, 92, 255]),
        (Color::LightMagenta, [255, 0, 255]),
        (Color::LightCyan, [0, 255, 255]),
        (Color::White, [255, 255, 255]),
    ];
    let far = |of: [u8; 3]| -> u32 {
        of.into_iter().zip([r, g, b]).map(|(a, b)| u32::from(a.abs_diff(b)).pow(2)).sum()
    };
    USUAL.into_iter().min_by_key(|(_, rgb)| far(*rgb)).map_or(Color::Reset, |(color, _)| color)
}

impl<W: Write> Backend for Wire<W> {
    type Error = io::Error;

    fn draw<'a, I>(&mut self, content: I) -> io::Result<()>
    where
        I: Iterator<Item = (u16, u16, &'a Cell)>,
    {
        let cells: Vec<_> = content.collect();
        if !cells.is_empty() {
            self.encode(&cells);
        }
        Ok(())
    }

    fn hide_cursor(&mut self) -> io::Result<()> {
        if std::mem::replace(&mut self.cursor_shown, false) {
            self.queue("\x1b[?25l");
        }
        Ok(())
    }

    fn show_cursor(&mut self) -> io::Result<()> {
        if !std::mem::replace(&mut self.cursor_shown, true) {
            self.queue("\x1b[?25h");
        }
        Ok(())
    }

    fn get_cursor_position(&mut self) -> io::Result<Position> {
        Ok(self.cursor)
    }

    fn set_cursor_position<P: Into<Position>>(&mut self, position: P) -> io::Result<()> {
        let position = position.into();
        // Drawing leaves the cursor anywhere, so a frame with cells moves it back.
        if position != self.cursor || !self.frame.is_empty() {
            self.go_to(None, position, &Pen::default());
        }
        self.cursor = position;
        Ok(())
    }

    fn clear(&mut self) -> io::Result<()> {
        self.shown.reset();
        self.queue("\x1b[m\x1b[2J");
        Ok(())
    }

    fn clear_region(&mut self, region: ClearType) -> io::Result<()> {
        self.shown.reset();
        self.queue(match region {
            ClearType::All => "\x1b[m\x1b[2J",
            ClearType::AfterCursor => "\x1b[m\x1b[J",
            ClearType::BeforeCursor => "\x1b[m\x1b[1J",
            ClearType::CurrentLine => "\x1b[m\x1b[2K",
            ClearType::UntilNewLine => "\x1b[m\x1b[K",
        });
        Ok(())
    }

    fn size(&self) -> io::Result<Size> {
        Ok(self.size)
    }

    fn window_size(&mut self) -> io::Result<WindowSize> {
        Ok(WindowSize { columns_rows: self.size, pixels: Size::new(0, 0) })
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.frame.is_empty() {
            return Ok(());
        }
        let sent = if self.synchronized {
            let mut bracketed = Vec::with_capacity(self.frame.len() + 16);
            bracketed.extend_from_slice(b"\x1b[?2026h");
            bracketed.append(&mut self.frame);
            bracketed.extend_from_slice(b"\x1b[?2026l");
            self.out.write_all(&bracketed)
        } else {
            self.out.write_all(&self.frame)
        };
        self.frame.clear();
        sent?;
        self.out.flush()
    }
}

#[cfg(test)]
mod tests {
    use ratatui::Terminal;
    use ratatui::style::Style;
    use ratatui::widgets::Paragraph;

    use super::*;

    /// A writer that remembers each write by itself.
    #[derive(Debug, Default)]
    struct Recorder {
        writes: Vec<Vec<u8>>,
    }

    impl Write for Recorder {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.writes.push(bytes.to_vec());
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn terminal(depth: ColorDepth) -> Terminal<Wire<Recorder>> {
        Terminal::new(Wire::new(Recorder::default(), Size::new(40, 4), depth)).expect("no I/O")
    }

    fn draw(terminal: &mut Terminal<Wire<Recorder>>, text: &str, style: Style) -> Vec<String> {
        let before = terminal.backend().out().writes.len();
        let text = Paragraph::new(text.to_owned()).style(style);
        terminal.draw(|frame| frame.render_widget(text, frame.area())).expect("no I/O");
        let writes = &terminal.backend().out().writes[before..];
        writes.iter().map(|bytes| String::from_utf8_lossy(bytes).into_owned()).collect()
    }

    #[test]
    fn frame_is_one_write_and_same_frame_again_is_none() {
        let mut terminal = terminal(ColorDepth::Sixteen);
        assert_eq!(draw(&mut terminal, "hello\nthere", Style::new()).len(), 1);
        assert_eq!(draw(&mut terminal, "hello\nthere", Style::new()), Vec::<String>::new());
    }

    #[test]
    fn named_colours_use_short_codes() {
        let mut terminal = terminal(ColorDepth::Sixteen);
        let sent = draw(&mut terminal, "x", Style::new().red()).concat();
        assert!(sent.contains("\x1b[31m"), "{sent:?}");
        let sent = draw(&mut terminal, "y", Style::new().light_red().bold()).concat();
        assert!(sent.contains("\x1b[1;91m"), "{sent:?}");
        let sent = draw(&mut terminal, "z", Style::new().fg(Color::Rgb(250, 0, 0))).concat();
        assert!(sent.contains("\x1b[91m") && !sent.contains(";2;"), "{sent:?}");
    }

    #[test]
    fn true_colour_is_sent_only_where_asked_for() {
        let mut terminal = terminal(ColorDepth::True);
        let sent = draw(&mut terminal, "x", Style::new().fg(Color::Rgb(1, 2, 3))).concat();
        assert!(sent.contains("\x1b[38;2;1;2;3m"), "{sent:?}");
    }

    #[test]
    fn without_colours_reverse_survives() {
        let mut terminal = terminal(ColorDepth::Mono);
        let sent = draw(&mut terminal, "x", Style::new().red().on_blue().reversed()).concat();
        assert!(sent.contains("\x1b[7mx") && !sent.contains("31"), "{sent:?}");
    }

    #[test]
    fn blanks_are_erased_not_written() {
        let mut terminal = terminal(ColorDepth::Sixteen);
        draw(&mut terminal, "a long line of thirty letters", Style::new());
        let sent = draw(&mut terminal, "a", Style::new()).concat();
        assert!(sent.contains("X") && sent.len() < 20, "{sent:?}");
    }

    #[test]
    fn synchronized_update_brackets_the_frame_in_the_same_write() {
        let mut terminal = terminal(ColorDepth::Sixteen);
        terminal.backend_mut().set_synchronized(true);
        let sent = draw(&mut terminal, "x", Style::new());
        assert_eq!(sent.len(), 1);
        assert!(sent[0].starts_with("\x1b[?2026h") && sent[0].ends_with("\x1b[?2026l"), "{sent:?}");
    }
}
