//! Scripted scenarios: a demo, a test and documentation in one file.
//!
//! A scenario is YAML: a title, an intro, what there is at first, and steps,
//! each with a caption, who acts, what is done (`apply`, `patch`, `delete`,
//! `label` or `annotate`; at a node's `machine`, mounts and files) and what must
//! come of it (`expect`). It is played
//! slowly for people, at once by tests, and write by write for those who step
//! through it.
//!
//! ```text
//! text -> document (checked as a whole) -> play -> write path
//!                                           |
//!                                           └-> Progress, for the screen
//! ```
//!
//! Knows what is below it: the write path, the mirror, the model. It never
//! reaches around the write path, and never reads more than its conditions.

pub mod condition;
pub mod document;
pub mod machine;
pub mod path;
pub mod play;

pub use document::{BadScenario, Scenario};
pub use play::{Pace, PlayState, Player, Progress};

/// A scenario that is part of the program.
#[derive(Debug, Clone, Copy)]
pub struct BuiltIn {
    pub name: &'static str,
    pub text: &'static str,
}

macro_rules! built_in {
    ($($name:literal),* $(,)?) => {
        &[$(BuiltIn {
            name: $name,
            text: include_str!(concat!("../../examples/scenarios/", $name, ".yaml")),
        }),*]
    };
}

/// The scenarios in the program, the one that plays by default first.
pub const BUILT_IN: &[BuiltIn] = built_in![
    "static-nfs",
    "nothing-fits",
    "retain-and-rebind",
    "reserved-volume",
    "default-class",
    "lost-volume",
    "block-disk",
    "file-on-local-volume",
    "file-on-block-disk",
    "local-volumes",
    "local-provisioner",
    "safe-order",
];

/// Reads a built-in scenario; without a name, the default one.
pub fn built_in(name: Option<&str>) -> Result<Scenario, BadScenario> {
    let found = match name {
        None => BUILT_IN.first(),
        Some(name) => BUILT_IN.iter().find(|scenario| scenario.name == name),
    };
    let Some(found) = found else {
        let names: Vec<&str> = BUILT_IN.iter().map(|scenario| scenario.name).collect();
        return Err(BadScenario {
            file: name.unwrap_or_default().to_owned(),
            line: None,
            what: format!("no such scenario; there are {}", names.join(", ")),
        });
    };
    Scenario::read(found.name, found.text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_built_in_scenario_reads() {
        for scenario in BUILT_IN {
            built_in(Some(scenario.name)).unwrap_or_else(|bad| panic!("{bad}"));
        }
        assert_eq!(built_in(None), built_in(Some("static-nfs")));
    }

    #[test]
    fn an_unknown_scenario_names_those_there_are() {
        let error = built_in(Some("nfs")).expect_err("unknown").to_string();
        assert!(error.contains("no such scenario; there are static-nfs, "), "{error}");
    }
}
