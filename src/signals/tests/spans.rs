use std::collections::HashMap;
use std::sync::mpsc::Receiver;

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::{KeyValue, any_value};
use opentelemetry_proto::tonic::trace::v1::Span;
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use opentelemetry_proto::tonic::trace::v1::status::StatusCode;
use prost::Message as _;

use super::receiver::receiver;
use super::story::{CALLER, Story, UNSAMPLED};
use super::{PATIENCE, exporting_to};
use crate::store::record::Outcome;
use crate::telemetry::trace::TraceContext;

fn spans_of(received: &Receiver<(String, Vec<u8>)>) -> Vec<Span> {
    let mut spans = Vec::new();
    for (path, body) in received.try_iter().filter(|(path, _)| path == "/v1/traces") {
        let request =
            ExportTraceServiceRequest::decode(&body[..]).unwrap_or_else(|error| panic!("{path}: {error}"));
        for resource in request.resource_spans {
            assert_eq!(attributes(&resource.resource.unwrap().attributes)["service.name"], "tollgate");
            spans.extend(resource.scope_spans.into_iter().flat_map(|scope| scope.spans));
        }
    }
    spans
}

fn attributes(list: &[KeyValue]) -> HashMap<String, String> {
    list.iter()
        .map(|pair| (pair.key.clone(), shown(pair.value.as_ref().unwrap().value.as_ref().unwrap())))
        .collect()
}

fn shown(value: &any_value::Value) -> String {
    match value {
        any_value::Value::StringValue(text) => text.clone(),
        any_value::Value::BoolValue(value) => value.to_string(),
        any_value::Value::IntValue(value) => value.to_string(),
        any_value::Value::DoubleValue(value) => value.to_string(),
        any_value::Value::ArrayValue(list) => {
            list.values.iter().map(|item| shown(item.value.as_ref().unwrap())).collect::<Vec<_>>().join(",")
        }
        other => panic!("no such attribute is sent: {other:?}"),
    }
}

#[tokio::test]
async fn a_receiver_sees_one_server_span_and_one_client_span_per_attempt_in_the_callers_trace() {
    let (endpoint, received) = receiver();
    let signals = exporting_to(&endpoint);
    signals.finish(&Story::failed_over(CALLER).done());
    tokio::task::spawn_blocking(move || signals.flush_and_stop(PATIENCE)).await.unwrap();

    let spans = spans_of(&received);
    assert_eq!(spans.len(), 3);
    let caller = TraceContext::parse([CALLER.as_bytes()], []).unwrap();
    assert!(spans.iter().all(|span| span.trace_id == caller.trace_id.to_be_bytes()));
    let named = |name: &str| spans.iter().find(|span| span.name == name).unwrap();
    let (server, first, second) =
        (named("POST /v1/chat/completions"), named("chat gpt-4o"), named("chat claude-x"));

    assert_eq!(server.kind(), SpanKind::Server);
    assert_eq!(server.parent_span_id, caller.parent_span_id.unwrap().to_be_bytes());
    assert_eq!(server.end_time_unix_nano - server.start_time_unix_nano, 1_200_000_000);
    let on_server = attributes(&server.attributes);
    for (name, value) in [
        ("http.response.status_code", "200"),
        ("tollgate.request.id", "req_00000000000000000000000007"),
        ("tollgate.request.model", "smart"),
        ("tollgate.tenant.id", "search"),
        ("tollgate.attempt.count", "2"),
        ("tollgate.failover", "true"),
        ("tollgate.cache.result", "miss"),
        ("tollgate.usage.input_tokens", "300"),
        ("tollgate.cost.amount", "0.00213"),
        ("tollgate.sampling.reason", "remote"),
    ] {
        assert_eq!(on_server[name], value, "{name}");
    }
    assert!(!on_server.contains_key("error.type"), "what was recovered is no error");
    assert!(!on_server.keys().any(|name| name.starts_with("gen_ai.")), "{on_server:?}");

    for (span, id) in [(first, 0xa1_u64), (second, 0xa2)] {
        assert_eq!(span.kind(), SpanKind::Client);
        assert_eq!((&span.parent_span_id, &span.span_id[..]), (&server.span_id, &id.to_be_bytes()[..]));
    }
    let on_first = attributes(&first.attributes);
    assert_eq!(first.status.as_ref().unwrap().code(), StatusCode::Error);
    assert_eq!(
        (&on_first["error.type"][..], &on_first["http.response.status_code"][..]),
        ("rate_limit_exceeded", "429")
    );
    assert!(!on_first.keys().any(|name| name.starts_with("gen_ai.usage.")), "{on_first:?}");
    assert_eq!(on_first["gen_ai.response.finish_reasons"], "error");
    let on_second = attributes(&second.attributes);
    for (name, value) in [
        ("gen_ai.provider.name", "anthropic"),
        ("gen_ai.request.model", "claude-x"),
        ("gen_ai.response.model", "claude-x-1"),
        ("gen_ai.response.id", "msg_1"),
        ("gen_ai.response.finish_reasons", "stop"),
        ("gen_ai.request.stream", "true"),
        ("gen_ai.request.temperature", "0.5"),
        ("gen_ai.response.time_to_first_chunk", "0.3"),
        ("gen_ai.usage.input_tokens", "300"),
        ("gen_ai.usage.cache_read.input_tokens", "50"),
        ("gen_ai.usage.output_tokens", "180"),
        ("tollgate.attempt.reason", "failover"),
        ("server.address", "api.anthropic.example"),
    ] {
        assert_eq!(on_second[name], value, "{name}");
    }
}

#[test]
fn a_trace_the_caller_does_not_record_is_kept_only_when_something_went_wrong() {
    let (endpoint, received) = receiver();
    let signals = exporting_to(&endpoint);
    let mut fine = Story::failed_over(UNSAMPLED);
    fine.attempts.remove(0);
    signals.finish(&fine.done());
    let mut broken = Story::failed_over(UNSAMPLED);
    broken.attempts.remove(0);
    broken.record.outcome = Outcome::Truncated;
    signals.finish(&broken.done());
    signals.flush_and_stop(PATIENCE);

    let spans = spans_of(&received);
    let servers: Vec<_> = spans.iter().filter(|span| span.kind() == SpanKind::Server).collect();
    assert_eq!(servers.len(), 1);
    let on_server = attributes(&servers[0].attributes);
    assert_eq!(on_server["error.type"], "upstream_stream_interrupted");
    assert_eq!(
        (&on_server["http.response.status_code"][..], &on_server["tollgate.sampling.reason"][..]),
        ("200", "error")
    );
    assert_eq!(servers[0].status.as_ref().unwrap().code(), StatusCode::Error);
}

#[test]
fn a_refusal_is_no_error_and_says_why() {
    let (endpoint, received) = receiver();
    let signals = exporting_to(&endpoint);
    signals.finish(&Story::refused(CALLER).done());
    let text = signals.prometheus_text();
    signals.flush_and_stop(PATIENCE);
    let spans = spans_of(&received);
    let on_server = attributes(&spans[0].attributes);
    assert_eq!((spans.len(), &on_server["tollgate.rejection.reason"][..]), (1, "rate_limited"));
    assert!(!on_server.contains_key("error.type"));
    assert!(
        text.contains(r#"tollgate_rate_limiting_rejections_total{tollgate_rate_limiting_limit_type="requests",tollgate_rate_limiting_scope="team"} 1"#),
        "{text}"
    );
}

#[test]
fn a_receiver_that_never_answers_holds_up_neither_requests_nor_the_stop() {
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let signals = exporting_to(&format!("http://{}", silent.local_addr().unwrap()));
    let (done, stopped) = std::sync::mpsc::sync_channel(1);
    std::thread::spawn(move || {
        for _ in 0..5_000 {
            signals.finish(&Story::failed_over(CALLER).done());
        }
        signals.flush_and_stop(std::time::Duration::from_millis(50));
        drop(signals);
        done.send(()).unwrap();
    });
    stopped.recv_timeout(PATIENCE).expect("the stop ends without the receiver");
}
