//! The JSON options that a driver is called with: pure.
//!
//! Upstream: `pkg/volume/flexvolume/driver-call.go` (`NewOptionsForDriver`),
//! `util.go` (`addSecretsToOptions`).

use std::collections::BTreeMap;

use serde_json::Value;

use crate::model::object::Key;
use crate::model::volume_source::{VolumeSource, VolumeSpec};
use crate::plugins::host::command::SECRET_OPTION;
use crate::plugins::plugin::{Need, NodeVolume, PodPart};

const FS_TYPE: &str = "kubernetes.io/fsType";
const READ_WRITE: &str = "kubernetes.io/readwrite";
const NAME: &str = "kubernetes.io/pvOrVolumeName";
const FS_GROUP: &str = "kubernetes.io/mounterArgs.FsGroup";

/// Options by key, in the order in which they are sent.
pub type Options = BTreeMap<String, String>;

/// The options of every call about a volume: its own come last, and win.
pub fn of(spec: &VolumeSpec, extra: Options) -> String {
    let VolumeSource::FlexVolume { fs_type, options, .. } = &spec.source else {
        return "{}".to_owned();
    };
    let mut all = Options::new();
    all.insert(FS_TYPE.to_owned(), fs_type.as_deref().unwrap_or_default().to_owned());
    all.insert(READ_WRITE.to_owned(), if spec.read_only { "ro" } else { "rw" }.to_owned());
    all.insert(NAME.to_owned(), spec.name.to_string());
    all.extend(extra);
    all.extend(options.iter().map(|(key, value)| (key.to_string(), value.to_string())));
    as_go(&Value::from_iter(all).to_string())
}

/// Go writes what could be taken for HTML in numbers.
fn as_go(json: &str) -> String {
    let mut text = String::with_capacity(json.len());
    for c in json.chars() {
        match c {
            '<' | '>' | '&' | '\u{2028}' | '\u{2029}' => {
                text.push_str(&format!("\\u{:04x}", u32::from(c)));
            }
            c => text.push(c),
        }
    }
    text
}

/// What `mount` is told of the pod, with the volume's Secret.
pub fn of_pod(volume: &NodeVolume, driver: &str) -> Result<Options, String> {
    let pod = volume.pod.clone().unwrap_or_default();
    let mut options = Options::new();
    let mut put = |key: &str, value: &str| {
        options.insert(format!("kubernetes.io/{key}"), value.to_owned());
    };
    put("pod.name", &pod.name);
    put("pod.namespace", &pod.namespace);
    put("pod.uid", &pod.uid);
    put("serviceAccount.name", &pod.service_account);
    options.extend(secrets(volume, &pod, driver)?);
    if let Some(group) = pod.fs_group {
        options.insert(FS_GROUP.to_owned(), group.to_string());
    }
    Ok(options)
}

/// The Secret that a volume names; without a namespace it is the pod's.
pub fn secret_of(spec: &VolumeSpec) -> Option<(Need, &Key)> {
    let VolumeSource::FlexVolume { secret: Some(key), .. } = &spec.source else { return None };
    let need = match key.namespace().filter(|_| !spec.is_inline) {
        Some(_) => Need::SecretAt { key: key.clone() },
        None => Need::Secret { name: key.name.clone(), optional: false },
    };
    Some((need, key))
}

fn secrets(volume: &NodeVolume, pod: &PodPart, driver: &str) -> Result<Options, String> {
    let Some((need, key)) = secret_of(&volume.spec) else { return Ok(Options::new()) };
    let namespace = match &need {
        Need::SecretAt { key } => key.namespace.clone(),
        _ => pod.namespace.clone(),
    };
    let name = &key.name;
    let failed = |why: String| Err(format!("couldn't get secret {namespace}/{name} err: {why}"));
    let Some(secret) = volume.provided.get(&need) else {
        return failed(format!("secrets \"{name}\" not found"));
    };
    if secret["type"] != driver {
        return failed(format!("cannot get secret of type {driver}"));
    }
    let data = secret["data"].as_object().into_iter().flatten();
    let option = |(key, value): (&String, &Value)| {
        Some((format!("{SECRET_OPTION}{key}"), value.as_str()?.to_owned()))
    };
    Ok(data.filter_map(option).collect())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn volume(source: &Value) -> VolumeSpec {
        let volume = json!({"metadata": {"name": "pv-1"}, "spec": {"flexVolume": source}});
        VolumeSpec::from_volume(&volume, false)
    }

    #[test]
    fn keys_are_sorted_and_those_of_the_volume_win() {
        let plain = volume(&json!({"driver": "v/d", "readOnly": true}));
        assert_eq!(
            of(&plain, Options::new()),
            r#"{"kubernetes.io/fsType":"","kubernetes.io/pvOrVolumeName":"pv-1","kubernetes.io/readwrite":"rw"}"#
        );
        let options = json!({"share": "a<b", "kubernetes.io/fsType": "zfs", "Z": ""});
        let own = volume(&json!({"driver": "v/d", "fsType": "ext4", "options": options}));
        assert_eq!(
            of(&own, [("kubernetes.io/pod.uid".to_owned(), "u".to_owned())].into()),
            "{\"Z\":\"\",\"kubernetes.io/fsType\":\"zfs\",\"kubernetes.io/pod.uid\":\"u\",\
             \"kubernetes.io/pvOrVolumeName\":\"pv-1\",\"kubernetes.io/readwrite\":\"rw\",\
             \"share\":\"a\\u003cb\"}"
        );
        let inline = json!({"name": "v", "flexVolume": {"driver": "v/d", "readOnly": true}});
        let inline = of(&VolumeSpec::from_inline(&inline), Options::new());
        assert!(inline.contains(r#""kubernetes.io/readwrite":"ro""#), "{inline}");
    }

    #[test]
    fn a_secret_is_looked_for_where_the_volume_says_or_with_the_pod() {
        let need = |source: &Value| secret_of(&volume(source)).map(|(need, _)| need);
        let here = need(&json!({"driver": "v/d", "secretRef": {"name": "s"}}));
        assert_eq!(here, Some(Need::Secret { name: "s".into(), optional: false }));
        let there = need(&json!({"driver": "v/d", "secretRef": {"name": "s", "namespace": "n"}}));
        assert_eq!(there, Some(Need::SecretAt { key: Key::new("n", "s") }));
        assert_eq!(need(&json!({"driver": "v/d"})), None);
    }
}
