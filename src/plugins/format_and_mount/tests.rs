//! Every row of the tables "what is on the disk", "what is done" and "fsck".

use super::*;

fn request(options: &[&str]) -> Request {
    Request {
        device: "/dev/sdb".into(),
        target: "/mnt".into(),
        fs_type: String::new(),
        options: options.iter().map(|option| (*option).to_owned()).collect(),
        format_options: Vec::new(),
    }
}

fn outcome(code: i32, output: &str) -> Outcome {
    Outcome { exit: Exit::Code(code), output: output.into() }
}

/// Plays the steps with the given ends (of blkid, then whatever comes) and
/// gives the commands and the end.
fn play(request: &Request, ends: &[Outcome]) -> (Vec<String>, Result<(), Refusal>) {
    let (mut view, mut ran) = (View::default(), Vec::new());
    let mut ends = ends.iter().cloned();
    loop {
        let command = match next(request, &view) {
            Next::Run(command, _) => command,
            Next::Done(_) => return (ran, Ok(())),
            Next::Refuse(refusal) => return (ran, Err(refusal)),
        };
        ran.push(command.argv()[0].clone());
        let end = ends.next().unwrap_or_else(|| outcome(0, ""));
        match command {
            Command::Probe { .. } => view.probed = Some(end),
            Command::Format { .. } => view.formatted = Some(end),
            Command::Check { .. } => view.checked = Some(end),
            Command::Mount { .. } => view.mounted = Some(end),
            other => panic!("unexpected {other:?}"),
        }
    }
}

#[track_caller]
fn check(row: &str, options: &[&str], ends: &[Outcome], commands: &str, error: &str) {
    let (ran, end) = play(&request(options), ends);
    assert_eq!(ran.join(" "), commands, "{row}");
    let text = end.err().map_or(String::new(), |refusal| refusal.to_string());
    assert_eq!(text, error, "{row}");
}

#[test]
fn what_is_on_the_disk_decides_whether_it_is_formatted() {
    let ext4 = outcome(0, "DEVNAME=/dev/sdb\nTYPE=ext4\n");
    let rows: [(&str, Outcome, &str); 7] = [
        ("exit 2", outcome(2, ""), "blkid mkfs.ext4 mount"),
        ("exit 0, empty output", outcome(0, ""), "blkid mkfs.ext4 mount"),
        ("exit 0, other keys only", outcome(0, "DEVNAME=/dev/sdb\n"), "blkid mkfs.ext4 mount"),
        ("exit 0, PTTYPE", outcome(0, "PTTYPE=dos\n"), "blkid fsck mount"),
        ("exit 0, PTTYPE and TYPE", outcome(0, "TYPE=ext4\nPTTYPE=gpt\n"), "blkid fsck mount"),
        ("exit 0, TYPE", ext4, "blkid fsck mount"),
        ("exit 0, a type unheard of", outcome(0, "TYPE=zfs_member\n"), "blkid fsck mount"),
    ];
    for (row, probe, commands) in rows {
        check(row, &[], &[probe], commands, "");
    }
    let junk = "failed to get disk format of disk /dev/sdb: blkid returns invalid output: junk";
    check("not key=value", &[], &[outcome(0, "junk")], "blkid", junk);
    let failed = "failed to get disk format of disk /dev/sdb: exit status 4";
    check("any other failure", &[], &[outcome(4, "")], "blkid", failed);
    let missing = Outcome { exit: Exit::Missing, output: String::new() };
    let text = "failed to get disk format of disk /dev/sdb: executable file not found in $PATH";
    check("blkid missing", &[], &[missing], "blkid", text);
}

#[test]
fn what_is_done_depends_on_read_only() {
    let blank = || outcome(2, "");
    let ext4 = || outcome(0, "TYPE=ext4");
    check(
        "unformatted, read-only",
        &["ro"],
        &[blank()],
        "blkid",
        "cannot mount unformatted disk /dev/sdb as we are manipulating it in read-only mode",
    );
    check("any format, read-only", &["ro"], &[ext4()], "blkid mount", "");
    check(
        "format fails",
        &["discard"],
        &[blank(), outcome(1, "no space")],
        "blkid mkfs.ext4",
        "format of disk \"/dev/sdb\" failed: type:(\"ext4\") target:(\"/mnt\") \
         options:(\"discard,defaults\") errcode:(exit status 1) output:(no space) ",
    );
}

#[test]
fn only_uncorrected_errors_keep_a_checked_disk_from_being_mounted() {
    for code in [0, 1, 2, 3, 5, 8, 12, 32] {
        check("go on", &[], &[outcome(0, "TYPE=ext4"), outcome(code, "")], "blkid fsck mount", "");
    }
    let missing = Outcome { exit: Exit::Missing, output: String::new() };
    check("fsck missing", &[], &[outcome(0, "TYPE=ext4"), missing], "blkid fsck mount", "");
    check(
        "exit 4",
        &[],
        &[outcome(0, "TYPE=ext4"), outcome(4, "inode 7")],
        "blkid fsck",
        "'fsck' found errors on device /dev/sdb but could not correct them: inode 7",
    );
}

#[test]
fn a_failing_mount_names_a_mismatch_if_the_formats_differ() {
    let text = "mount failed: exit status 32\nMounting command: mount\nMounting arguments: \
                -t ext4 -o defaults /dev/sdb /mnt\nOutput: wrong fs type";
    let failed = || outcome(32, "wrong fs type");
    let rows = [("TYPE=xfs", true), ("TYPE=ext4", false), ("PTTYPE=dos", true)];
    for (found, mismatch) in rows {
        let (_, end) = play(&request(&[]), &[outcome(0, found), outcome(0, ""), failed()]);
        let end = end.expect_err("a failing mount");
        assert_eq!(matches!(end, Refusal::FilesystemMismatch { .. }), mismatch, "{found}");
        assert_eq!(end.to_string(), text);
    }
}

#[test]
fn mkfs_gets_the_defaults_of_its_filesystem() {
    let words = |fs_type: &str| {
        let mut request = request(&[]);
        request.fs_type = fs_type.into();
        request.format_options = vec!["-K".into()];
        let view = View { probed: Some(outcome(2, "")), ..View::default() };
        match next(&request, &view) {
            Next::Run(command, Because::Blank) => command.argv().join(" "),
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(words("ext3"), "mkfs.ext3 -K -F -m0 /dev/sdb");
    assert_eq!(words("xfs"), "mkfs.xfs -K -f /dev/sdb");
    assert_eq!(words("btrfs"), "mkfs.btrfs -K /dev/sdb");
}

#[test]
fn what_is_foreseen_is_what_is_done_when_all_succeeds() {
    let words = |content: Option<Content>, options: &[&str]| -> Vec<String> {
        let commands = foreseen(&request(options), content.as_ref());
        commands.iter().map(|command| command.argv()[0].clone()).collect()
    };
    assert_eq!(words(Some(Content::Blank), &[]), ["blkid", "mkfs.ext4", "mount"]);
    assert_eq!(words(Some(Content::Filesystem("xfs".into())), &[]), ["blkid", "fsck", "mount"]);
    assert_eq!(words(Some(Content::Partitions), &["ro"]), ["blkid", "mount"]);
    assert_eq!(words(None, &[]), ["blkid", "mount"], "which of the two is not known");
    assert_eq!(words(Some(Content::Blank), &["ro"]), ["blkid"], "it is refused then");
}
