//! Keys as triples: where one is, what is pressed, where one is then.

use pvdeck::model::claim::Claim;
use pvdeck::model::object::Key;
use pvdeck::model::write::Change;
use pvdeck::ui::data::Access;
use pvdeck::ui::dialog::Dialog;
use pvdeck::ui::message::{Answer, Effect, GateOrder, Message};
use pvdeck::ui::state::{TableId, View};

use super::sample::{self, Console};
use super::screens::{picture, text};

fn console() -> Console {
    Console::sample(80, 24, "dark").writable()
}

/// From the claims, keys lead the cursor to an object.
#[track_caller]
fn leads_to(keys: &str, expected: &str) {
    let mut console = console();
    console.press(":pvc\r").press(keys);
    assert_eq!(console.under_cursor(), expected, "{keys:?}");
}

#[test]
fn cursor_moves_as_every_pager_moves_it() {
    leads_to("", "old-site");
    leads_to("j", "data-mysql-0");
    leads_to("jj", "assets");
    leads_to("\x1b[B\x1b[B", "assets");
    leads_to("jjk", "data-mysql-0");
    leads_to("G", "registry");
    leads_to("Gg", "old-site");
    leads_to("\x06", "registry");
    leads_to("\x06\x02", "old-site");
    leads_to("\x1b[F\x1b[H", "old-site");
    leads_to("k", "old-site");
    leads_to("Gj", "registry");
}

#[test]
fn sorting_and_filtering_choose_rows() {
    leads_to("Mg", "assets");
    leads_to("MMg", "registry");
    leads_to("Zg", "cache");
    leads_to("/registry\r", "registry");
    leads_to("/!mysql\rG", "registry");
    leads_to(":sort name\rg", "assets");
    leads_to("2g", "data-mysql-0");
    leads_to("20g", "old-site");
}

#[test]
fn cursor_stays_on_its_object_when_the_list_shifts() {
    let mut console = console();
    console.press(":pvc\rjj");
    assert_eq!(console.under_cursor(), "assets");
    let worse = sample::claim("aaa", "first", 500, 10, "Lost", "1Gi", "manual", "gone");
    console.apply::<Claim>(worse);
    assert_eq!(console.under_cursor(), "assets");
    assert_eq!(console.state.top().list.at, 3);
}

#[test]
fn object_that_vanishes_under_the_cursor_leaves_none_chosen() {
    let mut console = console();
    console.press(":pvc\rj");
    assert_eq!(console.under_cursor(), "data-mysql-0");
    console.remove::<Claim>(Key::new("shop", "data-mysql-0"));
    assert_eq!(console.under_cursor(), "-");
    console.press("\x04");
    assert!(console.state.dialog.is_none(), "nothing to delete");
    console.press("j");
    assert_eq!(console.under_cursor(), "assets");
}

#[test]
fn namesake_of_a_vanished_object_is_not_it() {
    let mut console = console();
    console.press(":pvc\r/assets\r");
    console.remove::<Claim>(Key::new("web", "assets"));
    let mut again = sample::claim("web", "assets", 600, 1, "Pending", "5Gi", "manual", "");
    again["metadata"]["uid"] = "uid-new".into();
    console.apply::<Claim>(again);
    assert_eq!(console.under_cursor(), "-");
}

#[test]
fn marks_go_with_their_object_and_survive_the_filter() {
    let mut console = console();
    console.press(":pvc\r   ");
    assert_eq!(console.state.top().list.marks.len(), 3);
    console.press("/registry\r");
    assert_eq!(console.state.top().list.marks.len(), 3);
    console.remove::<Claim>(Key::new("shop", "data-mysql-0"));
    assert_eq!(console.state.top().list.marks.len(), 2);
    console.press("\x04");
    let shown = text(&picture(&console));
    assert!(shown.contains("2 of the marked ones are hidden"), "{shown}");
}

#[test]
fn escape_goes_back_one_layer_and_never_quits() {
    let mut console = console();
    console.press(":pvc\r/assets\r\r");
    assert!(matches!(console.state.top().view, View::Journey(_)));
    console.press("\x1b");
    assert_eq!(console.state.table(), Some(TableId::Claims));
    assert_eq!(console.state.top().list.filter, "assets");
    console.press("\x1b");
    assert_eq!(console.state.top().list.filter, "");
    console.press("\x1b");
    assert_eq!(console.state.table(), Some(TableId::Overview));
    console.press("\x1b").press("\x1b");
    assert!(!console.state.leaving);
}

#[test]
fn q_at_the_top_asks_and_ctrl_c_does_not() {
    let mut asked = console();
    asked.press("q");
    assert!(matches!(asked.state.dialog, Some(Dialog::Quit(_))));
    asked.wait(1_000).press("\r");
    assert!(asked.state.dialog.is_none() && !asked.state.leaving, "focus starts on Stay");
    asked.press("q").wait(1_000).press("\t\r");
    assert!(asked.state.leaving);
    let mut cut = console();
    cut.press("\x03");
    assert_eq!(cut.effects.last(), Some(&Effect::Quit));
}

fn deletes(console: &Console) -> Vec<String> {
    let effects = console.effects.iter();
    effects
        .filter_map(|effect| match effect {
            Effect::Perform { write, .. } if matches!(write.change, Change::Delete(_)) => {
                Some(format!("{} at {:?}", write.object, write.version))
            }
            _ => None,
        })
        .collect()
}

#[test]
fn typed_ahead_enter_held_and_paste_confirm_nothing() {
    for keys in ["\x04\r\r\r\r\r", "\x04\t\r\t\r", "\x04\x1b[200~\t\r\x1b[201~"] {
        let mut console = console();
        console.press(":pvc\r/assets\r").press(keys);
        assert_eq!(deletes(&console), Vec::<String>::new(), "{keys:?}");
    }
}

#[test]
fn enter_on_a_fresh_dialog_cancels() {
    let mut console = console();
    console.press(":pvc\r/assets\r\x04").wait(1_000).press("\r");
    assert!(console.state.dialog.is_none());
    assert_eq!(deletes(&console), Vec::<String>::new());
}

#[test]
fn delete_without_loss_needs_no_typing() {
    let mut console = console();
    console.press(":pvc\r/assets\r\x04").wait(1_000).press("\t\r");
    assert_eq!(deletes(&console), ["persistentvolumeclaim/web/assets at Some(24)"]);
}

#[test]
fn delete_that_loses_data_needs_the_name() {
    let mut console = console();
    console.press(":pvc\r/mysql-1\r\x04").wait(1_000);
    console.press("\t\r");
    assert_eq!(deletes(&console), Vec::<String>::new(), "nothing typed");
    console.press("data-mysql-\r");
    assert_eq!(deletes(&console), Vec::<String>::new(), "half the name");
    console.press("1\r");
    assert_eq!(deletes(&console), ["persistentvolumeclaim/shop/data-mysql-1 at Some(22)"]);
    let ask = console.state.next_ask;
    console.tell(Message::Answer { ask, answer: Answer::Written });
    assert!(console.state.dialog.is_none());
}

#[test]
fn target_that_changes_under_a_dialog_is_asked_about_again() {
    let mut console = console();
    console.press(":pvc\r/mysql-1\r\x04").wait(1_000).press("data-mysql-1\t");
    let changed =
        sample::claim("shop", "data-mysql-1", 700, 99, "Bound", "20Gi", "fast", "pvc-7c1f0e");
    console.apply::<Claim>(changed);
    console.wait(1_000).press("\r");
    assert_eq!(deletes(&console), Vec::<String>::new());
    assert!(console.state.dialog.is_none(), "focus was on Cancel again");
}

#[test]
fn target_that_vanishes_closes_its_dialog() {
    let mut console = console();
    console.press(":pvc\r/assets\r\x04");
    console.remove::<Claim>(Key::new("web", "assets"));
    assert!(console.state.dialog.is_none());
    assert!(text(&picture(&console)).contains("gone already"));
}

#[test]
fn refused_delete_says_why_and_stays() {
    let mut console = console();
    console.press(":pvc\r/assets\r\x04").wait(1_000).press("\t\r");
    let ask = console.state.next_ask;
    let answer = Answer::Failed("DELETE was refused: you may not".into());
    console.tell(Message::Answer { ask, answer });
    assert!(text(&picture(&console)).contains("you may not"));
}

#[test]
fn read_only_refuses_and_write_lifts_it_unless_locked() {
    let mut console = Console::sample(80, 24, "dark");
    console.press(":pvc\r\x04e");
    assert!(console.state.dialog.is_none());
    assert!(text(&picture(&console)).contains("read-only"));
    console.press(":write\r");
    assert_eq!(console.effects.last(), Some(&Effect::SetWritable(true)));
    console.data.session.access = Access::Locked;
    console.effects.clear();
    console.press(":write\r");
    assert_eq!(console.effects, []);
}

#[test]
fn what_is_not_permitted_is_refused_with_the_servers_words() {
    let mut console = console();
    let why = "not permitted: delete persistentvolumeclaims".to_owned();
    let kind = pvdeck::model::kind::PERSISTENT_VOLUME_CLAIM;
    console.data.session.refused.push((kind, "delete", why.clone()));
    console.press(":pvc\r\x04");
    assert!(console.state.dialog.is_none());
    assert!(text(&picture(&console)).contains(&why));
}

#[test]
fn rebind_writes_the_volume_then_the_claim() {
    let mut console = console();
    console.press(":pv\r/pv-05\rb").wait(1_000).press("\r").wait(1_000).press("\t\r");
    let Some(Effect::Perform { ask, write }) = console.effects.last().cloned() else {
        panic!("{:?}", console.effects)
    };
    assert_eq!(write.object.to_string(), "persistentvolume/pv-05");
    console.tell(Message::Answer { ask, answer: Answer::Written });
    let Some(Effect::Perform { ask, write }) = console.effects.last().cloned() else {
        panic!("{:?}", console.effects)
    };
    assert_eq!(write.object.to_string(), "persistentvolumeclaim/web/assets");
    console.tell(Message::Answer { ask, answer: Answer::Written });
    assert!(console.state.dialog.is_none());
}

#[test]
fn partner_that_does_not_fit_cannot_be_chosen() {
    let mut console = console();
    console.press(":pvc\r/assets\rb").wait(1_000).press("j\r");
    assert!(
        matches!(&console.state.dialog, Some(Dialog::Rebind(rebind)) if rebind.chosen.is_none())
    );
    assert!(text(&picture(&console)).contains("does not fit"));
}

#[test]
fn steps_are_orders_to_the_gate() {
    let mut console = console();
    sample::stepping(&mut console);
    for (keys, order) in [
        ("p", GateOrder::Pause),
        ("n", GateOrder::Next(1)),
        ("r", GateOrder::Run),
        (":next 3\r", GateOrder::Next(3)),
        (":break pv/pv-02\r", GateOrder::RunUntil("pv/pv-02".into())),
    ] {
        console.press(keys);
        assert_eq!(console.effects.last(), Some(&Effect::Gate(order)), "{keys:?}");
    }
    assert!(matches!(console.state.top().view, View::Step));
}

#[test]
fn stepping_keys_mean_nothing_on_a_live_cluster() {
    let mut console = Console::sample(80, 24, "dark");
    console.press("npr");
    assert!(!console.effects.iter().any(|effect| matches!(effect, Effect::Gate(_))));
}

#[test]
fn unknown_command_and_bad_argument_are_told() {
    for (line, said) in [
        (":nonsense\r", "no command `nonsense`"),
        (":pvcx\r", "no command `pvcx`"),
        (":ctx nowhere\r", "no context `nowhere`"),
        (":sort colour\r", "no column `COLOUR`"),
        (":save\r", ":save needs a file name"),
        ("/-l a b\r", "no label selector"),
    ] {
        let mut console = console();
        console.press(":pvc\r").press(line);
        let shown = text(&picture(&console));
        assert!(shown.contains(said), "{line:?}\n{shown}");
    }
}

#[test]
fn tab_completes_commands_and_their_arguments() {
    let mut console = console();
    console.press(":timel\t");
    assert_eq!(console.state.prompt.as_ref().map(|p| p.text.as_str()), Some("timeline "));
    console.press("\x1b:ns sh\t");
    assert_eq!(console.state.prompt.as_ref().map(|p| p.text.as_str()), Some("ns shop"));
    console.press("\r");
    assert_eq!(console.state.namespace.as_deref(), Some("shop"));
    console.press(":\x1b[A");
    assert_eq!(console.state.prompt.as_ref().map(|p| p.text.as_str()), Some("ns shop"));
}

#[test]
fn edit_keeps_what_was_typed_through_an_error() {
    let mut console = console();
    console.press(":pv\r/pv-02\re");
    let object = sample::volume("pv-02", 33, "Available", "10Gi", "slow", "Retain", None);
    let ask = console.state.next_ask;
    console.tell(Message::Answer { ask, answer: Answer::Object(Box::new(object)) });
    console.press("bad: [\r\x18");
    let shown = text(&picture(&console));
    assert!(shown.contains(" line 3: "), "{shown}");
    assert!(shown.contains("bad: ["), "{shown}");
    assert!(!console.effects.iter().any(|effect| matches!(effect, Effect::DryRun { .. })));
    console.press("\x1b").wait(1_000).press("\r");
    assert!(matches!(console.state.top().view, View::Editor(_)), "leaving asks, Stay first");
}

#[test]
fn late_answer_of_a_closed_view_changes_nothing() {
    let mut console = console();
    console.press(":pvc\ry");
    let ask = console.state.next_ask;
    console.press("\x1b");
    let before = console.state.clone();
    let object = sample::claim("shop", "x", 1, 1, "Bound", "1Gi", "fast", "v");
    console.tell(Message::Answer { ask, answer: Answer::Object(Box::new(object)) });
    assert_eq!(console.state.layers, before.layers);
    assert_eq!(console.state.notice, None);
}
