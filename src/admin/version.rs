//! GET /api/v1/version.

use axum::Json;
use serde_json::{Value, json};

pub(super) async fn version() -> Json<Value> {
    Json(json!({ "name": "tollgate", "version": env!("CARGO_PKG_VERSION") }))
}
