//! Makes a driver known to a kubelet: what node-driver-registrar does.

use pvdeck_csi_proto::registration::registration_server::{Registration, RegistrationServer};
use pvdeck_csi_proto::registration::{
    InfoRequest, PluginInfo, RegistrationStatus, RegistrationStatusResponse,
};
use tonic::{Request, Response, Status};

/// Answers the kubelet's questions on a socket of its own.
#[derive(Debug, Clone)]
pub struct Registrar {
    name: String,
    endpoint: String,
}

impl Registrar {
    /// For a driver whose node service listens at `endpoint`.
    pub fn new(name: &str, endpoint: &str) -> Self {
        Self { name: name.to_owned(), endpoint: endpoint.to_owned() }
    }

    /// The service.
    pub fn service(&self) -> RegistrationServer<Self> {
        RegistrationServer::new(self.clone())
    }

    /// A server of it, to be run on a socket in the kubelet's directory.
    pub fn router(&self) -> tonic::transport::server::Router {
        tonic::transport::Server::builder().add_service(self.service())
    }
}

#[tonic::async_trait]
impl Registration for Registrar {
    async fn get_info(&self, _: Request<InfoRequest>) -> Result<Response<PluginInfo>, Status> {
        Ok(Response::new(PluginInfo {
            r#type: "CSIPlugin".to_owned(),
            name: self.name.clone(),
            endpoint: self.endpoint.clone(),
            supported_versions: vec!["1.0.0".to_owned()],
        }))
    }

    async fn notify_registration_status(
        &self,
        request: Request<RegistrationStatus>,
    ) -> Result<Response<RegistrationStatusResponse>, Status> {
        let status = request.into_inner();
        if !status.plugin_registered {
            // The kubelet tries again.
            tracing::error!(driver = %self.name, error = %status.error, "registration failed");
        }
        Ok(Response::new(RegistrationStatusResponse {}))
    }
}
