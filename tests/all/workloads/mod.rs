//! The controllers of workloads in a whole cluster, its pods run by a stand-in.

mod deployment;
mod garbage;
mod safe_order;
mod stateful_set;

use http::Method;
use pvdeck::model::kind::Kind;
use pvdeck::model::write::Change;
use serde_json::{Value, json};

use crate::by_hand::{ByHand, reference};
use crate::stand_in;
use crate::world::World;

/// A cluster with nothing under its nodes.
pub struct Cluster {
    pub world: World,
}

impl Cluster {
    pub fn run(play: impl AsyncFnOnce(Self)) {
        World::run_without_machines(async |world| play(Self { world }).await);
    }

    pub async fn send(&self, method: Method, path: &str, body: Value) -> (u16, Value) {
        stand_in::request(&self.world.user, method, path, body).await
    }

    pub async fn create(&self, kind: &'static Kind, object: Value) -> Value {
        self.world.user.create(kind, object).await
    }

    pub async fn patch(&self, kind: &'static Kind, name: &str, patch: Value) -> Value {
        self.world.user.merge(&reference(kind, name), patch).await
    }

    pub async fn delete(&self, kind: &'static Kind, name: &str, policy: &str) {
        let options = json!({"propagationPolicy": policy});
        self.world.user.write(&reference(kind, name), Change::Delete(options)).await;
    }

    pub async fn get(&self, kind: &'static Kind, name: &str) -> Option<Value> {
        self.world.get(&reference(kind, name)).await
    }

    pub async fn list(&self, kind: &'static Kind) -> Vec<Value> {
        self.world.user.list(kind).await
    }

    /// The names of the objects of a kind.
    pub async fn names(&self, kind: &'static Kind) -> Vec<String> {
        let name = |item: &Value| item["metadata"]["name"].as_str().unwrap_or_default().to_owned();
        self.list(kind).await.iter().map(name).collect()
    }

    /// The messages of all events with a reason, sorted.
    pub async fn told(&self, reason: &str) -> Vec<String> {
        let events = self.list(pvdeck::model::kind::EVENT).await;
        let told = events.iter().filter(|event| event["reason"] == reason);
        let message = |event: &Value| event["message"].as_str().unwrap_or_default().to_owned();
        let mut told: Vec<String> = told.map(message).collect();
        told.sort();
        told
    }

    /// Lets everything happen that will without time passing.
    pub async fn settle(&self) {
        self.world.clock.idle().await;
    }

    /// Runs pods, those of these names or all of them, until nothing changes.
    pub async fn run_pods(&self, names: Option<&[&str]>) {
        for _ in 0..100 {
            self.settle().await;
            let may_run = |pod: &Value| {
                let name = pod["metadata"]["name"].as_str().unwrap_or_default();
                names.is_none_or(|names| names.contains(&name))
            };
            if !stand_in::run_pods(&self.world.user, may_run).await {
                self.settle().await;
                return;
            }
        }
        panic!("the pods never come to rest");
    }

    pub async fn seconds(&self, seconds: u64) {
        self.world.clock.advance(std::time::Duration::from_secs(seconds)).await;
    }
}

/// A pod template with one container and these labels.
pub fn template(app: &str, image: &str) -> Value {
    json!({
        "metadata": {"labels": {"app": app}},
        "spec": {"containers": [{"name": "main", "image": image}]},
    })
}
