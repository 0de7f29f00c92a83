//! Which path is answered by which file.

use axum::Router;
use axum::middleware::from_fn_with_state;
use axum::routing::get;

use super::state::AdminState;
use super::{budgets, config, error, guard, healthz, index, metrics, openapi, readyz, usage, version};

/// The admin listener's service.
pub fn router(state: AdminState) -> Router {
    Router::new()
        .route("/", get(index::index))
        .route("/healthz", get(healthz::healthz))
        .route("/readyz", get(readyz::readyz))
        .route("/metrics", get(metrics::metrics))
        .route("/api/v1/budgets", get(budgets::budgets))
        .route("/api/v1/usage", get(usage::usage))
        .route("/api/v1/config", get(config::config))
        .route("/api/v1/version", get(version::version))
        .route("/api/v1/openapi.json", get(openapi::openapi))
        .fallback(error::no_such_path)
        .method_not_allowed_fallback(error::method_not_allowed)
        .layer(from_fn_with_state(state.clone(), guard::known_host))
        .with_state(state)
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
