use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};

use super::*;

const TWO_CONTEXTS: &str = r#"
apiVersion: v1
kind: Config
current-context: dev
clusters:
- {name: c1, cluster: {server: "https://10.0.0.1:6443"}}
- {name: c2, cluster: {server: "https://10.0.0.2:6443", certificate-authority: ca.crt}}
users:
- {name: u1, user: {token: secret}}
contexts:
- {name: dev, context: {cluster: c1, user: u1, namespace: shop}}
- {name: prod, context: {cluster: c2, user: u1}}
- {name: orphan, context: {cluster: gone, user: u1}}
"#;

struct Files(tempfile::TempDir);

impl Files {
    fn new(files: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        for (name, text) in files {
            fs::write(folder.path().join(name), text).expect("a file");
        }
        Self(folder)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn read(&self, name: &str) -> Contexts {
        Contexts::read_files(Some(&self.path(name)), OsStr::new(""), None)
            .expect("a good file")
            .expect("a file")
    }
}

#[track_caller]
fn error_text<T: std::fmt::Debug>(result: Result<T, ConnectError>) -> String {
    let error = result.expect_err("an error");
    format!("{error}; {}", error.hint())
}

#[test]
fn contexts_are_listed_with_their_servers() {
    let contexts = Files::new(&[("config", TWO_CONTEXTS)]).read("config").list();
    let dev = &contexts[0];
    assert_eq!((&*dev.name, &*dev.server, dev.is_current), ("dev", "https://10.0.0.1:6443", true));
    assert_eq!(dev.namespace.as_deref(), Some("shop"));
    assert_eq!((&*contexts[2].name, &*contexts[2].server), ("orphan", ""));
}

#[test]
fn first_file_of_a_list_wins_and_missing_ones_are_passed_over() {
    let files = Files::new(&[("one", "current-context: prod\n"), ("two", TWO_CONTEXTS)]);
    let list = std::env::join_paths([files.path("no"), files.path("one"), files.path("two")])
        .expect("a list");
    let contexts = Contexts::read_files(None, &list, None).expect("good").expect("files");
    assert_eq!(contexts.current(), Some("prod"));
    assert_eq!(contexts.list().len(), 3);
    assert_eq!(contexts.origin.matches('`').count(), 4, "{}", contexts.origin);
}

#[test]
fn without_any_file_there_are_no_contexts() {
    let files = Files::new(&[]);
    let none = Contexts::read_files(None, OsStr::new(""), Some(files.0.path()));
    assert!(none.expect("no error").is_none());
    let home = Files::new(&[]);
    fs::create_dir(home.path(".kube")).expect("a folder");
    fs::write(home.path(".kube/config"), TWO_CONTEXTS).expect("a file");
    let some = Contexts::read_files(None, OsStr::new(""), Some(home.0.path()));
    assert!(some.expect("no error").is_some());
}

#[test]
fn file_asked_for_must_exist() {
    let text =
        error_text(Contexts::read_files(Some(Path::new("nowhere/config")), OsStr::new(""), None));
    assert!(text.contains("`nowhere/config` cannot be read"), "{text}");
}

#[test]
fn broken_yaml_is_named_with_file_and_line() {
    let files = Files::new(&[("config", "clusters:\n- name: [\n")]);
    let path = files.path("config");
    let text = error_text(Contexts::read_files(Some(&path), OsStr::new(""), None));
    assert!(text.contains(&path.display().to_string()) && text.contains("line"), "{text}");
}

#[tokio::test]
async fn unknown_context_names_those_there_are() {
    let contexts = Files::new(&[("config", TWO_CONTEXTS)]).read("config");
    let text = error_text(contexts.connect(Some("prd")).await);
    assert!(text.contains("no context `prd`"), "{text}");
    assert!(text.contains("dev, prod, orphan"), "{text}");
}

#[tokio::test]
async fn context_without_cluster_or_with_missing_certificate_says_so() {
    let contexts = Files::new(&[("config", TWO_CONTEXTS)]).read("config");
    let text = error_text(contexts.connect(Some("orphan")).await);
    assert!(text.contains("context `orphan`") && text.contains("gone"), "{text}");
    let text = error_text(contexts.connect(Some("prod")).await);
    assert!(text.contains("context `prod`") && text.contains("ca.crt"), "{text}");
}

#[tokio::test]
async fn no_current_context_asks_for_one() {
    let text = TWO_CONTEXTS.replace("current-context: dev\n", "");
    let contexts = Files::new(&[("config", &text)]).read("config");
    let text = error_text(contexts.connect(None).await);
    assert!(text.contains("names no current context") && text.contains("--context"), "{text}");
}

#[tokio::test]
async fn exec_plugin_that_fails_is_named() {
    let text = TWO_CONTEXTS.replace(
        "{token: secret}",
        "{exec: {apiVersion: client.authentication.k8s.io/v1, command: no-such-plugin}}",
    );
    let contexts = Files::new(&[("config", &text)]).read("config");
    let text = error_text(contexts.connect(Some("dev")).await);
    assert!(text.contains("context `dev`") && text.contains("No such file"), "{text}");
}

#[tokio::test]
async fn server_that_is_not_there_is_told_by_the_probe() {
    // A port that was free a moment ago, and is again.
    let port = std::net::TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr());
    let server = format!("http://{}", port.expect("an address"));
    let text = TWO_CONTEXTS.replace("https://10.0.0.1:6443", &server);
    let contexts = Files::new(&[("config", &text)]).read("config");
    let connection = contexts.connect(None).await.expect("a way");
    assert_eq!(connection.default_namespace, "shop");
    let text = error_text(connection.probe().await);
    assert!(text.contains(&server) && text.contains("refused"), "{text}");
}
