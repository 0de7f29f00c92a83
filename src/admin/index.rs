//! GET /: what is here, for people.

/// The paths of the admin listener.
pub(super) async fn index() -> String {
    format!(
        "tollgate {}, admin listener\n\n\
         /healthz              the process is alive\n\
         /readyz               requests may be sent here\n\
         /metrics              Prometheus\n\
         /api/v1/budgets       limits, settled, reserved\n\
         /api/v1/usage?by=team who spent what\n\
         /api/v1/config        generation and last fault\n\
         /api/v1/version       version\n\
         /api/v1/openapi.json  this, for programs\n",
        env!("CARGO_PKG_VERSION")
    )
}
