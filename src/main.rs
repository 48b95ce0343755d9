//! The entrance: arguments to one of the entry points.

use std::io::Write;
use std::process::ExitCode;

use clap::{CommandFactory, Parser};

use pvdeck::cli::{Cli, Command};
use pvdeck::config::{self, Config};
use pvdeck::failure::Failure;
use pvdeck::log::Log;
use pvdeck::{console, csi_driver, panic_report, serve};

fn main() -> ExitCode {
    let cli = Cli::parse();
    match run(cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            // A closed stderr leaves only the exit code to tell.
            let _ = match failure.is_signal() {
                true => Ok(()),
                false => writeln!(std::io::stderr(), "{failure}"),
            };
            ExitCode::from(failure.code())
        }
    }
}

fn run(mut cli: Cli) -> Result<(), Failure> {
    if let Some(Command::Demo(demo)) = cli.command {
        cli.options.demo = true;
        cli.options.csi.extend(demo.csi);
        let directory = demo.flex_volume_plugin_dir;
        cli.options.flex_volume_plugin_dir = directory.or(cli.options.flex_volume_plugin_dir);
        cli.options.legacy_kinds |= demo.legacy_kinds;
        cli.options.scenario = demo.scenario.or(cli.options.scenario);
        cli.command = None;
    }
    match cli.command {
        Some(Command::Completions { shell }) => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "pvdeck", &mut script);
            print(&script)
        }
        Some(Command::Config) => {
            let config = Config::load(&cli.options)?;
            print(config.describe().as_bytes())
        }
        Some(Command::Serve(options)) => {
            let config = Config::load(&cli.options)?;
            let _log = prepare(&config)?;
            runtime()?.block_on(serve::run(options))
        }
        Some(Command::CsiDriver(options)) => {
            let config = Config::load(&cli.options)?;
            let _log = prepare(&config)?;
            runtime()?.block_on(csi_driver::run(options))
        }
        Some(Command::CsiCompanions(options)) => {
            let config = Config::load(&cli.options)?;
            let _log = prepare(&config)?;
            runtime()?.block_on(csi_driver::run_companions(options))
        }
        Some(Command::Demo(_)) | None => {
            let config = Config::load(&cli.options)?;
            let log = prepare(&config)?;
            match runtime()?.block_on(console::run(cli.options, config, log))? {
                None => Ok(()),
                Some(signal) => Err(Failure::signal(signal)),
            }
        }
    }
}

/// Log, panic reports and cryptography, before anything else runs.
fn prepare(config: &Config) -> Result<Log, Failure> {
    let folder = config::state_folder()?;
    panic_report::install(&folder)?;
    let log = Log::open(&folder, config.log_bytes_max.value);
    log.install(&config.log_level.value)?;
    // It fails only if there is a provider already, which is as good.
    let _ = rustls::crypto::ring::default_provider().install_default();
    Ok(log)
}

fn runtime() -> Result<tokio::runtime::Runtime, Failure> {
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::new(format!("no threads to run on: {error}")))
}

/// Prints to stdout; a reader that went away is no failure.
fn print(text: &[u8]) -> Result<(), Failure> {
    match std::io::stdout().write_all(text) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
            Err(Failure::new(format!("standard output: {error}")))
        }
        _ => Ok(()),
    }
}
