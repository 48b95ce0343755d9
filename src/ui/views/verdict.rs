//! What is said of where a pod may go, as a whole.

use crate::ui::data::Data;
use crate::ui::state::State;
use crate::ui::target::Target;
use crate::ui::theme::Role;
use crate::ui::views::page::Page;

/// Two lines: the sum of the verdicts, and what the pod's condition says in
/// Kubernetes' words.
pub fn head(page: &mut Page<'_>, pod: &Target, data: &Data) {
    let short = data.verdicts.get(&pod.uid).map(|verdict| verdict.short()).unwrap_or_default();
    page.pieces(&[(Role::Title, &format!(" {short}"))]);
    data.read(|context| {
        let said = match context.tables.pods.by_uid(&pod.uid) {
            None => "it is gone".to_owned(),
            Some(row) if row.is_scheduled() => {
                format!("it is on {}; below is what each node would say now", row.node)
            }
            Some(row) => match &row.unscheduled {
                Some(why) => why.message.to_string(),
                None => "the scheduler has not said anything of it yet".to_owned(),
            },
        };
        page.pieces(&[(Role::Dim, &format!(" {said}"))]);
    });
}

/// Why there is no node in the table.
pub fn no_node(state: &State, data: &Data) -> String {
    let about = state.top().about.as_ref();
    match about.and_then(|pod| data.verdicts.get(&pod.uid)).map(|verdict| &verdict.whole) {
        Some(Some(whole)) => format!("no node is asked before this is settled: {whole}"),
        Some(None) => "there are no nodes".into(),
        None => "the pod is gone".into(),
    }
}
