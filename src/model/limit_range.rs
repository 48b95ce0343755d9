//! The row of a LimitRange, as far as claims are concerned, and what it says
//! of one. Upstream: the admission plugin `LimitRanger`.

use std::sync::Arc;

use serde_json::Value;

use crate::model::kind::{self, Kind};
use crate::model::object::Meta;
use crate::model::quantity::Quantity;
use crate::model::quota::{Amounts, amounts};
use crate::model::row::{self, Malformed, Row};

/// The type of entry that limits claims.
const CLAIM_TYPE: &str = "PersistentVolumeClaim";

/// What decisions and screens need of a LimitRange.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LimitRange {
    pub meta: Meta,
    /// The entries of type `PersistentVolumeClaim`: the API takes one.
    pub claims: Box<[ClaimLimits]>,
}

/// The least and the most that one claim may ask for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClaimLimits {
    pub min: Amounts,
    pub max: Amounts,
}

impl Row for LimitRange {
    const KIND: &'static Kind = kind::LIMIT_RANGE;

    fn from_object(object: &Value) -> Result<Self, Malformed> {
        let meta = row::meta(Self::KIND, object)?;
        let limits = object["spec"]["limits"].as_array().into_iter().flatten();
        let claims = limits.filter(|limit| limit["type"] == CLAIM_TYPE).map(|limit| {
            Ok(ClaimLimits {
                min: amounts::<Self>(&meta, &limit["min"], "spec.limits.min")?,
                max: amounts::<Self>(&meta, &limit["max"], "spec.limits.max")?,
            })
        });
        let claims = claims.collect::<Result<_, Malformed>>()?;
        Ok(Self { meta, claims })
    }

    fn meta(&self) -> &Meta {
        &self.meta
    }
}

impl LimitRange {
    /// Why a claim with these requests is refused: `a`, or `[a, b]`.
    pub fn why_refused(&self, requests: &Amounts) -> Option<String> {
        let mut faults: Vec<String> = Vec::new();
        for limits in &self.claims {
            let too_small = |amount, limit| amount < limit;
            let too_large = |amount, limit| amount > limit;
            each(&limits.min, "minimum", requests, &too_small, &mut faults);
            each(&limits.max, "maximum", requests, &too_large, &mut faults);
        }
        match faults.as_slice() {
            [] => None,
            [one] => Some(one.clone()),
            many => Some(format!("[{}]", many.join(", "))),
        }
    }
}

fn each(
    limits: &Amounts,
    which: &str,
    requests: &Amounts,
    breaks: &dyn Fn(Quantity, Quantity) -> bool,
    faults: &mut Vec<String>,
) {
    for (key, limit) in limits {
        let start = format!("{which} {key} usage per {CLAIM_TYPE} is {limit}");
        match requests.get(key) {
            // The original has two spaces here.
            None => faults.push(format!("{start}.  No request is specified")),
            Some(request) if breaks(*request, *limit) => {
                faults.push(format!("{start}, but request is {request}"));
            }
            Some(_) => {}
        }
    }
}

/// What a claim with this storage request asks for.
pub fn storage_request(request: Option<Quantity>) -> Amounts {
    request.into_iter().map(|request| (Arc::from("storage"), request)).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_claim_keeps_between_least_and_most() {
        let limits = json!([
            {"type": "Container", "max": {"cpu": "1"}},
            {"type": CLAIM_TYPE, "min": {"storage": "1Gi"}, "max": {"cpu": "1", "storage": "4Gi"}},
        ]);
        let object =
            json!({"metadata": {"name": "l", "namespace": "n"}, "spec": {"limits": limits}});
        let range = LimitRange::from_object(&object).expect("a range");
        let cpu = "maximum cpu usage per PersistentVolumeClaim is 1.  No request is specified";
        for (request, expected) in [
            ("1Gi", cpu.to_owned()),
            ("4Gi", cpu.to_owned()),
            (
                "100Mi",
                format!(
                    "[minimum storage usage per PersistentVolumeClaim is 1Gi, but request is \
                     100Mi, {cpu}]"
                ),
            ),
            (
                "10Gi",
                format!(
                    "[{cpu}, maximum storage usage per PersistentVolumeClaim is 4Gi, but request \
                     is 10Gi]"
                ),
            ),
        ] {
            let requests = storage_request(Quantity::parse(request).ok());
            assert_eq!(range.why_refused(&requests), Some(expected), "{request}");
        }
    }
}
