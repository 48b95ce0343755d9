//! What tests do to a cluster by hand: the requests of a user with a client.

use http::Request;
use pvdeck::cluster::write_path::{WriteError, perform};
use pvdeck::model::kind::Kind;
use pvdeck::model::object::{Key, ObjectRef};
use pvdeck::model::write::{Change, Reason, Write};
use serde_json::{Value, json};

use crate::world::World;

/// An object of that name, in `default` if it is of a namespaced kind.
pub fn reference(kind: &'static Kind, name: &str) -> ObjectRef {
    let key = if kind.namespaced { Key::new("default", name) } else { Key::cluster(name) };
    ObjectRef::new(kind, key)
}

/// A refusal ends the test, but where it says otherwise.
pub trait ByHand {
    /// The server's answer, whatever it is.
    async fn try_write(
        &self,
        object: &ObjectRef,
        subresource: Option<&'static str>,
        change: Change,
    ) -> Result<Value, WriteError>;

    /// The object as it is; `None` if there is none.
    async fn get(&self, object: &ObjectRef) -> Option<Value>;

    /// The objects of a kind, those in `default` if it is namespaced.
    async fn list(&self, kind: &'static Kind) -> Vec<Value> {
        self.list_in(kind, kind.namespaced.then_some("default")).await
    }

    /// Those in a namespace, or in none.
    async fn list_in(&self, kind: &'static Kind, namespace: Option<&str>) -> Vec<Value>;

    async fn write(&self, object: &ObjectRef, change: Change) -> Value {
        let written = self.try_write(object, None, change).await;
        written.unwrap_or_else(|error| panic!("{error}"))
    }

    /// The same where the object may be there already, or not any more.
    async fn write_if_it_can_be(
        &self,
        object: &ObjectRef,
        subresource: Option<&'static str>,
        change: Change,
    ) {
        match self.try_write(object, subresource, change).await {
            Ok(_) | Err(WriteError::AlreadyExists { .. } | WriteError::NotFound { .. }) => {}
            Err(error) => panic!("{error}"),
        }
    }

    /// Creates an object whose `apiVersion` and `kind` are left out.
    async fn create(&self, kind: &'static Kind, object: Value) -> Value {
        let (object, change) = creation(kind, object);
        self.write(&object, change).await
    }

    /// The same, unless it is there already.
    async fn create_if_missing(&self, kind: &'static Kind, object: Value) {
        let (object, change) = creation(kind, object);
        self.write_if_it_can_be(&object, None, change).await;
    }

    async fn merge(&self, object: &ObjectRef, patch: Value) -> Value {
        self.write(object, Change::Merge(patch)).await
    }

    /// As the kubelet and others say how an object is.
    async fn patch_status(&self, object: &ObjectRef, status: Value) -> Value {
        let change = Change::Strategic(json!({"status": status}));
        let written = self.try_write(object, Some("status"), change).await;
        written.unwrap_or_else(|error| panic!("{error}"))
    }

    async fn delete(&self, object: &ObjectRef) {
        self.write(object, Change::Delete(json!({}))).await;
    }
}

impl ByHand for kube::Client {
    async fn try_write(
        &self,
        object: &ObjectRef,
        subresource: Option<&'static str>,
        change: Change,
    ) -> Result<Value, WriteError> {
        let write = Write {
            on_behalf_of: object.clone(),
            object: object.clone(),
            subresource,
            change,
            version: None,
            reason: Reason::new("user", "the test says so"),
        };
        perform(self, &write).await
    }

    async fn get(&self, object: &ObjectRef) -> Option<Value> {
        let request = Request::get(object.path()).body(Vec::new()).expect("a request");
        self.request(request).await.ok()
    }

    async fn list_in(&self, kind: &'static Kind, namespace: Option<&str>) -> Vec<Value> {
        let request =
            Request::get(kind.collection_path(namespace)).body(Vec::new()).expect("a request");
        let mut list: Value = self.request(request).await.expect("a list");
        match list["items"].take() {
            Value::Array(items) => items,
            _ => Vec::new(),
        }
    }
}

/// The same with all that follows at once, without time passing.
impl World {
    pub async fn create(&self, kind: &'static Kind, object: Value) {
        self.user.create(kind, object).await;
        self.clock.idle().await;
    }

    pub async fn merge(&self, object: &ObjectRef, patch: Value) {
        self.user.merge(object, patch).await;
        self.clock.idle().await;
    }

    pub async fn patch_status(&self, object: &ObjectRef, status: Value) {
        self.user.patch_status(object, status).await;
        self.clock.idle().await;
    }

    pub async fn delete(&self, object: &ObjectRef) {
        self.user.delete(object).await;
        self.clock.idle().await;
    }

    pub async fn get(&self, object: &ObjectRef) -> Option<Value> {
        self.user.get(object).await
    }
}

/// What is to be created, in `default` unless it says otherwise.
fn creation(kind: &'static Kind, mut object: Value) -> (ObjectRef, Change) {
    object["apiVersion"] = kind.api_version().into();
    object["kind"] = kind.kind.into();
    let name = object["metadata"]["name"].as_str().expect("a name");
    let mut created = reference(kind, name);
    match object["metadata"]["namespace"].as_str() {
        Some(namespace) => created.key = Key::new(namespace, name),
        None if kind.namespaced => object["metadata"]["namespace"] = "default".into(),
        None => {}
    }
    (created, Change::Create(object))
}
