//! Done-when 2: the bytes that a client gets are those of the upstream asked directly, and the bytes that
//! the upstream gets are the client's.

use serde_json::{Value, json};
use tollgate::base::usage::UsageSource;
use tollgate::mock::{Mock, MockConfig, MockHandle};
use tollgate::store::record::Outcome;

use crate::support::{Answer, Ask, BodyEnd, House, Rates, Setup, Team, Wire, sha256_hex};

/// A gateway in front of one mock, and a twin of that mock. Both get the same questions in the same order,
/// so that even the ids in their headers agree.
struct Twins {
    house: House,
    twin: MockHandle,
}

impl Twins {
    fn start(setup: Setup) -> Self {
        let rates = Rates::flat(1_000_000, 2_000_000);
        let house = setup.team(Team::new("search")).price("gpt", rates).start();
        Self { house, twin: Mock::start(MockConfig::default()).unwrap() }
    }

    /// Asks both; the answers must agree in status line, headers and every byte of the body.
    fn agree(&self, ask: &Ask) -> Answer {
        let through = self.house.ask(&ask.clone().team("search"));
        // under the name by which the gateway asks, so that an echo of the headers agrees too
        let host = self.house.mock.addr.to_string();
        let direct = Wire::open_as(self.twin.addr, &host).ask(&ask.clone().key("someone"));
        let shown = String::from_utf8_lossy(&ask.body);
        assert_eq!(through.head.line, direct.head.line, "{shown}");
        assert_eq!(passed_on(&through), passed_on(&direct), "{shown}");
        assert_eq!(through.end, direct.end, "{shown}");
        assert_eq!(sha256_hex(&through.body), sha256_hex(&direct.body), "{shown}");
        through
    }

    /// The hash of the last body that the gateway's mock got.
    fn body_seen(&self) -> String {
        self.house.served().last().unwrap().body_sha256.clone()
    }
}

/// The headers that an upstream means for its client, in order. A date is there or not; its second is chance.
fn passed_on(answer: &Answer) -> Vec<(String, String)> {
    let ours = |name: &str| name.starts_with("x-tollgate-") || name == "server-timing";
    let hop = |name: &str| matches!(name, "connection" | "keep-alive" | "transfer-encoding");
    let headers = answer.head.headers.iter().filter(|(name, _)| !ours(name) && !hop(name));
    headers.map(|(name, value)| (name.clone(), if name == "date" { "" } else { value }.into())).collect()
}

fn messages() -> Value {
    json!([{"role": "system", "content": "be brief"}, {"role": "user", "content": "Straße, 日本 \u{1F600} \"x\""}])
}

fn chat(model: &str) -> Value {
    json!({"model": model, "messages": messages()})
}

fn tool_chat(model: &str) -> Value {
    let tool = json!({"type": "function", "function": {"name": "f", "parameters": {"type": "object",
        "properties": {"city": {"type": "string"}, "days": {"type": "integer"}}}}});
    json!({"model": model, "messages": messages(), "tools": [tool], "tool_choice": "required"})
}

/// Every metered operation, and some that are not, with a body each.
fn operations(model: &str) -> Vec<(&'static str, Value)> {
    vec![
        ("/v1/chat/completions", chat(model)),
        ("/v1/chat/completions", tool_chat(model)),
        ("/v1/completions", json!({"model": model, "prompt": "once upon"})),
        ("/v1/responses", json!({"model": model, "input": "hello there", "instructions": "be brief"})),
        ("/v1/embeddings", json!({"model": model, "input": ["a b", "c"], "encoding_format": "base64"})),
        ("/v1/moderations", json!({"model": model, "input": "hello"})),
        (
            "/v1/messages",
            json!({"model": model, "max_tokens": 50, "messages": [{"role": "user", "content": "hi"}]}),
        ),
        (
            "/v1/messages/count_tokens",
            json!({"model": model, "messages": [{"role": "user", "content": "hi"}]}),
        ),
    ]
}

/// The operations that stream.
fn streams(model: &str) -> Vec<(&'static str, Value)> {
    let mut streams = operations(model);
    streams.retain(|(path, _)| {
        ["/v1/chat/completions", "/v1/completions", "/v1/responses", "/v1/messages"].contains(path)
    });
    for (_, body) in &mut streams {
        body["stream"] = json!(true);
    }
    streams
}

#[test]
fn wire_01_a_json_answer_is_the_upstreams_own_in_every_operation_and_coding() {
    let twins = Twins::start(Setup::default());
    for knobs in
        ["gpt", "gpt@gzip", "gpt@br", "gpt@zstd", "gpt@deflate", "gpt@slice=7", "gpt@reasoning=5+cached=2"]
    {
        for (path, body) in operations(knobs) {
            let ask = Ask::post(path, &body)
                .header("anthropic-version", "2023-06-01")
                .header("accept-encoding", "gzip, br");
            let answer = twins.agree(&ask);
            assert_eq!((answer.status(), answer.end), (200, BodyEnd::Whole), "{knobs} {path}");
            assert_eq!(twins.body_seen(), sha256_hex(&ask.body), "{knobs} {path}");
        }
    }
}

#[test]
fn a_path_that_nobody_knows_passes_both_ways_untouched() {
    let twins = Twins::start(Setup::default());
    twins.agree(&Ask::get("/v1/models"));
    twins.agree(&Ask::get("/v1/models").method("HEAD"));
    twins.agree(&Ask::get("/v1/responses/resp_1").method("DELETE"));
    twins.agree(&Ask::get("/v1/files?limit=2&after=%2Fx%20y").header("x-b", "2").header("x-a", "1"));
    let ask = Ask::raw("/v1/fine_tuning/jobs", &b"{ \"not\" : json\x00\xff"[..]).header("openai-beta", "v2");
    let answer = twins.agree(&ask);
    assert_eq!(answer.json()["body_sha256"], sha256_hex(&ask.body));
    assert_eq!(twins.house.row(&answer).operation, "unmetered");
    let answer = twins.house.ask(&ask.clone().chunked(3).team("search"));
    assert_eq!(answer.json()["body_sha256"], sha256_hex(&ask.body), "in pieces, too");
}

#[test]
fn an_error_of_the_upstream_is_the_upstreams_own() {
    let twins = Twins::start(Setup::default());
    for knobs in ["gpt@status=400", "gpt@status=429+retry-after=7", "gpt@status=500", "gpt@status=503+gzip"] {
        for (path, body) in operations(knobs) {
            let answer = twins.agree(&Ask::post(path, &body).header("anthropic-version", "2023-06-01"));
            assert!(answer.status() >= 400, "{knobs} {path}");
            let row = twins.house.row(&answer);
            assert_eq!(
                (row.outcome, row.status),
                (Outcome::UpstreamError, answer.status()),
                "{knobs} {path}"
            );
        }
    }
}

const STREAM_KNOBS: &[&str] = &[
    "gpt",
    "gpt@crlf",
    "gpt@comments",
    "gpt@comments+crlf+slice=3",
    "gpt@slice=1+out=6",
    "gpt@burst",
    "gpt@reasoning=7+cached=3",
    "gpt@usage=every-chunk",
    "gpt@usage=finish-chunk",
    "gpt@usage=null",
    "gpt@no-usage",
    "gpt@error-frame=4",
    "gpt@out=0",
    "gpt@out=400+burst",
    "gpt@out=2000+slice=1000",
    "gpt@no-stream-options",
];

#[test]
fn wire_25_a_stream_that_asks_for_usage_is_the_upstreams_own() {
    let twins = Twins::start(Setup::default());
    for knobs in STREAM_KNOBS.iter().chain(&["gpt@gzip", "gpt@br", "gpt@zstd+slice=5", "gpt@deflate"]) {
        for (path, mut body) in streams(knobs) {
            if path.ends_with("completions") {
                body["stream_options"] = json!({"include_usage": true});
            }
            let ask = Ask::post(path, &body).header("anthropic-version", "2023-06-01");
            twins.agree(&ask);
            assert_eq!(twins.body_seen(), sha256_hex(&ask.body), "{knobs} {path}");
        }
    }
}

/// What ends a chunked body well.
const LAST_CHUNK: &[u8] = b"\r\n0\r\n\r\n";

#[test]
fn s_06_a_stream_that_does_not_ask_for_usage_is_the_upstreams_own_and_still_counted() {
    let twins = Twins::start(Setup::default());
    // with `no-stream-options` the mock is asked twice, with `comments` the added chunk has one of its own
    let alike = |knobs: &&&str| !knobs.contains("no-stream-options") && !knobs.contains("comments");
    for knobs in STREAM_KNOBS.iter().filter(alike) {
        for (path, mut body) in streams(knobs) {
            if path.ends_with("completions") {
                body["n"] = json!(2);
            }
            let answer = twins.agree(&Ask::post(path, &body).header("anthropic-version", "2023-06-01"));
            let mut served = twins.house.served().pop().unwrap();
            let row = twins.house.row(&answer);
            if path == "/v1/messages" {
                // a stream of messages tells the sum only
                served.usage.reasoning_tokens = 0;
            }
            let shown = format!("{knobs} {path}");
            if served.usage_reported && !knobs.contains("error-frame") {
                assert_eq!(
                    (row.outcome, row.usage_source),
                    (Outcome::Completed, UsageSource::Reported),
                    "{shown}"
                );
                assert_eq!(row.usage, served.usage, "{shown}");
            } else {
                assert_ne!(row.usage_source, UsageSource::None, "{shown}");
            }
        }
    }
}

#[test]
fn wire_06_a_comment_in_front_of_the_added_chunk_is_all_that_stays_of_it() {
    let twins = Twins::start(Setup::default());
    for (knobs, comment) in
        [("gpt@comments", ": keep-alive\n\n"), ("gpt@comments+crlf+slice=3", ": keep-alive\r\n\r\n")]
    {
        let mut body = chat(knobs);
        body["stream"] = json!(true);
        let ask = Ask::post("/v1/chat/completions", &body);
        let through = twins.house.ask(&ask.clone().team("search")).text();
        let direct = Wire::open(twins.twin.addr).ask(&ask).text();
        assert_eq!(through.matches(comment).count(), direct.matches(comment).count() + 1);
        assert_eq!(through.replace(comment, ""), direct.replace(comment, ""));
    }
}

#[test]
fn an_upstream_that_refuses_the_option_is_asked_without_it_and_remembered() {
    let twins = Twins::start(Setup::default());
    let mut body = chat("gpt@no-stream-options");
    body["stream"] = json!(true);
    let ask = Ask::post("/v1/chat/completions", &body);
    let direct = Wire::open(twins.twin.addr).ask(&ask).text();
    for asked in [2, 3] {
        let answer = twins.house.ask(&ask.clone().team("search"));
        assert_eq!(answer.text(), direct);
        assert_eq!(twins.house.mock.served().len(), asked, "once more, once");
        assert_eq!(twins.house.row(&answer).usage_source, UsageSource::Estimated);
    }
}

#[test]
fn a_stream_left_as_it_is_is_the_upstreams_own_and_estimated() {
    let twins = Twins::start(Setup::default().upstream("stream_usage: as_is"));
    for knobs in STREAM_KNOBS.iter().chain(&["gpt@gzip", "gpt@br", "gpt@zstd", "gpt@deflate"]) {
        for (path, body) in streams(knobs) {
            let ask = Ask::post(path, &body).header("anthropic-version", "2023-06-01");
            let answer = twins.agree(&ask);
            assert_eq!(twins.body_seen(), sha256_hex(&ask.body), "{knobs} {path}");
            let row = twins.house.row(&answer);
            assert_ne!(row.usage_source, UsageSource::None, "{knobs} {path}");
        }
    }
}

#[test]
fn wire_31_a_cut_stream_is_an_exact_prefix_and_never_ends_well() {
    for (setup, asks) in [
        (Setup::default(), false),
        (Setup::default(), true),
        (Setup::default().upstream("stream_usage: as_is"), false),
    ] {
        let twins = Twins::start(setup);
        for knobs in ["gpt@out=40+cut=0", "gpt@out=40+cut=1000", "gpt@out=40+cut=1777", "gpt@out=40+rst=2000"]
        {
            for (path, mut body) in streams(knobs) {
                if asks && path.ends_with("completions") {
                    body["stream_options"] = json!({"include_usage": true});
                }
                let ask = Ask::post(path, &body).header("anthropic-version", "2023-06-01");
                let answer = twins.house.ask(&ask.clone().team("search"));
                let whole = Ask::post(path, &with_model(&body, "gpt@out=40"))
                    .header("anthropic-version", "2023-06-01");
                let direct = Wire::open(twins.twin.addr).ask(&whole);
                let shown = format!("{knobs} {path} {asks}");
                assert_eq!(answer.end, BodyEnd::BrokenOff, "{shown}");
                assert!(!answer.raw.ends_with(LAST_CHUNK), "{shown}");
                assert!(direct.body.starts_with(&answer.body), "{shown}: {}", answer.text());
                let row = twins.house.row(&answer);
                assert_eq!(row.outcome, Outcome::Truncated, "{shown}");
                assert_eq!(row.response_bytes, answer.body.len() as u64, "{shown}");
            }
        }
    }
}

fn with_model(body: &Value, model: &str) -> Value {
    let mut body = body.clone();
    body["model"] = json!(model);
    body
}

#[test]
fn wire_28_a_request_body_reaches_the_upstream_as_it_was_written() {
    let twins = Twins::start(Setup::default());
    let bodies = [
        "{\"model\":\"gpt\",\"messages\":[{\"role\":\"user\",\"content\":\"h\\u00e9\\/\\ud83d\\ude00\"}],\"x\":1.10e+2}",
        "  {\n\t\"stream\" : false , \"unknown\" : {\"b\":1,\"a\":[ ]},\r\n \"messages\":[] ,\"model\" : \"gpt\" }  ",
        "{\"seed\":18446744073709551616,\"temperature\":0.70,\"model\":\"gpt\",\"messages\":[],\"user\":\"\\u0000\"}",
        "{\"model\":\"gpt\",\"messages\":[],\"stream\":true,\"stream_options\":{\"include_usage\":true,\"x\":[1,2]}}",
    ];
    for body in bodies {
        let ask = Ask::raw("/v1/chat/completions", body);
        twins.agree(&ask);
        assert_eq!(twins.body_seen(), sha256_hex(&ask.body), "{body}");
        twins.agree(&ask.clone().chunked(7));
        assert_eq!(twins.body_seen(), sha256_hex(&ask.body), "{body}");
        twins.agree(&ask.clone().header("expect", "100-continue"));
        assert_eq!(twins.body_seen(), sha256_hex(&ask.body), "{body}");
    }
}

#[test]
fn an_alias_changes_the_model_name_and_nothing_else() {
    let setup = Setup::default()
        .with("routes: [{ models: [fast], to: [{ upstream: mock, model: gpt }] }]")
        .upstream("stream_usage: as_is");
    let twins = Twins::start(setup);
    for stream in ["false", "true"] {
        let body = |model: &str| {
            format!(
                "{{ \"n\" : 1.0e0,\"model\"\t: \"{model}\" ,\"messages\":[{{\"model\":\"fast\"}}],\"stream\":{stream}}}"
            )
        };
        let through = twins.house.ask(&Ask::raw("/v1/chat/completions", body("fast")).team("search"));
        let direct = Wire::open(twins.twin.addr).ask(&Ask::raw("/v1/chat/completions", body("gpt")));
        assert_eq!(through.text(), direct.text());
        assert_eq!(twins.body_seen(), sha256_hex(body("gpt").as_bytes()));
        assert_eq!(twins.house.row(&through).upstream_model, "gpt");
    }
}
