//! The file by which clients find a served cluster.

use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::net::SocketAddr;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// A kubeconfig with one context, which is the current one.
pub fn text(address: SocketAddr, authority_pem: &str, token: &str) -> String {
    let authority = STANDARD.encode(authority_pem);
    format!(
        "apiVersion: v1\nkind: Config\nclusters:\n- name: pvdeck\n  cluster:\n    server: https://{address}\n    \
         certificate-authority-data: {authority}\nusers:\n- name: pvdeck\n  user:\n    token: {token}\n\
         contexts:\n- name: pvdeck\n  context:\n    cluster: pvdeck\n    user: pvdeck\n    namespace: default\n\
         current-context: pvdeck\n"
    )
}

/// Writes the file whole, readable by its owner only.
pub fn write(path: &Path, text: &str) -> io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    if let Some(folder) = folder {
        fs::create_dir_all(folder)?;
    }
    // Beside the file, so that the renaming cannot cross file systems.
    let mut unfinished = path.as_os_str().to_owned();
    unfinished.push(format!(".{}.new", uuid::Uuid::new_v4().simple()));
    let unfinished = Path::new(&unfinished);
    let written = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(unfinished)
        .and_then(|mut file| {
            file.write_all(text.as_bytes())?;
            file.sync_all()
        })
        .and_then(|()| fs::rename(unfinished, path));
    if written.is_err() {
        // What cannot be removed was not made.
        let _ = fs::remove_file(unfinished);
    }
    written
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn the_file_is_replaced_whole_and_only_its_owner_reads_it() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("new/config");
        for text in ["one", "two"] {
            write(&path, text).expect("written");
            assert_eq!(fs::read_to_string(&path).expect("read"), text);
            let mode = fs::metadata(&path).expect("there").permissions().mode();
            assert_eq!(mode & 0o777, 0o600);
        }
        assert_eq!(fs::read_dir(folder.path().join("new")).expect("a folder").count(), 1);
    }
}
