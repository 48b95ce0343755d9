//! The files in a mounted volume.

use pvdeck::ui::data::Access;
use pvdeck::ui::lists::files::{FileRow, FileRowKind};
use pvdeck::ui::message::{Answer, Effect, FilesOrder, Message};
use pvdeck::ui::state::{TableId, View};

use super::sample::Console;
use super::screens::{check, picture, text};

fn file(name: &str, kind: FileRowKind, size: u64) -> FileRow {
    let note = if kind == FileRowKind::Link { "index.html" } else { "" }.to_owned();
    FileRow { name: name.into(), kind, size, mode: 0o644, note, read_only: false }
}

fn entries() -> Vec<FileRow> {
    vec![
        file("index.html", FileRowKind::File, 1_234),
        file("current", FileRowKind::Link, 0),
        file("lost+found", FileRowKind::Directory, 0),
    ]
}

/// Answers the question that was asked last.
fn answer(console: &mut Console, answer: Answer) {
    let ask = console.state.next_ask;
    console.tell(Message::Answer { ask, answer });
}

/// The files of the claim of a running pod.
fn opened(console: &mut Console) {
    console.data.session.live = false;
    console.press(":pvc\r/mysql-1\rf");
    answer(console, Answer::Files(entries()));
}

fn asked(console: &Console) -> Vec<FilesOrder> {
    let effects = console.effects.iter();
    effects
        .filter_map(|effect| match effect {
            Effect::Files { order, .. } => Some(order.clone()),
            _ => None,
        })
        .collect()
}

#[test]
fn files_of_a_claim_where_a_pod_has_it_mounted() {
    check("files", |console| {
        opened(console);
        console.press("j");
    });
}

#[test]
fn file_is_read_onto_a_page() {
    check("file", |console| {
        opened(console);
        console.press("/index\r\r");
        answer(console, Answer::Content(b"<h1>here</h1>\nsecond \x1b[31mline\n".to_vec()));
    });
}

#[test]
fn directories_lead_down_and_up() {
    let mut console = Console::sample(80, 24, "dark").writable();
    opened(&mut console);
    console.press("j\r");
    answer(&mut console, Answer::Files(Vec::new()));
    let pod = || pvdeck::model::object::Key::new("shop", "mysql-1");
    let list =
        |path: &str| FilesOrder::List { pod: pod(), volume: "data".into(), path: path.into() };
    console.press("g\r");
    answer(&mut console, Answer::Files(entries()));
    console.press("g\r");
    let volumes = FilesOrder::Volumes { pod: pod() };
    assert_eq!(asked(&console), [list("/"), list("/lost+found"), list("/"), volumes]);
    console.press("\x1b");
    assert_eq!(console.state.table(), Some(TableId::Claims));
}

#[test]
fn new_file_is_created_and_none_is_replaced() {
    let mut console = Console::sample(80, 24, "dark").writable();
    opened(&mut console);
    console.press("a");
    assert!(text(&picture(&console)).contains(":file "), "the key only begins the command");
    console.press("index.html x\r");
    assert!(text(&picture(&console)).contains("is there already and is not replaced"));
    console.press(":file a/b x\r:file .. x\r");
    assert_eq!(asked(&console).len(), 1, "nothing but the list was asked for");
    console.press(":file note.txt hello there\r");
    let create = FilesOrder::Create {
        pod: pvdeck::model::object::Key::new("shop", "mysql-1"),
        volume: "data".into(),
        path: "/note.txt".into(),
        content: "hello there\n".into(),
    };
    assert_eq!(asked(&console).last(), Some(&create));
    answer(&mut console, Answer::Written);
    assert!(text(&picture(&console)).contains("created note.txt"));
    let Some(FilesOrder::List { path, .. }) = asked(&console).pop() else { panic!("lists again") };
    assert_eq!(path, "/");
}

#[test]
fn read_only_context_creates_no_file() {
    for access in [Access::ReadOnly, Access::Locked] {
        let mut console = Console::sample(80, 24, "dark").writable();
        console.data.session.access = access;
        opened(&mut console);
        console.press(":file note.txt hello\r");
        assert!(text(&picture(&console)).contains("read-only"), "{access:?}");
        assert_eq!(asked(&console).len(), 1, "{access:?}");
    }
}

#[test]
fn files_of_a_live_cluster_are_refused_with_what_to_do() {
    let mut console = Console::sample(80, 24, "dark");
    console.press(":pvc\r/mysql-1\rf");
    assert!(text(&picture(&console)).contains("kubectl exec"));
    assert_eq!(console.state.table(), Some(TableId::Claims));
}

#[test]
fn claim_that_no_pod_mounts_has_no_files_to_see() {
    let mut console = Console::sample(80, 24, "dark").writable();
    console.press(":pvc\r/registry\rf");
    assert!(text(&picture(&console)).contains("no running pod has it mounted"));
}

#[test]
fn failed_list_says_why_in_place_of_files() {
    let mut console = Console::sample(80, 24, "dark").writable();
    console.press(":po\r/mysql-1\rf");
    answer(&mut console, Answer::Failed("pod shop/mysql-1 is not on a node of ours".into()));
    assert!(text(&picture(&console)).contains("is not on a node of ours"));
    assert!(matches!(console.state.top().view, View::Table(TableId::Files)));
}

#[test]
fn file_is_deleted_after_its_name_is_typed() {
    check("delete-file", |console| {
        console.data.session.access = Access::Writable;
        opened(console);
        console.press("G\x04");
    });
    let mut console = Console::sample(80, 24, "dark").writable();
    opened(&mut console);
    console.press("G\x04");
    console.wait(500);
    answer(&mut console, Answer::Files(entries()));
    let before = asked(&console).len();
    console.press("\t\r");
    assert_eq!(asked(&console).len(), before, "nothing goes before its name is typed");
    console.press("index.html\r");
    let delete = FilesOrder::Delete {
        pod: pvdeck::model::object::Key::new("shop", "mysql-1"),
        volume: "data".into(),
        path: "/index.html".into(),
    };
    assert_eq!(asked(&console).last(), Some(&delete));
    answer(&mut console, Answer::Written);
    assert!(text(&picture(&console)).contains("deleted /index.html"));
    let Some(FilesOrder::List { path, .. }) = asked(&console).pop() else { panic!("lists again") };
    assert_eq!(path, "/");
}

#[test]
fn what_leads_up_and_what_is_read_only_is_not_deleted() {
    let mut console = Console::sample(80, 24, "dark").writable();
    opened(&mut console);
    console.press("g\x04");
    assert!(text(&picture(&console)).contains("no file is chosen to delete"));
    console.data.session.access = Access::ReadOnly;
    console.press("j\x04");
    assert!(console.state.dialog.is_none());
    assert!(text(&picture(&console)).contains("read-only"));
}

#[test]
fn files_that_change_are_seen_without_asking() {
    let mut console = Console::sample(80, 24, "dark").writable();
    opened(&mut console);
    console.tell(Message::Tick);
    assert_eq!(asked(&console).len(), 2);
    console.tell(Message::Tick);
    assert_eq!(asked(&console).len(), 2, "one question at a time");
    let mut more = entries();
    more.push(file("new.txt", FileRowKind::File, 3));
    answer(&mut console, Answer::Files(more));
    assert!(text(&picture(&console)).contains("new.txt"));
    console.press("\x1b");
    console.tell(Message::Tick);
    assert_eq!(asked(&console).len(), 2, "what is not seen is not asked for");
}
