//! Patching: read, patch, and from there on like replacing.

use serde_json::Value;

use super::metadata::{settle_namespace, text};
use super::update::Updated;
use super::{Call, RACE_TRIES};
use crate::cluster::embedded::Embedded;
use crate::cluster::embedded::patch::Patch;
use crate::cluster::embedded::refusal::{bad_options, bad_request, not_found, stale};
use crate::cluster::embedded::reply::Reply;
use crate::cluster::embedded::schema;
use crate::cluster::embedded::status::{ApiError, FieldErrors};

impl Embedded {
    /// Answers a PATCH of an object or a subresource that is the object.
    pub(in crate::cluster::embedded) fn patch(&self, call: &Call) -> Result<Reply, ApiError> {
        let options = call.options("PatchOptions")?;
        let patch = Patch::parse(&call.content_type, &call.body)?;
        if call.query.flag("force") {
            return Err(bad_options("PatchOptions", |errors| {
                errors.forbidden("force", "may not be specified for non-apply patch");
            }));
        }
        let served = call.served();
        let names = served.names();
        for _ in 0..RACE_TRIES {
            let held = self
                .store()
                .get(served.table, &call.key())
                .ok_or_else(|| not_found(names, call.name()))?;
            let old = served.stored_object(&held);
            let apply = || patch.apply(served.shown(old.clone()), schema::root(names));
            let patched = apply()?;
            let said = (patched["kind"].clone(), patched["apiVersion"].clone());
            let decoded = match schema::decode_value(names, patched, options.validation) {
                Ok(decoded) => decoded,
                Err(why) => return Err(undecodable(&apply()?, &why)),
            };
            let mut object = decoded.object;
            let mut warnings = decoded.warnings;
            check_unmoved(call, &said, &mut object)?;
            self.check_identity(call, &object, &held)?;
            let asked = text(&object, "resourceVersion");
            if !asked.is_empty() && asked != held.version.to_string() {
                return Err(stale(names, call.name()));
            }
            if let Updated::Done(outcome) =
                self.update(call, options, object, &held, &old, &mut warnings)?
            {
                return Ok(self.written(200, call, &outcome).with_warnings(warnings));
            }
            // A patch that names a version fails on its next round.
        }
        Err(stale(names, call.name()))
    }
}

/// The patched object must still be the one at the path; `said` is the kind and
/// version that the patch left it.
fn check_unmoved(
    call: &Call,
    (kind, api_version): &(Value, Value),
    object: &mut Value,
) -> Result<(), ApiError> {
    let names = call.served().names();
    if *kind != names.kind || *api_version != names.api_version() {
        return Err(bad_request(format!(
            "the API version in the data ({}) does not match the expected API version ({})",
            api_version.as_str().unwrap_or_default(),
            names.api_version()
        )));
    }
    let name = text(object, "name");
    if name != call.name() {
        return Err(bad_request(format!(
            "the name of the object ({name}) does not match the name on the URL ({})",
            call.name()
        )));
    }
    settle_namespace(object, &call.path)
}

/// The patched object does not fit its type.
fn undecodable(patched: &Value, why: &str) -> ApiError {
    let mut errors = FieldErrors::default();
    errors.invalid("patch", patched.to_string(), why);
    errors.into_error("", "", "")
}
