//! How the console starts: what it refuses, and a live cluster.

use std::fs;
use std::path::{Path, PathBuf};

use pvdeck::cluster::connect::Contexts;
use serde_json::json;

use crate::pty::Terminal;
use crate::served::Served;

const ALTERNATE_SCREEN: &str = "\u{1b}[?1049h";

struct Files(tempfile::TempDir);

impl Files {
    fn new() -> Self {
        Self(tempfile::tempdir().expect("a folder"))
    }

    fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.0.path().join(name);
        fs::write(&path, text).expect("a file");
        path
    }

    /// Starts with these arguments, which are bad: exit code 2, a message with
    /// each of these words, and a screen that was left alone or given back.
    #[track_caller]
    fn refuses(&self, arguments: &[&str], words: &[&str]) {
        let (code, written) = Terminal::start(self.0.path(), arguments).end();
        assert_eq!(code, Some(2), "{arguments:?}: {written}");
        for word in words {
            assert!(written.contains(word), "{arguments:?}: no `{word}` in {written}");
        }
        assert!(!written.contains("panicked"), "{written}");
        let after = written.rsplit("\u{1b}[?1049l").next().unwrap_or_default();
        assert!(after.contains("error: "), "told on a screen that is gone: {written}");
    }
}

fn text(path: &Path) -> &str {
    path.to_str().expect("UTF-8")
}

#[test]
fn contexts_and_kubeconfigs_that_lead_nowhere_are_named() {
    let files = Files::new();
    files.refuses(&["--context", "prod"], &["context `prod`", "no kubeconfig", "--demo"]);
    files.refuses(&["--kubeconfig", "no/such"], &["`no/such`", "cannot be read"]);
    let broken = files.write("broken", "clusters:\n- name: [\n");
    files.refuses(&["--kubeconfig", text(&broken)], &[text(&broken), "line"]);
    let port = std::net::TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr());
    let server = format!("http://{}", port.expect("an address"));
    let dead = files.write(
        "dead",
        &format!("current-context: c\ncontexts: [{{name: c, context: {{cluster: c}}}}]\nclusters: [{{name: c, cluster: {{server: \"{server}\"}}}}]\n"),
    );
    files.refuses(&["--kubeconfig", text(&dead)], &["context `c`", &server, "refused"]);
    files.refuses(
        &["--kubeconfig", text(&dead), "--context", "d"],
        &["context `d`", "--context: c"],
    );
}

#[test]
fn settings_that_do_not_exist_are_named() {
    let files = Files::new();
    files.refuses(&["--demo", "--theme", "nope"], &["theme `nope`", "dark"]);
    files.refuses(&["--scenario", "nope"], &["nope", "static-nfs"]);
    let scenario = files.write("s.yaml", "title: [\n");
    files.refuses(&["--scenario", text(&scenario)], &["s.yaml", "line"]);
    let config = files.write("c.yaml", "theme: dark\nthema: light\n");
    files.refuses(&["--config", text(&config)], &["c.yaml", "line 2", "thema"]);
}

#[test]
fn without_kubeconfig_the_demo_opens_and_says_why() {
    let files = Files::new();
    let terminal = Terminal::start(files.0.path(), &[]);
    terminal.shows("no kubeconfig found: this is the demo");
    terminal.keys("\u{3}");
    assert_eq!(terminal.end().0, Some(0));
}

#[test]
fn broken_kubeconfig_does_not_keep_the_demo_from_opening() {
    let files = Files::new();
    fs::create_dir(files.0.path().join(".kube")).expect("a folder");
    files.write(".kube/config", "clusters:\n- name: [\n");
    let terminal = Terminal::start(files.0.path(), &[]);
    terminal.shows("demo");
    terminal.keys("\u{3}");
    let (code, written) = terminal.end();
    assert_eq!(code, Some(0), "{written}");
    assert!(written.contains(ALTERNATE_SCREEN));
}

#[test]
fn live_cluster_opens_read_only_and_shows_its_claims() {
    let runtime = tokio::runtime::Runtime::new().expect("threads");
    let served = runtime.block_on(Served::start(&[]));
    runtime.block_on(create_claim(&served));
    let files = Files::new();
    let kubeconfig = served.kubeconfig();
    let terminal = Terminal::start(files.0.path(), &["--kubeconfig", text(&kubeconfig)]);
    terminal.shows("READ-ONLY");
    terminal.keys(":pvc\r");
    terminal.shows("on-the-live-cluster");
    terminal.keys("\u{3}");
    assert_eq!(terminal.end().0, Some(0));
}

async fn create_claim(served: &Served) {
    let contexts = Contexts::read(Some(&served.kubeconfig())).expect("good").expect("a file");
    let connection = contexts.connect(None).await.expect("a way");
    let client = kube::Client::new(connection.base, connection.default_namespace);
    let claim = json!({"apiVersion": "v1", "kind": "PersistentVolumeClaim",
        "metadata": {"name": "on-the-live-cluster"},
        "spec": {"accessModes": ["ReadWriteOnce"], "storageClassName": "",
            "resources": {"requests": {"storage": "1Gi"}}}});
    let request = http::Request::post("/api/v1/namespaces/default/persistentvolumeclaims")
        .header("Content-Type", "application/json")
        .body(claim.to_string().into_bytes())
        .expect("a request");
    client.request::<serde_json::Value>(request).await.expect("created");
}

#[test]
fn log_that_cannot_be_written_is_told_on_the_screen() {
    let files = Files::new();
    // A file where the state folder should be.
    files.write("state", "");
    let terminal = Terminal::start(files.0.path(), &["--demo"]);
    terminal.shows("the log file");
    terminal.keys("\u{3}");
    assert_eq!(terminal.end().0, Some(0));
}
