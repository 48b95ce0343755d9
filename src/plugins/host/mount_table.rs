//! A node's mount table, in the form of `/proc/self/mountinfo`.

use crate::plugins::host::error::HostError;

/// One mount.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MountEntry {
    /// Where it is mounted.
    pub target: String,
    /// `major:minor` of the filesystem: with `root` it says what is mounted;
    /// `source` does not, as every tmpfs is called tmpfs.
    pub device: String,
    /// The directory of the filesystem that is mounted; `/` if not a bind.
    pub root: String,
    /// The device, export or name it was mounted from.
    pub source: String,
    pub fs_type: String,
    /// `ro` among them if read-only.
    pub options: Vec<String>,
}

impl MountEntry {
    pub fn is_read_only(&self) -> bool {
        self.options.iter().any(|option| option == "ro")
    }
}

/// All mounts of a node, oldest first.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct MountTable(pub Vec<MountEntry>);

/// The options a bind keeps from the filesystem of its source.
const KEPT_BY_BIND: &[&str] =
    &["ro", "nodev", "noexec", "nosuid", "noatime", "relatime", "nodiratime"];

impl MountTable {
    /// The mount at a path, the last one if several cover each other.
    pub fn at(&self, target: &str) -> Option<&MountEntry> {
        self.0.iter().rev().find(|mount| mount.target == target)
    }

    pub fn is_mount_point(&self, target: &str) -> bool {
        self.at(target).is_some()
    }

    /// The mount that a path lies on.
    pub fn covering(&self, path: &str) -> Option<&MountEntry> {
        let covers = |mount: &&MountEntry| is_at_or_below(path, &mount.target);
        // The longest wins; of equals, the last.
        self.0.iter().filter(covers).max_by_key(|mount| mount.target.len())
    }

    /// The other places where what lies at a path is mounted too: the source
    /// of a mount point, or a directory of the mount it lies on.
    pub fn references(&self, path: &str) -> Vec<&MountEntry> {
        let Some(mount) = self.covering(path) else { return Vec::new() };
        let rest = path.strip_prefix(mount.target.trim_end_matches('/')).unwrap_or_default();
        let root = format!("{}{rest}", mount.root.trim_end_matches('/'));
        let root = if root.is_empty() { "/" } else { &root };
        let others = self.0.iter().filter(|other| other.target != path);
        others.filter(|other| other.device == mount.device && other.root == root).collect()
    }

    /// The mounts at or below a path.
    pub fn below(&self, path: &str) -> Vec<&MountEntry> {
        self.0.iter().filter(|mount| is_at_or_below(&mount.target, path)).collect()
    }

    /// The flags that a bind of a path keeps.
    pub fn kept_by_bind(&self, source: &str) -> Vec<String> {
        let Some(mount) = self.covering(source) else { return Vec::new() };
        let kept = KEPT_BY_BIND.iter().filter(|kept| mount.options.iter().any(|o| o == **kept));
        kept.map(|kept| (*kept).to_owned()).collect()
    }

    /// Reads `mountinfo`.
    pub fn parse(text: &str) -> Result<Self, HostError> {
        text.lines().map(line).collect::<Result<_, _>>().map(Self)
    }
}

/// Whether a path is another or lies below it, by whole names.
pub fn is_at_or_below(path: &str, top: &str) -> bool {
    let top = top.trim_end_matches('/');
    path.strip_prefix(top).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

fn line(line: &str) -> Result<MountEntry, HostError> {
    let bad = || HostError::Failed {
        text: format!("the mount table has a line that cannot be read: `{line}`"),
    };
    let fields: Vec<&str> = line.split_ascii_whitespace().collect();
    let dash = fields.iter().position(|field| *field == "-").ok_or_else(bad)?;
    let (Some(own), [fs_type, source, ..]) = (fields.get(..6), &fields[dash + 1..]) else {
        return Err(bad());
    };
    if fields.len() < 10 || dash < 6 {
        return Err(bad());
    }
    Ok(MountEntry {
        device: own[2].to_owned(),
        root: unescape(own[3]),
        target: unescape(own[4]).trim_end_matches(" (deleted)").to_owned(),
        options: own[5].split(',').map(str::to_owned).collect(),
        fs_type: (*fs_type).to_owned(),
        source: unescape(source),
    })
}

/// `\040` and its like are bytes in octal.
fn unescape(text: &str) -> String {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        let digits = tail.get(..3).filter(|_| *first == b'\\');
        let octal = digits.and_then(|digits| std::str::from_utf8(digits).ok());
        let byte = octal.and_then(|digits| u8::from_str_radix(digits, 8).ok());
        out.push(byte.unwrap_or(*first));
        rest = if byte.is_some() { &tail[3..] } else { tail };
    }
    String::from_utf8_lossy(&out).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &str = "\
22 1 8:1 / / rw,noatime shared:1 - ext4 /dev/sda1 rw
40 22 7:0 / /var/lib/kubelet/plugins/a rw,relatime shared:2 master:1 - ext4 /dev/loop0 rw
41 22 7:0 / /var/lib/kubelet/pods/u/volumes/p/a ro,relatime - ext4 /dev/loop0 rw
42 22 8:1 /srv/my\\040data /mnt rw - ext4 /dev/sda1 rw
43 22 0:50 / /tmp/one rw - tmpfs tmpfs rw
44 22 0:51 / /tmp/two rw - tmpfs tmpfs rw
";

    #[test]
    fn references_go_by_device_and_root_not_by_name() {
        let table = MountTable::parse(TABLE).expect("a table");
        let places = |target: &str| -> Vec<String> {
            table.references(target).iter().map(|mount| mount.target.clone()).collect()
        };
        assert_eq!(places("/var/lib/kubelet/plugins/a"), ["/var/lib/kubelet/pods/u/volumes/p/a"]);
        assert!(places("/tmp/one").is_empty());
        assert!(places("/nowhere").is_empty());
        assert_eq!(places("/srv/my data"), ["/mnt"]);
        assert!(
            table.at("/var/lib/kubelet/pods/u/volumes/p/a").is_some_and(MountEntry::is_read_only)
        );
        assert_eq!(table.at("/mnt").map(|mount| &*mount.root), Some("/srv/my data"));
        assert_eq!(table.covering("/tmp/two/x").map(|mount| &*mount.target), Some("/tmp/two"));
        assert_eq!(table.covering("/tmp/twofold").map(|mount| &*mount.target), Some("/"));
        assert_eq!(table.kept_by_bind("/srv"), ["noatime"]);
    }

    #[test]
    fn short_lines_are_refused() {
        assert!(MountTable::parse("22 1 8:1 / / rw - ext4").is_err());
        assert!(MountTable::parse("22 1 8:1 / / rw shared:1 ext4 /dev/sda1 rw").is_err());
        assert!(MountTable::parse("").is_ok_and(|table| table.0.is_empty()));
    }
}
