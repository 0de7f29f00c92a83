//! No way around a budget: whatever a request says of its model, its size or its owner, what is reserved is
//! enough, what is priced is what was asked, and who pays is whose key it was (FAULTS B4 to B9, B13).
#![expect(clippy::too_many_lines, reason = "a table of cases is read in one piece")]

use serde_json::{Value, json};
use tollgate::base::money::NanoUsd;
use tollgate::base::usage::Usage;
use tollgate::dialect::outline::outline;
use tollgate::dialect::path::{Metering, Operation, classify};
use tollgate::pricing::catalogue::Catalogue;
use tollgate::pricing::cost::{Terms, cost};
use tollgate::store::record::Record;
use tollgate::tokens::Tokenizer;

use crate::support::{Answer, Ask, Gateway, OTHER, PROD, Recorder, chat, json_answer, mock, until};

fn config(base_url: &str, more: &str) -> String {
    format!(
        "upstreams: {{ up: {{ base_url: \"{base_url}\" }} }}
teams:
  search:
    keys: [{{ name: prod, key: \"${{KEY_PROD}}\", models: [\"*\"] }}]
    budgets: [{{ limit_usd: 1000, every: total }}]
  other: {{ keys: [{{ name: prod, key: \"${{KEY_OTHER}}\" }}], budgets: [{{ limit_usd: 1000, every: total }}] }}
{more}"
    )
}

fn url(recorder: &Recorder) -> String {
    format!("http://{}/v1", recorder.addr)
}

/// What a body may come to at worst: what its answer can use, besides the input that a tokenizer counts.
#[derive(Debug, Default, Clone)]
struct Worst {
    /// Tokens in that no text of the body shows.
    hidden_input: u64,
    /// All choices together.
    output: u64,
    reasoning: u64,
    audio_out: u64,
    images: u64,
    seconds: u64,
    /// Whether all input is written to the cache for its long lifetime.
    writes: bool,
    tier: Option<&'static str>,
    speed: Option<&'static str>,
}

fn out(output: u64) -> Worst {
    Worst { output, ..Worst::default() }
}

/// FAULTS B4: 60 bodies, and the worst that each can come to.
fn bodies() -> Vec<(&'static str, Value, Worst)> {
    let hi = || json!([{ "role": "user", "content": "hi" }]);
    let text = "All the world's a stage, and all the men and women merely players. ".repeat(300);
    let image = json!({ "type": "image_url", "image_url": { "url": "https://h/x.png" } });
    let inline = json!({ "type": "image_url", "image_url": { "url": format!("data:image/png;base64,{}", "A".repeat(9_000)) } });
    let tool = json!({ "type": "function", "function": { "name": "f", "parameters": { "type": "object", "properties": {
        "a": { "type": "string", "enum": ["x", "y", "z"] }, "b": { "type": "number" } } } } });
    let chat = |more: Value| {
        let mut body = json!({ "model": "gpt-4o-mini", "messages": hi(), "max_tokens": 50 });
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        ("/v1/chat/completions", body)
    };
    let worst = |(path, body): (&'static str, Value), worst: Worst| (path, body, worst);
    let mut all = vec![
        worst(chat(json!({})), out(50)),
        worst(chat(json!({ "max_tokens": null })), out(16_384)),
        worst(("/v1/chat/completions", json!({ "model": "gpt-4o-mini", "messages": hi() })), out(16_384)),
        worst(chat(json!({ "n": 8 })), out(400)),
        worst(chat(json!({ "n": 128, "max_tokens": 16_384 })), out(128 * 16_384)),
        worst(chat(json!({ "n": 8, "max_tokens": null })), out(8 * 16_384)),
        worst(chat(json!({ "max_completion_tokens": 400 })), out(400)),
        worst(chat(json!({ "max_completion_tokens": 40, "max_tokens": 4_000 })), out(4_000)),
        worst(chat(json!({ "max_completion_tokens": "900" })), out(900)),
        worst(chat(json!({ "max_tokens": 100.0 })), out(100)),
        worst(chat(json!({ "max_tokens": "many" })), out(16_384)),
        worst(chat(json!({ "max_tokens": -1 })), out(16_384)),
        worst(chat(json!({ "max_tokens": 1e30 })), out(16_384)),
        worst(chat(json!({ "max_output_tokens": 1, "max_tokens": null })), out(16_384)),
        worst(chat(json!({ "messages": [{ "role": "user", "content": text }] })), out(50)),
        worst(
            chat(
                json!({ "messages": (0..500).map(|n| json!({ "role": "user", "content": n.to_string() })).collect::<Vec<_>>() }),
            ),
            out(50),
        ),
        worst(chat(json!({ "messages": [{ "role": "user", "name": "n", "content": "" }] })), out(50)),
        worst(chat(json!({ "messages": [{ "role": "user", "content": "\u{1F600}".repeat(400) }] })), out(50)),
        worst(chat(json!({ "messages": [{ "role": "user", "content": "模型价格".repeat(200) }] })), out(50)),
        worst(chat(json!({ "messages": [{ "role": "user", "content": [image] }] })), out(50)),
        worst(chat(json!({ "messages": [{ "role": "user", "content": [image, image, inline] }] })), out(50)),
        worst(
            chat(json!({ "model": "gpt-4o", "messages": [{ "role": "user", "content": [inline] }] })),
            out(50),
        ),
        worst(chat(json!({ "tools": [tool] })), Worst { hidden_input: 50, ..out(50) }),
        worst(
            chat(json!({ "tools": (0..64).map(|_| tool.clone()).collect::<Vec<_>>() })),
            Worst { hidden_input: 64 * 30, ..out(50) },
        ),
        worst(
            chat(json!({ "functions": [{ "name": "f", "parameters": {} }] })),
            Worst { hidden_input: 20, ..out(50) },
        ),
        worst(
            chat(
                json!({ "response_format": { "type": "json_schema", "json_schema": { "name": "s", "schema": { "type": "object" } } } }),
            ),
            out(50),
        ),
        worst(
            chat(json!({ "model": "o3", "max_completion_tokens": 5_000 })),
            Worst { reasoning: 4_990, ..out(5_000) },
        ),
        worst(
            chat(json!({ "model": "o3", "max_tokens": null, "reasoning_effort": "high" })),
            Worst { reasoning: 99_000, ..out(100_000) },
        ),
        worst(
            chat(json!({ "model": "gpt-5", "max_completion_tokens": 900 })),
            Worst { reasoning: 900, ..out(900) },
        ),
        worst(
            chat(json!({ "model": "gpt-5", "max_tokens": null })),
            Worst { reasoning: 128_000, ..out(128_000) },
        ),
        worst(chat(json!({ "prediction": { "type": "content", "content": text } })), out(50)),
        worst(
            chat(json!({ "model": "gpt-4o", "service_tier": "priority" })),
            Worst { tier: Some("priority"), ..out(50) },
        ),
        worst(
            chat(json!({ "model": "gpt-4o", "service_tier": "auto" })),
            Worst { tier: Some("priority"), ..out(50) },
        ),
        worst(chat(json!({ "model": "gpt-4o" })), Worst { tier: Some("priority"), ..out(50) }),
        worst(
            chat(json!({ "model": "gpt-4o", "service_tier": "flex" })),
            Worst { tier: Some("standard"), ..out(50) },
        ),
        worst(
            chat(json!({ "model": "gpt-6-astra", "service_tier": "ultrafast", "max_tokens": 700 })),
            Worst { tier: Some("ultrafast"), ..out(700) },
        ),
        worst(
            chat(json!({ "model": "gpt-6-astra", "prompt_cache_options": { "ttl": "12h" } })),
            Worst { writes: true, ..out(50) },
        ),
        worst(
            chat(
                json!({ "model": "gpt-4o-audio-preview", "modalities": ["text", "audio"], "audio": { "voice": "alloy", "format": "wav" }, "max_tokens": 400 }),
            ),
            Worst { audio_out: 400, ..out(400) },
        ),
        worst(
            chat(
                json!({ "model": "gpt-4o-audio-preview", "messages": [{ "role": "user", "content": [{ "type": "input_audio", "input_audio": { "format": "mp3", "data": "A".repeat(6_400) } }] }] }),
            ),
            Worst { hidden_input: 50, ..out(50) },
        ),
    ];
    let completion = |more: Value| {
        let mut body = json!({ "model": "gpt-3.5-turbo-instruct", "prompt": "hi", "max_tokens": 16 });
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        ("/v1/completions", body)
    };
    all.extend([
        worst(completion(json!({})), out(16)),
        worst(completion(json!({ "best_of": 20 })), out(320)),
        worst(completion(json!({ "n": 3, "best_of": 2 })), out(48)),
        worst(completion(json!({ "prompt": ["a", "b", "c"], "n": 2 })), out(96)),
        worst(completion(json!({ "prompt": [1, 2, 3, 4] })), out(16)),
        worst(completion(json!({ "prompt": [[1, 2], [3, 4]] })), out(32)),
        worst(completion(json!({ "prompt": text, "echo": true })), out(16)),
    ]);
    let response = |more: Value| {
        let mut body = json!({ "model": "gpt-4o-mini", "input": "hi", "max_output_tokens": 60 });
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        ("/v1/responses", body)
    };
    all.extend([
        worst(response(json!({})), out(60)),
        worst(response(json!({ "max_output_tokens": null })), out(16_384)),
        worst(response(json!({ "max_tokens": 1, "max_output_tokens": null })), out(16_384)),
        worst(response(json!({ "previous_response_id": "resp_1" })), Worst { hidden_input: 100_000, ..out(60) }),
        worst(response(json!({ "tools": [{ "type": "file_search", "vector_store_ids": ["v"] }] })), Worst { hidden_input: 100_000, ..out(60) }),
        worst(response(json!({ "input": [{ "type": "message", "role": "user", "content": [{ "type": "input_file", "file_id": "f" }] }] })), Worst { hidden_input: 100_000, ..out(60) }),
    ]);
    let message = |more: Value| {
        let mut body = json!({ "model": "claude-opus-4-8", "messages": hi(), "max_tokens": 70 });
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        ("/v1/messages", body)
    };
    all.extend([
        worst(message(json!({})), out(70)),
        worst(message(json!({ "system": [{ "type": "text", "text": text, "cache_control": { "type": "ephemeral", "ttl": "1h" } }] })), Worst { writes: true, ..out(70) }),
        worst(message(json!({ "thinking": { "type": "enabled", "budget_tokens": 60 } })), Worst { reasoning: 60, ..out(70) }),
        worst(message(json!({ "speed": "fast" })), Worst { speed: Some("fast"), ..out(70) }),
        worst(("/v1/embeddings", json!({ "model": "text-embedding-3-large", "input": [text, text] })), out(0)),
        worst(("/v1/embeddings", json!({ "model": "text-embedding-3-large", "input": (0..2_000).collect::<Vec<_>>() })), out(0)),
        worst(("/v1/images/generations", json!({ "model": "aws/amazon.titan-image-generator-v1", "prompt": "a cat", "n": 4 })), Worst { images: 4, ..out(0) }),
        worst(("/v1/audio/speech", json!({ "model": "tts-1", "voice": "alloy", "input": text })), out(0)),
    ]);
    all
}

/// What the worst answer to a body costs by the catalogue, with the input that a tokenizer counts.
fn worst_cost(tokenizer: &Tokenizer, path: &str, body: &Value, worst: &Worst) -> (u64, NanoUsd) {
    let endpoint = classify(&http::Method::POST, path);
    let model = body["model"].as_str().unwrap();
    let prompt = outline(&endpoint, body.to_string().as_bytes());
    let shown = tokenizer.count_prompt(model, &prompt).tokens;
    let input = if endpoint.operation == Operation::Images { 0 } else { shown + worst.hidden_input };
    let usage = Usage {
        input_tokens: input,
        cache_write_long_tokens: if worst.writes { input } else { 0 },
        output_tokens: worst.output,
        reasoning_tokens: worst.reasoning,
        output_audio_tokens: worst.audio_out,
        images: worst.images,
        seconds: worst.seconds,
        characters: prompt.characters,
        ..Usage::default()
    };
    let now = tollgate::base::clock::Clock::system().now();
    let price =
        Catalogue::shipped().price(None, model, now).unwrap_or_else(|| panic!("{model} has no price"));
    let terms = Terms { service_tier: worst.tier, speed: worst.speed, batch: false, answers: 1 };
    (
        usage.total_tokens(),
        cost(&price, &usage, &terms).amount.unwrap_or_else(|| panic!("{model}: {usage:?}")),
    )
}

/// FAULTS B4
#[test]
fn what_is_reserved_is_enough_for_the_worst_answer_to_every_body() {
    let upstream = Recorder::plain();
    let gateway = Gateway::start(&config(&url(&upstream), ""));
    let tokenizer = Tokenizer;
    let bodies = bodies();
    assert_eq!(bodies.len(), 60);
    let mut short = Vec::new();
    for (path, body, worst) in bodies {
        let answer = gateway.send(&Ask::post(path, body.to_string()).bearer(PROD));
        assert_eq!(answer.status, 200, "{path} {body}: {}", answer.text());
        let row = gateway.row_of(&answer);
        let (tokens, cost) = worst_cost(&tokenizer, path, &body, &worst);
        if row.reserved < cost || row.reserved_tokens < tokens {
            let shown: String = body.to_string().chars().take(200).collect();
            short.push(format!(
                "{path} {shown}: {cost} and {tokens} of {} and {}",
                row.reserved, row.reserved_tokens
            ));
        }
    }
    assert!(short.is_empty(), "{}", short.join("\n"));
}

/// FAULTS B5
#[test]
fn a_model_that_nobody_has_priced_is_not_asked_on_a_budget_in_money() {
    let upstream = Recorder::plain();
    let gateway = Gateway::start(&config(&url(&upstream), ""));
    for (path, body) in [
        ("/v1/chat/completions", json!({ "model": "nobodys", "messages": [] })),
        ("/v1/completions", json!({ "model": "gpt-4o-mini-but-not-quite", "prompt": "hi" })),
        ("/v1/responses", json!({ "model": "", "input": "hi" })),
        ("/v1/embeddings", json!({ "model": 5, "input": "hi" })),
        ("/v1/messages", json!({ "max_tokens": 5, "messages": [] })),
        ("/v1/images/generations", json!({ "model": "gpt-4o\u{200b}", "prompt": "hi" })),
        ("/v1/audio/speech", json!({ "model": "tts-1-but-dearer", "input": "hi" })),
    ] {
        let refused = gateway.send(&Ask::post(path, body.to_string()).bearer(PROD));
        assert_eq!(refused.refusal(), (403, "model_unpriced".into()), "{path} {body}");
    }
    assert!(upstream.seen().is_empty());
}

/// What a known path does to the budget of its caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Moves {
    /// POST spends.
    Spends,
    /// Nothing is billed by the upstream.
    Nothing,
    /// Nothing now: it is billed when its usage is read.
    Later,
}

/// Each known path and a body that its POST takes. A path that is missing here fails the test below.
fn known_paths() -> Vec<(&'static str, Moves, Value)> {
    use Moves::{Later, Nothing, Spends};
    let hi = json!([{ "role": "user", "content": "hi" }]);
    vec![
        ("chat/completions", Spends, json!({ "model": "gpt-4o-mini", "messages": hi })),
        ("chat/completions/{id}", Nothing, json!({ "metadata": {} })),
        ("chat/completions/{id}/messages", Nothing, json!({})),
        ("completions", Spends, json!({ "model": "gpt-3.5-turbo-instruct", "prompt": "hi" })),
        ("embeddings", Spends, json!({ "model": "text-embedding-3-large", "input": "word ".repeat(50) })),
        ("responses", Spends, json!({ "model": "gpt-4o-mini", "input": "hi" })),
        ("responses/compact", Spends, json!({ "model": "gpt-4o-mini", "input": "hi" })),
        ("responses/input_tokens", Nothing, json!({ "model": "gpt-4o-mini", "input": "hi" })),
        ("responses/{id}", Nothing, json!({})),
        ("responses/{id}/cancel", Nothing, json!({})),
        ("responses/{id}/input_items", Nothing, json!({})),
        ("decisions", Spends, json!({ "model": "gpt-4o-mini", "input": "hi" })),
        ("batches", Later, json!({ "input_file_id": "file-1", "endpoint": "/v1/responses" })),
        ("batches/{id}", Nothing, json!({})),
        ("batches/{id}/cancel", Nothing, json!({})),
        ("files/{id}/content", Nothing, json!({})),
        ("messages/batches", Later, json!({ "requests": [] })),
        ("messages/batches/{id}", Nothing, json!({})),
        ("messages/batches/{id}/cancel", Nothing, json!({})),
        ("messages/batches/{id}/results", Nothing, json!({})),
        (
            "images/generations",
            Spends,
            json!({ "model": "aws/amazon.titan-image-generator-v1", "prompt": "hi" }),
        ),
        ("images/edits", Spends, json!({ "model": "aws/amazon.titan-image-generator-v1", "prompt": "hi" })),
        ("images/variations", Spends, json!({ "model": "aws/amazon.titan-image-generator-v1" })),
        (
            "audio/transcriptions",
            Spends,
            json!({ "model": "gpt-4o-mini-transcribe", "x": "x".repeat(9_000) }),
        ),
        ("audio/translations", Spends, json!({ "model": "gpt-4o-mini-transcribe", "x": "x".repeat(9_000) })),
        ("audio/speech", Spends, json!({ "model": "tts-1", "voice": "alloy", "input": "word ".repeat(9) })),
        ("moderations", Nothing, json!({ "model": "omni-moderation-latest", "input": "hi" })),
        ("messages", Spends, json!({ "model": "claude-sonnet-4-5", "max_tokens": 9, "messages": hi })),
        ("messages/count_tokens", Nothing, json!({ "model": "claude-sonnet-4-5", "messages": hi })),
        ("models", Nothing, json!({})),
        ("models/{*model}", Nothing, json!({})),
    ]
}

/// FAULTS B6: the list of paths is the router's own.
#[test]
fn every_path_that_reaches_an_upstream_moves_the_budget_or_is_known_to_cost_nothing() {
    let table = known_paths();
    let mut billed = Vec::new();
    for tail in tollgate::dialect::path::known_tails() {
        let (_, moves, _) =
            table.iter().find(|row| row.0 == tail).unwrap_or_else(|| panic!("{tail} is missing"));
        let is_billed = [http::Method::POST, http::Method::GET, http::Method::DELETE, http::Method::PUT]
            .map(|method| classify(&method, &format!("/v1/{tail}")).operation.metering() == Metering::Billed);
        assert_eq!(is_billed, [*moves == Moves::Spends, false, false, false], "{tail}");
        billed.extend((*moves == Moves::Spends).then_some(tail));
    }
    let answer = r#"{"id":"a","model":"","choices":[],"data":[{}],"output":[],"content":[],"text":"some words that were said",
        "usage":{"prompt_tokens":100,"total_tokens":100}}"#;
    let upstream = Recorder::start(move |seen| match seen.target().contains("speech") {
        true => b"HTTP/1.1 200 OK\r\ncontent-type: audio/mpeg\r\ncontent-length: 3\r\n\r\nID3".to_vec(),
        false => json_answer(200, "", answer),
    });
    let gateway = Gateway::start(&config(&url(&upstream), ""));
    let spent = || {
        let budgets = gateway.api("budgets")["budgets"].clone();
        let own =
            budgets.as_array().unwrap().iter().find(|budget| budget.to_string().contains("team:search"));
        own.unwrap()["spent"].as_i64().unwrap()
    };
    for (tail, moves, body) in &table {
        let before = spent();
        let answer = gateway.send(
            &Ask::post(&format!("/v1/{}", tail.replace(['{', '}', '*'], "")), body.to_string()).bearer(PROD),
        );
        assert_eq!(answer.status, 200, "{tail}: {}", answer.text());
        let row = gateway.row_of(&answer);
        let cost = row.cost.map_or(0, NanoUsd::as_nanos);
        assert_eq!(cost > 0, *moves == Moves::Spends, "{tail}: {row:?}");
        // the counter follows the record at once, and not before it
        until("the counter", || (spent() - before == cost).then_some(()));
    }
    assert_eq!(billed.len(), 13);
}

/// FAULTS B6: what no dialect knows is on record without a cost, or refused.
#[test]
fn an_unknown_path_is_on_record_as_unmetered_or_refused() {
    let paths = [
        "/v1/files",
        "/v1/rerank",
        "/v1/realtime/calls",
        "/v1/realtime/sessions",
        "/v1/videos",
        "/v1/vector_stores",
        "/v1/assistants",
        "/v1/threads/runs",
        "/v1/fine_tuning/jobs",
        "/v1/uploads",
        "/v1/agents/sessions",
        "/api/generate",
        "/anything",
    ];
    let upstream = Recorder::plain();
    let forwarding = Gateway::start(&config(&url(&upstream), ""));
    let refusing = Gateway::start(&config(&url(&upstream), "unmetered: refuse\n"));
    for path in paths {
        let ask = Ask::post(path, r#"{"model":"gpt-4o-mini","input":"hi"}"#).bearer(PROD);
        let row = forwarding.row_of(&forwarding.send(&ask));
        assert_eq!((row.operation.as_str(), row.cost, row.attempts), ("unmetered", None, 1), "{path}");
        assert_eq!(refusing.send(&ask).refusal(), (403, "unmetered_path".into()), "{path}");
    }
    // of a batch nobody knows what it will cost, and an answer that names none tells nobody later
    let batch = Ask::post("/v1/batches", r#"{"input_file_id":"file-1"}"#).bearer(PROD);
    let row = forwarding.row_of(&forwarding.send(&batch));
    assert_eq!((row.operation.as_str(), row.cost), ("batches", None));
    assert_eq!(refusing.send(&batch).refusal(), (403, "unmetered_path".into()));
    assert_eq!(upstream.seen().len(), paths.len() + 1);
}

/// FAULTS B7: 40 ways to write a model's name.
#[test]
fn the_model_that_is_priced_and_allowed_is_the_model_that_is_asked() {
    let upstream = Recorder::plain();
    let gateway = Gateway::start(&format!(
        "upstreams: {{ up: {{ base_url: \"{}\" }} }}
routes: [{{ models: [smart], to: [{{ upstream: up, model: gpt-4o }}] }}]
teams:
  search:
    keys: [{{ name: prod, key: \"${{KEY_PROD}}\", models: [\"gpt-4o-mini\", \"smart\"] }}]
    budgets: [{{ limit_usd: 100, every: total }}]\n",
        url(&upstream)
    ));
    let by_body = [
        "gpt-4o-mini",
        "smart",
        "GPT-4O-MINI",
        "Gpt-4o-Mini",
        "gpt-4o",
        "gpt-4o ",
        " gpt-4o",
        "gpt-4o-mini ",
        "\tgpt-4o-mini",
        "gpt-4o-mini\n",
        "gpt-4o-mini\u{0}",
        "gpt-4o-mini\u{200b}",
        "gpt\u{2011}4o-mini",
        "gpt-4\u{3bf}-mini",
        "openai/gpt-4o-mini",
        "openai/gpt-4o",
        "azure/gpt-4o-mini",
        "gpt-4o-mini/",
        "/gpt-4o-mini",
        "../gpt-4o-mini",
        "gpt-4o-mini?x=1",
        "gpt-4o-mini#x",
        "gpt-4o-mini%20",
        "%67pt-4o-mini",
        "gpt-4o-mini@out=5",
        "gpt-4o-mini:free",
        "ft:gpt-4o-mini:acme::1",
        "gpt-4o-mini,o3",
        "gpt-4o-mini;o3",
        "gpt-4o-mini|o3",
        "*",
        "gpt-4o*",
        "smart ",
        "SMART",
        "models/gpt-4o-mini",
        "gpt-4o-mini-2024-07-18",
        "",
        "null",
    ];
    let mut tried = 0;
    let mut check = |answer: &Answer, wrote: &str, before: usize| {
        tried += 1;
        let row = gateway.row_of(answer);
        if answer.status != 200 {
            assert!([400, 403, 404].contains(&answer.status), "{wrote:?}: {}", answer.text());
            assert_eq!((row.attempts, upstream.seen().len()), (0, before), "{wrote:?}");
            return;
        }
        let sent: Value = serde_json::from_slice(&upstream.seen().last().unwrap().body).unwrap();
        assert_eq!(sent["model"], row.upstream_model, "{wrote:?}: the wire has the name that was resolved");
        assert!(["gpt-4o-mini", "smart"].contains(&row.model.as_str()), "{wrote:?} was allowed");
        let asked = if row.model == "smart" { "gpt-4o" } else { "gpt-4o-mini" };
        assert_eq!(row.upstream_model, asked);
        assert!(row.reserved > NanoUsd::ZERO && row.cost > Some(NanoUsd::ZERO), "{wrote:?}: {row:?}");
    };
    for name in by_body {
        let before = upstream.seen().len();
        let answer = gateway.send(&chat_with(&json!(name)));
        check(&answer, name, before);
    }
    // a deployment in the path against a model in the body
    for (deployment, model) in [
        ("o3", "gpt-4o-mini"),
        ("gpt-4o-mini", "o3"),
        ("gpt-4o%2Dmini", "gpt-4o-mini"),
        ("GPT-4o-mini", "gpt-4o-mini"),
    ] {
        let before = upstream.seen().len();
        let body = json!({ "model": model, "messages": [] }).to_string();
        let path = format!("/openai/deployments/{deployment}/chat/completions?api-version=1");
        check(&gateway.send(&Ask::post(&path, body).bearer(PROD)), deployment, before);
    }
    assert!(tried >= 40, "{tried}");
}

fn chat_with(model: &Value) -> Ask {
    let body = json!({ "model": model, "messages": [{ "role": "user", "content": "hi" }] });
    Ask::post("/v1/chat/completions", body.to_string()).bearer(PROD)
}

/// The model that a parser sees which takes the first, or the last, of two members.
fn seen_by_parsers(body: &[u8]) -> Vec<String> {
    struct Members(Vec<(String, Value)>);
    impl<'de> serde::Deserialize<'de> for Members {
        fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
            struct All;
            impl<'de> serde::de::Visitor<'de> for All {
                type Value = Members;
                fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                    f.write_str("an object")
                }
                fn visit_map<A: serde::de::MapAccess<'de>>(self, mut map: A) -> Result<Members, A::Error> {
                    let mut all = Vec::new();
                    while let Some(entry) = map.next_entry()? {
                        all.push(entry);
                    }
                    Ok(Members(all))
                }
            }
            from.deserialize_map(All)
        }
    }
    let text = body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(body);
    // one that stops behind the first value, too
    let Some(Ok(Members(all))) = serde_json::Deserializer::from_slice(text).into_iter().next() else {
        return Vec::new();
    };
    let models: Vec<&Value> =
        all.iter().filter(|(name, _)| name.eq_ignore_ascii_case("model")).map(|(_, value)| value).collect();
    let text = |value: &&Value| value.as_str().unwrap_or_default().to_owned();
    models.first().iter().chain(&models.last()).map(|value| text(value)).collect()
}

/// FAULTS B8: 50 bodies, and whoever reads them sees the model that was admitted, or nobody sees them.
#[test]
fn no_body_is_read_in_two_ways() {
    let upstream = Recorder::plain();
    let gateway = Gateway::start(&config(&url(&upstream), ""));
    let mut bodies: Vec<Vec<u8>> = [
        r#"{"model":"gpt-4o-mini","messages":[]}"#,
        r#"{"model":"gpt-4o-mini","model":"o3","messages":[]}"#,
        r#"{"model":"o3","messages":[],"model":"gpt-4o-mini"}"#,
        r#"{"model":"gpt-4o-mini","model":"gpt-4o-mini","messages":[]}"#,
        r#"{"mod\u0065l":"o3","messages":[]}"#,
        r#"{"model":"gpt-4o-mini","mod\u0065l":"o3","messages":[]}"#,
        r#"{"mod\u0065l":"o3","model":"gpt-4o-mini","messages":[]}"#,
        r#"{"Model":"o3","messages":[]}"#,
        r#"{"model":"gpt-4o-mini","MODEL":"o3","messages":[]}"#,
        r#"{"MODEL":"o3","model":"gpt-4o-mini","messages":[]}"#,
        r#"{"model":null,"model":"o3","messages":[]}"#,
        r#"{"model":"gpt-4o-mini","model":null,"messages":[]}"#,
        r#"{"model":["gpt-4o-mini"],"model":"o3","messages":[]}"#,
        r#"{"model":"\u0067pt-4o-mini","messages":[]}"#,
        r#"{"model":"gpt-4o-mini\u0000","messages":[]}"#,
        r#"{"model ":"o3","model":"gpt-4o-mini","messages":[]}"#,
        r#"{"model":"gpt-4o-mini","messages":[]}{"model":"o3"}"#,
        r#"{"model":"gpt-4o-mini","messages":[]}  "#,
        r#"{"model":"gpt-4o-mini","messages":[]} x"#,
        r#"{"model":"gpt-4o-mini","messages":[]},"#,
        r#"// c
{"model":"gpt-4o-mini","messages":[]}"#,
        r#"{/* c */"model":"gpt-4o-mini","messages":[]}"#,
        r#"{"model":"gpt-4o-mini",/*"model":"o3",*/"messages":[]}"#,
        r#"{"model":"gpt-4o-mini","messages":[],}"#,
        r#"{'model':'gpt-4o-mini','messages':[]}"#,
        r#"{model:"gpt-4o-mini","messages":[]}"#,
        r#"{"model":"gpt-4o-mini","n":1,"n":128,"messages":[]}"#,
        r#"{"model":"gpt-4o-mini","max_tokens":1,"max_tokens":16000,"messages":[]}"#,
        r#"{"model":"gpt-4o-mini","max_tokens":1,"Max_Tokens":16000,"messages":[]}"#,
        r#"{"model":"gpt-4o-mini","max_tokens":1e400,"messages":[]}"#,
        r#"{"model":"gpt-4o-mini","max_tokens":NaN,"messages":[]}"#,
        r#"{"model":"gpt-4o-mini","max_tokens":Infinity,"messages":[]}"#,
        r#"{"model":"gpt-4o-mini","max_tokens":0x10,"messages":[]}"#,
        r#"{"model":"gpt-4o-mini","max_tokens":010,"messages":[]}"#,
        r#"{"model":"gpt-4o-mini","max_tokens":+5,"messages":[]}"#,
        r#"{"model":"gpt-4o-mini","stream":true,"stream":false,"messages":[]}"#,
        r#"{"model":"gpt-4o-mini","service_tier":"flex","service_tier":"priority","messages":[]}"#,
        r#"{"metadata":{"model":"o3"},"model":"gpt-4o-mini","messages":[]}"#,
        r#"{"messages":[{"model":"o3"}],"model":"gpt-4o-mini"}"#,
        r#"["model","o3"]"#,
        r#""model""#,
        "null",
        "",
        "model=o3&messages=",
    ]
    .map(|text| text.as_bytes().to_vec())
    .into();
    let plain = r#"{"model":"gpt-4o-mini","messages":[]}"#;
    bodies.push([b"\xef\xbb\xbf", plain.as_bytes()].concat());
    bodies.push([b"\xef\xbb\xbf\xef\xbb\xbf", plain.as_bytes()].concat());
    bodies.push(plain.encode_utf16().flat_map(u16::to_le_bytes).collect());
    bodies.push([b"\xff\xfe".to_vec(), plain.encode_utf16().flat_map(u16::to_le_bytes).collect()].concat());
    bodies.push(plain.replace("gpt", "gp\u{fffd}t").into_bytes());
    bodies.push(b"{\"model\":\"gpt-4o-mini\",\"messages\":[],\"user\":\"\xff\"}".to_vec());
    assert_eq!(bodies.len(), 50);
    let mut passed = 0;
    for body in bodies {
        let shown = String::from_utf8_lossy(&body).into_owned();
        let before = upstream.seen().len();
        let answer = gateway.send(&Ask::post("/v1/chat/completions", body.clone()).bearer(PROD));
        if answer.status != 200 {
            assert!([400, 403].contains(&answer.status), "{shown}: {}", answer.text());
            assert_eq!(upstream.seen().len(), before, "{shown}");
            continue;
        }
        passed += 1;
        let row = gateway.row_of(&answer);
        assert_eq!(upstream.seen().last().unwrap().body, body, "{shown}: as it came");
        for model in seen_by_parsers(&body) {
            assert_eq!(model, row.model, "{shown}");
        }
    }
    assert!((5..25).contains(&passed), "{passed}");
}

/// FAULTS B8: the same bodies in other clothes.
#[test]
fn neither_encoding_nor_label_hides_a_model() {
    let upstream = Recorder::plain();
    let gateway = Gateway::start(&config(&url(&upstream), ""));
    let body = r#"{"model":"nobodys","messages":[]}"#;
    for label in [
        "text/plain",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=b",
        "application/octet-stream",
        "",
    ] {
        let refused = gateway.send(&Ask::form("/v1/chat/completions", label, body).bearer(PROD));
        assert_eq!(refused.refusal(), (403, "model_unpriced".into()), "{label}");
    }
    for encoding in ["gzip", "br", "zstd", "deflate", "snappy", "gzip, gzip"] {
        let ask = Ask::post("/v1/chat/completions", body).bearer(PROD).header("content-encoding", encoding);
        let refused = gateway.send(&ask);
        assert!([400, 415].contains(&refused.status), "{encoding}: {}", refused.text());
    }
    let form = "--b\r\ncontent-disposition: form-data; name=\"model\"\r\n\r\nwhisper-1\r\n\
                --b\r\ncontent-disposition: form-data; name=\"model\"\r\n\r\nnobodys\r\n--b--\r\n";
    let ask = Ask::form("/v1/audio/transcriptions", "multipart/form-data; boundary=b", form).bearer(PROD);
    assert_ne!(gateway.send(&ask).status, 200, "two models in a form");
    assert!(upstream.seen().is_empty());
}

/// FAULTS B9: 30 ways to name another team.
#[test]
fn who_pays_is_whose_key_it_was() {
    let upstream = Recorder::plain();
    let gateway = Gateway::start(&config(&url(&upstream), ""));
    let headers = [
        "x-tollgate-team",
        "x-tollgate-key",
        "x-tollgate-user",
        "x-tollgate-run",
        "x-tollgate-session",
        "x-tollgate-tags",
        "x-litellm-tags",
        "x-litellm-team",
        "x-litellm-user",
        "x-litellm-customer-id",
        "x-forwarded-user",
        "x-forwarded-for",
        "x-remote-user",
        "x-team",
        "x-org-team",
        "x-user-id",
        "helicone-user-id",
        "helicone-property-team",
        "helicone-auth",
        "openai-organization",
        "openai-project",
        "cf-aig-metadata",
        "x-portkey-metadata",
    ];
    let plain = r#"{"model":"gpt-4o-mini","messages":[]}"#;
    let mut asks: Vec<Ask> = headers
        .into_iter()
        .map(|name| {
            let value =
                if name == "cf-aig-metadata" { r#"{"team":"other","key":"prod"}"# } else { "team=other" };
            Ask::post("/v1/chat/completions", plain).bearer(PROD).header(name, value)
        })
        .collect();
    for more in [
        json!({ "user": "other" }),
        json!({ "team": "other", "key": "prod" }),
        json!({ "metadata": { "user_id": "other", "user_api_key_team_id": "other" } }),
        json!({ "metadata": { "team": "other", "tags": ["team=other"] } }),
        json!({ "safety_identifier": "other" }),
        json!({ "litellm_metadata": { "user_api_key_team_id": "other" } }),
        json!({ "extra_headers": { "authorization": format!("Bearer {OTHER}") } }),
    ] {
        let mut body: Value = serde_json::from_str(plain).unwrap();
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        asks.push(Ask::post("/v1/chat/completions", body.to_string()).bearer(PROD));
    }
    assert_eq!(asks.len(), 30);
    for ask in asks {
        let answer = gateway.send(&ask);
        assert_eq!(answer.status, 200, "{ask:?}: {}", answer.text());
        let row: Record = gateway.row_of(&answer);
        assert_eq!((row.team.as_str(), row.key.as_str()), ("search", "prod"), "{ask:?}");
    }
    let budgets = gateway.api("budgets")["budgets"].clone();
    let of_other =
        budgets.as_array().unwrap().iter().find(|budget| budget.to_string().contains("other")).unwrap();
    assert_eq!((&of_other["spent"], &of_other["reserved"]), (&0.into(), &0.into()));
}

/// FAULTS B13
#[test]
fn an_answer_from_the_cache_costs_nothing_and_counts_as_a_request() {
    let mock = mock();
    let gateway = Gateway::start(&format!(
        "upstreams: {{ mock: {{ base_url: \"{}\" }} }}
teams:
  search:
    keys: [{{ name: prod, key: \"${{KEY_PROD}}\" }}]
    budgets: [{{ limit_usd: 1, every: day }}]
    limits: {{ requests_per_minute: 3 }}
    cache: {{ ttl: 1h }}\n",
        mock.base_url()
    ));
    let first = gateway.row_of(&gateway.send(&chat("gpt-4o")));
    for _ in 0..2 {
        let row = gateway.row_of(&gateway.send(&chat("gpt-4o")));
        assert_eq!((row.cost, row.cache.as_str()), (Some(NanoUsd::ZERO), "hit"));
        assert_eq!(row.saved, first.cost.unwrap());
    }
    assert_eq!(gateway.send(&chat("gpt-4o")).refusal(), (429, "rate_limit_exceeded".into()));
    let spent = gateway.api("budgets")["budgets"][0]["spent"].clone();
    assert_eq!(spent, first.cost.unwrap().as_nanos());
}
