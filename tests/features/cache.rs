//! The answer cache: who gets a stored answer, who never does, and what is stored at all.

use std::thread;

use crate::support::{
    Answer, Ask, CI, COMPLETION, Gateway, OTHER, PROD, Recorder, Wire, chat, mock, stream_chat, until,
};

fn start(base_url: &str) -> Gateway {
    Gateway::start(&format!(
        "upstreams: {{ mock: {{ base_url: \"{base_url}\" }} }}
teams:
  search:
    keys: [{{ name: prod, key: \"${{KEY_PROD}}\" }}, {{ name: ci, key: \"${{KEY_CI}}\" }}]
    cache: {{ ttl: 1h }}
  other: {{ keys: [{{ name: prod, key: \"${{KEY_OTHER}}\" }}], cache: {{ ttl: 1h }} }}\n"
    ))
}

fn cached(answer: &Answer) -> &str {
    answer.header("x-tollgate-cache").unwrap_or("(no header)")
}

/// The upstream's headers: none of ours, none about age or framing.
fn upstream_headers(answer: &Answer) -> Vec<(String, String)> {
    let ours = |name: &str| name.starts_with("x-tollgate-") || ["age", "server-timing"].contains(&name);
    let framing = ["content-length", "transfer-encoding"];
    let kept = answer.headers.iter().filter(|(name, _)| !ours(name) && !framing.contains(&name.as_str()));
    kept.cloned().collect()
}

#[test]
fn a_hit_is_the_stored_answer_byte_for_byte_and_costs_nothing() {
    let mock = mock();
    let gateway = start(&mock.base_url());
    for ask in
        [chat("gpt-4o@out=50"), stream_chat("gpt-4o@out=50"), stream_chat("gpt-4o@out=50+crlf+slice=7")]
    {
        let first = gateway.send(&ask);
        assert_eq!((first.status, cached(&first)), (200, "miss"), "{}", first.text());
        let paid = gateway.row_of(&first);
        let second = gateway.send(&ask);
        assert_eq!((second.status, cached(&second)), (200, "hit"));
        assert_eq!(second.body, first.body);
        assert!(second.whole);
        assert_eq!(upstream_headers(&second), upstream_headers(&first));
        assert!(second.header("age").is_some());
        assert_ne!(second.header("x-tollgate-request-id"), first.header("x-tollgate-request-id"));

        let row = gateway.row_of(&second);
        assert_eq!((row.cache.as_str(), row.outcome.as_str(), row.stream), ("hit", "completed", paid.stream));
        assert_eq!(row.cost.unwrap().as_nanos(), 0);
        assert!(paid.cost.unwrap().as_nanos() > 0 && row.saved == paid.cost.unwrap());
        assert_eq!((row.attempts, row.model), (0, paid.model));
    }
    assert_eq!(mock.served().len(), 3);
    assert_eq!(gateway.rows(6).len(), 6);
}

#[test]
fn a_hit_leaves_budgets_alone() {
    let mock = mock();
    let gateway = Gateway::start(&format!(
        "upstreams: {{ mock: {{ base_url: \"{}\" }} }}
teams:
  search:
    keys: [{{ name: prod, key: \"${{KEY_PROD}}\" }}]
    budgets: [{{ limit_usd: 1, every: day }}]
    cache: {{ ttl: 1h }}\n",
        mock.base_url()
    ));
    let first = gateway.send(&chat("gpt-4o"));
    let spent = gateway.api("budgets")["budgets"][0]["spent"].clone();
    assert_eq!(spent, gateway.row_of(&first).cost.unwrap().as_nanos());
    for _ in 0..3 {
        assert_eq!(cached(&gateway.send(&chat("gpt-4o"))), "hit");
    }
    let budget = gateway.api("budgets")["budgets"][0].clone();
    assert_eq!((&budget["spent"], &budget["reserved"]), (&spent, &0.into()));
}

#[test]
fn identical_requests_at_once_ask_the_upstream_once() {
    let mock = mock();
    let gateway = start(&mock.base_url());
    for ask in [chat("gpt-4o@delay=500ms"), stream_chat("gpt-4o@delay=500ms")] {
        let before = mock.served().len();
        let asked: Vec<_> = (0..8)
            .map(|_| {
                let (ask, to) = (ask.clone(), gateway.data);
                thread::spawn(move || ask.send(to))
            })
            .collect();
        let answers: Vec<_> = asked.into_iter().map(|asked| asked.join().unwrap()).collect();
        assert_eq!(mock.served().len(), before + 1);
        assert!(answers.iter().all(|answer| answer.status == 200 && answer.body == answers[0].body));
        let of = |word| answers.iter().filter(|answer| cached(answer) == word).count();
        assert_eq!((of("miss"), of("coalesced") + of("hit")), (1, 7));
        assert!(of("coalesced") > 0);
        for answer in &answers {
            let row = gateway.row_of(answer);
            assert_eq!(row.cache.as_str(), cached(answer));
            assert_eq!(row.cost.unwrap().as_nanos() == 0, cached(answer) != "miss");
        }
    }
}

#[test]
fn a_failed_leader_s_followers_ask_for_themselves() {
    let mock = mock();
    let gateway = start(&mock.base_url());
    // the first two who ask are told 500; nobody may share such an answer
    let ask = chat("gpt-4o@delay=100ms+status=500:2");
    let asked: Vec<_> = (0..4)
        .map(|_| {
            let (ask, to) = (ask.clone(), gateway.data);
            thread::spawn(move || ask.send(to))
        })
        .collect();
    let answers: Vec<_> = asked.into_iter().map(|asked| asked.join().unwrap()).collect();
    let failed = answers.iter().filter(|answer| answer.status == 500).count();
    assert_eq!((failed, answers.iter().filter(|answer| answer.status == 200).count()), (2, 2));
    assert!(mock.served().len() >= 3);
}

#[test]
fn two_teams_never_share_and_two_keys_of_one_team_do() {
    let mock = mock();
    let gateway = start(&mock.base_url());
    let ask = |key| {
        let body = r#"{"model":"gpt-4o","messages":[{"role":"user","content":"shared"}]}"#;
        gateway.send(&Ask::post("/v1/chat/completions", body).bearer(key))
    };
    let seen = [PROD, CI, OTHER, OTHER].map(|key| cached(&ask(key)).to_owned());
    assert_eq!(seen, ["miss", "hit", "miss", "hit"]);
    assert_eq!(mock.served().len(), 2);
}

#[test]
fn a_caller_can_be_stricter_than_the_rule() {
    let mock = mock();
    let gateway = start(&mock.base_url());
    let ask = |wish: &str| {
        let ask =
            if wish.is_empty() { chat("gpt-4o") } else { chat("gpt-4o").header("x-tollgate-cache", wish) };
        let answer = gateway.send(&ask);
        (answer.status, cached(&answer).to_owned())
    };
    let (miss, hit, bypass) = ((200, "miss".to_owned()), (200, "hit".to_owned()), (200, "bypass".to_owned()));
    assert_eq!(ask("no-store"), bypass);
    assert_eq!(ask(""), miss, "what is not to be stored was not stored");
    assert_eq!(ask(""), hit);
    assert_eq!(ask("no-store"), bypass);
    assert_eq!(ask("refresh"), miss);
    assert_eq!(ask("ttl=0s"), miss, "no answer is young enough");
    assert_eq!(ask(""), hit);
    assert_eq!(mock.served().len(), 5);
    let refused = gateway.send(&chat("gpt-4o").header("x-tollgate-cache", "please"));
    assert_eq!(refused.status, 400);
}

#[test]
fn only_complete_good_answers_are_stored() {
    let mock = mock();
    let gateway = start(&mock.base_url());
    for ask in [
        chat("gpt-4o@status=500"),
        chat("gpt-4o@status=400"),
        chat("gpt-4o@cut=100"),
        stream_chat("gpt-4o@cut=400"),
        stream_chat("gpt-4o@rst=400"),
        stream_chat("gpt-4o@error-frame=3"),
    ] {
        let before = mock.served().len();
        for _ in 0..2 {
            let answer = gateway.send(&ask);
            assert_eq!(cached(&answer), "miss", "{answer:?}");
            gateway.row_of(&answer);
        }
        assert_eq!(mock.served().len(), before + 2, "{ask:?}");
    }
}

#[test]
fn a_stream_that_its_client_left_is_not_stored() {
    let mock = mock();
    let gateway = start(&mock.base_url());
    let ask = stream_chat("gpt-4o@out=200+pace=5ms");
    let mut wire = Wire::open(gateway.data);
    wire.write(&ask.bytes());
    wire.wait_for(b"data: ");
    wire.reset();
    assert_eq!(gateway.rows(1)[0].outcome.as_str(), "cancelled");
    // the record is written a moment before others are told that no answer will come
    until("rest", || (gateway.metric("http_server_active_requests{") == 0.0).then_some(()));
    assert_eq!(cached(&gateway.send(&ask)), "miss");
    assert_eq!(cached(&gateway.send(&ask)), "hit");
}

/// The beginning of a stream with these events, without the last chunk of its framing.
fn events(events: &[&str]) -> String {
    let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n";
    let chunk = |data: &&str| format!("{:x}\r\ndata: {data}\n\n\r\n", data.len() + 8);
    head.to_owned() + &events.iter().map(chunk).collect::<String>()
}

const HI: &str = r#"{"choices":[{"index":0,"delta":{"content":"hi"}}]}"#;
const STOP: &str = r#"{"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}"#;
const USAGE: &str = r#"{"choices":[],"usage":{"prompt_tokens":9,"completion_tokens":1,"total_tokens":10}}"#;

#[test]
fn an_answer_that_lacks_its_end_is_not_stored() {
    let head = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nconnection: close\r\n\r\n";
    let cut = format!("{head}{}", &COMPLETION[..100]);
    for (ask, bytes) in [(chat("gpt-4o"), cut), (stream_chat("gpt-4o"), events(&[HI]) + "0\r\n\r\n")] {
        let upstream = Recorder::start(move |_| bytes.clone().into_bytes()).hanging_up();
        let gateway = start(&format!("http://{}/v1", upstream.addr));
        for count in 1..=2 {
            let answer = gateway.send(&ask);
            assert_eq!(cached(&answer), "miss", "{answer:?}");
            gateway.row_of(&answer);
            assert_eq!(upstream.seen().len(), count);
        }
    }
}

#[test]
fn a_client_that_leaves_before_the_end_leaves_nothing_to_others() {
    let upstream = Recorder::start(|_| events(&[HI, STOP, USAGE]).into_bytes());
    let gateway = start(&format!("http://{}/v1", upstream.addr));
    let body = r#"{"model":"gpt-4o","stream":true,"stream_options":{"include_usage":true},"messages":[]}"#;
    let ask = Ask::post("/v1/chat/completions", body).bearer(PROD);
    for count in 1..=2 {
        let mut wire = Wire::open(gateway.data);
        wire.write(&ask.bytes());
        wire.wait_for(b"total_tokens");
        wire.reset();
        assert!(gateway.rows(count).iter().all(|row| row.cache.as_str() == "miss"));
        until("rest", || (gateway.metric("http_server_active_requests{") == 0.0).then_some(()));
        assert_eq!(upstream.seen().len(), count);
    }
}

#[test]
fn other_questions_and_other_paths_are_other_answers() {
    let recorder = Recorder::plain();
    let gateway = start(&format!("http://{}/v1", recorder.addr));
    let ask = |path: &str, body: &str, name: &str, value: &str| {
        let ask = Ask::post(path, body).bearer(PROD).header(name, value);
        cached(&gateway.send(&ask)).to_owned()
    };
    let body = r#"{"model":"gpt-4o","messages":[]}"#;
    assert_eq!(ask("/v1/chat/completions", body, "x-a", "1"), "miss");
    assert_eq!(ask("/v1/chat/completions", body, "x-a", "1"), "hit");
    assert_eq!(ask("/v1/chat/completions", body, "x-a", "2"), "miss", "who knows what it changes");
    let named =
        Ask::post("/v1/chat/completions", body).bearer(PROD).header("x-a", "1").header("user-agent", "b");
    assert_eq!(cached(&gateway.send(&named)), "hit", "a header that changes no answer");
    assert_eq!(ask("/v1/chat/completions", body, "accept-encoding", "gzip"), "miss");
    assert_eq!(ask("/v1/chat/completions", body, "openai-organization", "org"), "miss");
    assert_eq!(ask("/v1/chat/completions?x=1", body, "x-a", "1"), "miss");
    assert_eq!(ask("/v1/chat/completions", r#"{"model":"gpt-4o","messages":[] }"#, "x-a", "1"), "miss");
    assert_eq!(ask("/v1/responses", body, "x-a", "1"), "miss");
    assert_eq!(ask("/v1/batches", body, "x-a", "1"), "bypass", "nobody knows what this path does");
    assert_eq!(recorder.seen().len(), 8);
    let twice = |second: &str| {
        let ask = Ask::post("/v1/chat/completions", body).bearer(PROD).header("x-a", "1");
        cached(&gateway.send(&ask.header("x-a", second))).to_owned()
    };
    assert_eq!(["2", "3", "3"].map(twice), ["miss", "miss", "hit"], "every value of a header counts");
}

#[test]
fn a_team_without_a_rule_has_no_cache() {
    let mock = mock();
    let gateway = Gateway::start(&format!(
        "upstreams: {{ mock: {{ base_url: \"{}\" }} }}
teams: {{ search: {{ keys: [{{ name: prod, key: \"${{KEY_PROD}}\" }}] }} }}\n",
        mock.base_url()
    ));
    for _ in 0..2 {
        let answer = gateway.send(&chat("gpt-4o").header("x-tollgate-cache", "ttl=1h"));
        assert_eq!((answer.status, answer.header("x-tollgate-cache")), (200, None));
        assert_eq!(gateway.row_of(&answer).cache.as_str(), "off");
    }
    assert_eq!(mock.served().len(), 2);
}
