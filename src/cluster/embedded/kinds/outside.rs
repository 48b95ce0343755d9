//! Kinds that no controller here acts on, but that programs from outside ask
//! for before they start: kube-scheduler and kube-controller-manager wait for
//! their lists.
//!
//! They are stored, listed and watched like any other, and checked no further
//! than their type and metadata. They are served where no controllers of ours
//! run ([`crate::cluster::embedded::Options::outside_kinds`]): these would leave
//! such objects behind in a namespace that goes.

use serde_json::Value;

use super::json::{child, fill};
use super::table::{AGE, NAME, age, name};
use super::{STATUS, pod_template};
use crate::cluster::embedded::kind::{ServedKind, Subresource, Traits};
use crate::cluster::embedded::validation::{metadata, names};
use crate::model::kind::Kind;

/// Every such kind, in the order discovery lists them.
pub const ALL: &[&ServedKind] = &[
    &ENDPOINTS,
    &REPLICATION_CONTROLLER,
    &DAEMON_SET,
    &ENDPOINT_SLICE,
    &POD_DISRUPTION_BUDGET,
    &RESOURCE_CLAIM,
    &RESOURCE_CLAIM_TEMPLATE,
    &RESOURCE_SLICE,
    &DEVICE_CLASS,
];

/// A row of the kind that it is given.
macro_rules! row {
    ($kind:expr, $subresources:expr, $default:expr) => {
        ServedKind {
            names: {
                const NAMES: &Kind = &$kind;
                NAMES
            },
            subresources: $subresources,
            traits: Traits { generation: true, ..super::PLAIN },
            columns: &[NAME, AGE],
            cells: |object, now| vec![name(object), age(object, now)],
            default: $default,
            prepare: if $subresources.is_empty() {
                super::BASE.prepare
            } else {
                super::prepare_with_status
            },
            validate: |object, errors| {
                metadata::validate(object, &$kind, names::subdomain, errors);
            },
            validate_update: |object, old, _, errors| {
                metadata::validate_update(object, old, errors);
            },
            ..super::BASE
        }
    };
}

const WITH_STATUS: &[Subresource] = &[STATUS];
const ALONE: &[Subresource] = &[];

const RESOURCE: Kind = Kind {
    group: "resource.k8s.io",
    version: "v1",
    kind: "ResourceClaim",
    plural: "resourceclaims",
    singular: "resourceclaim",
    short: &[],
    namespaced: true,
};

/// Endpoints and EndpointSlices, which follow Services.
static ENDPOINTS: ServedKind = row!(
    Kind {
        group: "",
        kind: "Endpoints",
        plural: "endpoints",
        singular: "endpoints",
        short: &["ep"],
        ..RESOURCE
    },
    ALONE,
    |_| {}
);

static ENDPOINT_SLICE: ServedKind = row!(
    Kind {
        group: "discovery.k8s.io",
        kind: "EndpointSlice",
        plural: "endpointslices",
        singular: "endpointslice",
        ..RESOURCE
    },
    ALONE,
    |_| {}
);

/// DaemonSets, whose pods the controller of nodes asks for.
static DAEMON_SET: ServedKind = row!(
    Kind {
        group: "apps",
        kind: "DaemonSet",
        plural: "daemonsets",
        singular: "daemonset",
        short: &["ds"],
        ..RESOURCE
    },
    WITH_STATUS,
    default_daemon_set
);

/// ReplicationControllers, which the scheduler spreads the pods of.
static REPLICATION_CONTROLLER: ServedKind = row!(
    Kind {
        group: "",
        kind: "ReplicationController",
        plural: "replicationcontrollers",
        singular: "replicationcontroller",
        short: &["rc"],
        ..RESOURCE
    },
    WITH_STATUS,
    default_replication_controller
);

/// PodDisruptionBudgets, which preemption spares.
static POD_DISRUPTION_BUDGET: ServedKind = row!(
    Kind {
        group: "policy",
        kind: "PodDisruptionBudget",
        plural: "poddisruptionbudgets",
        singular: "poddisruptionbudget",
        short: &["pdb"],
        ..RESOURCE
    },
    WITH_STATUS,
    |_| {}
);

static RESOURCE_CLAIM: ServedKind = row!(RESOURCE, WITH_STATUS, |_| {});

static RESOURCE_CLAIM_TEMPLATE: ServedKind = row!(
    Kind {
        kind: "ResourceClaimTemplate",
        plural: "resourceclaimtemplates",
        singular: "resourceclaimtemplate",
        ..RESOURCE
    },
    ALONE,
    |_| {}
);

static RESOURCE_SLICE: ServedKind = row!(
    Kind {
        kind: "ResourceSlice",
        plural: "resourceslices",
        singular: "resourceslice",
        namespaced: false,
        ..RESOURCE
    },
    ALONE,
    |_| {}
);

static DEVICE_CLASS: ServedKind = row!(
    Kind {
        kind: "DeviceClass",
        plural: "deviceclasses",
        singular: "deviceclass",
        namespaced: false,
        ..RESOURCE
    },
    ALONE,
    |_| {}
);

fn default_daemon_set(object: &mut Value) {
    pod_template::default_template(object);
    let Some(spec) = child(object, "spec") else { return };
    fill(spec, "revisionHistoryLimit", 10);
    let Some(strategy) = child(spec, "updateStrategy") else { return };
    fill(strategy, "type", "RollingUpdate");
    if strategy["type"] == "RollingUpdate"
        && let Some(rolling) = child(strategy, "rollingUpdate")
    {
        fill(rolling, "maxUnavailable", 1);
        fill(rolling, "maxSurge", 0);
    }
}

/// One pod, and the template's labels for what is not said.
fn default_replication_controller(object: &mut Value) {
    pod_template::default_template(object);
    let labels = object.pointer("/spec/template/metadata/labels").cloned();
    let Some(spec) = child(object, "spec") else { return };
    fill(spec, "replicas", 1);
    if let Some(labels) = labels {
        fill(spec, "selector", labels.clone());
        if let Some(metadata) = child(object, "metadata") {
            fill(metadata, "labels", labels);
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::testing::*;
    use super::*;

    #[test]
    fn what_their_controllers_rely_on_is_filled_in() {
        let template = json!({
            "metadata": {"labels": {"app": "x"}},
            "spec": {"containers": [{"name": "c", "image": "i"}]},
        });
        let body = |spec: Value| json!({"metadata": {"name": "x", "namespace": "n"}, "spec": spec});
        let one = body(json!({"template": template}));
        let one = taken(&REPLICATION_CONTROLLER, &one, &Objects(Vec::new())).expect("it is taken");
        assert_eq!(one["spec"]["selector"], json!({"app": "x"}));
        assert_eq!(
            (&one["spec"]["replicas"], &one["metadata"]["labels"]["app"]),
            (&1.into(), &"x".into())
        );
        let all = body(json!({"selector": {"matchLabels": {"app": "x"}}, "template": template}));
        let all = taken(&DAEMON_SET, &all, &Objects(Vec::new())).expect("it is taken");
        assert_eq!(
            all["spec"]["updateStrategy"],
            json!({"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 1, "maxSurge": 0}})
        );
        assert_eq!(all["spec"]["template"]["spec"]["restartPolicy"], "Always");
    }
}
