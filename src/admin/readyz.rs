//! GET /readyz: 200 when requests may be sent here, 503 with the reasons when not.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde_json::{Value, json};

use super::state::AdminState;

pub(super) async fn readyz(State(state): State<AdminState>) -> (StatusCode, Json<Value>) {
    let reasons = (state.readiness)().reasons;
    if reasons.is_empty() {
        return (StatusCode::OK, Json(json!({ "status": "ready" })));
    }
    (StatusCode::SERVICE_UNAVAILABLE, Json(json!({ "status": "not_ready", "reasons": reasons })))
}
