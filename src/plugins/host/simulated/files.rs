//! What a request about files does to the state.

use crate::plugins::host::files::{FileAnswer, FileRequest};
use crate::plugins::host::mount_table::is_at_or_below;
use crate::plugins::host::simulated::state::{FsRef, Place, State};
use crate::plugins::host::simulated::tree::{Content, Entry, Tree};
use crate::plugins::host::{FileFault, FileKind};

/// Answers a request and carries it out.
pub fn perform(
    state: &mut State,
    node: &str,
    request: &FileRequest,
) -> Result<FileAnswer, FileFault> {
    let follow = !matches!(
        request,
        FileRequest::Look { follow: false, .. }
            | FileRequest::RemoveFile { .. }
            | FileRequest::Link { .. }
    );
    let found = state.resolve(node, request.path(), follow);
    if let (FileRequest::Look { .. }, Err(FileFault::NotADirectory)) = (request, &found) {
        return Ok(FileAnswer::Looked(None));
    }
    let (place, entry) = found?;
    match request {
        FileRequest::Look { .. } => {
            Ok(FileAnswer::Looked(entry.map(|entry| with_size(state, &entry))))
        }
        FileRequest::List { .. } => {
            let tree = state.tree(node, &place.fs).ok_or(FileFault::NotFound)?;
            tree.list(&place.path).map(FileAnswer::Listed)
        }
        FileRequest::Read { max_bytes, .. } => read(entry, *max_bytes),
        FileRequest::Capacity { .. } => capacity(state, node, &place, entry),
        FileRequest::OpenExclusively { .. } => open(state, node, entry),
        FileRequest::RemoveDirectory { .. } | FileRequest::RemoveTree { .. } => {
            refuse_mounted(state, node, request)?;
            change(state, node, &place, request)
        }
        _ => change(state, node, &place, request),
    }
}

fn with_size(state: &State, entry: &Entry) -> crate::plugins::host::files::FileFacts {
    let mut facts = entry.facts();
    if let Content::Device(id) = &entry.content {
        facts.size = state.disks.get(id).map_or(0, |disk| disk.bytes);
    }
    facts
}

/// What a machine's own disk, which has no limit here, is said to hold.
const ROOT_BYTES: u64 = 64 << 30;

fn capacity(
    state: &State,
    node: &str,
    place: &Place,
    entry: Option<Entry>,
) -> Result<FileAnswer, FileFault> {
    let disk = |id| state.disks.get(id).map(|disk| disk.bytes);
    let bytes = match (entry.ok_or(FileFault::NotFound)?.content, &place.fs) {
        (Content::Device(id), _) => disk(&id),
        (_, FsRef::Disk(id)) => disk(id),
        (_, fs) => state.tree(node, fs).and_then(|tree| tree.bytes_max),
    };
    Ok(FileAnswer::Capacity(bytes.unwrap_or(ROOT_BYTES)))
}

fn read(entry: Option<Entry>, max_bytes: u64) -> Result<FileAnswer, FileFault> {
    match entry.map(|entry| entry.content) {
        Some(Content::File(content)) if content.len() as u64 <= max_bytes => {
            Ok(FileAnswer::Read(content.to_vec()))
        }
        Some(Content::File(_)) => Err(FileFault::TooLarge { max_bytes }),
        Some(Content::Directory) => Err(FileFault::IsADirectory),
        Some(_) => Err(FileFault::Other("invalid argument".to_owned())),
        None => Err(FileFault::NotFound),
    }
}

fn open(state: &State, node: &str, entry: Option<Entry>) -> Result<FileAnswer, FileFault> {
    let entry = entry.ok_or(FileFault::NotFound)?;
    if entry.facts().kind != FileKind::BlockDevice {
        return Err(FileFault::Other("not a block device".to_owned()));
    }
    let Content::Device(id) = &entry.content else { return Ok(FileAnswer::Done) };
    if state.mounts_of(node, id) > 0 { Err(FileFault::Busy) } else { Ok(FileAnswer::Done) }
}

/// Nothing is removed that is a mount point, or holds one.
fn refuse_mounted(state: &State, node: &str, request: &FileRequest) -> Result<(), FileFault> {
    let Some(machine) = state.machines.get(node) else { return Err(FileFault::NotFound) };
    let path = request.path();
    let holds = machine.mounts.iter().any(|mounted| is_at_or_below(&mounted.entry.target, path));
    if holds { Err(FileFault::Busy) } else { Ok(()) }
}

fn change(
    state: &mut State,
    node: &str,
    place: &Place,
    request: &FileRequest,
) -> Result<FileAnswer, FileFault> {
    let path = &place.path;
    let tree = state.tree_mut(node, &place.fs).ok_or(FileFault::NotFound)?;
    if let (FileRequest::MakeDirectory { .. }, Some(entry)) = (request, tree.get(path))
        && entry.content == Content::Directory
    {
        return Ok(FileAnswer::Done);
    }
    if place.read_only {
        return Err(FileFault::ReadOnly);
    }
    match request {
        FileRequest::Write { content, mode, .. } => write(tree, path, content, *mode)?,
        FileRequest::MakeDirectory { mode, parents, .. } => {
            tree.make_directory(path, *mode, *parents)?;
        }
        FileRequest::Link { to, .. } => link(tree, path, to)?,
        FileRequest::RemoveFile { .. } => tree.remove_file(path)?,
        FileRequest::RemoveDirectory { .. } => tree.remove_directory(path)?,
        FileRequest::RemoveTree { .. } => tree.remove_tree(path)?,
        FileRequest::SetOwnership { ownership, .. } => tree.set_ownership(path, *ownership)?,
        // Not changes; answered before.
        FileRequest::Look { .. }
        | FileRequest::List { .. }
        | FileRequest::Read { .. }
        | FileRequest::Capacity { .. }
        | FileRequest::OpenExclusively { .. } => {}
    }
    Ok(FileAnswer::Done)
}

fn write(tree: &mut Tree, path: &str, content: &[u8], mode: u32) -> Result<(), FileFault> {
    let there = tree.get(path);
    if there.is_some_and(|entry| entry.content == Content::Directory) {
        return Err(FileFault::IsADirectory);
    }
    // The mode is for a new file; an old one keeps its own.
    let (mode, group) = there.map_or((mode, 0), |entry| (entry.mode, entry.group));
    tree.put(path, Entry { content: Content::File(content.into()), mode, group })
}

fn link(tree: &mut Tree, path: &str, to: &str) -> Result<(), FileFault> {
    match tree.get(path).map(|entry| &entry.content) {
        None | Some(Content::Link(_)) => {}
        Some(_) => return Err(FileFault::Exists),
    }
    tree.put(path, Entry::new(Content::Link(to.to_owned()), 0o777))
}
