//! The row of an Event, in the core shape (both groups are one storage).

use std::sync::Arc;

use serde_json::Value;

use crate::model::kind::{self, Kind};
use crate::model::object::{Key, Meta, Seconds};
use crate::model::row::{self, Malformed, Row, Sharing};

/// What screens and diagnoses need of an Event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    pub meta: Meta,
    pub about: Involved,
    pub severity: Severity,
    pub reason: Arc<str>,
    pub message: Arc<str>,
    /// How often it was seen: the larger of `count` and `series.count`, at
    /// least one.
    pub count: u32,
    pub first_seen: Seconds,
    pub last_seen: Seconds,
    /// The component that reported it: `source.component`, else
    /// `reportingComponent`.
    pub source: Arc<str>,
    /// `source.host`, empty if unset.
    pub host: Arc<str>,
}

/// The object an event is about (`involvedObject`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Involved {
    /// As written: a kind that pvdeck need not know.
    pub kind: Arc<str>,
    pub key: Key,
    /// Empty if the reporter gave none.
    pub uid: Arc<str>,
}

/// An event's `type`. Unknown types read as `Normal`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Severity {
    Normal,
    Warning,
}

impl Severity {
    pub fn name(self) -> &'static str {
        match self {
            Self::Normal => "Normal",
            Self::Warning => "Warning",
        }
    }
}

impl Row for Event {
    const KIND: &'static Kind = kind::EVENT;

    fn from_object(object: &Value) -> Result<Self, Malformed> {
        let meta = row::meta(Self::KIND, object)?;
        let (about, series) = (&object["involvedObject"], &object["series"]);
        // Reporters of the new shape leave the old times empty and the other
        // way round; whichever is set counts.
        let first = [&object["firstTimestamp"], &object["eventTime"]]
            .into_iter()
            .find_map(row::seconds)
            .unwrap_or(meta.created);
        let last = [&series["lastObservedTime"], &object["lastTimestamp"]]
            .into_iter()
            .filter_map(row::seconds)
            .max()
            .unwrap_or(first);
        let count = |value: &Value| value.as_u64().and_then(|n| u32::try_from(n).ok()).unwrap_or(0);
        let source = match object["source"]["component"].as_str() {
            Some(component) if !component.is_empty() => component.into(),
            _ => row::text(&object["reportingComponent"]),
        };
        Ok(Self {
            about: Involved {
                kind: row::text(&about["kind"]),
                key: Key::new(row::text(&about["namespace"]), row::text(&about["name"])),
                uid: row::text(&about["uid"]),
            },
            severity: if object["type"] == "Warning" {
                Severity::Warning
            } else {
                Severity::Normal
            },
            reason: row::text(&object["reason"]),
            message: row::text(&object["message"]),
            count: count(&object["count"]).max(count(&series["count"])).max(1),
            first_seen: first,
            last_seen: last.max(first),
            source,
            host: row::text(&object["source"]["host"]),
            meta,
        })
    }

    fn meta(&self) -> &Meta {
        &self.meta
    }

    fn share(&mut self, with: &mut dyn Sharing) {
        row::share_meta(&mut self.meta, with);
        for text in [
            &mut self.about.kind,
            &mut self.about.key.namespace,
            &mut self.reason,
            &mut self.message,
            &mut self.source,
            &mut self.host,
        ] {
            with.text(text);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn event(fields: Value) -> Event {
        let mut object = json!({
            "metadata": {"namespace": "shop", "name": "data.1", "resourceVersion": "7",
                         "creationTimestamp": "2026-01-01T00:00:05Z"},
            "involvedObject": {"kind": "PersistentVolumeClaim", "namespace": "shop", "name": "data"},
        });
        for (key, value) in fields.as_object().expect("fields are a map") {
            object[key] = value.clone();
        }
        Event::from_object(&object).expect("an event")
    }

    #[test]
    fn old_shape_gives_count_and_both_times() {
        let event = event(json!({
            "type": "Warning", "count": 4, "source": {"component": "binder", "host": "n1"},
            "firstTimestamp": "2026-01-01T00:00:01Z", "lastTimestamp": "2026-01-01T00:00:09Z",
        }));
        assert_eq!((event.severity, event.count, &*event.source), (Severity::Warning, 4, "binder"));
        assert_eq!(event.last_seen - event.first_seen, 8);
    }

    #[test]
    fn new_shape_gives_series_and_reporting_component() {
        let event = event(json!({
            "type": "Normal", "eventTime": "2026-01-01T00:00:01.500000Z",
            "firstTimestamp": null, "lastTimestamp": null, "count": null,
            "series": {"count": 3, "lastObservedTime": "2026-01-01T00:00:07.000000Z"},
            "reportingComponent": "scheduler", "source": {},
        }));
        assert_eq!(
            (event.severity, event.count, &*event.source),
            (Severity::Normal, 3, "scheduler")
        );
        assert_eq!(event.last_seen - event.first_seen, 6);
    }

    #[test]
    fn without_any_time_creation_counts() {
        let event = event(json!({}));
        assert_eq!((event.first_seen, event.last_seen), (event.meta.created, event.meta.created));
        assert_eq!(event.count, 1);
    }
}
