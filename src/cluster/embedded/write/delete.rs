//! Deletion: at once, or marked and left to finalizers and grace periods.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::delete_options::{DeleteOptions, Propagation};
use super::metadata::{self, metadata, text, timestamp};
use super::{Call, Outcome, Proposal, RACE_TRIES};
use crate::cluster::embedded::Embedded;
use crate::cluster::embedded::form::{self, ListMeta};
use crate::cluster::embedded::kinds::priority_class::is_system;
use crate::cluster::embedded::list_options::ListOptions;
use crate::cluster::embedded::path::ResourcePath;
use crate::cluster::embedded::refusal::{delete_precondition, forbidden, not_found, stale};
use crate::cluster::embedded::registry::Served;
use crate::cluster::embedded::reply::Reply;
use crate::cluster::embedded::status::ApiError;
use crate::cluster::embedded::store::Span;
use crate::cluster::embedded::store::object::{Draft, Stored};
use crate::model::kind;
use crate::model::object::Key;

/// Finalizers by which the garbage collector is asked to act first.
const FOREGROUND: &str = "foregroundDeletion";
const ORPHAN: &str = "orphan";

/// Namespaces that no one may delete.
const PROTECTED_NAMESPACES: &[&str] = &["default", "kube-system", "kube-public"];

/// What a deletion does to the object as it is.
#[derive(Debug, PartialEq)]
enum Verdict {
    /// Nothing: it is being deleted already.
    Pending,
    /// It goes at once.
    Remove,
    /// It is marked and waits.
    Mark(Value),
    /// It is marked, then goes at once: watchers see both.
    MarkAndRemove(Value),
}

/// What became of a deletion.
#[derive(Debug)]
enum Deleted {
    /// Gone; its last state, as its deletion's version.
    Gone(Arc<Stored>),
    Waiting(Outcome),
    DryRun(Value),
}

impl Embedded {
    /// Answers a DELETE of an object.
    pub(in crate::cluster::embedded) fn delete(&self, call: &Call) -> Result<Reply, ApiError> {
        let options = DeleteOptions::parse(call)?;
        let served = call.served();
        let deleted = self.delete_object(call, &options, call.key())?;
        Ok(match deleted {
            Deleted::Waiting(outcome) => {
                let code = if options.answer_accepted { 202 } else { 200 };
                self.written(code, call, &outcome)
            }
            Deleted::Gone(last) if served.row.traits.delete_returns_object => {
                self.written(200, call, &Outcome::Stored(last))
            }
            Deleted::DryRun(object)
                if served.row.traits.delete_returns_object || metadata::is_terminating(&object) =>
            {
                self.written(200, call, &Outcome::Unstored(object))
            }
            Deleted::Gone(last) => Reply::value(200, &success(served, call.name(), &last.uid)),
            Deleted::DryRun(object) => {
                Reply::value(200, &success(served, call.name(), text(&object, "uid")))
            }
        })
    }

    /// Answers a DELETE of a collection: every object that the options of a
    /// list select.
    pub(in crate::cluster::embedded) fn delete_collection(
        &self,
        call: &Call,
    ) -> Result<Reply, ApiError> {
        let options = DeleteOptions::parse(call)?;
        let served = call.served();
        let list = ListOptions::parse(&call.query, served, false)?;
        let span = Span {
            table: served.table,
            namespace: call.path.namespace.as_deref(),
            after: None,
            at: None,
            limit: list.limit,
        };
        // The latest state is never compacted.
        let selected = self.store().list(&span, |stored| list.selector.matches(stored));
        let mut deleted = Vec::new();
        for stored in selected.map(|page| page.objects).unwrap_or_default() {
            let name = Some(stored.key.name.to_string());
            let one = call.clone_for(ResourcePath { name, ..call.path.clone() });
            match self.delete_object(&one, &options, stored.key.clone()) {
                Ok(Deleted::Gone(last) | Deleted::Waiting(Outcome::Stored(last))) => {
                    deleted.push(last);
                }
                Ok(_) => deleted.push(stored),
                // Another was faster: it is gone, as wanted.
                Err(error) if error.code == 404 => {}
                Err(error) => return Err(error),
            }
        }
        let meta = ListMeta { version: self.store().revision(), ..ListMeta::default() };
        Ok(Reply::json(200, form::list(served, &deleted, &meta, call.form, self.now())))
    }

    fn delete_object(
        &self,
        call: &Call,
        options: &DeleteOptions,
        key: Key,
    ) -> Result<Deleted, ApiError> {
        let served = call.served();
        for _ in 0..RACE_TRIES {
            let held = self
                .store()
                .get(served.table, &key)
                .ok_or_else(|| not_found(served.names(), &key.name))?;
            check_preconditions(served, options, &held)?;
            refuse_protected(served, &key)?;
            let object = served.stored_object(&held);
            let verdict = decide(served, &object, options, self.now());
            if options.dry_run {
                return Ok(Deleted::DryRun(match verdict {
                    Verdict::Mark(marked) | Verdict::MarkAndRemove(marked) => marked,
                    Verdict::Pending | Verdict::Remove => object,
                }));
            }
            if let Some(deleted) = self.carry_out(call, &held, verdict)? {
                return Ok(deleted);
            }
        }
        Err(stale(served.names(), &key.name))
    }

    /// Commits a verdict; `None` if another write came between.
    fn carry_out(
        &self,
        call: &Call,
        held: &Arc<Stored>,
        verdict: Verdict,
    ) -> Result<Option<Deleted>, ApiError> {
        let commit = |expected: u64, next: Option<&Value>| {
            self.propose(Proposal {
                served: call.served(),
                key: held.key.clone(),
                expected: Some(expected),
                next,
                author: &call.author,
                reason: &call.reason,
            })
        };
        let (last, marked) = match &verdict {
            Verdict::Pending => {
                return Ok(Some(Deleted::Waiting(Outcome::Stored(held.clone()))));
            }
            Verdict::Remove => (held.clone(), false),
            Verdict::Mark(object) | Verdict::MarkAndRemove(object) => {
                let Some(commit) = commit(held.version, Some(object))? else { return Ok(None) };
                let Some(stored) = commit.after.clone() else { return Ok(None) };
                (stored, matches!(verdict, Verdict::Mark(_)))
            }
        };
        if marked {
            return Ok(Some(Deleted::Waiting(Outcome::Stored(last))));
        }
        let Some(commit) = commit(last.version, None)? else { return Ok(None) };
        let served = call.served();
        let draft =
            Draft::new(last.key.clone(), &served.stored_object(&last), served.stored_fields);
        Ok(Some(Deleted::Gone(Arc::new(draft.at_version(commit.revision)))))
    }
}

/// Decides what a DELETE does to an object.
fn decide(served: Served, object: &Value, options: &DeleteOptions, now: Timestamp) -> Verdict {
    if metadata::is_terminating(object) {
        return decide_again(served, object, options);
    }
    let mut marked = object.clone();
    set_propagation(&mut marked, options.propagation);
    let waits = metadata::finalizers(&marked).next().is_some() || has_own_finalizers(&marked);
    if !served.row.traits.graceful_deletion {
        if !waits {
            return Verdict::Remove;
        }
        mark(&mut marked, 0, now);
        if served.names() == kind::NAMESPACE {
            marked["status"]["phase"] = "Terminating".into();
        }
        return Verdict::Mark(marked);
    }
    let grace = grace_seconds(object, options.grace_seconds);
    mark(&mut marked, grace, now);
    if waits || grace > 0 { Verdict::Mark(marked) } else { Verdict::MarkAndRemove(marked) }
}

/// Decides about an object that is being deleted: grace may only get shorter.
fn decide_again(served: Served, object: &Value, options: &DeleteOptions) -> Verdict {
    let held = object["metadata"]["deletionGracePeriodSeconds"].as_i64().unwrap_or_default();
    let asked = options.grace_seconds.map(|seconds| if seconds < 0 { 1 } else { seconds });
    let Some(asked) = asked.filter(|asked| served.row.traits.graceful_deletion && *asked < held)
    else {
        return Verdict::Pending;
    };
    let mut shortened = object.clone();
    let moment: Option<Timestamp> = text(object, "deletionTimestamp").parse().ok();
    let moment = moment.and_then(|m| m.checked_sub(SignedDuration::from_secs(held - asked)).ok());
    let fields = metadata(&mut shortened);
    if let Some(moment) = moment {
        fields.insert("deletionTimestamp".into(), timestamp(moment));
    }
    fields.insert("deletionGracePeriodSeconds".into(), asked.into());
    let waits = metadata::finalizers(&shortened).next().is_some();
    if waits || asked > 0 { Verdict::Mark(shortened) } else { Verdict::MarkAndRemove(shortened) }
}

/// How long a pod may take: nothing if nothing runs.
fn grace_seconds(pod: &Value, asked: Option<i64>) -> i64 {
    let own = pod["spec"]["terminationGracePeriodSeconds"].as_i64();
    let seconds = asked.or(own).unwrap_or(30);
    let idle = pod["spec"]["nodeName"].as_str().unwrap_or_default().is_empty()
        || matches!(pod["status"]["phase"].as_str(), Some("Succeeded" | "Failed"));
    if idle {
        0
    } else if seconds < 0 {
        1
    } else {
        seconds
    }
}

fn mark(object: &mut Value, grace: i64, now: Timestamp) {
    let moment = now.checked_add(SignedDuration::from_secs(grace)).unwrap_or(now);
    let fields = metadata(object);
    fields.insert("deletionTimestamp".into(), timestamp(moment));
    fields.insert("deletionGracePeriodSeconds".into(), grace.into());
    metadata::raise_generation(object);
}

/// Sets the finalizers by which the garbage collector knows what to do; without
/// a policy those that are there stay.
fn set_propagation(object: &mut Value, propagation: Option<Propagation>) {
    let Some(propagation) = propagation else { return };
    let mut finalizers: Vec<String> = metadata::finalizers(object)
        .filter(|name| !matches!(*name, FOREGROUND | ORPHAN))
        .map(str::to_owned)
        .collect();
    match propagation {
        Propagation::Background => {}
        Propagation::Foreground => finalizers.push(FOREGROUND.to_owned()),
        Propagation::Orphan => finalizers.push(ORPHAN.to_owned()),
    }
    let fields = metadata(object);
    if finalizers.is_empty() {
        fields.shift_remove("finalizers");
    } else {
        fields.insert("finalizers".into(), finalizers.into());
    }
}

/// Namespaces have finalizers in their spec.
fn has_own_finalizers(object: &Value) -> bool {
    object["kind"] == "Namespace"
        && object["spec"]["finalizers"].as_array().is_some_and(|list| !list.is_empty())
}

fn check_preconditions(
    served: Served,
    options: &DeleteOptions,
    held: &Stored,
) -> Result<(), ApiError> {
    let version = held.version.to_string();
    for (what, asked, has) in
        [("UID", &options.uid, &*held.uid), ("ResourceVersion", &options.version, &version)]
    {
        if let Some(asked) = asked.as_deref().filter(|asked| *asked != has) {
            return Err(delete_precondition(served.names(), &held.key.name, what, asked, has));
        }
    }
    Ok(())
}

fn refuse_protected(served: Served, key: &Key) -> Result<(), ApiError> {
    if served.names() == kind::NAMESPACE && PROTECTED_NAMESPACES.contains(&&*key.name) {
        return Err(forbidden(served.names(), &key.name, "this namespace may not be deleted"));
    }
    if served.names() == kind::PRIORITY_CLASS && is_system(&key.name) {
        let why = "this is a system priority class and cannot be deleted";
        return Err(forbidden(served.names(), &key.name, why));
    }
    Ok(())
}

fn success(served: Served, name: &str, uid: &str) -> Value {
    let names = served.names();
    let mut details = json!({"name": name});
    if !names.group.is_empty() {
        details["group"] = names.group.into();
    }
    details["kind"] = names.plural.into();
    details["uid"] = uid.into();
    json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details": details,
    })
}
