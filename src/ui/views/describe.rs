//! What is known about an object, in words, and its events.

use std::sync::Arc;

use crate::diagnosis::stateful_set::why_no_names;
use crate::mirror::Tables;
use crate::model::claim::Claim;
use crate::model::class::StorageClass;
use crate::model::event::{Event, Severity};
use crate::model::node::Node;
use crate::model::object::Meta;
use crate::model::pod::Pod;
use crate::model::service::pod_dns_name;
use crate::model::volume::Volume;
use crate::ui::age::age;
use crate::ui::data::Data;
use crate::ui::lists::drivers::Driver;
use crate::ui::lists::{Context, claims, classes, nodes, pods, volumes};
use crate::ui::sign::Sign;
use crate::ui::target::Target;
use crate::ui::theme::Role;
use crate::ui::views::driver;
use crate::ui::views::page::Page;

pub fn write(page: &mut Page<'_>, target: &Target, data: &Data) {
    data.read(|context| {
        let tables = context.tables;
        page.say(Role::Title, &format!("{} {}", target.kind.singular, target.key()));
        let uid = target.uid.as_str();
        if let Some(claim) = tables.claims.by_uid(uid) {
            of_claim(page, claim, context);
        } else if let Some(volume) = tables.volumes.by_uid(uid) {
            of_volume(page, volume, context);
        } else if let Some(class) = tables.classes.by_uid(uid) {
            of_class(page, class, context);
            driver::of_provisioner(page, class, data, context);
        } else if let Some(pod) = tables.pods.by_uid(uid) {
            of_pod(page, pod, context);
        } else if let Some(node) = tables.nodes.by_uid(uid) {
            of_node(page, node, context);
        } else if let Some(attachment) = tables.attachments.by_uid(uid) {
            page.fact("volume", &attachment.volume);
            page.fact("node", &attachment.node);
            page.fact("attacher", &attachment.attacher);
            page.fact("attached", if attachment.attached { "yes" } else { "no" });
            for error in [&attachment.attach_error, &attachment.detach_error].into_iter().flatten()
            {
                page.fact("error", &error.message);
            }
            common(page, &attachment.meta, context);
        } else if !target.has_object() {
            driver::of_driver(page, Driver::named(&target.name, tables), data, context);
            return;
        } else if let Some(object) = tables.csi_drivers.by_uid(uid) {
            let driver = Driver { name: &target.name, object: Some(&**object) };
            driver::of_driver(page, driver, data, context);
            page.rule();
            common(page, &object.meta, context);
        } else if let Some(set) = tables.stateful_sets.by_uid(uid) {
            page.fact("ready", &format!("{} of {}", set.ready_replicas, set.replicas));
            page.fact("claims", &set.template_names(" "));
            common(page, &set.meta, context);
        } else if let Some(row) = tables.deployments.by_uid(uid) {
            page.fact("ready", &format!("{} of {}", row.ready_replicas, row.replicas));
            page.fact("updated", &row.updated_replicas.to_string());
            page.fact("rollout", if row.progress.is_empty() { "(none)" } else { &row.progress });
            common(page, &row.meta, context);
        } else if let Some(set) = tables.replica_sets.by_uid(uid) {
            page.fact("ready", &format!("{} of {}", set.status.ready, set.replicas));
            page.fact("failure", set.failure.as_deref().unwrap_or("(none)"));
            common(page, &set.meta, context);
        } else if let Some(event) = tables.events.by_uid(uid) {
            of_event(page, event, context);
            return;
        } else {
            page.say(Role::Error, "it is gone");
        }
        page.rule();
        events(page, uid, context);
    });
}

fn common(page: &mut Page<'_>, meta: &Meta, context: Context<'_>) {
    page.fact("created", &format!("{} ago", age(meta.created, context.now)));
    if let Some(since) = meta.deleting {
        page.fact("terminating", &format!("for {}", age(since, context.now)));
    }
    if let Some(owner) = &meta.owner {
        page.fact("owner", &format!("{} {}", owner.kind, owner.name));
    }
    let labels: Vec<_> = meta.labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
    if !labels.is_empty() {
        page.fact("labels", &labels.join(" "));
    }
    for (key, value) in meta.annotations.iter() {
        page.fact("annotation", &format!("{key}: {value}"));
    }
    if !meta.finalizers.is_empty() {
        page.fact("finalizers", &meta.finalizers.join(" "));
    }
    page.fact("uid", &meta.uid);
    page.fact("version", &meta.version.to_string());
}

fn of_claim(page: &mut Page<'_>, claim: &Arc<Claim>, context: Context<'_>) {
    page.fact("state", claims::state_word(claim));
    page.fact("why", &context.reasons.of(claim).text);
    page.fact("size", &claims::size_text(claim));
    page.fact("modes", &format!("{} {}", claim.access_modes, claim.mode.name()));
    page.fact("class", claim.class.as_deref().unwrap_or("(none)"));
    page.fact("volume", if claim.volume_name.is_empty() { "(none)" } else { &claim.volume_name });
    for pod in context.tables.pods_using(&claim.meta.key) {
        page.fact("used by", &format!("pod {} {}", pod.meta.key.name, pods::state_word(pod)));
    }
    common(page, &claim.meta, context);
}

fn of_volume(page: &mut Page<'_>, volume: &Volume, context: Context<'_>) {
    page.fact("state", volumes::state_word(volume));
    if let Some(message) = volume.message.as_deref().or(volume.reason.as_deref()) {
        page.fact("message", message);
    }
    let size = volume.capacity.map_or_else(|| "?".into(), |size| size.to_string());
    page.fact("size", &size);
    page.fact("modes", &format!("{} {}", volume.access_modes, volume.mode.name()));
    page.fact("class", if volume.class.is_empty() { "(none)" } else { &volume.class });
    page.fact("reclaim", volume.reclaim_policy.name());
    page.fact("source", &volumes::source_text(volume));
    match &volume.claim_ref {
        None => page.fact("claim", "(none)"),
        Some(by) => {
            let held = context.tables.claims.get(&by.key);
            let note = match held {
                Some(claim) if *claim.meta.uid == *by.uid => "",
                Some(_) if by.uid.is_empty() => " (reserved by name)",
                Some(_) => " (an earlier claim of that name)",
                None => " (which does not exist)",
            };
            page.fact("claim", &format!("{}{note}", by.key));
        }
    }
    for attachment in context.tables.attachments_of(&volume.meta.key.name) {
        let word = if attachment.attached { "attached" } else { "not attached" };
        page.fact("attachment", &format!("{word} on {}", attachment.node));
    }
    common(page, &volume.meta, context);
}

fn of_class(page: &mut Page<'_>, class: &StorageClass, context: Context<'_>) {
    page.fact("provisioner", &class.provisioner);
    page.fact("binds", classes::binding_word(class));
    page.fact("reclaim", &class.reclaim_policy);
    page.fact("expands", if class.expandable { "yes" } else { "no" });
    page.fact("default", if class.is_default() { "yes" } else { "no" });
    let name = &class.meta.key.name;
    let claims = context.tables.claims.iter().filter(|c| c.effective_class() == &**name).count();
    let volumes = context.tables.volumes.iter().filter(|v| v.class == *name).count();
    page.fact("used by", &format!("{claims} claims, {volumes} volumes"));
    common(page, &class.meta, context);
}

fn of_pod(page: &mut Page<'_>, pod: &Pod, context: Context<'_>) {
    page.fact("state", pods::state_word(pod));
    if let Some(reason) = &pod.reason {
        page.fact("reason", reason);
    }
    page.fact("node", if pod.node.is_empty() { "(none yet)" } else { &pod.node });
    if let Some(name) = dns_name(pod, context.tables) {
        page.fact("DNS name", &name);
    }
    for claim in &pod.claims {
        let key =
            crate::model::object::Key::new(pod.meta.key.namespace.clone(), claim.claim.clone());
        let state =
            context.tables.claims.get(&key).map_or("does not exist", |c| claims::state_word(c));
        page.fact("claim", &format!("{} as {}: {state}", claim.claim, claim.volume));
    }
    common(page, &pod.meta, context);
}

/// The name of a pod of a StatefulSet in DNS, or why it has none.
fn dns_name(pod: &Pod, tables: &Tables) -> Option<String> {
    let set = tables.stateful_sets.by_uid(&pod.meta.owner.as_ref()?.uid)?;
    let key = &pod.meta.key;
    let name = pod_dns_name(&key.name, &set.service, &key.namespace);
    Some(match why_no_names(tables, set) {
        None => name,
        Some(why) => format!("none: {name} needs Service {}, and {why}", set.service),
    })
}

fn of_node(page: &mut Page<'_>, node: &Node, context: Context<'_>) {
    page.fact("state", node.ready.name());
    if let Some(since) = node.ready_since {
        page.fact("since", &age(since, context.now));
    }
    page.fact("cordoned", if node.unschedulable { "yes" } else { "no" });
    for taint in &node.taints {
        page.fact("taint", &format!("{}={}:{}", taint.key, taint.value, taint.effect));
    }
    let drivers = nodes::drivers_text(node, context);
    page.fact("drivers", if drivers.is_empty() { "(none)" } else { &drivers });
    let or_none = |names: String| if names.is_empty() { "(none)".to_owned() } else { names };
    page.fact("attached", &or_none(node.attached_names().collect::<Vec<_>>().join(" ")));
    page.fact("in use", &or_none(node.volumes_in_use.join(" ")));
    let local: Vec<_> = nodes::local_volumes(node, context.tables).collect();
    page.each(&local, |page, volume| page.fact("local disk", &nodes::local_text(volume)));
    common(page, &node.meta, context);
}

fn of_event(page: &mut Page<'_>, event: &Event, context: Context<'_>) {
    page.fact("about", &format!("{} {}", event.about.kind, event.about.key));
    page.fact("type", event.severity.name());
    page.fact("reason", &event.reason);
    page.fact("from", &event.source);
    page.fact("seen", &format!("{} times", event.count));
    page.fact("first", &format!("{} ago", age(event.first_seen, context.now)));
    page.fact("last", &format!("{} ago", age(event.last_seen, context.now)));
    page.blank();
    page.say(Role::Text, &event.message);
}

/// The events about an object, newest first. Normal ones are evidence too.
pub fn events(page: &mut Page<'_>, uid: &str, context: Context<'_>) {
    events_under(page, "EVENTS", uid, context);
}

/// The same under a heading of its own.
pub fn events_under(page: &mut Page<'_>, heading: &str, uid: &str, context: Context<'_>) {
    let mut events: Vec<_> = context.tables.events_about(uid).collect();
    if events.is_empty() {
        let none = format!("{heading}  none seen; servers forget them after an hour");
        page.say(Role::Dim, &none);
        return;
    }
    events.sort_by_key(|event| (std::cmp::Reverse(event.last_seen), event.meta.key.clone()));
    page.heading(heading);
    page.each(&events, |page, event| {
        let sign = match event.severity {
            Severity::Warning => Sign::Fault,
            Severity::Normal => Sign::NotYet,
        };
        let times = if event.count > 1 { format!(" x{}", event.count) } else { String::new() };
        let when = format!("{}{times}", age(event.last_seen, context.now));
        page.signed(sign, &when, 9, &format!("{}  {}", event.reason, event.message));
    });
}
