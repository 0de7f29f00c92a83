//! Where requests go: patterns, aliases, weights, failover, and the headers on the way.

use std::net::TcpListener;

use crate::support::{Ask, Gateway, PROD, Recorder, chat, json_answer, mock, stream_chat};

const TEAM: &str = "teams: { search: { keys: [{ name: prod, key: \"${KEY_PROD}\" }] } }\n";

fn start(upstreams: &str, routes: &str) -> Gateway {
    Gateway::start(&format!("upstreams:\n{upstreams}\nroutes:\n{routes}\n{TEAM}"))
}

fn upstream(name: &str, base_url: &str) -> String {
    format!("  {name}: {{ base_url: \"{base_url}\", api_key: \"${{UPSTREAM_KEY}}\" }}\n")
}

/// An address at which nobody listens.
fn nobody() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    format!("http://{}/v1", listener.local_addr().unwrap())
}

#[test]
fn the_first_route_that_fits_the_model_is_taken() {
    let mocks = [mock(), mock(), mock()];
    let upstreams: String =
        ["a", "b", "c"].iter().zip(&mocks).map(|(name, mock)| upstream(name, &mock.base_url())).collect();
    let gateway = start(
        &upstreams,
        "  - { models: [gpt-4o], to: [{ upstream: b }] }
  - { models: [\"gpt-4*\", \"*-mini\"], to: [{ upstream: c }] }",
    );
    for (model, expected) in
        [("gpt-4o", "b"), ("gpt-4o-mini", "c"), ("gpt-4.1", "c"), ("o4-mini", "c"), ("o3", "a")]
    {
        let answer = gateway.send(&chat(model));
        assert_eq!((answer.status, answer.header("x-tollgate-upstream")), (200, Some(expected)), "{model}");
        assert_eq!(gateway.row_of(&answer).upstream, expected);
    }
    assert_eq!(mocks.each_ref().map(|mock| mock.served().len()), [1, 1, 3]);
}

#[test]
fn an_alias_changes_the_model_s_bytes_and_no_others() {
    let recorder = Recorder::plain();
    let gateway = start(
        &upstream("a", &format!("http://{}/v1", recorder.addr)),
        "  - { models: [smart], to: [{ upstream: a, model: gpt-4o-2024-11-20 }] }",
    );
    let body = "{ \"temperature\" : 0.10 ,\n\"unknown\":[1e3 ,{\"model\":\"smart\"}],\t\"model\" :\"smart\",\
                \"messages\":[{\"role\":\"user\",\"content\":\"sm\\u0061rt \\\"model\\\": smart\"}] }\n";
    let answer = gateway.send(&Ask::post("/v1/chat/completions", body).bearer(PROD));
    assert_eq!(answer.status, 200, "{}", answer.text());
    let expected = body.replace("\"model\" :\"smart\"", "\"model\" :\"gpt-4o-2024-11-20\"");
    assert_eq!(recorder.only().text(), expected);
    let row = gateway.row_of(&answer);
    assert_eq!((row.model.as_str(), row.upstream_model.as_str()), ("smart", "gpt-4o-2024-11-20"));
}

#[test]
fn weights_share_the_traffic() {
    let mocks = [mock(), mock(), mock()];
    let upstreams: String =
        ["a", "b", "c"].iter().zip(&mocks).map(|(name, mock)| upstream(name, &mock.base_url())).collect();
    let gateway = start(
        &upstreams,
        "  - models: [\"*\"]
    pick: weighted
    to: [{ upstream: a, weight: 1 }, { upstream: b, weight: 1 }, { upstream: c, weight: 0 }]",
    );
    for _ in 0..40 {
        assert_eq!(gateway.send(&chat("gpt-4o-mini")).status, 200);
    }
    let [a, b, c] = mocks.each_ref().map(|mock| mock.served().len());
    // by a fair coin, neither is without a request in one of a trillion runs
    assert!(a > 0 && b > 0 && c == 0 && a + b == 40, "{a} {b} {c}");
}

#[test]
fn a_target_that_fails_before_its_first_byte_is_replaced_by_the_next() {
    let (bad, good) = (mock(), mock());
    let upstreams =
        [upstream("nobody", &nobody()), upstream("bad", &bad.base_url()), upstream("good", &good.base_url())]
            .concat();
    let gateway = start(
        &upstreams,
        "  - { models: [refused], to: [{ upstream: nobody }, { upstream: good, model: gpt-4o-mini }] }
  - { models: [limited], to: [{ upstream: bad, model: mock-status=429 }, { upstream: good, model: gpt-4o-mini }] }
  - { models: [broken], to: [{ upstream: bad, model: mock-status=500 }, { upstream: good, model: gpt-4o-mini }] }
  - { models: [all], to: [{ upstream: nobody }, { upstream: bad, model: mock-status=503 }, { upstream: good, model: gpt-4o-mini }] }
  - { models: [wrong], to: [{ upstream: bad, model: mock-status=404 }, { upstream: good, model: gpt-4o-mini }] }",
    );
    for (model, attempts) in [("refused", 2), ("limited", 2), ("broken", 2), ("all", 3)] {
        for ask in [chat(model), stream_chat(model)] {
            let answer = gateway.send(&ask);
            assert_eq!(answer.status, 200, "{model}: {}", answer.text());
            assert_eq!(answer.header("x-tollgate-attempts"), Some(attempts.to_string().as_str()));
            assert_eq!(answer.header("x-tollgate-upstream"), Some("good"));
            let row = gateway.row_of(&answer);
            assert_eq!((row.attempts, row.upstream.as_str()), (attempts, "good"));
            assert_eq!((row.outcome.as_str(), row.usage_source.as_str()), ("completed", "reported"));
        }
    }
    let answer = gateway.send(&chat("wrong"));
    assert_eq!(answer.status, 404, "a fault of the request is not mended elsewhere");
    assert_eq!(answer.header("x-tollgate-attempts"), Some("1"));
}

#[test]
fn when_all_fail_the_last_upstream_s_answer_comes_through_as_it_was() {
    const BODY: &str = r#"{"error":{"message":"slow down","type":"tokens","param":null,"code":"rate_limit_exceeded"}, "extra":1.0}"#;
    let recorder = Recorder::start(|_| {
        let headers = "retry-after: 7\r\nretry-after-ms: 6999\r\nx-ratelimit-limit-requests: 500\r\n\
                       x-ratelimit-remaining-tokens: 0\r\nx-ratelimit-reset-tokens: 6m0s\r\n\
                       x-request-id: req_abc\r\nopenai-processing-ms: 3\r\n";
        json_answer(429, headers, BODY)
    });
    let upstreams =
        [upstream("nobody", &nobody()), upstream("a", &format!("http://{}/v1", recorder.addr))].concat();
    let gateway = start(&upstreams, "  - { models: [\"*\"], to: [{ upstream: nobody }, { upstream: a }] }");
    for ask in [chat("gpt-4o"), stream_chat("gpt-4o")] {
        let answer = gateway.send(&ask);
        assert_eq!((answer.status, answer.text().as_str()), (429, BODY));
        for (name, value) in [
            ("retry-after", "7"),
            ("retry-after-ms", "6999"),
            ("x-ratelimit-limit-requests", "500"),
            ("x-ratelimit-remaining-tokens", "0"),
            ("x-ratelimit-reset-tokens", "6m0s"),
            ("x-request-id", "req_abc"),
            ("openai-processing-ms", "3"),
            ("x-tollgate-attempts", "2"),
        ] {
            assert_eq!(answer.header(name), Some(value), "{name}");
        }
        assert_eq!(answer.header("x-tollgate-error-source"), None);
        let row = gateway.row_of(&answer);
        assert_eq!((row.outcome.as_str(), row.error.as_str()), ("upstream_error", "rate_limit_exceeded"));
        assert_eq!(row.cost.unwrap().as_nanos(), 0);
    }
}

#[test]
fn when_nobody_can_be_reached_the_gateway_says_so() {
    let gateway = start(&upstream("nobody", &nobody()), "  []");
    let answer = gateway.send(&chat("gpt-4o"));
    assert_eq!(answer.refusal(), (502, "upstream_unreachable".into()));
    assert!(answer.text().contains("connection_refused"), "{}", answer.text());
    assert_eq!(answer.header("x-tollgate-attempts"), Some("1"));
    let row = gateway.row_of(&answer);
    assert_eq!((row.outcome.as_str(), row.cost.unwrap().as_nanos()), ("upstream_unreachable", 0));
}

#[test]
fn a_client_may_name_the_upstream() {
    let (a, b) = (mock(), mock());
    let gateway = start(
        &[upstream("a", &a.base_url()), upstream("b", &b.base_url())].concat(),
        "  - { models: [\"gpt-4o\"], to: [{ upstream: a }] }\n  - { models: [\"*\"], to: [{ upstream: a }, { upstream: b }] }",
    );
    let answer = gateway.send(&chat("gpt-4o-mini").header("x-tollgate-upstream", "b"));
    assert_eq!((answer.status, answer.header("x-tollgate-upstream")), (200, Some("b")));
    let answer = gateway.send(&chat("gpt-4o").header("x-tollgate-upstream", "b"));
    assert_eq!(answer.refusal(), (404, "no_upstream".into()), "nobody gets past a route");
    let answer = gateway.send(&chat("gpt-4o-mini").header("x-tollgate-upstream", "c"));
    assert_eq!(answer.refusal(), (404, "no_upstream".into()));
    assert_eq!((a.served().len(), b.served().len()), (0, 1));
}
