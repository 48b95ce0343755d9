//! The way to a live cluster: kubeconfig files as kubectl reads them, or the
//! service account of a pod.
//!
//! Files, in order: `--kubeconfig`; the list in `KUBECONFIG`, whose missing
//! files are passed over and whose first word on anything wins;
//! `~/.kube/config`. Without any, the service account of the pod this runs in.
//! Exec plugins, tokens, client certificates and proxies are kube's business,
//! save that a proxy of the environment is chosen by Go's rules ([`proxy`]),
//! which kubectl follows.

pub mod proxy;

use std::path::{Path, PathBuf};
use std::time::Duration;

use kube::config::{
    ExecInteractiveMode, KubeConfigOptions, Kubeconfig, KubeconfigError, NamedContext,
};
use kube::{Client, Config};
use tower::{BoxError, ServiceExt, service_fn};

use crate::cluster::{Base, causes};

/// Longer than any healthy server takes; kubectl's users wait no longer either.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// The name of the context of a pod's own service account.
pub const IN_CLUSTER: &str = "in-cluster";

/// Why there is no way to a cluster. Names the file and the context.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    #[error("kubeconfig `{}` cannot be read: {source}", .path.display())]
    Read { path: PathBuf, source: std::io::Error },
    #[error("kubeconfig `{}`: {what}", .path.display())]
    Broken { path: PathBuf, what: String },
    #[error("kubeconfig {origin} names no current context")]
    NoCurrentContext { origin: String, known: Vec<String> },
    #[error("kubeconfig {origin} has no context `{name}`")]
    UnknownContext { origin: String, name: String, known: Vec<String> },
    #[error("context `{context}` of kubeconfig {origin}: {what}")]
    Unusable { origin: String, context: String, what: String },
    #[error("context `{context}`: the server {server} cannot be used: {what}")]
    Unreachable { context: String, server: String, what: String },
}

impl ConnectError {
    /// What the user can do about it.
    pub fn hint(&self) -> String {
        match self {
            Self::Read { .. } => "name a readable file with --kubeconfig or KUBECONFIG".into(),
            Self::Broken { .. } => "`kubectl config view` reads the same file".into(),
            Self::NoCurrentContext { known, .. } | Self::UnknownContext { known, .. }
                if known.is_empty() =>
            {
                "the file has no contexts; --demo needs none".into()
            }
            Self::NoCurrentContext { known, .. } | Self::UnknownContext { known, .. } => {
                format!("choose one with --context: {}", known.join(", "))
            }
            Self::Unusable { context, .. } => {
                format!("`kubectl --context {context} get namespaces` should fail alike")
            }
            Self::Unreachable { .. } => {
                "check the address, the network and the credentials; --demo needs none".into()
            }
        }
    }
}

/// One context, for a picker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContextInfo {
    pub name: String,
    pub cluster: String,
    /// The cluster's address, empty if the file has none.
    pub server: String,
    pub user: String,
    pub namespace: Option<String>,
    pub is_current: bool,
}

/// Everything the kubeconfig files say.
#[derive(Debug, Clone)]
pub struct Contexts {
    kubeconfig: Kubeconfig,
    /// The files, as errors name them.
    origin: String,
}

/// A live cluster that can be asked.
#[derive(Clone)]
pub struct Connection {
    /// The context's name.
    pub context: String,
    /// The server's address.
    pub server: String,
    pub default_namespace: String,
    pub base: Base,
}

impl std::fmt::Debug for Connection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Connection").field("context", &self.context).finish_non_exhaustive()
    }
}

impl Contexts {
    /// Reads the files; `None` if there are none. `file` is that of
    /// `--kubeconfig`, and must exist.
    pub fn read(file: Option<&Path>) -> Result<Option<Self>, ConnectError> {
        let listed = std::env::var_os("KUBECONFIG").unwrap_or_default();
        let home = std::env::var_os("HOME").map(PathBuf::from);
        Self::read_files(file, &listed, home.as_deref())
    }

    fn read_files(
        file: Option<&Path>,
        listed: &std::ffi::OsStr,
        home: Option<&Path>,
    ) -> Result<Option<Self>, ConnectError> {
        let mut paths: Vec<PathBuf> = match file {
            Some(file) => vec![file.to_owned()],
            None => std::env::split_paths(listed).filter(|p| !p.as_os_str().is_empty()).collect(),
        };
        if paths.is_empty() {
            paths.extend(home.map(|home| home.join(".kube").join("config")));
        }
        let mut merged: Option<Kubeconfig> = None;
        let mut read = Vec::new();
        for path in paths {
            let Some(next) = read_one(&path, file.is_some())? else { continue };
            merged = Some(match merged {
                None => next,
                Some(first) => first.merge(next).map_err(|error| ConnectError::Broken {
                    path: path.clone(),
                    what: error.to_string(),
                })?,
            });
            read.push(format!("`{}`", path.display()));
        }
        Ok(merged.map(|kubeconfig| Self { kubeconfig, origin: read.join(", ") }))
    }

    /// The contexts, as the files list them.
    pub fn list(&self) -> Vec<ContextInfo> {
        let current = self.kubeconfig.current_context.as_deref();
        let info = |named: &NamedContext| {
            let context = named.context.clone().unwrap_or_default();
            let cluster = self.kubeconfig.clusters.iter().find(|c| c.name == context.cluster);
            ContextInfo {
                name: named.name.clone(),
                server: cluster
                    .and_then(|named| named.cluster.as_ref()?.server.clone())
                    .unwrap_or_default(),
                cluster: context.cluster,
                user: context.user.unwrap_or_default(),
                namespace: context.namespace.filter(|namespace| !namespace.is_empty()),
                is_current: current == Some(&*named.name),
            }
        };
        self.kubeconfig.contexts.iter().map(info).collect()
    }

    /// The current context's name, if the files name one.
    pub fn current(&self) -> Option<&str> {
        self.kubeconfig.current_context.as_deref().filter(|name| !name.is_empty())
    }

    /// Opens a context, the current one by default. Runs the exec plugin, if
    /// there is one; asks nothing of the server yet.
    pub async fn connect(&self, context: Option<&str>) -> Result<Connection, ConnectError> {
        let name = self.choose(context)?;
        let unusable = |what: String| ConnectError::Unusable {
            origin: self.origin.clone(),
            context: name.clone(),
            what,
        };
        let options = KubeConfigOptions { context: Some(name.clone()), ..Default::default() };
        let mut config = Config::from_custom_kubeconfig(self.kubeconfig.clone(), &options)
            .await
            .map_err(|error| unusable(error.to_string()))?;
        config.proxy_url = self.proxy_of(&name, &config.cluster_url).map_err(&unusable)?;
        keep_off_the_screen(&mut config);
        open(name.clone(), config).await.map_err(unusable)
    }

    fn choose(&self, context: Option<&str>) -> Result<String, ConnectError> {
        let known = || self.kubeconfig.contexts.iter().map(|named| named.name.clone()).collect();
        let origin = || self.origin.clone();
        let name = context
            .or(self.current())
            .ok_or_else(|| ConnectError::NoCurrentContext { origin: origin(), known: known() })?;
        if self.kubeconfig.contexts.iter().any(|named| named.name == name) {
            return Ok(name.to_owned());
        }
        let name = name.to_owned();
        Err(ConnectError::UnknownContext { origin: origin(), name, known: known() })
    }

    /// The cluster's `proxy-url`, else what the environment says.
    fn proxy_of(&self, context: &str, server: &http::Uri) -> Result<Option<http::Uri>, String> {
        let named = self.kubeconfig.contexts.iter().find(|named| named.name == context);
        let cluster = named.and_then(|named| Some(&named.context.as_ref()?.cluster));
        let own = cluster
            .and_then(|name| self.kubeconfig.clusters.iter().find(|c| c.name == *name))
            .and_then(|named| named.cluster.as_ref()?.proxy_url.clone())
            .filter(|url| !url.is_empty());
        let (url, source) = match own {
            Some(url) => (Some(url), "proxy-url"),
            None => (proxy::of_environment(server), "the environment's proxy"),
        };
        url.map(|url| url.parse().map_err(|error| format!("{source} `{url}`: {error}"))).transpose()
    }
}

/// Whether this runs in a pod.
pub fn is_in_cluster() -> bool {
    std::env::var_os("KUBERNETES_SERVICE_HOST").is_some()
}

/// The cluster whose pod this runs in; `None` outside of one.
pub async fn in_cluster() -> Result<Option<Connection>, ConnectError> {
    if !is_in_cluster() {
        return Ok(None);
    }
    let unusable = |what| ConnectError::Unusable {
        origin: "of the pod".into(),
        context: IN_CLUSTER.into(),
        what,
    };
    let config = Config::incluster().map_err(|error| unusable(error.to_string()))?;
    open(IN_CLUSTER.into(), config).await.map(Some).map_err(unusable)
}

impl Connection {
    /// Asks the server for its version, so that a dead address or refused
    /// credentials are told before the screen is taken. Any other answer of an
    /// API server will do.
    pub fn probe(&self) -> impl Future<Output = Result<(), ConnectError>> + Send + use<> {
        let (context, server) = (self.context.clone(), self.server.clone());
        let client = Client::new(self.base.clone(), self.default_namespace.clone());
        async move {
            ask_version(&client).await.map_err(|what| ConnectError::Unreachable {
                context,
                server,
                what,
            })
        }
    }
}

async fn ask_version(client: &Client) -> Result<(), String> {
    let request =
        http::Request::get("/version").body(Vec::new()).map_err(|error| error.to_string())?;
    match client.request::<serde_json::Value>(request).await {
        Ok(_) => Ok(()),
        Err(kube::Error::Api(status)) if status.code == 401 => {
            Err(format!("the credentials were refused: {}", status.message))
        }
        Err(kube::Error::Api(_)) => Ok(()),
        Err(kube::Error::SerdeError(_)) => Err("it does not speak the Kubernetes API".into()),
        Err(error) => Err(causes(&error)),
    }
}

/// One file; `None` if it is missing and need not exist.
fn read_one(path: &Path, must_exist: bool) -> Result<Option<Kubeconfig>, ConnectError> {
    match Kubeconfig::read_from(path) {
        Ok(kubeconfig) => Ok(Some(kubeconfig)),
        Err(KubeconfigError::ReadConfig(source, _))
            if source.kind() == std::io::ErrorKind::NotFound && !must_exist =>
        {
            Ok(None)
        }
        Err(KubeconfigError::ReadConfig(source, _)) => {
            Err(ConnectError::Read { path: path.to_owned(), source })
        }
        Err(error) => Err(ConnectError::Broken { path: path.to_owned(), what: error.to_string() }),
    }
}

/// A client of this configuration as a [`Base`].
async fn open(context: String, mut config: Config) -> Result<Connection, String> {
    config.connect_timeout = Some(CONNECT_TIMEOUT);
    // The write path retries writes, the mirror reads; a third would multiply.
    config.default_retry = false;
    let server = config.cluster_url.to_string();
    let default_namespace = config.default_namespace.clone();
    // An exec plugin runs here and may take its time.
    let client = tokio::task::spawn_blocking(move || Client::try_from(config))
        .await
        .map_err(|error| error.to_string())?
        .map_err(|error| causes(&error))?;
    let base = service_fn(move |request| {
        let client = client.clone();
        async move { client.send(request).await.map_err(BoxError::from) }
    });
    Ok(Connection { context, server, default_namespace, base: base.boxed_clone() })
}

/// An exec plugin that may do without a terminal must, or it would write over
/// the console whenever it is asked for a new token.
fn keep_off_the_screen(config: &mut Config) {
    if let Some(exec) = &mut config.auth_info.exec
        && exec.interactive_mode != Some(ExecInteractiveMode::Always)
    {
        exec.interactive_mode = Some(ExecInteractiveMode::Never);
    }
}

#[cfg(test)]
mod tests;
