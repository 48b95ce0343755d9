//! The identity service.

use pvdeck_csi_proto::csi::plugin_capability::{self, Service, VolumeExpansion, service};
use pvdeck_csi_proto::csi::{self, PluginCapability, identity_server::Identity};
use tonic::{Request, Response, Status};

use crate::plugins::csi::driver::Place;

#[tonic::async_trait]
impl Identity for Place {
    async fn get_plugin_info(
        &self,
        _: Request<csi::GetPluginInfoRequest>,
    ) -> Result<Response<csi::GetPluginInfoResponse>, Status> {
        let name = self.driver.options().name.clone();
        let answer = async move {
            Ok(csi::GetPluginInfoResponse {
                name,
                vendor_version: env!("CARGO_PKG_VERSION").to_owned(),
                ..Default::default()
            })
        };
        self.driver.answer("GetPluginInfo", answer).await
    }

    async fn get_plugin_capabilities(
        &self,
        _: Request<csi::GetPluginCapabilitiesRequest>,
    ) -> Result<Response<csi::GetPluginCapabilitiesResponse>, Status> {
        let service =
            |kind: service::Type| plugin_capability::Type::Service(Service { r#type: kind.into() });
        let mut has = vec![service(service::Type::ControllerService)];
        if !self.driver.options().topology.is_empty() {
            has.push(service(service::Type::VolumeAccessibilityConstraints));
        }
        let online = plugin_capability::volume_expansion::Type::Online.into();
        has.push(plugin_capability::Type::VolumeExpansion(VolumeExpansion { r#type: online }));
        let capabilities =
            has.into_iter().map(|has| PluginCapability { r#type: Some(has) }).collect();
        let answer = async move { Ok(csi::GetPluginCapabilitiesResponse { capabilities }) };
        self.driver.answer("GetPluginCapabilities", answer).await
    }

    async fn probe(
        &self,
        _: Request<csi::ProbeRequest>,
    ) -> Result<Response<csi::ProbeResponse>, Status> {
        let answer = async move { Ok(csi::ProbeResponse { ready: Some(true) }) };
        self.driver.answer("Probe", answer).await
    }
}
