//! Calls to CSI drivers: each with its request and reply, Secrets stripped.

use serde_json::Value;

use crate::plugins::csi::calls::Call;
use crate::ui::age::{clock_time, duration};
use crate::ui::data::Data;
use crate::ui::sign::Sign;
use crate::ui::target::Target;
use crate::ui::theme::Role;
use crate::ui::views::page::Page;

/// Cells of the time a call began.
const TIME: usize = 10;
/// Calls that a journey lists.
const LISTED_MAX: usize = 12;

pub fn write(page: &mut Page<'_>, target: &Target, data: &Data) {
    page.say(Role::Title, &format!("calls for {} {}", target.kind.singular, target.key()));
    let calls = &data.calls.calls;
    if calls.is_empty() {
        page.say(Role::Dim, none(data));
        return;
    }
    page.each(calls, |page, call| {
        line(page, call, data);
        json(page, "request", &call.request);
        // What a failed call said stands in its line.
        json(page, "reply", &call.reply);
    });
}

/// Why there is nothing to show.
fn none(data: &Data) -> &'static str {
    match data.session.live {
        true => "drivers of this cluster are called by others: no call is seen from here",
        false => "no driver was called for it, as far as calls are kept",
    }
}

/// The calls in a volume's life, in a line each; nothing if there were none.
pub fn of_journey(page: &mut Page<'_>, data: &Data) {
    let calls = &data.calls.calls;
    if calls.is_empty() {
        return;
    }
    page.pieces(&[
        (Role::Heading, " calls to its driver"),
        (Role::Dim, "   o shows request and reply of each"),
    ]);
    let earlier = calls.len().saturating_sub(LISTED_MAX);
    if earlier > 0 {
        page.say(Role::Dim, &format!("{earlier} earlier ones"));
    }
    calls[earlier..].iter().for_each(|call| line(page, call, data));
}

/// A call in a line: when, what, where, how it ended, how long it took.
fn line(page: &mut Page<'_>, call: &Call, data: &Data) {
    let sign = match call.ended {
        None => Sign::Busy,
        Some(_) if call.failed() => Sign::Fault,
        Some(_) => Sign::Ok,
    };
    let place = match &*call.node {
        "" => String::new(),
        node => format!(" on {node}"),
    };
    let code = if call.ended.is_some() { call.code } else { "in flight" };
    let said = call.reply.as_str().filter(|_| call.failed()).unwrap_or_default();
    let said = if said.is_empty() { String::new() } else { format!(": {said}") };
    let now = data.instant().duration_since(call.started);
    let took = duration(call.took().unwrap_or(now));
    let at = clock_time(call.started.as_second());
    page.timed(sign, &at, TIME, &format!("{}{place}  {code}{said}", call.rpc), &took);
}

/// A message as YAML, which reads best in few columns.
fn json(page: &mut Page<'_>, name: &str, message: &Value) {
    if message.as_object().is_none_or(serde_json::Map::is_empty) {
        return;
    }
    page.indented(4, Role::Dim, name);
    let text = serde_yaml::to_string(message).unwrap_or_default();
    for line in text.lines() {
        page.raw(Role::Text, &format!("      {line}"));
    }
}
