//! What the admin door shows of a running gateway, and its listener.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread;

use jiff::tz::TimeZone;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::watch;

use super::assemble::Lasting;
use super::budget_rows::BudgetRows;
use super::reload::Reloader;
use super::running::{StartFault, address};
use crate::admin::{self, AdminApi, AdminState, Readiness};
use crate::base::clock::Timestamp;
use crate::budget::{Amount, Budget};
use crate::config::settings::Settings;
use crate::ledger::books::Books;
use crate::ledger::report::{self, Dimension, Query};
use crate::proxy::Door;
use crate::signals::{BudgetGauge, LedgerStatus};
use crate::store::ledger::Filter;

/// What the admin door may look at.
#[derive(Debug)]
pub(super) struct AdminView {
    pub(super) door: Arc<Door>,
    pub(super) lasting: Arc<Lasting>,
    pub(super) reloader: Arc<Reloader>,
    pub(super) data_dir: PathBuf,
}

/// Starts the admin listener on a thread and runtime of its own: it must answer when the workers are busy.
pub(super) fn serve(
    settings: &Settings,
    view: AdminView,
    ledger: impl Fn() -> LedgerStatus + Send + Sync + 'static,
    mut stop: watch::Receiver<bool>,
) -> Result<(SocketAddr, thread::JoinHandle<()>), StartFault> {
    let place = address(&settings.admin.listen)?;
    let fault = |error| StartFault::Listen { address: settings.admin.listen.clone(), error };
    let listener = std::net::TcpListener::bind(place).map_err(fault)?;
    listener.set_nonblocking(true).map_err(fault)?;
    let bound = listener.local_addr().map_err(fault)?;
    let signals = Arc::clone(&view.door.signals);
    let view = Arc::new(view);
    let shown = Arc::clone(&view);
    signals.budgets_source(move || shown.gauges());
    signals.ledger_source(ledger);
    let ready = Arc::clone(&view);
    let readiness = Arc::new(move || ready.readiness());
    let state = AdminState { signals, readiness, api: view, loopback: bound.ip().is_loopback() };
    let run = move || {
        let served = tokio::runtime::Builder::new_current_thread().enable_all().build().and_then(|runtime| {
            runtime.block_on(async {
                let listener = TcpListener::from_std(listener)?;
                let stopped = async move {
                    // a sender that is gone means stop, too
                    let _ = stop.wait_for(|stop| *stop).await;
                };
                axum::serve(listener, admin::router(state)).with_graceful_shutdown(stopped).await
            })
        });
        log_end(served);
    };
    Ok((bound, thread::Builder::new().name("admin".into()).spawn(run)?))
}

fn log_end(served: io::Result<()>) {
    if let Err(fault) = served {
        tracing::error!(%fault, "the admin listener failed");
    }
}

impl AdminView {
    fn readiness(&self) -> Readiness {
        let mut reasons = Vec::new();
        if self.door.draining.load(Ordering::Acquire) {
            reasons.push("draining".to_owned());
        }
        if !self.door.journal.takes_intents() {
            reasons.push("journal".to_owned());
        }
        Readiness { reasons }
    }

    fn gauges(&self) -> Vec<BudgetGauge> {
        let now = self.door.clock.now();
        self.lasting.budgets.all().iter().map(|budget| gauge(budget, now)).collect()
    }
}

impl AdminApi for AdminView {
    fn budgets(&self) -> Value {
        let rows = BudgetRows::of_book(&self.lasting.budgets, self.door.clock.now());
        serde_json::to_value(rows).expect("rows of text and numbers are JSON")
    }

    fn usage(&self, query: &BTreeMap<String, String>) -> Result<Value, String> {
        let now = self.door.clock.now();
        let zone = query.get("time_zone").map_or("UTC", String::as_str);
        let time_zone =
            TimeZone::get(zone).map_err(|_| format!("time_zone: no such IANA time zone: {zone}"))?;
        let when = |name: &str| {
            let read = |text: &String| report::instant(text, now, &time_zone);
            query.get(name).map(read).transpose().map_err(|fault| format!("{name}: {fault}"))
        };
        let by = query.get("by").map_or("team,model", String::as_str).split(',').map(str::trim);
        let by =
            by.map(str::parse::<Dimension>).collect::<Result<Vec<_>, _>>().map_err(|f| format!("by: {f}"))?;
        let filter = Filter {
            since: when("since")?,
            until: when("until")?,
            team: query.get("team").cloned(),
            key: query.get("key").cloned(),
            model: query.get("model").cloned(),
            upstream: query.get("upstream").cloned(),
            user: query.get("user").cloned(),
            run: query.get("run").cloned(),
            ..Filter::default()
        };
        let mut books = Books::open(&self.data_dir).map_err(|fault| fault.to_string())?;
        let question = Query { time_zone, ..Query::new(by, filter) };
        let report = report::run(&mut books, &question).map_err(|fault| fault.to_string())?;
        Ok(report.to_json())
    }

    fn config(&self) -> Value {
        let state = self.reloader.state();
        json!({
            "generation": state.generation,
            "loaded_at": rfc3339(state.loaded_at),
            "fingerprint": state.fingerprint,
            "last_error": state.last_error,
        })
    }
}

fn gauge(budget: &Budget, now: Timestamp) -> BudgetGauge {
    let (spec, state) = (budget.spec(), budget.state(now));
    let used = state.spent.count.saturating_add(state.reserved.count);
    let usd = |amount: Amount| amount.as_usd();
    BudgetGauge {
        scope: budget.scope_word(),
        id: spec.id.clone(),
        window: spec.period.as_str(),
        limit_usd: usd(state.limit),
        usage_usd: usd(Amount { count: used, unit: state.limit.unit }),
        utilization: share(used, state.limit.count),
    }
}

#[expect(clippy::cast_precision_loss, reason = "a share, for a gauge")]
fn share(used: i64, limit: i64) -> f64 {
    if limit <= 0 { 0.0 } else { used as f64 / limit as f64 }
}

fn rfc3339(at: Timestamp) -> String {
    jiff::Timestamp::from_second(at.as_secs()).map(|at| at.to_string()).unwrap_or_default()
}
