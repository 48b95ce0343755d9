//! Real kubectl against a real `pvdeck serve`: Debian's 1.20 and the one on the
//! PATH, which ask very different things of a server.

mod changes;
mod examples;
mod programs;
mod reads;
mod workloads;

use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::process::Command;

use crate::served::{Finished, Served, finish};

/// One kubectl, and the cluster that is its alone.
pub struct Kubectl {
    path: PathBuf,
    /// 1.20: it validates by itself, and knows fewer words.
    pub is_old: bool,
    pub served: Served,
}

/// A volume and a claim that fit each other, a class that nobody provisions,
/// and a pod that uses the claim.
pub const MANIFEST: &str = r#"
apiVersion: storage.k8s.io/v1
kind: StorageClass
metadata: {name: manual}
provisioner: kubernetes.io/no-provisioner
reclaimPolicy: Retain
---
apiVersion: v1
kind: PersistentVolume
metadata: {name: pv-nfs, labels: {tier: gold}}
spec:
  capacity: {storage: 2Gi}
  accessModes: [ReadWriteMany]
  persistentVolumeReclaimPolicy: Retain
  storageClassName: manual
  nfs: {server: nfs.example, path: /exports/pv-nfs}
---
apiVersion: v1
kind: PersistentVolumeClaim
metadata: {name: data, namespace: default, labels: {app: shop}}
spec:
  accessModes: [ReadWriteMany]
  storageClassName: manual
  resources: {requests: {storage: 1Gi}}
---
apiVersion: v1
kind: Pod
metadata: {name: web, namespace: default}
spec:
  containers:
  - name: web
    image: nginx
    volumeMounts: [{name: html, mountPath: /usr/share/nginx/html}]
  volumes: [{name: html, persistentVolumeClaim: {claimName: data}}]
"#;

/// Runs a test with each kubectl there is. Without one it says `skipped:`, and
/// fails where `PVDECK_REQUIRE_KUBECTL=1`: where one could have been had.
pub async fn with_each(test: impl AsyncFn(&Kubectl)) {
    with_each_serving(&[], test).await;
}

/// As [`with_each`], with arguments for `pvdeck serve`.
pub async fn with_each_serving(arguments: &[&str], test: impl AsyncFn(&Kubectl)) {
    let required = std::env::var("PVDECK_REQUIRE_KUBECTL").is_ok_and(|value| value == "1");
    for (name, path, is_old) in [
        ("kubectl 1.20, which tests/run unpacks", debian(), true),
        ("kubectl on the PATH", on_path(), false),
    ] {
        let Some(path) = path else {
            println!("skipped: no {name}");
            assert!(!required || !is_old, "{name} is required, and not there");
            continue;
        };
        println!("with {}", path.display());
        let served = Served::start(arguments).await;
        test(&Kubectl { path, is_old, served }).await;
    }
}

fn debian() -> Option<PathBuf> {
    let unpacked = "target/kubectl-debian/unpacked/usr/bin/kubectl";
    let default = || Path::new(env!("CARGO_MANIFEST_DIR")).join(unpacked);
    let path = std::env::var_os("PVDECK_KUBECTL_DEBIAN").map_or_else(default, PathBuf::from);
    path.is_file().then_some(path)
}

fn on_path() -> Option<PathBuf> {
    let folders = std::env::var_os("PATH")?;
    std::env::split_paths(&folders).map(|folder| folder.join("kubectl")).find(|p| p.is_file())
}

impl Kubectl {
    /// A call with these words, separated by spaces; `'` quotes as in a shell.
    pub fn command(&self, words: &str) -> Command {
        let mut command = self.served.client(&self.path);
        command.args(split(words));
        command
    }

    pub async fn run(&self, words: &str) -> Finished {
        self.run_with(words, "").await
    }

    pub async fn run_with(&self, words: &str, input: &str) -> Finished {
        finish(&mut self.command(words), input).await
    }

    /// The output of a call that must succeed.
    pub async fn good(&self, words: &str) -> String {
        println!("$ kubectl {words}");
        self.run(words).await.good()
    }

    /// Creates [`MANIFEST`].
    pub async fn create_all(&self) {
        self.run_with("create -f -", MANIFEST).await.good();
    }

    /// Asks again until the answer is as expected: what a controller does takes
    /// its moment.
    pub async fn until(&self, words: &str, expected: &str) {
        let mut last = String::new();
        for _ in 0..100 {
            last = self.run(words).await.out;
            if last == expected {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("kubectl {words}: `{last}`, never `{expected}`");
    }

    /// A file of this test's.
    pub fn file(&self, name: &str, text: &str) -> PathBuf {
        let path = self.served.folder.path().join(name);
        std::fs::write(&path, text).expect("a file");
        path
    }
}

/// Words separated by spaces; `'` quotes as in a shell.
fn split(words: &str) -> Vec<String> {
    let mut split = vec![String::new()];
    let mut quoted = false;
    for c in words.chars() {
        match c {
            '\'' => quoted = !quoted,
            ' ' if !quoted => split.push(String::new()),
            c => split.last_mut().expect("never empty").push(c),
        }
    }
    split.retain(|word| !word.is_empty());
    split
}

#[track_caller]
pub fn has(text: &str, lines: &[&str]) {
    for line in lines {
        let words: Vec<_> = line.split_whitespace().collect();
        let found = text.lines().any(|given| {
            let given: Vec<_> = given.split_whitespace().collect();
            given.windows(words.len().max(1)).any(|window| window == words)
        });
        assert!(found, "no line has `{line}`:\n{text}");
    }
}
