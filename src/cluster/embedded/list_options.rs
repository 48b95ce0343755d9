//! The options of lists and watches, and which of them go together.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use crate::cluster::embedded::query::Query;
use crate::cluster::embedded::refusal::{bad_options, bad_request};
use crate::cluster::embedded::registry::Served;
use crate::cluster::embedded::selector::Selector;
use crate::cluster::embedded::status::ApiError;
use crate::model::object::Key;

/// What a list, a watch or a deletion of a collection selects and how.
#[derive(Debug, Clone)]
pub struct ListOptions {
    pub selector: Selector,
    pub limit: Option<usize>,
    pub continuation: Option<Continuation>,
    /// `None`: absent.
    pub version: Option<u64>,
    pub exact: bool,
    pub timeout: Option<Duration>,
    pub bookmarks: bool,
    /// `sendInitialEvents`, if given.
    pub send_initial_events: Option<bool>,
}

/// Where a paged list goes on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Continuation {
    /// The snapshot all pages come from; `None`: from now on the latest state.
    pub version: Option<u64>,
    pub after: Key,
}

impl ListOptions {
    /// Reads and checks the options of a list or a watch.
    pub fn parse(query: &Query, served: Served, watch: bool) -> Result<Self, ApiError> {
        let selector =
            Selector::parse(query.get("labelSelector"), query.get("fieldSelector"), served)?;
        let limit = number(query, "limit")?.and_then(|limit| usize::try_from(limit).ok());
        let timeout = number(query, "timeoutSeconds")?.and_then(|s| u64::try_from(s).ok());
        check_combination(query, watch)?;
        let continuation = match query.get("continue") {
            Some(token) if !watch => Some(Continuation::decode(token)?),
            _ => None,
        };
        let version = version(query, watch)?;
        if continuation.is_some() && version.is_some_and(|version| version > 0) {
            return Err(bad_request(
                "specifying resource version is not allowed when using continue",
            ));
        }
        let matching = query.get("resourceVersionMatch");
        let limit = limit.filter(|limit| *limit > 0);
        Ok(Self {
            selector,
            // The old rule: a version with a limit means exactly that version.
            exact: matching == Some("Exact")
                || (matching.is_none() && limit.is_some() && version.is_some_and(|v| v > 0)),
            // Any state will do, so the latest, complete.
            limit: limit.filter(|_| version != Some(0) || continuation.is_some()),
            continuation,
            version,
            timeout: timeout.filter(|seconds| *seconds > 0).map(Duration::from_secs),
            bookmarks: query.flag("allowWatchBookmarks"),
            send_initial_events: query.optional_flag("sendInitialEvents"),
        })
    }
}

fn number(query: &Query, name: &str) -> Result<Option<i64>, ApiError> {
    query.get(name).map_or(Ok(None), |text| {
        text.parse()
            .map(Some)
            .map_err(|_| bad_request(format!("strconv.ParseInt: parsing {text:?}: invalid syntax")))
    })
}

fn version(query: &Query, watch: bool) -> Result<Option<u64>, ApiError> {
    query.get("resourceVersion").map_or(Ok(None), |text| {
        text.parse().map(Some).map_err(|_| {
            let prefix =
                if watch { "resourceVersion: Invalid value" } else { "invalid resource version" };
            bad_request(format!(
                "{prefix}: {text:?}: strconv.ParseUint: parsing {text:?}: invalid syntax"
            ))
        })
    })
}

/// Refuses options that do not go together.
fn check_combination(query: &Query, watch: bool) -> Result<(), ApiError> {
    let matching = query.get("resourceVersionMatch");
    let initial = query.get("sendInitialEvents").is_some();
    let version = query.get("resourceVersion");
    const MATCH: &str = "resourceVersionMatch";
    let refuse = |path: &str, why: &str| {
        Err(bad_options("ListOptions", |errors| errors.forbidden(path, why)))
    };
    if watch {
        return match (initial, matching) {
            (true, Some("NotOlderThan")) | (false, None) => Ok(()),
            (true, Some(other)) => Err(bad_options("ListOptions", |errors| {
                errors.forbidden(
                    MATCH,
                    "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan",
                );
                errors.not_supported(MATCH, other, &["NotOlderThan"]);
            })),
            (true, None) => refuse(
                MATCH,
                "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan",
            ),
            (false, Some(_)) => refuse(
                MATCH,
                "resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided",
            ),
        };
    }
    if initial {
        return refuse("sendInitialEvents", "sendInitialEvents is forbidden for list");
    }
    match matching {
        None => Ok(()),
        Some(_) if query.get("continue").is_some() => {
            refuse(MATCH, "resourceVersionMatch is forbidden when continue is provided")
        }
        Some(_) if version.is_none() => {
            refuse(MATCH, "resourceVersionMatch is forbidden unless resourceVersion is provided")
        }
        Some("Exact") if version == Some("0") => {
            refuse(MATCH, "resourceVersionMatch \"exact\" is forbidden for resourceVersion \"0\"")
        }
        Some("Exact" | "NotOlderThan") => Ok(()),
        Some(other) => Err(bad_options("ListOptions", |errors| {
            errors.not_supported(MATCH, other, &["Exact", "NotOlderThan"]);
        })),
    }
}

impl Continuation {
    pub fn encode(&self) -> String {
        let start = match self.after.namespace() {
            Some(namespace) => format!("{namespace}/{}\u{0}", self.after.name),
            None => format!("{}\u{0}", self.after.name),
        };
        let version = self.version.map_or(Value::from(-1), Value::from);
        let token = json!({"v": "meta.k8s.io/v1", "rv": version, "start": start});
        URL_SAFE_NO_PAD.encode(token.to_string())
    }

    fn decode(token: &str) -> Result<Self, ApiError> {
        let bad = |why: &str| {
            bad_request(format!("invalid continue token: continue key is not valid: {why}"))
        };
        let bytes = URL_SAFE_NO_PAD
            .decode(token.trim_end_matches('='))
            .map_err(|error| bad(&error.to_string()))?;
        let token: Value =
            serde_json::from_slice(&bytes).map_err(|error| bad(&error.to_string()))?;
        let start = token["start"].as_str().unwrap_or_default().trim_end_matches('\u{0}');
        let version = token["rv"].as_i64().unwrap_or_default();
        if start.is_empty() || version == 0 {
            return Err(bad("incorrect encoded start resourceVersion"));
        }
        let after = match start.split_once('/') {
            Some((namespace, name)) => Key::new(namespace, name),
            None => Key::cluster(start),
        };
        Ok(Self { version: u64::try_from(version).ok(), after })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_continue_token_survives_its_way_through_a_client() {
        for (version, after) in
            [(Some(812), Key::new("shop", "data")), (None, Key::cluster("pv-a"))]
        {
            let continuation = Continuation { version, after };
            assert_eq!(Continuation::decode(&continuation.encode()).ok(), Some(continuation));
        }
        let error = Continuation::decode("z9h").unwrap_err();
        assert!(error.message.starts_with("invalid continue token: "), "{}", error.message);
    }
}
