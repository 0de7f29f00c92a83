//! GET /metrics: everything counted, as Prometheus reads it.

use axum::extract::State;
use axum::http::header::{CONTENT_TYPE, HeaderName};

use super::error::AdminFault;
use super::state::AdminState;

pub(super) async fn metrics(
    State(state): State<AdminState>,
) -> Result<([(HeaderName, &'static str); 1], String), AdminFault> {
    // gathering thousands of series takes milliseconds: not on a worker
    let text = tokio::task::spawn_blocking(move || state.signals.prometheus_text()).await;
    Ok(([(CONTENT_TYPE, TEXT_FORMAT)], text.map_err(|_| AdminFault::Internal)?))
}

const TEXT_FORMAT: &str = "text/plain; version=0.0.4; charset=utf-8";
