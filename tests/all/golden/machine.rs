//! The machine that the recorded nodes share: one scratch directory on both,
//! and no NFS service.

use pvdeck::controllers::local_provisioner::config::{ClassConfig, Config};
use pvdeck::plugins::host::command::Verb;
use pvdeck::plugins::host::simulated::rules::{Effect, Rule};
use pvdeck::plugins::host::{Command, FileKind, Files, Host, Hosts, OnBehalf};
use pvdeck::session::NODES;
use serde_json::Value;
use std::sync::Arc;

use super::tokens::ROOT;
use crate::world::World;

/// What `mount` says where the kernel knows no NFS.
const NO_NFS: &str = "mount: {object}: unknown filesystem type 'nfs'.\n       dmesg(1) may have more \
                      information after failed mount system call.\n";

/// Gives both nodes the same scratch directory, and none an NFS service.
pub async fn set_up(world: &World) -> Result<(), String> {
    for host in hosts(world) {
        let files = Files(&*host);
        files.make_directories(ROOT, 0o755).await.map_err(|error| error.to_string())?;
        // A file system of the network is the same on all nodes.
        mount(&*host, "machine:/scratch", ROOT, "cifs", Vec::new()).await?;
    }
    world.machines().add_rule(Rule {
        node: None,
        verb: Some(Verb::Mount),
        object: Some("nfs.example:".into()),
        after: 0,
        times: None,
        effect: Effect::Fail { exit: 32, output: NO_NFS.into() },
    });
    Ok(())
}

fn hosts(world: &World) -> Vec<Arc<dyn Host>> {
    NODES.iter().filter_map(|node| world.machines().host(node)).collect()
}

async fn mount(
    host: &dyn Host,
    source: &str,
    target: &str,
    fs_type: &str,
    options: Vec<String>,
) -> Result<(), String> {
    let command = Command::Mount {
        source: source.to_owned(),
        target: target.to_owned(),
        fs_type: fs_type.to_owned(),
        options,
    };
    run(host, command).await
}

async fn run(host: &dyn Host, command: Command) -> Result<(), String> {
    let record = host.run(&OnBehalf::default(), command).await.map_err(|e| e.to_string())?;
    if record.succeeded() { Ok(()) } else { Err(record.output().to_owned()) }
}

/// Does what a `host` step says on both nodes; what it prints.
pub async fn perform(what: &Value, world: &World) -> Result<Option<String>, String> {
    if let Some(action) = what["localProvisioner"].as_str() {
        return provision_locally(action, what, world).map(|()| None);
    }
    if let Some(driver) = what["flexvolumeDriver"].as_str() {
        world.install(driver, what["script"].as_str().unwrap_or_default());
        return Ok(None);
    }
    let mut printed: Vec<String> = Vec::new();
    for host in hosts(world) {
        printed.extend(on_one(what, &*host).await?);
    }
    printed.sort();
    printed.dedup();
    let prints = what.get("list").is_some() || what.get("read").is_some();
    Ok(prints.then(|| match what.get("list") {
        Some(_) => format!("{}\n", printed.join("\n")),
        None => printed.concat(),
    }))
}

/// The lines of one node; of a directory in memory only one node has the files.
async fn on_one(what: &Value, host: &dyn Host) -> Result<Vec<String>, String> {
    let files = Files(host);
    let path = |key: &str| what[key].as_str();
    let done = |done: Result<(), pvdeck::plugins::host::HostError>| {
        done.map(|()| Vec::new()).map_err(|error| error.to_string())
    };
    if let Some(path) = path("mkdir") {
        return done(files.make_directories(path, 0o755).await);
    }
    if let Some(path) = path("tmpfs") {
        done(files.make_directories(path, 0o755).await)?;
        let size = format!("size={}", what["size"].as_str().unwrap_or("4m"));
        return mount(host, "tmpfs", path, "tmpfs", vec![size]).await.map(|()| Vec::new());
    }
    if let Some(path) = path("unmount") {
        let command = Command::Unmount { target: path.to_owned(), force: false };
        return run(host, command).await.map(|()| Vec::new());
    }
    if let Some(path) = path("remove") {
        return done(files.remove_tree(path).await);
    }
    if let Some(path) = path("write") {
        let content = what["content"].as_str().unwrap_or_default();
        return done(files.write(path, content.as_bytes(), 0o644).await);
    }
    if let Some(path) = path("read") {
        let read = files.read(path, 1 << 20).await.map_err(|error| error.to_string())?;
        return Ok(vec![String::from_utf8_lossy(&read).into_owned()]);
    }
    if let Some(path) = path("list") {
        let entries = files.list(path).await.map_err(|error| error.to_string())?;
        let shown =
            |name: &str, kind| if kind == FileKind::Link { None } else { Some(name.to_owned()) };
        return Ok(entries.iter().filter_map(|e| shown(&e.name, e.facts.kind)).collect());
    }
    Err(format!("the machine cannot do {what}"))
}

/// Starts or stops the provisioner of local volumes, as it was set up for the
/// recordings.
fn provision_locally(action: &str, what: &Value, world: &World) -> Result<(), String> {
    let text = |key: &str| what[key].as_str().ok_or_else(|| format!("`{key}` is missing"));
    let provisioner = world.local_provisioner();
    match action {
        "start" => {
            let class = ClassConfig {
                fs_type: Some("ext4".into()),
                ..ClassConfig::at(text("discoveryDir")?)
            };
            let classes = [(text("storageClass")?.to_owned(), class)].into();
            let config = Config { classes, by_node_name_only: true, ..Config::default() };
            provisioner.start(text("node")?, config);
        }
        "stop" => provisioner.stop_all(),
        other => return Err(format!("a local provisioner cannot be told to {other}")),
    }
    Ok(())
}
