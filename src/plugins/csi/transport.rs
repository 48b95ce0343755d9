//! How calls reach a driver: over its Unix socket, or straight into a driver
//! of this process. Both carry the same encoded messages.

use std::path::Path;
use std::time::Duration;

use http::{Request, Response};
use pvdeck_csi_proto::csi::controller_server::ControllerServer;
use pvdeck_csi_proto::csi::identity_server::IdentityServer;
use pvdeck_csi_proto::csi::node_server::NodeServer;
use tonic::body::Body;
use tonic::service::Routes;
use tonic::transport::Endpoint;
use tower::util::BoxCloneSyncService;
use tower::{BoxError, ServiceBuilder};

use crate::plugins::csi::driver::Place;

/// A way to one driver.
pub type Transport = BoxCloneSyncService<Request<Body>, Response<Body>, Lost>;

/// A call that did not reach the driver, or whose answer did not come back.
#[derive(Debug, thiserror::Error)]
#[error("the connection to the driver failed")]
pub struct Lost {
    source: BoxError,
}

fn lost(error: impl Into<BoxError>) -> Lost {
    Lost { source: error.into() }
}

/// How long a connection may take to come about (upstream: 10 s).
const DIAL: Duration = Duration::from_secs(10);

/// A socket that cannot be one of a driver.
#[derive(Debug, thiserror::Error)]
#[error("`{endpoint}` is no address of a driver: {why}; write it as unix:///run/csi.sock")]
pub struct BadEndpoint {
    endpoint: String,
    why: String,
}

/// To a driver of this process.
pub fn in_process(place: &Place) -> Transport {
    let routes = Routes::new(IdentityServer::new(place.clone()))
        .add_service(ControllerServer::new(place.clone()))
        .add_service(NodeServer::new(place.clone()));
    let service = ServiceBuilder::new().map_err(lost).service(routes.prepare());
    BoxCloneSyncService::new(service)
}

/// To a driver's socket: `unix:///path`, `unix:/path` or a path. Connects with
/// the first call, and again whenever the connection is lost. Needs a runtime.
pub fn socket(endpoint: &str) -> Result<Transport, BadEndpoint> {
    let path = endpoint.strip_prefix("unix://").or(endpoint.strip_prefix("unix:"));
    let path = path.unwrap_or(endpoint);
    let bad = |why: String| BadEndpoint { endpoint: endpoint.to_owned(), why };
    if !Path::new(path).is_absolute() {
        return Err(bad("the path is not absolute".to_owned()));
    }
    let endpoint = Endpoint::try_from(format!("unix://{path}"));
    let endpoint = endpoint.map_err(|error| bad(error.to_string()))?;
    let channel = endpoint.connect_timeout(DIAL).connect_lazy();
    let service = ServiceBuilder::new().map_err(lost).service(channel);
    Ok(BoxCloneSyncService::new(service))
}
