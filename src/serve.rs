//! `pvdeck serve`: an embedded cluster with its controllers on loopback HTTPS,
//! until a signal ends it.

use std::io::Write;
use std::path::{Path, PathBuf};

use tokio::signal::unix::{SignalKind, signal};
use tower::Layer;

use crate::cli::Serve;
use crate::cluster::connect::Contexts;
use crate::cluster::embedded::serve::{Listener, ServeError};
use crate::cluster::write_path::read_only::{Access, ReadOnlyLayer};
use crate::config;
use crate::controllers::csi::embedded::EmbeddedDriver;
use crate::controllers::host;
use crate::failure::Failure;
use crate::session::{EmbeddedOptions, Session};
use crate::{csi_driver, flex_volume};

/// The context that a served kubeconfig holds.
const CONTEXT: &str = "pvdeck";

/// Serves until SIGINT, SIGTERM or SIGHUP. Prints one line once it is ready.
pub async fn run(options: Serve) -> Result<(), Failure> {
    // Before anything is served: from here on a signal ends it cleanly.
    let ended = end()?;
    let listener = Listener::bind(options.port).await.map_err(|error| failed(&error))?;
    let kubeconfig = Kubeconfig::place(&options, &listener)?;
    listener.write_kubeconfig(&kubeconfig.path).map_err(|error| failed(&error))?;
    let access = if options.read_only { Access::locked() } else { Access::writable() };
    let mut outside = csi_driver::meet(&options.csi).await?;
    if let Some(outside) = &mut outside {
        outside.on_nodes_only = options.no_csi_companions;
    }
    let session = Session::embedded(EmbeddedOptions {
        name: "serve".into(),
        access: access.clone(),
        controllers: (!options.no_controllers).then(host::Options::default),
        drivers: EmbeddedDriver::of_a_demo(),
        outside,
        registry: csi_driver::registry(options.csi_registry.as_deref())?,
        flex_volume: flex_volume::programs(options.flex_volume_plugin_dir.as_deref())?,
        legacy_kinds: options.legacy_kinds,
        ..EmbeddedOptions::default()
    })
    .map_err(|error| Failure::new(format!("the embedded cluster does not start: {error}")))?;
    let Some(demo) = &session.demo else {
        return Err(Failure::new("the embedded cluster is not in this process"));
    };
    let service = ReadOnlyLayer::new(access).layer(demo.embedded.clone());
    say(&format!(
        "serving https://{}, try: kubectl --kubeconfig {} get pv,pvc,sc",
        listener.address(),
        quoted(&kubeconfig.path),
    ))?;
    listener.serve(service, ended).await;
    Ok(())
}

/// Where the kubeconfig goes; one of ours is taken away again at the end, as
/// its token opens nothing any more.
struct Kubeconfig {
    path: PathBuf,
    is_ours: bool,
}

impl Kubeconfig {
    fn place(options: &Serve, listener: &Listener) -> Result<Self, Failure> {
        if let Some(path) = &options.kubeconfig {
            refuse_to_overwrite(path)?;
            return Ok(Self { path: path.clone(), is_ours: false });
        }
        let name = format!("serve-{}.kubeconfig", listener.address().port());
        Ok(Self { path: config::state_folder()?.join(name), is_ours: true })
    }
}

impl Drop for Kubeconfig {
    fn drop(&mut self) {
        if self.is_ours {
            // One that is gone already is as good.
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

/// A file with other contexts is somebody's way to real clusters.
fn refuse_to_overwrite(path: &Path) -> Result<(), Failure> {
    if !path.exists() {
        return Ok(());
    }
    let others: Vec<String> = match Contexts::read(Some(path)) {
        Ok(contexts) => contexts.iter().flat_map(Contexts::list).map(|c| c.name).collect(),
        Err(_) => vec!["content that is no kubeconfig".into()],
    };
    let others: Vec<_> = others.into_iter().filter(|name| name != CONTEXT).collect();
    if others.is_empty() {
        return Ok(());
    }
    let what = format!("`{}` exists and holds {}", path.display(), others.join(", "));
    Err(Failure::bad_input(what).hint("name a new file; kubectl can merge them by KUBECONFIG"))
}

/// Resolves when the program is asked to end.
pub(crate) fn end() -> Result<impl Future<Output = ()>, Failure> {
    let listen = |kind| {
        signal(kind).map_err(|error| Failure::new(format!("signals cannot be caught: {error}")))
    };
    let mut interrupt = listen(SignalKind::interrupt())?;
    let mut terminate = listen(SignalKind::terminate())?;
    let mut hangup = listen(SignalKind::hangup())?;
    Ok(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
            _ = hangup.recv() => {}
        }
    })
}

fn failed(error: &ServeError) -> Failure {
    let text = crate::cluster::causes(error);
    match error {
        ServeError::Listen { .. } => {
            Failure::bad_input(text).hint("choose another with --port; 0 takes a free one")
        }
        ServeError::Kubeconfig { .. } => {
            Failure::bad_input(text).hint("choose another file with --kubeconfig")
        }
        ServeError::Certificate(_) => Failure::new(text),
    }
}

fn say(line: &str) -> Result<(), Failure> {
    let mut out = std::io::stdout();
    match writeln!(out, "{line}").and_then(|()| out.flush()) {
        // Nobody listens; the kubeconfig tells as much.
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
        Err(error) => Err(Failure::new(format!("standard output: {error}"))),
        Ok(()) => Ok(()),
    }
}

/// A path as a shell takes it.
fn quoted(path: &Path) -> String {
    let text = path.display().to_string();
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "/._-+:@%".contains(c);
    if text.chars().all(is_plain) { text } else { format!("'{}'", text.replace('\'', r"'\''")) }
}
