//! What a scenario's admin does at a node's machine: mounts and files, which no
//! API knows of.

use std::fmt;
use std::sync::Arc;

use serde::Deserialize;

use crate::plugins::host::{Command, FileKind, Files, Host, HostError, Hosts, OnBehalf};

/// One thing done at one node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MachineDeed {
    pub node: String,
    pub action: MachineAction,
}

/// What is done there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MachineAction {
    /// Mounts a file system in memory of this size, as if it were a disk.
    Mount {
        path: String,
        size: String,
    },
    Unmount {
        path: String,
    },
    /// Makes a directory, and those above it.
    Directory {
        path: String,
    },
    Write {
        path: String,
        content: String,
    },
    /// Takes a file or a directory away.
    Remove {
        path: String,
    },
}

/// As it stands in the file.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct MachineFile {
    node: String,
    mount: Option<String>,
    size: Option<String>,
    unmount: Option<String>,
    directory: Option<String>,
    write: Option<String>,
    content: Option<String>,
    remove: Option<String>,
}

/// What was not done, and why.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what} failed: {why}")]
pub struct NotDone {
    pub what: String,
    pub why: String,
}

impl MachineFile {
    pub(super) fn check(self) -> Result<MachineDeed, String> {
        let size = self.size.clone();
        let actions = [
            self.mount.map(|path| MachineAction::Mount { path, size: size.unwrap_or_default() }),
            self.unmount.map(|path| MachineAction::Unmount { path }),
            self.directory.map(|path| MachineAction::Directory { path }),
            self.write.map(|path| MachineAction::Write {
                path,
                content: self.content.clone().unwrap_or_default(),
            }),
            self.remove.map(|path| MachineAction::Remove { path }),
        ];
        let mut given = actions.into_iter().flatten();
        let (Some(action), None) = (given.next(), given.next()) else {
            let what = "exactly one of `mount`, `unmount`, `directory`, `write`, `remove`";
            return Err(format!("what is done at a machine needs {what}"));
        };
        match &action {
            MachineAction::Mount { size, .. } if size.is_empty() => {
                return Err("`mount` needs a `size`, such as 16m".into());
            }
            MachineAction::Mount { .. } => {}
            _ if self.size.is_some() => return Err("`size` goes with `mount` only".into()),
            _ => {}
        }
        if self.content.is_some() && !matches!(action, MachineAction::Write { .. }) {
            return Err("`content` goes with `write` only".into());
        }
        Ok(MachineDeed { node: self.node, action })
    }
}

impl fmt::Display for MachineDeed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (doing, path) = match &self.action {
            MachineAction::Mount { path, .. } => ("mounting", path),
            MachineAction::Unmount { path } => ("unmounting", path),
            MachineAction::Directory { path } => ("making", path),
            MachineAction::Write { path, .. } => ("writing", path),
            MachineAction::Remove { path } => ("removing", path),
        };
        write!(f, "{doing} {path} on {}", self.node)
    }
}

/// Does it; `hosts` are the machines of this program, if it has any.
pub async fn perform(hosts: Option<&dyn Hosts>, deed: &MachineDeed) -> Result<(), NotDone> {
    let not_done = |why: String| NotDone { what: deed.to_string(), why };
    let host = hosts.and_then(|hosts| hosts.host(&deed.node));
    let host = host.ok_or_else(|| not_done("the node has no machine of this program".into()))?;
    on_host(&host, &deed.action).await.map_err(not_done)
}

async fn on_host(host: &Arc<dyn Host>, action: &MachineAction) -> Result<(), String> {
    let files = Files(&**host);
    let told = |done: Result<(), HostError>| done.map_err(|error| error.to_string());
    match action {
        MachineAction::Mount { path, size } => {
            told(files.make_directories(path, 0o755).await)?;
            run(host, Command::tmpfs("tmpfs", &**path, vec![format!("size={size}")])).await
        }
        MachineAction::Unmount { path } => {
            run(host, Command::Unmount { target: path.clone(), force: false }).await
        }
        MachineAction::Directory { path } => told(files.make_directories(path, 0o755).await),
        MachineAction::Write { path, content } => {
            told(files.write(path, content.as_bytes(), 0o644).await)
        }
        MachineAction::Remove { path } => {
            let facts = files.look_at_link(path).await.map_err(|error| error.to_string())?;
            match facts.map(|facts| facts.kind) {
                Some(FileKind::Directory) => told(files.remove_tree(path).await),
                _ => told(files.remove_file(path).await),
            }
        }
    }
}

async fn run(host: &Arc<dyn Host>, command: Command) -> Result<(), String> {
    let ran = host.run(&OnBehalf::default(), command).await;
    let record = ran.map_err(|error| error.to_string())?;
    if record.succeeded() { Ok(()) } else { Err(record.output().trim().to_owned()) }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn read(written: Value) -> Result<String, String> {
        let file: MachineFile = serde_json::from_value(written).map_err(|e| e.to_string())?;
        file.check().map(|deed| deed.to_string())
    }

    #[test]
    fn one_thing_is_done_at_a_machine_and_reads_as_what_it_is() {
        for (written, expected) in [
            (json!({"mount": "/mnt/a", "size": "16m"}), Ok("mounting /mnt/a on n")),
            (json!({"write": "/a", "content": "x"}), Ok("writing /a on n")),
            (json!({"remove": "/a"}), Ok("removing /a on n")),
            (json!({"mount": "/a"}), Err("`mount` needs a `size`")),
            (json!({"remove": "/a", "size": "1"}), Err("`size` goes with `mount` only")),
            (json!({"remove": "/a", "content": "x"}), Err("`content` goes with `write` only")),
            (json!({"remove": "/a", "unmount": "/a"}), Err("exactly one of")),
            (json!({}), Err("exactly one of")),
            (json!({"umount": "/a"}), Err("unknown field `umount`")),
        ] {
            let mut written = written;
            written["node"] = "n".into();
            match (read(written.clone()), expected) {
                (Ok(read), Ok(expected)) => assert_eq!(read, expected),
                (Err(error), Err(part)) => assert!(error.contains(part), "{error}"),
                (read, expected) => panic!("{written}: {read:?}, not {expected:?}"),
            }
        }
    }

    #[tokio::test]
    async fn without_machines_the_deed_says_so() {
        let action = MachineAction::Unmount { path: "/mnt/a".into() };
        let deed = MachineDeed { node: "node-1".into(), action };
        let error = perform(None, &deed).await.expect_err("no machine").to_string();
        assert_eq!(
            error,
            "unmounting /mnt/a on node-1 failed: the node has no machine of this program"
        );
    }
}
