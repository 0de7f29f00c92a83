//! GET /healthz: the process is alive. Says nothing about upstreams or stores: restarting us would not help them.

use axum::Json;
use serde_json::{Value, json};

pub(super) async fn healthz() -> Json<Value> {
    Json(json!({ "status": "ok" }))
}
