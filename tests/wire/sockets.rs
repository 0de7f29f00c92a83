//! WebSockets: bytes untouched both ways, a bill for every response, and a budget that holds in the middle.

use serde_json::{Value, json};
use tollgate::base::usage::UsageSource;
use tollgate::dialect::frames::{Opcode, frame};
use tollgate::mock::MockHandle;
use tollgate::store::record::{Outcome, Record};

use crate::script::Script;
use crate::support::{Ask, Gateway, PROD, Setup, UPSTREAM, mock, until};
use crate::ws::{Got, Socket, bearer, handshake, told};

/// A gateway in front of a mock; `more` are further lines of the team.
fn gateway(mock: &MockHandle, more: &str) -> Gateway {
    Gateway::start(&config(&mock.base_url(), more))
}

fn config(base_url: &str, more: &str) -> String {
    format!(
        "upstreams: {{ up: {{ base_url: \"{base_url}\", api_key: \"${{UPSTREAM_KEY}}\" }} }}
teams: {{ search: {{ keys: [{{ name: prod, key: \"${{KEY_PROD}}\" }}]{more} }} }}
routes: [{{ models: [voice], to: [{{ upstream: up, model: rt }}] }}]
prices:
  m: {{ input: 1, output: 2 }}
  m@in=100+out=4: {{ input: 1, output: 2 }}
  m@in=200+out=4: {{ input: 1, output: 2 }}
  m@in=400+out=20: {{ input: 1, output: 2 }}
  m@pace=60s: {{ input: 1, output: 2 }}
  m@pace=50ms: {{ input: 1, output: 2 }}
  rt: {{ input: 10, output: 20 }}
  gpt-4o-mini-transcribe: {{ input: 3, output: 5 }}\n"
    )
}

fn budget(usd: &str) -> String {
    format!(", budgets: [{{ limit_usd: {usd}, every: total }}]")
}

/// The row of a socket, and those of its parts as they began.
fn rows_of(gateway: &Gateway, socket: &Socket, parts: usize) -> (Record, Vec<Record>) {
    let id = socket.id();
    until("the rows of a socket", || {
        let rows = gateway.rows(1 + parts);
        let whole = rows.iter().find(|row| row.request_id().to_string() == id)?.clone();
        let parts_of: Vec<_> = rows.into_iter().filter(|row| row.parent == whole.id).collect();
        (parts_of.len() >= parts).then_some((whole, parts_of))
    })
}

fn spent(gateway: &Gateway) -> (i64, i64) {
    let budget = &gateway.api("budgets")["budgets"][0];
    let nanos = |name: &str| budget[name].as_i64().unwrap_or_else(|| panic!("{budget}"));
    (nanos("spent"), nanos("reserved"))
}

#[test]
fn wire_20_lanes_and_steered_successors_are_bills_of_their_own() {
    let mock = mock();
    let gateway = gateway(&mock, &budget("1"));
    let mut socket = Socket::open(gateway.data, "/v1/responses");
    let create = |lane: &str, input: u64| {
        json!({"type": "response.create", "model": format!("m@in={input}+out=4"), "stream_id": lane,
            "max_output_tokens": 50, "input": "hello"})
    };
    socket.say(&create("a", 100));
    socket.say(&create("b", 200));
    socket.until("response.output_text.delta");
    socket.say(&json!({"type": "response.steer", "stream_id": "a", "input": "shorter"}));
    let mut ends = Vec::new();
    while ends.len() < 3 {
        let event = socket.event();
        let kind = event["type"].as_str().unwrap();
        if kind == "response.completed" || kind == "response.incomplete" {
            ends.push((event["response"]["id"].as_str().unwrap().to_owned(), kind.to_owned()));
        }
    }
    socket.close();
    let (whole, parts) = rows_of(&gateway, &socket, 3);
    assert_eq!(
        (whole.operation.as_str(), whole.outcome, whole.status),
        ("responses_socket", Outcome::Completed, 101)
    );
    assert_eq!((whole.cost.map(|cost| cost.as_nanos()), whole.usage_source), (Some(0), UsageSource::None));
    assert!(ends.iter().any(|(_, kind)| kind == "response.incomplete"), "{ends:?}");
    let mut bills: Vec<_> = parts
        .iter()
        .map(|row| (row.usage.input_tokens, row.usage.output_tokens, row.cost.unwrap().as_nanos()))
        .collect();
    bills.sort_unstable();
    // the successor has the mock's usual counts
    assert_eq!(bills, [(100, 4, 108_000), (100, 20, 140_000), (200, 4, 208_000)]);
    for row in &parts {
        assert_eq!((row.operation.as_str(), row.outcome), ("responses", Outcome::Completed), "{row:?}");
        assert_eq!((row.usage_source, row.team.as_str()), (UsageSource::Reported, "search"), "{row:?}");
    }
    assert_eq!(spent(&gateway), (456_000, 0));
}

/// Everything that a voice client does; answers with what it got.
fn voice(socket: &mut Socket) -> Vec<Value> {
    let mut events = vec![socket.until("session.created")];
    socket.say(&json!({"type": "session.update", "session": {"max_output_tokens": 500,
        "audio": {"input": {"transcription": {"model": "gpt-4o-mini-transcribe"}}}}}));
    socket.say_in_pieces(&json!({"type": "response.create", "response": {"max_output_tokens": 100}}));
    events.push(socket.until("response.done"));
    socket.say(&json!({"audio": "A".repeat(200_000), "type": "input_audio_buffer.append"}));
    socket.say(&json!({"type": "input_audio_buffer.commit"}));
    events.push(socket.until("conversation.item.input_audio_transcription.completed"));
    events.push(socket.until("response.output_audio.delta"));
    events.push(socket.until("response.done"));
    socket.control(Opcode::Ping, b"there?");
    while socket.next() != Got::Pong(b"mock".to_vec()) {}
    socket.say(&json!({"type": "mock.digest"}));
    let sum = socket.sha_sent();
    assert_eq!(socket.until("mock.digest")["sha256"], sum.as_str(), "the upstream gets the client's bytes");
    socket.close();
    events
}

#[test]
fn wire_21_realtime_passes_byte_for_byte_and_every_bill_is_found() {
    let mock = mock();
    let gateway = gateway(&mock, &budget("10"));
    let offer = format!(
        "Sec-WebSocket-Protocol: realtime, openai-insecure-api-key.{PROD}, openai-beta.realtime-v1\r\n"
    );
    let mut through = Socket::open_with(gateway.data, "/v1/realtime?model=rt", &offer);
    let mut direct = Socket::open_with(
        mock.addr,
        "/v1/realtime?model=rt",
        &format!(
            "Sec-WebSocket-Protocol: realtime, openai-beta.realtime-v1\r\nAuthorization: Bearer {UPSTREAM}\r\n"
        ),
    );
    assert_eq!(through.header("sec-websocket-protocol"), Some("realtime"));
    assert_eq!(through.header("sec-websocket-accept"), direct.header("sec-websocket-accept"));
    let (seen, expected) = (voice(&mut through), voice(&mut direct));
    assert_eq!(seen[1..], expected[1..]);
    assert!(seen[3]["delta"].as_str().unwrap().len() > 65_536);
    assert_eq!(after_first(&seen), after_first(&expected));
    let (whole, parts) = rows_of(&gateway, &through, 3);
    assert_eq!(
        (whole.operation.as_str(), whole.model.as_str(), whole.outcome),
        ("realtime", "rt", Outcome::Completed)
    );
    let bills: Vec<_> = parts
        .iter()
        .map(|row| {
            (
                row.operation.as_str(),
                row.model.as_str(),
                row.usage.input_tokens,
                row.usage.input_audio_tokens,
                row.usage.output_tokens,
                row.usage_source,
                row.cost.unwrap().as_nanos(),
            )
        })
        .collect();
    let answer = ("realtime_response", "rt", 100, 50, 20, UsageSource::Reported, 1_400_000);
    assert_eq!(
        bills,
        [
            answer,
            ("transcriptions", "gpt-4o-mini-transcribe", 30, 30, 5, UsageSource::Reported, 115_000),
            answer,
        ]
    );
    assert_eq!(spent(&gateway), (2_915_000, 0));
    let told = format!("{}{:?}{}", gateway.log(), gateway.rows(4), gateway.metrics());
    assert!(!told.contains(PROD), "a key is told: {told}");
    let served = mock.served();
    assert_eq!(served[0].credential, served[1].credential, "the upstream gets its own credential");
}

/// Events but for the first, which shows the headers that the upstream saw.
fn after_first(events: &[Value]) -> String {
    let shown = |event: &Value| event["headers"].as_array().cloned().unwrap_or_default();
    let first = shown(&events[0]);
    assert!(!first.iter().any(|name| name == "x-tollgate-request-id"));
    Value::from(events[1..].to_vec()).to_string()
}

#[test]
fn all_bytes_of_a_socket_are_the_upstreams() {
    let mock = mock();
    let gateway = gateway(&mock, "");
    let sums: Vec<_> = [gateway.data, mock.addr]
        .into_iter()
        .map(|to| {
            let mut socket = Socket::open(to, "/v1/responses");
            for number in 0..3 {
                socket.say_in_pieces(&json!({"type": "response.create", "model": "m", "input": number}));
                socket.until("response.completed");
            }
            socket.say(&json!({"type": "mock.digest"}));
            assert_eq!(socket.sha_sent(), socket.until("mock.digest")["sha256"].as_str().unwrap());
            socket.close();
            socket.sha_got()
        })
        .collect();
    assert_eq!(sums[0], sums[1]);
}

#[test]
fn wire_22_live_seconds_are_cumulative_and_one_bill() {
    let mock = mock();
    let gateway = gateway(&mock, &budget("100"));
    let mut socket = Socket::open(gateway.data, "/v1/live?model=whisper-1");
    socket.until("session.created");
    for _ in 0..3 {
        socket.say(&json!({"type": "session.tick"}));
        socket.until("session.usage.updated");
    }
    socket.say(&json!({"type": "session.close"}));
    socket.until("session.closed");
    socket.close();
    let (whole, parts) = rows_of(&gateway, &socket, 1);
    assert_eq!((whole.operation.as_str(), parts.len()), ("live", 1));
    let bill = &parts[0];
    assert_eq!(
        (bill.operation.as_str(), bill.usage.seconds, bill.usage_source),
        ("live_session", 30, UsageSource::Reported)
    );
    assert_eq!(bill.cost.unwrap().as_nanos(), 3_000_000);
    assert_eq!(spent(&gateway), (3_000_000, 0));
}

#[test]
fn what_does_not_fit_a_budget_is_refused_in_the_socket_and_never_leaves() {
    let mock = mock();
    let gateway = gateway(&mock, &budget("0.001"));
    let mut socket = Socket::open(gateway.data, "/v1/responses");
    let create = |cap: u64| {
        json!({"type": "response.create", "event_id": "e1", "stream_id": "s", "model": "m",
        "max_output_tokens": cap, "input": "hello"})
    };
    // two dollars for a million tokens: 1,000 of them are more than there is
    socket.say_in_vain(&create(1_000));
    let refused = socket.event();
    assert_eq!((&refused["type"], &refused["status"]), (&json!("error"), &json!(402)), "{refused}");
    assert_eq!(refused["error"]["code"], "insufficient_quota", "{refused}");
    assert_eq!((&refused["stream_id"], &refused["error"]["event_id"]), (&json!("s"), &json!("e1")));
    socket.say(&create(50));
    socket.until("response.completed");
    socket.say(&json!({"type": "mock.digest"}));
    assert_eq!(socket.sha_sent(), socket.until("mock.digest")["sha256"].as_str().unwrap());
    socket.close();
    let (_, parts) = rows_of(&gateway, &socket, 2);
    let told: Vec<_> =
        parts.iter().map(|row| (row.outcome, row.status, row.cost.unwrap().as_nanos())).collect();
    assert_eq!(told, [(Outcome::Refused, 402, 0), (Outcome::Completed, 200, 140_000)]);
    assert_eq!(spent(&gateway), (140_000, 0));
}

#[test]
fn a_response_that_nobody_pays_for_ends_the_socket() {
    let mock = mock();
    // the window of an unknown model's voice costs more than this; what is written down does not
    let gateway = gateway(&mock, &budget("0.5"));
    let mut socket = Socket::open(gateway.data, "/v1/realtime?model=rt");
    socket.until("session.created");
    socket.say(&json!({"type": "input_audio_buffer.commit"}));
    let refused = socket.until("error");
    assert_eq!(refused["error"]["code"], "insufficient_quota", "{refused}");
    assert_eq!(socket.next(), Got::Close(1008));
    assert_eq!(socket.next(), Got::End);
    let (whole, parts) = rows_of(&gateway, &socket, 2);
    assert_eq!((whole.outcome, whole.error.as_str()), (Outcome::Cut, "insufficient_quota"));
    assert_eq!(parts.iter().filter(|row| row.outcome == Outcome::Refused).count(), 1, "{parts:?}");
    assert_eq!(spent(&gateway).1, 0);
}

#[test]
fn a_spent_budget_opens_no_socket_and_a_stranger_neither() {
    let mock = mock();
    let gateway = gateway(&mock, &budget("0.0003"));
    let body = r#"{"model":"m@in=400+out=20","max_tokens":20,"messages":[{"role":"user","content":"hi"}]}"#;
    let spends = Ask::post("/v1/chat/completions", body).bearer(PROD).send(gateway.data);
    assert_eq!(spends.status, 200, "{spends:?}");
    let refused = Socket::try_open(gateway.data, "/v1/realtime?model=rt", &bearer()).unwrap_err();
    assert!(refused.starts_with("HTTP/1.1 402 ") && refused.contains("insufficient_quota"), "{refused}");
    let offer = "Sec-WebSocket-Protocol: realtime, openai-insecure-api-key.somebody-elses\r\n";
    let stranger = Socket::try_open(gateway.data, "/v1/realtime?model=rt", offer).unwrap_err();
    assert!(stranger.starts_with("HTTP/1.1 401 ") && !stranger.contains("somebody-elses"), "{stranger}");
    assert_eq!(mock.served().len(), 1, "no upstream was asked for a socket");
}

#[test]
fn an_alias_is_renamed_in_the_query_and_what_is_not_101_is_an_answer() {
    let script = Script::open();
    let gateway = Gateway::start(&config(&format!("http://{}/v1", script.addr), ""));
    let asking = std::thread::spawn({
        let to = gateway.data;
        move || Socket::try_open(to, "/v1/realtime?x=1&model=voice&y=%20", &bearer()).unwrap_err()
    });
    let (mut line, seen) = script.asked();
    assert!(seen.line.starts_with("GET /v1/realtime?x=1&model=rt&y=%20 "), "{seen:?}");
    assert_eq!((seen.header("upgrade"), seen.header("connection")), (Some("websocket"), Some("Upgrade")));
    assert_eq!(seen.header("authorization"), Some(format!("Bearer {UPSTREAM}").as_str()));
    line.send("HTTP/1.1 429 Too Many Requests\r\nx-own: 1\r\ncontent-length: 2\r\n\r\n{}");
    let answer = asking.join().unwrap();
    assert!(
        answer.starts_with("HTTP/1.1 429 ") && answer.contains("x-own: 1") && answer.ends_with("{}"),
        "{answer}"
    );
}

#[test]
fn s_13_no_other_upgrade_is_asked_for_and_none_is_taken_unasked() {
    let script = Script::open();
    let gateway = Gateway::start(&config(&format!("http://{}/v1", script.addr), ""));
    let ask = handshake("/v1/realtime?model=rt", &bearer()).replace("WebSocket\r\n", "h2c\r\n");
    for _ in 0..2 {
        let mut client = crate::support::Wire::open(gateway.data);
        client.write(ask.as_bytes());
        let (mut line, seen) = script.asked();
        assert_eq!((seen.header("upgrade"), seen.header("connection")), (None, None));
        line.send("HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: h2c\r\n\r\n");
        assert_eq!(client.answer().status, 502);
    }
}

#[test]
fn kill_nine_in_the_middle_charges_what_was_under_way() {
    let mock = mock();
    let mut gateway = gateway(&mock, &budget("10"));
    let mut socket = Socket::open(gateway.data, "/v1/responses");
    socket.say(
        &json!({"type": "response.create", "model": "m@pace=60s", "max_output_tokens": 50, "input": "hello"}),
    );
    socket.until("response.created");
    gateway.signal("KILL");
    gateway.exit();
    let again = std::mem::replace(&mut gateway.setup, Setup::new("")).start();
    let rows = again.rows(2);
    assert!(rows.iter().all(|row| row.outcome == Outcome::Interrupted), "{rows:?}");
    let part = rows.iter().find(|row| row.parent != 0).unwrap();
    assert!(part.cost.unwrap().as_nanos() > 0 && part.cost == Some(part.reserved), "{part:?}");
    assert_eq!(spent(&again), (part.reserved.as_nanos(), 0));
}

#[test]
fn whoever_leaves_the_books_are_closed() {
    let mock = mock();
    let gateway = gateway(&mock, &budget("10"));
    let slow = json!({"type": "response.create", "model": "m", "max_output_tokens": 50, "input": "hello"});
    let mut leaves = Socket::open(gateway.data, "/v1/responses?model=m@pace=50ms");
    leaves.say(&slow);
    leaves.until("response.output_text.delta");
    let id = leaves.id();
    leaves.vanish();
    let mut left = Socket::open(gateway.data, "/v1/responses?model=m@pace=50ms");
    left.say(&slow);
    left.until("response.output_text.delta");
    left.say(&json!({"type": "mock.reset"}));
    while left.next() != Got::End {}
    let rows = gateway.rows(4);
    for (of, outcome) in [(id, Outcome::Cancelled), (left.id(), Outcome::Truncated)] {
        let whole = rows.iter().find(|row| row.request_id().to_string() == of).unwrap();
        let part = rows.iter().find(|row| row.parent == whole.id).unwrap();
        assert_eq!(
            (whole.outcome, part.outcome, part.usage_source),
            (outcome, outcome, UsageSource::Estimated)
        );
        assert!(part.cost.unwrap() <= part.reserved && part.usage.output_tokens > 0, "{part:?}");
    }
    assert_eq!(spent(&gateway).1, 0);
}

#[test]
fn a_stopping_gateway_ends_its_sockets_after_their_responses() {
    let mock = mock();
    let mut gateway = gateway(&mock, "");
    let mut rests = Socket::open(gateway.data, "/v1/realtime?model=rt");
    rests.until("session.created");
    let mut works = Socket::open(gateway.data, "/v1/responses?model=m@pace=50ms");
    works.say(&json!({"type": "response.create", "model": "m", "input": "hello"}));
    works.until("response.created");
    gateway.signal("TERM");
    assert_eq!(rests.next(), Got::Close(1001));
    rests.close();
    works.until("response.completed");
    assert_eq!(works.next(), Got::Close(1001));
    works.close();
    assert!(gateway.exit().success());
    let rows = gateway.rows(3);
    assert!(rows.iter().all(|row| row.outcome == Outcome::Completed), "{rows:?}");
}

#[test]
fn a_reader_that_reads_nothing_holds_up_the_upstream_not_our_memory() {
    let script = Script::open();
    let gateway = Gateway::start(&config(&format!("http://{}/v1", script.addr), ""));
    let opening = std::thread::spawn({
        let to = gateway.data;
        move || Socket::open(to, "/v1/realtime?model=rt")
    });
    let (mut line, _) = script.asked();
    line.send("HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n");
    let socket = opening.join().unwrap();
    let before = resident(&gateway);
    let event = told(&json!({"type": "response.output_audio.delta", "delta": "A".repeat(1 << 20)}));
    let taken = line.send_until_stuck(&event, 128);
    assert!(taken < 64 << 20, "the upstream could write {taken} bytes to nobody");
    // 128 MiB were there to be had; the price catalogue and what a start leaves to do come into the same sum
    let grown = resident(&gateway).saturating_sub(before);
    assert!(grown < 32 << 20, "{grown} bytes more");
    drop(socket);
}

/// Bytes that the process has in memory.
fn resident(gateway: &Gateway) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", gateway.pid())).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 1024
}

#[test]
fn a_socket_keeps_the_policy_that_it_was_opened_with() {
    let mock = mock();
    let gateway = gateway(&mock, "");
    let mut socket = Socket::open(gateway.data, "/v1/responses");
    gateway.setup.write(&config(&mock.base_url(), ", models: [other]"));
    gateway.signal("HUP");
    until("the new policy", || {
        let refused = Socket::try_open(gateway.data, "/v1/realtime?model=rt", &bearer()).err()?;
        refused.starts_with("HTTP/1.1 403 ").then_some(())
    });
    socket.say(&json!({"type": "response.create", "model": "m", "input": "hello"}));
    socket.until("response.completed");
    socket.close();
}

#[test]
fn a_socket_in_which_nobody_says_anything_is_closed() {
    let mock = mock();
    let server = "server: { socket_idle_timeout: 1s }\n";
    let gateway = Gateway::start(&format!("{server}{}", config(&mock.base_url(), "")));
    let mut socket = Socket::open(gateway.data, "/v1/responses");
    assert_eq!(socket.next(), Got::Close(1001));
    socket.close();
    let (whole, _) = rows_of(&gateway, &socket, 0);
    assert_eq!((whole.outcome, whole.error.as_str()), (Outcome::Cancelled, "socket_idle"));
}

#[test]
fn a_session_is_held_to_the_model_that_it_was_opened_with() {
    let mock = mock();
    let gateway = gateway(&mock, ", models: [rt]");
    let mut socket = Socket::open(gateway.data, "/v1/realtime?model=rt");
    socket.until("session.created");
    socket.say_in_vain(&json!({"type": "session.update", "session": {"model": "dearer"}}));
    assert_eq!(socket.until("error")["error"]["code"], "model_not_allowed");
    let hidden = json!({"about": {"type": "input_audio_buffer.append"}, "pad": "x".repeat(200_000),
        "session": {"model": "dearer"}, "type": "session.update"});
    socket.say_in_vain(&hidden);
    assert_eq!(socket.until("error")["error"]["code"], "model_not_allowed");
    socket.say_in_vain(&json!({"type": "response.create", "response": {"model": "dearer"}}));
    assert_eq!(socket.until("error")["error"]["code"], "model_not_allowed");
    socket.say(&json!({"type": "mock.digest"}));
    assert_eq!(socket.sha_sent(), socket.until("mock.digest")["sha256"].as_str().unwrap());
    socket.close();
    let two = Socket::try_open(gateway.data, "/v1/realtime?model=rt&model=dearer", &bearer()).unwrap_err();
    assert!(two.starts_with("HTTP/1.1 400 "), "{two}");
}

#[test]
fn a_key_that_was_taken_away_asks_nothing_more_in_a_socket_that_is_open() {
    let mock = mock();
    let gateway = gateway(&mock, "");
    let mut socket = Socket::open(gateway.data, "/v1/responses");
    let without = config(&mock.base_url(), ", models: [other]").replace("name: prod", "name: next");
    gateway.setup.write(&without);
    gateway.signal("HUP");
    until("the new policy", || {
        let refused = Socket::try_open(gateway.data, "/v1/realtime?model=rt", &bearer()).err()?;
        refused.starts_with("HTTP/1.1 403 ").then_some(())
    });
    socket.say_in_vain(&json!({"type": "response.create", "model": "m", "input": "hello"}));
    assert_eq!(socket.until("error")["error"]["code"], "invalid_api_key");
    socket.close();
}

#[test]
fn an_error_about_something_else_gives_no_response_up() {
    let script = Script::open();
    let gateway = Gateway::start(&config(&format!("http://{}/v1", script.addr), &budget("10")));
    let opening = std::thread::spawn({
        let to = gateway.data;
        move || Socket::open(to, "/v1/responses")
    });
    let (mut line, _) = script.asked();
    line.send("HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n");
    let mut socket = opening.join().unwrap();
    let wish =
        |id: &str| json!({"type": "response.create", "event_id": id, "model": "m", "max_output_tokens": 50});
    socket.say(&json!({"type": "nonsense", "event_id": "a"}));
    socket.say(&wish("b"));
    let held = until("what is held", || Some(spent(&gateway).1).filter(|held| *held > 0));
    line.send(told(&json!({"type": "error", "event_id": "e", "error": {"code": "c", "event_id": "a"}})));
    socket.until("error");
    assert_eq!(spent(&gateway), (0, held));
    // of one that names nothing nobody knows what it is about: the money is held again when there is an answer
    line.send(told(&json!({"type": "error", "error": {"code": "c"}})));
    socket.until("error");
    until("what was given back", || (spent(&gateway) == (0, 0)).then_some(()));
    line.send(told(&json!({"type": "response.created", "response": {"id": "r", "model": "m"}})));
    socket.until("response.created");
    assert!(spent(&gateway).1 >= held);
    let usage = json!({"input_tokens": 10, "output_tokens": 5, "total_tokens": 15});
    line.send(told(
        &json!({"type": "response.completed", "response": {"id": "r", "model": "m", "usage": usage}}),
    ));
    socket.until("response.completed");
    assert_eq!(spent(&gateway), (20_000, 0));
}

#[test]
fn a_message_that_does_not_go_on_gives_its_memory_back() {
    let mock = mock();
    let server = "server: { body_timeout: 1s }\n";
    let gateway = Gateway::start(&format!("{server}{}", config(&mock.base_url(), "")));
    let mut socket = Socket::open(gateway.data, "/v1/realtime?model=rt");
    let text = json!({"audio": "A".repeat(400_000), "type": "input_audio_buffer.append"}).to_string();
    let append = frame(Opcode::Text, text.as_bytes(), Some([1, 2, 3, 4]));
    let (first, rest) = append.split_at(300_000);
    socket.send(first);
    assert_eq!(socket.until("error")["error"]["code"], "body_timeout");
    socket.send(rest);
    socket.say(&json!({"type": "mock.digest"}));
    assert_ne!(socket.sha_sent(), socket.until("mock.digest")["sha256"].as_str().unwrap(), "it never left");
    socket.close();
}
