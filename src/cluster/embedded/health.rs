//! What is running here, and whether it is well.

use serde_json::{Value, json};

use crate::cluster::embedded::query::Query;
use crate::cluster::embedded::reply::Reply;

/// The Kubernetes version whose API this is.
const GIT_VERSION: &str = "v1.36.0+pvdeck";

/// The document at `/version`.
pub fn version() -> Value {
    json!({
        "major": "1", "minor": "36", "emulationMajor": "1", "emulationMinor": "36",
        "minCompatibilityMajor": "1", "minCompatibilityMinor": "35",
        "gitVersion": GIT_VERSION, "gitCommit": "0000000000000000000000000000000000000000",
        "gitTreeState": "clean", "buildDate": "2026-01-01T00:00:00Z", "goVersion": "none",
        "compiler": "rustc", "platform": format!("{}/{}", std::env::consts::OS, architecture()),
    })
}

/// The machine's architecture by the names of the Go world.
fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

/// The answer at `/healthz` and its like: it answers, so it is well.
pub fn health(check: &str, query: &Query) -> Reply {
    if check.is_empty() && query.all("verbose").next().is_some() {
        return Reply::text(200, "[+]ping ok\ncheck passed\n");
    }
    match check {
        "" | "ping" | "etcd" => Reply::text(200, "ok"),
        _ => Reply::text(404, "404 page not found\n"),
    }
}
