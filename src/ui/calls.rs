//! What is known of the calls to CSI drivers: taken over only while the seen
//! view shows any, and only those that it is about.

use std::sync::Arc;

use serde_json::Value;

use crate::mirror::Tables;
use crate::model::kind;
use crate::model::object::Key;
use crate::plugins::csi::calls::{Call, RpcFigures};
use crate::plugins::flex_volume::drivers::Shown;
use crate::ui::state::{State, TableId, View};
use crate::ui::target::Target;

/// How many calls are shown of a volume, or of a driver.
pub const CALLS_MAX: usize = 200;

/// The calls that the seen view shows.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct CallFacts {
    /// What all calls amount to, by driver and kind.
    pub figures: Vec<RpcFigures>,
    /// What drivers say they can do, by driver and call.
    pub abilities: Vec<(Arc<str>, &'static str, Value)>,
    /// Those about the object of the view, oldest first.
    pub calls: Vec<Call>,
    /// The FlexVolume drivers that were found.
    pub flex_volume: Vec<Shown>,
}

impl CallFacts {
    /// The FlexVolume drivers in words.
    pub fn flex_volume_in_words(&self) -> String {
        if self.flex_volume.is_empty() {
            return "No driver is installed.".to_owned();
        }
        let one = |driver: &Shown| match &driver.state {
            Ok(can) if can.attach => format!("{} attaches", driver.name),
            Ok(_) => format!("{} mounts", driver.name),
            Err(why) => format!("{} FAILS: {why}", driver.name),
        };
        let all: Vec<String> = self.flex_volume.iter().map(one).collect();
        format!("Installed: {}.", all.join("; "))
    }
}

/// Which calls belong to an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum About {
    /// To a driver of this name.
    Driver(String),
    /// About a volume of one of these names: the driver's, and the one that it
    /// was asked for under.
    Volume(Vec<String>),
}

impl About {
    pub fn includes(&self, call: &Call) -> bool {
        match self {
            Self::Driver(driver) => *call.driver == **driver,
            Self::Volume(names) => {
                let subject = call.subject();
                !subject.is_empty() && names.iter().any(|name| name == subject)
            }
        }
    }

    /// What calls are about that belong to an object; `None`: none can be.
    pub fn of(target: &Target, tables: &Tables) -> Option<Self> {
        if target.kind == kind::CSI_DRIVER {
            return Some(Self::Driver(target.name.clone()));
        }
        let of_volume = |name: &str| {
            let volume = tables.volumes.get(&Key::cluster(name));
            let handle = volume.map(|volume| volume.source.place.to_string());
            std::iter::once(name.to_owned()).chain(handle).filter(|name| !name.is_empty())
        };
        if target.kind == kind::PERSISTENT_VOLUME {
            return Some(Self::Volume(of_volume(&target.name).collect()));
        }
        let claim = tables.claims.by_uid(&target.uid)?;
        let mut names: Vec<String> = of_volume(&claim.volume_name).collect();
        names.push(format!("pvc-{}", claim.meta.uid));
        Some(Self::Volume(names))
    }
}

/// Whether the seen view shows calls at all.
pub fn shows_calls(state: &State) -> bool {
    match &state.top().view {
        View::Table(table) => {
            matches!(table, TableId::Drivers | TableId::Classes | TableId::Plugins)
        }
        View::Calls(_) | View::Journey(_) => true,
        View::Describe(target) => [kind::CSI_DRIVER, kind::STORAGE_CLASS].contains(&target.kind),
        _ => false,
    }
}

/// The object whose calls the seen view shows.
pub fn wanted(state: &State) -> Option<&Target> {
    match &state.top().view {
        View::Calls(target) | View::Journey(target) => Some(target),
        _ => None,
    }
}
