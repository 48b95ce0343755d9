//! What must hold whatever happens: looked at after every operation on a
//! machine, and at every revision of the cluster.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

use pvdeck::cluster::embedded::Embedded;
use pvdeck::controllers::node_agent::pods::runtime::Runtimes;
use pvdeck::model::kind;
use pvdeck::plugins::host::Hosts;
use pvdeck::plugins::host::simulated::World;
use pvdeck::plugins::host::simulated::state::{FsRef, Machine, State};
use serde_json::Value;

use super::{MANY, NODES};

/// Looks at everything, and remembers what was wrong.
pub struct Watcher {
    embedded: Embedded,
    world: World,
    runtimes: Arc<Runtimes>,
    seen: Mutex<Seen>,
}

/// What was seen of the cluster so far.
#[derive(Default)]
struct Seen {
    revision: u64,
    /// Nodes out of service: their volumes may be taken from them by force.
    /// One stays here until it is found whole again.
    out_of_service: BTreeSet<String>,
    nodes: BTreeMap<String, NodeSeen>,
    /// The unique names of attachable volumes, by claim.
    unique_names: BTreeMap<String, String>,
    wrong: Option<String>,
    looks: usize,
    revisions: usize,
}

#[derive(Default)]
struct NodeSeen {
    attached: BTreeSet<String>,
    in_use: BTreeSet<String>,
}

impl Watcher {
    pub fn new(embedded: Embedded, world: World, runtimes: Arc<Runtimes>) -> Arc<Self> {
        Arc::new(Self { embedded, world, runtimes, seen: Mutex::default() })
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Seen> {
        self.seen.lock().expect("what was seen")
    }

    /// The attachable volumes behind claims.
    pub fn know(&self, claim: &str, unique_name: String) {
        self.lock().unique_names.insert(claim.to_owned(), unique_name);
    }

    /// Looks now; the first thing wrong is kept.
    pub fn look(&self, after: &str) {
        let mut seen = self.lock();
        for commit in self.embedded.commits_after(seen.revision) {
            seen.revision = commit.revision;
            seen.revisions += 1;
            let object = commit.object_after();
            let wrong = match commit.kind {
                kind if kind == kind::NODE => seen.take_node(&commit.key.name, object.as_ref()),
                kind if kind == kind::POD => object.and_then(|pod| seen.why_not_used(&pod)),
                _ => None,
            };
            seen.blame(&format!("revision {}", commit.revision), wrong);
        }
        seen.looks += 1;
        let state = self.world.snapshot();
        let wrong = self.why_not_sound(&state, &seen.out_of_service);
        seen.blame(after, wrong);
    }

    /// What was wrong first.
    pub fn wrong(&self) -> Option<String> {
        self.lock().wrong.clone()
    }

    /// How often it looked at the machines, and at how many revisions.
    pub fn looks(&self) -> (usize, usize) {
        let seen = self.lock();
        (seen.looks, seen.revisions)
    }

    pub fn is_out_of_service(&self, node: &str) -> bool {
        self.lock().out_of_service.contains(node)
    }

    /// A machine was lost, or found whole again.
    pub fn set_out_of_service(&self, node: &str, out: bool) {
        let mut seen = self.lock();
        match out {
            true => seen.out_of_service.insert(node.to_owned()),
            false => seen.out_of_service.remove(node),
        };
    }

    fn why_not_sound(&self, state: &State, out_of_service: &BTreeSet<String>) -> Option<String> {
        if let Some(disk) = state.formatted_over.first() {
            return Some(format!("{disk} was formatted although it held something"));
        }
        for (id, disk) in state.disks.iter().filter(|(id, _)| !id.contains(MANY)) {
            if disk.attached.len() > 1 {
                return Some(format!("{id} is attached to {:?}", disk.attached));
            }
        }
        let in_service = NODES.into_iter().filter(|node| !out_of_service.contains(*node));
        in_service.into_iter().find_map(|node| {
            let machine = state.machines.get(node)?;
            why_not_whole(state, node, machine)
                .or_else(|| why_not_staged(node, machine))
                .or_else(|| self.why_not_kept(state, node, machine))
        })
    }

    /// A container that runs and has lost what is mounted into it.
    fn why_not_kept(&self, state: &State, node: &str, machine: &Machine) -> Option<String> {
        let host = self.world.host(node)?;
        let runtime = self.runtimes.of(&host);
        for pod in runtime.pods() {
            let seen = runtime.seen(&pod);
            let inside = runtime.inside(&pod);
            let running = inside.iter().filter(|inside| {
                seen.container(&inside.name).is_some_and(|container| container.runs())
            });
            for container in running {
                let volumes = container.mounts.iter();
                let own = volumes.filter(|mount| {
                    let path = &mount.host_path;
                    path.contains("/volumes/") && !path.contains("~empty-dir")
                });
                for mount in own {
                    let is_there = |m: &&pvdeck::plugins::host::simulated::state::Mounted| {
                        m.entry.target == mount.host_path
                    };
                    if machine.mounts.iter().find(is_there).is_none() {
                        let path = &mount.host_path;
                        return Some(format!("{path} was unmounted under pod {pod} on {node}"));
                    }
                }
                for device in container.devices.iter() {
                    let disk = state.disk_at(node, &device.host_path);
                    let has = |id: &Arc<str>| {
                        state.disks.get(id).is_some_and(|disk| disk.attached.contains_key(node))
                    };
                    if !disk.as_ref().is_some_and(has) {
                        let path = &device.host_path;
                        return Some(format!("device {path} went under pod {pod} on {node}"));
                    }
                }
            }
        }
        None
    }
}

/// A disk that is mounted and not attached.
pub fn why_not_whole(state: &State, node: &str, machine: &Machine) -> Option<String> {
    machine.mounts.iter().find_map(|mounted| {
        let FsRef::Disk(id) = &mounted.fs else { return None };
        let attached = state.disks.get(id).is_some_and(|disk| disk.attached.contains_key(node));
        let target = &mounted.entry.target;
        (!attached).then(|| format!("{id} was detached from {node} while mounted at {target}"))
    })
}

/// A bind whose device mount is gone.
fn why_not_staged(node: &str, machine: &Machine) -> Option<String> {
    let of_disk = |id: &Arc<str>| {
        let id = id.clone();
        machine.mounts.iter().filter(move |m| matches!(&m.fs, FsRef::Disk(own) if *own == id))
    };
    machine.mounts.iter().find_map(|mounted| {
        let FsRef::Disk(id) = &mounted.fs else { return None };
        let target = &mounted.entry.target;
        let is_bind = target.contains("/pods/");
        let is_staged = of_disk(id).any(|mounted| mounted.entry.target.contains("/plugins/"));
        (is_bind && !is_staged).then(|| format!("{id} was unstaged under {target} on {node}"))
    })
}

impl Seen {
    fn blame(&mut self, after: &str, wrong: Option<String>) {
        if self.wrong.is_none()
            && let Some(wrong) = wrong
        {
            self.wrong = Some(format!("after {after}: {wrong}"));
        }
    }

    /// Takes in a node; two that are told of what only one may have are wrong.
    fn take_node(&mut self, name: &str, node: Option<&Value>) -> Option<String> {
        let Some(node) = node else {
            self.nodes.remove(name);
            self.out_of_service.insert(name.to_owned());
            return None;
        };
        let list = |field: &str| -> BTreeSet<String> {
            let list = node["status"][field].as_array().into_iter().flatten();
            let text = |entry: &Value| {
                entry["name"].as_str().or(entry.as_str()).unwrap_or_default().to_owned()
            };
            list.map(text).collect()
        };
        let mut conditions = node["status"]["conditions"].as_array().into_iter().flatten();
        let is_ready = conditions.any(|c| c["type"] == "Ready" && c["status"] == "True");
        let mut taints = node["spec"]["taints"].as_array().into_iter().flatten();
        let is_given_up = taints.any(|t| t["key"] == "node.kubernetes.io/out-of-service");
        if !is_ready || is_given_up {
            self.out_of_service.insert(name.to_owned());
        }
        let own = NodeSeen { attached: list("volumesAttached"), in_use: list("volumesInUse") };
        self.nodes.insert(name.to_owned(), own);
        let own = &self.nodes[name].attached;
        let others = self.nodes.iter().filter(|(other, _)| *other != name);
        for (other, seen) in others {
            let both = seen.attached.intersection(own).find(|volume| !volume.contains(MANY));
            if let Some(volume) = both {
                return Some(format!("{volume} is told to be at {name} and at {other}"));
            }
        }
        None
    }

    /// A pod that runs without its node saying that it uses its volumes.
    fn why_not_used(&self, pod: &Value) -> Option<String> {
        let node = pod["spec"]["nodeName"].as_str()?;
        let runs = pod["status"]["phase"] == "Running"
            && pod["metadata"]["deletionTimestamp"].is_null()
            && !self.out_of_service.contains(node);
        if !runs {
            return None;
        }
        let volumes = pod["spec"]["volumes"].as_array().into_iter().flatten();
        let claims = volumes.filter_map(|v| v["persistentVolumeClaim"]["claimName"].as_str());
        let unique = claims.filter_map(|claim| self.unique_names.get(claim));
        let missing = unique.into_iter().find(|name| {
            self.nodes.get(node).is_none_or(|node| !node.in_use.contains(name.as_str()))
        });
        missing
            .map(|name| format!("{} runs, and {node} does not use {name}", pod["metadata"]["name"]))
    }
}
