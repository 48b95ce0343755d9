//! What a node's board says beside its table: the node in a line, the selected
//! volume's error, commands and `docker run` lines below; and the pages about
//! one volume of a node.

use jiff::Timestamp;

use crate::model::node::Node;
use crate::model::node_board::{BoardPod, BoardRow};
use crate::model::object::Key;
use crate::plugins::host::{CommandRecord, Exit};
use crate::ui::age::{between, duration};
use crate::ui::boards::NodeFacts;
use crate::ui::data::Data;
use crate::ui::lists::{Context, board, nodes};
use crate::ui::remedy;
use crate::ui::sign::Sign;
use crate::ui::target::Target;
use crate::ui::text::{self, Glyphs};
use crate::ui::theme::Role;
use crate::ui::views::page::Page;

/// Cells of a command's end: `exit 127  0.02s`.
const ENDING: usize = 18;

/// Lines of an error in the pane; all of it is on the volume's page.
const ERROR_LINES: usize = 2;

/// Commands still to run that the pane tells; all are on the volume's page.
const UPCOMING: usize = 2;

/// The node in one line: ready, attached against its limit, drivers, in use.
pub fn head(page: &mut Page<'_>, node: &Target, data: &Data) {
    data.read(|context| {
        let Some(row) = context.tables.nodes.by_uid(&node.uid) else {
            page.say(Role::Error, &format!("node {} is gone", node.name));
            return;
        };
        let inferred = data.boards.get(&node.name).is_some_and(|facts| facts.board.is_inferred);
        let (said, role) = match inferred {
            true => ("  INFERRED from the API", Role::Busy),
            false => ("", Role::Text),
        };
        let mut pieces = node_pieces(row, context);
        pieces.push((role, said.to_owned()));
        let pieces: Vec<_> = pieces.iter().map(|(role, text)| (*role, text.as_str())).collect();
        page.pieces(&pieces);
    });
}

fn node_pieces(node: &Node, context: Context<'_>) -> Vec<(Role, String)> {
    let drivers = nodes::drivers_text(node, context);
    let drivers = if drivers.is_empty() { "none".to_owned() } else { drivers };
    vec![
        (Role::Title, format!(" {}  ", node.meta.key.name)),
        (nodes::sign(node).role(), nodes::state_text(node)),
        (Role::Text, format!("   attached {}", nodes::attached_text(node, context, " of "))),
        (Role::Text, format!("   in use {}", node.volumes_in_use.len())),
        (Role::Text, format!("   drivers {drivers}")),
    ]
}

/// What is said of the selected row, in so many lines.
pub fn pane(page: &mut Page<'_>, facts: &NodeFacts, row: &BoardRow, now: Timestamp, lines: usize) {
    if let Some(error) = &row.last_error {
        let cut = text::wrap(error, page.width().saturating_sub(2));
        let more = cut.len() > ERROR_LINES;
        for (at, line) in cut.iter().take(ERROR_LINES).enumerate() {
            let last = more && at + 1 == ERROR_LINES;
            let end = if last { page.glyphs().ellipsis() } else { "" };
            page.pieces(&[(board::sign(row).role(), &format!(" {line}{end}"))]);
        }
    }
    if let Some(remedy) = remedy::of(row) {
        page.pieces(&[(Role::Dim, " do  "), (Role::Text, remedy)]);
    }
    let gets = gets(row);
    let used = page.lines_so_far() + gets.len().min(2);
    let room = lines.saturating_sub(used);
    let commands: Vec<_> = facts.commands_of(&row.unique_name).collect();
    let upcoming = row.upcoming.len().min(UPCOMING).min(room);
    let ran = room - upcoming;
    for record in commands.iter().skip(commands.len().saturating_sub(ran)) {
        command(page, record, now);
    }
    self::upcoming(page, row, upcoming);
    if commands.is_empty() && row.upcoming.is_empty() && room > 0 {
        let why = match facts.board.is_inferred {
            true => "what the kubelet ran cannot be seen from here; its log on the node tells",
            false => "no command was needed for it yet",
        };
        page.say(Role::Dim, why);
    }
    for (who, what) in gets.iter().take(2) {
        let room = page.width().saturating_sub(text::width(who) + 24);
        page.pieces(&[
            (Role::Dim, &format!(" {who} gets  ")),
            (Role::Text, &format!("docker run -v {}", text::short_path(what, room))),
        ]);
    }
}

/// The first commands that are to run: one next, the others then.
fn upcoming(page: &mut Page<'_>, row: &BoardRow, lines: usize) {
    let room = page.width().saturating_sub(ENDING + 4);
    for (at, argv) in row.upcoming.iter().take(lines).enumerate() {
        let line = cut_to(argv.join(" "), argv, room, page.glyphs());
        let pad = room.saturating_sub(text::width(&line));
        let when = if at == 0 { "next" } else { "then" };
        page.pieces(&[(Role::Dim, &format!("   {line}{:pad$} {when}", ""))]);
    }
}

/// Each container with the mount it gets: `web-0`, `/host/path:/data:ro`.
fn gets(row: &BoardRow) -> Vec<(String, String)> {
    let with = row.pods.iter().filter(|pod| !pod.host_path.is_empty());
    with.flat_map(|pod| {
        pod.container_paths.iter().map(|(_, path)| (pod.pod.name.to_string(), bind(pod, path)))
    })
    .collect()
}

/// As a container engine takes it: `host:container`, `:ro` if it is.
fn bind(pod: &BoardPod, path: &str) -> String {
    let access = if pod.read_only { ":ro" } else { "" };
    format!("{}:{path}{access}", pod.host_path)
}

/// One line: the command, cut short, and how it ended.
fn command(page: &mut Page<'_>, record: &CommandRecord, now: Timestamp) {
    let room = page.width().saturating_sub(ENDING + 4);
    let (role, ending) = ending(record, now);
    let line = cut_to(record.line(), &record.argv, room, page.glyphs());
    let pad = room.saturating_sub(text::width(&line));
    page.pieces(&[
        (Role::Dim, " $ "),
        (Role::Text, &format!("{line}{:pad$} ", "")),
        (role, &ending),
    ]);
}

/// A command with its paths cut until it fits, if that helps.
fn cut_to(full: String, argv: &[String], cells: usize, glyphs: Glyphs) -> String {
    if text::width(&full) <= cells {
        return full;
    }
    let paths = argv.iter().filter(|word| word.contains('/')).count().max(1);
    let others: usize =
        argv.iter().filter(|word| !word.contains('/')).map(|word| text::width(word) + 1).sum();
    let each = cells.saturating_sub(others + paths) / paths;
    let words = argv.iter().map(|word| match word.contains('/') {
        // Of each path something is seen, however long its last name is.
        true => text::fit(&text::short_path(word, each), each, glyphs).into_owned(),
        false => word.clone(),
    });
    let line = words.collect::<Vec<_>>().join(" ");
    text::fit(&line, cells, glyphs).into_owned()
}

/// `exit 2    0.02s`, `running   0.80s`.
fn ending(record: &CommandRecord, now: Timestamp) -> (Role, String) {
    let (role, word, took) = match &record.ended {
        None => (Role::Busy, "running".to_owned(), between(record.started, now)),
        Some(ended) => {
            let took = jiff::SignedDuration::try_from(ended.duration).unwrap_or_default();
            let (role, word) = exit_word(ended.exit);
            (role, word, duration(took))
        }
    };
    (role, format!("{word:<9} {took:>6}"))
}

fn exit_word(exit: Exit) -> (Role, String) {
    match exit {
        Exit::Code(0) => (Role::Ok, "exit 0".into()),
        Exit::Code(code) => (Role::Busy, format!("exit {code}")),
        Exit::Missing => (Role::Fault, "no such".into()),
        Exit::Signal(signal) => (Role::Fault, format!("signal {signal}")),
        Exit::NotRun => (Role::Dim, "not run".into()),
        Exit::GivenUp => (Role::Fault, "given up".into()),
    }
}

/// The page about one volume of a node.
pub fn write(page: &mut Page<'_>, node: &Target, volume: &str, data: &Data) {
    let facts = data.boards.get(&node.name);
    let Some((facts, row)) = facts.and_then(|facts| Some((facts, facts.row(volume)?))) else {
        page.say(Role::Error, &format!("{volume} is no longer on {}", node.name));
        return;
    };
    let now = data.instant();
    let inferred = if facts.board.is_inferred { "   INFERRED from the API" } else { "" };
    page.pieces(&[
        (Role::Title, &format!(" {} on {}   ", row.name, node.name)),
        (board::sign(row).role(), &format!("{} {}", row.stage, board::stage_age(row, now))),
        (Role::Busy, inferred),
    ]);
    about(page, row, now);
    page.rule();
    for pod in &row.pods {
        one_pod(page, pod);
    }
    if row.pods.is_empty() {
        page.say(Role::Dim, "no pod wants it, and none has it");
    }
    page.rule();
    stages(page, row, now);
    page.rule();
    commands(page, facts, row, now);
    data.read(|context| claim_hint(page, row, context));
}

fn about(page: &mut Page<'_>, row: &BoardRow, now: Timestamp) {
    page.fact("unique name", &row.unique_name);
    page.fact("kind", if row.kind.is_empty() { "?" } else { &row.kind });
    if let Some(claim) = &row.claim {
        page.fact("claim", &claim.to_string());
    }
    page.fact("on the node", row.on_node.word());
    if !row.device_path.is_empty() {
        page.fact("device", &row.device_path);
    }
    if !row.stage_path.is_empty() {
        page.fact("staged at", &row.stage_path);
    }
    if row.attempts > 1 || row.last_error.is_some() {
        let next = match board::next_retry(row, now) {
            next if next.is_empty() => String::new(),
            next if next == "now" => "; the next is due".to_owned(),
            next => format!("; the next in {next}"),
        };
        page.fact("attempts", &format!("{}{next}", row.attempts));
    }
    if let Some(error) = &row.last_error {
        match board::sign(row) {
            Sign::Fault => page.signed(Sign::Fault, "failed", 12, error),
            sign => page.signed(sign, "waits", 12, error),
        }
    }
    if let Some(remedy) = remedy::of(row) {
        page.signed(Sign::NotYet, "do", 12, remedy);
    }
}

fn one_pod(page: &mut Page<'_>, pod: &BoardPod) {
    let (sign, word) = match pod.wanted {
        true => (Sign::Ok, "wants it"),
        false => (Sign::Busy, "is to lose it"),
    };
    page.signed(sign, &format!("pod {}", pod.pod), 30, word);
    if pod.host_path.is_empty() {
        return;
    }
    page.fact("host path", &pod.host_path);
    for (container, path) in &pod.container_paths {
        page.fact(&format!("in {container}"), &format!("docker run -v {}", bind(pod, path)));
    }
}

fn stages(page: &mut Page<'_>, row: &BoardRow, now: Timestamp) {
    page.heading("STAGES");
    for span in &row.spans {
        let (sign, took) = match span.ended {
            Some(ended) => (Sign::Ok, between(span.began, ended)),
            None => (board::sign(row), format!("{} so far", between(span.began, now))),
        };
        page.signed(sign, span.stage.word(), 12, &took);
    }
}

fn commands(page: &mut Page<'_>, facts: &NodeFacts, row: &BoardRow, now: Timestamp) {
    page.heading("COMMANDS");
    let mut any = false;
    for record in facts.commands_of(&row.unique_name) {
        any = true;
        let (role, ending) = ending(record, now);
        page.columns(&[(role, ending, ENDING)], Role::Text, &record.line());
    }
    for (at, argv) in row.upcoming.iter().enumerate() {
        let when = if at == 0 { "next" } else { "then" };
        page.columns(&[(Role::Dim, when.to_owned(), ENDING)], Role::Dim, &argv.join(" "));
    }
    if !any && row.upcoming.is_empty() {
        page.say(Role::Dim, "none seen");
    }
}

fn claim_hint(page: &mut Page<'_>, row: &BoardRow, context: Context<'_>) {
    let claim = row.claim.as_ref().and_then(|claim| context.tables.claims.get(claim));
    if claim.is_some() {
        page.rule();
        page.say(Role::Dim, "Enter shows the journey of its claim");
    }
    let volume = context.tables.volumes.get(&Key::cluster(row.name.clone()));
    if let Some(volume) = volume {
        page.fact("volume", &crate::ui::lists::volumes::source_text(volume));
    }
}

/// The page of what the commands of one volume printed.
pub fn output(page: &mut Page<'_>, node: &Target, volume: &str, data: &Data) {
    let Some(facts) = data.boards.get(&node.name) else {
        page.say(Role::Error, &format!("nothing is known of {}", node.name));
        return;
    };
    let now = data.instant();
    // The newest first: its output is what one came for.
    let records: Vec<_> = facts.commands_of(volume).rev().collect();
    if records.is_empty() {
        page.say(Role::Dim, "no command of this volume was seen");
    }
    page.each(&records, |page, record| {
        let (role, ending) = ending(record, now);
        page.columns(&[(role, ending, ENDING)], Role::Title, &format!("$ {}", record.line()));
        match record.output() {
            "" if record.ended.is_none() => page.indented(3, Role::Dim, "running"),
            "" => page.indented(3, Role::Dim, "printed nothing"),
            output => output.lines().for_each(|line| page.raw(Role::Text, &format!("   {line}"))),
        }
        page.blank();
    });
}
