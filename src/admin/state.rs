//! What the admin door needs, filled by `app`.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use serde_json::Value;

use crate::signals::Signals;

/// What the admin door works with. Cheap to clone.
#[derive(Clone)]
pub struct AdminState {
    /// For `/metrics`.
    pub signals: Arc<Signals>,
    /// For `/readyz`: asked each time, must be quick.
    pub readiness: Arc<dyn Fn() -> Readiness + Send + Sync>,
    /// For `/api/v1`.
    pub api: Arc<dyn AdminApi>,
    /// Whether the listener is bound to loopback: then only loopback names are served, so that a web page
    /// cannot reach it through a name of its own (DNS rebinding).
    pub loopback: bool,
}

impl fmt::Debug for AdminState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AdminState").field("loopback", &self.loopback).finish_non_exhaustive()
    }
}

/// Whether requests should be sent here, and if not, why.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Readiness {
    /// What speaks against it, e.g. `draining`; empty when ready.
    pub reasons: Vec<String>,
}

/// The answers of `/api/v1`. They hold no secrets: the door shows them as they are.
pub trait AdminApi: Send + Sync {
    /// Every budget with its limit, what is settled and reserved, and when its window ends.
    fn budgets(&self) -> Value;

    /// Who spent what, by the query's parameters as `tollgate usage` takes them (`by`, `since`, ...). May
    /// read the ledger: it is called on a thread that may wait.
    ///
    /// # Errors
    /// When a parameter is wrong; the text says which.
    fn usage(&self, query: &BTreeMap<String, String>) -> Result<Value, String>;

    /// Generation, time of loading and last fault of the config.
    fn config(&self) -> Value;
}
