//! Paths and headers on their way through: Azure, Anthropic, prefixes, credentials, hop-by-hop headers.

use crate::support::{Ask, Gateway, PROD, Recorder, Seen, UPSTREAM, Wire, json_answer};

const TEAM: &str = "teams: { search: { keys: [{ name: prod, key: \"${KEY_PROD}\" }] } }\n";
const CHAT: &str = r#"{"model":"gpt-4o","messages":[{"role":"user","content":"hi"}]}"#;

/// A gateway with one upstream; `more` are keys of its section.
fn gateway(recorder: &Recorder, path: &str, more: &str) -> Gateway {
    Gateway::start(&format!(
        "upstreams:\n  up: {{ base_url: \"http://{}{path}\", api_key: \"${{UPSTREAM_KEY}}\"{more} }}\n{TEAM}",
        recorder.addr
    ))
}

/// Sends each path once and tells what the upstream got.
fn sent(gateway: &Gateway, recorder: &Recorder, path: &str) -> Seen {
    let before = recorder.seen().len();
    let answer = gateway.send(&Ask::post(path, CHAT).header("api-key", PROD));
    assert_eq!(answer.status, 200, "{path}: {}", answer.text());
    assert_eq!(recorder.seen().len(), before + 1);
    recorder.seen().pop().unwrap()
}

#[test]
fn wire_40_azure_is_asked_as_azure_wants_it() {
    let recorder = Recorder::plain();
    let gateway = gateway(&recorder, "", ", kind: azure, api_version: \"2024-10-21\"");
    for (path, target) in [
        ("/v1/chat/completions", "POST /openai/deployments/gpt-4o/chat/completions?api-version=2024-10-21"),
        (
            "/openai/deployments/gpt-4o/chat/completions?api-version=2025-01-01",
            "POST /openai/deployments/gpt-4o/chat/completions?api-version=2025-01-01",
        ),
        (
            "/openai/deployments/gpt-4o/chat/completions",
            "POST /openai/deployments/gpt-4o/chat/completions?api-version=2024-10-21",
        ),
        ("/openai/v1/chat/completions", "POST /openai/v1/chat/completions"),
    ] {
        let seen = sent(&gateway, &recorder, path);
        assert_eq!(seen.target(), target);
        assert_eq!(seen.header("api-key"), Some(UPSTREAM));
        assert!(!seen.has("authorization"));
        assert_eq!(seen.text(), CHAT);
    }
}

#[test]
fn a_deployment_that_differs_from_the_body_s_model_stays_in_the_path() {
    let recorder = Recorder::plain();
    let gateway = gateway(&recorder, "", ", kind: azure");
    let path = "/openai/deployments/my-deployment/chat/completions?api-version=2024-10-21";
    let seen = sent(&gateway, &recorder, path);
    assert_eq!(seen.target(), format!("POST {path}"), "the client would have asked this without us");
    assert_eq!(seen.text(), CHAT);
}

#[test]
fn an_azure_client_may_be_served_by_another_upstream() {
    let recorder = Recorder::plain();
    let gateway = gateway(&recorder, "/v1", "");
    let seen =
        sent(&gateway, &recorder, "/openai/deployments/gpt-4o/chat/completions?api-version=2024-10-21");
    assert_eq!(seen.target(), "POST /v1/chat/completions?api-version=2024-10-21");
    assert_eq!(seen.header("authorization"), Some(format!("Bearer {UPSTREAM}").as_str()));
    assert!(!seen.has("api-key"));
}

#[test]
fn the_model_that_is_admitted_is_the_model_that_is_asked() {
    let recorder = Recorder::plain();
    let gateway = gateway(&recorder, "/v1", "");
    // the path's deployment goes away on the way to this upstream, and the body names another model
    let path = "/openai/deployments/o3/chat/completions";
    let answer = gateway.send(&Ask::post(path, CHAT).header("api-key", PROD));
    let sent: serde_json::Value = serde_json::from_slice(&recorder.only().body).unwrap();
    assert_eq!(sent["model"], gateway.row_of(&answer).model);
}

#[test]
fn anthropic_s_paths_lead_to_anthropic_s_upstream() {
    let (openai, anthropic) = (Recorder::plain(), Recorder::plain());
    let gateway = Gateway::start(&format!(
        "upstreams:
  openai: {{ base_url: \"http://{}/v1\", api_key: \"${{UPSTREAM_KEY}}\" }}
  anthropic: {{ base_url: \"http://{}\", kind: anthropic, api_key: \"${{UPSTREAM_KEY}}\" }}\n{TEAM}",
        openai.addr, anthropic.addr
    ));
    for path in ["/v1/messages", "/anthropic/v1/messages", "/v1/messages?beta=true"] {
        let seen = sent(&gateway, &anthropic, path);
        let query = path.split_once('?').map(|(_, query)| format!("?{query}")).unwrap_or_default();
        assert_eq!(seen.target(), format!("POST /v1/messages{query}"));
        assert_eq!(seen.header("x-api-key"), Some(UPSTREAM));
        assert!(!seen.has("authorization") && !seen.has("api-key"));
        assert!(seen.has("anthropic-version"), "Anthropic answers 400 without a version");
    }
    assert!(openai.seen().is_empty());
    assert_eq!(sent(&gateway, &openai, "/v1/chat/completions").target(), "POST /v1/chat/completions");
}

#[test]
fn a_base_url_may_have_any_prefix() {
    let recorder = Recorder::plain();
    for (prefix, target) in [
        ("/v1", "POST /v1/chat/completions"),
        ("/v1/", "POST /v1/chat/completions"),
        ("/api/openrouter/v1", "POST /api/openrouter/v1/chat/completions"),
        ("", "POST /v1/chat/completions"),
    ] {
        let gateway = gateway(&recorder, prefix, "");
        assert_eq!(sent(&gateway, &recorder, "/v1/chat/completions").target(), target, "{prefix}");
        let answer = gateway.send(&Ask::get("/v1/models/a%2Fb?x=%20y").bearer(PROD));
        assert_eq!(answer.status, 200);
        let expected = target.replace("POST", "GET").replace("/chat/completions", "/models/a%2Fb?x=%20y");
        assert_eq!(recorder.seen().pop().unwrap().target(), expected);
    }
}

#[test]
fn no_credential_of_the_client_and_no_hop_by_hop_header_passes() {
    let recorder = Recorder::start(|_| {
        let headers = "connection: keep-alive, x-hop-answer\r\nx-hop-answer: 1\r\nkeep-alive: timeout=5\r\n\
                       X-Kept: One\r\nx-kept: two\r\nset-cookie: a=b\r\nserver: cloud\r\n";
        json_answer(200, headers, "{}")
    });
    let gateway = gateway(&recorder, "/v1", ", headers: { x-extra: \"from-config\", x-both: \"config\" }");
    let ask = Ask::post("/v1/chat/completions", CHAT)
        .bearer(PROD)
        .header("x-api-key", PROD)
        .header("api-key", PROD)
        .header("cookie", "session=1")
        .header("proxy-authorization", "Basic abc")
        .header("connection", "keep-alive, X-Hop")
        .header("x-hop", "1")
        .header("te", "trailers")
        .header("upgrade", "h2c")
        .header("x-tollgate-tags", "a=b")
        .header("x-tollgate-user", "u1")
        .header("x-litellm-tags", "c")
        .header("helicone-property-app", "web")
        .header("x-both", "client")
        .header("openai-beta", "assistants=v2")
        .header("x-stainless-lang", "python")
        .header("user-agent", "OpenAI/Python 2.0")
        .header("accept-encoding", "gzip, br");
    let answer = gateway.send(&ask);
    assert_eq!(answer.status, 200, "{}", answer.text());
    let seen = recorder.only();
    let credential = format!("Bearer {UPSTREAM}");
    for (name, value) in [
        ("authorization", credential.as_str()),
        ("openai-beta", "assistants=v2"),
        ("x-stainless-lang", "python"),
        ("user-agent", "OpenAI/Python 2.0"),
        ("accept-encoding", "gzip, br"),
        ("x-extra", "from-config"),
        ("x-both", "config"),
        ("content-type", "application/json"),
        ("host", &recorder.addr.to_string()),
    ] {
        let values: Vec<_> = seen.headers.iter().filter(|(known, _)| known == name).collect();
        assert_eq!((values.len(), seen.header(name)), (1, Some(value)), "{name}");
    }
    for (name, value) in &seen.headers {
        let is_ours =
            name.starts_with("x-tollgate-") || name.starts_with("helicone-") || name.contains("litellm");
        let is_hop = ["x-hop", "te", "upgrade", "cookie", "proxy-authorization", "x-api-key", "api-key"];
        assert!(!is_ours && !is_hop.contains(&name.as_str()) && !value.contains(PROD), "{name}: {value}");
    }
    let kept: Vec<_> =
        answer.headers.iter().filter(|(name, _)| name == "x-kept").map(|(_, v)| v.as_str()).collect();
    assert_eq!(kept, ["One", "two"]);
    assert_eq!((answer.header("set-cookie"), answer.header("server")), (Some("a=b"), Some("cloud")));
    assert_eq!((answer.header("x-hop-answer"), answer.header("keep-alive")), (None, None));
    let row = gateway.row_of(&answer);
    assert_eq!(row.user, "u1");
    let tags: Vec<_> = row.tags.iter().map(|(name, value)| format!("{name}={value}")).collect();
    assert_eq!(tags, ["a=b", "app=web", "c=true"]);
}

#[test]
fn wire_40_an_unknown_path_passes_and_is_recorded_as_unmetered() {
    let recorder = Recorder::start(|_| json_answer(201, "", "{ \"made\" : 1 }"));
    let gateway = gateway(&recorder, "/v1", "");
    let mut wire = Wire::open(gateway.data);
    wire.write(
        format!(
            "PUT /v1/files/a%20b?x=1&x=2 HTTP/1.1\r\nhost: g\r\nauthorization: Bearer {PROD}\r\n\
             transfer-encoding: chunked\r\ncontent-type: application/x-any\r\n\r\n\
             3\r\n\0\u{1}\u{2}\r\n2;ext=1\r\nde\r\n0\r\n\r\n"
        )
        .as_bytes(),
    );
    let answer = wire.answer();
    assert_eq!((answer.status, answer.text().as_str()), (201, "{ \"made\" : 1 }"));
    let seen = recorder.only();
    assert_eq!((seen.target(), seen.body.as_slice()), ("PUT /v1/files/a%20b?x=1&x=2", &b"\0\x01\x02de"[..]));
    let row = gateway.row_of(&answer);
    assert_eq!((row.operation.as_str(), row.usage_source.as_str()), ("unmetered", "none"));
    assert_eq!((row.cost, row.outcome.as_str()), (None, "completed"), "an unknown cost is not zero");
}

#[test]
fn unmetered_paths_may_be_refused_to_callers_with_a_budget() {
    let recorder = Recorder::plain();
    let gateway = Gateway::start(&format!(
        "unmetered: refuse
upstreams: {{ up: {{ base_url: \"http://{}/v1\" }} }}
teams:
  a: {{ keys: [{{ name: p, key: \"${{KEY_PROD}}\" }}], budgets: [{{ limit_usd: 1, every: day }}] }}
  b: {{ keys: [{{ name: p, key: \"${{KEY_CI}}\" }}] }}\n",
        recorder.addr
    ));
    let refused = gateway.send(&Ask::post("/v1/batches", "{}").bearer(PROD));
    assert_eq!(refused.refusal(), (403, "unmetered_path".into()));
    assert_eq!(gateway.send(&Ask::post("/v1/batches", "{}").bearer(crate::support::CI)).status, 200);
    assert_eq!(recorder.seen().len(), 1);
}
