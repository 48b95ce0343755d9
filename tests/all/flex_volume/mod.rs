//! FlexVolume drivers: real executables, called for the pods of simulated
//! nodes as a kubelet calls them.

mod bad_drivers;
mod calls;
mod example;
mod linux;

use std::path::PathBuf;

use pvdeck::plugins::host::CommandRecord;
use serde_json::{Value, json};

use crate::pods::Cluster;
use crate::world::World;

/// A driver that writes down how it is called, and mounts a file system in
/// memory with a file `marker`. `MORE` stands for what it does beside.
const DRIVER: &str = r#"#!/bin/sh
echo "$@" >> LOG
case "$1" in
MORE
init) echo '{"status":"Success","capabilities":{"attach":ATTACH}}' ;;
mount) mount -t tmpfs tmpfs "$2" && echo flex > "$2/marker" && echo '{"status":"Success"}' ;;
unmount) umount "$2" && echo '{"status":"Success"}' ;;
*) echo '{"status":"Not supported"}' ;;
esac
"#;

pub const NAME: &str = "example/simple";

fn run(play: impl AsyncFnOnce(Cluster)) {
    World::run_with_programs(async |world| play(Cluster { world }).await);
}

/// Where a driver writes down its calls.
fn log(cluster: &Cluster) -> PathBuf {
    cluster.world.drivers_folder().with_file_name("log")
}

/// The driver, with what it does beside.
fn script(cluster: &Cluster, attach: bool, more: &str) -> String {
    let log = log(cluster);
    let script = DRIVER.replace("LOG", &log.to_string_lossy());
    script.replace("ATTACH", if attach { "true" } else { "false" }).replace("MORE\n", more)
}

impl Cluster {
    /// Installs the driver and waits until it is found.
    async fn install(&self, attach: bool, more: &str) {
        self.world.install(NAME, &script(self, attach, more));
        let usable = || {
            let shown = self.world.flex_drivers().shown();
            shown.iter().any(|driver| driver.name == NAME && driver.state.is_ok())
        };
        self.until("the driver is found", async || usable()).await;
    }

    /// How the driver was called, `init` left out.
    fn called(&self) -> Vec<String> {
        let log = std::fs::read_to_string(log(self)).unwrap_or_default();
        log.lines().filter(|line| *line != "init").map(str::to_owned).collect()
    }

    /// How often it was probed.
    fn probed(&self) -> usize {
        let log = std::fs::read_to_string(log(self)).unwrap_or_default();
        log.lines().filter(|line| *line == "init").count()
    }

    /// The first words of each call.
    fn commands(&self) -> Vec<String> {
        let called = self.called();
        called.iter().filter_map(|line| line.split(' ').next()).map(str::to_owned).collect()
    }

    fn records(&self, node: &str) -> Vec<CommandRecord> {
        self.host(node).records()
    }
}

/// A volume of the driver.
fn flex(options: Value) -> Value {
    json!({"flexVolume": {"driver": NAME, "options": options}})
}
