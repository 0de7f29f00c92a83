//! What other rooms tell or show signals besides finished requests: reloads, panics, budgets, the ledger.

use std::sync::Arc;

use opentelemetry::KeyValue;

use super::hub::{BudgetGauge, LedgerStatus, Signals};
use super::lines::Lines;
use super::outlet::SpanCounts;
use crate::base::money::NanoUsd;
use crate::telemetry::metrics::{self as rows, MetricRow};
use crate::telemetry::names as n;

impl Signals {
    /// A changed config was loaded, or turned down.
    pub fn config_reloaded(&self, accepted: bool) {
        let outcome = if accepted { "ok" } else { "rejected" };
        self.instruments.config_reloads.add(1, &[KeyValue::new(n::RELOAD_OUTCOME, outcome)]);
    }

    /// A request ended in a panic of ours.
    pub fn panicked(&self) {
        self.instruments.panics.add(1, &[]);
    }

    /// A budget crossed one of its warn thresholds. Tell it once per crossing.
    pub fn budget_crossed(&self, id: &str, scope: &str, percent: u8) {
        let labels = [
            KeyValue::new(n::BUDGET_ID, id.to_owned()),
            KeyValue::new(n::BUDGET_THRESHOLD, i64::from(percent)),
        ];
        self.instruments.budget_warnings.add(1, &labels);
        tracing::warn!(
            event = "tollgate.budget.threshold_reached",
            budget = id,
            scope,
            percent,
            "a budget reached a warn threshold"
        );
    }

    /// A shadow budget would have refused or cut a request that used this much.
    pub fn budget_shadowed(&self, id: &str, scope: &str, used: &str) {
        self.instruments.budget_shadowed.add(1, &[KeyValue::new(n::BUDGET_ID, id.to_owned())]);
        tracing::info!(
            event = "tollgate.budget.shadow_refusal",
            budget = id,
            scope,
            used,
            "a shadow budget would have refused or cut a request"
        );
    }

    /// A budget's counter was not what the ledger says. It is now.
    pub fn budget_drifted(&self, id: &str, scope: &str, counted: &str, recorded: &str) {
        self.instruments.budget_drifts.add(1, &[KeyValue::new(n::BUDGET_ID, id.to_owned())]);
        tracing::error!(
            event = "tollgate.budget.drift",
            budget = id,
            scope,
            counted,
            recorded,
            "a budget's counter was not what the ledger says; it is repaired"
        );
    }

    /// Where the budgets' gauges come from. Call once; `budgets` is asked at every collection, so it must
    /// be quick and show the config as it then is.
    pub fn budgets_source(&self, budgets: impl Fn() -> Vec<BudgetGauge> + Send + Sync + 'static) {
        let budgets: Arc<dyn Fn() -> Vec<BudgetGauge> + Send + Sync> = Arc::new(budgets);
        let usd = |amount: Option<NanoUsd>| amount.map(NanoUsd::as_usd_f64);
        self.budget_gauge(&rows::BUDGET_LIMIT, &budgets, move |budget| usd(budget.limit_usd));
        self.budget_gauge(&rows::BUDGET_USAGE, &budgets, move |budget| usd(budget.usage_usd));
        self.budget_gauge(&rows::BUDGET_REMAINING, &budgets, move |budget| {
            usd(Some((budget.limit_usd? - budget.usage_usd?).max(NanoUsd::ZERO)))
        });
        self.budget_gauge(&rows::BUDGET_UTILIZATION, &budgets, |budget| Some(budget.utilization));
    }

    fn budget_gauge(
        &self,
        row: &MetricRow,
        budgets: &Arc<dyn Fn() -> Vec<BudgetGauge> + Send + Sync>,
        value: impl Fn(&BudgetGauge) -> Option<f64> + Send + Sync + 'static,
    ) {
        let budgets = Arc::clone(budgets);
        let gauge = self.meter.f64_observable_gauge(row.name).with_unit(row.unit).with_description(row.help);
        let _registered = gauge
            .with_callback(move |observer| {
                for budget in budgets() {
                    if let Some(value) = value(&budget) {
                        observer.observe(value, &budget_labels(budget));
                    }
                }
            })
            .build();
    }

    /// Where the ledger's metrics come from. Call once; `ledger` is asked at every collection.
    pub fn ledger_source(&self, ledger: impl Fn() -> LedgerStatus + Send + Sync + 'static) {
        let ledger = Arc::new(ledger);
        let status = Arc::clone(&ledger);
        let row = &rows::LEDGER_LAG;
        let lag = self.meter.u64_observable_gauge(row.name).with_unit(row.unit).with_description(row.help);
        let _registered = lag.with_callback(move |observer| observer.observe(status().lag, &[])).build();
        let row = &rows::LEDGER_ROWS;
        let written =
            self.meter.u64_observable_counter(row.name).with_unit(row.unit).with_description(row.help);
        let _registered = written
            .with_callback(move |observer| {
                let status = ledger();
                observer.observe(status.written, &[KeyValue::new(n::LEDGER_RESULT, "written")]);
                observer.observe(status.failed, &[KeyValue::new(n::LEDGER_RESULT, "failed")]);
                observer.observe(status.deferred, &[KeyValue::new(n::LEDGER_RESULT, "deferred")]);
            })
            .build();
    }

    /// Registers what signals lose themselves.
    pub(super) fn observe_losses(&self, lines: Lines, spans: Option<Arc<SpanCounts>>) {
        let row = &rows::LOG_LINES_DROPPED;
        let dropped =
            self.meter.u64_observable_counter(row.name).with_unit(row.unit).with_description(row.help);
        let _registered =
            dropped.with_callback(move |observer| observer.observe(lines.dropped(), &[])).build();
        let Some(spans) = spans else { return };
        let row = &rows::SPANS_DROPPED;
        let dropped =
            self.meter.u64_observable_counter(row.name).with_unit(row.unit).with_description(row.help);
        let _registered = dropped
            .with_callback(move |observer| {
                for (reason, count) in spans.dropped() {
                    observer.observe(count, &[KeyValue::new(n::DROP_REASON, reason)]);
                }
            })
            .build();
    }
}

fn budget_labels(budget: BudgetGauge) -> [KeyValue; 3] {
    [
        KeyValue::new(n::BUDGET_ID, budget.id),
        KeyValue::new(n::BUDGET_SCOPE, budget.scope),
        KeyValue::new(n::BUDGET_WINDOW, budget.window),
    ]
}
