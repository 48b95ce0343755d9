//! TokenRequest: a token of a service account.
//!
//! It has the form and the claims of a real one, for drivers that look inside,
//! and is signed with a key that is thrown away: nothing accepts it, this
//! server neither. It is stored nowhere.
//!
//! Upstream: `pkg/registry/core/serviceaccount/storage/token.go`.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::hmac;
use ring::rand::SystemRandom;
use serde_json::{Value, json};

use crate::cluster::embedded::Embedded;
use crate::cluster::embedded::refusal::{bad_request, conflict, internal, not_found};
use crate::cluster::embedded::reply::Reply;
use crate::cluster::embedded::status::{ApiError, FieldErrors};
use crate::cluster::embedded::write::{Call, timestamp};
use crate::model::kind::{self, Kind};
use crate::model::object::Key;

const GROUP: &str = "authentication.k8s.io";
/// Whom a token is for if nobody is named, and who makes it.
const SERVER: &str = "https://kubernetes.default.svc.cluster.local";
const SECONDS_DEFAULT: i64 = 3600;
const SECONDS_MIN: i64 = 600;
const SECONDS_MAX: i64 = 1 << 32;
/// The account of pods that name none.
const DEFAULT_ACCOUNT: &str = "default";

impl Embedded {
    /// Answers a POST of a TokenRequest; the call's path names the account.
    pub(super) fn make_token(&self, call: &Call) -> Result<Reply, ApiError> {
        let mut request = call.value("authentication.v1.TokenRequest")?;
        let key = call.key();
        for (field, own) in [("name", &key.name), ("namespace", &key.namespace)] {
            let given = request["metadata"][field].as_str().unwrap_or_default();
            if !given.is_empty() && *given != **own {
                return Err(not_the_accounts(field, given, call.name()));
            }
        }
        let account = self.bound(kind::SERVICE_ACCOUNT, &key)?;
        let now = self.now();
        let uid = &account["metadata"]["uid"];
        request["metadata"] = json!({
            "name": &*key.name, "namespace": &*key.namespace, "uid": uid,
            "creationTimestamp": timestamp(now),
        });
        let spec = &mut request["spec"];
        if spec["audiences"].as_array().is_none_or(Vec::is_empty) {
            spec["audiences"] = json!([SERVER]);
        }
        if spec["expirationSeconds"].is_null() {
            spec["expirationSeconds"] = SECONDS_DEFAULT.into();
        }
        let seconds = spec["expirationSeconds"].as_i64().unwrap_or_default();
        check_seconds(seconds)?;
        let mut about = json!({
            "namespace": &*key.namespace, "serviceaccount": {"name": &*key.name, "uid": uid},
        });
        if let Some((what, object)) = self.bound_object(&key, &spec["boundObjectRef"])? {
            let metadata = &object["metadata"];
            about[what] = json!({"name": metadata["name"], "uid": metadata["uid"]});
        }
        let ends = now + Duration::from_secs(seconds.unsigned_abs());
        let claims = json!({
            "aud": spec["audiences"], "exp": ends.as_second(), "iat": now.as_second(),
            "iss": SERVER, "kubernetes.io": about, "nbf": now.as_second(),
            "sub": format!("system:serviceaccount:{}:{}", key.namespace, key.name),
        });
        request["kind"] = "TokenRequest".into();
        request["apiVersion"] = format!("{GROUP}/v1").into();
        request["status"] =
            json!({"token": signed(&claims)?, "expirationTimestamp": timestamp(ends)});
        Ok(Reply::value(201, &request))
    }

    fn bound(&self, kind: &'static Kind, key: &Key) -> Result<Value, ApiError> {
        let missing = || not_found(kind, &key.name);
        let served = self.registry().by_kind(kind).ok_or_else(missing)?;
        let held = self.store().get(served.table, key).ok_or_else(missing)?;
        Ok(served.stored_object(&held))
    }

    /// The object with which the token ends, and what the claims call it.
    fn bound_object(
        &self,
        account: &Key,
        reference: &Value,
    ) -> Result<Option<(&'static str, Value)>, ApiError> {
        if reference.is_null() {
            return Ok(None);
        }
        let text = |field: &str| reference[field].as_str().unwrap_or_default();
        let here = Key::new(account.namespace.clone(), text("name"));
        let (kind, what, key) = match (text("apiVersion"), text("kind")) {
            ("v1", "Pod") => (kind::POD, "pod", here),
            ("v1", "Secret") => (kind::SECRET, "secret", here),
            ("v1", "Node") => (kind::NODE, "node", Key::cluster(text("name"))),
            (version, kind) => {
                let text = format!("cannot bind token to object of type {version}, Kind={kind}");
                return Err(bad_request(text));
            }
        };
        let object = self.bound(kind, &key)?;
        let of_pod = object["spec"]["serviceAccountName"].as_str().unwrap_or(DEFAULT_ACCOUNT);
        if kind == kind::POD && *of_pod != *account.name {
            return Err(bad_request(format!(
                "cannot bind token for serviceaccount \"{}\" to pod running with different \
                 serviceaccount name.",
                account.name
            )));
        }
        let uid = text("uid");
        if !uid.is_empty() && object["metadata"]["uid"] != uid {
            let why = format!(
                "the UID in the bound object reference ({uid}) does not match the UID in record. \
                 The object might have been deleted and then recreated"
            );
            return Err(conflict(kind, &key.name, &why));
        }
        Ok(Some((what, object)))
    }
}

fn not_the_accounts(field: &str, given: &str, account: &str) -> ApiError {
    let mut errors = FieldErrors::default();
    let why = format!("must match the service account {field} if specified");
    errors.invalid(format!("metadata.{field}"), given, why);
    errors.into_error(GROUP, "TokenRequest", account)
}

fn check_seconds(seconds: i64) -> Result<(), ApiError> {
    let why = match seconds {
        ..SECONDS_MIN => "may not specify a duration less than 10 minutes",
        SECONDS_MIN..=SECONDS_MAX => return Ok(()),
        _ => "may not specify a duration larger than 2^32 seconds",
    };
    let mut errors = FieldErrors::default();
    errors.invalid("spec.expirationSeconds", seconds, why);
    Err(errors.into_error(GROUP, "TokenRequest", ""))
}

/// The claims in the form of a JSON Web Token.
fn signed(claims: &Value) -> Result<String, ApiError> {
    let encoded = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let text = format!("{}.{}", encoded(&json!({"alg": "HS256", "typ": "JWT"})), encoded(claims));
    let key = hmac::Key::generate(hmac::HMAC_SHA256, &SystemRandom::new());
    let key = key.map_err(|_| internal("no random numbers to sign a token with"))?;
    let signature = URL_SAFE_NO_PAD.encode(hmac::sign(&key, text.as_bytes()));
    Ok(format!("{text}.{signature}"))
}
