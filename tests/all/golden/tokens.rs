//! Tokens in place of what varies from one playing to the next.

use std::collections::HashMap;

use serde_json::Value;

/// The scratch directory that `<root>` stands for.
pub const ROOT: &str = "/scratch";
/// Where the controller manager's directory provisioner works; in the
/// recordings that too is below `<root>`.
const PROVISIONED: &str = "/tmp/hostpath_pv";

/// Where the kubelets keep things; in the recordings each below its node's part
/// of `<root>`.
const KUBELET: &str = "/var/lib/kubelet/";

/// Puts real values into the strings of a step.
pub fn with_root(value: &mut Value) {
    match value {
        Value::String(text) => *text = text.replace("<root>", ROOT),
        Value::Array(list) => list.iter_mut().for_each(with_root),
        Value::Object(map) => map.values_mut().for_each(with_root),
        _ => {}
    }
}

/// Whether a driver has made this handle up, in the form of a UUID.
fn is_made_up(handle: &str) -> bool {
    handle.len() == 36 && handle.chars().all(|c| c.is_ascii_hexdigit() || c == '-')
}

/// What has been replaced so far, in the order of appearance.
#[derive(Debug, Default)]
pub struct Tokens {
    replaced: Vec<(String, String)>,
    /// How many objects of a name there were.
    namesakes: HashMap<String, usize>,
    /// How many templates and pods of generated names there were.
    hashes: usize,
    pods: usize,
}

impl Tokens {
    /// Takes in a created object: its uid gets a token by its name, with `#2`
    /// for the second object of that name.
    pub fn created(&mut self, object: &Value) {
        if object["kind"] == "VolumeAttachment" {
            let text = |value: &Value| self.text(value.as_str().unwrap_or_default());
            let spec = &object["spec"];
            let volume = text(&spec["source"]["persistentVolumeName"]);
            let token = format!("csi-<hash:{volume}/{}>", text(&spec["nodeName"]));
            self.replace(object["metadata"]["name"].as_str(), token);
        }
        self.generated_name(object);
        let name = self.object_name(object);
        let count = self.namesakes.entry(name.clone()).or_insert(0);
        *count += 1;
        let number = if *count > 1 { format!("#{count}") } else { String::new() };
        self.replace(object["metadata"]["uid"].as_str(), format!("<uid:{name}{number}>"));
        let volume = self.text(object["metadata"]["name"].as_str().unwrap_or_default());
        let handle = object["spec"]["csi"]["volumeHandle"].as_str();
        if handle.is_some_and(is_made_up) {
            self.replace(handle, format!("<handle:{volume}>"));
        }
        if let Some(hash) =
            object["metadata"]["name"].as_str().and_then(|name| name.strip_prefix("local-pv-"))
        {
            let local = object["spec"]["local"]["path"].as_str().unwrap_or_default();
            let entry = local.rsplit('/').next().unwrap_or_default();
            let terms = &object["spec"]["nodeAffinity"]["required"]["nodeSelectorTerms"];
            let node = terms[0]["matchExpressions"][0]["values"][0].as_str().unwrap_or_default();
            self.replace(Some(hash), format!("<hash:{entry}/{node}>"));
        }
        let path = object["spec"]["hostPath"]["path"].as_str().unwrap_or_default();
        if let Some((folder, handle)) = path.rsplit_once('/')
            && folder == PROVISIONED
        {
            self.replace(Some(handle), format!("<handle:{volume}>"));
        }
    }

    /// The parts of names that are made up: those of a Deployment's ReplicaSets,
    /// and of their pods.
    fn generated_name(&mut self, object: &Value) {
        let metadata = &object["metadata"];
        let hash = metadata["labels"]["pod-template-hash"].as_str();
        if object["kind"] == "ReplicaSet" && hash.is_some() {
            self.hashes += 1;
            self.replace(hash, format!("<template-hash-{}>", self.hashes));
        }
        if object["kind"] == "Pod" && hash.is_some() {
            self.pods += 1;
            // The hash in it has its token already when this one is looked for.
            let name = self.text(metadata["name"].as_str().unwrap_or_default());
            let prefix = self.text(metadata["generateName"].as_str().unwrap_or_default());
            self.replace(Some(&name), format!("{prefix}<pod-{}>", self.pods));
        }
    }

    /// `Kind/name`, in tokens.
    pub fn object_name(&self, object: &Value) -> String {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        format!("{}/{}", text(&object["kind"]), self.text(&text(&object["metadata"]["name"])))
    }

    /// A text, in tokens.
    pub fn text(&self, text: &str) -> String {
        let mut text = text.to_owned();
        for (value, token) in &self.replaced {
            if text.contains(value.as_str()) {
                text = text.replace(value, token);
            }
        }
        text.replace(&format!("{PROVISIONED}/"), "<root>/hostpath_pv/")
            .replace(&format!("{ROOT}/"), "<root>/")
            .replace(KUBELET, "<kubelet>/")
    }

    /// All strings of a value, in tokens.
    pub fn value(&self, value: &mut Value) {
        match value {
            Value::String(text) => *text = self.text(text),
            Value::Array(list) => list.iter_mut().for_each(|value| self.value(value)),
            Value::Object(map) => map.values_mut().for_each(|value| self.value(value)),
            _ => {}
        }
    }

    fn replace(&mut self, value: Option<&str>, token: String) {
        if let Some(value) = value.filter(|value| !value.is_empty()) {
            self.replaced.push((value.to_owned(), token));
        }
    }
}
