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
    /// Print the effective configuration, each value with its source
    Config,
    /// Print a completion script for a shell
    Completions { shell: Shell },
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

    /// Serve the API alone, without hosted controllers
    #[arg(long)]
    pub no_controllers: bool,
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
