//! A pod's own directory on the node: made at its start, taken away at its
//! end. Nothing of a volume is ever removed here: directories of volumes only
//! if they are empty.

use super::spec::PodObject;
use crate::plugins::host::{FileKind, Files, Host, HostError};

const MODE: u32 = 0o750;

/// Makes the pod's directories and, if it has an address, its hosts file.
pub async fn make(
    host: &dyn Host,
    pod: &PodObject,
    address: Option<&str>,
) -> Result<(), HostError> {
    let (layout, files) = (host.layout(), Files(host));
    files.make_directories(&layout.pod(&pod.uid), MODE).await?;
    files.make_directories(&layout.pod_volumes(&pod.uid), MODE).await?;
    if let Some(address) = address {
        let hosts = hosts_file(&pod.key.name, address);
        files.write(&layout.etc_hosts(&pod.uid), hosts.as_bytes(), 0o644).await?;
    }
    Ok(())
}

fn hosts_file(name: &str, address: &str) -> String {
    format!(
        "# Kubernetes-managed hosts file.\n127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost \
         ip6-loopback\n{address}\t{name}\n"
    )
}

/// Takes the directory away, as far as no volume is in it.
pub async fn remove(host: &dyn Host, pod_uid: &str) -> Result<(), HostError> {
    let (layout, files) = (host.layout(), Files(host));
    let pod = layout.pod(pod_uid);
    if files.look_at_link(&pod).await?.is_none() {
        return Ok(());
    }
    files.remove_file(&layout.etc_hosts(pod_uid)).await?;
    for own in ["containers", "plugins"] {
        files.remove_tree(&format!("{pod}/{own}")).await?;
    }
    for volumes in ["volumes", "volumeDevices", "volume-subpaths"] {
        remove_empty(host, &format!("{pod}/{volumes}"), 2).await;
    }
    remove_empty(host, &pod, 0).await;
    Ok(())
}

/// Removes a directory and those in it so many levels down, each only if it is
/// empty then. What is not stays, and is found as an orphan later.
async fn remove_empty(host: &dyn Host, path: &str, levels: usize) {
    let files = Files(host);
    let inner = if levels > 0 { files.list(path).await.unwrap_or_default() } else { Vec::new() };
    for entry in inner.iter().filter(|entry| entry.facts.kind == FileKind::Directory) {
        Box::pin(remove_empty(host, &format!("{path}/{}", entry.name), levels - 1)).await;
    }
    if let Err(error) = files.remove_directory(path).await {
        tracing::debug!(node = %host.node(), path, %error, "a pod's directory stays");
    }
}
