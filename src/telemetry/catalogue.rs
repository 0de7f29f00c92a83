//! The metrics table as people and Prometheus see it: names with suffixes, and docs/METRICS.md.

use std::fmt::Write as _;

use super::metrics::{Instrument, METRICS, MetricRow};

/// The name under which Prometheus has the metric; of a histogram, the name before `_bucket`.
#[must_use]
pub fn prometheus_name(row: &MetricRow) -> String {
    let unit = match row.unit {
        "s" => "_seconds",
        "By" => "_bytes",
        "1" => "_ratio",
        _ => "",
    };
    let total = match row.instrument {
        Instrument::Counter | Instrument::CounterF64 | Instrument::ObservableCounter => "_total",
        Instrument::UpDownCounter | Instrument::ObservableGauge | Instrument::Histogram => "",
    };
    format!("{}{unit}{total}", row.name.replace('.', "_"))
}

/// docs/METRICS.md, whole.
#[must_use]
pub fn markdown() -> String {
    let mut page = String::from(INTRODUCTION);
    for row in METRICS {
        let name = prometheus_name(row);
        let attributes: Vec<String> = row.attributes.iter().map(|name| format!("`{name}`")).collect();
        let attributes = if attributes.is_empty() { "none".into() } else { attributes.join(", ") };
        let _ = write!(
            page,
            "\n## `{}`\n\n{}\n\n- Prometheus: `{name}`\n- Kind: {}\n- Unit: `{}`\n- Attributes: {attributes}\n",
            row.name,
            row.help,
            kind(row.instrument),
            row.unit,
        );
        if !row.buckets.is_empty() {
            let bounds: Vec<String> = row.buckets.iter().map(ToString::to_string).collect();
            let _ = writeln!(page, "- Buckets: {}", bounds.join(", "));
        }
    }
    page
}

const fn kind(instrument: Instrument) -> &'static str {
    match instrument {
        Instrument::Counter | Instrument::CounterF64 | Instrument::ObservableCounter => "counter",
        Instrument::UpDownCounter => "up-down counter (a gauge in Prometheus)",
        Instrument::ObservableGauge => "gauge",
        Instrument::Histogram => "histogram",
    }
}

const INTRODUCTION: &str = "\
# Metrics

Written from the table in `src/telemetry/metrics.rs`; a test fails when this page is not up to date
(`TOLLGATE_WRITE_DOCS=1 cargo test --lib telemetry::catalogue` writes it anew).

All of them are on the admin listener at `/metrics`, and pushed over OTLP when `telemetry.otlp_endpoint` is set.
In Prometheus an attribute's dots are underscores: `gen_ai.request.model` is the label `gen_ai_request_model`.

What a caller writes never becomes a label by itself: a model that neither the config nor the price catalogue
knows is `_OTHER`. Teams are labels on cost and tokens only. Each metric keeps at most 2,000 series;
what comes later is counted under `otel_metric_overflow=\"true\"`.
";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[expect(clippy::disallowed_methods, reason = "the switch that writes the page instead of checking it")]
    fn the_page_is_up_to_date() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/METRICS.md");
        if std::env::var_os("TOLLGATE_WRITE_DOCS").is_some() {
            std::fs::write(path, markdown()).unwrap();
        }
        let page = std::fs::read_to_string(path).unwrap();
        assert!(page == markdown(), "docs/METRICS.md is stale: see its first paragraph");
    }

    #[test]
    fn names_end_as_prometheus_wants_them() {
        let name = |wanted: &str| prometheus_name(METRICS.iter().find(|row| row.name == wanted).unwrap());
        assert_eq!(name("http.server.request.duration"), "http_server_request_duration_seconds");
        assert_eq!(name("tollgate.cost"), "tollgate_cost_total");
        assert_eq!(name("tollgate.budget.utilization"), "tollgate_budget_utilization_ratio");
        assert_eq!(name("tollgate.stream.active"), "tollgate_stream_active");
    }
}
