//! Reading a scenario: a YAML file, checked as a whole before anything is
//! played, so that a mistake in the last step is found at the first.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use serde::Deserialize;
use serde_json::{Value, json};
use serde_yaml::Spanned;

use crate::model::kind::Kind;
use crate::model::object::{Key, ObjectRef};
use crate::model::write::Actor;
use crate::scenario::condition::{Condition, ConditionFields, DEFAULT_NAMESPACE};
use crate::scenario::machine::{MachineDeed, MachineFile};

/// An expectation without `within` may take this long.
const DEFAULT_WITHIN: Duration = Duration::from_secs(60);
/// How long people get to read a step, unless the scenario says otherwise.
const DEFAULT_PAUSE: Duration = Duration::from_secs(4);
/// Who acts in a step that names nobody.
const DEFAULT_ACTOR: &str = "admin";

/// A story: what there is at first, and what is done to it.
#[derive(Debug, Clone, PartialEq)]
pub struct Scenario {
    pub title: String,
    pub intro: String,
    /// Between two steps, when people watch.
    pub pause: Duration,
    pub setup: Vec<Deed>,
    pub steps: Vec<Step>,
}

/// One step: who does what, and what must come of it.
#[derive(Debug, Clone, PartialEq)]
pub struct Step {
    pub caption: String,
    pub actor: Actor,
    /// In this order; none in a step that only watches.
    pub deeds: Vec<Deed>,
    /// What is done at machines, in this order; then `deeds` are empty.
    pub machine: Vec<MachineDeed>,
    /// All of which must hold before the next step.
    pub expect: Vec<Expectation>,
}

/// What is done to one object.
#[derive(Debug, Clone, PartialEq)]
pub struct Deed {
    pub object: ObjectRef,
    pub action: Action,
}

/// The ways to change an object.
#[derive(Debug, Clone, PartialEq)]
pub enum Action {
    /// Create it, or change what is there to match.
    Apply(Value),
    /// A JSON merge patch.
    Patch(Value),
    Delete,
}

/// A condition and how long it may take.
#[derive(Debug, Clone, PartialEq)]
pub struct Expectation {
    pub condition: Condition,
    pub within: Duration,
}

/// A scenario that cannot be read: where and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BadScenario {
    /// The file, or the name of a built-in scenario.
    pub file: String,
    pub line: Option<u64>,
    pub what: String,
}

impl fmt::Display for BadScenario {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            Some(line) => write!(f, "{}:{line}: {}", self.file, self.what),
            None => write!(f, "{}: {}", self.file, self.what),
        }
    }
}

impl std::error::Error for BadScenario {}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ScenarioFile {
    title: String,
    #[serde(default)]
    intro: String,
    pause: Option<u64>,
    #[serde(default)]
    setup: Vec<Spanned<Value>>,
    steps: Vec<Spanned<StepFile>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct StepFile {
    caption: String,
    actor: Option<String>,
    #[serde(default)]
    apply: Vec<Spanned<Value>>,
    patch: Option<PatchFile>,
    delete: Option<Named>,
    label: Option<Pairs>,
    annotate: Option<Pairs>,
    #[serde(default)]
    machine: Vec<Spanned<MachineFile>>,
    #[serde(default)]
    expect: Vec<Spanned<ConditionFields>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Named {
    kind: String,
    name: String,
    namespace: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PatchFile {
    kind: String,
    name: String,
    namespace: Option<String>,
    patch: Value,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Pairs {
    kind: String,
    name: String,
    namespace: Option<String>,
    /// Null takes the key away.
    set: BTreeMap<String, Value>,
}

impl Scenario {
    /// Reads and checks a scenario. `file` is what errors call it.
    pub fn read(file: &str, text: &str) -> Result<Self, BadScenario> {
        // A volume may be called `n`: only `true` and `false` are booleans.
        let options = serde_yaml::options! { strict_booleans: true };
        let bad = |error: serde_yaml::Error| BadScenario {
            file: file.to_owned(),
            line: error.location().map(|at| at.line()),
            what: error.without_snippet().to_string(),
        };
        let read: ScenarioFile = serde_yaml::from_str_with_options(text, options).map_err(bad)?;
        read.check().map_err(|(line, what)| BadScenario {
            file: file.to_owned(),
            line: Some(line),
            what,
        })
    }
}

/// A mistake and its line.
type Mistake = (u64, String);

impl ScenarioFile {
    fn check(self) -> Result<Scenario, Mistake> {
        if self.steps.is_empty() {
            return Err((1, "a scenario needs at least one step".into()));
        }
        Ok(Scenario {
            title: self.title,
            intro: self.intro.trim().to_owned(),
            pause: self.pause.map_or(DEFAULT_PAUSE, Duration::from_secs),
            setup: self.setup.into_iter().map(applied).collect::<Result<_, _>>()?,
            steps: self.steps.into_iter().map(step).collect::<Result<_, _>>()?,
        })
    }
}

fn step(step: Spanned<StepFile>) -> Result<Step, Mistake> {
    let line = step.referenced.line();
    let step = step.value;
    let deeds = [
        (!step.apply.is_empty())
            .then(|| step.apply.into_iter().map(applied).collect::<Result<Vec<_>, _>>()),
        step.patch
            .map(|p| one(line, &p.kind, &p.name, p.namespace.as_deref(), Action::Patch(p.patch))),
        step.delete.map(|d| one(line, &d.kind, &d.name, d.namespace.as_deref(), Action::Delete)),
        step.label.map(|p| pairs(line, "labels", p)),
        step.annotate.map(|p| pairs(line, "annotations", p)),
    ];
    let mut given = deeds.into_iter().flatten();
    let deeds = given.next().transpose()?.unwrap_or_default();
    if given.next().is_some() || !(deeds.is_empty() || step.machine.is_empty()) {
        let what = "a step has at most one of `apply`, `patch`, `delete`, `label`, `annotate`, \
                    `machine`";
        return Err((line, what.into()));
    }
    if deeds.is_empty() && step.machine.is_empty() && step.expect.is_empty() {
        return Err((line, "a step needs something to do or to `expect`".into()));
    }
    Ok(Step {
        caption: step.caption.trim().to_owned(),
        actor: Actor(step.actor.unwrap_or_else(|| DEFAULT_ACTOR.into())),
        deeds,
        machine: step.machine.into_iter().map(at_machine).collect::<Result<_, _>>()?,
        expect: step.expect.iter().map(expectation).collect::<Result<_, _>>()?,
    })
}

fn at_machine(deed: Spanned<MachineFile>) -> Result<MachineDeed, Mistake> {
    let line = deed.referenced.line();
    deed.value.check().map_err(|what| (line, what))
}

fn expectation(fields: &Spanned<ConditionFields>) -> Result<Expectation, Mistake> {
    let condition = fields.value.check().map_err(|what| (fields.referenced.line(), what))?;
    let within = fields.value.within.map_or(DEFAULT_WITHIN, Duration::from_secs);
    Ok(Expectation { condition, within })
}

fn applied(object: Spanned<Value>) -> Result<Deed, Mistake> {
    let line = object.referenced.line();
    let mut object = object.value;
    let reference = manifest_reference(&object).map_err(|what| (line, what))?;
    if let Some(namespace) = reference.key.namespace() {
        object["metadata"]["namespace"] = namespace.into();
    }
    Ok(Deed { object: reference, action: Action::Apply(object) })
}

/// Which object a manifest is about.
pub fn manifest_reference(manifest: &Value) -> Result<ObjectRef, String> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let (api_version, kind) = (text(&manifest["apiVersion"]), text(&manifest["kind"]));
    let name = text(&manifest["metadata"]["name"]);
    if api_version.is_empty() || kind.is_empty() || name.is_empty() {
        return Err("an object needs `apiVersion`, `kind` and `metadata.name`".into());
    }
    let kind = Kind::by_type(&api_version, &kind)
        .ok_or_else(|| format!("unknown kind `{kind}` of `{api_version}`"))?;
    Ok(reference(kind, &name, manifest["metadata"]["namespace"].as_str()))
}

fn reference(kind: &'static Kind, name: &str, namespace: Option<&str>) -> ObjectRef {
    let namespace = namespace.unwrap_or(DEFAULT_NAMESPACE);
    let key = if kind.namespaced { Key::new(namespace, name) } else { Key::cluster(name) };
    ObjectRef::new(kind, key)
}

fn one(
    line: u64,
    word: &str,
    name: &str,
    namespace: Option<&str>,
    action: Action,
) -> Result<Vec<Deed>, Mistake> {
    let kind = Kind::by_word(word).ok_or_else(|| (line, format!("unknown kind `{word}`")))?;
    Ok(vec![Deed { object: reference(kind, name, namespace), action }])
}

fn pairs(line: u64, field: &str, pairs: Pairs) -> Result<Vec<Deed>, Mistake> {
    let patch = json!({"metadata": {field: pairs.set}});
    one(line, &pairs.kind, &pairs.name, pairs.namespace.as_deref(), Action::Patch(patch))
}

#[cfg(test)]
mod tests {
    use super::*;

    const WHOLE: &str = "\
title: A volume
intro: |
  One volume.
pause: 2
setup:
- {apiVersion: v1, kind: Namespace, metadata: {name: shop}}
steps:
- caption: The admin makes a volume.
  apply:
  - {apiVersion: v1, kind: PersistentVolume, metadata: {name: pv-1}}
  expect:
  - {kind: pv, name: pv-1, path: '{.status.phase}', value: Available, within: 9}
- caption: The developer labels a claim.
  actor: developer
  label: {kind: pvc, name: data, namespace: shop, set: {tier: gold}}
";

    #[test]
    fn a_whole_scenario_is_read() {
        let scenario = Scenario::read("x.yaml", WHOLE).expect("read");
        assert_eq!((scenario.title.as_str(), scenario.intro.as_str()), ("A volume", "One volume."));
        assert_eq!(scenario.pause, Duration::from_secs(2));
        let [first, second] = scenario.steps.as_slice() else { panic!("two steps") };
        assert_eq!(first.actor.0, "admin");
        assert_eq!(first.deeds[0].object.to_string(), "persistentvolume/pv-1");
        assert_eq!(first.expect[0].within, Duration::from_secs(9));
        assert_eq!(second.actor.0, "developer");
        assert_eq!(second.deeds[0].object.to_string(), "persistentvolumeclaim/shop/data");
        assert_eq!(
            second.deeds[0].action,
            Action::Patch(json!({"metadata": {"labels": {"tier": "gold"}}}))
        );
    }

    #[test]
    fn mistakes_are_found_with_their_line() {
        for (from, to, expected) in [
            ("kind: pvc,", "kind: widget,", "x.yaml:13: unknown kind `widget`"),
            (
                "kind: PersistentVolume,",
                "kind: Widget,",
                "x.yaml:10: unknown kind `Widget` of `v1`",
            ),
            ("kind: pv,", "kind: pvx,", "x.yaml:12: unknown kind `pvx`"),
            ("  actor: developer", "  actress: developer", "x.yaml:14: "),
            ("steps:", "stairs:", "x.yaml:7: "),
            (
                "  actor: developer",
                "  delete: {kind: pv, name: x}",
                "x.yaml:13: a step has at most",
            ),
        ] {
            let text = WHOLE.replacen(from, to, 1);
            let error = Scenario::read("x.yaml", &text).expect_err("refused").to_string();
            assert!(error.starts_with(expected), "{from} -> {to}: {error}");
        }
    }
}
