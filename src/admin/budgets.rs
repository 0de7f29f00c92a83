//! GET /api/v1/budgets: every budget with its limit, settled, reserved, end of window.

use axum::Json;
use axum::extract::State;
use serde_json::Value;

use super::error::AdminFault;
use super::state::AdminState;

pub(super) async fn budgets(State(state): State<AdminState>) -> Result<Json<Value>, AdminFault> {
    let budgets = tokio::task::spawn_blocking(move || state.api.budgets()).await;
    budgets.map(Json).map_err(|_| AdminFault::Internal)
}
