//! The entrance: arguments to one of the entry points.

use std::io::Write;
use std::process::ExitCode;

use clap::{CommandFactory, Parser};

use pvdeck::cli::{Cli, Command};
use pvdeck::config::{self, Config};
use pvdeck::failure::Failure;

fn main() -> ExitCode {
    let cli = Cli::parse();
    match run(cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            // A closed stderr leaves only the exit code to tell.
            let _ = writeln!(std::io::stderr(), "{failure}");
            ExitCode::from(failure.code())
        }
    }
}

fn run(cli: Cli) -> Result<(), Failure> {
    match cli.command {
        Some(Command::Completions { shell }) => {
            clap_complete::generate(shell, &mut Cli::command(), "pvdeck", &mut std::io::stdout());
            Ok(())
        }
        Some(Command::Config) => {
            let config = Config::load(&cli.options)?;
            print(&config.describe())
        }
        Some(Command::Serve(_)) | None => {
            let _folder = config::state_folder()?;
            Err(Failure::new("not built yet"))
        }
    }
}

/// Prints to stdout; a reader that went away is no failure.
fn print(text: &str) -> Result<(), Failure> {
    match std::io::stdout().write_all(text.as_bytes()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
            Err(Failure::new(format!("standard output: {error}")))
        }
        _ => Ok(()),
    }
}
