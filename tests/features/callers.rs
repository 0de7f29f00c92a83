//! Who may ask: keys, teams, expiry, models, and what a stranger is told.

use std::io::Write as _;

use crate::support::{Ask, CI, Gateway, OTHER, PROD, Setup, UPSTREAM, chat, mock, run};

const TEAMS: &str = r#"
teams:
  search:
    keys:
      - { name: prod, key: "${KEY_PROD}" }
      - { name: ci, key: "${KEY_CI}", models: ["gpt-4o*"] }
  old:
    expires: 2020-01-01
    keys: [{ name: prod, key: "${KEY_OTHER}" }]
"#;

fn gateway(base_url: &str) -> Gateway {
    Gateway::start(&format!(
        "upstreams:\n  mock: {{ base_url: \"{base_url}\", api_key: \"${{UPSTREAM_KEY}}\" }}\n{TEAMS}"
    ))
}

fn body() -> &'static str {
    r#"{"model":"gpt-4o-mini","messages":[{"role":"user","content":"hi"}]}"#
}

#[test]
fn a_key_is_taken_wherever_a_client_puts_it() {
    let mock = mock();
    let gateway = gateway(&mock.base_url());
    let ask = || Ask::post("/v1/chat/completions", body());
    for ask in [
        ask().bearer(PROD),
        ask().header("Authorization", &format!("bearer {PROD}")),
        ask().header("x-api-key", PROD),
        ask().header("api-key", PROD),
        ask().bearer(PROD).header("x-api-key", PROD),
    ] {
        let answer = gateway.send(&ask);
        assert_eq!(answer.status, 200, "{ask:?}: {}", answer.text());
        let row = gateway.row_of(&answer);
        assert_eq!((row.team.as_str(), row.key.as_str()), ("search", "prod"));
    }
    // whatever the caller presented, the upstream saw its own credential only
    let credentials: Vec<_> = mock.served().into_iter().map(|served| served.credential).collect();
    assert_eq!(credentials, vec![short_hash(UPSTREAM); 5]);
}

/// The first 8 hex digits of a SHA-256, as the mock's log has credentials.
fn short_hash(text: &str) -> String {
    use sha2::Digest as _;
    sha2::Sha256::digest(text).iter().take(4).map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn a_stranger_is_told_so_in_the_dialect_s_own_words() {
    let mock = mock();
    let gateway = gateway(&mock.base_url());
    let ask = || Ask::post("/v1/chat/completions", body());
    for (ask, code) in [
        (ask(), "missing_api_key"),
        (ask().bearer("key-nobody"), "invalid_api_key"),
        (ask().bearer(PROD).header("x-api-key", CI), "malformed_api_key"),
        (ask().header("authorization", "Basic a2V5"), "malformed_api_key"),
        (ask().bearer(OTHER), "expired_api_key"),
    ] {
        let answer = gateway.send(&ask);
        assert_eq!(answer.refusal(), (401, code.into()));
        let error = &answer.json()["error"];
        assert_eq!(error["type"], "invalid_request_error");
        assert!(error["message"].is_string() && error["param"].is_null());
        assert_eq!(answer.header("content-type"), Some("application/json"));
        assert_eq!(answer.header("x-tollgate-error-source"), Some("gateway"));
        assert_eq!(gateway.row_of(&answer).error, code);
    }
    for path in ["/v1/messages", "/anthropic/v1/messages"] {
        let answer = gateway.send(&Ask::post(path, body()).header("x-api-key", "key-nobody"));
        assert_eq!(answer.refusal(), (401, "invalid_api_key".into()));
        let error = answer.json();
        assert_eq!(
            (&error["type"], &error["error"]["type"]),
            (&"error".into(), &"authentication_error".into())
        );
        assert_eq!(error["request_id"], answer.header("x-tollgate-request-id").unwrap());
    }
    assert!(mock.served().is_empty(), "no stranger reaches an upstream");
}

#[test]
fn a_key_may_use_its_models_only() {
    let mock = mock();
    let gateway = gateway(&mock.base_url());
    let ask = |path: &str, model: &str| Ask::post(path, body().replace("gpt-4o-mini", model)).bearer(CI);
    assert_eq!(gateway.send(&ask("/v1/chat/completions", "gpt-4o")).status, 200);
    let refused = gateway.send(&ask("/v1/chat/completions", "o3"));
    assert_eq!(refused.refusal(), (403, "model_not_allowed".into()));
    assert!(refused.json()["error"]["message"].as_str().unwrap().contains("`o3`"));
    let refused = gateway.send(&ask("/v1/messages", "claude-sonnet-4-5"));
    assert_eq!(refused.refusal(), (403, "model_not_allowed".into()));
    assert_eq!(refused.json()["error"]["type"], "permission_error");
    assert_eq!(mock.served().len(), 1);
}

#[test]
fn a_deployment_in_the_path_is_the_model_that_must_be_allowed() {
    let mock = mock();
    // an upstream that gets Azure's paths as they are
    let gateway = gateway(&format!("http://{}", mock.addr));
    let ask = |deployment: &str| {
        let path = format!("/openai/deployments/{deployment}/chat/completions?api-version=2024-10-21");
        Ask::post(&path, body()).header("api-key", CI)
    };
    assert_eq!(gateway.send(&ask("gpt-4o-mini")).status, 200);
    let refused = gateway.send(&ask("o3"));
    assert_eq!(refused.status, 403, "the path decides what Azure runs: {}", refused.text());
    assert_eq!(mock.served().len(), 1);
}

#[test]
fn no_spelling_of_the_body_gets_another_model_past_the_rule() {
    let mock = mock();
    let gateway = gateway(&mock.base_url());
    for body in [
        r#"{"model":"gpt-4o","messages":[],"model":"o3"}"#,
        r#"{"model":"o3","messages":[],"model":"gpt-4o"}"#,
        r#"{"model":"gpt-4o","messages":[],"mod\u0065l":"o3"}"#,
        r#"{"model":"\u006f3","messages":[]}"#,
        r#"{"model":["o3"],"messages":[]}"#,
    ] {
        let answer = gateway.send(&Ask::post("/v1/chat/completions", body).bearer(CI));
        let answered = mock.served().into_iter().filter(|served| served.status < 400);
        let asked: Vec<_> = answered.map(|served| served.model).collect();
        assert!(asked.iter().all(|model| model == "gpt-4o"), "{body}: {asked:?}");
        assert!(answer.status < 500, "{body}: {}", answer.text());
    }
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(br#"{"model":"o3","messages":[]}"#).unwrap();
    let ask = Ask::post("/v1/chat/completions", encoder.finish().unwrap()).bearer(CI);
    assert_eq!(gateway.send(&ask.header("content-encoding", "gzip")).status, 403);
}

#[test]
fn a_model_that_cannot_be_read_is_no_way_past_the_list() {
    let mock = mock();
    let gateway = gateway(&mock.base_url());
    for body in [r#"{"model":"gpt-image-1","z":NaN}"#, r#"{"prompt":"a"}"#, "{"] {
        let answer = gateway.send(&Ask::post("/v1/images/generations", body).bearer(CI));
        assert!([400, 403].contains(&answer.status), "{body}: {} {}", answer.status, answer.text());
    }
    assert!(mock.served().is_empty());
}

#[test]
fn a_key_made_by_the_command_works_where_its_line_is_put() {
    let mock = mock();
    let upstream = format!("upstreams: {{ mock: {{ base_url: \"{}\" }} }}\n", mock.base_url());
    let setup = Setup::new(&format!("{upstream}teams: {{ search: {{}} }}\n"));
    let made = run(setup.command(&["keys", "new", "search/laptop"]), "");
    assert!(made.status.success(), "{made:?}");
    let key = String::from_utf8(made.stdout).unwrap().trim().to_owned();
    let told = String::from_utf8(made.stderr).unwrap();
    let line = told.lines().map(str::trim).find(|line| line.starts_with("- {")).unwrap();
    assert!(!line.contains(&key), "the line for the config is no secret");
    setup.write(&format!("{upstream}teams:\n  search:\n    keys:\n      {line}\n"));
    let checked = run(setup.command(&["keys", "check"]), &key);
    assert_eq!(String::from_utf8(checked.stdout).unwrap().trim(), "search/laptop");

    let gateway = setup.start();
    let answer = gateway.send(&Ask::post("/v1/chat/completions", body()).bearer(&key));
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(gateway.row_of(&answer).key, "laptop");
    let mut typo = key.clone();
    typo.pop();
    let answer = gateway.send(&Ask::post("/v1/chat/completions", body()).bearer(&typo));
    assert_eq!(answer.refusal(), (401, "invalid_api_key".into()));
}

#[test]
fn an_open_gateway_warns_and_asks_for_no_key() {
    let mock = mock();
    let gateway = Gateway::start(&format!(
        "open: true\nupstreams: {{ mock: {{ base_url: \"{}\", api_key: \"${{UPSTREAM_KEY}}\" }} }}\n",
        mock.base_url()
    ));
    assert!(gateway.log().contains("everyone on this machine may spend"));
    for ask in
        [Ask::post("/v1/chat/completions", body()), chat("gpt-4o-mini"), chat("gpt-4o-mini").bearer("b")]
    {
        let answer = gateway.send(&ask);
        assert_eq!(answer.status, 200, "{}", answer.text());
        assert_eq!(gateway.row_of(&answer).team, "open");
    }
    assert!(mock.served().iter().all(|served| served.credential == short_hash(UPSTREAM)));
}
