//! GET /api/v1/usage?by=team,model&since=...: who spent what, as `tollgate usage --json` prints it.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use serde_json::Value;

use super::error::AdminFault;
use super::state::AdminState;

pub(super) async fn usage(
    State(state): State<AdminState>,
    query: Result<Query<BTreeMap<String, String>>, QueryRejection>,
) -> Result<Json<Value>, AdminFault> {
    let Query(query) = query.map_err(|rejection| AdminFault::BadQuery(rejection.body_text()))?;
    // reads the ledger, which may take its time
    let rows = tokio::task::spawn_blocking(move || state.api.usage(&query)).await;
    rows.map_err(|_| AdminFault::Internal)?.map(Json).map_err(AdminFault::BadQuery)
}
