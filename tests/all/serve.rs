//! `pvdeck serve` as a process: what it prints, writes, refuses, and how it
//! ends.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;
use std::time::Duration;

use pvdeck::cluster::clock::RunningClock;
use pvdeck::cluster::connect::Contexts;
use pvdeck::mirror::Mirror;
use pvdeck::mirror::freshness::Freshness;
use pvdeck::mirror::watch::{WatchOptions, Watching};
use pvdeck::model::kind;
use rustix::process::Signal;

use crate::served::{Served, finish, pvdeck};

#[tokio::test]
async fn one_line_tells_how_to_use_it_and_signals_end_it_cleanly() {
    for signal in [Signal::INT, Signal::TERM, Signal::HUP] {
        let served = Served::start(&[]).await;
        let kubeconfig = served.kubeconfig();
        let mode = fs::metadata(&kubeconfig).expect("a file").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let folder = served.folder.path().to_owned();
        assert!(kubeconfig.starts_with(&folder), "{}", kubeconfig.display());
        // An open connection must not hold up the end.
        let _idle = tokio::net::TcpStream::connect(served.address()).await.expect("it listens");
        let (code, more) = served.end_by(signal).await;
        assert_eq!((code, more), (Some(0), Vec::new()), "{signal:?}");
        assert!(!kubeconfig.exists(), "its token opens nothing any more");
    }
}

#[tokio::test]
async fn it_listens_on_loopback_only() {
    let served = Served::start(&[]).await;
    let port = served.address().strip_prefix("127.0.0.1:").expect("loopback");
    let port: u16 = port.parse().expect("a port");
    // Local address and port in hexadecimal, then the peer's.
    let ending = format!(":{port:04X}");
    let mut listening = Vec::new();
    for table in ["/proc/net/tcp", "/proc/net/tcp6"] {
        for line in fs::read_to_string(table).unwrap_or_default().lines().skip(1) {
            let words: Vec<_> = line.split_whitespace().collect();
            if words[1].ends_with(&ending) && words[3] == "0A" {
                listening.push(words[1].to_owned());
            }
        }
    }
    assert_eq!(listening, [format!("0100007F{ending}")]);
}

#[tokio::test]
async fn taken_port_and_bad_arguments_exit_with_two_and_say_what_to_do() {
    let served = Served::start(&[]).await;
    let port = served.address().rsplit(':').next().expect("a port").to_owned();
    let folder = tempfile::tempdir().expect("a folder");
    for (arguments, expected) in [
        (vec!["serve", "--port", &port], "--port"),
        (vec!["serve", "--port", "99999"], "99999"),
        (vec!["serve", "--kubeconfig", "/dev/null/no/such"], "/dev/null/no/such"),
        (vec!["serve", "--fast"], "--fast"),
        (vec!["server"], "server"),
        (vec!["--theme"], "--theme"),
        (vec!["completions", "tcsh"], "tcsh"),
        (vec!["config", "--config", "no/such.yaml"], "no/such.yaml"),
        (vec!["config", "--log-level", "loud"], "loud"),
    ] {
        let finished = finish(pvdeck(folder.path()).args(&arguments), "").await;
        assert_eq!(finished.code, Some(2), "{arguments:?}: {finished:?}");
        assert!(finished.err.contains(expected), "{arguments:?}: {}", finished.err);
        assert!(!finished.err.contains("panicked"), "{}", finished.err);
    }
}

#[tokio::test]
async fn kubeconfig_with_contexts_of_ones_own_is_not_overwritten() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("own");
    let text = "contexts:\n- {name: prod, context: {cluster: c}}\n";
    fs::write(&file, text).expect("a file");
    let finished =
        finish(pvdeck(folder.path()).arg("serve").arg("--kubeconfig").arg(&file), "").await;
    assert_eq!(finished.code, Some(2));
    assert!(finished.err.contains("prod"), "{}", finished.err);
    assert_eq!(fs::read_to_string(&file).expect("a file"), text);
}

#[tokio::test]
async fn files_for_people_are_printed() {
    let folder = tempfile::tempdir().expect("a folder");
    for (arguments, expected) in [
        (vec!["--version"], "pvdeck 0."),
        (vec!["--help"], "--context"),
        (vec!["completions", "bash"], "_pvdeck"),
        (vec!["config"], "theme:"),
    ] {
        let printed = finish(pvdeck(folder.path()).args(&arguments), "").await.good();
        assert!(printed.contains(expected), "{arguments:?}: {printed}");
    }
}

#[tokio::test]
async fn full_disk_for_the_log_stops_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    // A file where the state folder should be: nothing can be written there.
    fs::write(folder.path().join("state"), "").expect("a file");
    let kubeconfig = folder.path().join("kubeconfig");
    let mut command = pvdeck(folder.path());
    command.arg("serve").arg("--kubeconfig").arg(&kubeconfig);
    let mut process = command.spawn().expect("the program");
    let mut out = tokio::io::BufReader::new(process.stdout.take().expect("a pipe"));
    let mut line = String::new();
    tokio::io::AsyncBufReadExt::read_line(&mut out, &mut line).await.expect("a line");
    assert!(line.starts_with("serving https://127.0.0.1:"), "{line}");
}

/// A mirror of a served cluster, through its kubeconfig.
async fn follow(served: &Served) -> (Mirror, Watching) {
    let contexts = Contexts::read(Some(&served.kubeconfig())).expect("good").expect("a file");
    assert_eq!(contexts.current(), Some("pvdeck"));
    let connection = contexts.connect(None).await.expect("a way");
    connection.probe().await.expect("it answers");
    let mirror = Mirror::default();
    let client = kube::Client::new(connection.base.clone(), connection.default_namespace.clone());
    let clock = Arc::new(RunningClock::new());
    let options = WatchOptions { heartbeat: true, ..WatchOptions::default() };
    let watching = Watching::start(&mirror, client, clock, &options);
    (mirror, watching)
}

async fn until_nodes(mirror: &Mirror, what: &str, are: impl Fn(&Freshness) -> bool) {
    let mut changes = mirror.subscribe();
    let reached = async {
        while !mirror.freshness_of(kind::NODE).is_some_and(|freshness| are(&freshness)) {
            changes.changed().await;
        }
    };
    let in_time = tokio::time::timeout(Duration::from_secs(60), reached).await;
    in_time.unwrap_or_else(|_| panic!("not {what}: {:?}", mirror.freshness_of(kind::NODE)));
}

#[tokio::test]
async fn library_follows_a_served_cluster_over_https() {
    let served = Served::start(&[]).await;
    let (mirror, _watching) = follow(&served).await;
    until_nodes(&mirror, "live", |freshness| *freshness == Freshness::Live).await;
    assert_eq!(mirror.read(|tables| tables.nodes.len()), 2);
    assert!(mirror.server_ahead().abs() < jiff::SignedDuration::from_secs(5));
    assert_eq!(mirror.complaints().total(), 0);
}

#[tokio::test]
async fn frozen_server_is_told_and_followed_again_once_it_thaws() {
    let served = Served::start(&[]).await;
    let (mirror, _watching) = follow(&served).await;
    until_nodes(&mirror, "live", |freshness| *freshness == Freshness::Live).await;
    // Its connections stay open, as when a cable is out.
    served.signal(Signal::STOP);
    until_nodes(&mirror, "stale", |freshness| {
        matches!(freshness, Freshness::Stale { error, .. } if error == "no answer for 5 s")
    })
    .await;
    assert_eq!(mirror.read(|tables| tables.nodes.len()), 2, "the last picture stays");
    served.signal(Signal::CONT);
    until_nodes(&mirror, "live again", |freshness| *freshness == Freshness::Live).await;
}
