//! The row of a Service, as far as pods' names depend on it.

use serde_json::Value;

use crate::model::kind::{self, Kind};
use crate::model::object::{Meta, Pairs};
use crate::model::row::{self, Malformed, Row, Sharing};

/// The domain of names in a cluster, unless it was set up with another.
pub const CLUSTER_DOMAIN: &str = "cluster.local";

/// What decisions and screens need of a Service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Service {
    pub meta: Meta,
    /// `clusterIP: None`: names lead to the pods themselves.
    pub headless: bool,
    /// The labels of its pods; none selects nothing.
    pub selector: Pairs,
    /// Whether pods have names before they are ready.
    pub publishes_not_ready: bool,
}

impl Service {
    /// Why pods with these labels, sorted by key, get no names from it; `None`
    /// if they do.
    pub fn why_no_names(&self, labels: &Pairs) -> Option<NoNames> {
        if !self.headless {
            return Some(NoNames::NotHeadless);
        }
        let matches = |wanted: &(_, _)| labels.binary_search(wanted).is_ok();
        let selects = !self.selector.is_empty() && self.selector.iter().all(matches);
        (!selects).then_some(NoNames::NotSelected)
    }
}

/// Why a StatefulSet's pods have no names in DNS.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoNames {
    /// There is no Service of the name that the set gives.
    NoService,
    /// The Service has an address of its own.
    NotHeadless,
    /// The Service's selector does not select the pods.
    NotSelected,
}

impl std::fmt::Display for NoNames {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::NoService => "there is no such Service",
            Self::NotHeadless => "the Service is not headless (clusterIP: None)",
            Self::NotSelected => "the Service does not select the pods",
        })
    }
}

/// The name of a pod in DNS: the pod's, its Service's, its namespace's.
pub fn pod_dns_name(pod: &str, service: &str, namespace: &str) -> String {
    format!("{pod}.{service}.{namespace}.svc.{CLUSTER_DOMAIN}")
}

impl Row for Service {
    const KIND: &'static Kind = kind::SERVICE;

    fn from_object(object: &Value) -> Result<Self, Malformed> {
        let spec = &object["spec"];
        Ok(Self {
            meta: row::meta(Self::KIND, object)?,
            headless: spec["clusterIP"] == "None",
            selector: row::pairs(&spec["selector"], |_| true).into(),
            publishes_not_ready: spec["publishNotReadyAddresses"] == true,
        })
    }

    fn meta(&self) -> &Meta {
        &self.meta
    }

    fn share(&mut self, with: &mut dyn Sharing) {
        row::share_meta(&mut self.meta, with);
        with.pairs(&mut self.selector);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn pods_have_names_only_by_a_headless_service_that_selects_them() {
        let service = |spec: Value| {
            let object = json!({"metadata": {"name": "web", "namespace": "shop"}, "spec": spec});
            Service::from_object(&object).expect("a row")
        };
        let labels: Pairs = row::pairs(&json!({"app": "web", "x": "y"}), |_| true).into();
        let selector = json!({"app": "web"});
        for (spec, why) in [
            (json!({"clusterIP": "None", "selector": selector}), None),
            (json!({"clusterIP": "10.0.0.7", "selector": selector}), Some(NoNames::NotHeadless)),
            (json!({"clusterIP": "None"}), Some(NoNames::NotSelected)),
            (json!({"clusterIP": "None", "selector": {"app": "db"}}), Some(NoNames::NotSelected)),
        ] {
            assert_eq!(service(spec.clone()).why_no_names(&labels), why, "{spec}");
        }
        assert_eq!(pod_dns_name("web-0", "web", "shop"), "web-0.web.shop.svc.cluster.local");
    }
}
