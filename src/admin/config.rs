//! GET /api/v1/config: which generation of the config is in force, since when, and what was wrong with the last.

use axum::Json;
use axum::extract::State;
use serde_json::Value;

use super::state::AdminState;

pub(super) async fn config(State(state): State<AdminState>) -> Json<Value> {
    Json(state.api.config())
}
