//! What a collector, a scrape and a reader of the log see, and what they never see.

use std::collections::HashMap;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::{KeyValue, any_value};
use opentelemetry_proto::tonic::trace::v1::Span;
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use prost::Message as _;

use crate::support::{
    Ask, CI, Gateway, OTHER, PROD, Recorder, UPSTREAM, chat, json_answer, mock, stream_chat,
};

const CALLER: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

/// A collector: path and body of what was pushed.
#[derive(Debug, Clone)]
struct Collector {
    endpoint: String,
    got: Arc<Mutex<Vec<Push>>>,
}

/// Path and body.
type Push = (String, Vec<u8>);

impl Collector {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let collector = Self { endpoint, got: Arc::default() };
        let own = collector.clone();
        std::thread::spawn(move || {
            for connection in listener.incoming().map_while(Result::ok) {
                let own = own.clone();
                std::thread::spawn(move || while own.take(&connection).is_some() {});
            }
        });
        collector
    }

    /// Takes one push.
    fn take(&self, mut connection: &TcpStream) -> Option<()> {
        let mut reader = BufReader::new(connection);
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            (reader.read_line(&mut head).ok()? > 0).then_some(())?;
        }
        let head = head.to_ascii_lowercase();
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap();
        let mut body = vec![0; length.parse().unwrap()];
        reader.read_exact(&mut body).ok()?;
        let mut plain = Vec::new();
        flate2::read::GzDecoder::new(&body[..]).read_to_end(&mut plain).unwrap();
        let path = head.split(' ').nth(1).unwrap().to_owned();
        self.got.lock().unwrap().push((path, plain));
        connection.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").ok()
    }

    fn all(&self) -> Vec<Push> {
        self.got.lock().unwrap().clone()
    }

    fn spans(&self) -> Vec<Span> {
        let pushed = self.all().into_iter().filter(|(path, _)| path == "/v1/traces");
        let requests = pushed.map(|(_, body)| ExportTraceServiceRequest::decode(&body[..]).unwrap());
        let scopes = requests.flat_map(|request| request.resource_spans).flat_map(|spans| spans.scope_spans);
        scopes.flat_map(|scope| scope.spans).collect()
    }
}

fn attributes(list: &[KeyValue]) -> HashMap<String, String> {
    let shown = |pair: &KeyValue| match pair.value.as_ref().unwrap().value.as_ref().unwrap() {
        any_value::Value::StringValue(text) => text.clone(),
        other => format!("{other:?}"),
    };
    list.iter().map(|pair| (pair.key.clone(), shown(pair))).collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A gateway whose route leads to an upstream that fails, and then to one that answers.
fn failing_over(collector: &Collector, bad: &Recorder, good: &Recorder) -> Gateway {
    Gateway::start(&format!(
        "telemetry: {{ otlp_endpoint: \"{}\" }}
upstreams:
  bad: {{ base_url: \"http://{}/v1\" }}
  good: {{ base_url: \"http://{}/v1\" }}
routes: [{{ models: [\"*\"], to: [{{ upstream: bad }}, {{ upstream: good }}] }}]
teams: {{ search: {{ keys: [{{ name: prod, key: \"${{KEY_PROD}}\" }}] }} }}\n",
        collector.endpoint, bad.addr, good.addr
    ))
}

#[test]
fn the_caller_s_trace_goes_on_through_the_gateway() {
    let collector = Collector::start();
    let (bad, good) = (Recorder::start(|_| json_answer(503, "", "{}")), Recorder::plain());
    let mut gateway = failing_over(&collector, &bad, &good);
    let answer = gateway.send(&chat("gpt-4o-mini").header("traceparent", CALLER));
    assert_eq!(answer.status, 200);
    let row = gateway.row_of(&answer);
    gateway.signal("TERM");
    assert_eq!(gateway.exit().code(), Some(0));

    let spans = collector.spans();
    let trace = &CALLER[3..35];
    assert_eq!(spans.len(), 3, "{spans:?}");
    assert!(spans.iter().all(|span| hex(&span.trace_id) == trace) && row.trace_id == trace);
    let server = spans.iter().find(|span| span.kind() == SpanKind::Server).unwrap();
    assert_eq!(hex(&server.parent_span_id), &CALLER[36..52]);
    let on_server = attributes(&server.attributes);
    assert_eq!(on_server["tollgate.request.id"], answer.header("x-tollgate-request-id").unwrap());
    assert_eq!(on_server["tollgate.tenant.id"], "search");
    assert!(server.start_time_unix_nano > 0 && server.end_time_unix_nano > server.start_time_unix_nano);

    let mut clients: Vec<_> = spans.iter().filter(|span| span.kind() == SpanKind::Client).collect();
    clients.sort_by_key(|span| span.start_time_unix_nano);
    assert!(clients.iter().all(|span| span.parent_span_id == server.span_id));
    for (span, recorder) in clients.iter().zip([&bad, &good]) {
        let sent = recorder.only();
        let expected = format!("00-{trace}-{}-01", hex(&span.span_id));
        assert_eq!(
            sent.header("traceparent"),
            Some(expected.as_str()),
            "the attempt is the upstream's parent"
        );
        assert_eq!(attributes(&span.attributes)["server.address"], "127.0.0.1");
    }
    let on_good = attributes(&clients[1].attributes);
    assert_eq!(on_good["gen_ai.request.model"], "gpt-4o-mini");
    assert_eq!(on_good["gen_ai.usage.input_tokens"], "IntValue(9)");
    assert_eq!(attributes(&clients[0].attributes)["http.response.status_code"], "IntValue(503)");
}

#[test]
fn asking_again_without_our_question_is_an_attempt_of_its_own() {
    let (collector, mock) = (Collector::start(), mock());
    let mut gateway = Gateway::start(&format!(
        "telemetry: {{ otlp_endpoint: \"{}\" }}
upstreams: {{ up: {{ base_url: \"{}\" }} }}
teams: {{ search: {{ keys: [{{ name: prod, key: \"${{KEY_PROD}}\" }}] }} }}\n",
        collector.endpoint,
        mock.base_url()
    ));
    assert_eq!(gateway.send(&stream_chat("gpt-4o@out=20+no-stream-options")).status, 200);
    gateway.signal("TERM");
    assert_eq!(gateway.exit().code(), Some(0));
    let mut clients = collector.spans();
    clients.retain(|span| span.kind() == SpanKind::Client);
    clients.sort_by_key(|span| span.start_time_unix_nano);
    let told: Vec<_> = clients.iter().map(|span| attributes(&span.attributes)).collect();
    let of = |name: &str| told.iter().map(|span| span[name].clone()).collect::<Vec<_>>();
    assert_eq!(of("tollgate.attempt.reason"), ["initial", "retry"]);
    assert_eq!(of("http.response.status_code"), ["IntValue(400)", "IntValue(200)"]);
}

#[test]
fn tracestate_and_baggage_go_on_to_the_upstream() {
    let upstream = Recorder::plain();
    let gateway = Gateway::start(&format!(
        "upstreams: {{ up: {{ base_url: \"http://{}/v1\" }} }}
teams: {{ search: {{ keys: [{{ name: prod, key: \"${{KEY_PROD}}\" }}] }} }}\n",
        upstream.addr
    ));
    let ask = chat("gpt-4o")
        .header("traceparent", CALLER)
        .header("tracestate", "vendor=1")
        .header("baggage", "a=b");
    assert_eq!(gateway.send(&ask).status, 200);
    let sent = upstream.only();
    assert_eq!((sent.header("tracestate"), sent.header("baggage")), (Some("vendor=1"), Some("a=b")));
}

#[test]
fn an_upstream_abroad_is_told_of_no_trace() {
    let upstream = Recorder::plain();
    let gateway = Gateway::start(&format!(
        "upstreams: {{ up: {{ base_url: \"http://{}/v1\", propagate_trace: false }} }}
teams: {{ search: {{ keys: [{{ name: prod, key: \"${{KEY_PROD}}\" }}] }} }}\n",
        upstream.addr
    ));
    let ask = chat("gpt-4o")
        .header("traceparent", CALLER)
        .header("tracestate", "vendor=1")
        .header("baggage", "a=b");
    assert_eq!(gateway.send(&ask).status, 200);
    let sent = upstream.only();
    assert!(!sent.has("traceparent") && !sent.has("tracestate") && !sent.has("baggage"));
}

#[test]
fn the_metrics_page_is_as_prometheus_wants_it() {
    let mock = mock();
    let gateway = Gateway::start(&format!(
        "upstreams: {{ mock: {{ base_url: \"{}\" }} }}
teams:
  search:
    keys: [{{ name: prod, key: \"${{KEY_PROD}}\" }}]
    budgets: [{{ limit_usd: 1, every: day, unpriced: allow }}]
    cache: {{ ttl: 1h }}
    limits: {{ requests_per_minute: 6 }}\n",
        mock.base_url()
    ));
    let asks = [
        chat("gpt-4o"),
        chat("gpt-4o"),
        stream_chat("gpt-4o"),
        chat("gpt-4o@status=500"),
        stream_chat("gpt-4o@cut=300"),
        Ask::post("/v1/chat/completions", "{").bearer(PROD),
        chat("gpt-4o"),
        chat("gpt-4o"),
        Ask::get("/v1/models").bearer("nobody"),
    ];
    for ask in &asks {
        gateway.send(ask);
    }
    gateway.rows(asks.len());
    let page = gateway.metrics();
    for name in [
        "tollgate_tokens_total",
        "tollgate_request_duration_seconds_bucket",
        "tollgate_overhead_duration_seconds_sum",
    ] {
        assert!(page.contains(name), "{name} is missing:\n{page}");
    }
    let Ok(mut promtool) = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
    else {
        // as the README says: Debian's package `prometheus` has it
        let _ = writeln!(std::io::stderr(), "skipped: promtool is not installed");
        return;
    };
    promtool.stdin.take().unwrap().write_all(page.as_bytes()).unwrap();
    let judged = promtool.wait_with_output().unwrap();
    let told =
        String::from_utf8_lossy(&judged.stdout).into_owned() + &String::from_utf8_lossy(&judged.stderr);
    assert!(judged.status.success() && told.trim().is_empty(), "{told}");
}

#[test]
fn no_key_and_no_prompt_is_left_behind() {
    const PROMPT: &str = "canary-of-a-prompt";
    const ANSWER: &str = "canary-of-an-answer";
    let collector = Collector::start();
    let upstream = Recorder::start(|seen| {
        let status = if seen.text().contains("fail") { 500 } else { 200 };
        let body = format!(
            r#"{{"model":"gpt-4o","choices":[{{"message":{{"content":"{ANSWER}"}}}}],"error":null}}"#
        );
        json_answer(status, "", &body)
    });
    let mut gateway = Gateway::start(&format!(
        "telemetry: {{ otlp_endpoint: \"{}\" }}
log: {{ level: trace }}
upstreams: {{ up: {{ base_url: \"http://{}/v1\", api_key: \"${{UPSTREAM_KEY}}\" }} }}
teams: {{ search: {{ keys: [{{ name: prod, key: \"${{KEY_PROD}}\" }}], cache: {{ ttl: 1h }} }} }}\n",
        collector.endpoint, upstream.addr
    ));
    let body = |more: &str| {
        format!(r#"{{"model":"gpt-4o{more}","messages":[{{"role":"user","content":"{PROMPT}"}}]}}"#)
    };
    for ask in [
        Ask::post("/v1/chat/completions", body("")).bearer(PROD),
        Ask::post("/v1/chat/completions", body("-fail")).header("x-api-key", PROD),
        Ask::post("/v1/chat/completions", body("")).header("api-key", CI),
        Ask::post("/v1/chat/completions", body("") + PROMPT).bearer(PROD),
        Ask::post("/v1/chat/completions", body("")).bearer(PROD).header("x-api-key", OTHER),
        Ask::post("/v1/messages", body("")).bearer(OTHER),
        Ask::get(&format!("/v1/files?key={CI}")).bearer(PROD),
    ] {
        let answer = gateway.send(&ask);
        let text = answer.text();
        assert!([PROD, CI, OTHER, UPSTREAM].iter().all(|key| !text.contains(key)), "{text}");
        assert!(answer.status < 400 || answer.status == 500 || !text.contains(PROMPT), "{text}");
    }
    gateway.rows(7);
    let metrics = gateway.metrics();
    gateway.signal("TERM");
    gateway.exit();
    let mut places =
        vec![("log".to_owned(), gateway.log().into_bytes()), ("metrics".to_owned(), metrics.into_bytes())];
    places.extend(collector.all());
    for file in walk(&gateway.setup.data_dir()) {
        places.push((file.display().to_string(), std::fs::read(&file).unwrap()));
    }
    assert!(places.len() > 4, "something was pushed and written: {}", places.len());
    for (place, bytes) in &places {
        for secret in [PROD, CI, OTHER, UPSTREAM, PROMPT, ANSWER] {
            let found = bytes.windows(secret.len()).any(|part| part == secret.as_bytes());
            assert!(!found, "`{secret}` is in {place}");
        }
    }
}

fn walk(folder: &std::path::Path) -> Vec<std::path::PathBuf> {
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries.flat_map(|path| if path.is_dir() { walk(&path) } else { vec![path] }).collect()
}
