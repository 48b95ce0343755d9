//! Reading a recorded scenario: `steps.yaml` and `trace.yaml` of one folder.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use pvdeck::scenario::condition::ConditionFields;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::trace::Trace;
use super::trace_file::TraceFile;

/// One recorded scenario.
pub struct Recording {
    /// The folder's name, such as `01-static-nfs-bind`.
    pub name: String,
    pub steps: Vec<Step>,
    pub trace: Trace,
}

impl Recording {
    /// Whether FlexVolume drivers are installed on its nodes.
    pub fn has_programs(&self) -> bool {
        let installs =
            |step: &Step| matches!(step, Step::Host(what) if what.contains_key("flexvolumeDriver"));
        self.steps.iter().any(installs)
    }
}

/// A file that cannot be read as what it should be.
#[derive(Debug)]
pub struct Bad {
    pub file: PathBuf,
    pub line: Option<u64>,
    pub what: String,
}

impl fmt::Display for Bad {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.file.display())?;
        if let Some(line) = self.line {
            write!(f, ":{line}")?;
        }
        write!(f, ": {}", self.what)
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct StepsFile {
    #[expect(dead_code, reason = "the trace repeats it")]
    title: String,
    steps: Vec<Step>,
}

/// One entry of `steps.yaml`.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Step {
    Apply(Vec<Value>),
    Patch(Patch),
    Delete(Delete),
    Label(Pairs),
    Annotate(Pairs),
    Taint(Taint),
    Wait(Box<ConditionFields>),
    Pause(f64),
    Host(BTreeMap<String, Value>),
    Kubelet(Kubelet),
}

impl Step {
    /// Its key in the file.
    pub fn op(&self) -> &'static str {
        match self {
            Self::Apply(_) => "apply",
            Self::Patch(_) => "patch",
            Self::Delete(_) => "delete",
            Self::Label(_) => "label",
            Self::Annotate(_) => "annotate",
            Self::Taint(_) => "taint",
            Self::Wait(_) => "wait",
            Self::Pause(_) => "pause",
            Self::Host(_) => "host",
            Self::Kubelet(_) => "kubelet",
        }
    }

    /// Whether it acts, so that the recorded order has a marker for it.
    pub fn acts(&self) -> bool {
        !matches!(self, Self::Wait(_) | Self::Pause(_))
    }
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Patch {
    pub kind: String,
    pub name: String,
    pub patch: Value,
    pub subresource: Option<String>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Delete {
    pub kind: String,
    pub name: String,
    pub grace_period_seconds: Option<u64>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pairs {
    pub kind: String,
    pub name: String,
    /// Null takes the key away.
    pub set: BTreeMap<String, Value>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Taint {
    pub name: String,
    #[serde(default)]
    pub add: Vec<Value>,
    #[serde(default)]
    pub remove: Vec<String>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Kubelet {
    pub node: String,
    pub action: String,
}

/// The folder that holds the recordings: `PVDECK_GOLDEN`, or the copy that
/// comes with the sources.
pub fn folder() -> PathBuf {
    std::env::var_os("PVDECK_GOLDEN")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden"), PathBuf::from)
}

/// Every recording of a folder, by name.
pub fn all(folder: &Path) -> Result<Vec<Recording>, Bad> {
    let bad = |error: std::io::Error| Bad {
        file: folder.to_owned(),
        line: None,
        what: format!("cannot list the recordings: {error}"),
    };
    let mut names = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(bad)? {
        let entry = entry.map_err(bad)?;
        if entry.path().join("steps.yaml").exists() {
            names.push(entry.path());
        }
    }
    names.sort();
    if names.is_empty() {
        return Err(Bad {
            file: folder.to_owned(),
            line: None,
            what: "holds no folder with a steps.yaml".into(),
        });
    }
    names.iter().map(|path| one(path)).collect()
}

/// The recording in one folder.
pub fn one(path: &Path) -> Result<Recording, Bad> {
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let steps: StepsFile = read(&path.join("steps.yaml"))?;
    let trace_path = path.join("trace.yaml");
    let trace = read::<TraceFile>(&trace_path)?.written_out().map_err(|what| Bad {
        line: line_of(&trace_path, &what.mark),
        file: trace_path.clone(),
        what: what.text,
    })?;
    for recorded in &trace.steps {
        let op = recorded.step.checked_sub(1).and_then(|at| steps.steps.get(at)).map(Step::op);
        if op != Some(recorded.op.as_str()) {
            return Err(Bad {
                line: line_of(&trace_path, &format!("step: {}", recorded.step)),
                file: trace_path,
                what: format!(
                    "step {} is `{}` here and `{}` in steps.yaml",
                    recorded.step,
                    recorded.op,
                    op.unwrap_or("missing")
                ),
            });
        }
    }
    Ok(Recording { name, steps: steps.steps, trace })
}

fn read<T: DeserializeOwned>(path: &Path) -> Result<T, Bad> {
    let bad = |line, what| Bad { file: path.to_owned(), line, what };
    let text = std::fs::read_to_string(path)
        .map_err(|error| bad(None, format!("cannot be read: {error}")))?;
    parse(&text).map_err(|(line, what)| bad(line, what))
}

/// Parses a document; on failure the line and what is wrong there.
pub fn parse<T: DeserializeOwned>(text: &str) -> Result<T, (Option<u64>, String)> {
    let options = serde_yaml::options! { strict_booleans: true };
    serde_yaml::from_str_with_options(text, options).map_err(|error| {
        let line = error.location().map(|at| at.line());
        (line, error.without_snippet().to_string())
    })
}

/// The first line that holds `mark`.
fn line_of(path: &Path, mark: &str) -> Option<u64> {
    let text = std::fs::read_to_string(path).ok()?;
    text.lines().position(|line| line.contains(mark)).map(|at| at as u64 + 1)
}
