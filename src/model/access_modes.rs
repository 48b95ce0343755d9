//! Sets of access modes, four bits wide.

use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};

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

/// A set of access modes. Sets are equal whatever the order they were written
/// in; the order is kept, as a claim's status repeats its volume's list.
#[derive(Debug, Clone, Copy, Default)]
pub struct AccessModes {
    set: u8,
    /// The modes in the order written, two bits each from the lowest.
    order: u8,
}

impl PartialEq for AccessModes {
    fn eq(&self, other: &Self) -> bool {
        self.set == other.set
    }
}

impl Eq for AccessModes {}

impl Hash for AccessModes {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.set.hash(state);
    }
}

impl PartialOrd for AccessModes {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for AccessModes {
    fn cmp(&self, other: &Self) -> Ordering {
        self.set.cmp(&other.set)
    }
}

impl AccessModes {
    pub const NONE: AccessModes = AccessModes { set: 0, order: 0 };

    /// Reads a JSON list; unknown modes are ignored, as the binder does.
    pub fn from_json(list: &Value) -> Self {
        list.as_array()
            .into_iter()
            .flatten()
            .filter_map(|mode| AccessMode::by_name(mode.as_str()?))
            .collect()
    }

    pub fn contains(self, mode: AccessMode) -> bool {
        self.set & (1 << mode as u8) != 0
    }

    /// Whether every mode of `wanted` is in this set.
    pub fn contains_all(self, wanted: AccessModes) -> bool {
        self.set & wanted.set == wanted.set
    }

    /// The modes of this set that are not in `other`.
    pub fn without(self, other: AccessModes) -> Self {
        self.iter_as_written().filter(|mode| !other.contains(*mode)).collect()
    }

    pub fn is_empty(self) -> bool {
        self.set == 0
    }

    pub fn len(self) -> u32 {
        self.set.count_ones()
    }

    /// The modes in canonical order.
    pub fn iter(self) -> impl Iterator<Item = AccessMode> {
        AccessMode::ALL.into_iter().filter(move |mode| self.contains(*mode))
    }

    /// The modes in the order they were written, each once.
    pub fn iter_as_written(self) -> impl Iterator<Item = AccessMode> {
        (0..self.len()).map(move |at| AccessMode::ALL[usize::from(self.order >> (2 * at) & 3)])
    }

    /// Every set that contains all of this one, fewest modes first, then in
    /// canonical order.
    pub fn supersets(self) -> Vec<AccessModes> {
        let all = (0..16_u8).map(|set| {
            AccessMode::ALL.into_iter().filter(|mode| set & (1 << *mode as u8) != 0).collect()
        });
        let mut sets: Vec<AccessModes> = all.filter(|set: &Self| set.contains_all(self)).collect();
        sets.sort_by_key(|set| (set.len(), set.set));
        sets
    }
}

impl FromIterator<AccessMode> for AccessModes {
    fn from_iter<I: IntoIterator<Item = AccessMode>>(modes: I) -> Self {
        modes.into_iter().fold(Self::NONE, |held, mode| {
            if held.contains(mode) {
                return held;
            }
            let order = held.order | (mode as u8) << (2 * held.len());
            Self { set: held.set | 1 << mode as u8, order }
        })
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

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_set_keeps_the_order_it_was_written_in_and_is_equal_without() {
        let written = AccessModes::from_json(&json!([
            "ReadWriteMany",
            "ReadWriteOnce",
            "ReadWriteMany",
            "ReadOnlyMany",
            "ReadWriteOncePod",
        ]));
        let names: Vec<_> = written.iter_as_written().map(AccessMode::short).collect();
        assert_eq!(names, ["RWX", "RWO", "ROX", "RWOP"]);
        assert_eq!(written.to_string(), "RWO,ROX,RWX,RWOP");
        assert_eq!(written, AccessMode::ALL.into_iter().collect());
        assert_eq!(written.supersets(), [written]);
    }
}
