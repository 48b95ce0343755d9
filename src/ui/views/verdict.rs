//! What is said of where a pod may go, as a whole.

use crate::ui::data::Data;
use crate::ui::state::State;
use crate::ui::target::Target;
use crate::ui::theme::Role;
use crate::ui::views::page::Page;

/// The sum of the verdicts, what the pod's condition says in Kubernetes'
/// words, and what a person can do.
pub fn head(page: &mut Page<'_>, pod: &Target, data: &Data) {
    let verdict = data.verdicts.get(&pod.uid);
    let sum = verdict.map(|verdict| match &verdict.stopped {
        Some(stopped) if stopped.by.is_empty() => "it ends before any node is asked".to_owned(),
        Some(stopped) => format!("{} stops it before any node is asked", stopped.by),
        None => verdict.short(),
    });
    page.pieces(&[(Role::Title, &format!(" {}", sum.unwrap_or_default()))]);
    let stopped = verdict.and_then(|verdict| verdict.stopped.as_ref());
    data.read(|context| {
        let said = match context.tables.pods.by_uid(&pod.uid) {
            None => "it is gone".to_owned(),
            Some(row) if row.is_scheduled() => {
                format!("it is on {}; below is what each node would say now", row.node)
            }
            Some(row) => match (&row.unscheduled, stopped) {
                (Some(why), _) => why.message.to_string(),
                (None, Some(stopped)) => stopped.words.clone(),
                (None, None) => "the scheduler has not said anything of it yet".to_owned(),
            },
        };
        page.at_most(2, Role::Dim, "", &said);
    });
    if let Some(step) = data.verdicts.next_step(&pod.uid) {
        page.at_most(2, Role::Text, "next ", step);
    }
}

/// Why there is no row in the table.
pub fn no_row(state: &State, data: &Data) -> String {
    let about = state.top().about.as_ref();
    match about.and_then(|pod| data.verdicts.get(&pod.uid)).map(|verdict| &verdict.stopped) {
        Some(Some(stopped)) => {
            format!("no node is asked before this is settled: {}", stopped.words)
        }
        Some(None) => "there are no nodes".into(),
        None => "the pod is gone".into(),
    }
}
