//! What goes over the line: bytes and writes per frame.

use std::io::{self, Write};

use pvdeck::mirror::Mirror;
use pvdeck::model::claim::Claim;
use pvdeck::model::row::Row;
use pvdeck::ui::screen;
use pvdeck::ui::terminal::wire::{ColorDepth, Wire};
use ratatui::Terminal;
use ratatui::layout::Size;

use super::sample::{self, Console};

#[derive(Default)]
struct Counter {
    writes: Vec<Vec<u8>>,
}

impl Write for Counter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.writes.push(bytes.to_vec());
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A console on a terminal that counts.
struct Line {
    console: Console,
    terminal: Terminal<Wire<Counter>>,
}

impl Line {
    fn new(console: Console) -> Self {
        let size = Size::new(console.state.width, console.state.height);
        let wire = Wire::new(Counter::default(), size, ColorDepth::Sixteen);
        let terminal = Terminal::new(wire).expect("no I/O");
        Self { console, terminal }
    }

    /// Draws; the writes it took and their bytes.
    fn draw(&mut self) -> (usize, usize) {
        let before = self.terminal.backend().out().writes.len();
        let (state, data) = (&self.console.state, &self.console.data);
        self.terminal.draw(|frame| screen::draw(state, data, frame)).expect("no I/O");
        let writes = &self.terminal.backend().out().writes[before..];
        (writes.len(), writes.iter().map(Vec::len).sum())
    }
}

fn many(claims: usize) -> Mirror {
    let mirror = sample::mirror();
    for number in 0..claims {
        let name = format!("data-{number:06}");
        let volume = format!("pvc-{number:08x}");
        let object = sample::claim(
            "load",
            &name,
            1000 + number as u64,
            3_000_000,
            "Bound",
            "8Gi",
            "fast",
            &volume,
        );
        mirror.apply(Claim::from_object(&object).expect("a row"));
    }
    mirror
}

#[test]
fn frame_is_one_write_and_nothing_changed_is_none() {
    let mut line = Line::new(Console::sample(80, 24, "dark"));
    line.console.press(":pvc\r");
    let (writes, bytes) = line.draw();
    assert_eq!(writes, 1);
    assert!(bytes < 4_000, "{bytes} bytes for a first frame");
    assert_eq!(line.draw(), (0, 0));
    line.console.wait(10);
    assert_eq!(line.draw(), (0, 0));
}

#[test]
fn cursor_move_takes_few_bytes() {
    let mut line = Line::new(Console::over(many(200), 80, 24, "dark"));
    line.console.press(":pvc\r");
    line.draw();
    let mut most = 0;
    for _ in 0..15 {
        line.console.press("j");
        let (writes, bytes) = line.draw();
        assert_eq!(writes, 1);
        most = most.max(bytes);
    }
    println!("cursor move: at most {most} bytes");
    assert!(most < 300, "{most} bytes for a cursor move");
}

#[test]
fn changed_row_takes_few_bytes() {
    let mut line = Line::new(Console::over(many(200), 80, 24, "dark"));
    line.console.press(":pvc\r");
    line.draw();
    let object = sample::claim(
        "load",
        "data-000003",
        9_999,
        3_000_000,
        "Bound",
        "9Gi",
        "fast",
        "pvc-00000003",
    );
    line.console.apply::<Claim>(object);
    let (writes, bytes) = line.draw();
    println!("changed row: {bytes} bytes");
    assert_eq!(writes, 1);
    assert!(bytes < 200, "{bytes} bytes for a changed row");
}

#[test]
fn age_that_changes_takes_a_few_bytes() {
    let mut line = Line::new(Console::sample(80, 24, "dark"));
    line.console.press(":pvc\r");
    line.draw();
    line.console.data.now += 1;
    line.console.wait(1_000);
    let (writes, bytes) = line.draw();
    assert_eq!(writes, 1);
    assert!(bytes < 60, "{bytes} bytes for two ages");
}

#[test]
fn frame_formats_only_the_rows_that_are_seen() {
    // Not by the clock, which a busy machine bends, but by what is asked for.
    let few = Line::new(Console::over(many(100), 80, 24, "dark"));
    let lots = Line::new(Console::over(many(20_000), 80, 24, "dark"));
    let mut bytes = Vec::new();
    for mut line in [few, lots] {
        line.console.press(":pvc\rG");
        line.draw();
        line.console.press("k");
        let (_, moved) = line.draw();
        bytes.push(moved);
    }
    assert!(bytes.iter().all(|bytes| *bytes < 300), "{bytes:?}");
}
