//! What lies where on a node: every path a kubelet uses for volumes.
//!
//! `/` in a plugin's name becomes `~` where a pod's directory is named after
//! it. The root is configurable: some clusters keep it on a data disk.

use std::sync::Arc;

/// The kubelet's root unless configured otherwise.
pub const DEFAULT_ROOT: &str = "/var/lib/kubelet";

/// The paths below one kubelet's root. Names that come from the API are API
/// names, which hold no `/`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layout {
    root: Arc<str>,
}

impl Default for Layout {
    fn default() -> Self {
        Self::new(DEFAULT_ROOT)
    }
}

impl Layout {
    /// `root` is an absolute path; a slash at its end does not count.
    pub fn new(root: &str) -> Self {
        Self { root: root.trim_end_matches('/').into() }
    }

    pub fn root(&self) -> &str {
        &self.root
    }

    /// `<root>/pods`.
    pub fn pods(&self) -> String {
        format!("{}/pods", self.root)
    }

    /// `<root>/pods/<uid>`.
    pub fn pod(&self, uid: &str) -> String {
        format!("{}/pods/{uid}", self.root)
    }

    /// `<root>/pods/<uid>/volumes`.
    pub fn pod_volumes(&self, uid: &str) -> String {
        format!("{}/volumes", self.pod(uid))
    }

    /// The per-pod mount: `pods/<uid>/volumes/<plugin~>/<name>`.
    pub fn pod_volume(&self, uid: &str, plugin: &str, name: &str) -> String {
        format!("{}/{}/{name}", self.pod_volumes(uid), escaped(plugin))
    }

    /// `<root>/pods/<uid>/volumeDevices`.
    pub fn pod_devices(&self, uid: &str) -> String {
        format!("{}/volumeDevices", self.pod(uid))
    }

    /// The directory of device links: `pods/<uid>/volumeDevices/<plugin~>`.
    pub fn volume_map(&self, uid: &str, plugin: &str) -> String {
        format!("{}/{}", self.pod_devices(uid), escaped(plugin))
    }

    /// The bind of a subPath:
    /// `pods/<uid>/volume-subpaths/<name>/<container>/<index>`.
    pub fn subpath(&self, uid: &str, name: &str, container: &str, index: usize) -> String {
        format!("{}/volume-subpaths/{name}/{container}/{index}", self.pod(uid))
    }

    /// All subPaths of one volume of a pod.
    pub fn subpaths_of(&self, uid: &str, name: &str) -> String {
        format!("{}/volume-subpaths/{name}", self.pod(uid))
    }

    /// The directory of the "set up" marker of emptyDir, configMap, secret:
    /// `pods/<uid>/plugins/<plugin~>/<name>`; the marker is `ready` in it.
    pub fn pod_plugin(&self, uid: &str, plugin: &str, name: &str) -> String {
        format!("{}/plugins/{}/{name}", self.pod(uid), escaped(plugin))
    }

    /// The managed hosts file of a pod.
    pub fn etc_hosts(&self, uid: &str) -> String {
        format!("{}/etc-hosts", self.pod(uid))
    }

    /// The termination log of a container.
    pub fn termination_log(&self, uid: &str, container: &str, id: &str) -> String {
        format!("{}/containers/{container}/{id}", self.pod(uid))
    }

    /// A plugin's own directory, name not escaped: `plugins/<plugin>`.
    pub fn plugin(&self, plugin: &str) -> String {
        format!("{}/plugins/{plugin}", self.root)
    }

    /// Where plugins put their sockets.
    pub fn plugins_registry(&self) -> String {
        format!("{}/plugins_registry", self.root)
    }

    /// The device mount of a `local` volume with a block source.
    pub fn local_device_mount(&self, volume: &str) -> String {
        format!("{}/mounts/{volume}", self.plugin("kubernetes.io/local-volume"))
    }

    /// The global map path of a `local` volume; here alone the plugin's name
    /// is escaped.
    pub fn local_global_map(&self, volume: &str) -> String {
        format!("{}/volumeDevices/{volume}", self.plugin("kubernetes.io~local-volume"))
    }

    /// The device mount of an in-tree cloud disk, historically:
    /// `plugins/<plugin>/mounts/<disk>`.
    pub fn disk_device_mount(&self, plugin: &str, disk: &str) -> String {
        format!("{}/mounts/{disk}", self.plugin(plugin))
    }

    /// The global map path of any plugin: `plugins/<plugin>/volumeDevices/<name>`.
    pub fn global_map(&self, plugin: &str, name: &str) -> String {
        format!("{}/volumeDevices/{name}", self.plugin(plugin))
    }

    /// `plugins/kubernetes.io/iscsi/iface-<iface>/<portal>-<iqn>-lun-<n>`.
    pub fn iscsi_device_mount(&self, interface: &str, portal: &str, iqn: &str, lun: i64) -> String {
        let plugin = self.plugin("kubernetes.io/iscsi");
        format!("{plugin}/iface-{interface}/{portal}-{iqn}-lun-{lun}")
    }

    /// The same for a block volume, below `volumeDevices`.
    pub fn iscsi_global_map(&self, interface: &str, portal: &str, iqn: &str, lun: i64) -> String {
        let plugin = self.plugin("kubernetes.io/iscsi");
        format!("{plugin}/volumeDevices/iface-{interface}/{portal}-{iqn}-lun-{lun}")
    }

    /// `plugins/kubernetes.io/fc/<wwn-wwn…>-lun-<n>` or `…/<wwid-wwid…>`; the
    /// unit is that last name.
    pub fn fc_device_mount(&self, unit: &str) -> String {
        format!("{}/{unit}", self.plugin("kubernetes.io/fc"))
    }

    /// The device mount of a FlexVolume driver that attaches.
    pub fn flex_device_mount(&self, driver: &str, volume: &str) -> String {
        format!("{}/flexvolume/{driver}/mounts/{volume}", self.plugin("kubernetes.io"))
    }

    /// The per-pod directory of a CSI volume; the mount itself is `mount` in
    /// it, beside `vol_data.json`.
    pub fn csi_pod_volume(&self, uid: &str, volume: &str) -> String {
        self.pod_volume(uid, "kubernetes.io/csi", volume)
    }

    /// `plugins/kubernetes.io/csi/<driver>/<hash>`, `globalmount` and
    /// `vol_data.json` in it. The hash is the SHA-256 of the handle in hex.
    pub fn csi_global(&self, driver: &str, handle_hash: &str) -> String {
        format!("{}/{driver}/{handle_hash}", self.plugin("kubernetes.io/csi"))
    }

    /// `plugins/kubernetes.io/csi/volumeDevices/<pv>`, with `dev` and `data`.
    pub fn csi_block(&self, volume: &str) -> String {
        self.global_map("kubernetes.io/csi", volume)
    }

    /// `plugins/kubernetes.io/csi/volumeDevices/staging/<pv>`.
    pub fn csi_block_staging(&self, volume: &str) -> String {
        format!("{}/{volume}", self.global_map("kubernetes.io/csi", "staging"))
    }

    /// `plugins/kubernetes.io/csi/volumeDevices/publish/<pv>/<uid>`.
    pub fn csi_block_publish(&self, volume: &str, uid: &str) -> String {
        format!("{}/{volume}/{uid}", self.global_map("kubernetes.io/csi", "publish"))
    }
}

/// A plugin's name as part of a path.
pub fn escaped(plugin: &str) -> String {
    plugin.replace('/', "~")
}

/// A plugin's name from the part of a path.
pub fn unescaped(part: &str) -> String {
    part.replace('~', "/")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_those_of_a_kubelet() {
        let at = Layout::default();
        let rows = [
            (at.pod_volume("u", "kubernetes.io/nfs", "pv"), "/pods/u/volumes/kubernetes.io~nfs/pv"),
            (
                at.pod_volume("u", "pvdeck.dev/block-disk", "pv"),
                "/pods/u/volumes/pvdeck.dev~block-disk/pv",
            ),
            (
                at.volume_map("u", "kubernetes.io/local-volume"),
                "/pods/u/volumeDevices/kubernetes.io~local-volume",
            ),
            (at.subpath("u", "v", "c", 2), "/pods/u/volume-subpaths/v/c/2"),
            (
                at.pod_plugin("u", "kubernetes.io/empty-dir", "v"),
                "/pods/u/plugins/kubernetes.io~empty-dir/v",
            ),
            (at.etc_hosts("u"), "/pods/u/etc-hosts"),
            (at.termination_log("u", "c", "9"), "/pods/u/containers/c/9"),
            (at.plugins_registry(), "/plugins_registry"),
            (at.local_device_mount("pv"), "/plugins/kubernetes.io/local-volume/mounts/pv"),
            (at.local_global_map("pv"), "/plugins/kubernetes.io~local-volume/volumeDevices/pv"),
            (
                at.disk_device_mount("kubernetes.io/gce-pd", "d"),
                "/plugins/kubernetes.io/gce-pd/mounts/d",
            ),
            (
                at.iscsi_device_mount("default", "10.0.0.1:3260", "iqn.x", 0),
                "/plugins/kubernetes.io/iscsi/iface-default/10.0.0.1:3260-iqn.x-lun-0",
            ),
            (
                at.iscsi_global_map("default", "10.0.0.1:3260", "iqn.x", 1),
                "/plugins/kubernetes.io/iscsi/volumeDevices/iface-default/10.0.0.1:3260-iqn.x-lun-1",
            ),
            (at.fc_device_mount("500a-lun-1"), "/plugins/kubernetes.io/fc/500a-lun-1"),
            (
                at.flex_device_mount("vendor/driver", "pv"),
                "/plugins/kubernetes.io/flexvolume/vendor/driver/mounts/pv",
            ),
            (at.csi_pod_volume("u", "pv"), "/pods/u/volumes/kubernetes.io~csi/pv"),
            (at.csi_global("d.io", "ab12"), "/plugins/kubernetes.io/csi/d.io/ab12"),
            (at.csi_block("pv"), "/plugins/kubernetes.io/csi/volumeDevices/pv"),
            (at.csi_block_staging("pv"), "/plugins/kubernetes.io/csi/volumeDevices/staging/pv"),
            (
                at.csi_block_publish("pv", "u"),
                "/plugins/kubernetes.io/csi/volumeDevices/publish/pv/u",
            ),
        ];
        for (path, below) in rows {
            assert_eq!(path, format!("/var/lib/kubelet{below}"));
        }
        assert_eq!(Layout::new("/data/kubelet/").pod("u"), "/data/kubelet/pods/u");
        assert_eq!(unescaped(&escaped("kubernetes.io/nfs")), "kubernetes.io/nfs");
    }
}
