//! Volumes of kinds that are translated to CSI: which driver has them now, and
//! under which handle.
//!
//! Upstream: `staging/src/k8s.io/csi-translation-lib/plugins`. Only what names
//! a volume is here; attributes are the driver's business.

use std::sync::Arc;

use serde_json::Value;

use crate::model::volume_source::VolumeSource;
use crate::plugins::kinds;

/// The labels that tell a volume's zone, the newer first.
const ZONES: [&str; 2] = ["topology.kubernetes.io/zone", "failure-domain.beta.kubernetes.io/zone"];
/// Between the zones of a regional disk.
const ZONE_SEPARATOR: &str = "__";

/// What has a translated volume.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Translated {
    pub driver: Arc<str>,
    pub handle: Arc<str>,
}

/// Who has a PersistentVolume whose kind is translated. `None`: its kind is
/// not. The refusal is in Kubernetes' words.
pub fn translate(volume: &Value) -> Option<Result<Translated, String>> {
    let VolumeSource::Other { field, content } = VolumeSource::from_json(&volume["spec"]) else {
        return None;
    };
    let driver = kinds::by_field(&field)?.migrated_to()?;
    let handle = handle(&field, &content, volume);
    Some(handle.map(|handle| Translated { driver: driver.into(), handle: handle.into() }))
}

fn handle(field: &str, content: &Value, volume: &Value) -> Result<String, String> {
    let text = |name: &str| content[name].as_str().unwrap_or_default().to_owned();
    match field {
        "awsElasticBlockStore" => {
            let id = text("volumeID");
            Ok(id.rsplit('/').next().unwrap_or_default().to_owned())
        }
        "gcePersistentDisk" => Ok(google_handle(&text("pdName"), volume)),
        "azureDisk" => match content["kind"].as_str() {
            None | Some("Managed") => Ok(text("diskURI")),
            Some(kind) => Err(format!("kind({kind}) is not supported in csi migration")),
        },
        "azureFile" => {
            let name = volume["metadata"]["name"].as_str().unwrap_or_default();
            let annotation = |name: &str| {
                volume["metadata"]["annotations"][name].as_str().unwrap_or_default().to_owned()
            };
            let secret = text("secretName");
            let account = secret
                .strip_prefix("azure-storage-account-")
                .and_then(|rest| rest.strip_suffix("-secret"))
                .unwrap_or(&secret);
            let claimed = volume["spec"]["claimRef"]["namespace"].as_str().unwrap_or("default");
            let namespace = content["secretNamespace"].as_str().unwrap_or(claimed);
            let group = annotation("kubernetes.io/azure-file-resource-group");
            Ok(format!("{group}#{account}#{}#{name}#{namespace}", text("shareName")))
        }
        "vsphereVolume" => Ok(text("volumePath")),
        _ => Ok(text("volumeID")),
    }
}

fn google_handle(disk: &str, volume: &Value) -> String {
    let labels = &volume["metadata"]["labels"];
    let zone = ZONES.iter().find_map(|label| labels[*label].as_str()).unwrap_or("UNSPECIFIED");
    match zone.split_once(ZONE_SEPARATOR) {
        None => format!("projects/UNSPECIFIED/zones/{zone}/disks/{disk}"),
        Some((first, _)) => {
            // A region is its zones' name without the last part.
            let region = first.rsplit_once('-').map_or(first, |(region, _)| region);
            format!("projects/UNSPECIFIED/regions/{region}/disks/{disk}")
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn translated_kinds_have_their_drivers_handle() {
        for (spec, labels, expected) in [
            (
                json!({"awsElasticBlockStore": {"volumeID": "aws://eu-1a/vol-7"}}),
                json!({}),
                "vol-7",
            ),
            (
                json!({"gcePersistentDisk": {"pdName": "d"}}),
                json!({}),
                "projects/UNSPECIFIED/zones/UNSPECIFIED/disks/d",
            ),
            (
                json!({"gcePersistentDisk": {"pdName": "d"}}),
                json!({"topology.kubernetes.io/zone": "eu-1-a__eu-1-b"}),
                "projects/UNSPECIFIED/regions/eu-1/disks/d",
            ),
            (json!({"azureDisk": {"diskURI": "/sub/d", "kind": "Managed"}}), json!({}), "/sub/d"),
            (
                json!({"azureFile": {"secretName": "azure-storage-account-acc-secret", "shareName": "s"},
                    "claimRef": {"namespace": "shop"}}),
                json!({}),
                "#acc#s#pv-1#shop",
            ),
            (json!({"cinder": {"volumeID": "c-1"}}), json!({}), "c-1"),
            (json!({"vsphereVolume": {"volumePath": "[ds] a.vmdk"}}), json!({}), "[ds] a.vmdk"),
        ] {
            let volume = json!({"metadata": {"name": "pv-1", "labels": labels}, "spec": spec});
            let translated = translate(&volume).expect("translated").expect("a handle");
            assert_eq!(&*translated.handle, expected);
        }
        let shared = json!({"spec": {"azureDisk": {"diskURI": "u", "kind": "Shared"}}});
        let refusal = translate(&shared).expect("translated").expect_err("refused");
        assert_eq!(refusal, "kind(Shared) is not supported in csi migration");
        assert!(translate(&json!({"spec": {"nfs": {"server": "s", "path": "/"}}})).is_none());
    }
}
