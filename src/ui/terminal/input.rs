//! From the terminal's bytes to keys: UTF-8, control keys, the sequences of
//! cursor keys, pasted text, focus reports and the answer about synchronized
//! updates.
//!
//! Pure: bytes in, inputs out. The library's reader does not know the
//! terminal's answer to a mode question and would hold back every later key
//! until a `u` or `c` is typed, so the console reads by itself.

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

/// One thing that came from the terminal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Input {
    Key(KeyEvent),
    /// Text between the brackets of a paste.
    Paste(String),
    Focus(bool),
    /// Whether the terminal knows synchronized updates (mode 2026).
    SynchronizedUpdates(bool),
}

/// Pasted text beyond this is dropped: nothing in the console takes more.
const PASTE_BYTES_MAX: usize = 1024 * 1024;

/// A sequence longer than this is no sequence.
const SEQUENCE_BYTES_MAX: usize = 64;

/// Turns bytes into inputs, whatever the chunks they arrive in.
#[derive(Debug, Default)]
pub struct Decoder {
    held: Vec<u8>,
    paste: Option<Vec<u8>>,
}

impl Decoder {
    /// Takes in bytes; what they complete.
    pub fn feed(&mut self, bytes: &[u8]) -> Vec<Input> {
        self.held.extend_from_slice(bytes);
        let mut inputs = Vec::new();
        loop {
            let taken = match &mut self.paste {
                Some(_) => self.take_paste(&mut inputs),
                None => self.take_one(&mut inputs),
            };
            if !taken {
                return inputs;
            }
        }
    }

    /// Whether an escape waits for what may follow it.
    pub fn is_waiting(&self) -> bool {
        !self.held.is_empty() && self.paste.is_none()
    }

    /// Nothing followed: a lone escape is the key, a broken sequence is noise.
    pub fn give_up_waiting(&mut self) -> Vec<Input> {
        let lone_escape = self.held == b"\x1b";
        self.held.clear();
        if lone_escape { vec![key(KeyCode::Esc, KeyModifiers::NONE)] } else { Vec::new() }
    }

    fn take_paste(&mut self, inputs: &mut Vec<Input>) -> bool {
        const END: &[u8] = b"\x1b[201~";
        let Some(paste) = &mut self.paste else { return false };
        let end = self.held.windows(END.len()).position(|window| window == END);
        // Without an end the last bytes may be the beginning of it.
        let upto = end.unwrap_or(self.held.len().saturating_sub(END.len() - 1));
        let room = PASTE_BYTES_MAX.saturating_sub(paste.len());
        paste.extend_from_slice(&self.held[..upto.min(room)]);
        self.held.drain(..upto);
        if end.is_none() {
            return false;
        }
        self.held.drain(..END.len());
        let text = String::from_utf8_lossy(&self.paste.take().unwrap_or_default())
            .replace("\r\n", "\n")
            .replace('\r', "\n");
        inputs.push(Input::Paste(text));
        true
    }

    /// Takes one input off the held bytes; false if they hold none whole.
    fn take_one(&mut self, inputs: &mut Vec<Input>) -> bool {
        let Some(&first) = self.held.first() else { return false };
        if first == 0x1b {
            return self.take_escape(inputs);
        }
        if first < 0x20 || first == 0x7f {
            self.held.remove(0);
            inputs.extend(control_key(first));
            return true;
        }
        let width = match first {
            0x00..0x80 => 1,
            0xc0..0xe0 => 2,
            0xe0..0xf0 => 3,
            0xf0..0xf8 => 4,
            _ => 1,
        };
        if self.held.len() < width {
            return false;
        }
        let bytes: Vec<u8> = self.held.drain(..width).collect();
        if let Some(char) = std::str::from_utf8(&bytes).ok().and_then(|text| text.chars().next()) {
            let shift = if char.is_uppercase() { KeyModifiers::SHIFT } else { KeyModifiers::NONE };
            inputs.push(key(KeyCode::Char(char), shift));
        }
        true
    }

    fn take_escape(&mut self, inputs: &mut Vec<Input>) -> bool {
        match self.held.get(1) {
            None => false,
            Some(b'[') => {
                let end = self.held[2..].iter().position(|byte| (0x40..0x7f).contains(byte));
                // `ESC [ [ A` is what the Linux console sends for function keys.
                let end = match (end, self.held.get(2)) {
                    (Some(0), Some(b'[')) => match self.held.len() {
                        0..4 => return false,
                        _ => Some(1),
                    },
                    (end, _) => end,
                };
                let Some(end) = end.map(|at| at + 2) else {
                    if self.held.len() > SEQUENCE_BYTES_MAX {
                        self.held.clear();
                    }
                    return false;
                };
                let sequence: Vec<u8> = self.held.drain(..=end).collect();
                if sequence == b"\x1b[200~" {
                    self.paste = Some(Vec::new());
                } else {
                    inputs.extend(sequence_input(&sequence[2..]));
                }
                true
            }
            Some(b'O') => {
                let Some(&letter) = self.held.get(2) else { return false };
                self.held.drain(..3);
                inputs.extend(cursor_key(letter).map(|code| key(code, KeyModifiers::NONE)));
                true
            }
            // A second escape: the first stood alone.
            Some(0x1b) => {
                self.held.remove(0);
                inputs.push(key(KeyCode::Esc, KeyModifiers::NONE));
                true
            }
            // An alt chord, or an escape and a key typed fast after it: the
            // console uses no alt chords, so it is the latter.
            Some(_) => {
                self.held.remove(0);
                inputs.push(key(KeyCode::Esc, KeyModifiers::NONE));
                true
            }
        }
    }
}

fn key(code: KeyCode, modifiers: KeyModifiers) -> Input {
    Input::Key(KeyEvent::new(code, modifiers))
}

fn control_key(byte: u8) -> Option<Input> {
    Some(match byte {
        b'\r' | b'\n' => key(KeyCode::Enter, KeyModifiers::NONE),
        b'\t' => key(KeyCode::Tab, KeyModifiers::NONE),
        0x08 | 0x7f => key(KeyCode::Backspace, KeyModifiers::NONE),
        0x01..=0x1a => key(KeyCode::Char(char::from(byte - 1 + b'a')), KeyModifiers::CONTROL),
        _ => return None,
    })
}

fn cursor_key(letter: u8) -> Option<KeyCode> {
    Some(match letter {
        b'A' => KeyCode::Up,
        b'B' => KeyCode::Down,
        b'C' => KeyCode::Right,
        b'D' => KeyCode::Left,
        b'H' => KeyCode::Home,
        b'F' => KeyCode::End,
        b'M' => KeyCode::Enter,
        b'Z' => KeyCode::BackTab,
        _ => return None,
    })
}

/// The input of a sequence, `ESC [` taken off.
fn sequence_input(sequence: &[u8]) -> Option<Input> {
    match sequence {
        b"I" => return Some(Input::Focus(true)),
        b"O" => return Some(Input::Focus(false)),
        _ => {}
    }
    let (&last, parameters) = sequence.split_last()?;
    let parameters = std::str::from_utf8(parameters).ok()?;
    if let Some(mode) = parameters.strip_prefix("?2026;") {
        // 0: not known. 1 and 3: on, 2: off, 4: off for good.
        return (last == b'y')
            .then_some(Input::SynchronizedUpdates(matches!(mode, "1$" | "2$" | "3$")));
    }
    // `ESC [ [ A`: a function key of the Linux console.
    if parameters.starts_with('[') {
        return None;
    }
    let mut numbers = parameters.split(';').map(|number| number.parse::<u8>().unwrap_or(0));
    let first = numbers.next().unwrap_or(0);
    let held = numbers.next().unwrap_or(1).saturating_sub(1);
    let mut modifiers = KeyModifiers::NONE;
    for (bit, modifier) in
        [(1, KeyModifiers::SHIFT), (2, KeyModifiers::ALT), (4, KeyModifiers::CONTROL)]
    {
        modifiers.set(modifier, held & bit != 0);
    }
    let code = match last {
        b'~' => match first {
            1 | 7 => KeyCode::Home,
            2 => KeyCode::Insert,
            3 => KeyCode::Delete,
            4 | 8 => KeyCode::End,
            5 => KeyCode::PageUp,
            6 => KeyCode::PageDown,
            _ => return None,
        },
        letter => cursor_key(letter)?,
    };
    Some(key(code, modifiers))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[track_caller]
    fn check(bytes: &[u8], expected: &[Input]) {
        let mut whole = Decoder::default();
        let mut inputs = whole.feed(bytes);
        inputs.extend(whole.give_up_waiting());
        assert_eq!(inputs, expected, "in one piece");
        let mut split = Decoder::default();
        let mut inputs: Vec<_> = bytes.iter().flat_map(|byte| split.feed(&[*byte])).collect();
        inputs.extend(split.give_up_waiting());
        assert_eq!(inputs, expected, "byte by byte");
    }

    fn plain(code: KeyCode) -> Input {
        key(code, KeyModifiers::NONE)
    }

    #[test]
    fn letters_and_control_keys_are_read() {
        check(b"j", &[plain(KeyCode::Char('j'))]);
        check(b"G", &[key(KeyCode::Char('G'), KeyModifiers::SHIFT)]);
        check("é漢".as_bytes(), &[plain(KeyCode::Char('é')), plain(KeyCode::Char('漢'))]);
        check(b"\x04", &[key(KeyCode::Char('d'), KeyModifiers::CONTROL)]);
        check(
            b"\r\t\x7f",
            &[plain(KeyCode::Enter), plain(KeyCode::Tab), plain(KeyCode::Backspace)],
        );
    }

    #[test]
    fn sequences_are_read_whole_or_in_pieces() {
        check(
            b"\x1b[A\x1bOB\x1b[5~",
            &[plain(KeyCode::Up), plain(KeyCode::Down), plain(KeyCode::PageUp)],
        );
        check(b"\x1b[1;5C", &[key(KeyCode::Right, KeyModifiers::CONTROL)]);
        check(b"\x1b[I\x1b[O", &[Input::Focus(true), Input::Focus(false)]);
        check(b"\x1b[[Aj", &[plain(KeyCode::Char('j'))]);
    }

    #[test]
    fn lone_escape_is_the_key_once_nothing_follows() {
        check(b"\x1b", &[plain(KeyCode::Esc)]);
        check(b"\x1b\x1b", &[plain(KeyCode::Esc), plain(KeyCode::Esc)]);
    }

    #[test]
    fn answer_about_synchronized_updates_leaves_later_keys_alone() {
        check(b"\x1b[?2026;2$yj", &[Input::SynchronizedUpdates(true), plain(KeyCode::Char('j'))]);
        check(b"\x1b[?2026;0$y", &[Input::SynchronizedUpdates(false)]);
    }

    #[test]
    fn pasted_text_is_one_input() {
        check(
            b"\x1b[200~y\r\nq\x1b[201~k",
            &[Input::Paste("y\nq".into()), plain(KeyCode::Char('k'))],
        );
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let mut decoder = Decoder::default();
            decoder.feed(&bytes);
            decoder.give_up_waiting();
        }
    }
}
