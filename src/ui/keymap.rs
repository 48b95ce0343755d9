//! Which key means which command: the defaults of the commands, patched by
//! the user's file.

use std::collections::{BTreeMap, HashMap};
use std::fmt;

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

use crate::ui::command::{self, Act, Command};

/// A key as it is named in keymaps and help: `j`, `ctrl-d`, `enter`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Chord {
    code: KeyCode,
    ctrl: bool,
}

const NAMED: &[(&str, KeyCode)] = &[
    ("enter", KeyCode::Enter),
    ("esc", KeyCode::Esc),
    ("tab", KeyCode::Tab),
    ("space", KeyCode::Char(' ')),
    ("backspace", KeyCode::Backspace),
    ("up", KeyCode::Up),
    ("down", KeyCode::Down),
    ("left", KeyCode::Left),
    ("right", KeyCode::Right),
    ("home", KeyCode::Home),
    ("end", KeyCode::End),
    ("pageup", KeyCode::PageUp),
    ("pagedown", KeyCode::PageDown),
    ("insert", KeyCode::Insert),
    ("delete", KeyCode::Delete),
];

impl Chord {
    /// Reads a key's name.
    pub fn parse(name: &str) -> Option<Self> {
        let (ctrl, name) = match name.strip_prefix("ctrl-") {
            Some(rest) => (true, rest),
            None => (false, name),
        };
        let named = NAMED.iter().find(|(known, _)| *known == name).map(|(_, code)| *code);
        let mut chars = name.chars();
        let code = match (named, chars.next(), chars.next()) {
            (Some(code), ..) => code,
            (None, Some(char), None) => KeyCode::Char(char),
            _ => return None,
        };
        Some(Self { code, ctrl })
    }

    /// The chord that was pressed.
    pub fn pressed(key: KeyEvent) -> Self {
        Self { code: key.code, ctrl: key.modifiers.contains(KeyModifiers::CONTROL) }
    }
}

impl fmt::Display for Chord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.ctrl {
            f.write_str("ctrl-")?;
        }
        match (NAMED.iter().find(|(_, code)| *code == self.code), self.code) {
            (Some((name, _)), _) => f.write_str(name),
            (None, KeyCode::Char(char)) => write!(f, "{char}"),
            (None, code) => write!(f, "{code}"),
        }
    }
}

/// Which key means which command.
#[derive(Debug, Clone, PartialEq)]
pub struct Keymap {
    acts: HashMap<Chord, Act>,
}

impl Default for Keymap {
    fn default() -> Self {
        let acts = command::ALL.iter().flat_map(|command| {
            command.keys.iter().filter_map(|key| Some((Chord::parse(key)?, command.act)))
        });
        Self { acts: acts.collect() }
    }
}

impl Keymap {
    /// The defaults with a user's file laid over them: a map from a command's
    /// word to its keys. A key given to a command is taken from all others.
    pub fn patched(file: &str, text: &str) -> Result<Self, String> {
        let patch: BTreeMap<String, serde_yaml::Spanned<Vec<String>>> = serde_yaml::from_str(text)
            .map_err(|error| {
                let line = error.location().map_or(0, |at| at.line());
                format!("{file}:{line}: {}", error.without_snippet())
            })?;
        let mut keymap = Self::default();
        for (word, keys) in &patch {
            let line = keys.referenced.line();
            let command = command::by_word(word)
                .ok_or_else(|| format!("{file}:{line}: {word}: no such command; see :help"))?;
            keymap.acts.retain(|_, act| *act != command.act);
            for key in &keys.value {
                let chord = Chord::parse(key).ok_or_else(|| {
                    format!(
                        "{file}:{line}: {word}: `{key}` is no key; write `j`, `ctrl-d`, `enter`"
                    )
                })?;
                keymap.acts.insert(chord, command.act);
            }
        }
        Ok(keymap)
    }

    /// What a key means.
    pub fn act(&self, key: KeyEvent) -> Option<Act> {
        self.acts.get(&Chord::pressed(key)).copied()
    }

    /// The keys of a command, the defaults in their order first.
    pub fn keys(&self, command: &Command) -> Vec<String> {
        let has = |chord: &Chord| self.acts.get(chord) == Some(&command.act);
        let defaults: Vec<_> = command.keys.iter().filter_map(|key| Chord::parse(key)).collect();
        let mut own: Vec<_> = self
            .acts
            .keys()
            .filter(|chord| has(chord) && !defaults.contains(chord))
            .map(Chord::to_string)
            .collect();
        own.sort();
        defaults.iter().filter(|chord| has(chord)).map(Chord::to_string).chain(own).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_default_key_has_a_name_that_reads_back() {
        for command in command::ALL {
            for key in command.keys {
                let chord = Chord::parse(key).unwrap_or_else(|| panic!("{key}"));
                assert_eq!(chord.to_string(), *key);
            }
        }
    }

    #[test]
    fn keys_that_terminals_eat_are_not_used() {
        for command in command::ALL {
            for key in ["ctrl-s", "ctrl-q", "ctrl-h"] {
                assert!(!command.keys.contains(&key), "{:?}", command.act);
            }
        }
    }

    #[test]
    fn users_keymap_is_a_patch() {
        let keymap = Keymap::patched("keymap.yaml", "why: [W, ctrl-w]\n").expect("is right");
        let why = command::by_word("why").expect("a command");
        assert_eq!(keymap.keys(why), ["W", "ctrl-w"]);
        let key = KeyEvent::new(KeyCode::Char('w'), KeyModifiers::NONE);
        assert_eq!(keymap.act(key), None);
        let key = KeyEvent::new(KeyCode::Char('j'), KeyModifiers::NONE);
        assert_eq!(keymap.act(key), Some(Act::Down));
    }

    #[test]
    fn errors_of_a_keymap_name_file_line_and_command() {
        let refused = |text| Keymap::patched("keymap.yaml", text).expect_err("is wrong");
        assert!(refused("wy: [w]\n").starts_with("keymap.yaml:1: wy: no such command"));
        assert!(refused("\nwhy: [f99]\n").starts_with("keymap.yaml:2: why: `f99` is no key"));
    }
}
