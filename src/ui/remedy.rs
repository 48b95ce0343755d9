//! What a person can do about a volume that does not get further on its node:
//! by the words of its error where they say enough, else by its stage.

use crate::model::node_board::{BoardRow, Stage};

/// A part of an error, as Kubernetes words it, and what to do about it.
const BY_WORDS: &[(&str, &str)] = &[
    ("failed to fetch PVC", "create the claim that the pod names, or name one that is there"),
    ("PVC is not bound", "see why the claim is Pending: `w` on it in :pvc"),
    ("PVC is being deleted", "the claim goes: delete the pod, or let it have another claim"),
    ("failed to fetch PV", "the claim's volume is gone: the claim is Lost and needs another one"),
    ("ClaimRef", "volume and claim do not belong together: see both, and rebind with `b`"),
    ("pod is not owner", "the claim was there before the pod: rename one of the two"),
    ("but is specified in volumeMounts", "use volumeDevices for it, or a claim of mode Filesystem"),
    ("but is specified in volumeDevices", "use volumeMounts for it, or a claim of mode Block"),
    ("no volume plugin matched", "this node cannot mount that kind: :plugins says who can"),
    ("type check failed", "make the path on the node what `type` says, or ask for another type"),
    ("is an invalid volume type", "take one of the types that :plugins lists for hostPath"),
    ("does not exist", "make the path or device on the node, or correct the volume's path"),
    ("no such file or directory", "make the path on the node, or correct the volume's path"),
    ("'fsck' found errors", "repair it by hand on the node (fsck); nothing was formatted over"),
    ("unformatted disk", "a blank disk cannot be used read-only: let it be written once"),
    ("format of disk", "see what mkfs printed (o): disk, options or program are at fault"),
    ("wrong fs type", "the disk holds another filesystem than fsType says: correct one of them"),
    ("already mounted or mount point busy", "see who has the device on the node: lsof, fuser -vm"),
    ("target is busy", "see who has files open there: fuser -vm; then it goes by itself"),
    ("device is in use", "see who has the device open on the node: lsof, fuser -v"),
    ("No space left", "free space there, or ask for more: raise the claim's request"),
    ("Read-only file system", "it is mounted read-only: see the claim's and the mount's readOnly"),
    ("access denied by server", "let the server export the path to this node"),
    ("Connection refused", "see whether the server runs and is reached from this node"),
    ("ReadWriteOncePod", "only one pod may have it: delete the other pod"),
    (
        "no matching NodeSelectorTerms",
        "the volume is not for this node: let the pod run where it is",
    ),
    ("mount options are not supported", "take mountOptions out of the volume or its class"),
    ("volume attachment limit", "the node is full: let the pod run on another one"),
    ("not yet in node's status", "it is being attached: :va shows how far that is"),
];

/// What to do about a row's error; `None` if there is none.
pub fn of(row: &BoardRow) -> Option<&'static str> {
    let error = row.last_error.as_deref()?;
    let by_words = BY_WORDS.iter().find(|(words, _)| error.contains(words));
    Some(by_words.map_or_else(|| by_stage(row.stage), |(_, remedy)| remedy))
}

/// Where to look when a stage fails, whatever the kind.
fn by_stage(stage: Stage) -> &'static str {
    match stage {
        Stage::Attach => "see whether another node has it (:va) and its driver runs (:drivers)",
        Stage::Wait => "see whether the device is on the node; the attach may have gone elsewhere",
        Stage::Check | Stage::Format | Stage::Stage => {
            "see the command above and what it said (o): disk or options are refused"
        }
        Stage::Publish | Stage::Running => {
            "see the message: a path, a server or an object it needs is missing"
        }
        Stage::Unpublish | Stage::Unstage => {
            "see who still uses the mount on the node; tried again until it is free"
        }
        Stage::Detach => "it is tried again; a node that is gone is let go of after six minutes",
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;
    use crate::model::node_board::OnNode;

    fn row(stage: Stage, error: Option<&str>) -> BoardRow {
        BoardRow {
            unique_name: "k/pv-1".into(),
            name: "pv-1".into(),
            kind: "k".into(),
            claim: None,
            pods: Vec::new(),
            on_node: OnNode::Absent,
            stage,
            since: Timestamp::UNIX_EPOCH,
            attempts: 1,
            last_error: error.map(Into::into),
            next_retry: None,
            is_busy: false,
            device_path: String::new(),
            stage_path: String::new(),
            spans: Vec::new(),
            upcoming: Vec::new(),
        }
    }

    #[test]
    fn words_count_before_stages() {
        let told = |stage, error| of(&row(stage, error)).unwrap_or_default();
        assert_eq!(told(Stage::Running, None), "");
        let corrupt = "MountVolume.MountDevice failed for volume \"pv-1\" : 'fsck' found errors \
                       on device /dev/sdb but could not correct them: x";
        assert!(told(Stage::Check, Some(corrupt)).contains("nothing was formatted over"));
        assert!(told(Stage::Attach, Some("what is that")).contains(":va"));
        let missing = "error processing PVC shop/data: failed to fetch PVC from API server: \
                       persistentvolumeclaims \"data\" not found";
        assert!(told(Stage::Attach, Some(missing)).starts_with("create the claim"));
    }

    #[test]
    fn what_to_do_fits_on_a_line() {
        let by_words = BY_WORDS.iter().map(|(_, remedy)| *remedy);
        let stages = [
            Stage::Attach,
            Stage::Wait,
            Stage::Check,
            Stage::Publish,
            Stage::Unpublish,
            Stage::Detach,
        ];
        let by_stage = stages.into_iter().map(by_stage);
        for remedy in by_words.chain(by_stage) {
            assert!(remedy.len() <= 74, "{remedy}: {}", remedy.len());
        }
    }
}
