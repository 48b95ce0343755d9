//! The files in a mounted volume, or the mounted volumes of a pod.

use serde::{Deserialize, Serialize};

use crate::ui::lists::filter::Filter;
use crate::ui::lists::plain::{PlainList, PlainRow};
use crate::ui::lists::{Cell, Column, column};
use crate::ui::sign::Sign;
use crate::ui::theme::Role;

const COLUMNS: &[Column] = &[
    column("NAME", 'N', 30, 0).growing(4).unsorted(),
    column("KIND", 'K', 9, 0).unsorted(),
    column("SIZE", 'Z', 9, 0).to_the_right().unsorted(),
    column("MODE", 'M', 5, 1).to_the_right().unsorted(),
    column("NOTE", 'O', 20, 1).growing(3).unsorted(),
];

/// What leads up.
pub const UP: &str = "..";

/// What is at a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum FileRowKind {
    /// A volume of a pod: its root.
    Volume,
    Directory,
    File,
    Link,
    /// A device, a socket.
    Other,
}

impl FileRowKind {
    fn word(self) -> &'static str {
        match self {
            Self::Volume => "volume",
            Self::Directory => "directory",
            Self::File => "file",
            Self::Link => "link",
            Self::Other => "other",
        }
    }
}

/// An entry of a directory.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileRow {
    pub name: String,
    pub kind: FileRowKind,
    /// Of a file, in bytes.
    pub size: u64,
    pub mode: u32,
    /// Where a link points, or where a volume is on the node.
    pub note: String,
    /// A volume that takes no writes.
    pub read_only: bool,
}

/// Where in the files of a pod one is.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct FilesAt {
    /// The volume's name in the pod; empty: one is to be chosen.
    pub volume: String,
    /// Within the volume, from `/`.
    pub path: String,
    pub rows: Vec<FileRow>,
    /// Why there are no rows.
    pub error: Option<String>,
    /// The question that a new file waits for, and its name.
    pub creating: Option<(u64, String)>,
}

impl FilesAt {
    /// The root of a volume, or of the pod's volumes if it has no name.
    pub fn root(volume: &str) -> Self {
        Self { volume: volume.to_owned(), path: "/".into(), ..Self::default() }
    }

    /// The path of an entry.
    pub fn path_of(&self, name: &str) -> String {
        format!("{}/{name}", self.path.trim_end_matches('/'))
    }

    /// One level up: the directory above, from a root the pod's volumes.
    pub fn above(&self) -> Self {
        match self.path.trim_end_matches('/').rsplit_once('/') {
            None => Self::root(""),
            Some((above, _)) => {
                let path = if above.is_empty() { "/" } else { above };
                Self { path: path.to_owned(), ..Self::root(&self.volume) }
            }
        }
    }
}

/// The entries that the filter lets through, directories first.
pub fn list(at: &FilesAt, filter: &Filter) -> PlainList {
    let mut rows: Vec<&FileRow> = at.rows.iter().collect();
    rows.sort_by_key(|row| (row.kind != FileRowKind::Directory, row.name.as_str()));
    let up = (!at.volume.is_empty()).then(|| PlainRow {
        id: UP.to_owned(),
        sign: Sign::NotYet,
        cells: vec![
            Cell::new(UP),
            Cell::with("up", Role::Dim),
            Cell::new(""),
            Cell::new(""),
            Cell::new(""),
        ],
        target: None,
    });
    let rows = up.into_iter().chain(rows.into_iter().map(plain));
    PlainList::new(COLUMNS, rows.collect(), filter)
}

fn plain(row: &FileRow) -> PlainRow {
    let size = match row.kind {
        FileRowKind::File => row.size.to_string(),
        _ => String::new(),
    };
    let mode = match row.kind {
        FileRowKind::Volume => String::new(),
        _ => format!("{:o}", row.mode & 0o7777),
    };
    let note = match (row.kind, row.read_only) {
        (FileRowKind::Link, _) => format!("-> {}", row.note),
        (_, true) => format!("read-only {}", row.note),
        _ => row.note.clone(),
    };
    PlainRow {
        id: row.name.clone(),
        sign: Sign::Ok,
        cells: vec![
            Cell::new(row.name.clone()),
            Cell::with(row.kind.word(), Role::Dim),
            Cell::new(size),
            Cell::with(mode, Role::Dim),
            Cell::with(note, Role::Dim),
        ],
        target: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_lead_down_and_up_again() {
        let root = FilesAt::root("data");
        assert_eq!(root.path_of("a"), "/a");
        let below = FilesAt { path: root.path_of("a"), ..FilesAt::root("data") };
        assert_eq!(below.path_of("b"), "/a/b");
        let deep = FilesAt { path: below.path_of("b"), ..FilesAt::root("data") };
        assert_eq!(deep.above().path, "/a");
        assert_eq!(deep.above().above(), root);
        assert_eq!(root.above(), FilesAt::root(""));
    }
}
