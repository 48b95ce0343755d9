//! Measurements of pvdeck and its load generator.
//!
//! ```text
//! cargo build --release --workspace
//! target/release/pvdeck-bench binds              the table of binds, round by round
//! target/release/pvdeck-bench one-bind --pairs 50000 --over https --round
//! target/release/pvdeck-bench one-api --over https
//! target/release/pvdeck-bench one-fan-out --over process
//! target/release/pvdeck-bench one-attach --nodes 1000 --each 30
//! target/release/pvdeck-bench one-csi --claims 1000 --driver socket
//! target/release/pvdeck-bench one-drain --nodes 1000 --each 30 --frames
//! target/release/pvdeck-bench one-frames --claims 100000
//! target/release/pvdeck-bench one-frames-of-nodes --nodes 1000 --each 30
//! target/release/pvdeck-bench one-memory
//! target/release/pvdeck-bench one-mount --nodes 1000 --volumes 30
//! target/release/pvdeck-bench one-place --nodes 1000 --volumes 20 --pods 10000
//! target/release/pvdeck-bench one-start
//! ```
//!
//! Each `one-` is one run and prints a line of JSON. `binds` starts each run as
//! a process of its own and goes through all sizes in turn, so that what else
//! the machine does falls on all alike; a figure is the median of the rounds.
//! Compare ratios of figures from one machine, processor time before wall time.
//! On a machine that others use, `chrt -r 1` before the command keeps them off
//! for the length of a run.

mod api;
mod attaches;
mod binds;
mod boards;
mod cluster;
mod drains;
mod frames;
mod lists;
mod load;
mod measure;
mod memory;
mod mounts;
mod places;
mod provisions;
mod start;
mod watched;

use std::time::Duration;

use clap::{Parser, Subcommand};
use serde_json::Value;

use crate::cluster::Over;

#[global_allocator]
static ALLOCATOR: memory::Counting = memory::Counting;

#[derive(Debug, Parser)]
#[command(name = "pvdeck-bench")]
struct Cli {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Binds per second at several sizes, in process and over HTTPS
    Binds {
        #[arg(long, default_value = "1000,10000,50000", value_delimiter = ',')]
        pairs: Vec<usize>,
        #[arg(long, default_value_t = 3)]
        rounds: usize,
    },
    /// One run of it
    OneBind {
        #[arg(long)]
        pairs: usize,
        /// Also take the cost of looking at everything again
        #[arg(long)]
        round: bool,
        #[arg(long, value_enum, default_value = "process")]
        over: Over,
    },
    /// Writes per second of the API alone, and the delay of a watch
    OneApi {
        #[arg(long, default_value_t = 20_000)]
        writes: usize,
        #[arg(long, value_enum, default_value = "process")]
        over: Over,
    },
    /// Many watchers of one kind
    OneFanOut {
        #[arg(long, default_value_t = 500)]
        watchers: usize,
        #[arg(long, default_value_t = 2000)]
        writes: usize,
        #[arg(long, value_enum, default_value = "process")]
        over: Over,
    },
    /// Attaching and mounting on many simulated nodes, and what rest costs
    OneAttach {
        #[arg(long, default_value_t = 1000)]
        nodes: usize,
        /// Volumes on each node
        #[arg(long, default_value_t = 30)]
        each: usize,
        /// How long the stretch without a change is
        #[arg(long, default_value_t = 60)]
        idle_seconds: u64,
        /// Also draw a console's frames meanwhile
        #[arg(long)]
        frames: bool,
    },
    /// Claims provisioned by our CSI driver, calls against the ideal
    OneCsi {
        #[arg(long, default_value_t = 1000)]
        claims: usize,
        /// How long a call that makes or deletes a volume takes
        #[arg(long, default_value_t = 50)]
        delay_millis: u64,
        #[arg(long, value_enum, default_value = "socket")]
        driver: provisions::Driver,
    },
    /// A drained node's volumes move to the others
    OneDrain {
        #[arg(long, default_value_t = 1000)]
        nodes: usize,
        /// Volumes on each node
        #[arg(long, default_value_t = 30)]
        each: usize,
        /// Also draw a console's frames meanwhile
        #[arg(long)]
        frames: bool,
    },
    /// Time and bytes of a frame
    OneFrames {
        #[arg(long)]
        claims: usize,
    },
    /// Time and bytes of a frame about nodes and what is on them
    OneFramesOfNodes {
        #[arg(long, default_value_t = 1000)]
        nodes: usize,
        /// Volumes on each node
        #[arg(long, default_value_t = 30)]
        each: usize,
    },
    /// From start to the first frame of the program built beside this one
    OneStart {
        #[arg(long, default_value_t = 20)]
        starts: usize,
    },
    /// Lists of many objects
    OneList {
        #[arg(long, default_value_t = 100_000)]
        objects: usize,
        #[arg(long, value_enum, default_value = "process")]
        over: Over,
    },
    /// Volumes of many nodes: time to mount all, cost of idling, memory
    OneMount {
        #[arg(long, default_value_t = 1000)]
        nodes: usize,
        /// On each node, in one pod
        #[arg(long, default_value_t = 30)]
        volumes: usize,
        /// How long to idle
        #[arg(long, default_value_t = 30)]
        seconds: u64,
    },
    /// Pods with local volumes placed per second
    OnePlace {
        #[arg(long, default_value_t = 1000)]
        nodes: usize,
        /// Volumes of each node
        #[arg(long, default_value_t = 20)]
        volumes: usize,
        #[arg(long, default_value_t = 10_000)]
        pods: usize,
        /// Pairs that are bound before
        #[arg(long, default_value_t = 0)]
        beside: usize,
        /// What happens when half of them are placed
        #[arg(long, value_enum, default_value = "nothing")]
        halfway: places::Halfway,
    },
    /// Memory of the mirror
    OneMemory {
        #[arg(long, default_value_t = 100_000)]
        pairs: usize,
    },
}

fn main() {
    match Cli::parse().what {
        What::Binds { pairs, rounds } => binds_table(&pairs, rounds),
        What::OneBind { pairs, round, over } => {
            println!("{}", block_on(binds::run(over, pairs, round)));
        }
        What::OneApi { writes, over } => println!("{}", block_on(api::writes(over, writes))),
        What::OneFanOut { watchers, writes, over } => {
            println!("{}", block_on(api::fan_out(over, watchers, writes)));
        }
        What::OneAttach { nodes, each, idle_seconds, frames } => {
            let idle = Duration::from_secs(idle_seconds);
            println!("{}", block_on(attaches::run(nodes, each, idle, frames)));
        }
        What::OneCsi { claims, delay_millis, driver } => {
            let delay = Duration::from_millis(delay_millis);
            println!("{}", block_on(provisions::run(claims, delay, driver)));
        }
        What::OneDrain { nodes, each, frames } => {
            println!("{}", block_on(drains::run(nodes, each, frames)));
        }
        What::OneFrames { claims } => println!("{}", frames::run(claims)),
        What::OneFramesOfNodes { nodes, each } => println!("{}", boards::run(nodes, each)),
        What::OneStart { starts } => println!("{}", start::run(starts)),
        What::OneList { objects, over } => println!("{}", block_on(lists::run(over, objects))),
        What::OneMount { nodes, volumes, seconds } => {
            println!("{}", block_on(mounts::run(nodes, volumes, seconds)));
        }
        What::OnePlace { nodes, volumes, pods, beside, halfway } => {
            println!("{}", block_on(places::run(nodes, volumes, pods, beside, halfway)));
        }
        What::OneMemory { pairs } => println!("{}", memory::mirror(pairs)),
    }
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(future)
}

fn binds_table(pairs: &[usize], rounds: usize) {
    let sizes: Vec<(Over, usize)> =
        Over::ALL.iter().flat_map(|over| pairs.iter().map(|pairs| (*over, *pairs))).collect();
    let mut runs: Vec<Vec<Value>> = vec![Vec::new(); sizes.len()];
    for _ in 0..rounds {
        for (at, (over, pairs)) in sizes.iter().enumerate() {
            let pairs = pairs.to_string();
            runs[at].push(child(&["one-bind", "--pairs", &pairs, "--over", over.name()]));
        }
    }
    println!("| over | pairs | binds/s | whole/s | processor us a bind |");
    println!("|---|---|---|---|---|");
    for ((over, pairs), runs) in sizes.iter().zip(&runs) {
        let figure = |part: &str, name: &str| {
            measure::median(runs.iter().filter_map(|run| run[part][name].as_f64()).collect())
        };
        println!(
            "| {} | {pairs} | {:.0} | {:.0} | {:.0} |",
            over.name(),
            figure("binds", "per_second"),
            figure("whole", "per_second"),
            figure("binds", "processor_micros_each"),
        );
    }
}

/// Runs this program once more, as a process of its own; what it prints.
fn child(arguments: &[&str]) -> Value {
    let program = std::env::current_exe().expect("this program");
    let output = std::process::Command::new(program).args(arguments).output().expect("a run");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let line = String::from_utf8_lossy(&output.stdout);
    eprint!("{line}");
    serde_json::from_str(line.trim()).expect("a line of JSON")
}
