//! What a driver can do, and what Kubernetes' terms are in CSI: pure.
//!
//! Upstream: `pkg/volume/csi/csi_client.go`, csi-lib-utils `accessmodes`.

use pvdeck_csi_proto::csi::controller_service_capability::{self, rpc as controller_rpc};
use pvdeck_csi_proto::csi::node_service_capability::{self, rpc as node_rpc};
use pvdeck_csi_proto::csi::plugin_capability::{self, service, volume_expansion};
use pvdeck_csi_proto::csi::volume_capability::access_mode::Mode;
use pvdeck_csi_proto::csi::volume_capability::{AccessMode as CsiMode, AccessType};
use pvdeck_csi_proto::csi::volume_capability::{BlockVolume, MountVolume};
use pvdeck_csi_proto::csi::{self, VolumeCapability};

use serde_json::Value;

use crate::model::access_modes::{AccessMode, AccessModes};

/// What the plugin and its controller service can do. Numbers that are not
/// known are dropped.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ControllerAbilities {
    pub services: Vec<service::Type>,
    pub rpcs: Vec<controller_rpc::Type>,
}

impl ControllerAbilities {
    pub fn read(
        plugin: &csi::GetPluginCapabilitiesResponse,
        controller: &csi::ControllerGetCapabilitiesResponse,
    ) -> Self {
        let services = plugin.capabilities.iter().filter_map(|one| match &one.r#type {
            Some(plugin_capability::Type::Service(service)) => {
                service::Type::try_from(service.r#type).ok()
            }
            Some(plugin_capability::Type::VolumeExpansion(_)) | None => None,
        });
        let rpcs = controller.capabilities.iter().filter_map(|one| match &one.r#type {
            Some(controller_service_capability::Type::Rpc(rpc)) => {
                controller_rpc::Type::try_from(rpc.r#type).ok()
            }
            None => None,
        });
        Self { services: services.collect(), rpcs: rpcs.collect() }
    }

    pub fn serves(&self, service: service::Type) -> bool {
        self.services.contains(&service)
    }

    pub fn can(&self, rpc: controller_rpc::Type) -> bool {
        self.rpcs.contains(&rpc)
    }
}

/// What a node service can do.
pub fn node_abilities(reply: &csi::NodeGetCapabilitiesResponse) -> Vec<node_rpc::Type> {
    let known = reply.capabilities.iter().filter_map(|one| match &one.r#type {
        Some(node_service_capability::Type::Rpc(rpc)) => node_rpc::Type::try_from(rpc.r#type).ok(),
        None => None,
    });
    known.collect()
}

/// The names of what a driver says it can do, from its answer as it is shown.
/// Numbers that the specification does not have are told as such.
pub fn ability_names(rpc: &str, reply: &Value) -> Vec<String> {
    let listed = reply["capabilities"].as_array().into_iter().flatten();
    let kinds = listed.filter_map(|one| one["type"].as_object()?.iter().next());
    let name = |(kind, of): (&String, &Value)| {
        let number = i32::try_from(of["type"].as_i64().unwrap_or_default()).unwrap_or_default();
        let known = match (rpc, &**kind) {
            ("ControllerGetCapabilities", _) => {
                controller_rpc::Type::try_from(number).ok().map(|kind| kind.as_str_name())
            }
            ("NodeGetCapabilities", _) => {
                node_rpc::Type::try_from(number).ok().map(|kind| kind.as_str_name())
            }
            (_, "VolumeExpansion") => {
                let kind = volume_expansion::Type::try_from(number).ok();
                return kind.map_or_else(
                    || format!("expansion {number}"),
                    |kind| format!("{}_EXPANSION", kind.as_str_name()),
                );
            }
            _ => service::Type::try_from(number).ok().map(|kind| kind.as_str_name()),
        };
        known.map_or_else(|| format!("unknown {number}"), str::to_owned)
    };
    kinds.map(name).collect()
}

/// An access mode in CSI's terms. `multi_writer`: the driver knows more than
/// one kind of single-node writer.
pub fn csi_mode(mode: AccessMode, multi_writer: bool) -> Mode {
    match (mode, multi_writer) {
        (AccessMode::ReadWriteOnce, false) | (AccessMode::ReadWriteOncePod, false) => {
            Mode::SingleNodeWriter
        }
        (AccessMode::ReadWriteOnce, true) => Mode::SingleNodeMultiWriter,
        (AccessMode::ReadWriteOncePod, true) => Mode::SingleNodeSingleWriter,
        (AccessMode::ReadOnlyMany, _) => Mode::MultiNodeReaderOnly,
        (AccessMode::ReadWriteMany, _) => Mode::MultiNodeMultiWriter,
    }
}

/// The one mode in which the attacher publishes a volume that lists several.
pub fn attach_mode(modes: AccessModes, multi_writer: bool) -> Result<Mode, String> {
    let has = |mode| modes.contains(mode);
    if has(AccessMode::ReadWriteMany) {
        return Ok(csi_mode(AccessMode::ReadWriteMany, multi_writer));
    }
    let alone = |mode: AccessMode| modes == [mode].into_iter().collect();
    if has(AccessMode::ReadWriteOncePod) && !alone(AccessMode::ReadWriteOncePod) {
        return Err("CSI does not support ReadWriteOncePod with other access modes on the same \
                    PersistentVolume"
            .to_owned());
    }
    if has(AccessMode::ReadOnlyMany) && has(AccessMode::ReadWriteOnce) {
        return Err("CSI does not support ReadOnlyMany and ReadWriteOnce on the same \
                    PersistentVolume"
            .to_owned());
    }
    let one = [AccessMode::ReadOnlyMany, AccessMode::ReadWriteOnce, AccessMode::ReadWriteOncePod];
    let mode = one.into_iter().find(|mode| has(*mode));
    let mode = mode.ok_or_else(|| format!("unsupported AccessMode combination: {modes}"))?;
    Ok(csi_mode(mode, multi_writer))
}

/// A capability for a block device.
pub fn block(mode: Mode) -> VolumeCapability {
    VolumeCapability {
        access_mode: Some(CsiMode { mode: mode.into() }),
        access_type: Some(AccessType::Block(BlockVolume {})),
    }
}

/// A capability for a filesystem.
pub fn mount(mode: Mode, fs_type: &str, mount_flags: Vec<String>) -> VolumeCapability {
    let fs_type = fs_type.to_owned();
    let mount = MountVolume { fs_type, mount_flags, volume_mount_group: String::new() };
    VolumeCapability {
        access_mode: Some(CsiMode { mode: mode.into() }),
        access_type: Some(AccessType::Mount(mount)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn abilities_have_the_names_of_the_specification() {
        let reply = |kind: &str, numbers: &[i32]| {
            let one = |number: &i32| serde_json::json!({"type": {kind: {"type": number}}});
            serde_json::json!({"capabilities": numbers.iter().map(one).collect::<Vec<_>>()})
        };
        let names = |rpc, reply: &Value| ability_names(rpc, reply).join(" ");
        let controller = names("ControllerGetCapabilities", &reply("Rpc", &[1, 9, 99]));
        assert_eq!(controller, "CREATE_DELETE_VOLUME EXPAND_VOLUME unknown 99");
        assert_eq!(names("NodeGetCapabilities", &reply("Rpc", &[1])), "STAGE_UNSTAGE_VOLUME");
        let service = names("GetPluginCapabilities", &reply("Service", &[1]));
        assert_eq!(service, "CONTROLLER_SERVICE");
        let grows = names("GetPluginCapabilities", &reply("VolumeExpansion", &[1]));
        assert_eq!(grows, "ONLINE_EXPANSION");
    }

    #[test]
    fn several_modes_are_attached_as_the_widest_or_refused() {
        use AccessMode::*;
        let rows: [(&[AccessMode], Option<Mode>); 6] = [
            (&[ReadWriteOnce], Some(Mode::SingleNodeWriter)),
            (&[ReadWriteOnce, ReadWriteMany], Some(Mode::MultiNodeMultiWriter)),
            (&[ReadOnlyMany], Some(Mode::MultiNodeReaderOnly)),
            (&[ReadOnlyMany, ReadWriteOnce], None),
            (&[ReadWriteOncePod], Some(Mode::SingleNodeWriter)),
            (&[ReadWriteOncePod, ReadWriteOnce], None),
        ];
        for (modes, expected) in rows {
            let modes: AccessModes = modes.iter().copied().collect();
            assert_eq!(attach_mode(modes, false).ok(), expected, "{modes}");
        }
        assert_eq!(csi_mode(ReadWriteOnce, true), Mode::SingleNodeMultiWriter);
        assert_eq!(csi_mode(ReadWriteOncePod, true), Mode::SingleNodeSingleWriter);
    }
}
