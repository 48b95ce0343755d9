//! The table of types, read once from its text.

use std::collections::HashMap;
use std::sync::LazyLock;

use crate::model::kind::Kind;

/// A structured type.
#[derive(Debug)]
pub struct ObjectType {
    /// `core.v1`.
    pub package: &'static str,
    /// `PersistentVolumeSpec`.
    pub name: &'static str,
    /// Applied as a whole, not field by field.
    pub atomic: bool,
    pub fields: Vec<Field>,
    by_name: HashMap<&'static str, usize>,
}

/// A field of a structured type.
#[derive(Debug)]
pub struct Field {
    pub name: &'static str,
    pub of: Type,
    /// Absent and zero are two things.
    pub optional: bool,
    pub presence: Presence,
    /// Required in the published schema.
    pub required: bool,
    pub merge: Merge,
    /// Strategic merge patches may carry `$retainKeys` here.
    pub retain_keys: bool,
    /// Server-side apply: `atomic`, `set`, or the keys of a map, separated by
    /// commas.
    pub list: Option<&'static str>,
}

/// When a field that has its zero value is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Presence {
    /// Left out, but for objects, which are written empty, and times, which
    /// are written as `null`.
    OmitEmpty,
    /// Left out, times and objects too.
    OmitZero,
    /// Always written.
    Always,
}

/// How a strategic merge patch treats a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Merge {
    Replace,
    ByKey(&'static str),
    Set,
}

/// What stands in a field.
#[derive(Debug, Clone, PartialEq)]
pub enum Type {
    Text,
    Bool,
    Int32,
    Int64,
    Number,
    Quantity,
    Time,
    MicroTime,
    Duration,
    IntOrString,
    Bytes,
    /// Anything, kept as it is.
    Any,
    List(Box<Type>),
    Map(Box<Type>),
    /// An index into the table.
    Object(usize),
}

impl ObjectType {
    /// The field of that name.
    pub fn field(&self, name: &str) -> Option<&Field> {
        Some(&self.fields[self.field_index(name)?])
    }

    /// The field's place.
    pub(super) fn field_index(&self, name: &str) -> Option<usize> {
        self.by_name.get(name).copied()
    }

    /// `core.v1.PersistentVolumeSpec`.
    pub fn full_name(&self) -> String {
        format!("{}.{}", self.package, self.name)
    }
}

struct Table {
    types: Vec<ObjectType>,
    by_name: HashMap<String, usize>,
}

/// Derived from the text alone and never changed: no state.
static TABLE: LazyLock<Table> = LazyLock::new(|| Table::read(include_str!("types.txt")));

/// The type a [`Type::Object`] points to.
pub fn object_type(index: usize) -> &'static ObjectType {
    &TABLE.types[index]
}

/// All structured types.
pub fn object_types() -> &'static [ObjectType] {
    &TABLE.types
}

/// The type of a whole object of this kind, if the table has it.
pub fn root(kind: &Kind) -> Option<&'static ObjectType> {
    named(&format!("{}.{}", package(kind.group, kind.version), kind.kind))
}

/// The type of that full name.
pub fn named(full_name: &str) -> Option<&'static ObjectType> {
    Some(&TABLE.types[*TABLE.by_name.get(full_name)?])
}

/// The package of an API group's types: `storage.k8s.io` `v1` is `storage.v1`.
fn package(group: &str, version: &str) -> String {
    let first = group.split('.').next().filter(|first| !first.is_empty()).unwrap_or("core");
    format!("{first}.{version}")
}

impl Table {
    fn read(text: &'static str) -> Self {
        let lines =
            || text.lines().filter(|line| !line.trim().is_empty() && !line.starts_with('#'));
        let mut table = Self { types: Vec::new(), by_name: HashMap::new() };
        let mut package = "";
        for line in lines() {
            if let Some(name) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
                package = name;
            } else if !line.starts_with(' ') {
                let (name, flags) = line.split_once(' ').unwrap_or((line, ""));
                table.by_name.insert(format!("{package}.{name}"), table.types.len());
                table.types.push(ObjectType {
                    package,
                    name,
                    atomic: flags == "atomic",
                    fields: Vec::new(),
                    by_name: HashMap::new(),
                });
            }
        }
        let mut at = 0_usize;
        for line in lines() {
            if line.starts_with(' ') {
                let field = table.field(line, table.types[at - 1].package);
                let fields = table.types[at - 1].fields.len();
                table.types[at - 1].by_name.insert(field.name, fields);
                table.types[at - 1].fields.push(field);
            } else if !line.starts_with('[') {
                at += 1;
            }
        }
        table
    }

    fn field(&self, line: &'static str, package: &str) -> Field {
        let mut words = line.split_whitespace();
        let name = words.next().unwrap_or_default();
        let mut spelled = words.next().unwrap_or_default();
        let mut maps = 0;
        while spelled == "map" {
            maps += 1;
            spelled = words.next().unwrap_or_default();
        }
        let (optional, spelled) = match spelled.strip_prefix('*') {
            Some(rest) => (true, rest),
            None => (false, spelled),
        };
        let of = (0..maps).fold(self.of(spelled, package), |inner, _| Type::Map(Box::new(inner)));
        let mut field = Field {
            name,
            of,
            optional,
            presence: Presence::OmitEmpty,
            required: false,
            merge: Merge::Replace,
            retain_keys: false,
            list: None,
        };
        for flag in words {
            match flag.split_once('=').unwrap_or((flag, "")) {
                ("always", _) => field.presence = Presence::Always,
                ("omitzero", _) => field.presence = Presence::OmitZero,
                ("required", _) => field.required = true,
                ("retainkeys", _) => field.retain_keys = true,
                ("merge", "") => field.merge = Merge::Set,
                ("merge", key) => field.merge = Merge::ByKey(key),
                ("list", keys) => field.list = Some(keys),
                _ => debug_assert!(flag == "atomic", "unknown flag in types.txt: {line}"),
            }
        }
        field
    }

    fn of(&self, spelled: &str, package: &str) -> Type {
        if let Some(item) = spelled.strip_prefix("[]") {
            return Type::List(Box::new(self.of(item, package)));
        }
        match spelled {
            "string" => Type::Text,
            "bool" => Type::Bool,
            "int32" => Type::Int32,
            "int64" => Type::Int64,
            "number" => Type::Number,
            "Quantity" => Type::Quantity,
            "Time" => Type::Time,
            "MicroTime" => Type::MicroTime,
            "Duration" => Type::Duration,
            "IntOrString" => Type::IntOrString,
            "bytes" => Type::Bytes,
            "any" => Type::Any,
            name => {
                let local = self.by_name.get(&format!("{package}.{name}"));
                let index = local.or_else(|| self.by_name.get(name));
                debug_assert!(index.is_some(), "unknown type in types.txt: {name}");
                index.map_or(Type::Any, |index| Type::Object(*index))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::embedded::kinds;

    #[test]
    fn every_served_kind_has_its_type() {
        for row in kinds::ALL {
            assert!(root(row.names).is_some(), "{} {}", row.names.group, row.names.kind);
        }
    }

    #[test]
    fn merge_keys_are_those_of_the_published_schema() {
        let pod = named("core.v1.PodSpec").expect("pods have a spec");
        let merge = |name: &str| pod.field(name).expect("a field").merge;
        assert_eq!(merge("containers"), Merge::ByKey("name"));
        assert_eq!(merge("tolerations"), Merge::Replace);
        assert!(pod.field("volumes").is_some_and(|field| field.retain_keys));
        let meta = named("meta.v1.ObjectMeta").expect("objects have metadata");
        assert_eq!(meta.field("finalizers").map(|field| field.merge), Some(Merge::Set));
    }
}
