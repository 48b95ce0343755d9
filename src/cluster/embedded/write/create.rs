//! Creation.

use serde_json::Value;

use super::metadata::{self, begin, settle_namespace, text};
use super::{Call, Outcome, Proposal, WriteOptions};
use crate::cluster::embedded::Embedded;
use crate::cluster::embedded::kind::AdmissionView;
use crate::cluster::embedded::kinds::namespace::refuse_if_terminating;
use crate::cluster::embedded::refusal::{
    already_exists, bad_request, name_not_generated, not_found,
};
use crate::cluster::embedded::registry::stored_kind;
use crate::cluster::embedded::reply::Reply;
use crate::cluster::embedded::schema;
use crate::cluster::embedded::status::{ApiError, FieldErrors};
use crate::model::kind;
use crate::model::object::Key;

/// The characters of generated names: no vowels, nothing that looks alike.
const NAME_CHARACTERS: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";
const GENERATED_LENGTH: usize = 5;
/// What is left of a name for the part that is not generated.
const GENERATED_BASE_MAX: usize = 63 - GENERATED_LENGTH;
const GENERATE_TRIES: usize = 8;

impl Embedded {
    /// Answers a POST to a collection.
    pub(in crate::cluster::embedded) fn create(&self, call: &Call) -> Result<Reply, ApiError> {
        let options = call.options("CreateOptions")?;
        let served = call.served();
        let decoded =
            schema::decode(served.names(), &call.body, call.format()?, options.validation)?;
        let mut object = decoded.object;
        settle_namespace(&mut object, &call.path)?;
        if !text(&object, "resourceVersion").is_empty() {
            return Err(bad_request("resourceVersion should not be set on objects to be created"));
        }
        let mut warnings = decoded.warnings;
        let outcome = self.create_object(call, options, object, &mut warnings)?;
        Ok(self.written(201, call, &outcome).with_warnings(warnings))
    }

    /// Creates an object that was decoded in the endpoint's shape.
    pub(super) fn create_object(
        &self,
        call: &Call,
        options: WriteOptions,
        mut object: Value,
        warnings: &mut Vec<String>,
    ) -> Result<Outcome, ApiError> {
        let served = call.served();
        let now = self.now();
        if let Some(shape) = served.row.shape {
            (shape.to_stored)(&mut object);
        }
        let generated_from = name_base(&object);
        begin(&mut object, served.row.traits.generation, now);
        warnings.extend(metadata::drop_repeated_owners(&mut object));
        self.check_namespace(call, text(&object, "name"))?;
        check_named(call, &object)?;
        let mut tries = 0;
        loop {
            tries += 1;
            if let Some(base) = &generated_from {
                metadata::metadata(&mut object).insert("name".into(), generated(base).into());
            }
            // Admission and defaults look at the name, so they follow each try.
            let mut candidate = object.clone();
            (served.row.default)(&mut candidate);
            (served.row.admit)(&mut candidate, None, self)?;
            (served.row.prepare)(&mut candidate, None, None, now);
            schema::normalise(stored_kind(served.row), &mut candidate);
            let mut errors = FieldErrors::default();
            (served.row.validate)(&candidate, &mut errors);
            let name = text(&candidate, "name").to_owned();
            refuse_invalid(call, &name, errors)?;
            self.admit_valid(call, options, &candidate, None)?;
            if tries == 1 {
                warnings.extend((served.row.warnings)(&candidate));
            }
            let key = Key::new(text(&candidate, "namespace"), name.as_str());
            let held = self.store().get(served.table, &key);
            if held.is_none() && options.dry_run {
                return Ok(Outcome::Unstored(candidate));
            }
            if held.is_none()
                && let Some(commit) = self.propose(Proposal {
                    served,
                    key: key.clone(),
                    expected: None,
                    next: Some(&candidate),
                    author: &call.author,
                    reason: &call.reason,
                })?
                && let Some(stored) = &commit.after
            {
                return Ok(Outcome::Stored(stored.clone()));
            }
            if generated_from.is_none() {
                let terminating = self
                    .store()
                    .get(served.table, &key)
                    .is_some_and(|held| metadata::is_terminating(&served.stored_object(&held)));
                return Err(already_exists(served.names(), &name, terminating));
            }
            if tries == GENERATE_TRIES {
                return Err(name_not_generated(served.names(), &name));
            }
        }
    }

    /// A namespaced object needs a namespace that is not going.
    fn check_namespace(&self, call: &Call, name: &str) -> Result<(), ApiError> {
        let Some(namespace) = call.path.namespace.as_deref() else { return Ok(()) };
        let held = AdmissionView::get(self, kind::NAMESPACE, None, namespace)
            .ok_or_else(|| not_found(kind::NAMESPACE, namespace))?;
        refuse_if_terminating(&held, &call.served().names().qualified_plural(), name)
    }
}

/// The prefix to generate a name from, if one is to be generated.
fn name_base(object: &Value) -> Option<String> {
    let prefix = text(object, "generateName");
    if prefix.is_empty() || !text(object, "name").is_empty() {
        return None;
    }
    Some(prefix.chars().take(GENERATED_BASE_MAX).collect())
}

fn generated(base: &str) -> String {
    let mut name = base.to_owned();
    // The random bits of a uuid suffice for a name.
    let mut bits = uuid::Uuid::new_v4().as_u128();
    for _ in 0..GENERATED_LENGTH {
        let at = bits % NAME_CHARACTERS.len() as u128;
        name.push(char::from(NAME_CHARACTERS[at as usize]));
        bits /= NAME_CHARACTERS.len() as u128;
    }
    name
}

fn check_named(call: &Call, object: &Value) -> Result<(), ApiError> {
    let mut errors = FieldErrors::default();
    if text(object, "name").is_empty() && text(object, "generateName").is_empty() {
        errors.required("metadata.name", "name or generateName is required");
    }
    refuse_invalid(call, "", errors)
}

/// 422 if there are errors.
pub(super) fn refuse_invalid(call: &Call, name: &str, errors: FieldErrors) -> Result<(), ApiError> {
    if errors.is_empty() {
        return Ok(());
    }
    let names = call.served().names();
    Err(errors.into_error(names.group, names.kind, name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn generated_names_keep_their_base_and_use_safe_characters() {
        let name = generated("web-");
        let random = name.strip_prefix("web-").expect("the base");
        assert_eq!(random.len(), GENERATED_LENGTH);
        assert!(random.bytes().all(|c| NAME_CHARACTERS.contains(&c)), "{name}");
        assert_ne!(generated("web-"), name);
    }
}
