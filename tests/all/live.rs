//! Live clusters over real connections: a server that speaks garbage, refuses,
//! hangs up, and recovers.

use std::fs;
use std::sync::Arc;
use std::time::Duration;

use pvdeck::cluster::clock::RunningClock;
use pvdeck::cluster::connect::Contexts;
use pvdeck::mirror::Mirror;
use pvdeck::mirror::freshness::Freshness;
use pvdeck::mirror::watch::{WatchOptions, Watching};
use pvdeck::model::kind::{self, Kind};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// How the server answers from now on.
#[derive(Debug, Clone)]
enum Manner {
    /// Lists these volumes, keeps watches open, refuses pods.
    Well(Vec<Value>),
    /// A page for people, as a captive portal or a wrong port gives.
    Html,
    /// Not even HTTP.
    Noise,
    /// Closes every connection without a word.
    HangsUp,
}

/// A server on a free port; a change of manner cuts all its connections.
struct Server {
    port: u16,
    manner: watch::Sender<Manner>,
}

impl Server {
    async fn start(manner: Manner) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let manner = watch::Sender::new(manner);
        let manners = manner.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let mut changes = manners.subscribe();
                let manner = changes.borrow_and_update().clone();
                tokio::spawn(async move {
                    tokio::select! {
                        _ = changes.changed() => {}
                        _ = serve(stream, &manner) => {}
                    }
                });
            }
        });
        Self { port, manner }
    }

    fn turn(&self, manner: Manner) {
        self.manner.send_replace(manner);
    }
}

async fn serve(mut stream: TcpStream, manner: &Manner) -> std::io::Result<()> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await?);
    }
    let head = String::from_utf8_lossy(&head).into_owned();
    let path = head.split(' ').nth(1).unwrap_or_default();
    let answer = |code: &str, kind: &str, body: &str| {
        let length = body.len();
        format!(
            "HTTP/1.1 {code}\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}"
        )
    };
    let volumes = match manner {
        Manner::HangsUp => return Ok(()),
        Manner::Noise => return stream.write_all(&[0x16, 0x03, 0x01, 0x00, 0xff, b'\n']).await,
        Manner::Html => {
            let page = answer("200 OK", "text/html", "<html>\u{1b}[2JPlease log in</html>");
            return stream.write_all(page.as_bytes()).await;
        }
        Manner::Well(volumes) => volumes,
    };
    if path.contains("watch=true") {
        let head = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n";
        stream.write_all(head.as_bytes()).await?;
        let from_50 = path.starts_with("/api/v1/persistentvolumes?") && path.contains("=50");
        for volume in volumes.iter().filter(|v| from_50 && v["metadata"]["resourceVersion"] == "60")
        {
            let line = format!("{}\n", json!({"type": "ADDED", "object": volume}));
            stream.write_all(format!("{:x}\r\n{line}\r\n", line.len()).as_bytes()).await?;
        }
        return std::future::pending().await;
    }
    if path.starts_with("/api/v1/pods") {
        let status = json!({"kind": "Status", "code": 403, "reason": "Forbidden",
            "message": "pods is forbidden: User \"dev\" cannot list resource \"pods\""});
        let refusal = answer("403 Forbidden", "application/json", &status.to_string());
        return stream.write_all(refusal.as_bytes()).await;
    }
    let items = if path.starts_with("/api/v1/persistentvolumes?") { &volumes[..] } else { &[] };
    let list = json!({"metadata": {"resourceVersion": "50"}, "items": items}).to_string();
    stream.write_all(answer("200 OK", "application/json", &list).as_bytes()).await
}

fn volume(name: &str, version: &str, capacity: &str) -> Value {
    json!({"metadata": {"name": name, "uid": name, "resourceVersion": version},
        "spec": {"capacity": {"storage": capacity}}})
}

/// Waits for a state of the mirror, within a generous bound.
async fn wait_for(mirror: &Mirror, what: &str, holds: impl Fn(&Mirror) -> bool) {
    let mut changes = mirror.subscribe();
    let reached = async {
        while !holds(mirror) {
            changes.changed().await;
        }
    };
    let bound = Duration::from_secs(60);
    if tokio::time::timeout(bound, reached).await.is_err() {
        panic!("not reached in {bound:?}: {what}; {:?}", mirror.freshness());
    }
}

fn is_stale(mirror: &Mirror, kind: &'static Kind, because: &str) -> bool {
    matches!(mirror.freshness_of(kind), Some(Freshness::Stale { error, .. })
        if error.contains(because) && !error.chars().any(char::is_control))
}

#[tokio::test]
async fn server_that_misbehaves_leaves_the_last_picture_and_is_followed_again() {
    let good = volume("pv-good", "7", "1Gi");
    let server =
        Server::start(Manner::Well(vec![good.clone(), volume("pv-bad", "8", "much")])).await;
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("kubeconfig");
    let address = format!("http://127.0.0.1:{}", server.port);
    let text = format!(
        "current-context: c\ncontexts: [{{name: c, context: {{cluster: c}}}}]\nclusters: [{{name: c, cluster: {{server: \"{address}\"}}}}]\n"
    );
    fs::write(&file, text).expect("a file");
    let contexts = Contexts::read(Some(&file)).expect("a good file").expect("a file");
    let connection = contexts.connect(None).await.expect("a way");
    connection.probe().await.expect("it answers");
    let mirror = Mirror::default();
    let client = kube::Client::new(connection.base.clone(), "default");
    let clock = Arc::new(RunningClock::new());
    let options = WatchOptions { heartbeat: true, ..WatchOptions::default() };
    let _watching = Watching::start(&mirror, client, clock, &options);

    let live =
        |mirror: &Mirror| mirror.freshness_of(kind::PERSISTENT_VOLUME) == Some(Freshness::Live);
    wait_for(&mirror, "live", live).await;
    wait_for(&mirror, "pods are forbidden", |mirror| {
        matches!(mirror.freshness_of(kind::POD), Some(Freshness::Forbidden { message })
            if message.starts_with("pods is forbidden"))
    })
    .await;
    let complaints = mirror.complaints();
    let complaint = complaints.iter().next().expect("one about the bad volume");
    assert!(complaint.text.contains("`pv-bad`: spec.capacity.storage"), "{}", complaint.text);

    for (manner, because) in [
        (Manner::Html, "does not speak the Kubernetes API"),
        (Manner::Noise, "HTTP"),
        (Manner::HangsUp, "connection"),
    ] {
        server.turn(manner);
        wait_for(&mirror, because, |m| is_stale(m, kind::PERSISTENT_VOLUME, because)).await;
        assert_eq!(mirror.read(|tables| tables.volumes.len()), 1, "the last picture stays");
    }
    server.turn(Manner::Well(vec![good, volume("pv-new", "60", "2Gi")]));
    wait_for(&mirror, "live again", live).await;
    // What came meanwhile is in the watch from the version last reached.
    wait_for(&mirror, "the new volume", |m| m.read(|tables| tables.volumes.len()) == 2).await;
}

#[tokio::test]
async fn garbage_instead_of_a_server_is_told_before_the_screen_is_taken() {
    let server = Server::start(Manner::Html).await;
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("kubeconfig");
    let text = format!(
        "current-context: c\ncontexts: [{{name: c, context: {{cluster: c}}}}]\nclusters: [{{name: c, cluster: {{server: \"http://127.0.0.1:{}\"}}}}]\n",
        server.port
    );
    fs::write(&file, text).expect("a file");
    let contexts = Contexts::read(Some(&file)).expect("a good file").expect("a file");
    let connection = contexts.connect(None).await.expect("a way");
    let error = connection.probe().await.expect_err("no API server").to_string();
    assert!(error.contains("does not speak the Kubernetes API"), "{error}");
    server.turn(Manner::HangsUp);
    let error = connection.probe().await.expect_err("no API server").to_string();
    assert!(error.contains("cannot be used"), "{error}");
}
