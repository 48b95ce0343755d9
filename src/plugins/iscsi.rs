//! `kubernetes.io/iscsi`, for display: its commands are shown in their order,
//! never executed, so a pod with such a volume waits with a message that says
//! so. Attaching is a formality that makes exclusive use enforceable.

use crate::model::volume_source::{Iscsi, VolumeSource, VolumeSpec};
use crate::plugins::error::PluginError;
use crate::plugins::kinds;
use crate::plugins::layout::Layout;
use crate::plugins::plugin::PluginFacts;
use crate::plugins::shown::{Commands, ShownKind};

/// The kind of `iscsi` volumes.
pub struct IscsiKind;

fn target(spec: &VolumeSpec) -> Result<&Iscsi, PluginError> {
    match &spec.source {
        VolumeSource::Iscsi(target) => Ok(target),
        _ => Err(PluginError::NoPluginMatched),
    }
}

/// A portal with its port; 3260 unless named.
fn with_port(portal: &str) -> String {
    let has_port = portal.rsplit_once(':').is_some_and(|(_, port)| {
        !port.is_empty() && port.chars().all(|c| c.is_ascii_digit()) && !portal.ends_with(']')
    });
    if has_port { portal.to_owned() } else { format!("{portal}:3260") }
}

fn words(text: &str) -> Vec<String> {
    text.split(' ').map(str::to_owned).collect()
}

/// The commands that log in and make the device appear, in their order. CHAP
/// keys are left out, as they are never logged.
fn login_commands(target: &Iscsi) -> Commands {
    let (iface, iqn) = (&target.interface, &target.iqn);
    let mut commands = vec![format!("iscsiadm -m iface -I {iface} -o show")];
    for portal in &target.portals {
        let portal = with_port(portal);
        let discovery = format!("iscsiadm -m discoverydb -t sendtargets -p {portal} -I {iface}");
        let node = format!("iscsiadm -m node -p {portal} -T {iqn}");
        commands.push(format!("{discovery} -o new"));
        if target.chap_discovery {
            commands.push(format!(
                "{discovery} -o update -n discovery.sendtargets.auth.authmethod -v CHAP"
            ));
        }
        commands.push(format!("{discovery} --discover"));
        commands.push(format!("{node} -I {iface} -o update -n node.session.scan -v manual"));
        if target.chap_session {
            commands.push(format!(
                "{node} -I {iface} -o update -n node.session.auth.authmethod -v CHAP"
            ));
        }
        commands.push(format!("{node} -I {iface} --login"));
        commands.push(format!("{node} -o update -n node.startup -v manual"));
    }
    commands.iter().map(|command| words(command)).collect()
}

/// The commands that log out and forget the target.
fn logout_commands(target: &Iscsi) -> Commands {
    let mut commands = Vec::new();
    for portal in &target.portals {
        let node = format!(
            "iscsiadm -m node -p {} -T {} -I {}",
            with_port(portal),
            target.iqn,
            target.interface
        );
        commands.extend([format!("{node} --logout"), format!("{node} -o delete")]);
    }
    commands.iter().map(|command| words(command)).collect()
}

impl ShownKind for IscsiKind {
    const FIELD: &'static str = "iscsi";

    fn facts(&self) -> PluginFacts {
        kinds::ISCSI.facts.clone()
    }

    fn volume_name(&self, spec: &VolumeSpec) -> Result<String, PluginError> {
        let target = target(spec)?;
        let portal = target.portals.first().map_or("", |portal| &**portal);
        Ok(format!("{portal}:{}:{}", target.iqn, target.lun))
    }

    fn connect(&self, spec: &VolumeSpec) -> Result<Commands, PluginError> {
        Ok(login_commands(target(spec)?))
    }

    fn device_mount(&self, layout: &Layout, spec: &VolumeSpec) -> Result<String, PluginError> {
        let target = target(spec)?;
        let portal = with_port(target.portals.first().map_or("", |portal| &**portal));
        Ok(layout.iscsi_device_mount(&target.interface, &portal, &target.iqn, target.lun))
    }

    fn release(&self, spec: &VolumeSpec, _: &str) -> Result<Commands, PluginError> {
        Ok(logout_commands(target(spec)?))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_login_is_shown_step_by_step_for_each_portal() {
        let volume = json!({"name": "v", "iscsi": {
            "targetPortal": "10.0.0.1", "portals": ["[fd00::1]:3261"], "iqn": "iqn.x", "lun": 2,
            "chapAuthSession": true,
        }});
        let spec = VolumeSpec::from_inline(&volume);
        let lines = login_commands(target(&spec).expect("iscsi"));
        let lines: Vec<_> = lines.iter().map(|argv| argv.join(" ")).collect();
        assert_eq!(lines.len(), 13);
        assert_eq!(lines[0], "iscsiadm -m iface -I default -o show");
        assert_eq!(
            lines[1],
            "iscsiadm -m discoverydb -t sendtargets -p 10.0.0.1:3260 -I default -o new"
        );
        assert_eq!(lines[11], "iscsiadm -m node -p [fd00::1]:3261 -T iqn.x -I default --login");
        assert_eq!(IscsiKind.volume_name(&spec).as_deref(), Ok("10.0.0.1:iqn.x:2"));
    }
}
