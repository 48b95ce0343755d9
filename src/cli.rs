//! The command line: arguments to one of the entry points.

use std::path::PathBuf;

use clap::{Parser, Subcommand};
use clap_complete::Shell;

/// A terminal console for Kubernetes persistent storage.
///
/// Without arguments it opens a demo: an embedded cluster in this process, on
/// which a scenario plays. With --context it opens a live cluster, read-only
/// unless told otherwise.
#[derive(Debug, Parser)]
#[command(name = "pvdeck", version, max_term_width = 80)]
pub struct Cli {
    #[command(flatten)]
    pub options: Options,

    #[command(subcommand)]
    pub command: Option<Command>,
}

/// Options of the console.
#[derive(Debug, Default, Clone, clap::Args)]
pub struct Options {
    /// Open the live cluster of this kubeconfig context
    #[arg(long, value_name = "NAME")]
    pub context: Option<String>,

    /// Namespace to start in; all namespaces without it
    #[arg(long, short = 'n', value_name = "NAME")]
    pub namespace: Option<String>,

    /// Kubeconfig file, in place of $KUBECONFIG and ~/.kube/config
    #[arg(long = "kubeconfig", value_name = "FILE")]
    pub kubeconfig: Option<PathBuf>,

    /// Open the demo on an embedded cluster, whatever kubeconfig there is
    #[arg(long, conflicts_with = "context")]
    pub demo: bool,

    /// Scenario that the demo plays: a name, or a YAML file
    #[arg(long, value_name = "NAME", conflicts_with = "context")]
    pub scenario: Option<String>,

    /// In the demo, also use the CSI driver that listens here, such as
    /// unix:///run/csi.sock; a class names it as provisioner
    #[arg(long, value_name = "URL", conflicts_with = "context")]
    pub csi: Vec<String>,

    /// In the demo, also use the FlexVolume drivers in this directory, each
    /// as vendor~driver/driver; they are run as this user
    #[arg(long, value_name = "DIR", conflicts_with = "context")]
    pub flex_volume_plugin_dir: Option<PathBuf>,

    /// In the demo, let nodes attach and mount the kinds of volumes that
    /// Kubernetes has no more, on simulated disks
    #[arg(long, conflicts_with = "context")]
    pub legacy_kinds: bool,

    /// Make every write impossible, for the console and every controller
    #[arg(long, conflicts_with = "write")]
    pub read_only: bool,

    /// Open a live cluster writable
    #[arg(long)]
    pub write: bool,

    /// Colour theme: a name, or a YAML file
    #[arg(long, value_name = "NAME", env = "PVDECK_THEME")]
    pub theme: Option<String>,

    /// Draw with ASCII characters only
    #[arg(long)]
    pub ascii: bool,

    /// Configuration file, in place of the one in the XDG config folder
    #[arg(long, value_name = "FILE", env = "PVDECK_CONFIG", global = true)]
    pub config: Option<PathBuf>,

    /// How much goes into the log file: error, warn, info, debug or trace
    #[arg(long, value_name = "LEVEL", env = "PVDECK_LOG_LEVEL", global = true)]
    pub log_level: Option<String>,
}

/// What to do other than open the console.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Serve an embedded cluster with its controllers on loopback HTTPS
    Serve(Serve),
    /// Open the demo, as --demo does
    Demo(Demo),
    /// Run a CSI driver of our own on a Unix socket
    CsiDriver(CsiDriver),
    /// Run the companions of CSI drivers against a cluster: what provisions,
    /// attaches, grows and changes their volumes
    CsiCompanions(CsiCompanions),
    /// Print the effective configuration, each value with its source
    Config,
    /// Print a completion script for a shell
    Completions { shell: Shell },
}

/// Options of `pvdeck demo`.
#[derive(Debug, Clone, clap::Args)]
pub struct Demo {
    /// Also use the CSI driver that listens here, such as
    /// unix:///run/csi.sock; a class names it as provisioner. May be repeated
    #[arg(long, value_name = "URL")]
    pub csi: Vec<String>,

    /// Also use the FlexVolume drivers in this directory, each as
    /// vendor~driver/driver; they are run as this user
    #[arg(long, value_name = "DIR")]
    pub flex_volume_plugin_dir: Option<PathBuf>,

    /// Let nodes attach and mount the kinds of volumes that Kubernetes has no
    /// more, on simulated disks
    #[arg(long)]
    pub legacy_kinds: bool,

    /// Scenario to play: a name, or a YAML file
    #[arg(long, value_name = "NAME")]
    pub scenario: Option<String>,
}

/// Options of `pvdeck serve`.
#[derive(Debug, Clone, clap::Args)]
pub struct Serve {
    /// Port on 127.0.0.1; 0 takes a free one
    #[arg(long, default_value_t = 0)]
    pub port: u16,

    /// Where to write the kubeconfig (mode 0600); a file in the state folder
    /// by default
    #[arg(long = "kubeconfig", value_name = "FILE")]
    pub kubeconfig: Option<PathBuf>,

    /// Refuse every write, from outside and of every controller
    #[arg(long)]
    pub read_only: bool,

    /// Use the drivers of --csi on nodes only: their companions run elsewhere,
    /// such as in a `pvdeck csi-companions`
    #[arg(long, requires = "csi")]
    pub no_csi_companions: bool,

    /// Watch this directory for drivers that announce themselves, as a kubelet
    /// watches its plugins_registry; their companions run elsewhere
    #[arg(long, value_name = "DIR")]
    pub csi_registry: Option<PathBuf>,

    /// Serve the API alone, without hosted controllers
    #[arg(long)]
    pub no_controllers: bool,

    /// Also use the CSI driver that listens here, such as
    /// unix:///run/csi.sock; a class names it as provisioner. May be repeated
    #[arg(long, value_name = "URL")]
    pub csi: Vec<String>,

    /// Also use the FlexVolume drivers in this directory, each as
    /// vendor~driver/driver; they are run as this user
    #[arg(long, value_name = "DIR")]
    pub flex_volume_plugin_dir: Option<PathBuf>,

    /// Let nodes attach and mount the kinds of volumes that Kubernetes has no
    /// more, on simulated disks
    #[arg(long)]
    pub legacy_kinds: bool,
}

/// Options of `pvdeck csi-companions`.
#[derive(Debug, Clone, clap::Args)]
pub struct CsiCompanions {
    /// The driver that listens here, such as unix:///run/csi.sock; may be
    /// repeated
    #[arg(long, value_name = "URL", required = true)]
    pub csi: Vec<String>,

    /// Kubeconfig file of the cluster, in place of $KUBECONFIG and
    /// ~/.kube/config
    #[arg(long = "kubeconfig", value_name = "FILE")]
    pub kubeconfig: Option<PathBuf>,

    /// Its context, in place of the current one
    #[arg(long, value_name = "NAME")]
    pub context: Option<String>,
}

/// What the volumes of `pvdeck csi-driver` are made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Backing {
    /// Loop devices if this process is root and has them, else directories
    Auto,
    /// Sparse files on loop devices, formatted and mounted; needs root
    Loop,
    /// Plain directories and files, linked to where they are wanted
    Directory,
}

/// Options of `pvdeck csi-driver`.
#[derive(Debug, Clone, clap::Args)]
pub struct CsiDriver {
    /// Where to listen: unix:///path.sock
    #[arg(long, value_name = "URL", env = "CSI_ENDPOINT")]
    pub endpoint: String,

    /// Directory of volumes and state; in the state folder by default
    #[arg(long, value_name = "DIR")]
    pub root: Option<PathBuf>,

    /// The driver's name
    #[arg(long, value_name = "NAME", default_value = "csi.pvdeck.dev")]
    pub name: String,

    /// The driver's name for this machine; its host name by default
    #[arg(long, value_name = "NAME")]
    pub node_id: Option<String>,

    /// What volumes are made of
    #[arg(long, value_enum, default_value = "auto")]
    pub backing: Backing,

    /// The sum of all volumes, such as 100Gi
    #[arg(long, value_name = "SIZE", default_value = "10Ti")]
    pub capacity: String,

    /// The largest volume
    #[arg(long, value_name = "SIZE", default_value = "1Ti")]
    pub volume_size_max: String,

    /// How many volumes a node may have; 0 is any number
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub volumes_per_node_max: u64,

    /// A topology segment of this machine, such as zone=a; may be repeated
    #[arg(long, value_name = "KEY=VALUE")]
    pub topology: Vec<String>,

    /// Volumes need no attaching
    #[arg(long)]
    pub no_attach: bool,

    /// Register with the kubelet that watches this directory
    #[arg(long, value_name = "DIR")]
    pub registration_dir: Option<PathBuf>,

    /// A fault, such as CreateVolume=fail:Unavailable,times=2; may be repeated
    #[arg(long, value_name = "FAULT")]
    pub fault: Vec<String>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }
}
