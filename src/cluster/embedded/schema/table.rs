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
    by_place: HashMap<Place, usize>,
}

/// A field of a structured type.
#[derive(Debug)]
pub struct Field {
    pub name: &'static str,
    pub of: Type,
    /// Where protobuf has it; `None` for what only JSON says.
    pub place: Option<Place>,
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

/// Where protobuf has a field: its number, in the type's own message or in one
/// that Go embeds, whose fields JSON has among the others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Place {
    /// The number of the embedded message.
    pub embedded: Option<u32>,
    pub number: u32,
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
    Quantity,
    Time,
    MicroTime,
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

    fn push(&mut self, field: Field) {
        let index = self.fields.len();
        self.by_name.insert(field.name, index);
        if let Some(place) = field.place {
            self.by_place.insert(place, index);
        }
        self.fields.push(field);
    }

    /// The field's index among all.
    pub(super) fn field_index(&self, name: &str) -> Option<usize> {
        self.by_name.get(name).copied()
    }

    /// The field at that place of a message.
    pub(super) fn field_at(&self, place: Place) -> Option<&Field> {
        Some(&self.fields[*self.by_place.get(&place)?])
    }

    /// Whether a field's content is a message whose fields are this type's own.
    pub(super) fn embeds(&self, number: u32) -> bool {
        let embedded = |place: Place| place.embedded == Some(number);
        self.fields.iter().any(|field| field.place.is_some_and(embedded))
    }

    /// `core.v1.PersistentVolumeSpec`.
    pub fn full_name(&self) -> String {
        format!("{}.{}", self.package, self.name)
    }
}

impl Place {
    /// Reads `7`, or `2.7` for a field of an embedded message.
    fn read(text: &str) -> Option<Self> {
        let place = match text.split_once('.') {
            Some((embedded, number)) => {
                Self { embedded: Some(embedded.parse().ok()?), number: number.parse().ok()? }
            }
            None => Self { embedded: None, number: text.parse().ok()? },
        };
        Some(place)
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
                    by_place: HashMap::new(),
                });
            }
        }
        let mut at = 0_usize;
        for line in lines() {
            if line.starts_with(' ') {
                let field = table.field(line, table.types[at - 1].package);
                table.types[at - 1].push(field);
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
            place: None,
            optional,
            presence: Presence::OmitEmpty,
            required: false,
            merge: Merge::Replace,
            retain_keys: false,
            list: None,
        };
        for flag in words {
            match flag.split_once('=').unwrap_or((flag, "")) {
                ("", place) => field.place = Place::read(place),
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
            "Quantity" => Type::Quantity,
            "Time" => Type::Time,
            "MicroTime" => Type::MicroTime,
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
        for row in kinds::ALL.iter().chain(kinds::OUTSIDE) {
            assert!(root(row.names).is_some(), "{} {}", row.names.group, row.names.kind);
        }
    }

    #[test]
    fn protobuf_has_every_field_but_the_type_of_an_object() {
        for of in object_types() {
            assert_eq!(of.by_place.len(), of.fields.iter().filter(|f| f.place.is_some()).count());
            for field in &of.fields {
                let says_type = matches!(field.name, "kind" | "apiVersion");
                assert!(field.place.is_some() || says_type, "{} {}", of.full_name(), field.name);
            }
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
