//! Pictures of each view: what is on the screen and how it is styled, in
//! colour and without.

use std::fmt::Write as _;

use proptest::prelude::*;
use pvdeck::model::claim::Claim;
use pvdeck::model::class::StorageClass;
use pvdeck::ui::message::{Answer, Message};
use pvdeck::ui::screen;
use pvdeck::ui::text::Glyphs;
use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::buffer::Buffer;
use ratatui::style::{Color, Modifier};
use serde_json::json;

use super::sample::{self, Console};

/// What is drawn for a console.
pub fn picture(console: &Console) -> Buffer {
    let (width, height) = (console.state.width, console.state.height);
    let mut terminal = Terminal::new(TestBackend::new(width, height)).expect("no I/O");
    terminal.draw(|frame| screen::draw(&console.state, &console.data, frame)).expect("no I/O");
    terminal.backend().buffer().clone()
}

/// The picture's text, a line each, without what is blank at its end.
pub fn text(buffer: &Buffer) -> String {
    let width = usize::from(buffer.area.width).max(1);
    let mut text = String::new();
    for line in buffer.content.chunks(width) {
        let mut skip = 0;
        let mut row = String::new();
        for cell in line {
            if skip > 0 {
                skip -= 1;
                continue;
            }
            skip = unicode_width::UnicodeWidthStr::width(cell.symbol()).saturating_sub(1);
            row.push_str(cell.symbol());
        }
        let _ = writeln!(text, "{}", row.trim_end());
    }
    text
}

/// The styled runs of each line: `3: 0-20 Cyan BOLD`.
fn styles(buffer: &Buffer) -> String {
    let width = usize::from(buffer.area.width).max(1);
    let mut text = String::new();
    for (y, line) in buffer.content.chunks(width).enumerate() {
        let mut runs: Vec<(usize, usize, String)> = Vec::new();
        for (x, cell) in line.iter().enumerate() {
            let mut style = String::new();
            if cell.fg != Color::Reset {
                let _ = write!(style, " {}", cell.fg);
            }
            if cell.bg != Color::Reset {
                let _ = write!(style, " on {}", cell.bg);
            }
            if !cell.modifier.is_empty() {
                let _ = write!(style, " {:?}", Shown(cell.modifier));
            }
            match runs.last_mut() {
                Some((_, end, last)) if *end + 1 == x && *last == style => *end = x,
                _ if style.is_empty() => {}
                _ => runs.push((x, x, style)),
            }
        }
        if !runs.is_empty() {
            let runs: Vec<_> = runs.iter().map(|(a, b, style)| format!("{a}-{b}{style}")).collect();
            let _ = writeln!(text, "{y:>2}: {}", runs.join(", "));
        }
    }
    text
}

struct Shown(Modifier);

impl std::fmt::Debug for Shown {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let names: Vec<_> = self.0.iter_names().map(|(name, _)| name).collect();
        f.write_str(&names.join("+"))
    }
}

/// Compares a view with its pictures: 80x24 and 120x40, in colour and mono.
/// `go` leads from the sample's overview to the view.
pub fn check(name: &str, go: impl Fn(&mut Console)) {
    for (width, height) in [(80, 24), (120, 40)] {
        let draw = |theme| {
            let mut console = Console::sample(width, height, theme);
            go(&mut console);
            picture(&console)
        };
        let (dark, mono) = (draw("dark"), draw("mono"));
        assert_eq!(text(&dark), text(&mono), "{name}: the theme changes words");
        let all =
            format!("{}\n-- dark\n{}\n-- mono\n{}", text(&dark), styles(&dark), styles(&mono));
        insta::with_settings!({prepend_module_to_snapshot => false, omit_expression => true}, {
            insta::assert_snapshot!(format!("{name}_{width}x{height}"), all);
        });
    }
}

#[test]
fn overview_shows_what_is_wrong_first() {
    check("overview", |_| {});
}

#[test]
fn claim_that_waits_for_a_pod_needs_nobody_once_its_class_is_there() {
    let mut console = Console::sample(80, 24, "dark");
    let before = console.data.problems();
    console.apply::<Claim>(sample::claim("dev", "late", 90, 8, "Pending", "1Gi", "lazy", ""));
    console.press(":pvc\r").wait(10_000);
    assert_eq!(console.data.problems(), before + 1, "its class is missing");
    console.apply::<StorageClass>(json!({"metadata": {"name": "lazy", "uid": "uid--lazy",
        "resourceVersion": "91", "creationTimestamp": "2026-11-21T09:40:59Z"},
        "provisioner": "kubernetes.io/no-provisioner",
        "volumeBindingMode": "WaitForFirstConsumer"}));
    assert_eq!(console.data.problems(), before);
}

#[test]
fn claims() {
    check("claims", |console| {
        console.press(":pvc\r");
    });
}

#[test]
fn claims_marked_filtered_and_sorted() {
    check("claims_marked", |console| {
        console.press(":pvc\r").press("/mysql\r").press("Z").press("  ");
    });
}

#[test]
fn claim_that_just_changed_is_seen_to_have_changed() {
    check("claims_changed", |console| {
        console.press(":pvc\r");
        let changed =
            sample::claim("web", "assets", 99, 172_800, "Bound", "5Gi", "manual", "pv-05");
        console.apply::<pvdeck::model::claim::Claim>(changed);
    });
}

#[test]
fn volumes() {
    check("volumes", |console| {
        console.press(":pv\r");
    });
}

#[test]
fn classes() {
    check("classes", |console| {
        console.press(":sc\r");
    });
}

#[test]
fn pods() {
    check("pods", |console| {
        console.press(":po\r");
    });
}

#[test]
fn nodes() {
    check("nodes", |console| {
        console.press(":no\r");
    });
}

#[test]
fn events() {
    check("events", |console| {
        console.press(":ev\r");
    });
}

#[test]
fn timeline() {
    check("timeline", |console| {
        sample::stepping(console);
        console.press(":timeline\r");
    });
}

#[test]
fn controllers() {
    check("controllers", |console| {
        sample::stepping(console);
        console.press(":controllers\r");
    });
}

#[test]
fn contexts() {
    check("contexts", |console| {
        console.press(":ctx\r");
    });
}

#[test]
fn help() {
    check("help", |console| {
        console.press("?");
    });
}

#[test]
fn stepping() {
    check("stepping", |console| {
        sample::stepping(console);
        console.press(":step\r");
    });
}

#[test]
fn journey_of_a_claim_that_is_stuck() {
    check("journey_stuck", |console| {
        console.press(":pvc\r/mysql-0\r\r");
    });
}

#[test]
fn journey_of_a_claim_that_waits_for_its_first_pod() {
    check("journey_normal", |console| {
        console.press(":pvc\r/cache\r\r");
    });
}

#[test]
fn why_each_volume_is_refused() {
    check("why", |console| {
        console.press(":pvc\r/assets\rw");
    });
}

#[test]
fn describe_a_volume() {
    check("describe", |console| {
        console.press(":pv\r/pv-05\rd");
    });
}

#[test]
fn relations_of_a_claim() {
    check("relations", |console| {
        console.press(":pvc\r/mysql-1\rx");
    });
}

#[test]
fn yaml_of_a_claim() {
    check("yaml", |console| {
        console.press(":pvc\r/mysql-1\ry");
        let object =
            sample::claim("shop", "data-mysql-1", 22, 0, "Bound", "20Gi", "fast", "pvc-7c1f0e");
        let ask = console.state.next_ask;
        console.tell(Message::Answer { ask, answer: Answer::Object(Box::new(object)) });
    });
}

#[test]
fn delete_dialog_names_what_is_lost() {
    check("delete", |console| {
        console.data.session.access = pvdeck::ui::data::Access::Writable;
        console.press(":pvc\r/mysql-1\r").press("\x04").wait(500).press("data");
    });
}

#[test]
fn rebind_dialog_shows_fit_and_misfit() {
    check("rebind_choice", |console| {
        console.data.session.access = pvdeck::ui::data::Access::Writable;
        console.press(":pvc\r/assets\rb");
    });
}

#[test]
fn rebind_dialog_shows_the_writes() {
    check("rebind_writes", |console| {
        console.data.session.access = pvdeck::ui::data::Access::Writable;
        console.press(":pvc\r/assets\rb").wait(500).press("\r");
    });
}

#[test]
fn editor_with_its_diff() {
    check("editor_diff", |console| {
        console.data.session.access = pvdeck::ui::data::Access::Writable;
        console.press(":pv\r/pv-02\re");
        let object = sample::volume("pv-02", 33, "Available", "10Gi", "slow", "Retain", None);
        let mut would_be = object.clone();
        would_be["spec"]["storageClassName"] = json!("manual");
        let ask = console.state.next_ask;
        console.tell(Message::Answer { ask, answer: Answer::Object(Box::new(object)) });
        console.press("\x18");
        let ask = console.state.next_ask;
        console.tell(Message::Answer { ask, answer: Answer::WouldBe(Box::new(would_be)) });
    });
}

#[test]
fn editor_after_a_conflict_shows_both_sides() {
    check("editor_conflict", |console| {
        console.data.session.access = pvdeck::ui::data::Access::Writable;
        console.press(":pv\r/pv-02\re");
        let object = sample::volume("pv-02", 33, "Available", "10Gi", "slow", "Retain", None);
        let mut theirs = object.clone();
        theirs["spec"]["persistentVolumeReclaimPolicy"] = json!("Delete");
        theirs["metadata"]["resourceVersion"] = json!("77");
        let ask = console.state.next_ask;
        console.tell(Message::Answer { ask, answer: Answer::Object(Box::new(object.clone())) });
        console.press("# mine\r\x18");
        let mut would_be = object;
        would_be["spec"]["storageClassName"] = json!("manual");
        let ask = console.state.next_ask;
        console.tell(Message::Answer { ask, answer: Answer::WouldBe(Box::new(would_be)) });
        console.wait(500).press("\t\r");
        let message = "the object has been modified".into();
        let answer = Answer::Conflict { message, now: Some(Box::new(theirs)) };
        let ask = console.state.next_ask;
        console.tell(Message::Answer { ask, answer });
    });
}

#[test]
fn forbidden_kind_is_said_not_to_be_known() {
    check("forbidden", |console| {
        let message = "persistentvolumes is forbidden: User \"dev\" cannot list it".to_owned();
        let forbidden = pvdeck::mirror::freshness::Freshness::Forbidden { message };
        console.data.mirror.set_freshness(pvdeck::model::kind::PERSISTENT_VOLUME, forbidden);
        console.press(":pv\r");
    });
}

#[test]
fn small_terminal_is_told_what_is_needed() {
    let console = Console::sample(59, 15, "dark");
    assert_eq!(text(&picture(&console)).trim(), "pvdeck needs 60x15; this is 59x15");
    let console = Console::sample(60, 15, "dark");
    assert!(text(&picture(&console)).contains("data-mysql-0"));
}

#[test]
fn ascii_screens_have_no_other_character() {
    for keys in
        ["", ":pvc\r", ":pv\r", "?", ":pvc\rw", ":pvc\r\r", ":step\r", ":pvc\rZ", ":board node-1\r"]
    {
        let mut console = Console::sample(80, 24, "mono");
        console.data.look.glyphs = Glyphs::Ascii;
        sample::stepping(&mut console);
        console.press(keys);
        let text = text(&picture(&console));
        let other: String = text.chars().filter(|char| !char.is_ascii()).collect();
        assert_eq!(other, "", "{keys:?}\n{text}");
    }
}

#[test]
fn every_view_draws_at_every_size() {
    let views = [
        "",
        ":pvc\r",
        ":pv\r",
        ":sc\r",
        ":po\r",
        ":no\r",
        ":no\r\r",
        ":no\r\r\t",
        ":board node-1\r\r",
        ":board node-1\ro",
        ":wl\r\r",
        ":deploy\r",
        ":plugins\r",
        ":po\rf",
        ":po\rs",
        ":va\r",
        ":csidriver\r",
        ":sts\r",
        ":ev\r",
        ":timeline\r",
        ":controllers\r",
        ":ctx\r",
        ":namespaces\r",
        ":step\r",
        "?",
        ":pvc\r\r",
        ":pvc\rw",
        ":pvc\rd",
        ":pvc\rx",
        ":pvc\ry",
        ":pvc\r\x04",
        ":pvc\rb",
        ":pvc\re",
        ":",
        "/x",
        "q",
    ];
    for keys in views {
        for (width, height) in [(0, 0), (1, 1), (2, 2), (60, 15), (61, 16), (300, 3), (400, 100)] {
            let mut console = Console::sample(width, height, "dark").writable();
            sample::stepping(&mut console);
            console.press(keys);
            picture(&console);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn no_keys_and_sizes_panic(
        steps in prop::collection::vec((any::<u8>(), 0_u16..200, 0_u16..60), 1..60),
    ) {
        const KEYS: &[&str] = &["j", "k", "g", "G", "\r", "\x1b", "q", "/", "a", ":", "p", "v", "c",
            "w", "d", "y", "e", "b", "\x04", "\x18", "\t", " ", "h", "l", "\x06", "\x02", "0", "1",
            "2", "Z", "A", "u", "x", "t", "n", "r", "?", "\x7f", "\x1b[A", "\x1b[B", "é", "漢",
            "-l", "o", "f", "s", ":no\r\r", "\x1b[200~x\ny\x1b[201~"];
        let mut console = Console::sample(80, 24, "dark").writable();
        sample::stepping(&mut console);
        for (key, width, height) in steps {
            if key % 7 == 0 {
                console.tell(Message::Resize { width, height });
            } else if key % 11 == 0 {
                console.wait(u64::from(width) * 10);
            } else {
                console.press(KEYS[usize::from(key) % KEYS.len()]);
            }
            picture(&console);
            prop_assert!(!console.state.layers.is_empty());
        }
        let saved = serde_json::to_string(&console.state).expect("serialises");
        let read: pvdeck::ui::state::State = serde_json::from_str(&saved).expect("reads back");
        prop_assert_eq!(read, console.state);
    }
}
