//! A screen as an SVG picture: how the program's own pictures are made.

use std::fmt::Write as _;

use ratatui::buffer::{Buffer, Cell};
use ratatui::style::{Color, Modifier};

/// Size of one cell of the picture.
const CELL_WIDTH: f32 = 8.4;
const CELL_HEIGHT: f32 = 18.0;
const MARGIN: f32 = 12.0;

const BACKGROUND: &str = "#1b1f27";
const FOREGROUND: &str = "#d5d9e0";

/// Draws a buffer as SVG, in the colours of a dark terminal.
pub fn svg(buffer: &Buffer) -> String {
    let (columns, rows) = (f32::from(buffer.area.width), f32::from(buffer.area.height));
    let width = columns * CELL_WIDTH + 2.0 * MARGIN;
    let height = rows * CELL_HEIGHT + 2.0 * MARGIN;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width:.0} {height:.0}\" \
         width=\"{width:.0}\" height=\"{height:.0}\" font-size=\"14\" \
         font-family=\"ui-monospace,SFMono-Regular,Menlo,Consolas,'DejaVu Sans Mono',monospace\">\n\
         <rect width=\"100%\" height=\"100%\" rx=\"8\" fill=\"{BACKGROUND}\"/>\n"
    );
    let per_row = usize::from(buffer.area.width).max(1);
    for (y, row) in buffer.content.chunks(per_row).enumerate() {
        for (x, length, cell, text) in runs(row) {
            run(&mut svg, x, y, length, cell, &text);
        }
    }
    svg.push_str("</svg>\n");
    svg
}

/// The stretches of equal style in a row: start, cells, style, text.
fn runs(row: &[Cell]) -> Vec<(usize, usize, &Cell, String)> {
    let mut runs: Vec<(usize, usize, &Cell, String)> = Vec::new();
    for (x, cell) in row.iter().enumerate() {
        match runs.last_mut() {
            Some((_, length, first, text))
                if (first.fg, first.bg, first.modifier) == (cell.fg, cell.bg, cell.modifier) =>
            {
                *length += 1;
                text.push_str(cell.symbol());
            }
            _ => runs.push((x, 1, cell, cell.symbol().to_owned())),
        }
    }
    runs
}

fn run(svg: &mut String, x: usize, y: usize, length: usize, cell: &Cell, text: &str) {
    let (mut ink, mut paper) = (color(cell.fg, FOREGROUND), color(cell.bg, BACKGROUND));
    if cell.modifier.contains(Modifier::REVERSED) {
        std::mem::swap(&mut ink, &mut paper);
    }
    let (left, top) = (MARGIN + x as f32 * CELL_WIDTH, MARGIN + y as f32 * CELL_HEIGHT);
    let width = length as f32 * CELL_WIDTH;
    // Writing to a string cannot fail.
    if paper != BACKGROUND {
        let _ = writeln!(
            svg,
            "<rect x=\"{left:.1}\" y=\"{top:.1}\" width=\"{width:.1}\" height=\"{CELL_HEIGHT}\" fill=\"{paper}\"/>"
        );
    }
    if text.trim().is_empty() {
        return;
    }
    let mut style = String::new();
    if cell.modifier.contains(Modifier::BOLD) {
        style.push_str(" font-weight=\"bold\"");
    }
    if cell.modifier.contains(Modifier::UNDERLINED) {
        style.push_str(" text-decoration=\"underline\"");
    }
    let text = text.trim_end();
    let length = unicode_width::UnicodeWidthStr::width(text) as f32 * CELL_WIDTH;
    let baseline = top + CELL_HEIGHT * 0.75;
    let escaped = text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    let _ = writeln!(
        svg,
        "<text x=\"{left:.1}\" y=\"{baseline:.1}\" textLength=\"{length:.1}\" fill=\"{ink}\" xml:space=\"preserve\"{style}>{escaped}</text>"
    );
}

fn color(color: Color, own: &str) -> String {
    let named = match color {
        Color::Reset => own,
        Color::Black => "#14171d",
        Color::Red => "#d0606a",
        Color::Green => "#8fbf70",
        Color::Yellow => "#dcb467",
        Color::Blue => "#5f9fe0",
        Color::Magenta => "#bf78d8",
        Color::Cyan => "#58b0bd",
        Color::Gray => "#abb2bf",
        Color::DarkGray => "#7a8190",
        Color::LightRed => "#f07178",
        Color::LightGreen => "#a8d88a",
        Color::LightYellow => "#f2cf8a",
        Color::LightBlue => "#82b8f0",
        Color::LightMagenta => "#d9a0ec",
        Color::LightCyan => "#7fd0dc",
        Color::White => "#ffffff",
        Color::Rgb(r, g, b) => return format!("#{r:02x}{g:02x}{b:02x}"),
        Color::Indexed(_) => own,
    };
    named.to_owned()
}

#[cfg(test)]
mod tests {
    use ratatui::layout::Rect;
    use ratatui::style::Style;

    use super::*;

    #[test]
    fn text_is_escaped_and_reverse_swaps_colours() {
        let mut buffer = Buffer::empty(Rect::new(0, 0, 6, 1));
        buffer.set_string(0, 0, "a<&", Style::new().reversed());
        let svg = svg(&buffer);
        assert!(
            svg.contains(&format!(
                "fill=\"{BACKGROUND}\" xml:space=\"preserve\">a&lt;&amp;</text>"
            )),
            "{svg}"
        );
        assert!(svg.contains(&format!("fill=\"{FOREGROUND}\"/>")), "{svg}");
    }
}
