//! What the user may do, asked once per kind, verb and namespace.
//!
//! The console greys what is not allowed and says why, so that nobody has to
//! find out by failing. Without the cache, every drawn menu would be a request.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use http::{Request, header};
use serde_json::{Value, json};

use crate::cluster::causes;
use crate::model::kind::Kind;

const REVIEWS: &str = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews";

/// One question. Without namespace: in all of them.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Question {
    pub verb: &'static str,
    pub kind: &'static Kind,
    pub namespace: Option<Arc<str>>,
}

/// What the server said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Permission {
    Allowed,
    /// With the server's reason, empty if it gave none.
    Denied {
        reason: String,
    },
}

/// The answers so far of one cluster. Clones share them.
#[derive(Clone)]
pub struct Permissions {
    client: kube::Client,
    answers: Arc<Mutex<HashMap<Question, Permission>>>,
}

impl std::fmt::Debug for Permissions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Permissions").field("answers", &self.answers).finish_non_exhaustive()
    }
}

impl Permissions {
    pub fn new(client: kube::Client) -> Self {
        Self { client, answers: Arc::default() }
    }

    /// The answer, if it is known: for drawing, which cannot wait.
    pub fn known(&self, question: &Question) -> Option<Permission> {
        self.answers.lock().unwrap_or_else(PoisonError::into_inner).get(question).cloned()
    }

    /// The answer, asked of the server the first time. An error is not kept:
    /// it says nothing about what is allowed.
    pub async fn ask(&self, question: Question) -> Result<Permission, String> {
        if let Some(answer) = self.known(&question) {
            return Ok(answer);
        }
        let request = Request::post(REVIEWS)
            .header(header::CONTENT_TYPE, "application/json")
            .body(review(&question).to_string().into_bytes())
            .map_err(|error| error.to_string())?;
        let answer: Value = self.client.request(request).await.map_err(|error| causes(&error))?;
        let answer = permission(&answer)?;
        let mut answers = self.answers.lock().unwrap_or_else(PoisonError::into_inner);
        answers.insert(question, answer.clone());
        Ok(answer)
    }
}

fn review(question: &Question) -> Value {
    let mut attributes = json!({
        "verb": question.verb,
        "group": question.kind.group,
        "version": question.kind.version,
        "resource": question.kind.plural,
    });
    if let Some(namespace) = question.namespace.as_deref().filter(|_| question.kind.namespaced) {
        attributes["namespace"] = json!(namespace);
    }
    json!({
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SelfSubjectAccessReview",
        "spec": {"resourceAttributes": attributes},
    })
}

fn permission(review: &Value) -> Result<Permission, String> {
    let status = &review["status"];
    match status["allowed"].as_bool() {
        Some(true) => Ok(Permission::Allowed),
        Some(false) => {
            let reason = status["reason"].as_str().unwrap_or_default().to_owned();
            Ok(Permission::Denied { reason })
        }
        None => Err("the access review came back without `status.allowed`".into()),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use http::Response;
    use kube::client::Body;
    use tower::{BoxError, service_fn};

    use super::*;
    use crate::model::kind;

    fn delete_claims() -> Question {
        let namespace = Some("shop".into());
        Question { verb: "delete", kind: kind::PERSISTENT_VOLUME_CLAIM, namespace }
    }

    #[tokio::test]
    async fn each_question_is_asked_once() {
        let asked = Arc::new(AtomicUsize::new(0));
        let counted = asked.clone();
        let service = service_fn(move |request: Request<Body>| {
            let counted = counted.clone();
            async move {
                counted.fetch_add(1, Ordering::Relaxed);
                let body: Value =
                    serde_json::from_slice(&request.into_body().collect_bytes().await?)?;
                let asked = &body["spec"]["resourceAttributes"];
                assert_eq!(asked["resource"], "persistentvolumeclaims");
                assert_eq!(asked["namespace"], "shop");
                let answer = json!({"status": {"allowed": false, "reason": "no rule"}});
                Ok::<_, BoxError>(Response::new(Body::from(answer.to_string().into_bytes())))
            }
        });
        let permissions = Permissions::new(kube::Client::new(service, "default"));
        assert_eq!(permissions.known(&delete_claims()), None);
        for _ in 0..3 {
            let denied = Permission::Denied { reason: "no rule".into() };
            assert_eq!(permissions.ask(delete_claims()).await, Ok(denied));
        }
        assert_eq!(asked.load(Ordering::Relaxed), 1);
        assert!(permissions.known(&delete_claims()).is_some());
    }

    #[test]
    fn junk_in_place_of_an_answer_is_an_error() {
        assert!(permission(&json!("hello")).is_err());
    }
}
