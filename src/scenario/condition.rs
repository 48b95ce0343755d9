//! What a step waits for: a condition on the cluster's objects.

use std::fmt;

use http::Request;
use serde::Deserialize;
use serde_json::Value;

use crate::model::kind::{self, Kind};
use crate::model::object::{Key, ObjectRef};
use crate::scenario::path::JsonPath;

/// The namespace of objects that name none.
pub const DEFAULT_NAMESPACE: &str = "default";

/// A condition as files write it, before it is checked.
#[derive(Debug, Clone, Deserialize, Default)]
#[serde(deny_unknown_fields)]
pub struct ConditionFields {
    /// Seconds of the cluster's time within which it must hold.
    #[serde(alias = "timeout")]
    pub within: Option<u64>,
    pub kind: Option<String>,
    pub name: Option<String>,
    pub namespace: Option<String>,
    pub path: Option<String>,
    pub value: Option<Value>,
    pub contains: Option<String>,
    #[serde(default)]
    pub unset: bool,
    #[serde(default)]
    pub absent: bool,
    pub count: Option<usize>,
    pub prefix: Option<String>,
    pub event: Option<EventFields>,
}

/// The event a condition asks for.
#[derive(Debug, Clone, Deserialize, PartialEq, Eq)]
#[serde(deny_unknown_fields)]
pub struct EventFields {
    pub reason: String,
    /// The object that the event is about.
    pub kind: Option<String>,
    pub name: Option<String>,
    /// Part of the message.
    pub message: Option<String>,
}

/// Something that holds at a cluster, or not yet.
#[derive(Debug, Clone, PartialEq)]
pub enum Condition {
    /// The path into the object yields what is wanted.
    Field { object: ObjectRef, path: JsonPath, wanted: Wanted },
    /// The object is gone.
    Absent { object: ObjectRef },
    /// Exactly so many objects of the kind match.
    Count {
        kind: &'static Kind,
        prefix: String,
        matching: Option<(JsonPath, Wanted)>,
        count: usize,
    },
    /// Such an event exists.
    Event(EventFields),
}

/// What a path must yield.
#[derive(Debug, Clone, PartialEq)]
pub enum Wanted {
    Value(Value),
    Anything,
    Nothing,
    Containing(String),
}

impl Wanted {
    fn is_met(&self, found: &[&Value]) -> bool {
        match self {
            Self::Nothing => found.is_empty(),
            Self::Anything => !found.is_empty(),
            Self::Containing(part) => {
                found.iter().any(|value| value.as_str().is_some_and(|text| text.contains(part)))
            }
            Self::Value(wanted) => matches!(found, [one] if equal(one, wanted)),
        }
    }
}

/// A string is compared as it is, anything else as JSON.
fn equal(found: &Value, wanted: &Value) -> bool {
    let as_json = || wanted.as_str().and_then(|text| serde_json::from_str::<Value>(text).ok());
    found == wanted || (!found.is_string() && as_json().as_ref() == Some(found))
}

impl ConditionFields {
    /// Checks that the fields make one condition.
    pub fn check(&self) -> Result<Condition, String> {
        if let Some(event) = &self.event {
            return Ok(Condition::Event(event.clone()));
        }
        let word = self.kind.as_deref().ok_or("a condition needs `kind` or `event`")?;
        let kind = Kind::by_word(word).ok_or_else(|| format!("unknown kind `{word}`"))?;
        let wanted = match (&self.value, &self.contains, self.unset) {
            (Some(value), None, false) => Wanted::Value(value.clone()),
            (None, Some(part), false) => Wanted::Containing(part.clone()),
            (None, None, true) => Wanted::Nothing,
            (None, None, false) => Wanted::Anything,
            _ => return Err("only one of `value`, `contains` and `unset` can be given".into()),
        };
        let path = self.path.as_deref().map(str::parse::<JsonPath>).transpose();
        let path = path.map_err(|error| error.to_string())?;
        if let Some(count) = self.count {
            let prefix = self.prefix.clone().unwrap_or_default();
            let matching = path.map(|path| (path, wanted));
            return Ok(Condition::Count { kind, prefix, matching, count });
        }
        let name = self.name.as_deref().ok_or("a condition needs `name` or `count`")?;
        let namespace = self.namespace.as_deref().unwrap_or(DEFAULT_NAMESPACE);
        let key = if kind.namespaced { Key::new(namespace, name) } else { Key::cluster(name) };
        let object = ObjectRef::new(kind, key);
        match path {
            _ if self.absent => Ok(Condition::Absent { object }),
            Some(path) => Ok(Condition::Field { object, path, wanted }),
            None => Err("a condition needs `path`, `absent` or `count`".into()),
        }
    }
}

/// Why a condition could not be looked at: the cluster did not answer.
#[derive(Debug, thiserror::Error)]
#[error("cannot tell whether {condition}")]
pub struct CannotTell {
    condition: String,
    source: kube::Error,
}

impl Condition {
    /// The kind whose objects decide it.
    pub fn kind(&self) -> &'static Kind {
        match self {
            Self::Field { object, .. } | Self::Absent { object } => object.kind,
            Self::Count { kind, .. } => kind,
            Self::Event(_) => kind::EVENT,
        }
    }

    /// What is there instead; `None` if the condition holds.
    pub async fn why_not(&self, client: &kube::Client) -> Result<Option<String>, CannotTell> {
        self.look(client).await.map_err(|source| CannotTell { condition: self.to_string(), source })
    }

    async fn look(&self, client: &kube::Client) -> Result<Option<String>, kube::Error> {
        match self {
            Self::Field { object, path, wanted } => {
                let Some(found) = get(client, object).await? else {
                    return Ok(Some("it does not exist".into()));
                };
                let found = path.find(&found);
                let is = || match found.as_slice() {
                    [] => format!("{path} is not set"),
                    several => format!("{path} is {}", listed(several)),
                };
                Ok((!wanted.is_met(&found)).then(is))
            }
            Self::Absent { object } => {
                let there = get(client, object).await?.is_some();
                Ok(there.then(|| "it is still there".into()))
            }
            Self::Count { kind, prefix, matching, count } => {
                let matches = |object: &&Value| {
                    let name = object["metadata"]["name"].as_str().unwrap_or_default();
                    let field = matching.as_ref().is_none_or(|(p, w)| w.is_met(&p.find(object)));
                    name.starts_with(prefix.as_str()) && field
                };
                let there = list(client, kind).await?.iter().filter(matches).count();
                Ok((there != *count).then(|| format!("there are {there}")))
            }
            Self::Event(wanted) => {
                let there = list(client, kind::EVENT).await?;
                let there = there.iter().any(|event| is_event(event, wanted));
                Ok((!there).then(|| "there is none".into()))
            }
        }
    }
}

fn is_event(event: &Value, wanted: &EventFields) -> bool {
    let about = &event["involvedObject"];
    let same = |wanted: &Option<String>, found: &Value| {
        wanted.as_deref().is_none_or(|wanted| found.as_str() == Some(wanted))
    };
    let message = event["message"].as_str().unwrap_or_default();
    event["reason"] == wanted.reason.as_str()
        && same(&wanted.kind, &about["kind"])
        && same(&wanted.name, &about["name"])
        && wanted.message.as_ref().is_none_or(|part| message.contains(part.as_str()))
}

fn listed(values: &[&Value]) -> String {
    let text = |value: &&Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    values.iter().map(text).collect::<Vec<_>>().join(" ")
}

impl fmt::Display for Wanted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Value(value) => write!(f, "is {}", listed(&[value])),
            Self::Anything => f.write_str("is set"),
            Self::Nothing => f.write_str("is not set"),
            Self::Containing(part) => write!(f, "contains `{part}`"),
        }
    }
}

impl fmt::Display for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Field { object, path, wanted } => write!(f, "{object} {path} {wanted}"),
            Self::Absent { object } => write!(f, "{object} is gone"),
            Self::Count { kind, prefix, matching, count } => {
                write!(f, "{count} {}", kind.plural)?;
                if !prefix.is_empty() {
                    write!(f, " named {prefix}*")?;
                }
                match matching {
                    Some((path, wanted)) => write!(f, " whose {path} {wanted}"),
                    None => Ok(()),
                }
            }
            Self::Event(event) => {
                write!(f, "event {}", event.reason)?;
                let about = [event.kind.as_deref(), event.name.as_deref()];
                let about: Vec<&str> = about.into_iter().flatten().collect();
                match about.as_slice() {
                    [] => Ok(()),
                    about => write!(f, " about {}", about.join(" ")),
                }
            }
        }
    }
}

/// An object as it is now; `None` if there is none.
pub async fn get(client: &kube::Client, object: &ObjectRef) -> Result<Option<Value>, kube::Error> {
    match read(client, object.path()).await {
        Ok(value) => Ok(Some(value)),
        Err(kube::Error::Api(status)) if status.code == 404 => Ok(None),
        Err(error) => Err(error),
    }
}

/// All objects of a kind.
async fn list(client: &kube::Client, kind: &'static Kind) -> Result<Vec<Value>, kube::Error> {
    let mut list = read(client, kind.collection_path(None)).await?;
    match list["items"].take() {
        Value::Array(items) => Ok(items),
        _ => Ok(Vec::new()),
    }
}

async fn read(client: &kube::Client, path: String) -> Result<Value, kube::Error> {
    let request = Request::get(path).body(Vec::new()).map_err(kube::Error::HttpError)?;
    client.request(request).await
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn fields(value: Value) -> ConditionFields {
        serde_json::from_value(value).expect("fields")
    }

    #[test]
    fn conditions_read_as_sentences() {
        for (written, sentence) in [
            (
                json!({"kind": "pvc", "name": "data", "path": "{.status.phase}", "value": "Bound"}),
                "persistentvolumeclaim/default/data .status.phase is Bound",
            ),
            (json!({"kind": "pv", "name": "v", "absent": true}), "persistentvolume/v is gone"),
            (json!({"kind": "Pod", "count": 3, "prefix": "app-"}), "3 pods named app-*"),
            (
                json!({"event": {"reason": "FailedBinding", "name": "data"}}),
                "event FailedBinding about data",
            ),
        ] {
            assert_eq!(fields(written).check().expect("a condition").to_string(), sentence);
        }
    }

    #[test]
    fn incomplete_conditions_say_what_is_missing() {
        for (written, what) in [
            (json!({"name": "x"}), "needs `kind` or `event`"),
            (json!({"kind": "Widget", "name": "x"}), "unknown kind `Widget`"),
            (json!({"kind": "Pod"}), "needs `name` or `count`"),
            (json!({"kind": "Pod", "name": "x"}), "needs `path`, `absent` or `count`"),
            (
                json!({"kind": "Pod", "name": "x", "path": "{.a}", "value": 1, "unset": true}),
                "only one",
            ),
        ] {
            let error = fields(written).check().expect_err("refused");
            assert!(error.contains(what), "{error}");
        }
    }

    #[test]
    fn values_that_are_not_strings_compare_as_json() {
        let met = |wanted: Value, found: Value| Wanted::Value(wanted).is_met(&[&found]);
        assert!(met(json!("Bound"), json!("Bound")));
        assert!(met(json!("3"), json!(3)) && met(json!(3), json!(3)));
        assert!(met(json!("true"), json!(true)));
        assert!(!met(json!("True"), json!(true)));
        assert!(!met(json!(3), json!("3")));
    }
}
