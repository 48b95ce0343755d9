//! A CSI driver: where it is, what it can do, how its calls fare. And a class:
//! how its provisioner fares.

use std::collections::BTreeMap;

use crate::model::class::StorageClass;
use crate::model::csi::{CsiNode, NodeDriver};
use crate::model::event::Severity;
use crate::model::quantity::Quantity;
use crate::model::selector::{LabelSelector, Requirement};
use crate::plugins::csi::calls::RpcFigures;
use crate::plugins::csi::capability::ability_names;
use crate::ui::age::{age, clock_time, duration};
use crate::ui::data::Data;
use crate::ui::lists::drivers::Driver;
use crate::ui::lists::{Context, classes};
use crate::ui::sign::Sign;
use crate::ui::theme::Role;
use crate::ui::views::page::Page;

/// Cells of the longest RPC's name.
const RPC: usize = 26;
/// Cells of a number.
const NUMBER: usize = 7;
/// Failures told of a class.
const FAILURES_MAX: usize = 3;

/// What its services can do, in the specification's words.
const SERVICES: [(&str, &str); 3] = [
    ("GetPluginCapabilities", "plugin"),
    ("ControllerGetCapabilities", "controller"),
    ("NodeGetCapabilities", "node"),
];

/// What Kubernetes takes where nothing else is said (upstream: the defaults of
/// `CSIDriverSpec`).
const FS_GROUP_POLICY: &str = "ReadWriteOnceWithFSType";
const LIFECYCLE_MODE: &str = "Persistent";

pub fn of_driver(page: &mut Page<'_>, driver: Driver<'_>, data: &Data, context: Context<'_>) {
    let (name, object) = (driver.name, driver.object);
    if object.is_none() {
        page.fact("object", "there is no CSIDriver of its name, so Kubernetes takes the defaults");
    }
    registered(page, name, context);
    let attaches = match (driver.attaches(), object) {
        (false, _) => "no",
        (true, Some(_)) => "yes",
        (true, None) => "yes: pods wait until its attacher says attached, also if it needs none",
    };
    page.fact("attaches", attaches);
    let modes = object.map(|object| object.lifecycle_modes.join(" "));
    page.fact("modes", modes.as_deref().unwrap_or(LIFECYCLE_MODE));
    let pods = object.is_some_and(|object| object.pod_info_on_mount);
    page.fact("pod info", if pods { "told on mount" } else { "not told on mount" });
    let policy = object.map(|object| &*object.fs_group_policy).filter(|policy| !policy.is_empty());
    page.fact("fsGroup", policy.unwrap_or(FS_GROUP_POLICY));
    let published = driver.tells_capacity();
    page.fact(
        "capacity",
        if published { "published" } else { "not looked at before pods are placed" },
    );
    for (rpc, service) in SERVICES {
        let said = data.calls.abilities.iter().find(|(own, of, _)| **own == *name && *of == rpc);
        let text = match said {
            Some((_, _, reply)) => ability_names(rpc, reply).join(", "),
            None => "not asked yet".to_owned(),
        };
        page.fact(service, if text.is_empty() { "nothing" } else { &text });
    }
    page.rule();
    figures(page, name, data);
}

/// On which nodes, with the driver's own names and limits.
fn registered(page: &mut Page<'_>, name: &str, context: Context<'_>) {
    let tables = context.tables;
    let own = |node| Some((node, registration(node, name)?));
    let nodes: Vec<(&CsiNode, &NodeDriver)> =
        tables.csi_nodes_with(name).filter_map(|node| own(&**node)).collect();
    page.fact("registered", &format!("on {} of {} nodes", nodes.len(), tables.nodes.len()));
    page.each(&nodes, |page, (node, own)| {
        let limit = own.attach_limit.map(|limit| format!(", at most {limit} volumes"));
        let place = match own.topology_keys.join(" ") {
            keys if keys.is_empty() => String::new(),
            keys => format!(", by {keys}"),
        };
        let limit = limit.unwrap_or_default();
        page.fact("", &format!("{} as {}{limit}{place}", node.meta.key.name, own.node_id));
    });
}

fn registration<'a>(node: &'a CsiNode, driver: &str) -> Option<&'a NodeDriver> {
    node.drivers.iter().find(|own| &*own.name == driver)
}

/// How the calls to a driver fare, kind by kind.
fn figures(page: &mut Page<'_>, name: &str, data: &Data) {
    let own: Vec<&RpcFigures> =
        data.calls.figures.iter().filter(|own| *own.driver == *name).collect();
    if own.is_empty() {
        page.say(
            Role::Dim,
            match data.session.live {
                true => "its calls are made by others: none is seen from here",
                false => "it was not called yet",
            },
        );
        return;
    }
    page.pieces(&[(
        Role::Heading,
        &format!(
            "   {:RPC$}{:>NUMBER$}{:>NUMBER$}{:>NUMBER$}{:>NUMBER$}  FAILED WITH",
            "CALL", "DONE", "FLIGHT", "MEAN", "MAX"
        ),
    )]);
    for own in own {
        figure(page, own);
    }
}

fn figure(page: &mut Page<'_>, own: &RpcFigures) {
    let sign = match (own.in_flight, own.failures.is_empty()) {
        (_, false) => Sign::Fault,
        (0, true) => Sign::Ok,
        (_, true) => Sign::Busy,
    };
    let (mean, max) = match own.ended {
        0 => ("-".to_owned(), "-".to_owned()),
        _ => (duration(own.mean()), duration(own.slowest)),
    };
    let failures = own.failures.iter().map(|(code, count)| format!("{code} {count}"));
    let failures: Vec<String> = failures.collect();
    page.pieces(&[
        (sign.role(), &format!(" {} ", sign.mark())),
        (
            Role::Text,
            &format!(
                "{:RPC$}{:>NUMBER$}{:>NUMBER$}{mean:>NUMBER$}{max:>NUMBER$}",
                own.rpc, own.ended, own.in_flight
            ),
        ),
        (Role::Fault, &format!("  {}", failures.join(", "))),
    ]);
    if let Some((at, code, said)) = &own.last_failure {
        let at = clock_time(at.as_second());
        page.indented(5, Role::Dim, &format!("last at {at}: {code}: {said}"));
    }
}

/// How the provisioner of a class fares.
pub fn of_provisioner(
    page: &mut Page<'_>,
    class: &StorageClass,
    data: &Data,
    context: Context<'_>,
) {
    page.rule();
    page.heading("its provisioner");
    page.fact("runs", &classes::health(class, context).1);
    let driver = Driver::named(&class.provisioner, context.tables);
    if driver.object.is_some() || context.tables.csi_nodes_count(driver.name) > 0 {
        registered(page, driver.name, context);
    }
    capacities(page, class, context);
    failures(page, class, data, context);
}

/// What is left for the class, place by place.
fn capacities(page: &mut Page<'_>, class: &StorageClass, context: Context<'_>) {
    let own = context.tables.csi_capacities.iter();
    for capacity in own.filter(|own| own.class == class.meta.key.name) {
        let size = |size: Option<Quantity>| {
            size.map_or_else(|| "unknown".to_owned(), |size| size.to_string())
        };
        let largest = match capacity.largest_volume {
            Some(largest) => format!(", the largest volume {largest}"),
            None => String::new(),
        };
        let place = match &capacity.nodes {
            None => "no node".to_owned(),
            Some(nodes) if nodes.requirements.is_empty() => "all nodes".to_owned(),
            Some(nodes) => segment(nodes),
        };
        page.fact("capacity", &format!("{place}: {}{largest}", size(capacity.capacity)));
    }
}

/// A segment of topology: `zone=a`.
fn segment(nodes: &LabelSelector) -> String {
    let parts = nodes.requirements.iter();
    let part = |own: &Requirement| format!("{}={}", own.key, own.values.join("|"));
    parts.map(part).collect::<Vec<_>>().join(" ")
}

/// The newest failures: of calls that make or delete volumes, and what was
/// told of claims of the class.
fn failures(page: &mut Page<'_>, class: &StorageClass, data: &Data, context: Context<'_>) {
    for rpc in ["CreateVolume", "DeleteVolume", "ControllerExpandVolume"] {
        let own = data
            .calls
            .figures
            .iter()
            .find(|own| *own.driver == *class.provisioner && own.rpc == rpc);
        if let Some((at, code, said)) = own.and_then(|own| own.last_failure.as_ref()) {
            let at = clock_time(at.as_second());
            page.fact("last error", &format!("{rpc} at {at}: {code}: {said}"));
        }
    }
    let tables = context.tables;
    let mut told: BTreeMap<(i64, &str), String> = BTreeMap::new();
    let claims = tables.claims.iter().filter(|own| own.effective_class() == &*class.meta.key.name);
    for claim in claims.filter(|claim| claim.volume_name.is_empty()) {
        for event in tables.events_about(&claim.meta.uid) {
            if event.severity == Severity::Warning && &*event.reason == "ProvisioningFailed" {
                let ago = age(event.last_seen, context.now);
                let text = format!("{ago} ago of claim {}: {}", claim.meta.key, event.message);
                told.insert((event.last_seen, &claim.meta.uid), text);
            }
        }
    }
    for text in told.values().rev().take(FAILURES_MAX) {
        page.fact("failed", text);
    }
}
