//! The messages and services of the Container Storage Interface (`csi.v1`) and
//! of the kubelet's plugin registration.
//!
//! Generated from the two files in `proto/`, which hold names and wire numbers.
//! A crate of its own, so that it is compiled once: the generated code is as
//! large as all controllers together.
//!
//! Every message can be serialised for people; what is secret is left out then.

use std::collections::{BTreeMap, HashMap};

use serde::ser::{Serialize, SerializeMap, Serializer};

/// The Container Storage Interface.
pub mod csi {
    tonic::include_proto!("csi.v1");
}

/// The kubelet's plugin registration.
pub mod registration {
    tonic::include_proto!("pluginregistration");
}

/// What stands for a secret wherever a request is shown.
pub const STRIPPED: &str = "***stripped***";

/// The entry of a volume's context, or of its secrets, that holds tokens of
/// service accounts.
pub const TOKENS: &str = "csi.storage.k8s.io/serviceAccount.tokens";

/// A volume's context, without the tokens in it.
fn without_tokens<S: Serializer>(
    context: &HashMap<String, String>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    let mut shown: BTreeMap<&str, &str> =
        context.iter().map(|(key, value)| (&**key, &**value)).collect();
    shown.entry(TOKENS).and_modify(|tokens| *tokens = STRIPPED);
    serializer.collect_map(shown)
}

/// Names the secrets without their values.
fn stripped<S: Serializer>(
    secrets: &HashMap<String, String>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    let mut names: Vec<&String> = secrets.keys().collect();
    names.sort();
    let mut map = serializer.serialize_map(Some(names.len()))?;
    for name in names {
        map.serialize_entry(name, STRIPPED)?;
    }
    map.end()
}

/// A time as seconds since 1970.
fn seconds<S: Serializer>(
    time: &Option<prost_types::Timestamp>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    time.as_ref().map(|time| time.seconds).serialize(serializer)
}
