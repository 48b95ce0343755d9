//! The controller service: rules, then state, then the machine.

use pvdeck_csi_proto::csi::controller_server::Controller;
use pvdeck_csi_proto::csi::controller_service_capability::{self, Rpc, rpc};
use pvdeck_csi_proto::csi::{
    self, ControllerServiceCapability, VolumeContentSource, volume_content_source,
};
use tonic::{Request, Response, Status};

use crate::plugins::csi::driver::rules::{self, Refusal};
use crate::plugins::csi::driver::state::{Volume, identity};
use crate::plugins::csi::driver::{Driver, Place};

/// A volume as replies have it.
fn reply(volume: &Volume) -> csi::Volume {
    let source = volume.source.as_ref().map(|id| VolumeContentSource {
        r#type: Some(volume_content_source::Type::Volume(volume_content_source::VolumeSource {
            volume_id: id.clone(),
        })),
    });
    let topology = (!volume.topology.is_empty())
        .then(|| csi::Topology { segments: volume.topology.clone().into_iter().collect() });
    csi::Volume {
        capacity_bytes: i64::try_from(volume.bytes).unwrap_or(i64::MAX),
        volume_id: volume.id.clone(),
        volume_context: volume.parameters.clone().into_iter().collect(),
        content_source: source,
        accessible_topology: topology.into_iter().collect(),
    }
}

fn healthy() -> Option<csi::VolumeCondition> {
    Some(csi::VolumeCondition { abnormal: false, message: "volume is healthy".to_owned() })
}

impl Driver {
    async fn create(
        self,
        request: csi::CreateVolumeRequest,
    ) -> Result<csi::CreateVolumeResponse, Refusal> {
        rules::given(&request.name, "Name")?;
        let _occupied = self.occupy(&identity(&request.name))?;
        let (volume, is_new) = {
            let mut state = self.lock();
            let volume = rules::create(&state, self.options(), &request)?;
            let is_new = !state.volumes.contains_key(&volume.id);
            // Written down first: what is made is never forgotten.
            self.save(&volume)?;
            state.volumes.insert(volume.id.clone(), volume.clone());
            (volume, is_new)
        };
        if let Err(refusal) = self.inner.machine.make(&volume).await {
            if is_new {
                // The refusal is final, and nobody may ask again: undo it whole.
                self.inner.machine.remove(&volume).await?;
                self.forget(&volume.id)?;
            }
            return Err(refusal);
        }
        Ok(csi::CreateVolumeResponse { volume: Some(reply(&volume)) })
    }

    async fn delete(
        self,
        request: csi::DeleteVolumeRequest,
    ) -> Result<csi::DeleteVolumeResponse, Refusal> {
        let _occupied = self.occupy(&request.volume_id)?;
        let volume = rules::delete(&self.lock(), &request)?.cloned();
        if let Some(volume) = volume {
            self.inner.machine.remove(&volume).await?;
            self.forget(&volume.id)?;
        }
        Ok(csi::DeleteVolumeResponse {})
    }

    async fn expand(
        self,
        request: csi::ControllerExpandVolumeRequest,
    ) -> Result<csi::ControllerExpandVolumeResponse, Refusal> {
        let bytes = rules::expand(&self.lock(), self.options(), &request)?;
        let _occupied = self.occupy(&request.volume_id)?;
        self.change(&request.volume_id, |volume| volume.bytes = volume.bytes.max(bytes))?;
        let volume = rules::volume(&self.lock(), &request.volume_id)?.clone();
        self.inner.machine.grow(&volume).await?;
        let capacity_bytes = i64::try_from(volume.bytes).unwrap_or(i64::MAX);
        Ok(csi::ControllerExpandVolumeResponse { capacity_bytes, node_expansion_required: true })
    }

    fn save(&self, volume: &Volume) -> Result<(), Refusal> {
        self.inner.store.save(volume).map_err(|error| Refusal::internal(error.to_string()))
    }

    pub(super) fn forget(&self, id: &str) -> Result<(), Refusal> {
        let mut state = self.lock();
        self.inner.store.remove(id).map_err(|error| Refusal::internal(error.to_string()))?;
        state.volumes.remove(id);
        Ok(())
    }

    pub(super) fn remember(&self, volume: Volume) -> Result<(), Refusal> {
        let mut state = self.lock();
        self.save(&volume)?;
        state.volumes.insert(volume.id.clone(), volume);
        Ok(())
    }

    fn capabilities(&self) -> Vec<rpc::Type> {
        use rpc::Type;
        let mut has = vec![
            Type::CreateDeleteVolume,
            Type::ListVolumes,
            Type::GetCapacity,
            Type::CloneVolume,
            Type::ExpandVolume,
            Type::VolumeCondition,
            Type::GetVolume,
            Type::SingleNodeMultiWriter,
            Type::ModifyVolume,
        ];
        if self.options().attach {
            has.extend([
                Type::PublishUnpublishVolume,
                Type::PublishReadonly,
                Type::ListVolumesPublishedNodes,
            ]);
        }
        has
    }
}

fn no_snapshots(rpc: &str) -> Status {
    Status::unimplemented(format!("{rpc}: this driver makes no snapshots"))
}

#[tonic::async_trait]
impl Controller for Place {
    async fn create_volume(
        &self,
        request: Request<csi::CreateVolumeRequest>,
    ) -> Result<Response<csi::CreateVolumeResponse>, Status> {
        let work = self.driver.clone().create(request.into_inner());
        self.driver.answer("CreateVolume", work).await
    }

    async fn delete_volume(
        &self,
        request: Request<csi::DeleteVolumeRequest>,
    ) -> Result<Response<csi::DeleteVolumeResponse>, Status> {
        let work = self.driver.clone().delete(request.into_inner());
        self.driver.answer("DeleteVolume", work).await
    }

    async fn controller_publish_volume(
        &self,
        request: Request<csi::ControllerPublishVolumeRequest>,
    ) -> Result<Response<csi::ControllerPublishVolumeResponse>, Status> {
        let (driver, request) = (self.driver.clone(), request.into_inner());
        let work = async move {
            let publication = rules::publish(&driver.lock(), driver.options(), &request)?;
            let _occupied = driver.occupy(&request.volume_id)?;
            driver.change(&request.volume_id, |volume| {
                volume.published.insert(request.node_id, publication);
            })?;
            Ok(csi::ControllerPublishVolumeResponse::default())
        };
        self.driver.answer("ControllerPublishVolume", work).await
    }

    async fn controller_unpublish_volume(
        &self,
        request: Request<csi::ControllerUnpublishVolumeRequest>,
    ) -> Result<Response<csi::ControllerUnpublishVolumeResponse>, Status> {
        let (driver, request) = (self.driver.clone(), request.into_inner());
        let work = async move {
            rules::given(&request.volume_id, "Volume ID")?;
            let _occupied = driver.occupy(&request.volume_id)?;
            driver.change(&request.volume_id, |volume| {
                let node = &request.node_id;
                volume.published.retain(|own, _| !node.is_empty() && own != node);
            })?;
            Ok(csi::ControllerUnpublishVolumeResponse {})
        };
        self.driver.answer("ControllerUnpublishVolume", work).await
    }

    async fn validate_volume_capabilities(
        &self,
        request: Request<csi::ValidateVolumeCapabilitiesRequest>,
    ) -> Result<Response<csi::ValidateVolumeCapabilitiesResponse>, Status> {
        let (driver, request) = (self.driver.clone(), request.into_inner());
        let work = async move {
            if let Some(message) = rules::validate(&driver.lock(), &request)? {
                return Ok(csi::ValidateVolumeCapabilitiesResponse { confirmed: None, message });
            }
            let confirmed = csi::validate_volume_capabilities_response::Confirmed {
                volume_context: request.volume_context,
                volume_capabilities: request.volume_capabilities,
                parameters: request.parameters,
                mutable_parameters: request.mutable_parameters,
            };
            let (confirmed, message) = (Some(confirmed), String::new());
            Ok(csi::ValidateVolumeCapabilitiesResponse { confirmed, message })
        };
        self.driver.answer("ValidateVolumeCapabilities", work).await
    }

    async fn list_volumes(
        &self,
        request: Request<csi::ListVolumesRequest>,
    ) -> Result<Response<csi::ListVolumesResponse>, Status> {
        use csi::list_volumes_response::{Entry, VolumeStatus};
        let (driver, request) = (self.driver.clone(), request.into_inner());
        let work = async move {
            let state = driver.lock();
            let (page, next_token) = rules::list(&state, &request)?;
            let entry = |volume: &Volume| Entry {
                volume: Some(reply(volume)),
                status: Some(VolumeStatus {
                    published_node_ids: volume.published.keys().cloned().collect(),
                    volume_condition: healthy(),
                }),
            };
            let entries = page.into_iter().map(entry).collect();
            Ok(csi::ListVolumesResponse { entries, next_token })
        };
        self.driver.answer("ListVolumes", work).await
    }

    async fn get_capacity(
        &self,
        request: Request<csi::GetCapacityRequest>,
    ) -> Result<Response<csi::GetCapacityResponse>, Status> {
        let (driver, request) = (self.driver.clone(), request.into_inner());
        let work = async move {
            let left = rules::capacity(&driver.lock(), driver.options(), &request);
            // Who places by it prefers this number: it must not promise more.
            let most = driver.options().volume_bytes_max.min(left);
            Ok(csi::GetCapacityResponse {
                available_capacity: i64::try_from(left).unwrap_or(i64::MAX),
                maximum_volume_size: Some(i64::try_from(most).unwrap_or(i64::MAX)),
                minimum_volume_size: None,
            })
        };
        self.driver.answer("GetCapacity", work).await
    }

    async fn controller_get_capabilities(
        &self,
        _: Request<csi::ControllerGetCapabilitiesRequest>,
    ) -> Result<Response<csi::ControllerGetCapabilitiesResponse>, Status> {
        let has = self.driver.capabilities().into_iter().map(|kind| {
            let rpc = controller_service_capability::Type::Rpc(Rpc { r#type: kind.into() });
            ControllerServiceCapability { r#type: Some(rpc) }
        });
        let capabilities = has.collect();
        let work = async move { Ok(csi::ControllerGetCapabilitiesResponse { capabilities }) };
        self.driver.answer("ControllerGetCapabilities", work).await
    }

    async fn create_snapshot(
        &self,
        _: Request<csi::CreateSnapshotRequest>,
    ) -> Result<Response<csi::CreateSnapshotResponse>, Status> {
        Err(no_snapshots("CreateSnapshot"))
    }

    async fn delete_snapshot(
        &self,
        _: Request<csi::DeleteSnapshotRequest>,
    ) -> Result<Response<csi::DeleteSnapshotResponse>, Status> {
        Err(no_snapshots("DeleteSnapshot"))
    }

    async fn list_snapshots(
        &self,
        _: Request<csi::ListSnapshotsRequest>,
    ) -> Result<Response<csi::ListSnapshotsResponse>, Status> {
        Err(no_snapshots("ListSnapshots"))
    }

    async fn get_snapshot(
        &self,
        _: Request<csi::GetSnapshotRequest>,
    ) -> Result<Response<csi::GetSnapshotResponse>, Status> {
        Err(no_snapshots("GetSnapshot"))
    }

    async fn controller_expand_volume(
        &self,
        request: Request<csi::ControllerExpandVolumeRequest>,
    ) -> Result<Response<csi::ControllerExpandVolumeResponse>, Status> {
        let work = self.driver.clone().expand(request.into_inner());
        self.driver.answer("ControllerExpandVolume", work).await
    }

    async fn controller_get_volume(
        &self,
        request: Request<csi::ControllerGetVolumeRequest>,
    ) -> Result<Response<csi::ControllerGetVolumeResponse>, Status> {
        let (driver, request) = (self.driver.clone(), request.into_inner());
        let work = async move {
            rules::given(&request.volume_id, "Volume ID")?;
            let state = driver.lock();
            let volume = rules::volume(&state, &request.volume_id)?;
            let status = csi::controller_get_volume_response::VolumeStatus {
                published_node_ids: volume.published.keys().cloned().collect(),
                volume_condition: healthy(),
            };
            let volume = Some(reply(volume));
            Ok(csi::ControllerGetVolumeResponse { volume, status: Some(status) })
        };
        self.driver.answer("ControllerGetVolume", work).await
    }

    async fn controller_modify_volume(
        &self,
        request: Request<csi::ControllerModifyVolumeRequest>,
    ) -> Result<Response<csi::ControllerModifyVolumeResponse>, Status> {
        let (driver, request) = (self.driver.clone(), request.into_inner());
        let work = async move {
            rules::modify(&driver.lock(), driver.options(), &request)?;
            let _occupied = driver.occupy(&request.volume_id)?;
            driver.change(&request.volume_id, |volume| {
                volume.mutable_parameters.extend(request.mutable_parameters);
            })?;
            Ok(csi::ControllerModifyVolumeResponse {})
        };
        self.driver.answer("ControllerModifyVolume", work).await
    }
}
