//! What every new cluster holds: its first namespaces, and what clients expect
//! to find in them.

use serde_json::{Value, json};

use crate::cluster::embedded::Embedded;
use crate::cluster::embedded::kinds::priority_class::system_classes;
use crate::cluster::embedded::store::history::Author;
use crate::model::kind::{CONFIG_MAP, NAMESPACE, SERVICE, SERVICE_ACCOUNT};

const NAMESPACES: &[&str] = &["default", "kube-node-lease", "kube-public", "kube-system"];

impl Embedded {
    /// Makes the first objects, past admission: it would want their namespaces.
    pub(super) fn make_initial_objects(&self) {
        let author = Author::named("pvdeck");
        for object in initial_objects() {
            // The store is empty, so nothing can be in the way.
            let _ = self.import_object(object, &author);
        }
    }
}

fn initial_objects() -> Vec<Value> {
    let mut objects = Vec::new();
    for namespace in NAMESPACES {
        objects.push(json!({
            "kind": NAMESPACE.kind, "apiVersion": "v1",
            "metadata": {"name": namespace, "labels": {"kubernetes.io/metadata.name": namespace}},
            "spec": {"finalizers": ["kubernetes"]},
            "status": {"phase": "Active"},
        }));
    }
    for namespace in NAMESPACES {
        objects.push(json!({
            "kind": SERVICE_ACCOUNT.kind, "apiVersion": "v1",
            "metadata": {"name": "default", "namespace": namespace},
        }));
    }
    objects.push(json!({
        "kind": SERVICE.kind, "apiVersion": "v1",
        "metadata": {
            "name": "kubernetes", "namespace": "default",
            "labels": {"component": "apiserver", "provider": "kubernetes"},
        },
        "spec": {
            "ports": [{"name": "https", "protocol": "TCP", "port": 443, "targetPort": 6443}],
            "clusterIP": "10.0.0.1", "clusterIPs": ["10.0.0.1"], "type": "ClusterIP",
            "sessionAffinity": "None", "ipFamilies": ["IPv4"], "ipFamilyPolicy": "SingleStack",
            "internalTrafficPolicy": "Cluster",
        },
        "status": {"loadBalancer": {}},
    }));
    objects.push(json!({
        "kind": CONFIG_MAP.kind, "apiVersion": "v1",
        "metadata": {"name": "extension-apiserver-authentication", "namespace": "kube-system"},
    }));
    objects.extend(system_classes());
    objects
}
