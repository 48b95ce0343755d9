//! The cluster on its socket: credentials, protocols, the kubeconfig, the end.

use std::os::unix::fs::PermissionsExt as _;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo};
use pvdeck::cluster::embedded::serve::Listener;
use pvdeck::cluster::embedded::{Embedded, Options};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use serde_json::Value;
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use super::client::*;

/// A cluster that is served, and what its kubeconfig says.
struct Served {
    address: std::net::SocketAddr,
    authority: CertificateDer<'static>,
    token: String,
    stop: Option<oneshot::Sender<()>>,
    task: JoinHandle<()>,
}

async fn serve() -> Served {
    let listener = Listener::bind(0).await.expect("a listener");
    let kubeconfig: Value = serde_yaml::from_str(&listener.kubeconfig()).expect("YAML");
    let cluster = &kubeconfig["clusters"][0]["cluster"];
    let pem = base64::engine::general_purpose::STANDARD
        .decode(cluster["certificate-authority-data"].as_str().expect("an authority"))
        .expect("base64");
    assert_eq!(cluster["server"], format!("https://{}", listener.address()));
    let (stop, stopped) = oneshot::channel();
    let clock = Arc::new(pvdeck::cluster::clock::RunningClock::new());
    let embedded = Embedded::new(Options::new(clock));
    Served {
        address: listener.address(),
        authority: CertificateDer::from_pem_slice(&pem).expect("a certificate"),
        token: kubeconfig["users"][0]["user"]["token"].as_str().expect("a token").to_owned(),
        stop: Some(stop),
        task: tokio::spawn(async move {
            listener.serve(embedded, async { stopped.await.unwrap_or(()) }).await;
        }),
    }
}

impl Served {
    async fn connect(&self, protocol: &str) -> tokio_rustls::client::TlsStream<TcpStream> {
        let mut roots = rustls::RootCertStore::empty();
        roots.add(self.authority.clone()).expect("an authority");
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut config = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = vec![protocol.as_bytes().to_vec()];
        let stream = TcpStream::connect(self.address).await.expect("a connection");
        let name = ServerName::try_from("127.0.0.1").expect("a name");
        tokio_rustls::TlsConnector::from(Arc::new(config))
            .connect(name, stream)
            .await
            .expect("trusted")
    }

    async fn send(&self, protocol: &str, path: &str, token: Option<&str>) -> Response<Incoming> {
        let stream = TokioIo::new(self.connect(protocol).await);
        let mut request =
            Request::builder().uri(format!("https://{}{path}", self.address)).header("host", "x");
        if let Some(token) = token {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        let request = request.body(Full::new(Bytes::new())).expect("a request");
        if protocol == "h2" {
            let (mut sender, connection) =
                hyper::client::conn::http2::handshake(TokioExecutor::new(), stream)
                    .await
                    .expect("h2");
            tokio::spawn(connection);
            sender.send_request(request).await.expect("an answer")
        } else {
            let (mut sender, connection) =
                hyper::client::conn::http1::handshake(stream).await.expect("HTTP/1.1");
            tokio::spawn(connection);
            sender.send_request(request).await.expect("an answer")
        }
    }

    async fn code(&self, path: &str, token: Option<&str>) -> u16 {
        self.send("http/1.1", path, token).await.status().as_u16()
    }
}

async fn body(response: Response<Incoming>) -> Value {
    let bytes = response.into_body().collect().await.expect("a body").to_bytes();
    serde_json::from_slice(&bytes).expect("JSON")
}

#[tokio::test]
async fn the_socket_wants_the_token_except_for_version_and_health_9() {
    let served = serve().await;
    assert_eq!(served.code(CLAIMS, None).await, 401);
    assert_eq!(served.code(CLAIMS, Some("wrong")).await, 401);
    assert_eq!(served.code(CLAIMS, Some(&served.token)).await, 200);
    assert_eq!(served.code("/version", None).await, 200);
    assert_eq!(served.code("/readyz", None).await, 200);
    let status = body(served.send("http/1.1", CLAIMS, None).await).await;
    assert_eq!((&status["reason"], &status["kind"]), (&"Unauthorized".into(), &"Status".into()));
}

#[tokio::test]
async fn both_versions_of_http_list_and_watch_12() {
    let served = serve().await;
    for protocol in ["http/1.1", "h2"] {
        let token = Some(served.token.as_str());
        let list = body(served.send(protocol, "/api/v1/namespaces", token).await).await;
        assert_eq!(list["items"].as_array().map(Vec::len), Some(4), "{protocol}");
        let mut watch =
            served.send(protocol, "/api/v1/namespaces?watch=true", token).await.into_body();
        let frame = watch.frame().await.expect("an event").expect("no error");
        let text = frame.into_data().expect("data");
        assert!(text.starts_with(br#"{"type":"ADDED","object":{"kind":"Namespace""#), "{protocol}");
    }
}

#[tokio::test]
async fn it_listens_on_loopback_only_and_its_kubeconfig_is_private_126() {
    let listener = Listener::bind(0).await.expect("a listener");
    assert!(listener.address().ip().is_loopback());
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("config");
    listener.write_kubeconfig(&path).expect("written");
    let mode = std::fs::metadata(&path).expect("there").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let taken = Listener::bind(listener.address().port()).await.err().expect("taken");
    assert!(taken.to_string().contains(&listener.address().port().to_string()), "{taken}");
}

#[tokio::test]
async fn a_stop_ends_open_watches_cleanly() {
    let mut served = serve().await;
    let path = "/api/v1/nodes?watch=true";
    let watch = served.send("h2", path, Some(&served.token)).await.into_body();
    served.stop.take().expect("not stopped yet").send(()).expect("serving");
    let rest = tokio::time::timeout(Duration::from_secs(5), watch.collect()).await;
    assert!(rest.expect("in time").expect("a clean end").to_bytes().is_empty());
    tokio::time::timeout(Duration::from_secs(5), served.task)
        .await
        .expect("in time")
        .expect("ended");
}
