//! The directory in which drivers announce themselves to a kubelet: which
//! sockets are there, and what is to be done about those that came or went.
//!
//! ```text
//! sockets in the directory ─> plan (pure) ─> unregister those gone or replaced
//!                                        └─> GetInfo ─> register ─> NotifyRegistrationStatus
//! ```
//!
//! Upstream: `pkg/kubelet/pluginmanager`, `pkg/volume/csi/csi_plugin.go`.

use std::collections::BTreeMap;
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::Timestamp;
use pvdeck_csi_proto::registration::registration_client::RegistrationClient;
use pvdeck_csi_proto::registration::{InfoRequest, PluginInfo, RegistrationStatus};

use crate::plugins::csi::error::CallError;
use crate::plugins::csi::transport::{self, BadEndpoint};

/// The pause after a first failure, doubled with each more.
const PAUSE_MIN: Duration = Duration::from_millis(500);
const PAUSE_MAX: Duration = Duration::from_secs(122);
/// Directories are looked through so deep.
const DEPTH_MAX: usize = 4;

/// What tells one socket from another at the same path.
pub type Stamp = (u64, i64, i64);

/// The sockets below a directory. Names that begin with a dot, and all that is
/// no socket, are passed over.
pub fn sockets(directory: &Path) -> io::Result<BTreeMap<PathBuf, Stamp>> {
    let mut found = BTreeMap::new();
    look(directory, DEPTH_MAX, &mut found)?;
    Ok(found)
}

fn look(directory: &Path, depth: usize, found: &mut BTreeMap<PathBuf, Stamp>) -> io::Result<()> {
    for entry in std::fs::read_dir(directory)? {
        let entry = entry?;
        if entry.file_name().to_string_lossy().starts_with('.') {
            continue;
        }
        // It may have gone meanwhile.
        let Ok(facts) = entry.metadata() else { continue };
        if facts.file_type().is_socket() {
            let stamp = (facts.ino(), facts.ctime(), facts.ctime_nsec());
            found.insert(entry.path(), stamp);
        } else if facts.is_dir() && depth > 0 {
            look(&entry.path(), depth - 1, found)?;
        }
    }
    Ok(())
}

/// What is known of a socket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Known {
    pub stamp: Stamp,
    /// The driver's name and highest version, if it is registered.
    pub driver: Option<(String, Version)>,
    /// How often registering has failed, and when it is tried again.
    pub failures: u32,
    pub retry_at: Option<Timestamp>,
}

impl Known {
    /// After one more failure.
    pub fn failed(&self, now: Timestamp) -> Self {
        let pause = PAUSE_MIN.saturating_mul(1_u32.checked_shl(self.failures).unwrap_or(u32::MAX));
        let (failures, retry_at) =
            (self.failures.saturating_add(1).min(31), Some(now + pause.min(PAUSE_MAX)));
        Self { driver: None, failures, retry_at, ..*self }
    }
}

/// What to do about the sockets.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// Gone, or replaced: done first.
    pub unregister: Vec<PathBuf>,
    pub register: Vec<PathBuf>,
}

/// Decides what is to be done about the sockets that are there.
pub fn plan(
    there: &BTreeMap<PathBuf, Stamp>,
    known: &BTreeMap<PathBuf, Known>,
    now: Timestamp,
) -> Plan {
    let mut plan = Plan::default();
    for (path, own) in known {
        if there.get(path) != Some(&own.stamp) {
            plan.unregister.push(path.clone());
        }
    }
    for (path, stamp) in there {
        let is_due = match known.get(path).filter(|own| own.stamp == *stamp) {
            None => true,
            Some(own) => own.driver.is_none() && own.retry_at.is_none_or(|at| at <= now),
        };
        if is_due {
            plan.register.push(path.clone());
        }
    }
    plan
}

/// A version's numbers.
pub type Version = Vec<u64>;

/// The highest version that a driver announces, or why it is refused. `held`:
/// the drivers that are registered already.
pub fn why_not<'a>(
    info: &PluginInfo,
    held: impl Iterator<Item = &'a (String, Version)>,
) -> Result<Version, String> {
    if info.r#type != "CSIPlugin" {
        return Err(format!("no handler registered for plugin type: {}", info.r#type));
    }
    let name = &info.name;
    let begin = "kubernetes.io/csi: RegisterPlugin for CSI driver";
    if info.supported_versions.is_empty() {
        return Err(format!(
            "{begin} \"{name}\" failed. Plugin returned an empty list for supported versions"
        ));
    }
    let highest = info.supported_versions.iter().filter_map(|text| version(text)).max();
    let highest = highest.filter(|version| version.first() == Some(&1)).ok_or_else(|| {
        let versions = info.supported_versions.join(" ");
        format!(
            "{begin} \"{name}\" failed. None of the versions specified \"[{versions}]\" are \
             supported"
        )
    })?;
    for (own, version) in held {
        if own == name && *version >= highest {
            let shown: Vec<String> = version.iter().map(u64::to_string).collect();
            return Err(format!(
                "{begin} \"{name}\" failed. Another driver with the same name is already \
                 registered with a higher supported version: \"{}\"",
                shown.join(".")
            ));
        }
    }
    Ok(highest)
}

fn version(text: &str) -> Option<Version> {
    let text = text.strip_prefix('v').unwrap_or(text);
    text.split(['-', '+']).next()?.split('.').map(|part| part.parse().ok()).collect()
}

/// A driver's registration socket.
pub struct Announced(RegistrationClient<transport::Transport>);

impl Announced {
    pub fn at(path: &Path) -> Result<Self, BadEndpoint> {
        let way = transport::socket(&path.to_string_lossy())?;
        Ok(Self(RegistrationClient::new(way)))
    }

    /// What the driver says of itself.
    pub async fn info(&mut self) -> Result<PluginInfo, CallError> {
        Ok(self.0.get_info(InfoRequest {}).await?.into_inner())
    }

    /// Tells the driver how its registration went.
    pub async fn tell(&mut self, outcome: &Result<(), String>) -> Result<(), CallError> {
        let status = RegistrationStatus {
            plugin_registered: outcome.is_ok(),
            error: outcome.as_ref().err().cloned().unwrap_or_default(),
        };
        self.0.notify_registration_status(status).await?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + seconds).expect("in range")
    }

    fn known(stamp: u64, registered: bool) -> Known {
        let driver = registered.then(|| ("d".to_owned(), vec![1, 0, 0]));
        Known { stamp: (stamp, 0, 0), driver, failures: 0, retry_at: None }
    }

    #[test]
    fn sockets_that_went_or_were_replaced_are_unregistered_and_new_ones_registered() {
        let path = |name: &str| PathBuf::from(name);
        let there = BTreeMap::from([
            (path("same"), (1, 0, 0)),
            (path("replaced"), (9, 0, 0)),
            (path("new"), (3, 0, 0)),
            (path("failed"), (4, 0, 0)),
        ]);
        let failed = known(4, false).failed(at(0));
        let held = BTreeMap::from([
            (path("same"), known(1, true)),
            (path("replaced"), known(2, true)),
            (path("gone"), known(5, true)),
            (path("failed"), failed.clone()),
        ]);
        let early = plan(&there, &held, at(0));
        assert_eq!(early.unregister, [path("gone"), path("replaced")]);
        assert_eq!(early.register, [path("new"), path("replaced")]);
        let later = plan(&there, &held, at(1));
        assert_eq!(later.register, [path("failed"), path("new"), path("replaced")]);
        let again = failed.failed(at(1));
        assert_eq!((again.failures, again.retry_at), (2, Some(at(2))));
    }

    #[test]
    fn a_driver_is_refused_in_the_kubelets_words() {
        let info = |kind: &str, versions: &[&str]| PluginInfo {
            r#type: kind.to_owned(),
            name: "d".to_owned(),
            endpoint: String::new(),
            supported_versions: versions.iter().map(|text| (*text).to_owned()).collect(),
        };
        let held = [("d".to_owned(), vec![1, 2, 0])];
        let none = || [].iter();
        assert_eq!(why_not(&info("CSIPlugin", &["0.3.0", "1.0.0"]), none()), Ok(vec![1, 0, 0]));
        assert!(why_not(&info("DevicePlugin", &["1.0.0"]), none()).is_err());
        assert!(why_not(&info("CSIPlugin", &[]), none()).is_err());
        assert!(why_not(&info("CSIPlugin", &["2.0.0"]), none()).is_err());
        let error = why_not(&info("CSIPlugin", &["1.0.0"]), held.iter()).expect_err("refused");
        assert_eq!(
            error,
            "kubernetes.io/csi: RegisterPlugin for CSI driver \"d\" failed. Another driver with \
             the same name is already registered with a higher supported version: \"1.2.0\""
        );
        assert_eq!(why_not(&info("CSIPlugin", &["1.3.0"]), held.iter()), Ok(vec![1, 3, 0]));
    }
}
