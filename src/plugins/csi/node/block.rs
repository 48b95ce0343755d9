//! Block volumes of CSI drivers: staged at a directory, published at a file per
//! pod, which then is mapped as any device.

use pvdeck_csi_proto::csi;
use pvdeck_csi_proto::csi::node_service_capability::rpc;

use super::{CsiPlugin, abilities, data, request, source};
use crate::plugins::csi::node::data::VolumeData;
use crate::plugins::error::PluginError;
use crate::plugins::host::Files;
use crate::plugins::plugin::NodeVolume;
use crate::plugins::steps::MOUNT_POINT_MODE;

impl CsiPlugin {
    /// Stages the device and publishes it for the pod; gives the file.
    pub(super) async fn set_up_block(&self, volume: &NodeVolume) -> Result<String, PluginError> {
        let (host, source) = (&*volume.host, source(&volume.spec)?);
        let client = self.client(host, &source.driver, "blockMapper.SetUpDevice failed")?;
        let (layout, name) = (host.layout(), &volume.spec.name);
        let abilities = abilities(&client).await?;
        let directory = format!("{}/data", layout.csi_block(name));
        Files(host).make_directories(&directory, MOUNT_POINT_MODE).await?;
        VolumeData::of(volume, source, &source.handle).write(host, &directory).await?;
        let mut staging = String::new();
        if abilities.contains(&rpc::Type::StageUnstageVolume) {
            let directory = layout.csi_block_staging(name);
            self.make_directory(&client, host, &directory).await?;
            staging = self.seen(&client, host, &directory);
            let asked = request::stage(volume, source, staging.clone(), &abilities)?;
            client.node_stage_volume(asked).await?;
        }
        let target = layout.csi_block_publish(name, volume.pod_uid());
        if let Some((parent, _)) = target.rsplit_once('/') {
            self.make_directory(&client, host, parent).await?;
        }
        let about = request::About::of(volume, source)?;
        let handle = source.handle.to_string();
        let seen = self.seen(&client, host, &target);
        let asked = request::publish(volume, source, &about, handle, staging, seen, &abilities)?;
        client.node_publish_volume(asked).await?;
        self.show_device(&client, volume, &target).await?;
        Ok(target)
    }

    /// Takes the device from a pod.
    pub(super) async fn unpublish_block(&self, volume: &NodeVolume) -> Result<(), PluginError> {
        let (host, source) = (&*volume.host, source(&volume.spec)?);
        let target = host.layout().csi_block_publish(&volume.spec.name, volume.pod_uid());
        let is_there = Files(host).look_at_link(&target).await?.is_some();
        let client = match self.client(host, &source.driver, "blockMapper.UnmapPodDevice failed") {
            Err(_) if !is_there => return Ok(()),
            client => client?,
        };
        // An agent may have died before it showed what a driver outside did.
        if !is_there && self.show_of(&client).is_none() {
            return Ok(());
        }
        let volume_id = source.handle.to_string();
        let target_path = self.seen(&client, host, &target);
        let request = csi::NodeUnpublishVolumeRequest { volume_id, target_path };
        client.node_unpublish_volume(request).await?;
        self.hide_device(&client, volume, &target).await
    }

    /// Unstages the device and removes its directories.
    pub(super) async fn tear_down_block(&self, volume: &NodeVolume) -> Result<(), PluginError> {
        let (host, name) = (&*volume.host, &volume.spec.name);
        let layout = host.layout();
        let directory = format!("{}/data", layout.csi_block(name));
        let Some(known) = VolumeData::read(host, &directory).await? else { return Ok(()) };
        let client = self.client(host, &known.driver, "blockMapper.TearDownDevice failed")?;
        let staging = layout.csi_block_staging(name);
        if abilities(&client).await?.contains(&rpc::Type::StageUnstageVolume) {
            let request = csi::NodeUnstageVolumeRequest {
                volume_id: known.handle.clone(),
                staging_target_path: self.seen(&client, host, &staging),
            };
            client.node_unstage_volume(request).await?;
        }
        let files = Files(host);
        files.remove_directory(&staging).await?;
        let publish = layout.csi_block_publish(name, "");
        files.remove_directory(publish.trim_end_matches('/')).await?;
        data::remove(host, &directory).await?;
        Ok(files.remove_directory(&directory).await?)
    }
}
