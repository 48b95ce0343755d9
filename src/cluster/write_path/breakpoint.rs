//! Where a run through the step gate stops.

use std::fmt;

use crate::model::kind::Kind;
use crate::model::write::{Actor, Write};

/// Where to stop a run: every part that is given must match.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Breakpoint {
    pub kind: Option<&'static Kind>,
    /// `name` or `namespace/name`.
    pub name: Option<String>,
    /// `CREATE`, `UPDATE`, `PATCH`, `DELETE`.
    pub verb: Option<String>,
    pub actor: Option<String>,
}

impl Breakpoint {
    /// Reads words such as `pv/pv-1`, `pvc`, `DELETE`, `by:binder`, in any
    /// order; the error names the word that is none of these.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut breakpoint = Self::default();
        for word in text.split_whitespace() {
            let upper = word.to_ascii_uppercase();
            if let Some(actor) = word.strip_prefix("by:") {
                breakpoint.actor = Some(actor.to_owned());
            } else if ["CREATE", "UPDATE", "PATCH", "DELETE"].contains(&upper.as_str()) {
                breakpoint.verb = Some(upper);
            } else {
                let (kind, name) = word.split_once('/').map_or((word, None), |(k, n)| (k, Some(n)));
                breakpoint.kind = Some(Kind::by_word(kind).ok_or_else(|| {
                    format!(
                        "`{word}` is no kind, verb or by:ACTOR; try `pv/NAME`, `DELETE`, `by:NAME`"
                    )
                })?);
                breakpoint.name = name.map(str::to_owned);
            }
        }
        if breakpoint == Self::default() {
            return Err(
                "a breakpoint needs a kind, a verb or by:ACTOR, such as `pvc/shop/data`".into()
            );
        }
        Ok(breakpoint)
    }

    pub(super) fn matches(&self, actor: &Actor, write: &Write) -> bool {
        let key = &write.object.key;
        self.kind.is_none_or(|kind| kind == write.object.kind)
            && self.name.as_ref().is_none_or(|name| *name == *key.name || *name == key.to_string())
            && self.verb.as_ref().is_none_or(|verb| verb == write.verb())
            && self.actor.as_ref().is_none_or(|name| *name == actor.0)
    }
}

impl fmt::Display for Breakpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut words: Vec<String> = Vec::new();
        words.extend(self.verb.clone());
        if let Some(kind) = self.kind {
            let name = self.name.as_ref().map(|name| format!("/{name}")).unwrap_or_default();
            words.push(format!("{kind}{name}"));
        }
        words.extend(self.actor.as_ref().map(|actor| format!("by:{actor}")));
        f.write_str(&words.join(" "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_in_any_order_are_read_and_shown_alike() {
        let check = |text: &str, shown: &str| {
            assert_eq!(Breakpoint::parse(text).expect(text).to_string(), shown);
        };
        check("pv/pv-1", "persistentvolume/pv-1");
        check("by:binder delete", "DELETE by:binder");
        check("pvc/shop/data patch", "PATCH persistentvolumeclaim/shop/data");
        assert!(Breakpoint::parse("").is_err());
        assert!(Breakpoint::parse("gadget/x").unwrap_err().contains("gadget/x"));
    }
}
