//! `tollgate verify`: nothing to find at our own gateway, and each fault of a bad one is found and named.

use std::net::{SocketAddr, TcpListener};
use std::process::Output;

use serde_json::{Value, json};
use tollgate::mock::{Mock, MockConfig};

use crate::support::{Answer, Gateway, PROD, Recorder, Seen, Setup, UPSTREAM, Wire, json_answer, mock, run};

/// A config with one upstream there, and nothing that is reserved to a key.
fn setup(upstream: SocketAddr) -> Setup {
    of_kind("openai", &format!("http://{upstream}/v1"))
}

fn of_kind(kind: &str, url: &str) -> Setup {
    Setup::new(&format!(
        "upstreams: {{ up: {{ kind: {kind}, base_url: \"{url}\", api_key: \"${{UPSTREAM_KEY}}\" }} }}\n\
         teams: {{ t: {{ keys: [{{ name: prod, key: \"${{KEY_PROD}}\" }}] }} }}\n"
    ))
}

fn verify(setup: &Setup, words: &[&str]) -> (i32, String, String) {
    let Output { status, stdout, stderr } = run(setup.command(&[&["verify"], words].concat()), "");
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (status.code().unwrap(), text(stdout), text(stderr))
}

fn verify_json(setup: &Setup, words: &[&str]) -> (i32, Value) {
    let (exit, said, notes) = verify(setup, &[words, &["--yes", "--json"]].concat());
    (exit, serde_json::from_str(&said).unwrap_or_else(|_| panic!("no report: {said}{notes}")))
}

/// The cases and how they came out.
fn verdicts(report: &Value) -> Vec<(&str, &str)> {
    let cases = report["cases"].as_array().unwrap();
    cases.iter().map(|case| (case["case"].as_str().unwrap(), case["verdict"].as_str().unwrap())).collect()
}

#[test]
fn our_own_gateway_changes_nothing_and_counts_as_reported() {
    let mock = mock();
    let (exit, report) = verify_json(&setup(mock.addr), &[]);
    assert_eq!(exit, 0, "{report:#}");
    let verdicts = verdicts(&report);
    assert_eq!((verdicts.len(), &report["requests"]), (14, &json!(28)), "{report:#}");
    assert!(verdicts.iter().all(|(_, verdict)| *verdict == "equal"), "{report:#}");
    let cases = report["cases"].as_array().unwrap();
    assert!(cases.iter().all(|case| case["usage"]["compared"] == true), "{report:#}");
}

#[test]
fn messages_are_verified_at_an_upstream_that_speaks_them() {
    let mock = mock();
    let setup = of_kind("anthropic", &format!("http://{}", mock.addr));
    let (exit, report) = verify_json(&setup, &["--model", "claude-sonnet-4-5"]);
    assert_eq!(exit, 0, "{report:#}");
    let names: Vec<&str> = verdicts(&report).into_iter().map(|(case, _)| case).collect();
    for case in ["messages", "messages-stream", "messages-gzip", "messages-tool-call", "unknown-model"] {
        assert!(names.contains(&case), "{names:?}");
    }
    assert!(!names.contains(&"chat"), "{names:?}");
}

#[test]
fn the_report_has_a_shape_that_programs_can_rely_on() {
    let mock = mock();
    let (_, report) = verify_json(&setup(mock.addr), &["--only", "models,chat", "--model", "gpt-4o@out=3"]);
    let case = |name: &str, usage: &str| {
        json!({
            "case": name,
            "verdict": "equal",
            "status": {"directly": 200, "gateway": 200},
            "headers": "same",
            "body": "same",
            "usage": {"text": usage, "compared": true},
            "differences": [],
            "unstable": [],
        })
    };
    let expected = json!({
        "upstream": "up",
        "gateway": null,
        "model": "gpt-4o@out=3",
        "equal": true,
        "requests": 4,
        "cases": [case("models", "none"), case("chat", "13+3")],
    });
    assert_eq!(report, expected);
}

#[test]
fn what_an_upstream_does_not_offer_is_equal_and_said_so() {
    let upstream = Recorder::start(|seen| match seen.target() {
        "GET /v1/models" => json_answer(200, "", r#"{"data":[{"id":"only"}]}"#),
        _ => json_answer(404, "", r#"{"error":{"message":"not here"}}"#),
    });
    let (exit, said, _) = verify(&setup(upstream.addr), &["--yes", "--only", "responses,models"]);
    assert_eq!(exit, 0, "{said}");
    assert!(said.contains("equal: not offered, 404 both ways"), "{said}");
    assert!(said.contains("all 2 cases are equal, 1 of them not offered"), "{said}");
}

#[test]
fn a_running_gateway_is_verified_by_the_cost_that_it_tells() {
    let mock = mock();
    let gateway = Gateway::start(&format!(
        "upstreams: {{ up: {{ base_url: \"http://{}/v1\", api_key: \"${{UPSTREAM_KEY}}\", propagate_trace: false }} }}\n\
         teams: {{ t: {{ keys: [{{ name: prod, key: \"${{KEY_PROD}}\" }}] }} }}\n",
        mock.addr
    ));
    let url = format!("http://{}/v1", gateway.data);
    let (exit, report) = verify_json(&gateway.setup, &["--gateway", &url, "--key-env", "KEY_PROD"]);
    assert_eq!(exit, 0, "{report:#}");
    let chat = &report["cases"][2];
    assert_eq!((&chat["case"], &chat["usage"]["compared"]), (&json!("chat"), &json!(true)));
}

#[test]
fn an_upstream_that_is_not_there_or_refuses_us_is_code_3() {
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let (exit, _, said) = verify(&setup(free), &["--yes"]);
    assert_eq!(exit, 3);
    assert!(said.contains("`up` cannot be reached: connection_refused"), "{said}");

    let mock = Mock::start(MockConfig { key: Some("another".into()), ..MockConfig::default() }).unwrap();
    let (exit, _, said) = verify(&setup(mock.addr), &["--yes"]);
    assert_eq!(exit, 3);
    assert!(said.contains("`up` refuses the credential (401)") && !said.contains(UPSTREAM), "{said}");
}

#[test]
fn an_upstream_that_leads_elsewhere_is_code_3() {
    let upstream = Recorder::start(|_| json_answer(308, "location: https://127.0.0.1/v1\r\n", "{}"));
    let (exit, _, said) = verify(&setup(upstream.addr), &["--yes", "--model", "m"]);
    assert_eq!(exit, 3, "{said}");
    assert!(said.contains("it answers 308, a redirect; see its `base_url`"), "{said}");
}

#[test]
fn an_answer_cannot_steer_the_terminal() {
    let upstream = Recorder::start(|_| json_answer(400, "", "\u{1b}]0;theirs\u{7}one"));
    let gateway = Recorder::start(|_| json_answer(400, "", "\u{1b}]0;theirs\u{7}two"));
    let url = format!("http://{}", gateway.addr);
    let words =
        ["--yes", "--gateway", &url, "--key-env", "KEY_PROD", "--model", "m", "--only", "unknown-model"];
    let (exit, said, notes) = verify(&setup(upstream.addr), &words);
    assert!(exit == 1 && said.contains("became"), "{said}{notes}");
    assert!(!(said + &notes).contains('\u{1b}'));
}

#[test]
fn nothing_is_spent_unless_somebody_agrees() {
    let upstream = Recorder::start(|_| json_answer(200, "", r#"{"data":[{"id":"only"}]}"#));
    let (exit, _, said) = verify(&setup(upstream.addr), &[]);
    assert_eq!(exit, 2, "{said}");
    assert!(said.contains("--yes") && said.contains("26 small requests"), "{said}");
    assert_eq!(upstream.only().target(), "GET /v1/models", "which is free");
}

#[test]
fn a_gateway_that_refuses_the_key_or_has_none_is_said_so() {
    let mock = mock();
    let gateway = Recorder::start(|_| json_answer(401, "", "{}"));
    let url = format!("http://{}", gateway.addr);
    let (exit, _, said) = verify(&setup(mock.addr), &["--yes", "--gateway", &url, "--key-env", "KEY_PROD"]);
    assert_eq!(exit, 2);
    assert!(said.contains("refuses the key (401)"), "{said}");
    let (exit, _, said) = verify(&setup(mock.addr), &["--yes", "--gateway", &url, "--key-env", "NO_SUCH"]);
    assert_eq!(exit, 2);
    assert!(said.contains("NO_SUCH is not set"), "{said}");
}

#[test]
fn secrets_that_are_repeated_are_not_printed() {
    let upstream = Recorder::start(|seen| {
        let key = seen.header("authorization").unwrap_or_default();
        json_answer(400, "", &format!(r#"{{"error":{{"message":"bad request of {key}"}}}}"#))
    });
    let gateway = Recorder::start(|seen| {
        let key = seen.header("authorization").unwrap_or_default();
        let echo = format!("x-echo: {key}, {UPSTREAM}\r\n");
        json_answer(400, &echo, &format!(r#"{{"error":{{"message":"not good: {key} {UPSTREAM}"}}}}"#))
    });
    let url = format!("http://{}", gateway.addr);
    let words =
        ["--yes", "--gateway", &url, "--key-env", "KEY_PROD", "--model", "m", "--only", "unknown-model"];
    let (exit, said, notes) = verify(&setup(upstream.addr), &words);
    let (_, report) = verify_json(&setup(upstream.addr), &words[1..]);
    assert_eq!(exit, 1, "{said}{notes}");
    let all = format!("{said}{notes}{report}");
    assert!(all.contains("(secret)"), "{all}");
    assert!(!all.contains(PROD) && !all.contains(UPSTREAM), "{all}");
}

/// What a relay does wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    None,
    ReordersHeaders,
    DropsAHeader,
    AddsAHeader,
    RenamesMaxTokens,
    RewritesModel,
    RewritesCreated,
    DropsAField,
    WritesJsonAnew,
    SwallowsComments,
    AsksForUsage,
    CutsTheEndMarker,
    AnswersErrorsItself,
}

/// Verifies a relay before `mock` with such a fault.
fn judged(fault: Fault, only: &str) -> (i32, String) {
    let mock = mock();
    let upstream = mock.addr;
    let relay = Recorder::start(move |seen| relayed(seen, upstream, fault));
    let url = format!("http://{}/v1", relay.addr);
    let words = ["--yes", "--gateway", &url, "--key-env", "UPSTREAM_KEY", "--only", only];
    let (exit, said, _) = verify(&setup(upstream), &[&words[..], &["--model", "gpt-4o@comments"]].concat());
    (exit, said)
}

#[test]
fn an_honest_relay_is_equal() {
    let (exit, said) = judged(Fault::None, "models,head,chat,chat-stream,chat-gzip,unknown-path");
    assert_eq!(exit, 0, "{said}");
}

#[test]
fn each_fault_of_a_bad_relay_is_found_and_named() {
    for (fault, case, words) in [
        (Fault::ReordersHeaders, "chat", "`x-request-id` stands where `content-type` stood"),
        (Fault::DropsAHeader, "chat", "`openai-version` is gone"),
        (Fault::AddsAHeader, "chat", "`x-powered-by` is new"),
        (Fault::RewritesModel, "chat", r#"`model` is "openai/gpt-4o", directly "gpt-4o""#),
        (Fault::RewritesCreated, "chat-stream", "`created` is 1, directly 17"),
        (Fault::DropsAField, "chat", "`system_fingerprint` is gone (string)"),
        (Fault::WritesJsonAnew, "chat", "the JSON was written anew: no white space became a space after"),
        (Fault::SwallowsComments, "chat-stream", "its comments are gone"),
        (Fault::AsksForUsage, "chat-stream", "`usage` is new (null), for which nobody asked"),
        (Fault::CutsTheEndMarker, "chat-stream", "the end marker `[DONE]` is missing"),
        (Fault::AnswersErrorsItself, "unknown-path", "200 became 404"),
    ] {
        let (exit, said) = judged(fault, case);
        assert!(exit == 1 && said.contains(words), "{fault:?}: {exit}\n{said}");
        assert!(said.contains("DIFFERENT") && said.contains("1 of 1 cases differ"), "{fault:?}: {said}");
    }
}

#[test]
fn a_renamed_parameter_shows_where_the_upstream_names_it() {
    let upstream = Recorder::start(|seen| {
        let cap = ["max_tokens", "max_completion_tokens"].into_iter().find(|name| seen.text().contains(name));
        let error = json!({"error": {"message": "not a number", "param": cap}});
        json_answer(400, "", &error.to_string())
    });
    let upstream = upstream.addr;
    let relay = Recorder::start(move |seen| relayed(seen, upstream, Fault::RenamesMaxTokens));
    let url = format!("http://{}/v1", relay.addr);
    let words = ["--yes", "--gateway", &url, "--key-env", "UPSTREAM_KEY", "--only", "bad-parameter"];
    let (exit, said, _) = verify(&setup(upstream), &[&words[..], &["--model", "m"]].concat());
    assert_eq!(exit, 1, "{said}");
    assert!(said.contains(r#"`error.param` is "max_completion_tokens", directly "max_tokens""#), "{said}");
}

#[test]
fn an_upstreams_own_server_timing_stays_beside_ours() {
    let upstream = Recorder::start(|_| json_answer(200, "server-timing: edge;dur=9\r\n", "{}"));
    let words = ["--model", "m", "--only", "models,unknown-path"];
    let (exit, report) = verify_json(&setup(upstream.addr), &words);
    assert_eq!(exit, 0, "{report:#}");
}

#[test]
fn an_account_without_credit_is_code_3() {
    let mock = mock();
    let (exit, _, said) = verify(&setup(mock.addr), &["--yes", "--model", "gpt-4o@status=402"]);
    assert_eq!(exit, 3, "{said}");
    assert!(said.contains("answers 402 to a request for gpt-4o@status=402"), "{said}");
}

#[test]
fn being_asked_to_wait_is_no_difference() {
    let mock = mock();
    let model = ["--model", "gpt-4o@status=429:1+retry-after=0", "--only", "chat"];
    let (exit, report) = verify_json(&setup(mock.addr), &model);
    assert_eq!(exit, 0, "{report:#}");
}

/// A request as the relay passes it on, and its answer as the relay gives it.
fn relayed(seen: &Seen, upstream: SocketAddr, fault: Fault) -> Vec<u8> {
    let method = seen.target().split(' ').next().unwrap();
    if fault == Fault::AnswersErrorsItself && seen.target().contains("no-such") {
        return json_answer(404, "", "{}");
    }
    let mut body = seen.text();
    if fault == Fault::RenamesMaxTokens {
        body = body.replace("max_tokens", "max_completion_tokens");
    }
    if fault == Fault::AsksForUsage {
        body = body.replace(r#""stream":true"#, r#""stream":true,"stream_options":{"include_usage":true}"#);
    }
    let mut request = format!("{} HTTP/1.1\r\n", seen.target());
    for (name, value) in &seen.headers {
        let value = match name.as_str() {
            "host" => upstream.to_string(),
            "content-length" => body.len().to_string(),
            _ => value.clone(),
        };
        request += &format!("{name}: {value}\r\n");
    }
    let mut wire = Wire::open(upstream);
    wire.write((request + "\r\n" + &body).as_bytes());
    let mut answer = wire.answer_to(if method == "HEAD" { "HEAD" } else { "GET" });
    spoil(&mut answer, fault);
    bytes_of(&answer, method == "HEAD")
}

fn spoil(answer: &mut Answer, fault: Fault) {
    let text = answer.text();
    let spoiled = match fault {
        Fault::RewritesModel => text.replace(r#""model":"gpt"#, r#""model":"openai/gpt"#),
        Fault::RewritesCreated => {
            let mut parts = text.split(r#""created":"#);
            let first = parts.next().unwrap().to_owned();
            let later = parts.map(|part| part.trim_start_matches(|c: char| c.is_ascii_digit()));
            later.fold(first, |text, part| text + r#""created":1"# + part)
        }
        Fault::DropsAField => text.replace(r#","system_fingerprint":"fp_mock""#, ""),
        Fault::WritesJsonAnew => text.replace("\":", "\": "),
        Fault::SwallowsComments => {
            let blocks = text.split_inclusive("\n\n").filter(|block| !block.starts_with(':'));
            blocks.collect::<String>()
        }
        Fault::CutsTheEndMarker => text.replace("data: [DONE]\n\n", ""),
        _ => text,
    };
    answer.body = spoiled.into_bytes();
    match fault {
        Fault::ReordersHeaders => answer.headers.rotate_left(1),
        Fault::DropsAHeader => answer.headers.retain(|(name, _)| name != "openai-version"),
        Fault::AddsAHeader => answer.headers.push(("x-powered-by".into(), "relay".into())),
        _ => {}
    }
}

fn bytes_of(answer: &Answer, is_head: bool) -> Vec<u8> {
    let mut text = format!("HTTP/1.1 {} Status\r\n", answer.status);
    let is_chunked = answer.header("transfer-encoding").is_some();
    for (name, value) in &answer.headers {
        let resized = name == "content-length" && !is_head;
        let value = if resized { answer.body.len().to_string() } else { value.clone() };
        text += &format!("{name}: {value}\r\n");
    }
    let mut bytes = (text + "\r\n").into_bytes();
    if is_chunked {
        bytes.extend_from_slice(format!("{:x}\r\n", answer.body.len()).as_bytes());
    }
    bytes.extend_from_slice(&answer.body);
    if is_chunked {
        bytes.extend_from_slice(b"\r\n0\r\n\r\n");
    }
    bytes
}
