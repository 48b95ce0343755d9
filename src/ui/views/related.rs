//! The objects around one: what it stands on, and who stands on it.

use crate::mirror::Tables;
use crate::model::claim::Claim;
use crate::model::node::Node;
use crate::model::object::Key;
use crate::model::volume::Volume;
use crate::ui::data::Data;
use crate::ui::lists::{claims, classes, nodes, pods, volumes};
use crate::ui::target::Target;
use crate::ui::theme::Role;
use crate::ui::views::page::Page;

/// Objects shown of each sort.
const SHOWN_MAX: usize = 200;

pub fn write(page: &mut Page<'_>, target: &Target, data: &Data) {
    data.read(|context| {
        let tables = context.tables;
        page.say(Role::Title, &format!("around {}", target.title()));
        page.blank();
        let uid = target.uid.as_str();
        if let Some(claim) = tables.claims.by_uid(uid) {
            users(page, &claim.meta.key, tables, 1);
            this(page, &format!("claim {} {}", claim.meta.key, claims::state_word(claim)), 3);
            below_claim(page, claim, tables);
        } else if let Some(volume) = tables.volumes.by_uid(uid) {
            for claim in tables.claims_of(&volume.meta.key.name).take(SHOWN_MAX) {
                users(page, &claim.meta.key, tables, 1);
                let text = format!("claim {} {}", claim.meta.key, claims::state_word(claim));
                page.indented(3, Role::Text, &text);
            }
            if tables.claims_of(&volume.meta.key.name).next().is_none() {
                page.indented(3, Role::Dim, "no claim names it");
            }
            this(page, &volume_line(volume), 5);
            below_volume(page, volume, tables);
        } else if let Some(class) = tables.classes.by_uid(uid) {
            let name = &*class.meta.key.name;
            let own = tables.claims.iter().filter(|claim| claim.effective_class() == name);
            let own: Vec<_> = own.take(SHOWN_MAX).collect();
            page.each(&own, |page, claim| {
                let text = format!("claim {} {}", claim.meta.key, claims::state_word(claim));
                page.indented(1, Role::Text, &text);
            });
            let own = tables.volumes.iter().filter(|volume| &*volume.class == name);
            let own: Vec<_> = own.take(SHOWN_MAX).collect();
            page.each(&own, |page, volume| page.indented(1, Role::Text, &volume_line(volume)));
            this(page, &format!("class {name}"), 3);
            page.indented(5, Role::Text, &format!("provisioner {}", class.provisioner));
        } else if let Some(pod) = tables.pods.by_uid(uid) {
            if let Some(owner) = &pod.meta.owner {
                page.indented(1, Role::Text, &format!("{} {}", owner.kind, owner.name));
            }
            this(page, &format!("pod {} {}", pod.meta.key, pods::state_word(pod)), 1);
            for used in &pod.claims {
                let key = Key::new(pod.meta.key.namespace.clone(), used.claim.clone());
                match tables.claims.get(&key) {
                    None => page.indented(3, Role::Fault, &format!("claim {key} does not exist")),
                    Some(claim) => {
                        let text = format!("claim {key} {}", claims::state_word(claim));
                        page.indented(3, Role::Text, &text);
                        below_claim(page, claim, tables);
                    }
                }
            }
            let node = if pod.node.is_empty() { "no node yet" } else { &pod.node };
            page.indented(3, Role::Text, &format!("node {node}"));
        } else if let Some(node) = tables.nodes.by_uid(uid) {
            this(page, &format!("node {}", node.meta.key.name), 1);
            on_node(page, node, tables);
        } else {
            page.say(Role::Dim, "nothing is known around it");
        }
    });
}

/// A node's local disks, free or with whom, and its pods that have claims.
fn on_node(page: &mut Page<'_>, node: &Node, tables: &Tables) {
    let local: Vec<_> = nodes::local_volumes(node, tables).take(SHOWN_MAX).collect();
    page.each(&local, |page, volume| {
        page.indented(3, Role::Text, &format!("local disk {}", nodes::local_text(volume)));
        for claim in tables.claims_of(&volume.meta.key.name) {
            users(page, &claim.meta.key, tables, 5);
        }
    });
    if local.is_empty() {
        page.indented(3, Role::Dim, "no local volume names it");
    }
    let own = tables.pods_on(&node.meta.key.name).filter(|pod| !pod.claims.is_empty());
    let own: Vec<_> = own.take(SHOWN_MAX).collect();
    page.each(&own, |page, pod| {
        let text = format!("pod {} {}", pod.meta.key, pods::state_word(pod));
        page.indented(3, Role::Text, &text);
    });
}

fn this(page: &mut Page<'_>, text: &str, indent: usize) {
    page.indented(indent, Role::Title, &format!("> {text}"));
}

fn users(page: &mut Page<'_>, claim: &Key, tables: &Tables, indent: usize) {
    let pods: Vec<_> = tables.pods_using(claim).take(SHOWN_MAX).collect();
    page.each(&pods, |page, pod| {
        let owner = match &pod.meta.owner {
            Some(owner) => format!(" of {} {}", owner.kind, owner.name),
            None => String::new(),
        };
        let on = if pod.node.is_empty() { "no node" } else { &pod.node };
        let text = format!("pod {} {} on {on}{owner}", pod.meta.key.name, pods::state_word(pod));
        page.indented(indent, Role::Text, &text);
    });
    if pods.is_empty() {
        page.indented(indent, Role::Dim, "no pod uses it");
    }
}

fn below_claim(page: &mut Page<'_>, claim: &Claim, tables: &Tables) {
    match tables.volumes.get(&Key::cluster(claim.volume_name.clone())) {
        Some(volume) => {
            page.indented(5, Role::Text, &volume_line(volume));
            below_volume(page, volume, tables);
        }
        None if claim.volume_name.is_empty() => {
            page.indented(5, Role::Dim, "no volume yet");
            class_line(page, claim.effective_class(), tables);
        }
        None => {
            let text = format!("volume {} does not exist", claim.volume_name);
            page.indented(5, Role::Fault, &text);
        }
    }
}

fn below_volume(page: &mut Page<'_>, volume: &Volume, tables: &Tables) {
    class_line(page, &volume.class, tables);
    for attachment in tables.attachments_of(&volume.meta.key.name) {
        let word = if attachment.attached { "attached" } else { "not attached" };
        let text = format!("attachment {} {word} on {}", attachment.meta.key.name, attachment.node);
        page.indented(7, Role::Text, &text);
    }
    page.indented(7, Role::Text, &volumes::source_text(volume));
}

fn class_line(page: &mut Page<'_>, name: &str, tables: &Tables) {
    if name.is_empty() {
        return;
    }
    match tables.classes.get(&Key::cluster(name)) {
        Some(class) => {
            let text = format!(
                "class {name}: {}, binds {}",
                class.provisioner,
                classes::binding_word(class)
            );
            page.indented(7, Role::Text, &text);
        }
        None => page.indented(7, Role::Dim, &format!("class {name}: no such object")),
    }
}

fn volume_line(volume: &Volume) -> String {
    let size = volume.capacity.map_or_else(|| "?".into(), |size| size.to_string());
    format!(
        "volume {} {} {size} {}",
        volume.meta.key.name,
        volumes::state_word(volume),
        volume.reclaim_policy.name()
    )
}
