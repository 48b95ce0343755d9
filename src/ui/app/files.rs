//! The files in a pod's mounted volumes, asked of the agent of its node.

use std::sync::Arc;

use crate::controllers::node_agent::agents::Agents;
use crate::controllers::node_agent::files::VolumeFiles;
use crate::plugins::host::FileKind;
use crate::plugins::host::files::FileEntry;
use crate::ui::app::shell::{Outcome, Shell};
use crate::ui::lists::files::{FileRow, FileRowKind};
use crate::ui::message::{Answer, FilesOrder};

impl Shell {
    /// Has the agent look at, make or delete a file.
    pub(super) fn files(&mut self, ask: u64, order: FilesOrder) {
        let answer = self.answer();
        let session = &self.opened.session;
        let refusal = match (session.host.as_ref().and_then(|host| host.agents()), &order) {
            (None, _) => "no agent of a node runs here, and only agents see files",
            (Some(_), FilesOrder::Create { .. } | FilesOrder::Delete { .. })
                if session.path.access().is_read_only() =>
            {
                "this context is read-only"
            }
            (Some(agents), _) => {
                let agents = agents.clone();
                self.tasks.spawn(async move {
                    answer(Outcome::Answer(ask, carry_out(&agents, order).await));
                });
                return;
            }
        };
        answer(Outcome::Answer(ask, Answer::Failed(refusal.to_owned())));
    }
}

async fn carry_out(agents: &Arc<Agents>, order: FilesOrder) -> Answer {
    let done = match order {
        FilesOrder::Volumes { pod } => {
            let volumes = agents.mounted_volumes(&pod);
            volumes.map(|volumes| Answer::Files(volumes.iter().map(of_volume).collect()))
        }
        FilesOrder::List { pod, volume, path } => {
            let entries = agents.list_files(&pod, &volume, &path).await;
            entries.map(|entries| Answer::Files(entries.iter().map(of_entry).collect()))
        }
        FilesOrder::Read { pod, volume, path } => {
            agents.read_file(&pod, &volume, &path).await.map(Answer::Content)
        }
        FilesOrder::Create { pod, volume, path, content } => {
            let written = agents.write_file(&pod, &volume, &path, content.as_bytes()).await;
            written.map(|()| Answer::Written)
        }
        FilesOrder::Delete { pod, volume, path } => {
            agents.delete_file(&pod, &volume, &path).await.map(|()| Answer::Written)
        }
    };
    done.unwrap_or_else(|error| Answer::Failed(error.to_string()))
}

fn of_volume(volume: &VolumeFiles) -> FileRow {
    FileRow {
        name: volume.volume.to_string(),
        kind: if volume.is_block { FileRowKind::Other } else { FileRowKind::Volume },
        size: 0,
        mode: 0,
        note: volume.host_path.clone(),
        read_only: volume.read_only,
    }
}

fn of_entry(entry: &FileEntry) -> FileRow {
    FileRow {
        name: entry.name.clone(),
        kind: match entry.facts.kind {
            FileKind::Directory => FileRowKind::Directory,
            FileKind::File => FileRowKind::File,
            FileKind::Link => FileRowKind::Link,
            FileKind::BlockDevice
            | FileKind::CharacterDevice
            | FileKind::Socket
            | FileKind::Other => FileRowKind::Other,
        },
        size: entry.facts.size,
        mode: entry.facts.mode,
        note: entry.facts.link.clone().unwrap_or_default(),
        read_only: false,
    }
}
