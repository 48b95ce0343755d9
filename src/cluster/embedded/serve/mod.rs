//! Serves a cluster on loopback HTTPS, to kubectl and whoever has the token.
//!
//! ```text
//! TCP on 127.0.0.1 -> TLS (certificate made at start) -> token -> service
//! ```
//!
//! The service is any layered form of [`super::Embedded`], so that read-only
//! mode or fault injection hold here too. Real time only: connections do not
//! stand still with the cluster's clock.

mod certificate;
mod connection;
mod kubeconfig;

use std::future::Future;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tower::{BoxError, Service};

use crate::cluster::clock::RunningClock;
use crate::cluster::embedded::serve::certificate::Certificates;
use crate::model::clock::{Clock, TimerUse};

/// How long to wait after the machine refused a connection (no descriptors
/// left, mostly).
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// How long open connections may take to end.
const SHUTDOWN_PATIENCE: Duration = Duration::from_secs(5);

/// Why serving did not begin.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    #[error("cannot listen on 127.0.0.1:{port}: another program may hold that port")]
    Listen { port: u16, source: io::Error },
    #[error("cannot make a certificate for 127.0.0.1")]
    Certificate(#[source] BoxError),
    #[error("cannot write the kubeconfig `{path}`")]
    Kubeconfig { path: String, source: io::Error },
}

/// A bound address with its credentials, not serving yet.
pub struct Listener {
    listener: TcpListener,
    address: SocketAddr,
    acceptor: TlsAcceptor,
    authority_pem: String,
    token: Arc<str>,
}

impl Listener {
    /// Takes a port on the loopback interface (0: any that is free) and makes
    /// certificate and token.
    pub async fn bind(port: u16) -> Result<Self, ServeError> {
        let listen = |source| ServeError::Listen { port, source };
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await.map_err(listen)?;
        let address = listener.local_addr().map_err(listen)?;
        let Certificates { authority_pem, server } =
            Certificates::new(RunningClock::new().now()).map_err(ServeError::Certificate)?;
        let token = format!("{}{}", uuid::Uuid::new_v4().simple(), uuid::Uuid::new_v4().simple());
        Ok(Self {
            listener,
            address,
            acceptor: TlsAcceptor::from(server),
            authority_pem,
            token: token.into(),
        })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// A kubeconfig by which clients find it, trust it and are let in.
    pub fn kubeconfig(&self) -> String {
        kubeconfig::text(self.address, &self.authority_pem, &self.token)
    }

    /// Writes the kubeconfig, readable only by its owner; a reader sees the old
    /// file or the whole new one.
    pub fn write_kubeconfig(&self, path: &Path) -> Result<(), ServeError> {
        kubeconfig::write(path, &self.kubeconfig())
            .map_err(|source| ServeError::Kubeconfig { path: path.display().to_string(), source })
    }

    /// Serves until `shutdown` resolves; then takes no more connections, ends
    /// watches cleanly and returns when all have ended, or soon after.
    pub async fn serve<S, R>(self, service: S, shutdown: impl Future<Output = ()>)
    where
        S: Service<Request<kube::client::Body>, Response = Response<R>> + Clone + Send + 'static,
        S::Future: Send + 'static,
        S::Error: Into<BoxError>,
        R: http_body::Body<Data = Bytes> + Send + 'static,
        R::Error: Into<BoxError>,
    {
        let clock = RunningClock::new();
        let ending = CancellationToken::new();
        let mut connections = JoinSet::new();
        tokio::pin!(shutdown);
        loop {
            tokio::select! {
                () = &mut shutdown => break,
                // Ended connections are taken off the set as they end.
                Some(_) = connections.join_next(), if !connections.is_empty() => {}
                accepted = self.listener.accept() => match accepted {
                    Ok((stream, _)) => {
                        connections.spawn(connection::run(
                            stream,
                            self.acceptor.clone(),
                            self.token.clone(),
                            service.clone(),
                            ending.clone(),
                        ));
                    }
                    Err(error) => {
                        tracing::warn!(%error, "a connection could not be accepted");
                        clock.sleep(ACCEPT_PAUSE, TimerUse::Work).await;
                    }
                },
            }
        }
        drop(self.listener);
        ending.cancel();
        let all_ended = async { while connections.join_next().await.is_some() {} };
        tokio::select! {
            () = all_ended => {}
            // The rest ends with the set.
            () = clock.sleep(SHUTDOWN_PATIENCE, TimerUse::Work) => {}
        }
    }
}
