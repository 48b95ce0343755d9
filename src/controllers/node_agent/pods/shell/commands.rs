//! The commands of a container, as busybox has them: the part of each that
//! scripts about volumes need.

use futures::future::{BoxFuture, FutureExt};

use super::super::container_files::ContainerFiles;
use crate::plugins::host::{FileFault, FileKind, HostError};

/// The commands that are understood; `sleep`, `trap`, `exit`, `exec` and
/// `tail -f` are the interpreter's own.
pub const KNOWN: &[&str] = &[
    ":", "true", "false", "echo", "printf", "cat", "ls", "test", "[", "rm", "mkdir", "touch", "cp",
    "find", "sync", "wc", "hostname", "head", "tail", "sleep", "trap", "exit", "exec", "dd",
    "wait", "cd", "set", "umask", "chmod", "chown", "df", "date",
];

/// The most that one command reads or writes, in bytes.
const BYTES_MAX: u64 = 64 << 20;

/// What came of a command.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Ran {
    pub status: i32,
    pub output: Vec<u8>,
    pub errors: String,
}

impl Ran {
    fn status(status: i32) -> Self {
        Self { status, ..Self::default() }
    }

    fn printed(output: impl Into<Vec<u8>>) -> Self {
        Self { output: output.into(), ..Self::default() }
    }

    fn complain(&mut self, text: &str) {
        self.status = 1;
        self.errors.push_str(text);
        self.errors.push('\n');
    }
}

/// What a command may know beside the files.
#[derive(Debug, Clone)]
pub struct Surroundings {
    pub files: ContainerFiles,
    /// The pod's name.
    pub hostname: String,
    /// What `date` prints.
    pub date: String,
    /// The content of the file that input comes from.
    pub input: Option<Vec<u8>>,
}

/// Runs one command. Only a node that does not answer is an error; all else is
/// the command's own failure.
pub async fn run(words: &[String], around: &Surroundings) -> Result<Ran, HostError> {
    let Some((name, arguments)) = words.split_first() else { return Ok(Ran::default()) };
    let files = &around.files;
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    Ok(match name.as_str() {
        "false" => Ran::status(1),
        "echo" => Ran::printed(echo(&arguments)),
        "printf" => Ran::printed(printf(&arguments)),
        "hostname" => Ran::printed(format!("{}\n", around.hostname)),
        "date" => Ran::printed(format!("{}\n", around.date)),
        "test" => Ran::status(i32::from(!test(&arguments, files).await?)),
        "[" => match arguments.split_last() {
            Some((&"]", arguments)) => Ran::status(i32::from(!test(arguments, files).await?)),
            _ => Ran { status: 2, errors: "sh: missing ]\n".into(), ..Ran::default() },
        },
        "cat" => cat(&arguments, around).await?,
        "head" | "tail" => ends(name, &arguments, around).await?,
        "wc" => count(&arguments, around).await?,
        "ls" => list(&arguments, files).await?,
        "rm" => remove(&arguments, files).await?,
        "mkdir" => make_directories(&arguments, files).await?,
        "touch" => touch(&arguments, files).await?,
        "cp" => copy(&arguments, files).await?,
        "find" => find(&arguments, files).await?,
        "dd" => dd(&arguments, files).await?,
        _ => Ran::default(),
    })
}

/// A fault in the words of the C library.
pub fn words_of(error: &HostError) -> Result<String, HostError> {
    match error {
        HostError::File { fault, .. } => {
            let text = match fault {
                FileFault::Busy => "Resource busy".to_owned(),
                fault => fault.to_string(),
            };
            let mut letters = text.chars();
            let first = letters.next().map(|c| c.to_ascii_uppercase());
            Ok(first.into_iter().chain(letters).collect())
        }
        other => Err(other.clone()),
    }
}

fn plain<'a>(arguments: &[&'a str]) -> Vec<&'a str> {
    let is_option = |word: &&&str| word.len() > 1 && word.starts_with('-');
    arguments.iter().filter(|word| !is_option(word)).copied().collect()
}

fn has_option(arguments: &[&str], letters: &[char]) -> bool {
    let options = arguments.iter().filter(|word| word.starts_with('-') && !word.starts_with("--"));
    options.flat_map(|word| word.chars()).any(|letter| letters.contains(&letter))
}

fn echo(arguments: &[&str]) -> String {
    match arguments.split_first() {
        Some((&"-n", rest)) => rest.join(" "),
        _ => format!("{}\n", arguments.join(" ")),
    }
}

/// The format with `\n`, `\t`, `%s` and `%d`.
fn printf(arguments: &[&str]) -> String {
    let Some((format, values)) = arguments.split_first() else { return String::new() };
    let mut values = values.iter();
    let mut out = String::new();
    let mut letters = format.chars();
    while let Some(letter) = letters.next() {
        match (letter, letters.clone().next()) {
            ('\\', Some(next @ ('n' | 't' | '\\'))) => {
                out.push(match next {
                    'n' => '\n',
                    't' => '\t',
                    other => other,
                });
                letters.next();
            }
            ('%', Some('s' | 'd')) => {
                out.push_str(values.next().copied().unwrap_or_default());
                letters.next();
            }
            ('%', Some('%')) => {
                out.push('%');
                letters.next();
            }
            (other, _) => out.push(other),
        }
    }
    out
}

/// `test`: files, texts, numbers, `!`.
async fn test(arguments: &[&str], files: &ContainerFiles) -> Result<bool, HostError> {
    let number = |text: &str| text.parse::<i64>().unwrap_or_default();
    Ok(match arguments {
        [] => false,
        ["!", rest @ ..] => !Box::pin(test(rest, files)).await?,
        [text] => !text.is_empty(),
        ["-n", text] => !text.is_empty(),
        ["-z", text] => text.is_empty(),
        [operator @ ("-L" | "-h"), path] => {
            let _ = operator;
            let found = look(files, path, false).await?;
            found.is_some_and(|facts| facts.kind == FileKind::Link)
        }
        [operator, path] => match (*operator, look(files, path, true).await?) {
            (_, None) => false,
            ("-f", Some(facts)) => facts.kind == FileKind::File,
            ("-d", Some(facts)) => facts.kind == FileKind::Directory,
            ("-b", Some(facts)) => facts.kind == FileKind::BlockDevice,
            ("-c", Some(facts)) => facts.kind == FileKind::CharacterDevice,
            ("-s", Some(facts)) => facts.size > 0,
            (_, Some(_)) => true,
        },
        [a, "=" | "==", b] => a == b,
        [a, "!=", b] => a != b,
        [a, "-eq", b] => number(a) == number(b),
        [a, "-ne", b] => number(a) != number(b),
        [a, "-lt", b] => number(a) < number(b),
        [a, "-gt", b] => number(a) > number(b),
        [a, "-le", b] => number(a) <= number(b),
        [a, "-ge", b] => number(a) >= number(b),
        _ => false,
    })
}

async fn look(
    files: &ContainerFiles,
    path: &str,
    follow: bool,
) -> Result<Option<crate::plugins::host::files::FileFacts>, HostError> {
    match files.look(path, follow).await {
        Ok(facts) => Ok(facts),
        Err(HostError::File { .. }) => Ok(None),
        Err(error) => Err(error),
    }
}

/// The contents of files, or what comes in.
async fn contents(
    name: &str,
    paths: &[&str],
    around: &Surroundings,
) -> Result<(Vec<u8>, Ran), HostError> {
    let mut ran = Ran::default();
    let mut bytes = Vec::new();
    if paths.is_empty() {
        bytes.extend(around.input.iter().flatten());
    }
    for path in paths {
        match around.files.read(path, BYTES_MAX).await {
            Ok(content) => bytes.extend(content),
            Err(error) => {
                ran.complain(&format!("{name}: can't open '{path}': {}", words_of(&error)?));
            }
        }
    }
    Ok((bytes, ran))
}

async fn cat(arguments: &[&str], around: &Surroundings) -> Result<Ran, HostError> {
    let (output, ran) = contents("cat", &plain(arguments), around).await?;
    Ok(Ran { output, ..ran })
}

/// `head` and `tail` with `-n N`, or `-N`.
async fn ends(name: &str, arguments: &[&str], around: &Surroundings) -> Result<Ran, HostError> {
    let mut lines = 10;
    let mut paths = Vec::new();
    let mut words = arguments.iter();
    while let Some(word) = words.next() {
        match word.strip_prefix('-') {
            Some("n") => lines = words.next().and_then(|n| n.parse().ok()).unwrap_or(lines),
            Some(number) => lines = number.trim_start_matches('n').parse().unwrap_or(lines),
            None => paths.push(*word),
        }
    }
    let (bytes, ran) = contents(name, &paths, around).await?;
    let all: Vec<&[u8]> = bytes.split_inclusive(|byte| *byte == b'\n').collect();
    let kept = match name {
        "head" => &all[..lines.min(all.len())],
        _ => &all[all.len() - lines.min(all.len())..],
    };
    Ok(Ran { output: kept.concat(), ..ran })
}

/// `wc -c`, `wc -l`, or lines, words and bytes.
async fn count(arguments: &[&str], around: &Surroundings) -> Result<Ran, HostError> {
    let (bytes, ran) = contents("wc", &plain(arguments), around).await?;
    let lines = bytes.iter().filter(|byte| **byte == b'\n').count();
    let words = String::from_utf8_lossy(&bytes).split_whitespace().count();
    let text = if has_option(arguments, &['c']) {
        format!("{}\n", bytes.len())
    } else if has_option(arguments, &['l']) {
        format!("{lines}\n")
    } else {
        format!("{lines} {words} {}\n", bytes.len())
    };
    Ok(Ran { output: text.into(), ..ran })
}

async fn list(arguments: &[&str], files: &ContainerFiles) -> Result<Ran, HostError> {
    let mut ran = Ran::default();
    let mut paths = plain(arguments);
    if paths.is_empty() {
        paths.push("/");
    }
    let hidden = has_option(arguments, &['a', 'A']);
    for path in paths {
        match look(files, path, true).await? {
            Some(facts) if facts.kind != FileKind::Directory => {
                ran.output.extend(format!("{path}\n").into_bytes());
                continue;
            }
            _ => {}
        }
        match files.list(path).await {
            Ok(entries) => {
                let shown = entries.iter().filter(|entry| hidden || !entry.name.starts_with('.'));
                let names: String = shown.map(|entry| format!("{}\n", entry.name)).collect();
                ran.output.extend(names.into_bytes());
            }
            Err(error) => ran.complain(&format!("ls: {path}: {}", words_of(&error)?)),
        }
    }
    Ok(ran)
}

async fn remove(arguments: &[&str], files: &ContainerFiles) -> Result<Ran, HostError> {
    let mut ran = Ran::default();
    let (recursive, force) = (has_option(arguments, &['r', 'R']), has_option(arguments, &['f']));
    for path in plain(arguments) {
        let facts = look(files, path, false).await?;
        let is_directory = facts.as_ref().is_some_and(|f| f.kind == FileKind::Directory);
        match facts {
            None if force => {}
            _ if is_directory && !recursive => {
                ran.complain(&format!("rm: '{path}' is a directory"));
            }
            _ => {
                if is_directory {
                    empty(path, "rm: can't remove", files, &mut ran).await?;
                }
                if let Err(error) = files.remove(path).await {
                    ran.complain(&format!("rm: can't remove '{path}': {}", words_of(&error)?));
                }
            }
        }
    }
    Ok(ran)
}

/// Removes what is in a directory, deepest first, and goes on after failures.
fn empty<'a>(
    path: &'a str,
    complaint: &'a str,
    files: &'a ContainerFiles,
    ran: &'a mut Ran,
) -> BoxFuture<'a, Result<(), HostError>> {
    async move {
        let entries = match files.list(path).await {
            Ok(entries) => entries,
            Err(error) => {
                ran.complain(&format!("{complaint} '{path}': {}", words_of(&error)?));
                return Ok(());
            }
        };
        for entry in entries {
            let inner = format!("{}/{}", path.trim_end_matches('/'), entry.name);
            if entry.facts.kind == FileKind::Directory {
                empty(&inner, complaint, files, ran).await?;
            }
            if let Err(error) = files.remove(&inner).await {
                ran.complain(&format!("{complaint} '{inner}': {}", words_of(&error)?));
            }
        }
        Ok(())
    }
    .boxed()
}

async fn make_directories(arguments: &[&str], files: &ContainerFiles) -> Result<Ran, HostError> {
    let mut ran = Ran::default();
    let parents = has_option(arguments, &['p']);
    for path in plain(arguments) {
        let there = look(files, path, true).await?.is_some();
        if there && parents {
            continue;
        }
        if there {
            ran.complain(&format!("mkdir: can't create directory '{path}': File exists"));
        } else if let Err(error) = files.make_directory(path, parents).await {
            let why = words_of(&error)?;
            ran.complain(&format!("mkdir: can't create directory '{path}': {why}"));
        }
    }
    Ok(ran)
}

async fn touch(arguments: &[&str], files: &ContainerFiles) -> Result<Ran, HostError> {
    let mut ran = Ran::default();
    for path in plain(arguments) {
        if look(files, path, true).await?.is_none()
            && let Err(error) = files.write(path, b"").await
        {
            ran.complain(&format!("touch: {path}: {}", words_of(&error)?));
        }
    }
    Ok(ran)
}

async fn copy(arguments: &[&str], files: &ContainerFiles) -> Result<Ran, HostError> {
    let mut ran = Ran::default();
    let [from, to] = plain(arguments)[..] else {
        ran.complain("cp: one file and one target are understood");
        return Ok(ran);
    };
    let is_directory =
        look(files, to, true).await?.is_some_and(|facts| facts.kind == FileKind::Directory);
    let name = from.rsplit('/').next().unwrap_or(from);
    let target =
        if is_directory { format!("{}/{name}", to.trim_end_matches('/')) } else { to.to_owned() };
    match files.read(from, BYTES_MAX).await {
        Err(error) => ran.complain(&format!("cp: can't open '{from}': {}", words_of(&error)?)),
        Ok(content) => {
            if let Err(error) = files.write(&target, &content).await {
                ran.complain(&format!("cp: can't create '{target}': {}", words_of(&error)?));
            }
        }
    }
    Ok(ran)
}

/// `find DIRECTORY [-mindepth 1] [-delete]`.
async fn find(arguments: &[&str], files: &ContainerFiles) -> Result<Ran, HostError> {
    let mut ran = Ran::default();
    let Some(directory) = arguments.first().filter(|word| !word.starts_with('-')) else {
        ran.complain("find: a directory is needed");
        return Ok(ran);
    };
    if look(files, directory, true).await?.is_none() {
        ran.complain(&format!("find: {directory}: No such file or directory"));
        return Ok(ran);
    }
    if arguments.contains(&"-delete") {
        empty(directory, "find: cannot delete", files, &mut ran).await?;
        return Ok(ran);
    }
    let mut open = vec![(*directory).to_owned()];
    if !arguments.contains(&"-mindepth") {
        ran.output.extend(format!("{directory}\n").into_bytes());
    }
    while let Some(path) = open.pop() {
        for entry in files.list(&path).await.unwrap_or_default() {
            let inner = format!("{}/{}", path.trim_end_matches('/'), entry.name);
            ran.output.extend(format!("{inner}\n").into_bytes());
            if entry.facts.kind == FileKind::Directory {
                open.push(inner);
            }
        }
    }
    Ok(ran)
}

/// `dd if=/dev/zero of=FILE bs=N count=N`, up to [`BYTES_MAX`].
async fn dd(arguments: &[&str], files: &ContainerFiles) -> Result<Ran, HostError> {
    let mut ran = Ran::default();
    let value = |key: &str| arguments.iter().find_map(|word| word.strip_prefix(key));
    let bytes = size(value("bs=").unwrap_or("512")) * size(value("count=").unwrap_or("1"));
    let (Some("/dev/zero"), Some(to)) = (value("if="), value("of=")) else {
        ran.complain("dd: only if=/dev/zero and of= are understood");
        return Ok(ran);
    };
    if bytes > BYTES_MAX {
        ran.complain(&format!("dd: more than {BYTES_MAX} bytes are not written here"));
        return Ok(ran);
    }
    let zeros = vec![0; usize::try_from(bytes).unwrap_or_default()];
    if let Err(error) = files.write(to, &zeros).await {
        ran.complain(&format!("dd: error writing '{to}': {}", words_of(&error)?));
    }
    Ok(ran)
}

fn size(text: &str) -> u64 {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let number: u64 = text[..end].parse().unwrap_or_default();
    let unit = match &text[end..] {
        "k" | "K" => 1 << 10,
        "m" | "M" => 1 << 20,
        "g" | "G" => 1 << 30,
        _ => 1,
    };
    number.saturating_mul(unit)
}
