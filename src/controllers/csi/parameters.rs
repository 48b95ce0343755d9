//! The parameters of a class: those that are for the provisioner, templates of
//! secrets' names among them, and those that are for the driver. Pure.
//!
//! Upstream: `pkg/controller/controller.go` of external-provisioner.

use std::collections::BTreeMap;

use serde_json::Value;

/// Keys with this prefix are for the provisioner.
const PREFIX: &str = "csi.storage.k8s.io/";

/// What a secret is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum SecretUse {
    Provisioner,
    ControllerPublish,
    NodeStage,
    NodePublish,
    ControllerExpand,
    NodeExpand,
    ControllerModify,
}

/// All uses, in the order in which they are looked up.
pub const SECRET_USES: [SecretUse; 7] = [
    SecretUse::Provisioner,
    SecretUse::ControllerPublish,
    SecretUse::NodeStage,
    SecretUse::NodePublish,
    SecretUse::ControllerExpand,
    SecretUse::NodeExpand,
    SecretUse::ControllerModify,
];

impl SecretUse {
    /// As errors name it, and as keys do; the deprecated keys, if any.
    fn names(self) -> (&'static str, &'static str, Option<(&'static str, &'static str)>) {
        match self {
            Self::Provisioner => (
                "Provisioner",
                "provisioner-secret",
                Some(("csiProvisionerSecretName", "csiProvisionerSecretNamespace")),
            ),
            Self::ControllerPublish => (
                "ControllerPublish",
                "controller-publish-secret",
                Some(("csiControllerPublishSecretName", "csiControllerPublishSecretNamespace")),
            ),
            Self::NodeStage => (
                "NodeStage",
                "node-stage-secret",
                Some(("csiNodeStageSecretName", "csiNodeStageSecretNamespace")),
            ),
            Self::NodePublish => (
                "NodePublish",
                "node-publish-secret",
                Some(("csiNodePublishSecretName", "csiNodePublishSecretNamespace")),
            ),
            Self::ControllerExpand => ("ControllerExpand", "controller-expand-secret", None),
            Self::NodeExpand => ("NodeExpand", "node-expand-secret", None),
            Self::ControllerModify => ("ControllerModify", "controller-modify-secret", None),
        }
    }

    /// The field of a PV's CSI source that names it, if one does.
    pub fn field(self) -> Option<&'static str> {
        match self {
            Self::ControllerPublish => Some("controllerPublishSecretRef"),
            Self::NodeStage => Some("nodeStageSecretRef"),
            Self::NodePublish => Some("nodePublishSecretRef"),
            Self::ControllerExpand => Some("controllerExpandSecretRef"),
            Self::NodeExpand => Some("nodeExpandSecretRef"),
            Self::Provisioner | Self::ControllerModify => None,
        }
    }
}

/// The name of a Secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SecretRef {
    pub namespace: String,
    pub name: String,
}

/// A class's parameters, sorted out.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Parameters {
    /// Empty: the provisioner's default.
    pub fs_type: String,
    /// What the driver is given.
    pub passed: BTreeMap<String, String>,
    all: BTreeMap<String, String>,
}

impl Parameters {
    /// Sorts out the parameters of a class; a reserved key that is not known is
    /// an error.
    pub fn of(class: &Value) -> Result<Self, String> {
        let entries = class["parameters"].as_object().into_iter().flatten();
        let all: BTreeMap<String, String> = entries
            .filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned())))
            .collect();
        let fs_type = match (all.get("csi.storage.k8s.io/fstype"), all.get("fstype")) {
            (Some(_), Some(_)) => {
                return Err(format!(
                    "fstype specified in parameters with both \"fstype\" and \"{PREFIX}fstype\" keys"
                ));
            }
            (Some(own), None) | (None, Some(own)) => own.clone(),
            (None, None) => String::new(),
        };
        let passed = all.iter().filter(|(key, _)| !key.starts_with(PREFIX));
        let passed = passed.map(|(key, value)| (key.clone(), value.clone())).collect();
        Ok(Self { fs_type, passed, all })
    }

    /// The reserved key that nobody knows, if there is one.
    pub fn why_unknown(&self) -> Option<String> {
        let known = |key: &str| {
            key == "fstype"
                || matches!(key, "secret-name" | "secret-namespace")
                || SECRET_USES.iter().any(|secret| {
                    let (_, stem, _) = secret.names();
                    key.strip_prefix(stem).is_some_and(|end| matches!(end, "-name" | "-namespace"))
                })
        };
        let mut reserved = self.all.keys().filter_map(|key| key.strip_prefix(PREFIX));
        let unknown = reserved.find(|key| !known(key))?;
        Some(format!(
            "found unknown parameter key \"{PREFIX}{unknown}\" with reserved namespace {PREFIX}"
        ))
    }

    /// The Secret for a use, templates filled in; `None`: the class names none.
    pub fn secret(
        &self,
        secret: SecretUse,
        volume: &str,
        claim: &Value,
    ) -> Result<Option<SecretRef>, String> {
        let Some((name, namespace)) = self.templates(secret)? else { return Ok(None) };
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let mut tokens = BTreeMap::from([
            ("pv.name".to_owned(), volume.to_owned()),
            ("pvc.namespace".to_owned(), text(&claim["metadata"]["namespace"])),
        ]);
        let namespace = resolved(namespace, &tokens, "namespace", is_label)?;
        tokens.insert("pvc.name".to_owned(), text(&claim["metadata"]["name"]));
        let annotations = claim["metadata"]["annotations"].as_object().into_iter().flatten();
        for (key, value) in annotations {
            tokens.insert(format!("pvc.annotations['{key}']"), text(value));
        }
        let name = resolved(name, &tokens, "secret", |text| text.split('.').all(is_label))?;
        Ok(Some(SecretRef { namespace, name }))
    }

    fn templates(&self, secret: SecretUse) -> Result<Option<(&str, &str)>, String> {
        let (word, stem, old) = secret.names();
        let of = |key: &str| self.all.get(key).map(String::as_str);
        let new = |end: &str| of(&format!("{PREFIX}{stem}-{end}"));
        let old = old.map_or((None, None), |(name, namespace)| (of(name), of(namespace)));
        let (name, namespace) = (new("name"), new("namespace"));
        if name.and(old.0).or(namespace.and(old.1)).is_some() {
            return Err(format!(
                "{word} secrets specified in parameters with both \"csi\" and \"{PREFIX}\" keys"
            ));
        }
        let (mut name, mut namespace) = (name.or(old.0), namespace.or(old.1));
        if name.is_none() && namespace.is_none() {
            (name, namespace) =
                (of(&format!("{PREFIX}secret-name")), of(&format!("{PREFIX}secret-namespace")));
        }
        match (name, namespace) {
            (None, None) => Ok(None),
            (Some(""), Some(_)) | (Some(_), Some("")) => Err(format!(
                "{word} secrets specified in parameters but value of either namespace or name is \
                 empty"
            )),
            (Some(name), Some(namespace)) => Ok(Some((name, namespace))),
            (Some(_), None) | (None, Some(_)) => Err(format!(
                "either name and namespace for {word} secrets specified, Both must be specified"
            )),
        }
    }
}

fn resolved(
    template: &str,
    tokens: &BTreeMap<String, String>,
    what: &str,
    valid: impl Fn(&str) -> bool,
) -> Result<String, String> {
    let text = fill_in(template, tokens)?;
    if valid(&text) {
        return Ok(text);
    }
    if text == template {
        return Err(format!("\"{template}\" is not a valid {what} name"));
    }
    Err(format!("\"{template}\" resolved to \"{text}\" which is not a valid {what} name"))
}

/// Puts values in place of `${token}`.
fn fill_in(template: &str, tokens: &BTreeMap<String, String>) -> Result<String, String> {
    let (mut text, mut rest, mut missing) = (String::new(), template, Vec::new());
    while let Some(start) = rest.find("${") {
        let Some(end) = rest[start..].find('}') else { break };
        let token = &rest[start + 2..start + end];
        text.push_str(&rest[..start]);
        match tokens.get(token) {
            Some(value) => text.push_str(value),
            None => missing.push(format!("\"{token}\"")),
        }
        rest = &rest[start + end + 1..];
    }
    text.push_str(rest);
    if missing.is_empty() {
        return Ok(text);
    }
    let missing = missing.join(" ");
    Err(format!("error resolving value \"{template}\": invalid tokens: [{missing}]"))
}

/// Whether a text is a DNS label.
fn is_label(text: &str) -> bool {
    let inner = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    !text.is_empty()
        && text.len() <= 253
        && text.chars().all(inner)
        && !text.starts_with('-')
        && !text.ends_with('-')
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn claim() -> Value {
        json!({"metadata": {"name": "data", "namespace": "shop", "annotations": {"team": "blue"}}})
    }

    #[track_caller]
    fn check(parameters: Value, expected: Result<Option<(&str, &str)>, &str>) {
        let parameters = Parameters::of(&json!({"parameters": parameters})).expect("read");
        let secret = parameters.secret(SecretUse::NodePublish, "pvc-1", &claim());
        let secret = secret.map(|found| found.map(|found| (found.namespace, found.name)));
        let expected = expected.map(|e| e.map(|(a, b)| (a.to_owned(), b.to_owned())));
        assert_eq!(secret, expected.map_err(str::to_owned));
    }

    #[test]
    fn templates_of_secrets_are_filled_in_or_refused() {
        let name = "csi.storage.k8s.io/node-publish-secret-name";
        let namespace = "csi.storage.k8s.io/node-publish-secret-namespace";
        check(json!({}), Ok(None));
        check(json!({name: "s", namespace: "n"}), Ok(Some(("n", "s"))));
        check(
            json!({name: "${pvc.name}-${pvc.annotations['team']}", namespace: "${pvc.namespace}"}),
            Ok(Some(("shop", "data-blue"))),
        );
        check(
            json!({name: "${pvc.annotations['owner']}", namespace: "n"}),
            Err("error resolving value \"${pvc.annotations['owner']}\": invalid tokens: \
                 [\"pvc.annotations['owner']\"]"),
        );
        check(
            json!({name: "s"}),
            Err("either name and namespace for NodePublish secrets specified, Both must be \
                 specified"),
        );
        check(
            json!({"csi.storage.k8s.io/secret-name": "d", "csi.storage.k8s.io/secret-namespace": "n"}),
            Ok(Some(("n", "d"))),
        );
        check(
            json!({"csiNodePublishSecretName": "old", "csiNodePublishSecretNamespace": "n"}),
            Ok(Some(("n", "old"))),
        );
        check(json!({name: "No", namespace: "n"}), Err("\"No\" is not a valid secret name"));
    }

    #[test]
    fn reserved_keys_stay_here_and_unknown_ones_are_refused() {
        let class = json!({"parameters": {
            "csi.storage.k8s.io/fstype": "xfs", "colour": "blue", "csi.storage.k8s.io/odd": "1",
        }});
        let parameters = Parameters::of(&class).expect("read");
        assert_eq!(parameters.fs_type, "xfs");
        assert_eq!(parameters.passed.keys().collect::<Vec<_>>(), ["colour"]);
        assert_eq!(
            parameters.why_unknown().expect("refused"),
            "found unknown parameter key \"csi.storage.k8s.io/odd\" with reserved namespace \
             csi.storage.k8s.io/"
        );
        let both = json!({"parameters": {"csi.storage.k8s.io/fstype": "xfs", "fstype": "ext4"}});
        assert!(Parameters::of(&both).is_err());
    }
}
