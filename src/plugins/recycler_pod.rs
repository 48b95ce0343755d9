//! The pod that empties a volume for its next claim.

use serde_json::{Value, json};

use crate::model::quantity::Quantity;

/// How long scrubbing may take, in seconds.
#[derive(Debug, Clone, Copy)]
pub struct RecyclerTimes {
    pub minimum: i64,
    pub per_gib: i64,
}

/// The recycler pod of a volume, with `source` in place of the template's.
pub fn recycler_pod(volume: &Value, source: Value, times: RecyclerTimes) -> Value {
    let name = volume["metadata"]["name"].as_str().unwrap_or_default();
    let mut mounted = source;
    mounted["name"] = "vol".into();
    let scrub = "test -e /scrub && find /scrub -mindepth 1 -delete && \
                 test -z \"$(ls -A /scrub)\" || exit 1";
    json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": format!("recycler-for-{name}"), "namespace": "default"},
        "spec": {
            "activeDeadlineSeconds": deadline(volume, times),
            "restartPolicy": "Never",
            "volumes": [mounted],
            "containers": [{
                "name": "pv-recycler",
                "image": "registry.k8s.io/build-image/debian-base:bookworm-v1.0.6",
                "command": ["/bin/sh"],
                "args": ["-c", scrub],
                "volumeMounts": [{"name": "vol", "mountPath": "/scrub"}],
            }],
        },
    })
}

fn deadline(volume: &Value, times: RecyclerTimes) -> i64 {
    let capacity = volume["spec"]["capacity"]["storage"].as_str();
    let bytes = capacity.and_then(|text| Quantity::parse(text).ok()).map_or(0, Quantity::units);
    let gib = i64::try_from(bytes >> 30).unwrap_or(i64::MAX);
    times.minimum.max(gib.saturating_mul(times.per_gib))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_deadline_grows_with_the_volume() {
        let times = RecyclerTimes { minimum: 60, per_gib: 30 };
        let of = |size: &str| deadline(&json!({"spec": {"capacity": {"storage": size}}}), times);
        assert_eq!(of("1Gi"), 60);
        assert_eq!(of("10Gi"), 300);
        assert_eq!(of("10G"), 270, "whole gibibytes count");
    }
}
