//! Services: a name for a set of pods. No traffic flows here, so an address is
//! only ever `None` or what the object brings along.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::json::{child, fill, integer, items_mut, list, put, restore, text};
use super::table::{AGE, NAME, age, column, name, or, plain_selector, wide};
use crate::cluster::embedded::kind::{Column, SelectableField, ServedKind, Traits};
use crate::cluster::embedded::status::FieldErrors;
use crate::cluster::embedded::validation::{duplicate, metadata, names};
use crate::model::kind;

/// Services as they are served.
pub static ROW: ServedKind = ServedKind {
    names: kind::SERVICE,
    categories: &["all"],
    subresources: &[super::STATUS],
    traits: Traits { create_on_update: true, delete_returns_object: true, ..super::PLAIN },
    columns: COLUMNS,
    cells,
    fields: &[
        SelectableField {
            label: "spec.clusterIP",
            value: |object| text(object, "/spec/clusterIP").to_owned(),
        },
        SelectableField {
            label: "spec.type",
            value: |object| text(object, "/spec/type").to_owned(),
        },
    ],
    default,
    prepare,
    validate,
    validate_update,
    ..super::BASE
};

const COLUMNS: &[Column] = &[
    NAME,
    column("Type", "How it can be reached."),
    column("Cluster-IP", "Its address in the cluster, None if it has none."),
    column("External-IP", "Its addresses outside the cluster."),
    column("Port(s)", "Its ports and their protocols."),
    AGE,
    wide("Selector", "The labels of the pods behind it."),
];

fn cells(object: &Value, now: Timestamp) -> Vec<Value> {
    vec![
        name(object),
        text(object, "/spec/type").into(),
        or(text(object, "/spec/clusterIP"), "<none>").into(),
        external_address(object).into(),
        ports(object).into(),
        age(object, now),
        plain_selector(object, "/spec/selector").into(),
    ]
}

fn external_address(service: &Value) -> String {
    let mut addresses: Vec<&str> = Vec::new();
    let kind = text(service, "/spec/type");
    if kind == "ExternalName" {
        return text(service, "/spec/externalName").to_owned();
    }
    if kind == "LoadBalancer" {
        for point in list(service, "/status/loadBalancer/ingress") {
            addresses.push(or(text(point, "/ip"), text(point, "/hostname")));
        }
    }
    addresses.extend(list(service, "/spec/externalIPs").iter().filter_map(Value::as_str));
    let none = if kind == "LoadBalancer" { "<pending>" } else { "<none>" };
    or(&addresses.join(","), none).to_owned()
}

fn ports(service: &Value) -> String {
    let shown = list(service, "/spec/ports").iter().map(|port| {
        let (number, protocol) = (integer(port, "/port"), text(port, "/protocol"));
        match integer(port, "/nodePort") {
            0 => format!("{number}/{protocol}"),
            node_port => format!("{number}:{node_port}/{protocol}"),
        }
    });
    or(&shown.collect::<Vec<_>>().join(","), "<none>").to_owned()
}

fn default(object: &mut Value) {
    let Some(spec) = child(object, "spec") else { return };
    fill(spec, "sessionAffinity", "None");
    fill(spec, "type", "ClusterIP");
    for port in items_mut(spec, "/ports") {
        fill(port, "protocol", "TCP");
        if integer(port, "/targetPort") == 0 && text(port, "/targetPort").is_empty() {
            let number = port.get("port").cloned();
            put(port, "targetPort", number);
        }
    }
    if text(spec, "/type") == "ExternalName" {
        return;
    }
    let address = text(spec, "/clusterIP").to_owned();
    if !address.is_empty() && list(spec, "/clusterIPs").is_empty() {
        spec["clusterIPs"] = json!([address]);
    }
    fill(spec, "ipFamilies", json!(["IPv4"]));
    fill(spec, "ipFamilyPolicy", "SingleStack");
    fill(spec, "internalTrafficPolicy", "Cluster");
}

/// An update that does not speak of addresses keeps them.
fn prepare(object: &mut Value, old: Option<&Value>, subresource: Option<&str>, now: Timestamp) {
    super::prepare_with_status(object, old, subresource, now);
    let Some(old_spec) = old.and_then(|old| old.get("spec")) else { return };
    if let Some(spec) = child(object, "spec")
        && text(spec, "/type") != "ExternalName"
        && text(spec, "/clusterIP").is_empty()
    {
        restore(spec, old_spec, "clusterIP");
        restore(spec, old_spec, "clusterIPs");
    }
}

fn validate(object: &Value, errors: &mut FieldErrors) {
    metadata::validate(object, kind::SERVICE, names::letter_label, errors);
    let kind = text(object, "/spec/type");
    let headless = text(object, "/spec/clusterIP") == "None";
    let ports = list(object, "/spec/ports");
    if ports.is_empty() && !headless && kind != "ExternalName" {
        errors.required("spec.ports", "");
    }
    if kind == "ExternalName" && text(object, "/spec/externalName").is_empty() {
        errors.required("spec.externalName", "");
    }
    let mut seen = Vec::new();
    for (index, port) in ports.iter().enumerate() {
        let path = format!("spec.ports[{index}]");
        let name = text(port, "/name");
        if name.is_empty() && ports.len() > 1 {
            errors.required(format!("{path}.name"), "");
        } else if !name.is_empty() {
            for wrong in names::label(name) {
                errors.invalid(format!("{path}.name"), name, wrong);
            }
            if seen.contains(&name) {
                duplicate(format!("{path}.name"), name, errors);
            }
            seen.push(name);
        }
        let number = integer(port, "/port");
        if !(1..=65535).contains(&number) {
            let detail = "must be between 1 and 65535, inclusive";
            errors.invalid(format!("{path}.port"), number, detail);
        }
        let protocol = text(port, "/protocol");
        if !matches!(protocol, "SCTP" | "TCP" | "UDP") {
            let supported = &["SCTP", "TCP", "UDP"];
            errors.not_supported(format!("{path}.protocol"), protocol, supported);
        }
    }
    metadata::labels(object, "/spec/selector", "spec.selector", errors);
    if !matches!(kind, "ClusterIP" | "ExternalName" | "LoadBalancer" | "NodePort") {
        let supported = &["ClusterIP", "ExternalName", "LoadBalancer", "NodePort"];
        errors.not_supported("spec.type", kind, supported);
    }
}

fn validate_update(
    object: &Value,
    old: &Value,
    subresource: Option<&str>,
    errors: &mut FieldErrors,
) {
    metadata::validate_update(object, old, errors);
    if subresource.is_some() {
        return;
    }
    let address = |service: &Value| text(service, "/spec/clusterIP").to_owned();
    if !address(old).is_empty() && address(object) != address(old) {
        errors.invalid("spec.clusterIPs[0]", json!([address(object)]), "may not change once set");
    }
    validate(object, errors);
}

#[cfg(test)]
mod tests {
    use super::super::testing::*;
    use super::*;

    fn base() -> Value {
        json!({
            "metadata": {"name": "s", "namespace": "n", "resourceVersion": "1"},
            "spec": {"clusterIP": "None", "ports": [{"port": 80}]},
        })
    }

    #[test]
    fn a_new_service_is_refused_for_what_is_wrong_with_it() {
        check_refusals(
            &ROW,
            &base(),
            &[
                (json!({}), &[]),
                (json!({"spec": {"ports": null}}), &[]),
                (
                    json!({"spec": {"clusterIP": null, "ports": null}}),
                    &["spec.ports: Required value"],
                ),
                (
                    json!({"spec": {"ports": [{"port": 0}]}}),
                    &[
                        "spec.ports[0].port: Invalid value: 0: must be between 1 and 65535, inclusive",
                    ],
                ),
                (
                    json!({"spec": {"ports": [{"port": 1}, {"port": 2, "name": "b"}]}}),
                    &["spec.ports[0].name: Required value"],
                ),
                (
                    json!({"spec": {"type": "Tunnel"}}),
                    &[
                        "spec.type: Unsupported value: \"Tunnel\": supported values: \"ClusterIP\", \
                 \"ExternalName\", \"LoadBalancer\", \"NodePort\"",
                    ],
                ),
            ],
        );
    }

    #[test]
    fn an_address_stays_unless_an_update_speaks_of_it() {
        let stored = taken(&ROW, &base(), &Objects(Vec::new())).expect("a service");
        check_changes(
            &ROW,
            &stored,
            &[
                (json!({"spec": {"clusterIP": null, "clusterIPs": null}}), &[]),
                (
                    json!({"spec": {"clusterIP": "10.0.0.9", "clusterIPs": ["10.0.0.9"]}}),
                    &["spec.clusterIPs[0]: Invalid value: [\"10.0.0.9\"]: may not change once set"],
                ),
            ],
        );
    }
}
