//! What is not billed: moderations, the list of models, and an echo for every other path.

use http::HeaderMap;
use http::request::Parts;
use serde_json::{Map, Value, json};

use crate::base::usage::Usage;

use super::answer::Answer;
use super::ask::Ask;

/// `moderations`: nothing is flagged.
pub(super) fn moderations(ask: &Ask) -> Answer {
    let results = ask.body["input"].as_array().map_or(1, Vec::len);
    let result = json!({"flagged": false, "categories": {"harassment": false, "violence": false},
        "category_scores": {"harassment": 0.001, "violence": 0.001},
        "category_applied_input_types": {"harassment": ["text"], "violence": ["text"]}});
    let body = json!({"id": ask.id("modr-"), "model": ask.knobs.reported, "results": vec![result; results]});
    Answer::json(&body, Usage::default(), 0)
}

/// `models`: a few names, though every name works.
pub(super) fn models() -> Answer {
    let data: Vec<Value> = MODELS
        .iter()
        .map(|id| json!({"id": id, "object": "model", "created": 1_735_689_600, "owned_by": "mock"}))
        .collect();
    Answer::json(&json!({"object": "list", "data": data}), Usage::default(), 0)
}

/// Says what came, so that a pass-through can be seen. Credentials are masked.
pub(super) fn echo(parts: &Parts, length: usize, sha256: &str) -> Answer {
    let body = json!({"method": parts.method.as_str(), "path": parts.uri.path(),
        "query": parts.uri.query(), "headers": shown(&parts.headers), "body_bytes": length,
        "body_sha256": sha256});
    Answer::json(&body, Usage::default(), 0)
}

fn shown(headers: &HeaderMap) -> Value {
    let mut shown: Map<String, Value> = Map::new();
    for (name, value) in headers {
        let text = if CREDENTIALS.contains(&name.as_str()) {
            "(masked)".into()
        } else {
            String::from_utf8_lossy(value.as_bytes()).into_owned()
        };
        let values = shown.entry(name.as_str()).or_insert_with(|| json!([]));
        if let Some(list) = values.as_array_mut() {
            list.push(Value::String(text));
        }
    }
    Value::Object(shown)
}

const CREDENTIALS: [&str; 4] = ["authorization", "x-api-key", "api-key", "cookie"];

const MODELS: [&str; 5] = ["gpt-4o", "gpt-4o-mini", "o3", "text-embedding-3-small", "claude-sonnet-4-5"];
