use std::io::Write as _;

use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use prost::Message as _;

use super::receiver::receiver;
use super::story::{CALLER, Story, UNSAMPLED};
use super::{PATIENCE, exporting_to, local};
use crate::base::chance::Chance;
use crate::base::money::NanoUsd;
use crate::signals::section::{LogFormat, LogSection, TelemetrySection};
use crate::signals::{BudgetGauge, Colours, LedgerStatus, Signals};
use crate::store::record::CacheResult;
use crate::telemetry::catalogue::prometheus_name;
use crate::telemetry::metrics::METRICS;
use crate::telemetry::words::AttemptReason;

#[test]
fn metrics_are_pushed_when_signals_stop() {
    let (endpoint, received) = receiver();
    let signals = exporting_to(&endpoint);
    signals.finish(&Story::failed_over(CALLER).done());
    signals.flush_and_stop(PATIENCE);
    let pushed: Vec<_> = received.try_iter().filter(|(path, _)| path == "/v1/metrics").collect();
    let (_, last) = pushed.last().unwrap();
    let request = ExportMetricsServiceRequest::decode(&last[..]).unwrap();
    let names: Vec<_> = request
        .resource_metrics
        .into_iter()
        .flat_map(|resource| resource.scope_metrics)
        .flat_map(|scope| scope.metrics)
        .map(|metric| metric.name)
        .collect();
    assert!(names.contains(&"gen_ai.client.token.usage".into()), "{names:?}");
}

#[test]
fn a_model_that_nobody_knows_is_no_label() {
    let signals = local();
    let mut story = Story::failed_over(CALLER);
    story.record.model = "caller-made-this-up".into();
    story.attempts[1].model_sent = "caller-made-this-up".into();
    story.record.response_model = "upstream-made-this-up".into();
    story.model_known = false;
    signals.finish(&story.done());
    let text = signals.prometheus_text();
    assert!(!text.contains("made-this-up"), "{text}");
    assert!(
        text.contains(r#"gen_ai_request_model="_OTHER""#)
            && text.contains(r#"tollgate_request_model="_OTHER""#)
    );
}

#[test]
fn what_is_at_work_is_counted_while_it_is_held() {
    let signals = local();
    let line = "http_server_active_requests{http_request_method=\"POST\",url_scheme=\"http\"}";
    let request = signals.request_started("POST", "http");
    let others = (signals.stream_started("openai.chat_completions"), signals.attempt_started("openai"));
    let text = signals.prometheus_text();
    assert!(text.contains(&format!("{line} 1")), "{text}");
    assert!(text.contains("tollgate_upstream_request_active{tollgate_target_id=\"openai\"} 1"), "{text}");
    drop((request, others));
    assert!(signals.prometheus_text().contains(&format!("{line} 0")));
}

#[test]
fn requests_alike_add_up_in_one_series_and_others_have_their_own() {
    let signals = local();
    let mut other = Story::failed_over(UNSAMPLED);
    other.record.team = "billing".into();
    for story in [Story::failed_over(UNSAMPLED), other, Story::failed_over(UNSAMPLED)] {
        signals.finish(&story.done());
    }
    let text = signals.prometheus_text();
    let tokens = |team: &str, direction: &str| {
        let labels = [r#"gen_ai_request_model="claude-x""#.into(), format!("tollgate_tenant_id=\"{team}\"")];
        format!("tollgate_tokens_total{{{},tollgate_token_type=\"{direction}\"}}", labels.join(","))
    };
    for (series, value) in [
        (tokens("search", "input"), 600),
        (tokens("search", "output"), 360),
        (tokens("billing", "input"), 300),
        ("tollgate_price_lookups_total{tollgate_price_status=\"exact\"}".into(), 3),
        ("tollgate_budget_decisions_total{tollgate_budget_decision=\"allow\",tollgate_budget_scope=\"team\"}".into(), 3),
    ] {
        assert!(text.contains(&format!("{series} {value}\n")), "{series} {value} in\n{text}");
    }
    assert!(
        !text.contains("status=\"missing\""),
        "a series that nothing was recorded in is not there:\n{text}"
    );
}

/// Everything that can be counted, counted once.
fn all_metrics() -> String {
    let signals = exporting_to("http://127.0.0.1:9");
    let _at_work =
        (signals.request_started("POST", "http"), signals.stream_started("x"), signals.attempt_started("x"));
    signals.finish(&Story::failed_over(UNSAMPLED).done());
    signals.finish(&Story::refused(UNSAMPLED).done());
    let mut retried = Story::failed_over(UNSAMPLED);
    retried.attempts[1].reason = AttemptReason::Retry;
    signals.finish(&retried.done());
    let mut hit = Story::failed_over(UNSAMPLED);
    hit.attempts.clear();
    hit.record.cache = CacheResult::Hit;
    hit.record.saved = NanoUsd::new(5);
    signals.finish(&hit.done());
    signals.config_reloaded(true);
    signals.config_reloaded(false);
    signals.panicked();
    signals.budget_crossed("team:search/month", "team search", 75);
    signals.budget_shadowed("team:search/month", "team search", "0.10 USD");
    signals.budget_drifted("team:search/month", "team search", "0.10 USD", "0.20 USD");
    signals.budgets_source(|| {
        vec![BudgetGauge {
            id: "team:search/month".into(),
            scope: "team",
            window: "month",
            limit_usd: Some(NanoUsd::from_usd(500)),
            usage_usd: Some(NanoUsd::from_usd(501)),
            utilization: 1.002,
        }]
    });
    signals.ledger_source(|| LedgerStatus { lag: 3, written: 40, failed: 1, deferred: 2 });
    signals.prometheus_text()
}

#[test]
fn prometheus_has_every_metric_of_the_table_under_its_documented_name() {
    let text = all_metrics();
    for row in METRICS {
        let name = prometheus_name(row);
        assert!(text.contains(&format!("# HELP {name} {}\n", row.help)), "{name} in\n{text}");
    }
    for metric in text.lines().filter_map(|line| line.strip_prefix("# TYPE ")) {
        let name = metric.split(' ').next().unwrap();
        assert!(name == "target_info" || METRICS.iter().any(|row| prometheus_name(row) == name), "{name}");
    }
    assert!(text.contains("tollgate_budget_remaining{tollgate_budget_id=\"team:search/month\",tollgate_budget_scope=\"team\",tollgate_budget_window=\"month\"} 0\n"), "never below 0");
    assert!(!text.contains("otel_scope"));
}

#[test]
fn every_label_is_one_of_the_metrics_own() {
    let text = all_metrics();
    for row in METRICS {
        let allowed: Vec<String> = row.attributes.iter().map(|name| name.replace('.', "_")).collect();
        let name = prometheus_name(row);
        for line in text.lines().filter(|line| line.starts_with(&format!("{name}{{"))) {
            let labels = &line[name.len() + 1..line.rfind('}').unwrap()];
            for label in labels.split("\",").map(|pair| pair.split('=').next().unwrap()) {
                assert!(label == "le" || allowed.iter().any(|name| name == label), "{label} on {line}");
            }
        }
    }
}

#[test]
fn prometheus_text_has_the_grammar_and_passes_promtool_where_there_is_one() {
    let text = all_metrics();
    for line in text.lines().filter(|line| !line.starts_with("# HELP ") && !line.starts_with("# TYPE ")) {
        let (series, value) = line.rsplit_once(' ').unwrap();
        let name = series.split('{').next().unwrap();
        assert!(name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_'), "{line}");
        assert!(!series.contains('{') || series.ends_with('}'), "{line}");
        assert!(value == "+Inf" || value.parse::<f64>().is_ok_and(f64::is_finite), "{line}");
    }
    let promtool = std::process::Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn();
    let Ok(mut promtool) = promtool else { return };
    promtool.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    let said = promtool.wait_with_output().unwrap();
    let told = String::from_utf8_lossy(&[said.stdout, said.stderr].concat()).into_owned();
    assert!(said.status.success() && told.trim().is_empty(), "{told}");
}

#[test]
fn a_level_that_is_none_is_refused_by_name() {
    let log = LogSection { level: "tollgate=fnord".into(), format: LogFormat::Json, requests: true };
    let fault =
        Signals::start(&TelemetrySection::default(), &log, &Chance::seeded(1), Colours::Never).unwrap_err();
    assert!(fault.to_string().contains("log.level: `tollgate=fnord`"), "{fault}");
}
