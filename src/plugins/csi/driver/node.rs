//! The node service: rules, then state, then the machine.
//!
//! A mount is written down before it is made and forgotten after it is gone,
//! and making and taking away find what is there.

use pvdeck_csi_proto::csi::node_server::Node;
use pvdeck_csi_proto::csi::node_service_capability::{self, Rpc, rpc};
use pvdeck_csi_proto::csi::{self, NodeServiceCapability};
use tonic::{Request, Response, Status};

use crate::plugins::csi::driver::rules::{self, Refusal};
use crate::plugins::csi::driver::{Place, node_rules};

impl Place {
    async fn stage(
        self,
        request: csi::NodeStageVolumeRequest,
    ) -> Result<csi::NodeStageVolumeResponse, Refusal> {
        let driver = &self.driver;
        let (id, machine) = (&request.volume_id, &*self.machine);
        let _occupied = driver.occupy(id)?;
        let (staging, volume, again) = {
            let state = driver.lock();
            let staging =
                node_rules::stage(&state, driver.options(), machine, &self.node_id, &request)?;
            let volume = rules::volume(&state, id)?.clone();
            let again = volume.staged.contains_key(machine);
            (staging, volume, again)
        };
        driver.change(id, |volume| {
            volume.staged.insert(machine.to_owned(), staging.clone());
        })?;
        let done = driver.inner.machine.stage(machine, &volume, &staging).await;
        if done.is_err() && !again {
            driver.inner.machine.unstage(machine, &volume, &staging.path).await?;
            driver.change(id, |volume| volume.forget_path(machine, &staging.path))?;
        }
        done.map(|()| csi::NodeStageVolumeResponse {})
    }

    async fn unstage(
        self,
        request: csi::NodeUnstageVolumeRequest,
    ) -> Result<csi::NodeUnstageVolumeResponse, Refusal> {
        let (driver, machine) = (&self.driver, &*self.machine);
        let (id, path) = (&request.volume_id, &request.staging_target_path);
        let _occupied = driver.occupy(id)?;
        let volume = node_rules::unstage(&driver.lock(), machine, &request)?.cloned();
        if let Some(volume) = volume {
            driver.inner.machine.unstage(machine, &volume, path).await?;
            driver.change(id, |volume| volume.forget_path(machine, path))?;
        }
        Ok(csi::NodeUnstageVolumeResponse {})
    }

    async fn publish(
        self,
        request: csi::NodePublishVolumeRequest,
    ) -> Result<csi::NodePublishVolumeResponse, Refusal> {
        let (driver, machine) = (&self.driver, &*self.machine);
        let (id, path) = (&request.volume_id, &request.target_path);
        let _occupied = driver.occupy(id)?;
        let own = node_rules::ephemeral(&driver.lock(), driver.options(), &request)?;
        if let Some(volume) = own {
            driver.remember(volume.clone())?;
            driver.inner.machine.make(&volume).await?;
        }
        let (target, volume) = {
            let state = driver.lock();
            let target = node_rules::publish(&state, machine, &request)?;
            (target, rules::volume(&state, id)?.clone())
        };
        driver.change(id, |volume| {
            let targets = volume.targets.entry(machine.to_owned()).or_default();
            targets.insert(path.clone(), target.clone());
        })?;
        let from = &request.staging_target_path;
        let done = driver.inner.machine.publish(machine, &volume, from, path, &target).await;
        if done.is_err() && !volume.is_at(machine, path) {
            driver.inner.machine.unpublish(machine, &volume, path).await?;
            driver.change(id, |volume| volume.forget_path(machine, path))?;
        }
        done.map(|()| csi::NodePublishVolumeResponse {})
    }

    async fn unpublish(
        self,
        request: csi::NodeUnpublishVolumeRequest,
    ) -> Result<csi::NodeUnpublishVolumeResponse, Refusal> {
        rules::given(&request.volume_id, "Volume ID")?;
        rules::given(&request.target_path, "Target path")?;
        let (driver, machine) = (&self.driver, &*self.machine);
        let (id, path) = (&request.volume_id, &request.target_path);
        let _occupied = driver.occupy(id)?;
        let volume = driver.lock().volumes.get(id).cloned();
        if let Some(volume) = volume {
            driver.inner.machine.unpublish(machine, &volume, path).await?;
            driver.change(id, |volume| volume.forget_path(machine, path))?;
            if volume.is_ephemeral {
                driver.inner.machine.unstage(machine, &volume, "").await?;
                driver.inner.machine.remove(&volume).await?;
                driver.forget(id)?;
            }
        }
        Ok(csi::NodeUnpublishVolumeResponse {})
    }

    async fn usage(
        self,
        request: csi::NodeGetVolumeStatsRequest,
    ) -> Result<csi::NodeGetVolumeStatsResponse, Refusal> {
        let volume = node_rules::usage(&self.driver.lock(), &self.machine, &request)?.clone();
        let usage = self.driver.inner.machine.usage(&volume, &request.volume_path);
        let volume_condition =
            Some(csi::VolumeCondition { abnormal: false, message: "volume is healthy".to_owned() });
        Ok(csi::NodeGetVolumeStatsResponse { usage, volume_condition })
    }

    async fn expand(
        self,
        request: csi::NodeExpandVolumeRequest,
    ) -> Result<csi::NodeExpandVolumeResponse, Refusal> {
        let _occupied = self.driver.occupy(&request.volume_id)?;
        let volume = node_rules::expand(&self.driver.lock(), &self.machine, &request)?.clone();
        let path = &request.volume_path;
        self.driver.inner.machine.grow_on_node(&self.machine, &volume, path).await?;
        let capacity_bytes = i64::try_from(volume.bytes).unwrap_or(i64::MAX);
        Ok(csi::NodeExpandVolumeResponse { capacity_bytes })
    }
}

#[tonic::async_trait]
impl Node for Place {
    async fn node_stage_volume(
        &self,
        request: Request<csi::NodeStageVolumeRequest>,
    ) -> Result<Response<csi::NodeStageVolumeResponse>, Status> {
        let work = self.clone().stage(request.into_inner());
        self.driver.answer("NodeStageVolume", work).await
    }

    async fn node_unstage_volume(
        &self,
        request: Request<csi::NodeUnstageVolumeRequest>,
    ) -> Result<Response<csi::NodeUnstageVolumeResponse>, Status> {
        let work = self.clone().unstage(request.into_inner());
        self.driver.answer("NodeUnstageVolume", work).await
    }

    async fn node_publish_volume(
        &self,
        request: Request<csi::NodePublishVolumeRequest>,
    ) -> Result<Response<csi::NodePublishVolumeResponse>, Status> {
        let work = self.clone().publish(request.into_inner());
        self.driver.answer("NodePublishVolume", work).await
    }

    async fn node_unpublish_volume(
        &self,
        request: Request<csi::NodeUnpublishVolumeRequest>,
    ) -> Result<Response<csi::NodeUnpublishVolumeResponse>, Status> {
        let work = self.clone().unpublish(request.into_inner());
        self.driver.answer("NodeUnpublishVolume", work).await
    }

    async fn node_get_volume_stats(
        &self,
        request: Request<csi::NodeGetVolumeStatsRequest>,
    ) -> Result<Response<csi::NodeGetVolumeStatsResponse>, Status> {
        let work = self.clone().usage(request.into_inner());
        self.driver.answer("NodeGetVolumeStats", work).await
    }

    async fn node_expand_volume(
        &self,
        request: Request<csi::NodeExpandVolumeRequest>,
    ) -> Result<Response<csi::NodeExpandVolumeResponse>, Status> {
        let work = self.clone().expand(request.into_inner());
        self.driver.answer("NodeExpandVolume", work).await
    }

    async fn node_get_capabilities(
        &self,
        _: Request<csi::NodeGetCapabilitiesRequest>,
    ) -> Result<Response<csi::NodeGetCapabilitiesResponse>, Status> {
        use rpc::Type;
        let has = [
            Type::StageUnstageVolume,
            Type::GetVolumeStats,
            Type::ExpandVolume,
            Type::VolumeCondition,
            Type::SingleNodeMultiWriter,
        ];
        let has = has.map(|kind| {
            let rpc = node_service_capability::Type::Rpc(Rpc { r#type: kind.into() });
            NodeServiceCapability { r#type: Some(rpc) }
        });
        let work = async move { Ok(csi::NodeGetCapabilitiesResponse { capabilities: has.into() }) };
        self.driver.answer("NodeGetCapabilities", work).await
    }

    async fn node_get_info(
        &self,
        _: Request<csi::NodeGetInfoRequest>,
    ) -> Result<Response<csi::NodeGetInfoResponse>, Status> {
        let options = self.driver.options();
        let topology = (!options.topology.is_empty())
            .then(|| csi::Topology { segments: options.topology.clone().into_iter().collect() });
        let info = csi::NodeGetInfoResponse {
            node_id: self.node_id.to_string(),
            max_volumes_per_node: i64::try_from(options.volumes_per_node_max).unwrap_or(i64::MAX),
            accessible_topology: topology,
        };
        self.driver.answer("NodeGetInfo", async move { Ok(info) }).await
    }
}
