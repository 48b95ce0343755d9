//! Editing an object's YAML: typed, checked by the server, shown as a diff,
//! applied with the version it was read at. Nothing typed is ever lost.
//!
//! ```text
//! Loading => (Editing | Failed)
//! Editing => (Checking | Leaving)
//! Checking => (Editing with a message | Reviewing)
//! Reviewing => (Editing | Writing)
//! Writing => (done | Editing with a message | Conflict)
//! Conflict => (Editing on the old version | Editing on the new one)
//! ```

use crossterm::event::{KeyCode, KeyEvent};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;
use tui_textarea::{CursorMove, DataCursor, TextArea};

use crate::model::object::Key;
use crate::model::write::{Change, Reason, Write};
use crate::ui::dialog::Asked;
use crate::ui::diff::{self, DiffLine};
use crate::ui::target::Target;
use crate::ui::yaml::{self, BadYaml};

/// An object being edited.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Editor {
    pub target: Target,
    pub text: Typed,
    /// The object as it was read, as YAML: what diffs start from.
    pub base: String,
    pub stage: Stage,
    /// What is wrong with the text, or what the server said.
    pub message: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Stage {
    Loading(u64),
    Failed(String),
    Editing,
    /// The server makes a dry run.
    Checking(u64),
    /// What would change; Enter applies it.
    Reviewing {
        asked: Asked,
        diff: Vec<DiffLine>,
    },
    Writing(u64),
    /// Someone else changed it meanwhile: their changes, and ours.
    Conflict {
        asked: Asked,
        theirs: Vec<DiffLine>,
        ours: Vec<DiffLine>,
        now: String,
        version: u64,
    },
    /// Leaving with unsaved text.
    Leaving(Asked),
}

/// The text being typed.
#[derive(Debug, Clone)]
pub struct Typed(pub TextArea<'static>);

#[derive(Serialize, Deserialize)]
struct PlainText {
    lines: Vec<String>,
    row: usize,
    column: usize,
}

impl Typed {
    pub fn new(text: &str) -> Self {
        let lines: Vec<String> = text.lines().map(str::to_owned).collect();
        let mut area = TextArea::new(lines);
        area.set_max_histories(500);
        area.set_tab_length(2);
        Self(area)
    }

    pub fn text(&self) -> String {
        let mut text = self.0.lines().join("\n");
        text.push('\n');
        text
    }

    /// Moves the cursor to the beginning of a line, counted from 1.
    pub fn go_to_line(&mut self, line: u64) {
        let row = u16::try_from(line.saturating_sub(1)).unwrap_or(u16::MAX);
        self.0.move_cursor(CursorMove::Jump(row, 0));
    }

    fn plain(&self) -> PlainText {
        let DataCursor(row, column) = self.0.cursor();
        PlainText { lines: self.0.lines().to_vec(), row, column }
    }
}

impl PartialEq for Typed {
    fn eq(&self, other: &Self) -> bool {
        self.0.lines() == other.0.lines() && self.0.cursor() == other.0.cursor()
    }
}

impl Serialize for Typed {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        self.plain().serialize(to)
    }
}

impl<'de> Deserialize<'de> for Typed {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let plain = PlainText::deserialize(from)?;
        let mut typed = Self::new(&plain.lines.join("\n"));
        let short = |at: usize| u16::try_from(at).unwrap_or(u16::MAX);
        typed.0.move_cursor(CursorMove::Jump(short(plain.row), short(plain.column)));
        Ok(typed)
    }
}

impl Editor {
    /// An editor that waits for the object.
    pub fn loading(target: Target, ask: u64) -> Self {
        Self {
            target,
            text: Typed::new(""),
            base: String::new(),
            stage: Stage::Loading(ask),
            message: None,
        }
    }

    /// Takes in the object that is to be edited.
    pub fn loaded(&mut self, object: &Value) {
        self.base = yaml::to_text(object);
        self.text = Typed::new(&self.base);
        self.target.version = version(object);
        self.stage = Stage::Editing;
    }

    pub fn is_changed(&self) -> bool {
        self.text.text() != self.base
    }

    pub fn typed(&mut self, key: KeyEvent) {
        if self.text.0.input(key) {
            self.message = None;
        }
        if key.code == KeyCode::Enter {
            self.indent();
        }
    }

    /// A new line begins below the one it follows.
    fn indent(&mut self) {
        let DataCursor(row, _) = self.text.0.cursor();
        let above = row.checked_sub(1).and_then(|above| self.text.0.lines().get(above));
        let spaces = above.map_or(0, |line| line.len() - line.trim_start_matches(' ').len());
        self.text.0.insert_str(" ".repeat(spaces));
    }

    pub fn pasted(&mut self, text: &str) {
        if self.stage == Stage::Editing {
            self.text.0.insert_str(text);
        }
    }

    /// Whether the answer with this number is for this editor.
    pub fn waits_for(&self, ask: u64) -> bool {
        match self.stage {
            Stage::Loading(asked) | Stage::Checking(asked) | Stage::Writing(asked) => asked == ask,
            Stage::Failed(_)
            | Stage::Editing
            | Stage::Reviewing { .. }
            | Stage::Conflict { .. }
            | Stage::Leaving(_) => false,
        }
    }

    /// The write that the text asks for; what is wrong with it otherwise, with
    /// the cursor put there.
    pub fn write(&mut self) -> Result<Write, String> {
        let object = yaml::from_text(&self.text.text()).map_err(|BadYaml { line, what }| {
            self.text.go_to_line(line);
            format!("line {line}: {what}")
        })?;
        let target = &self.target;
        let is = |value: &Value, wanted: &str| value.as_str().unwrap_or_default() == wanted;
        let metadata = &object["metadata"];
        let named = Key::new(target.namespace.as_str(), target.name.as_str());
        if !is(&object["apiVersion"], &target.kind.api_version())
            || !is(&object["kind"], target.kind.kind)
            || !is(&metadata["name"], &target.name)
            || !is(&metadata["namespace"], &target.namespace)
            || !is(&metadata["uid"], &target.uid)
        {
            return Err(format!(
                "kind, name, namespace and uid say that this is {named}: they cannot be edited"
            ));
        }
        Ok(Write {
            object: target.object(),
            subresource: None,
            change: Change::Replace(object),
            version: Some(target.version),
            on_behalf_of: target.object(),
            reason: Reason::new("edit", "edited at the console"),
        })
    }

    /// What applying would change, by the server's own dry run.
    pub fn review(&mut self, would_be: &Value, now_ms: u64) {
        // The version in the text is the one read; the dry run's is not yet.
        let mut would_be = would_be.clone();
        let read = yaml::from_text(&self.base).unwrap_or_default();
        would_be["metadata"]["resourceVersion"] = read["metadata"]["resourceVersion"].clone();
        let diff = diff::diff(&self.base, &yaml::to_text(&would_be));
        if diff.is_empty() {
            self.message = Some("the server would change nothing".into());
            self.stage = Stage::Editing;
        } else {
            self.stage = Stage::Reviewing { asked: Asked::new(now_ms), diff };
        }
    }

    /// Takes in that someone else was faster: both sides are shown.
    pub fn conflict(&mut self, now: &Value, now_ms: u64) {
        let text = yaml::to_text(now);
        self.stage = Stage::Conflict {
            asked: Asked::new(now_ms),
            theirs: diff::diff(&self.base, &text),
            ours: diff::diff(&self.base, &self.text.text()),
            now: text,
            version: version(now),
        };
    }

    /// Goes on editing on top of what is there now: the text stays as typed,
    /// but for the version, and the next diff starts from the other's object.
    pub fn rebase(&mut self) {
        let Stage::Conflict { now, version, .. } = &self.stage else { return };
        let (now, version) = (now.clone(), *version);
        let old = format!("resourceVersion: \"{}\"", self.target.version);
        let new = format!("resourceVersion: \"{version}\"");
        let DataCursor(row, column) = self.text.0.cursor();
        self.text = Typed::new(&self.text.text().replace(&old, &new));
        let short = |at: usize| u16::try_from(at).unwrap_or(u16::MAX);
        self.text.0.move_cursor(CursorMove::Jump(short(row), short(column)));
        self.base = now;
        self.target.version = version;
        self.stage = Stage::Editing;
        self.message =
            Some("now on top of their version: the diff shows what you would undo".into());
    }
}

/// `metadata.resourceVersion` as a number.
fn version(object: &Value) -> u64 {
    object["metadata"]["resourceVersion"].as_str().and_then(|v| v.parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::model::kind;

    fn object(version: &str, class: &str) -> Value {
        json!({"apiVersion": "v1", "kind": "PersistentVolume",
            "metadata": {"name": "pv-1", "uid": "u1", "resourceVersion": version},
            "spec": {"storageClassName": class}})
    }

    fn editor() -> Editor {
        let target = Target {
            kind: kind::PERSISTENT_VOLUME,
            namespace: String::new(),
            name: "pv-1".into(),
            uid: "u1".into(),
            version: 7,
        };
        let mut editor = Editor::loading(target, 1);
        editor.loaded(&object("7", "slow"));
        editor
    }

    fn retype(editor: &mut Editor, from: &str, to: &str) {
        editor.text = Typed::new(&editor.text.text().replace(from, to));
    }

    #[test]
    fn write_carries_the_version_that_was_read() {
        let mut editor = editor();
        retype(&mut editor, "slow", "fast");
        let write = editor.write().expect("is right");
        assert_eq!(write.version, Some(7));
        assert_eq!(write.change, Change::Replace(object("7", "fast")));
    }

    #[test]
    fn broken_yaml_puts_the_cursor_on_its_line() {
        let mut editor = editor();
        retype(&mut editor, "name: pv-1", "name: [");
        let error = editor.write().expect_err("broken");
        assert!(error.starts_with("line "), "{error}");
        assert!(editor.text.0.cursor().0 > 0);
    }

    #[test]
    fn new_line_is_indented_as_the_one_above() {
        let mut editor = editor();
        editor.text.go_to_line(4);
        for code in [KeyCode::End, KeyCode::Enter, KeyCode::Char('x')] {
            editor.typed(KeyEvent::new(code, crossterm::event::KeyModifiers::NONE));
        }
        assert_eq!(editor.text.0.lines()[4], "  x");
    }

    #[test]
    fn another_object_cannot_be_written() {
        let mut editor = editor();
        retype(&mut editor, "name: pv-1", "name: pv-2");
        assert!(editor.write().expect_err("refused").contains("cannot be edited"));
    }

    #[test]
    fn conflict_shows_both_sides_and_keeps_what_was_typed() {
        let mut editor = editor();
        retype(&mut editor, "slow", "fast");
        editor.conflict(&object("9", "gold"), 0);
        let Stage::Conflict { theirs, ours, .. } = &editor.stage else { panic!("no conflict") };
        assert!(theirs.iter().any(|line| line.text.contains("gold")));
        assert!(ours.iter().any(|line| line.text.contains("fast")));
        editor.rebase();
        assert!(editor.text.text().contains("fast"));
        let write = editor.write().expect("is right");
        assert_eq!(write.version, Some(9));
    }

    #[test]
    fn editor_survives_being_saved() {
        let mut editor = editor();
        editor.text.go_to_line(3);
        let saved = serde_json::to_string(&editor).expect("serialises");
        assert_eq!(serde_json::from_str::<Editor>(&saved).expect("reads"), editor);
    }
}
