//! Sets of access modes, four bits wide.

use std::fmt;

use serde_json::Value;

/// One way in which a volume may be mounted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum AccessMode {
    ReadWriteOnce,
    ReadOnlyMany,
    ReadWriteMany,
    ReadWriteOncePod,
}

impl AccessMode {
    /// All modes in canonical order.
    pub const ALL: [AccessMode; 4] =
        [Self::ReadWriteOnce, Self::ReadOnlyMany, Self::ReadWriteMany, Self::ReadWriteOncePod];

    pub fn name(self) -> &'static str {
        match self {
            Self::ReadWriteOnce => "ReadWriteOnce",
            Self::ReadOnlyMany => "ReadOnlyMany",
            Self::ReadWriteMany => "ReadWriteMany",
            Self::ReadWriteOncePod => "ReadWriteOncePod",
        }
    }

    /// `RWO`, `ROX`, `RWX`, `RWOP`.
    pub fn short(self) -> &'static str {
        match self {
            Self::ReadWriteOnce => "RWO",
            Self::ReadOnlyMany => "ROX",
            Self::ReadWriteMany => "RWX",
            Self::ReadWriteOncePod => "RWOP",
        }
    }

    pub fn by_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|mode| mode.name() == name)
    }
}

/// A set of access modes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct AccessModes(u8);

impl AccessModes {
    pub const NONE: AccessModes = AccessModes(0);

    /// Reads a JSON list; unknown modes are ignored, as the binder does.
    pub fn from_json(list: &Value) -> Self {
        list.as_array()
            .into_iter()
            .flatten()
            .filter_map(|mode| AccessMode::by_name(mode.as_str()?))
            .collect()
    }

    pub fn contains(self, mode: AccessMode) -> bool {
        self.0 & (1 << mode as u8) != 0
    }

    /// Whether every mode of `wanted` is in this set.
    pub fn contains_all(self, wanted: AccessModes) -> bool {
        self.0 & wanted.0 == wanted.0
    }

    /// The modes of this set that are not in `other`.
    pub fn without(self, other: AccessModes) -> Self {
        Self(self.0 & !other.0)
    }

    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    pub fn len(self) -> u32 {
        self.0.count_ones()
    }

    /// The modes in canonical order.
    pub fn iter(self) -> impl Iterator<Item = AccessMode> {
        AccessMode::ALL.into_iter().filter(move |mode| self.contains(*mode))
    }

    /// Every set that contains all of this one, fewest modes first, then in
    /// canonical order.
    pub fn supersets(self) -> Vec<AccessModes> {
        let mut sets: Vec<_> =
            (0..16).map(AccessModes).filter(|set| set.contains_all(self)).collect();
        sets.sort_by_key(|set| (set.len(), set.0));
        sets
    }
}

impl FromIterator<AccessMode> for AccessModes {
    fn from_iter<I: IntoIterator<Item = AccessMode>>(modes: I) -> Self {
        Self(modes.into_iter().fold(0, |set, mode| set | 1 << mode as u8))
    }
}

impl fmt::Display for AccessModes {
    /// `RWO,ROX`, as `kubectl get` shows them.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, mode) in self.iter().enumerate() {
            if at > 0 {
                f.write_str(",")?;
            }
            f.write_str(mode.short())?;
        }
        Ok(())
    }
}
