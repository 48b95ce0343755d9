//! What roles look like: themes as YAML files, the built-in ones embedded.
//!
//! A theme maps each [`Role`] to colours and attributes. Views name roles,
//! never colours. A user's theme is a patch: roles it does not name look as in
//! the theme it `extends`, `dark` by default.

use std::collections::BTreeMap;
use std::path::Path;

use ratatui::style::{Color, Modifier, Style};
use serde::Deserialize;
use serde_yaml::Spanned;

/// The built-in themes: name and file.
pub const BUILT_IN: &[(&str, &str)] = &[
    ("dark", include_str!("../../themes/dark.yaml")),
    ("light", include_str!("../../themes/light.yaml")),
    ("ansi16", include_str!("../../themes/ansi16.yaml")),
    ("mono", include_str!("../../themes/mono.yaml")),
    ("high-contrast", include_str!("../../themes/high-contrast.yaml")),
];

macro_rules! roles {
    ($($(#[$doc:meta])* $role:ident = $name:literal;)*) => {
        /// What a piece of the screen is for.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Role { $($(#[$doc])* $role,)* }

        impl Role {
            /// Every role, in the order of the themes' files.
            pub const ALL: &[Role] = &[$(Role::$role),*];

            /// The role's name in a theme file.
            pub fn name(self) -> &'static str {
                match self { $(Role::$role => $name,)* }
            }
        }
    };
}

roles! {
    /// Ordinary text; the terminal's own colours unless a theme insists.
    Text = "text";
    /// What need not be read first.
    Dim = "dim";
    /// The first line.
    Title = "title";
    /// That no harm can be done here: `READ-ONLY`.
    Safe = "safe";
    /// That one can do harm here: a live cluster, writable.
    Danger = "danger";
    /// Column headings.
    Heading = "heading";
    /// `*`: as it should be.
    Ok = "ok";
    /// `~`: under way.
    Busy = "busy";
    /// `!`: needs a person.
    Fault = "fault";
    /// `x`: lost, failed or refused for good.
    Lost = "lost";
    /// `?` and `.`: cannot tell, or not yet.
    Unknown = "unknown";
    /// The row under the cursor.
    Selected = "selected";
    /// Marked rows.
    Marked = "marked";
    /// A row that changed a moment ago.
    Changed = "changed";
    /// Rules between parts and around dialogs.
    Border = "border";
    /// Keys in the bottom bar and in help.
    Key = "key";
    /// A line that is typed.
    Input = "input";
    /// A line of a diff that is added.
    Added = "added";
    /// A line of a diff that is taken away.
    Removed = "removed";
    /// A message that something went wrong.
    Error = "error";
    /// A message that something was done.
    Notice = "notice";
    /// A button that the next Enter presses.
    Focused = "focused";
}

/// A theme, every role filled in.
#[derive(Debug, Clone, PartialEq)]
pub struct Theme {
    /// Its name, as `:theme` takes it.
    pub name: String,
    styles: Vec<Style>,
}

/// What is wrong with a theme file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ThemeError {
    #[error("{file}: {what}")]
    Unreadable { file: String, what: String },
    #[error("{file}:{line}: {what}")]
    Syntax { file: String, line: u64, what: String },
    #[error("{file}:{line}: {field}: {what}")]
    Field { file: String, line: u64, field: String, what: String },
    #[error("no theme `{name}`; there are {known}")]
    NoSuchTheme { name: String, known: String },
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    extends: Option<Spanned<String>>,
    #[serde(default)]
    styles: BTreeMap<String, Spanned<Spec>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Spec {
    fg: Option<Spanned<String>>,
    bg: Option<Spanned<String>>,
    #[serde(default)]
    bold: bool,
    #[serde(default)]
    dim: bool,
    #[serde(default)]
    italic: bool,
    #[serde(default)]
    underline: bool,
    #[serde(default)]
    reverse: bool,
}

impl Theme {
    /// How a role looks.
    pub fn style(&self, role: Role) -> Style {
        self.styles.get(role as usize).copied().unwrap_or_default()
    }

    /// A built-in theme.
    pub fn built_in(name: &str) -> Result<Self, ThemeError> {
        let Some((name, text)) = BUILT_IN.iter().find(|(known, _)| *known == name) else {
            let known: Vec<_> = BUILT_IN.iter().map(|(name, _)| *name).collect();
            return Err(ThemeError::NoSuchTheme { name: name.into(), known: known.join(", ") });
        };
        Self::parse(name, &format!("themes/{name}.yaml"), text)
    }

    /// A theme by name: the user's file of that name if there is one, else a
    /// built-in one.
    pub fn load(name: &str, folder: Option<&Path>) -> Result<Self, ThemeError> {
        let own = folder.map(|folder| folder.join(format!("{name}.yaml")));
        match own.filter(|path| path.exists()) {
            Some(path) => Self::from_file(name, &path),
            None => Self::built_in(name),
        }
    }

    fn from_file(name: &str, path: &Path) -> Result<Self, ThemeError> {
        let file = path.display().to_string();
        let text = std::fs::read_to_string(path).map_err(|error| ThemeError::Unreadable {
            file: file.clone(),
            what: format!("cannot be read: {error}"),
        })?;
        Self::parse(name, &file, &text)
    }

    /// Reads a theme; `file` is what errors name.
    pub fn parse(name: &str, file: &str, text: &str) -> Result<Self, ThemeError> {
        let parsed: File = serde_yaml::from_str(text).map_err(|error| ThemeError::Syntax {
            file: file.into(),
            line: error.location().map_or(0, |at| at.line()),
            what: first_line(&error.without_snippet().to_string()),
        })?;
        let mut styles = match &parsed.extends {
            None if name == "dark" => vec![Style::new(); Role::ALL.len()],
            None => Self::built_in("dark")?.styles,
            Some(base) if base.value == name => vec![Style::new(); Role::ALL.len()],
            Some(base) => {
                Self::built_in(&base.value)
                    .map_err(|error| ThemeError::Field {
                        file: file.into(),
                        line: base.referenced.line(),
                        field: "extends".into(),
                        what: error.to_string(),
                    })?
                    .styles
            }
        };
        for (role, spec) in &parsed.styles {
            let field = |field: &str, line, what| ThemeError::Field {
                file: file.into(),
                line,
                field: format!("styles.{role}{field}"),
                what,
            };
            let Some(known) = Role::ALL.iter().find(|known| known.name() == role) else {
                let names: Vec<_> = Role::ALL.iter().map(|role| role.name()).collect();
                let what = format!("no such role; there are {}", names.join(", "));
                return Err(field("", spec.referenced.line(), what));
            };
            styles[*known as usize] = spec.value.style().map_err(|(name, color)| {
                let what = format!("`{}` is no colour; {COLOURS}", color.value);
                field(name, color.referenced.line(), what)
            })?;
        }
        Ok(Self { name: name.into(), styles })
    }
}

const COLOURS: &str = "use red, light-red, … or #rrggbb, or leave it out for the terminal's own";

impl Spec {
    fn style(&self) -> Result<Style, (&'static str, &Spanned<String>)> {
        let mut style = Style::new();
        for (field, color) in [(".fg", &self.fg), (".bg", &self.bg)] {
            let Some(color) = color else { continue };
            let parsed = color_by_name(&color.value).ok_or((field, color))?;
            style = if field == ".fg" { style.fg(parsed) } else { style.bg(parsed) };
        }
        for (wanted, modifier) in [
            (self.bold, Modifier::BOLD),
            (self.dim, Modifier::DIM),
            (self.italic, Modifier::ITALIC),
            (self.underline, Modifier::UNDERLINED),
            (self.reverse, Modifier::REVERSED),
        ] {
            if wanted {
                style = style.add_modifier(modifier);
            }
        }
        Ok(style)
    }
}

/// `red`, `light-red`, `dark-gray`, … or `#rrggbb`.
fn color_by_name(name: &str) -> Option<Color> {
    if let Some(hex) = name.strip_prefix('#') {
        let value = u32::from_str_radix(hex, 16).ok().filter(|_| hex.len() == 6)?;
        let [_, r, g, b] = value.to_be_bytes();
        return Some(Color::Rgb(r, g, b));
    }
    Some(match name {
        "black" => Color::Black,
        "red" => Color::Red,
        "green" => Color::Green,
        "yellow" => Color::Yellow,
        "blue" => Color::Blue,
        "magenta" => Color::Magenta,
        "cyan" => Color::Cyan,
        "gray" => Color::Gray,
        "dark-gray" => Color::DarkGray,
        "light-red" => Color::LightRed,
        "light-green" => Color::LightGreen,
        "light-yellow" => Color::LightYellow,
        "light-blue" => Color::LightBlue,
        "light-magenta" => Color::LightMagenta,
        "light-cyan" => Color::LightCyan,
        "white" => Color::White,
        _ => return None,
    })
}

fn first_line(text: &str) -> String {
    text.lines().next().unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_built_in_theme_reads() {
        for (name, _) in BUILT_IN {
            let theme = Theme::built_in(name).unwrap_or_else(|error| panic!("{error}"));
            assert_ne!(theme.style(Role::Selected), theme.style(Role::Text), "{name}");
        }
    }

    #[test]
    fn mono_has_no_colour_anywhere() {
        let theme = Theme::built_in("mono").expect("built in");
        for role in Role::ALL {
            let style = theme.style(*role);
            assert_eq!((style.fg, style.bg), (None, None), "{}", role.name());
        }
    }

    #[track_caller]
    fn refused(text: &str, expected: &str) {
        let error = Theme::parse("mine", "mine.yaml", text).expect_err("is wrong").to_string();
        assert!(error.starts_with(expected), "{error}");
    }

    #[test]
    fn errors_name_file_line_and_field() {
        refused("styles:\n  ok:\n    fg: gren\n", "mine.yaml:3: styles.ok.fg: `gren` is no colour");
        refused("styles:\n  okay: {bold: true}\n", "mine.yaml:2: styles.okay: no such role");
        refused("extends: drak\n", "mine.yaml:1: extends: no theme `drak`");
        refused("styles:\n  ok: [\n", "mine.yaml:");
        refused("stiles: {}\n", "mine.yaml:1: ");
    }

    #[test]
    fn users_theme_patches_the_one_it_extends() {
        let text = "extends: light\nstyles:\n  ok: {fg: \"#010203\"}\n";
        let theme = Theme::parse("mine", "mine.yaml", text).expect("is right");
        let light = Theme::built_in("light").expect("built in");
        assert_eq!(theme.style(Role::Ok).fg, Some(Color::Rgb(1, 2, 3)));
        assert_eq!(theme.style(Role::Fault), light.style(Role::Fault));
    }
}
