//! The configuration: a YAML file, the environment and flags, and for each
//! value where it came from.

use std::collections::BTreeMap;
use std::fmt::{self, Write as _};
use std::path::{Path, PathBuf};

use etcetera::BaseStrategy;
use serde::Deserialize;

use crate::cli::Options;
use crate::failure::Failure;

/// The file, as written: every key is optional. Unknown keys are errors.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct FileConfig {
    theme: Option<String>,
    ascii: Option<bool>,
    log_level: Option<String>,
    log_bytes_max: Option<u64>,
    demo: DemoFile,
    contexts: BTreeMap<String, ContextFile>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct DemoFile {
    scenario: Option<String>,
}

#[derive(Debug, Default, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct ContextFile {
    write: Option<bool>,
    namespace: Option<String>,
}

/// Where a value came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    Default,
    File(PathBuf),
    Environment(&'static str),
    Flag(&'static str),
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File(path) => write!(f, "file {}", path.display()),
            Self::Environment(name) => write!(f, "environment {name}"),
            Self::Flag(flag) => write!(f, "flag {flag}"),
        }
    }
}

/// A value and its source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Setting<T> {
    pub value: T,
    pub source: Source,
}

/// What the configuration says of one live context.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ContextConfig {
    /// Opens writable without `--write`.
    pub write: bool,
    /// Namespace to start in.
    pub namespace: Option<String>,
}

/// The effective configuration.
#[derive(Debug, Clone)]
pub struct Config {
    pub theme: Setting<String>,
    pub ascii: Setting<bool>,
    pub log_level: Setting<String>,
    pub log_bytes_max: Setting<u64>,
    pub demo_scenario: Setting<String>,
    pub contexts: BTreeMap<String, Setting<ContextConfig>>,
    /// The file that was read, or would be.
    pub path: PathBuf,
}

/// Log levels, as `--log-level` takes them.
const LEVELS: [&str; 5] = ["error", "warn", "info", "debug", "trace"];

impl Config {
    /// Reads the file (a missing one is an empty one, unless it was asked for)
    /// and lays environment and flags over it.
    pub fn load(options: &Options) -> Result<Self, Failure> {
        let path = match &options.config {
            Some(path) => path.clone(),
            None => default_path()?,
        };
        let file = read(&path, options.config.is_some())?;
        let config = Self::merge(file, options, path);
        if !LEVELS.contains(&config.log_level.value.as_str()) {
            return Err(Failure::bad_input(format!(
                "log level `{}` ({}) is none of {}",
                config.log_level.value,
                config.log_level.source,
                LEVELS.join(", ")
            )));
        }
        Ok(config)
    }

    fn merge(file: FileConfig, options: &Options, path: PathBuf) -> Self {
        let from_file = Source::File(path.clone());
        let flagged = |flag: &'static str, variable: &'static str, value: &Option<String>| {
            let value = value.clone()?;
            let by_environment = std::env::var(variable).is_ok_and(|set| set == value);
            let source =
                if by_environment { Source::Environment(variable) } else { Source::Flag(flag) };
            Some(Setting { value, source })
        };
        fn filed<T>(value: Option<T>, source: &Source, default: T) -> Setting<T> {
            match value {
                Some(value) => Setting { value, source: source.clone() },
                None => Setting { value: default, source: Source::Default },
            }
        }
        let contexts = file.contexts.into_iter().map(|(name, context)| {
            let value = ContextConfig {
                write: context.write.unwrap_or(false),
                namespace: context.namespace,
            };
            (name, Setting { value, source: from_file.clone() })
        });
        Self {
            theme: flagged("--theme", "PVDECK_THEME", &options.theme)
                .unwrap_or_else(|| filed(file.theme, &from_file, "ansi16".into())),
            ascii: if options.ascii {
                Setting { value: true, source: Source::Flag("--ascii") }
            } else {
                filed(file.ascii, &from_file, false)
            },
            log_level: flagged("--log-level", "PVDECK_LOG_LEVEL", &options.log_level)
                .unwrap_or_else(|| filed(file.log_level, &from_file, "info".into())),
            log_bytes_max: filed(file.log_bytes_max, &from_file, 4 << 20),
            demo_scenario: match &options.scenario {
                Some(name) => Setting { value: name.clone(), source: Source::Flag("--scenario") },
                None => filed(file.demo.scenario, &from_file, "static-nfs".into()),
            },
            contexts: contexts.collect(),
            path,
        }
    }

    /// What the configuration says of a live context.
    pub fn context(&self, name: &str) -> ContextConfig {
        self.contexts.get(name).map(|setting| setting.value.clone()).unwrap_or_default()
    }

    /// The effective configuration as a commented YAML file: every key, what it
    /// is for, its value and where that came from.
    pub fn describe(&self) -> String {
        let mut text = format!("# {}\n", self.path.display());
        let mut line = |indent: &str, key: &str, doc: &str, value: String, source: &Source| {
            // Writing to a string cannot fail.
            let _ = writeln!(text, "{indent}# {doc}\n{indent}{key}: {value}  # {source}");
        };
        line(
            "",
            "theme",
            "Colour theme: dark, light, ansi16, mono, high-contrast, or a file.",
            self.theme.value.clone(),
            &self.theme.source,
        );
        line(
            "",
            "ascii",
            "Draw with ASCII characters only.",
            self.ascii.value.to_string(),
            &self.ascii.source,
        );
        line(
            "",
            "log_level",
            "How much goes into the log file: error, warn, info, debug, trace.",
            self.log_level.value.clone(),
            &self.log_level.source,
        );
        line(
            "",
            "log_bytes_max",
            "Size at which the log file is turned over; two are kept.",
            self.log_bytes_max.value.to_string(),
            &self.log_bytes_max.source,
        );
        text.push_str("demo:\n");
        let mut line = |key: &str, doc: &str, value: String, source: &Source| {
            let _ = writeln!(text, "  # {doc}\n  {key}: {value}  # {source}");
        };
        line(
            "scenario",
            "Scenario that the demo plays: a name, or a file.",
            self.demo_scenario.value.clone(),
            &self.demo_scenario.source,
        );
        text.push_str("# Live contexts by name: `write: true` opens one writable, `namespace` starts there.\n");
        if self.contexts.is_empty() {
            let _ = writeln!(text, "contexts: {{}}  # {}", Source::Default);
        } else {
            text.push_str("contexts:\n");
        }
        for (name, context) in &self.contexts {
            let _ = writeln!(
                text,
                "  {name}:  # {}\n    write: {}",
                context.source, context.value.write
            );
            if let Some(namespace) = &context.value.namespace {
                let _ = writeln!(text, "    namespace: {namespace}");
            }
        }
        text
    }
}

/// `pvdeck/config.yaml` in the XDG config folder.
fn default_path() -> Result<PathBuf, Failure> {
    Ok(folders()?.config_dir().join("pvdeck").join("config.yaml"))
}

/// `pvdeck` in the XDG state folder: log, panic reports, kubeconfigs of `serve`.
pub fn state_folder() -> Result<PathBuf, Failure> {
    let folders = folders()?;
    Ok(folders.state_dir().unwrap_or_else(|| folders.data_dir()).join("pvdeck"))
}

/// `pvdeck` in the XDG config folder: configuration and themes of one's own.
pub fn config_folder() -> Result<PathBuf, Failure> {
    Ok(folders()?.config_dir().join("pvdeck"))
}

fn folders() -> Result<impl BaseStrategy, Failure> {
    etcetera::choose_base_strategy().map_err(|error| {
        Failure::bad_input(format!("the home folder cannot be found: {error}"))
            .hint("set HOME, or XDG_CONFIG_HOME and XDG_STATE_HOME")
    })
}

fn read(path: &Path, asked_for: bool) -> Result<FileConfig, Failure> {
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound && !asked_for => {
            return Ok(FileConfig::default());
        }
        Err(error) => {
            let what = format!("configuration file `{}` cannot be read: {error}", path.display());
            return Err(Failure::bad_input(what));
        }
    };
    parse(&text, path)
}

fn parse(text: &str, path: &Path) -> Result<FileConfig, Failure> {
    if text.lines().all(|line| line.trim().is_empty() || line.trim().starts_with('#')) {
        return Ok(FileConfig::default());
    }
    serde_yaml::from_str(text).map_err(|error| {
        Failure::bad_input(format!("configuration file `{}`: {error}", path.display()))
            .hint("`pvdeck config` prints every key with its meaning")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_value_says_where_it_came_from() {
        let file = parse("theme: dark\ncontexts:\n  prod: {write: true}\n", Path::new("c.yaml"))
            .expect("a good file");
        let options = Options { ascii: true, ..Options::default() };
        let config = Config::merge(file, &options, "c.yaml".into());
        let text = config.describe();
        for line in [
            "theme: dark  # file c.yaml",
            "ascii: true  # flag --ascii",
            "log_level: info  # default",
            "  prod:  # file c.yaml",
        ] {
            assert!(text.contains(line), "{line} in\n{text}");
        }
        assert!(config.context("prod").write && !config.context("other").write);
        // What is printed can be read again.
        parse(&text, Path::new("c.yaml")).expect("its own output");
    }

    #[test]
    fn a_bad_key_is_named_with_its_line() {
        let error = parse("theme: dark\ncolour: red\n", Path::new("c.yaml")).expect_err("bad");
        let text = error.to_string();
        assert!(text.contains("c.yaml") && text.contains("colour") && text.contains('2'), "{text}");
    }
}
