//! The commands of a node as values, and the one place where argv is made.

use serde_json::{Map, Value};

/// What a host is asked to run.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Command {
    /// What is on a device (`blkid`).
    Probe { device: String },
    /// Makes a filesystem. `options` are all words between program and device.
    Format { device: String, fs_type: String, options: Vec<String> },
    /// Checks and repairs a filesystem (`fsck -a`).
    Check { device: String },
    /// Mounts. Empty `fs_type`, `options` or `source` leave theirs out.
    Mount { source: String, target: String, fs_type: String, options: Vec<String> },
    /// `umount`, with `-f` if forced.
    Unmount { target: String, force: bool },
    /// Grows a filesystem to its device. ext is named by device, xfs and btrfs
    /// by mount point.
    Grow { device: String, mount_point: String, fs_type: String },
    /// Whether a device is read-only (`blockdev --getro`).
    IsReadOnly { device: String },
    /// A free loop device on a file; prints the device. The attach of a
    /// remote disk.
    LoopAttach { file: String },
    /// A loop device that keeps the device under a file from being replaced;
    /// prints the device.
    LoopLock { file: String },
    /// Frees a loop device.
    LoopDetach { device: String },
    /// Lets a loop device see that its file has grown.
    LoopResize { device: String },
    /// Prints the loop devices on a file, one per line, each with the path
    /// under which the file was opened.
    LoopFind { file: String },
    /// A FlexVolume driver's executable.
    Driver { program: String, arguments: Vec<String> },
    /// Takes what is on a device away, so that the next user finds nothing:
    /// executed as it is. See `controllers::local_provisioner::cleaning`.
    Wipe { device: String, argv: Vec<String> },
    /// A program of another kind of volume, shown as it is: `iscsiadm …`.
    Other { argv: Vec<String> },
}

/// The options of a FlexVolume driver that hold a Secret's values begin so.
pub const SECRET_OPTION: &str = "kubernetes.io/secret/";
/// What stands for a Secret's value where people see it.
const STRIPPED: &str = "***stripped***";

/// The kind of a request, for rules of latency and fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Verb {
    Probe,
    Format,
    Check,
    Mount,
    Unmount,
    Grow,
    IsReadOnly,
    LoopAttach,
    LoopLock,
    LoopDetach,
    LoopResize,
    LoopFind,
    Driver,
    Wipe,
    Other,
    /// Any look at files or at the mount table.
    ReadFiles,
    /// Any change of files.
    WriteFiles,
}

impl Command {
    /// A bind mount of a device or of part of a volume, which takes no options.
    pub fn bind_plain(source: impl Into<String>, target: impl Into<String>) -> Self {
        Self::Mount {
            source: source.into(),
            target: target.into(),
            fs_type: String::new(),
            options: vec!["bind".to_owned()],
        }
    }

    /// A mount of a filesystem in memory; `source` is only shown.
    pub fn tmpfs(
        source: impl Into<String>,
        target: impl Into<String>,
        options: Vec<String>,
    ) -> Self {
        let fs_type = "tmpfs".to_owned();
        Self::Mount { source: source.into(), target: target.into(), fs_type, options }
    }

    /// A bind mount: always two commands, the second of which sets the
    /// options. `kept` are the flags that the source's filesystem has now.
    pub fn bind(source: &str, target: &str, options: &[String], kept: &[String]) -> [Self; 2] {
        let mount = |options: Vec<String>| Self::Mount {
            source: source.to_owned(),
            target: target.to_owned(),
            fs_type: String::new(),
            options,
        };
        let mut first = vec!["bind".to_owned()];
        first.extend(options.iter().filter(|option| *option == "_netdev").cloned());
        let mut second = vec!["bind".to_owned(), "remount".to_owned()];
        for option in options.iter().chain(kept) {
            if !second.contains(option) {
                second.push(option.clone());
            }
        }
        [mount(first), mount(second)]
    }

    pub fn verb(&self) -> Verb {
        match self {
            Self::Probe { .. } => Verb::Probe,
            Self::Format { .. } => Verb::Format,
            Self::Check { .. } => Verb::Check,
            Self::Mount { .. } => Verb::Mount,
            Self::Unmount { .. } => Verb::Unmount,
            Self::Grow { .. } => Verb::Grow,
            Self::IsReadOnly { .. } => Verb::IsReadOnly,
            Self::LoopAttach { .. } => Verb::LoopAttach,
            Self::LoopLock { .. } => Verb::LoopLock,
            Self::LoopDetach { .. } => Verb::LoopDetach,
            Self::LoopResize { .. } => Verb::LoopResize,
            Self::LoopFind { .. } => Verb::LoopFind,
            Self::Driver { .. } => Verb::Driver,
            Self::Wipe { .. } => Verb::Wipe,
            Self::Other { .. } => Verb::Other,
        }
    }

    /// The device, file or mount point it works on, for rules and for people.
    pub fn object(&self) -> &str {
        match self {
            Self::Probe { device }
            | Self::Format { device, .. }
            | Self::Check { device }
            | Self::Grow { device, .. }
            | Self::IsReadOnly { device }
            | Self::LoopDetach { device }
            | Self::LoopResize { device }
            | Self::Wipe { device, .. } => device,
            Self::Mount { target, .. } | Self::Unmount { target, .. } => target,
            Self::LoopAttach { file } | Self::LoopLock { file } | Self::LoopFind { file } => file,
            Self::Driver { program, .. } => program,
            Self::Other { argv } => argv.last().map_or("", |word| word),
        }
    }

    /// What is executed, program first.
    pub fn argv(&self) -> Vec<String> {
        match self {
            Self::Probe { device } => {
                words(&["blkid", "-p", "-s", "TYPE", "-s", "PTTYPE", "-o", "export", device])
            }
            Self::Format { device, fs_type, options } => {
                let mut argv = vec![format!("mkfs.{fs_type}")];
                argv.extend(options.iter().cloned());
                argv.push(device.clone());
                argv
            }
            Self::Check { device } => words(&["fsck", "-a", device]),
            Self::Mount { source, target, fs_type, options } => {
                mount(source, target, fs_type, options)
            }
            Self::Unmount { target, force: false } => words(&["umount", target]),
            Self::Unmount { target, force: true } => words(&["umount", "-f", target]),
            Self::Grow { device, mount_point, fs_type } => grow(device, mount_point, fs_type),
            Self::IsReadOnly { device } => words(&["blockdev", "--getro", device]),
            Self::LoopAttach { file } => words(&["losetup", "--find", "--show", file]),
            Self::LoopLock { file } => words(&["losetup", "-f", "--show", file]),
            Self::LoopDetach { device } => words(&["losetup", "-d", device]),
            Self::LoopResize { device } => words(&["losetup", "-c", device]),
            Self::LoopFind { file } => words(&[
                "losetup",
                "--noheadings",
                "--raw",
                "--output",
                "NAME,BACK-FILE",
                "-j",
                file,
            ]),
            Self::Driver { program, arguments } => {
                let mut argv = vec![program.clone()];
                argv.extend(arguments.iter().cloned());
                argv
            }
            Self::Wipe { argv, .. } | Self::Other { argv } => argv.clone(),
        }
    }

    /// The values of Secrets in it.
    pub fn secrets(&self) -> Vec<String> {
        let Self::Driver { arguments, .. } = self else { return Vec::new() };
        let options = arguments.iter().filter_map(|word| options_of(word));
        let secret = |(key, value): (String, Value)| {
            let value = value.as_str().filter(|value| !value.is_empty())?.to_owned();
            key.starts_with(SECRET_OPTION).then_some(value)
        };
        options.flatten().filter_map(secret).collect()
    }

    /// The same as people may see it: without the values of Secrets.
    pub fn without_secrets(self) -> Self {
        let Self::Driver { program, arguments } = self else { return self };
        let strip = |word: String| {
            let Some(mut options) = options_of(&word) else { return word };
            let hidden = options.iter_mut().filter(|(key, _)| key.starts_with(SECRET_OPTION));
            let count = hidden.map(|(_, value)| *value = STRIPPED.into()).count();
            if count == 0 { word } else { Value::Object(options).to_string() }
        };
        Self::Driver { program, arguments: arguments.into_iter().map(strip).collect() }
    }
}

/// The options of a driver, if the word is such.
fn options_of(word: &str) -> Option<Map<String, Value>> {
    if !word.starts_with('{') {
        return None;
    }
    serde_json::from_str(word).ok()
}

/// What a program printed, without these values.
pub fn without(secrets: &[String], output: String) -> String {
    secrets.iter().fold(output, |output, secret| output.replace(secret, STRIPPED))
}

fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

fn mount(source: &str, target: &str, fs_type: &str, options: &[String]) -> Vec<String> {
    let mut argv = words(&["mount"]);
    if !fs_type.is_empty() {
        argv.extend(words(&["-t", fs_type]));
    }
    if !options.is_empty() {
        argv.extend(["-o".to_owned(), options.join(",")]);
    }
    if !source.is_empty() {
        argv.push(source.to_owned());
    }
    argv.push(target.to_owned());
    argv
}

fn grow(device: &str, mount_point: &str, fs_type: &str) -> Vec<String> {
    match fs_type {
        "xfs" => words(&["xfs_growfs", "-d", mount_point]),
        "btrfs" => words(&["btrfs", "filesystem", "resize", "max", mount_point]),
        _ => words(&["resize2fs", device]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(command: &Command, expected: &str) {
        assert_eq!(command.argv().join(" "), expected);
    }

    #[test]
    fn commands_read_as_a_kubelet_runs_them() {
        let device = || "/dev/sdb".to_owned();
        check(
            &Command::Probe { device: device() },
            "blkid -p -s TYPE -s PTTYPE -o export /dev/sdb",
        );
        let options = vec!["-F".to_owned(), "-m0".to_owned()];
        let format = Command::Format { device: device(), fs_type: "ext4".into(), options };
        check(&format, "mkfs.ext4 -F -m0 /dev/sdb");
        check(&Command::Check { device: device() }, "fsck -a /dev/sdb");
        let mount = Command::Mount {
            source: device(),
            target: "/mnt".into(),
            fs_type: "ext4".into(),
            options: vec!["ro".into(), "defaults".into()],
        };
        check(&mount, "mount -t ext4 -o ro,defaults /dev/sdb /mnt");
        check(&Command::Unmount { target: "/mnt".into(), force: true }, "umount -f /mnt");
        let grow = |fs_type: &str| Command::Grow {
            device: device(),
            mount_point: "/mnt".into(),
            fs_type: fs_type.into(),
        };
        check(&grow("ext3"), "resize2fs /dev/sdb");
        check(&grow("xfs"), "xfs_growfs -d /mnt");
        check(&grow("btrfs"), "btrfs filesystem resize max /mnt");
    }

    #[test]
    fn secrets_are_not_shown() {
        let driver = |options: &str| Command::Driver {
            program: "/exec/v~d/d".into(),
            arguments: vec!["mount".into(), "/mnt".into(), options.into()],
        };
        let secret = driver(r#"{"a":"1","kubernetes.io/secret/key":"c2VjcmV0"}"#);
        assert_eq!(secret.secrets(), ["c2VjcmV0"]);
        let shown = r#"{"a":"1","kubernetes.io/secret/key":"***stripped***"}"#;
        check(&secret.without_secrets(), &format!("/exec/v~d/d mount /mnt {shown}"));
        let plain = driver(r#"{"b":"2", "a":"1"}"#);
        assert_eq!(plain.clone().without_secrets(), plain);
        let told = without(&["c2VjcmV0".into()], "no access with c2VjcmV0".into());
        assert_eq!(told, "no access with ***stripped***");
    }

    #[test]
    fn a_bind_is_two_mounts_and_keeps_the_flags_of_its_source() {
        let [first, second] = Command::bind(
            "/data",
            "/target",
            &["_netdev".into(), "ro".into()],
            &["noatime".into(), "ro".into()],
        );
        check(&first, "mount -o bind,_netdev /data /target");
        check(&second, "mount -o bind,remount,_netdev,ro,noatime /data /target");
    }
}
