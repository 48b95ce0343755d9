//! What types and fields are for, in a sentence each, for `kubectl explain`.

use std::collections::HashMap;
use std::sync::LazyLock;

use crate::cluster::embedded::schema::{Field, ObjectType};

pub const API_VERSION: &str = "The API group and version of the object, such as apps/v1.";
pub const KIND: &str = "What the object is, such as PersistentVolume.";
pub const QUANTITY: &str = "An amount: a number with a unit, binary (Ki, Mi, Gi, Ti, Pi, Ei) or \
                            decimal (m, k, M, G, T, P, E), such as 10Gi.";

/// Sentences by `package.Type`, `package.Type.field` or `*.field`; derived
/// from the text alone and never changed: no state.
static TEXTS: LazyLock<HashMap<&'static str, &'static str>> = LazyLock::new(|| {
    include_str!("descriptions.txt")
        .lines()
        .filter(|line| !line.starts_with('#'))
        .filter_map(|line| line.split_once(": "))
        .collect()
});

/// What a type is.
pub fn of_type(of: &ObjectType) -> &'static str {
    TEXTS.get(of.full_name().as_str()).copied().unwrap_or_default()
}

/// What a field says; a field that is described nowhere takes the sentence of
/// its name or of its type.
pub fn of_field(of: &ObjectType, field: &Field) -> String {
    let own = format!("{}.{}", of.full_name(), field.name);
    let general = format!("*.{}", field.name);
    TEXTS
        .get(own.as_str())
        .or_else(|| TEXTS.get(general.as_str()))
        .map_or_else(String::new, |text| (*text).to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::embedded::schema::named;

    #[test]
    fn every_sentence_describes_something_that_exists() {
        for name in TEXTS.keys().filter(|name| !name.starts_with('*')) {
            let field_of = name
                .rsplit_once('.')
                .and_then(|(of, field)| named(of).and_then(|of| of.field(field)));
            assert!(named(name).is_some() || field_of.is_some(), "{name}");
        }
    }
}
