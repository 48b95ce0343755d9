//! A driver as its callers see it: one method per call, each with its deadline
//! and kept in [`Calls`].

use std::fmt;
use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::future::{Either, select};
use pvdeck_csi_proto::csi;
use pvdeck_csi_proto::csi::controller_client::ControllerClient;
use pvdeck_csi_proto::csi::identity_client::IdentityClient;
use pvdeck_csi_proto::csi::node_client::NodeClient;
use serde::Serialize;
use serde_json::Value;
use tonic::{Code, Response, Status};

use crate::model::clock::{Clock, TimerUse};
use crate::plugins::csi::calls::{Call, Calls, shown};
use crate::plugins::csi::capability::ControllerAbilities;
use crate::plugins::csi::error::{CallError, code_name};
use crate::plugins::csi::transport::Transport;

/// How long a kubelet waits for each of its calls.
pub const NODE_DEADLINE: Duration = Duration::from_secs(120);

/// A way to one driver.
#[derive(Clone)]
pub struct Client {
    driver: Arc<str>,
    node: Arc<str>,
    identity: IdentityClient<Transport>,
    controller: ControllerClient<Transport>,
    node_service: NodeClient<Transport>,
    clock: Arc<dyn Clock>,
    calls: Calls,
    deadline: Duration,
    is_outside: bool,
    /// What the driver can do: asked once, and again after it was lost.
    abilities: Arc<Mutex<Option<ControllerAbilities>>>,
    /// Held by who asks for them: of a hundred claims at once one asks.
    asking: Arc<tokio::sync::Mutex<()>>,
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client")
            .field("driver", &self.driver)
            .field("node", &self.node)
            .finish_non_exhaustive()
    }
}

impl Client {
    /// A client of a driver's services. `node`: whose calls they are; empty for
    /// a controller's.
    pub fn new(
        driver: &str,
        node: &str,
        transport: &Transport,
        clock: Arc<dyn Clock>,
        calls: Calls,
        deadline: Duration,
    ) -> Self {
        Self {
            driver: driver.into(),
            node: node.into(),
            identity: IdentityClient::new(transport.clone()),
            controller: ControllerClient::new(transport.clone()),
            node_service: NodeClient::new(transport.clone()),
            clock,
            calls,
            deadline,
            is_outside: false,
            abilities: Arc::default(),
            asking: Arc::default(),
        }
    }

    /// The same, of a driver that runs outside of this process.
    pub fn outside(self) -> Self {
        Self { is_outside: true, ..self }
    }

    /// Whether the driver runs outside of this process, and so sees the real
    /// machine's files.
    pub fn is_outside(&self) -> bool {
        self.is_outside
    }

    /// The same way with other patience.
    pub fn with_deadline(&self, deadline: Duration) -> Self {
        Self { deadline, ..self.clone() }
    }

    pub fn driver(&self) -> &Arc<str> {
        &self.driver
    }

    /// The driver's name, as it says itself.
    pub async fn name(&self) -> Result<String, CallError> {
        Ok(self.get_plugin_info(csi::GetPluginInfoRequest {}).await?.name)
    }

    /// What plugin and controller service can do.
    pub async fn abilities(&self) -> Result<ControllerAbilities, CallError> {
        let known = || self.known_abilities().clone();
        if let Some(known) = known() {
            return Ok(known);
        }
        let patience = self.clock.sleep(self.deadline, TimerUse::Work);
        let _asking = match select(std::pin::pin!(self.asking.lock()), patience).await {
            Either::Left((asking, _)) => asking,
            Either::Right(((), _)) => return Err(CallError::timed_out()),
        };
        if let Some(known) = known() {
            return Ok(known);
        }
        let plugin = self.get_plugin_capabilities(csi::GetPluginCapabilitiesRequest {}).await?;
        let controller = csi::ControllerGetCapabilitiesRequest {};
        let controller = self.controller_get_capabilities(controller).await?;
        let abilities = ControllerAbilities::read(&plugin, &controller);
        *self.known_abilities() = Some(abilities.clone());
        Ok(abilities)
    }

    fn known_abilities(&self) -> MutexGuard<'_, Option<ControllerAbilities>> {
        self.abilities.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes a call: written down, bounded in time.
    async fn call<Req: Serialize + Sync, Rep: Serialize>(
        &self,
        rpc: &'static str,
        request: &Req,
        answer: impl Future<Output = Result<Response<Rep>, Status>> + Send,
    ) -> Result<Rep, CallError> {
        let written = Call {
            id: 0,
            driver: self.driver.clone(),
            node: self.node.clone(),
            rpc,
            started: self.clock.now(),
            ended: None,
            code: "",
            request: shown(request),
            reply: Value::Null,
        };
        let written = Written { client: self, id: Some(self.calls.begin(written)) };
        let patience = self.clock.sleep(self.deadline, TimerUse::Work);
        let answer = match select(std::pin::pin!(answer), patience).await {
            Either::Left((answer, _)) => answer.map(Response::into_inner).map_err(CallError::from),
            // The call's future is dropped, which cancels it.
            Either::Right(((), _)) => Err(CallError::timed_out()),
        };
        if answer.as_ref().is_err_and(|error| error.code == Code::Unavailable) {
            // Another driver may come back in its place.
            *self.known_abilities() = None;
        }
        match &answer {
            Ok(reply) => written.end("OK", shown(reply)),
            Err(error) => written.end(code_name(error.code), error.message.as_str().into()),
        }
        answer
    }
}

/// A call that is written down as begun; dropped, it was given up.
struct Written<'a> {
    client: &'a Client,
    id: Option<u64>,
}

impl Written<'_> {
    fn end(mut self, code: &'static str, reply: Value) {
        if let Some(id) = self.id.take() {
            self.client.calls.end(id, self.client.clock.now(), code, reply);
        }
    }
}

impl Drop for Written<'_> {
    fn drop(&mut self) {
        if let Some(id) = self.id.take() {
            self.client.calls.end(id, self.client.clock.now(), "Canceled", Value::Null);
        }
    }
}

macro_rules! calls {
    ($($service:ident . $method:ident $rpc:literal ($request:ident) -> $reply:ident;)*) => {
        impl Client {
            $(
                #[doc = concat!("`", $rpc, "`.")]
                pub async fn $method(
                    &self,
                    request: csi::$request,
                ) -> Result<csi::$reply, CallError> {
                    let (mut service, sent) = (self.$service.clone(), request.clone());
                    self.call($rpc, &request, async move { service.$method(sent).await }).await
                }
            )*
        }
    };
}

calls! {
    identity.get_plugin_info "GetPluginInfo" (GetPluginInfoRequest) -> GetPluginInfoResponse;
    identity.get_plugin_capabilities "GetPluginCapabilities" (GetPluginCapabilitiesRequest) -> GetPluginCapabilitiesResponse;
    identity.probe "Probe" (ProbeRequest) -> ProbeResponse;
    controller.controller_get_capabilities "ControllerGetCapabilities" (ControllerGetCapabilitiesRequest) -> ControllerGetCapabilitiesResponse;
    controller.create_volume "CreateVolume" (CreateVolumeRequest) -> CreateVolumeResponse;
    controller.delete_volume "DeleteVolume" (DeleteVolumeRequest) -> DeleteVolumeResponse;
    controller.controller_publish_volume "ControllerPublishVolume" (ControllerPublishVolumeRequest) -> ControllerPublishVolumeResponse;
    controller.controller_unpublish_volume "ControllerUnpublishVolume" (ControllerUnpublishVolumeRequest) -> ControllerUnpublishVolumeResponse;
    controller.list_volumes "ListVolumes" (ListVolumesRequest) -> ListVolumesResponse;
    controller.get_capacity "GetCapacity" (GetCapacityRequest) -> GetCapacityResponse;
    controller.controller_expand_volume "ControllerExpandVolume" (ControllerExpandVolumeRequest) -> ControllerExpandVolumeResponse;
    controller.controller_modify_volume "ControllerModifyVolume" (ControllerModifyVolumeRequest) -> ControllerModifyVolumeResponse;
    node_service.node_get_info "NodeGetInfo" (NodeGetInfoRequest) -> NodeGetInfoResponse;
    node_service.node_get_capabilities "NodeGetCapabilities" (NodeGetCapabilitiesRequest) -> NodeGetCapabilitiesResponse;
    node_service.node_stage_volume "NodeStageVolume" (NodeStageVolumeRequest) -> NodeStageVolumeResponse;
    node_service.node_unstage_volume "NodeUnstageVolume" (NodeUnstageVolumeRequest) -> NodeUnstageVolumeResponse;
    node_service.node_publish_volume "NodePublishVolume" (NodePublishVolumeRequest) -> NodePublishVolumeResponse;
    node_service.node_unpublish_volume "NodeUnpublishVolume" (NodeUnpublishVolumeRequest) -> NodeUnpublishVolumeResponse;
    node_service.node_expand_volume "NodeExpandVolume" (NodeExpandVolumeRequest) -> NodeExpandVolumeResponse;
    node_service.node_get_volume_stats "NodeGetVolumeStats" (NodeGetVolumeStatsRequest) -> NodeGetVolumeStatsResponse;
}
