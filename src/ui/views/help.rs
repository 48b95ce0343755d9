//! Help: made from the commands themselves, so that it cannot drift.

use crate::ui::command::{self, Chapter, Refusal};
use crate::ui::data::Data;
use crate::ui::state::State;
use crate::ui::text;
use crate::ui::theme::Role;
use crate::ui::views::page::Page;

pub fn write(page: &mut Page<'_>, state: &State, data: &Data) {
    page.say(Role::Text, "State is a word and a sign:  * ok   ~ busy   ! fault   x lost or refused   ? unknown   . not yet, which is normal");
    for chapter in Chapter::ALL {
        page.blank();
        page.heading(chapter.title());
        for command in command::ALL.iter().filter(|command| command.chapter == chapter) {
            let keys = data.keymap.keys(command).join(" ");
            let word = format!(":{} {}", command.words[0], command.argument);
            let keys = text::fit(&keys, KEYS, page.glyphs()).into_owned();
            let word = text::fit(word.trim_end(), WORD, page.glyphs()).into_owned();
            // In help the object is not at hand: only what the whole context
            // forbids is said.
            let refused = match command::why_not(command, state, data) {
                Err(Refusal::Because(why)) => format!("  ({why})"),
                Err(Refusal::NotHere) | Ok(()) => String::new(),
            };
            let first = [(Role::Key, keys, KEYS + 1), (Role::Text, word, WORD + 1)];
            page.columns(&first, Role::Text, &format!("{}{refused}", command.help));
        }
    }
}

/// Cells of the keys, and of the word after `:`.
const KEYS: usize = 13;
const WORD: usize = 15;
