//! `pvdeck`: the console, on a demo or on a live cluster.
//!
//! ```text
//! options, config, kubeconfig ─> which cluster, how ─> Opened ─> ui::run
//! ```
//!
//! A live cluster opens read-only unless `--write` or the configuration says
//! otherwise; nothing is hosted on it. The demo is writable.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use futures::FutureExt;

use crate::cli::Options;
use crate::cluster::connect::{self, ConnectError, Connection, Contexts, IN_CLUSTER};
use crate::cluster::write_path::read_only::Access;
use crate::config::{self, Config};
use crate::controllers::csi::embedded::EmbeddedDriver;
use crate::failure::Failure;
use crate::log::Log;
use crate::plugins::host::Hosts;
use crate::scenario::{self, BadScenario, Pace, Player, Scenario};
use crate::session::{EmbeddedOptions, Session};
use crate::ui::app::panics;
use crate::ui::terminal::{TerminalError, Tty};
use crate::ui::{self, Ending, Guard, Opened, RunOptions, UiError};
use crate::{csi_driver, flex_volume};

/// The demo's name among the contexts.
const DEMO: &str = "demo";

/// Everything that says how clusters are opened.
#[derive(Debug)]
struct Entrance {
    options: Options,
    config: Config,
    contexts: Option<Contexts>,
    scenario: Arc<Scenario>,
}

/// Runs the console; `Ok` with a signal's number if one ended it.
pub async fn run(options: Options, config: Config, log: Log) -> Result<Option<i32>, Failure> {
    // No screen to draw on: said before anything is asked of a cluster.
    Tty::check().map_err(no_terminal)?;
    let (contexts, broken) = match Contexts::read(options.kubeconfig.as_deref()) {
        Ok(contexts) => (contexts, None),
        // A demo that nobody asked a kubeconfig for does without.
        Err(error) if options.context.is_none() && options.kubeconfig.is_none() => {
            (None, Some(format!("this is the demo: {error}")))
        }
        Err(error) => return Err(cannot_connect(error)),
    };
    let scenario = Arc::new(read_scenario(&config.demo_scenario.value)?);
    let theme = config.theme.value.clone();
    let ascii = config.ascii.value;
    let entrance = Arc::new(Entrance { options, config, contexts, scenario });
    let notice = broken.or_else(|| entrance.notice());
    let first = entrance.first()?;
    let namespace = entrance.options.namespace.clone();
    let namespace = namespace.or_else(|| entrance.config.context(&first).namespace);
    // A login of an exec plugin may need the terminal as it is.
    let opened = entrance.open(&first).await?;
    let tty = Tty::take().map_err(no_terminal)?;
    // From here on the terminal is given back however this ends.
    let panics = panics::install(&tty);
    let opener = {
        let entrance = entrance.clone();
        let open = move |name: String| {
            let entrance = entrance.clone();
            async move { entrance.open(&name).await.map_err(|failure| failure.to_string()) }.boxed()
        };
        Arc::new(open)
    };
    let run = RunOptions {
        opened,
        contexts: entrance.names(),
        opener,
        namespace,
        theme,
        config_folder: config::config_folder().ok(),
        ascii,
        notice,
        panics: Some(panics),
        trouble: Box::new(move || log.take_trouble()),
    };
    let ending = ui::run(&tty, run).await;
    // Whatever it says next is said on the screen as it was.
    tty.give_back();
    match ending {
        Ok(Ending::Quit | Ending::TerminalGone) => Ok(None),
        Ok(Ending::Signal(number)) => Ok(Some(number)),
        Err(error) => Err(cannot_run(&error)),
    }
}

impl Entrance {
    /// Which cluster to open first.
    fn first(&self) -> Result<String, Failure> {
        let options = &self.options;
        if let Some(name) = &options.context {
            return Ok(name.clone());
        }
        match (&self.contexts, &options.kubeconfig) {
            (Some(contexts), Some(file)) if !options.demo => {
                let current = contexts.current().map(str::to_owned);
                current.ok_or_else(|| {
                    Failure::bad_input(format!("`{}` names no current context", file.display()))
                        .hint("choose one with --context")
                })
            }
            _ => Ok(DEMO.into()),
        }
    }

    /// What to say at the start.
    fn notice(&self) -> Option<String> {
        let demo = self.options.context.is_none() && self.options.kubeconfig.is_none();
        match &self.contexts {
            None if demo && connect::is_in_cluster() => {
                Some(format!("this is the demo; :ctx {IN_CLUSTER} opens this pod's cluster"))
            }
            None if demo => Some("no kubeconfig found: this is the demo".into()),
            Some(_) if demo => Some("this is the demo; :ctx opens your clusters".into()),
            _ => None,
        }
    }

    /// Every context one can change to.
    fn names(&self) -> Vec<String> {
        let live = self.contexts.iter().flat_map(Contexts::list).map(|context| context.name);
        let pod = (self.contexts.is_none() && connect::is_in_cluster()).then(|| IN_CLUSTER.into());
        let live = live.chain(pod).filter(|name| name != DEMO);
        std::iter::once(DEMO.to_owned()).chain(live).collect()
    }

    async fn open(&self, name: &str) -> Result<Opened, Failure> {
        match name {
            DEMO => self.open_demo().await,
            name => self.open_live(name).await,
        }
    }

    async fn open_demo(&self) -> Result<Opened, Failure> {
        let access = match self.options.read_only {
            true => Access::locked(),
            false => Access::writable(),
        };
        let options = EmbeddedOptions {
            name: DEMO.into(),
            access,
            drivers: EmbeddedDriver::of_a_demo(),
            outside: csi_driver::meet(&self.options.csi).await?,
            flex_volume: flex_volume::programs(self.options.flex_volume_plugin_dir.as_deref())?,
            legacy_kinds: self.options.legacy_kinds,
            ..EmbeddedOptions::default()
        };
        let session = Session::embedded(options)
            .map_err(|error| Failure::new(format!("the demo cannot start: {error:?}")))?;
        let (path, mirror) = (&session.path, &session.mirror);
        let world = session.demo.as_ref().and_then(|demo| demo.world.clone());
        let machines = world.map(|world| Arc::new(world) as Arc<dyn Hosts>);
        let player = Player::new(&self.scenario, path, mirror, Pace::ForPeople);
        let player = player.with_machines(machines);
        let progress = player.progress();
        // Its end and its failure are told by its progress.
        let playing = tokio::spawn(async move { drop(player.play().await) });
        let guard = Some(Guard(vec![playing.abort_handle()]));
        Ok(Opened { session, progress: Some(progress), guard })
    }

    async fn open_live(&self, name: &str) -> Result<Opened, Failure> {
        let connection = self.connect(name).await?;
        connection.probe().await.map_err(cannot_connect)?;
        let config = self.config.context(&connection.context);
        let access = match (self.options.read_only, self.options.write || config.write) {
            (true, _) => Access::locked(),
            (false, true) => Access::writable(),
            (false, false) => Access::read_only(),
        };
        let namespace = self.options.namespace.clone().or(config.namespace);
        let namespace = namespace.unwrap_or_else(|| connection.default_namespace.clone());
        let session = Session::live(connection, access, Some(namespace));
        Ok(Opened { session, progress: None, guard: None })
    }

    async fn connect(&self, name: &str) -> Result<Connection, Failure> {
        let nowhere = || {
            Failure::bad_input(format!("context `{name}`: there is no kubeconfig"))
                .hint("name one with --kubeconfig or KUBECONFIG; --demo needs none")
        };
        match &self.contexts {
            Some(contexts) => contexts.connect(Some(name)).await.map_err(cannot_connect),
            None if name == IN_CLUSTER => {
                connect::in_cluster().await.map_err(cannot_connect)?.ok_or_else(nowhere)
            }
            None => Err(nowhere()),
        }
    }
}

/// A scenario of the program, or one in a file.
fn read_scenario(name: &str) -> Result<Scenario, Failure> {
    let bad = |error: BadScenario| Failure::bad_input(error.to_string());
    let path = PathBuf::from(name);
    let is_file = name.contains('/')
        || path.extension().is_some_and(|extension| extension == "yaml" || extension == "yml");
    if !is_file {
        return scenario::built_in(Some(name)).map_err(bad);
    }
    let text = read_file(&path)?;
    Scenario::read(name, &text).map_err(bad)
}

fn read_file(path: &Path) -> Result<String, Failure> {
    std::fs::read_to_string(path)
        .map_err(|error| Failure::bad_input(format!("`{}`: {error}", path.display())))
}

fn cannot_connect(error: ConnectError) -> Failure {
    let hint = error.hint();
    Failure::bad_input(error.to_string()).hint(hint)
}

fn no_terminal(error: TerminalError) -> Failure {
    Failure::bad_input(format!("the console needs a terminal: {error}"))
        .hint("`pvdeck serve` and `pvdeck config` need none")
}

/// The whole chain in one line.
fn cannot_run(error: &UiError) -> Failure {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(source) = cause {
        text.push_str(&format!(": {source}"));
        cause = source.source();
    }
    match error {
        UiError::Theme(_) | UiError::Keymap(_) => Failure::bad_input(text),
        UiError::Terminal(_) | UiError::Signals(_) | UiError::Draw(_) => Failure::new(text),
    }
}
