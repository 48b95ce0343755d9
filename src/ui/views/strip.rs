//! What is said of the row under the cursor, below its table.

use crate::diagnosis;
use crate::mirror::Tables;
use crate::model::node::Node;
use crate::model::pod::Pod;
use crate::ui::calls::CallFacts;
use crate::ui::lists::drivers::Driver;
use crate::ui::lists::{Cell, Context, Listed, classes, nodes, plugins, volumes, workloads};
use crate::ui::state::TableId;
use crate::ui::target::Target;

/// A sentence or two about a row.
pub fn of_row(
    table: TableId,
    target: Option<&Target>,
    listed: &dyn Listed,
    at: usize,
    calls: &CallFacts,
    context: Context<'_>,
) -> String {
    let tables = context.tables;
    let told_itself = [TableId::Events, TableId::Timeline, TableId::Controllers].contains(&table);
    if let Some(target) = target.filter(|_| !told_itself) {
        if let Some(claim) = tables.claims.by_uid(&target.uid) {
            let reason = context.reasons.of(claim).text;
            let users: Vec<_> =
                tables.pods_using(&claim.meta.key).map(|pod| &*pod.meta.key.name).collect();
            let used = match users.as_slice() {
                [] => "",
                _ if reason.contains("used by") => "",
                [pod] => &format!("; used by pod {pod}"),
                [pod, more @ ..] => &format!("; used by pod {pod} and {} more", more.len()),
            };
            return format!("{}: {reason}{used}", target.key());
        }
        if let Some(volume) = tables.volumes.by_uid(&target.uid) {
            let message = volume.message.as_deref().or(volume.reason.as_deref());
            let said = message.map(|message| format!("; {message}")).unwrap_or_default();
            let hint = match volume.phase {
                crate::model::volume::VolumePhase::Released => {
                    "; its claim is gone and its data is kept: b gives it to another claim"
                }
                _ => "",
            };
            return format!("{}: {}{said}{hint}", target.name, volumes::source_text(volume));
        }
        if let Some(node) = tables.nodes.by_uid(&target.uid).filter(|_| table == TableId::Nodes) {
            return of_node(node, context);
        }
    }
    if let Some(target) = target {
        if let Some(class) = tables.classes.by_uid(&target.uid) {
            return format!("{}: {}", class.provisioner, classes::health(class, context).1);
        }
        if let Some(pod) = tables.pods.by_uid(&target.uid).filter(|_| table == TableId::Pods)
            && let Some(words) = of_pod(pod, tables)
        {
            return words;
        }
        if table == TableId::Workloads
            && let Some(words) = workloads::in_the_way(&target.uid, tables)
        {
            return format!("{}: {words}", target.key());
        }
        if table == TableId::Drivers {
            return Driver::named(&target.name, tables).in_words(calls, context);
        }
    }
    let cells = listed.row(context, at).map(|row| row.cells).unwrap_or_default();
    match table {
        // The last column is the one that is cut short.
        TableId::Events | TableId::Timeline => match cells.split_last() {
            Some((last, first)) => format!("{}: {}", joined(first), last.text),
            None => String::new(),
        },
        TableId::Plugins => {
            let field = listed.id_at(at).unwrap_or_default();
            match &*field {
                // Which drivers there are comes first: it may be long.
                "flexVolume" => {
                    format!("{} {}", calls.flex_volume_in_words(), plugins::words(&field))
                }
                _ => plugins::words(&field),
            }
        }
        TableId::Contexts => "Enter opens this cluster".into(),
        TableId::Namespaces => "Enter narrows all lists to this namespace; 0 shows all".into(),
        _ => listed.id_at(at).and_then(|id| listed.told(&id)).unwrap_or_else(|| joined(&cells)),
    }
}

/// What keeps a pod from running, in Kubernetes' words.
fn of_pod(pod: &Pod, tables: &Tables) -> Option<String> {
    let key = &pod.meta.key;
    if let Some(why) = &pod.unscheduled {
        return Some(format!("{key}: {}", why.message));
    }
    let starts = &*pod.phase == "Pending" && pod.is_scheduled();
    let warning = diagnosis::newest_warning(tables, &pod.meta.uid).filter(|_| starts)?;
    Some(format!("{key} on {}: {}: {}", pod.node, warning.reason, warning.message))
}

/// What a node has attached, uses and could give, in words.
fn of_node(node: &Node, context: Context<'_>) -> String {
    let free = nodes::free_local_text(node, context);
    let free = if free.is_empty() { "none".to_owned() } else { format!("{free} free") };
    let drivers = nodes::drivers_text(node, context);
    let drivers = if drivers.is_empty() { "none".to_owned() } else { drivers };
    format!(
        "{}: {}; {} attached, {} in use; local volumes: {free}; drivers: {drivers}",
        node.meta.key.name,
        nodes::state_text(node),
        nodes::attached_text(node, context, " of "),
        node.volumes_in_use.len()
    )
}

fn joined(cells: &[Cell]) -> String {
    cells.iter().map(|cell| &*cell.text).collect::<Vec<_>>().join(" ")
}
