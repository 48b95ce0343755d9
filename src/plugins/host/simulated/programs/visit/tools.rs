//! What a program's `mount`, `umount` and `mountpoint` do on the machine.

use crate::plugins::host::simulated::commands;
use crate::plugins::host::simulated::programs::visit::Visit;
use crate::plugins::host::simulated::rules::Effect;
use crate::plugins::host::{Command, Exit, MountTable};

/// What a tool is asked, taken apart.
#[derive(Debug, Default, PartialEq, Eq)]
struct Words<'a> {
    options: Vec<String>,
    fs_type: &'a str,
    force: bool,
    quiet: bool,
    paths: Vec<&'a str>,
}

impl Visit {
    /// Answers a tool: its exit code and what it prints.
    pub(super) fn ask(&mut self, words: &[&str]) -> (i32, String) {
        let Some((tool, words)) = words.split_first() else { return (1, String::new()) };
        let asked = read(tool, words);
        match (*tool, asked.paths.as_slice()) {
            ("mount", []) => (0, self.list()),
            ("mount", [.., target]) => {
                let source = asked.paths.first().filter(|_| asked.paths.len() > 1);
                self.change(Command::Mount {
                    source: source.map_or_else(String::new, |source| self.path(source)),
                    target: self.path(target),
                    fs_type: asked.fs_type.to_owned(),
                    options: asked.options,
                })
            }
            ("umount", [target]) => {
                self.change(Command::Unmount { target: self.path(target), force: asked.force })
            }
            ("mountpoint", [path]) => {
                let path = self.path(path);
                let (code, word) = match self.table().is_mount_point(&path) {
                    true => (0, "is"),
                    false => (1, "is not"),
                };
                let text = format!("{path} {word} a mountpoint\n");
                (code, if asked.quiet { String::new() } else { text })
            }
            _ => (1, format!("{tool}: bad usage\n")),
        }
    }

    /// A path of the program's as one of the machine.
    fn path(&self, path: &str) -> String {
        let path = self.copies.on_machine(path);
        if path.len() > 1 { path.trim_end_matches('/').to_owned() } else { path.to_owned() }
    }

    fn table(&self) -> MountTable {
        let world = self.world.lock();
        world.state.machines.get(&*self.node).map(|machine| machine.table()).unwrap_or_default()
    }

    fn list(&self) -> String {
        let line = |mount: &crate::plugins::host::MountEntry| {
            let options = mount.options.join(",");
            format!("{} on {} type {} ({options})\n", mount.source, mount.target, mount.fs_type)
        };
        self.table().0.iter().map(line).collect()
    }

    /// Mounts or unmounts, by the machine's rules; what the program sees of the
    /// place is as it is then.
    fn change(&mut self, command: Command) -> (i32, String) {
        let running = self.log.start(&self.on_behalf, command.clone());
        self.copies.take_over();
        let (exit, output) = {
            let mut world = self.world.lock();
            let source = match &command {
                Command::Mount { source, .. } => source,
                _ => "",
            };
            let about = [command.object(), source];
            match world.rules.treat(&self.node, command.verb(), &about).effect {
                Some((_, Effect::Fail { exit, output })) => {
                    (Exit::Code(exit), output.replace("{object}", command.object()))
                }
                _ => commands::perform(&mut world.state, &self.node, &command),
            }
        };
        let record = running.end(exit, &output);
        if record.succeeded() {
            self.copies.mounted(command.object());
        }
        match exit {
            Exit::Code(code) => (code, output),
            Exit::Missing | Exit::Signal(_) | Exit::NotRun | Exit::GivenUp => (126, output),
        }
    }
}

/// Takes the words of a tool apart. Options that change nothing here are left
/// out.
fn read<'a>(tool: &str, words: &[&'a str]) -> Words<'a> {
    let mut asked = Words::default();
    let mut words = words.iter().copied();
    while let Some(word) = words.next() {
        match word {
            "-t" | "--types" => asked.fs_type = words.next().unwrap_or_default(),
            "-o" | "--options" => options(&mut asked, words.next().unwrap_or_default()),
            "-r" | "--read-only" if tool == "mount" => asked.options.push("ro".to_owned()),
            "-B" | "--bind" | "-R" | "--rbind" => asked.options.push("bind".to_owned()),
            "-f" | "--force" if tool == "umount" => asked.force = true,
            "-q" | "--quiet" => asked.quiet = true,
            "--" => asked.paths.extend(words.by_ref()),
            _ => match word.strip_prefix("-t").or(word.strip_prefix("--types=")) {
                Some(fs_type) => asked.fs_type = fs_type,
                None => match word.strip_prefix("-o").or(word.strip_prefix("--options=")) {
                    Some(list) => options(&mut asked, list),
                    None if word.starts_with('-') => {}
                    None => asked.paths.push(word),
                },
            },
        }
    }
    asked
}

fn options(asked: &mut Words<'_>, list: &str) {
    let list = list.split(',').filter(|option| !option.is_empty());
    asked.options.extend(list.map(|option| match option {
        "rbind" => "bind".to_owned(),
        option => option.to_owned(),
    }));
    // The machine knows a remount by both words.
    let has = |word: &str| asked.options.iter().any(|option| option == word);
    if has("remount") && !has("bind") {
        asked.options.push("bind".to_owned());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_read_as_mount_reads_them() {
        let words = |line: &'static str| {
            let words: Vec<&'static str> = line.split(' ').collect();
            read(words[0], &words[1..])
        };
        let plain = words("mount -t nfs -o ro,vers=4 server:/share /mnt");
        assert_eq!(plain.options, ["ro", "vers=4"]);
        assert_eq!((plain.fs_type, &*plain.paths), ("nfs", &["server:/share", "/mnt"][..]));
        let bound = words("mount --bind -r /a /b");
        assert_eq!(bound.options, ["bind", "ro"]);
        let short = words("mount -ttmpfs -osize=4m -- tmpfs /mnt");
        assert_eq!((short.fs_type, &*short.options), ("tmpfs", &["size=4m".to_owned()][..]));
        assert_eq!(words("mount -o remount,ro /mnt").options, ["remount", "ro", "bind"]);
        assert!(words("umount -f -l /mnt").force);
        assert!(words("mountpoint -q /mnt").quiet);
    }
}
