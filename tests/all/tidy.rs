//! Rules about the sources themselves.
//!
//! The layers of `src/lib.rs`, the few places where time, clients and writes
//! may be touched, forgotten modules, and what no commit should hold.

use std::fs;
use std::path::{Path, PathBuf};

/// The folders of `src/` from the ground up, and what each may import.
/// `operations` joins as it comes.
const LAYERS: &[(&str, &[&str])] = &[
    ("model", &[]),
    ("plugins", &["model"]),
    ("cluster", &["model"]),
    ("mirror", &["model", "cluster"]),
    ("controllers", &["model", "plugins", "cluster", "mirror"]),
    ("diagnosis", &["model", "plugins", "cluster", "mirror", "controllers"]),
    ("scenario", &["model", "plugins", "cluster", "mirror", "controllers"]),
    (
        "ui",
        &[
            "model",
            "plugins",
            "cluster",
            "mirror",
            "controllers",
            "diagnosis",
            "scenario",
            "session",
        ],
    ),
];

/// A source file: its path below the repository, and its text.
struct Source {
    path: String,
    text: String,
}

impl Source {
    /// The lines before the unit tests, with their numbers from 1.
    fn code(&self) -> impl Iterator<Item = (usize, &str)> {
        let tests_only = self.path.ends_with("/tests.rs") || self.path.contains("/tests/");
        self.text
            .lines()
            .take_while(move |line| !tests_only && line.trim() != "#[cfg(test)]")
            .enumerate()
            .map(|(at, line)| (at + 1, line))
    }

    /// Those of some lines that have one of the words, for people.
    fn having<'a>(
        &self,
        words: &[&str],
        lines: impl Iterator<Item = (usize, &'a str)>,
    ) -> Vec<String> {
        let has = |line: &str| words.iter().any(|word| line.contains(word));
        let found = lines.filter(|(_, line)| has(line));
        found.map(|(number, line)| format!("{}:{number}: {}", self.path, line.trim())).collect()
    }
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn sources(folder: &str) -> Vec<Source> {
    let mut found = Vec::new();
    let mut folders = vec![root().join(folder)];
    while let Some(folder) = folders.pop() {
        let entries = fs::read_dir(&folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display()));
        for entry in entries {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = fs::read_to_string(&path).expect("a text file");
                let path = path.strip_prefix(root()).expect("below the root");
                found.push(Source { path: path.to_string_lossy().into_owned(), text });
            }
        }
    }
    found.sort_by(|a, b| a.path.cmp(&b.path));
    assert!(!found.is_empty(), "no sources in {folder}");
    found
}

#[track_caller]
fn nothing(found: &[String]) {
    assert!(found.is_empty(), "{} found:\n{}", found.len(), found.join("\n"));
}

#[test]
fn no_layer_imports_one_above_it() {
    let mut found = Vec::new();
    for (layer, allowed) in LAYERS {
        if !root().join("src").join(layer).is_dir() {
            continue;
        }
        for source in sources(&format!("src/{layer}")) {
            for (number, line) in source.code() {
                for (_, path) in
                    line.match_indices("crate::").map(|(at, m)| line.split_at(at + m.len()))
                {
                    let end = path.find(|c: char| !c.is_alphanumeric() && c != '_');
                    let module = &path[..end.unwrap_or(path.len())];
                    if module != *layer
                        && !allowed.contains(&module)
                        && !line.trim().starts_with("//")
                    {
                        found.push(format!("{}:{number}: {layer} imports {module}", source.path));
                    }
                }
            }
        }
    }
    nothing(&found);
}

#[test]
fn time_is_read_only_by_the_clocks() {
    let words = ["tokio::time", "Timestamp::now", "SystemTime::now", "Instant::now", "Zoned::now"];
    let mut found = Vec::new();
    for source in sources("src") {
        if source.path == "src/cluster/clock.rs" {
            continue;
        }
        let code = source.code().filter(|(_, line)| !line.trim().starts_with("//"));
        found.extend(source.having(&words, code));
    }
    nothing(&found);
}

#[test]
fn writing_requests_are_built_in_one_place() {
    let words =
        ["Api::<", "Api::all", "Api::namespaced", "Method::POST", "Method::PATCH", "Request::post"];
    let allowed = [
        "src/cluster/write_path/",
        "src/cluster/embedded/",
        "src/cluster/connect.rs",
        "src/cluster/permissions.rs",
        "src/mirror/",
    ];
    let mut found = Vec::new();
    for source in sources("src") {
        if allowed.iter().any(|path| source.path.starts_with(path)) {
            continue;
        }
        let code = source.code().filter(|(_, line)| !line.trim().starts_with("//"));
        found.extend(source.having(&words, code));
    }
    nothing(&found);
}

#[test]
fn size_mode_class_and_selector_are_compared_only_in_the_model() {
    // The reason column and `why` render the controller's own refusals.
    let words = ["access_modes.contains_all", "why_not_match(", ".capacity <", ".capacity >="];
    let mut found = Vec::new();
    for layer in ["mirror", "scenario", "ui"] {
        for source in sources(&format!("src/{layer}")) {
            found.extend(source.having(&words, source.code()));
        }
    }
    nothing(&found);
}

#[test]
fn every_file_belongs_to_the_program() {
    let mut found = Vec::new();
    for source in sources("src").iter().chain(&sources("tests")) {
        let path = PathBuf::from(&source.path);
        let stem = path.file_stem().expect("a name").to_string_lossy().into_owned();
        let folder = path.parent().expect("a folder");
        let (name, homes) = match stem.as_str() {
            "main" | "lib" | "build" => continue,
            "mod" => {
                let name = folder.file_name().expect("a name").to_string_lossy().into_owned();
                let above = folder.parent().expect("a folder");
                (name, above.to_path_buf())
            }
            _ => (stem, folder.to_path_buf()),
        };
        let parents = [
            root().join(&homes).join("mod.rs"),
            root().join(&homes).join("lib.rs"),
            root().join(&homes).join("main.rs"),
            root().join(format!("{}.rs", homes.display())),
        ];
        let declared =
            parents.iter().filter_map(|parent| fs::read_to_string(parent).ok()).any(|text| {
                text.lines().any(|line| {
                    let line =
                        line.trim().trim_start_matches("pub ").trim_start_matches("pub(crate) ");
                    let line = line.trim_start_matches("pub(super) ");
                    line == format!("mod {name};")
                })
            });
        if !declared {
            found.push(format!("{}: no module declares it", source.path));
        }
    }
    nothing(&found);
}

#[test]
fn nothing_is_left_open_without_an_owner() {
    // Spelt apart, or this file would find itself.
    let words =
        [concat!("TO", "DO"), concat!("FIX", "ME"), concat!("todo", "!("), concat!("#[", "allow")];
    let mut found = Vec::new();
    for source in ["src", "tests", "benches"].into_iter().flat_map(sources) {
        let lines = source.text.lines().enumerate().map(|(at, line)| (at + 1, line));
        found.extend(source.having(&words, lines));
    }
    nothing(&found);
}

#[test]
fn no_machine_path_is_committed() {
    let words = [concat!("/wo", "rk/"), concat!("/ro", "ot/"), concat!("/ho", "me/u")];
    let mut found = Vec::new();
    for source in ["src", "tests", "benches"].into_iter().flat_map(sources) {
        let lines = source.text.lines().enumerate().map(|(at, line)| (at + 1, line));
        found.extend(source.having(&words, lines));
    }
    nothing(&found);
}
