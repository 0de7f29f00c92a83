//! The mock's promises, over real connections.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};

use serde_json::{Value, json};

use super::{End, Mock, MockConfig, MockHandle, Served};

#[test]
fn the_same_question_gets_the_same_bytes() {
    let mock = mock();
    let paths =
        ["/v1/chat/completions", "/v1/completions", "/v1/responses", "/v1/messages", "/v1/embeddings"];
    for (path, stream) in paths.into_iter().flat_map(|path| [(path, false), (path, true)]) {
        let more = json!({"stream": stream, "input": "hi", "prompt": "hi", "max_tokens": 9});
        let question = chat("gpt-4o-mini", &more);
        let (first, second) = (post(&mock, path, &question), post(&mock, path, &question));
        assert_eq!((first.status, &first.body), (200, &second.body), "{path}");
    }
}

#[test]
fn asking_for_usage_changes_nothing_else() {
    let mock = mock();
    let plain = post(&mock, CHAT, &chat("gpt-4o", &json!({"stream": true, "n": 2}))).text();
    let options = json!({"stream": true, "n": 2, "stream_options": {"include_usage": true}});
    let asked = post(&mock, CHAT, &chat("gpt-4o", &options)).text();
    assert!(!plain.contains("usage") && plain.ends_with("data: [DONE]\n\n"));
    let kept: Vec<&str> = asked.split("\n\n").filter(|event| !event.contains("\"choices\":[]")).collect();
    assert_eq!(kept.join("\n\n").replace(",\"usage\":null", ""), plain);
    let last = events(&asked).into_iter().rev().nth(1).unwrap();
    assert_eq!(last["usage"]["completion_tokens"], json!(settled(&mock).usage.output_tokens));
}

#[test]
fn a_lower_cap_gives_a_prefix_and_says_so() {
    let mock = mock();
    let content = |question: &Value| post(&mock, CHAT, question).json()["choices"][0].clone();
    let whole = content(&chat("gpt-4o", &json!({})));
    let short = content(&chat("gpt-4o", &json!({"max_completion_tokens": 3})));
    let (whole_text, short_text) =
        (whole["message"]["content"].as_str(), short["message"]["content"].as_str());
    assert!(whole_text.unwrap().starts_with(short_text.unwrap()));
    assert_eq!((&whole["finish_reason"], &short["finish_reason"]), (&json!("stop"), &json!("length")));
    assert_eq!(settled(&mock).usage.output_tokens, 3);
}

#[test]
fn usage_is_spelt_as_the_model_name_says() {
    let mock = mock();
    let usage = |model: &str| post(&mock, CHAT, &chat(model, &json!({}))).json()["usage"].clone();
    assert_eq!(usage("mock-usage=negative")["completion_tokens"], json!(-5));
    assert_eq!(usage("mock-usage=huge")["completion_tokens"], json!(u64::MAX));
    assert!(usage("mock-usage=string")["prompt_tokens"].is_string());
    assert!(usage("mock-usage=float")["prompt_tokens"].is_f64());
    assert_eq!(usage("mock-no-usage"), Value::Null);
    assert!(mock.served().iter().all(|served| !served.usage_reported));
    let counted = usage("gpt-4o@in=1000+cached=50+out=7+reasoning=30");
    assert_eq!((&counted["prompt_tokens"], &counted["completion_tokens"]), (&json!(1000), &json!(37)));
    assert_eq!(counted["prompt_tokens_details"]["cached_tokens"], json!(50));
    assert!(settled(&mock).usage_reported);
}

#[test]
fn usage_can_be_where_other_servers_put_it() {
    let mock = mock();
    let ask = |model: &str| events(&post(&mock, CHAT, &chat(model, &json!({"stream": true}))).text());
    let every = ask("mock-usage=every-chunk+out=3");
    let counts: Vec<u64> =
        every.iter().filter_map(|chunk| chunk["usage"]["completion_tokens"].as_u64()).collect();
    assert_eq!(counts, [0, 1, 2, 3, 3, 3]);
    let finish = ask("mock-usage=finish-chunk+out=3");
    let with_usage: Vec<&Value> = finish.iter().filter(|chunk| chunk["usage"].is_object()).collect();
    assert_eq!(with_usage.len(), 1);
    assert_eq!(with_usage[0]["choices"][0]["finish_reason"], "stop");
}

#[test]
fn a_cut_answer_ends_after_exactly_that_many_bytes() {
    let mock = mock();
    for stream in [false, true] {
        let answer = post(&mock, CHAT, &chat("gpt-4o@cut=137", &json!({"stream": stream})));
        assert_eq!((answer.body.len(), answer.complete), (137, false));
        let served = settled(&mock);
        assert_eq!((served.end, served.bytes), (End::Cut, 137));
    }
}

#[test]
fn a_cut_beyond_the_end_cuts_nothing() {
    let mock = mock();
    for stream in [false, true] {
        let answer = post(&mock, CHAT, &chat("gpt-4o@cut=999999", &json!({"stream": stream})));
        assert!(answer.complete);
        assert_eq!(settled(&mock).end, End::Clean);
    }
}

#[test]
fn a_reset_is_a_reset() {
    let mock = mock();
    let mut socket = send(mock.addr, CHAT, &chat("gpt-4o@rst=20", &json!({"stream": true})));
    let mut heard = Vec::new();
    let fault = socket.read_to_end(&mut heard).unwrap_err();
    assert_eq!(fault.kind(), ErrorKind::ConnectionReset);
    assert!(String::from_utf8_lossy(&heard).contains("200 OK"));
}

#[test]
fn a_failure_with_a_number_passes() {
    let mock = mock();
    let question = chat("mock-status=503:2+retry-after=7", &json!({}));
    let statuses: Vec<u16> = (0..3).map(|_| post(&mock, CHAT, &question).status).collect();
    assert_eq!(statuses, [503, 503, 200]);
    let lasting = chat("mock-status=429+retry-after=7", &json!({}));
    let refused = post(&mock, CHAT, &lasting);
    assert!(refused.head.contains("retry-after: 7"));
    assert_eq!(refused.json()["error"]["code"], "rate_limit_exceeded");
    let messages = post(&mock, "/v1/messages", &chat("mock-status=402", &json!({"max_tokens": 9})));
    assert_eq!((messages.status, &messages.json()["error"]["type"]), (402, &json!("billing_error")));
}

#[test]
fn a_fault_in_the_request_is_a_400_that_names_it() {
    let mock = mock();
    let misspelt = post(&mock, CHAT, &chat("mock-outt=3", &json!({})));
    assert_eq!(misspelt.status, 400);
    assert!(misspelt.text().contains("outt"));
    let options = json!({"stream": true, "stream_options": {"include_usage": true}});
    assert_eq!(post(&mock, CHAT, &chat("mock-no-stream-options", &options)).status, 400);
    assert_eq!(post(&mock, "/v1/messages", &json!({"model": "claude", "messages": []})).status, 400);
    assert_eq!(post(&mock, CHAT, &json!({"messages": []})).status, 400);
}

#[test]
fn every_coding_decodes_to_the_plain_answer() {
    let mock = mock();
    for stream in [false, true] {
        let ask = |coding: &str| {
            post(&mock, CHAT, &chat(&format!("gpt-4o@out=30{coding}"), &json!({"stream": stream})))
        };
        let plain = ask("").body;
        for (knob, decode) in DECODERS {
            let coded = ask(&format!("+{knob}"));
            assert!(coded.head.contains(&format!("content-encoding: {knob}")), "{knob}");
            assert_eq!(decode(&coded.body), plain, "{knob}, stream {stream}");
        }
    }
}

#[test]
fn line_ends_comments_slices_and_bursts_carry_the_same_events() {
    let mock = mock();
    let ask = |knobs: &str| {
        post(&mock, CHAT, &chat(&format!("gpt-4o@out=5{knobs}"), &json!({"stream": true}))).text()
    };
    let plain = ask("");
    assert_eq!(ask("+crlf"), plain.replace('\n', "\r\n"));
    assert_eq!(ask("+comments").replace(": keep-alive\n\n", ""), plain);
    assert_eq!((ask("+slice=1"), ask("+burst"), ask("+pace=1ms")), (plain.clone(), plain.clone(), plain));
}

#[test]
fn an_error_event_ends_a_stream_without_done() {
    let mock = mock();
    let broken = |path| {
        let question = chat("mock-error-frame=3", &json!({"stream": true, "max_tokens": 50, "input": "hi"}));
        post(&mock, path, &question).text()
    };
    let chat = broken(CHAT);
    assert!(chat.contains("\"error\"") && !chat.contains("[DONE]"));
    assert!(broken("/v1/messages").contains("event: error\ndata: {\"type\":\"error\""));
    assert!(!broken("/v1/responses").contains("response.completed"));
}

#[test]
fn a_tool_is_called_when_the_request_wants_one() {
    let mock = mock();
    let parameters = json!({"type": "object", "properties": {"city": {"type": "string"}}});
    let tools = json!({"tools": [{"type": "function",
        "function": {"name": "weather", "parameters": parameters}}], "tool_choice": "required"});
    let answer = post(&mock, CHAT, &chat("gpt-4o", &tools)).json();
    let call = &answer["choices"][0]["message"]["tool_calls"][0]["function"];
    let arguments: Value = serde_json::from_str(call["arguments"].as_str().unwrap()).unwrap();
    assert!(call["name"] == "weather" && arguments["city"].is_string());

    let tools = json!({"tools": [{"name": "weather", "input_schema": parameters}], "max_tokens": 90,
        "messages": [{"role": "user", "content": "what is the weather?"}]});
    let answer = post(&mock, "/v1/messages", &chat("claude-sonnet-4-5", &tools)).json();
    assert_eq!(
        (&answer["stop_reason"], &answer["content"][0]["name"]),
        (&json!("tool_use"), &json!("weather"))
    );
}

#[test]
fn a_schema_is_answered_with_json_that_fits() {
    let mock = mock();
    let schema = json!({"type": "object", "properties": {"ok": {"type": "boolean"}}});
    let format = json!({"response_format": {"type": "json_schema", "json_schema": {"schema": schema}}});
    let answer = post(&mock, CHAT, &chat("gpt-4o", &format)).json();
    let content = answer["choices"][0]["message"]["content"].as_str().unwrap();
    assert!(serde_json::from_str::<Value>(content).unwrap()["ok"].is_boolean());
}

#[test]
fn anthropic_counts_cached_input_apart() {
    let mock = mock();
    let question = chat("claude-sonnet-4-5@in=100+cached=60+cache-write=30", &json!({"max_tokens": 50}));
    let usage = post(&mock, "/anthropic/v1/messages", &question).json()["usage"].clone();
    let parts = ["input_tokens", "cache_read_input_tokens", "cache_creation_input_tokens"];
    assert_eq!(parts.map(|part| usage[part].as_u64().unwrap()), [10, 60, 30]);
    assert_eq!(settled(&mock).usage.input_tokens, 100);
}

#[test]
fn azure_takes_the_deployment_for_the_model() {
    let mock = mock();
    for deployment in ["gpt-4o@out=4", "gpt-4o%40out%3D4"] {
        let path = format!("/openai/deployments/{deployment}/chat/completions?api-version=2024-10-21");
        assert_eq!(post(&mock, &path, &chat("ignored", &json!({}))).json()["model"], "gpt-4o");
        assert_eq!(settled(&mock).usage.output_tokens, 4);
    }
}

#[test]
fn pictures_and_sound_report_what_the_real_endpoints_do() {
    let mock = mock();
    let usage = |path: &str, body: Value| post(&mock, path, &body).json()["usage"].clone();
    let picture = json!({"model": "gpt-image-1", "prompt": "a red house", "n": 2});
    assert_eq!(usage("/v1/images/generations", picture)["output_tokens"], 2112);
    let older = json!({"model": "dall-e-3", "prompt": "a red house"});
    assert_eq!(usage("/v1/images/generations", older), Value::Null);
    let speech = post(&mock, "/v1/audio/speech", &json!({"model": "tts-1", "input": "grüezi"}));
    assert_eq!((speech.body.len(), settled(&mock).usage.characters), (4096, 6));
}

#[test]
fn other_paths_say_what_came_without_its_secrets() {
    let mock = mock();
    let echo = post(&mock, "/v1/files?purpose=x", &json!({"a": 1})).text();
    assert!(echo.contains("purpose=x") && echo.contains("(masked)") && !echo.contains("sk-test"));
    assert_eq!(settled(&mock).operation, "echo");
}

#[test]
fn only_the_right_key_is_let_in_when_one_is_set() {
    let with =
        |key: &str| Mock::start(MockConfig { key: Some(key.into()), ..MockConfig::default() }).unwrap();
    let status = |mock: &MockHandle| post(mock, CHAT, &chat("gpt-4o", &json!({}))).status;
    assert_eq!((status(&with("sk-test")), status(&with("sk-other"))), (200, 401));
}

#[test]
fn the_log_has_a_line_for_each_beginning_and_end() {
    let dir = tempfile::tempdir().unwrap();
    let log = dir.path().join("served.jsonl");
    let mut mock =
        Mock::start(MockConfig { served_log: Some(log.clone()), ..MockConfig::default() }).unwrap();
    post(&mock, CHAT, &chat("gpt-4o@out=9", &json!({})));
    let totals = mock.totals()["gpt-4o"];
    assert_eq!((totals.requests, totals.output_tokens), (1, 9));
    mock.stop();
    let lines: Vec<Value> = std::fs::read_to_string(log)
        .unwrap()
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!((&lines[0]["event"], &lines[1]["event"]), (&json!("begin"), &json!("end")));
    assert_eq!(lines[0]["served"]["usage"]["output_tokens"], 9);
    assert_eq!((&lines[1]["end"], lines.len()), (&json!("clean"), 2));
}

#[test]
fn a_client_that_hangs_up_is_written_down() {
    let mut mock = mock();
    let mut socket = send(mock.addr, CHAT, &chat("gpt-4o@stall=3:1h", &json!({"stream": true})));
    let mut first = [0_u8; 64];
    socket.read_exact(&mut first).unwrap();
    drop(socket);
    let served = settled(&mock);
    assert_eq!(served.end, End::ClientGone);
    assert!(served.tokens_emitted < served.usage.output_tokens);
    mock.stop();
}

#[test]
fn http_2_without_tls_is_spoken_too() {
    let mock = mock();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let body = chat("gpt-4o", &json!({"stream": true})).to_string();
    let plain = post(&mock, CHAT, &chat("gpt-4o", &json!({"stream": true}))).body;
    let answer = runtime.block_on(async {
        use http_body_util::{BodyExt, Full};
        let client = hyper_util::client::legacy::Client::builder(hyper_util::rt::TokioExecutor::new())
            .http2_only(true)
            .build_http::<Full<bytes::Bytes>>();
        let request = http::Request::post(format!("http://{}{CHAT}", mock.addr));
        let response = client.request(request.body(Full::from(body)).unwrap()).await.unwrap();
        (response.version(), response.into_body().collect().await.unwrap().to_bytes())
    });
    assert_eq!(answer, (http::Version::HTTP_2, bytes::Bytes::from(plain)));
}

const CHAT: &str = "/v1/chat/completions";

type Decoder = fn(&[u8]) -> Vec<u8>;

const DECODERS: [(&str, Decoder); 4] = [
    ("gzip", |coded| read_all(flate2::read::GzDecoder::new(coded))),
    ("deflate", |coded| read_all(flate2::read::ZlibDecoder::new(coded))),
    ("br", |coded| read_all(brotli::Decompressor::new(coded, 4096))),
    ("zstd", |coded| zstd::stream::decode_all(coded).unwrap()),
];

fn read_all(mut from: impl Read) -> Vec<u8> {
    let mut bytes = Vec::new();
    from.read_to_end(&mut bytes).unwrap();
    bytes
}

fn mock() -> MockHandle {
    Mock::start(MockConfig::default()).unwrap()
}

fn chat(model: &str, more: &Value) -> Value {
    let mut body = json!({"model": model, "messages": [{"role": "user", "content": "say hello"}]});
    for (name, value) in more.as_object().unwrap() {
        body[name] = value.clone();
    }
    body
}

fn events(text: &str) -> Vec<Value> {
    text.lines()
        .filter_map(|line| line.strip_prefix("data: "))
        .map(|data| serde_json::from_str(data).unwrap_or(Value::Null))
        .collect()
}

/// The last entry, once it is closed.
fn settled(mock: &MockHandle) -> Served {
    for _ in 0..10_000_000 {
        let last = mock.served().pop().unwrap();
        if last.end != End::Open {
            return last;
        }
        std::thread::yield_now();
    }
    panic!("the last answer never ended")
}

struct Heard {
    status: u16,
    head: String,
    body: Vec<u8>,
    /// Whether the body came to its proper end.
    complete: bool,
}

impl Heard {
    fn text(&self) -> String {
        String::from_utf8(self.body.clone()).unwrap()
    }

    fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }
}

fn send(addr: SocketAddr, path: &str, body: &Value) -> TcpStream {
    let mut socket = TcpStream::connect(addr).unwrap();
    let body = body.to_string();
    let head = format!(
        "POST {path} HTTP/1.1\r\nhost: mock\r\nconnection: close\r\nauthorization: Bearer sk-test\r\n\
         content-type: application/json\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    socket.write_all(format!("{head}{body}").as_bytes()).unwrap();
    socket
}

fn post(mock: &MockHandle, path: &str, body: &Value) -> Heard {
    let bytes = read_all(send(mock.addr, path, body));
    let end = bytes.windows(4).position(|four| four == b"\r\n\r\n").unwrap();
    let head = String::from_utf8(bytes[..end].to_vec()).unwrap();
    let rest = &bytes[end + 4..];
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    let (body, complete) = if head.contains("transfer-encoding: chunked") {
        dechunked(rest)
    } else {
        let length = head.split("content-length: ").nth(1).unwrap().lines().next().unwrap();
        (rest.to_vec(), rest.len() == length.parse::<usize>().unwrap())
    };
    Heard { status, head, body, complete }
}

fn dechunked(mut rest: &[u8]) -> (Vec<u8>, bool) {
    let mut body = Vec::new();
    while let Some(end) = rest.windows(2).position(|two| two == b"\r\n") {
        let length = usize::from_str_radix(std::str::from_utf8(&rest[..end]).unwrap(), 16).unwrap();
        if length == 0 {
            return (body, true);
        }
        body.extend_from_slice(&rest[end + 2..end + 2 + length]);
        rest = &rest[end + 4 + length..];
    }
    (body, false)
}
