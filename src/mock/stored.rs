//! What the mock remembers of work that goes on after its answer: background responses, and batches of either
//! provider with the files they write.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use http::Method;
use http::request::Parts;
use serde_json::{Value, json};

use crate::base::usage::Usage;

use super::answer::{Answer, with_usage};
use super::ask::{Ask, Operation};
use super::plan::Plan;
use super::wire::Frame;
use super::{anthropic, chat, responses};

/// Everything remembered; the oldest goes when there is too much.
#[derive(Debug, Default)]
pub(super) struct Shelf(Mutex<Kept>);

#[derive(Debug, Default)]
struct Kept {
    /// How much was ever put here.
    number: u64,
    things: HashMap<String, Thing>,
    order: VecDeque<String>,
}

#[derive(Debug)]
enum Thing {
    Response { ask: Box<Ask>, reads: u64, is_cancelled: bool },
    Batch { asks: Vec<Ask>, reads: u64 },
}

const MOST: usize = 10_000;
/// How many reads find it still at work, unless the knob `later` says otherwise.
const LATER: u64 = 2;

impl Shelf {
    /// Begins a response in the background; each has an id of its own, however alike their questions are.
    pub(super) fn begin(&self, ask: &mut Ask, tokens: Option<u64>) -> Answer {
        let mut kept = self.lock();
        kept.number += 1;
        let id = ask.knobs.id.clone().unwrap_or_else(|| format!("resp_background_{}", kept.number));
        ask.knobs.id = Some(id.clone());
        let answer = if ask.stream {
            responses::answer(ask, &Plan::of(ask, tokens))
        } else {
            responses::standing(ask, "queued")
        };
        kept.put(id, Thing::Response { ask: Box::new(ask.clone()), reads: 0, is_cancelled: false });
        answer
    }

    /// Answers what asks for something remembered, or begins a batch. `None` for everything else.
    pub(super) fn answer(&self, parts: &Parts, body: &Bytes, seed: u64) -> Option<(Operation, Answer)> {
        let path = parts.uri.path();
        let tail = path.rfind("/v1/").map_or(path.trim_start_matches('/'), |at| &path[at + 4..]);
        let names: Vec<&str> = tail.split('/').collect();
        let mut kept = self.lock();
        let answer = match (parts.method.as_str(), names.as_slice()) {
            ("POST", ["batches"]) => return Some((Operation::Batches, kept.begin_batch(body, seed)?)),
            ("POST", ["messages", "batches"]) => {
                return Some((Operation::Batches, kept.begin_messages(body, seed)?));
            }
            ("GET" | "POST", ["responses", id, rest @ ..]) => kept.response(id, rest, parts)?,
            ("GET", ["batches", id]) => kept.batch(id, &batch_json)?,
            ("GET", ["messages", "batches", id]) => kept.batch(id, &messages_json)?,
            ("GET", ["messages", "batches", id, "results"]) => kept.answers(id, &message_line)?,
            ("GET", ["files", file, "content"]) => {
                kept.answers(file.strip_prefix("file-output-of-")?, &chat_line)?
            }
            _ => return None,
        };
        Some((Operation::Stored, answer))
    }

    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Kept {
    fn put(&mut self, id: String, thing: Thing) {
        if self.order.len() >= MOST
            && let Some(oldest) = self.order.pop_front()
        {
            self.things.remove(&oldest);
        }
        self.order.push_back(id.clone());
        self.things.insert(id, thing);
    }

    fn response(&mut self, id: &str, rest: &[&str], parts: &Parts) -> Option<Answer> {
        let Thing::Response { ask, reads, is_cancelled } = self.things.get_mut(id)? else { return None };
        let mut ask = (**ask).clone();
        ask.stream = false;
        let plan = Plan::of(&ask, None);
        let is_done = *reads >= ask.knobs.later.unwrap_or(LATER);
        match (&parts.method, rest) {
            (&Method::POST, ["cancel"]) => {
                *is_cancelled = !is_done;
                *reads = u64::MAX;
            }
            (&Method::GET, []) => *reads = reads.saturating_add(1),
            _ => return None,
        }
        if *is_cancelled {
            return Some(responses::cancelled(&ask, &plan));
        }
        let query = parts.uri.query().unwrap_or_default();
        if query.split('&').any(|pair| pair == "stream=true") {
            *reads = u64::MAX;
            ask.stream = true;
            return Some(responses::answer(&ask, &plan));
        }
        if !is_done && *parts.method.as_str() == *"GET" {
            return Some(responses::standing(&ask, "in_progress"));
        }
        Some(responses::answer(&ask, &plan))
    }

    /// `input_file_id` says what stands in the file: `file-MODEL*COUNT;MODEL*COUNT`, each line one question.
    fn begin_batch(&mut self, body: &Bytes, seed: u64) -> Option<Answer> {
        let body: Value = serde_json::from_slice(body).ok()?;
        let mut asks = Vec::new();
        for part in body["input_file_id"].as_str()?.strip_prefix("file-")?.split(';') {
            let (model, count) = part.split_once('*')?;
            for line in 0..count.parse::<u64>().ok()? {
                let question = json!({"model": model,
                    "messages": [{"role": "user", "content": format!("question {line}")}]});
                asks.push(read(Operation::Chat, &question, seed)?);
            }
        }
        Some(self.keep_batch("batch_", asks, &batch_json))
    }

    fn begin_messages(&mut self, body: &Bytes, seed: u64) -> Option<Answer> {
        let body: Value = serde_json::from_slice(body).ok()?;
        let asks = body["requests"].as_array()?.iter();
        let asks = asks.map(|request| read(Operation::Messages, &request["params"], seed));
        Some(self.keep_batch("msgbatch_", asks.collect::<Option<_>>()?, &messages_json))
    }

    fn keep_batch(&mut self, prefix: &str, asks: Vec<Ask>, told: &ToldBatch) -> Answer {
        self.number += 1;
        let id = format!("{prefix}{}", self.number);
        let answer = Answer::json(&told(&id, &asks, false), Usage::default(), 0);
        self.put(id, Thing::Batch { asks, reads: 0 });
        answer
    }

    fn batch(&mut self, id: &str, told: &ToldBatch) -> Option<Answer> {
        let Thing::Batch { asks, reads } = self.things.get_mut(id)? else { return None };
        *reads += 1;
        let is_done = *reads > asks.first().and_then(|ask| ask.knobs.later).unwrap_or(LATER);
        Some(Answer::json(&told(id, asks, is_done), Usage::default(), 0))
    }

    fn answers(&mut self, id: &str, line: &dyn Fn(usize, &Ask) -> Value) -> Option<Answer> {
        let Thing::Batch { asks, .. } = self.things.get(id)? else { return None };
        let frames = asks.iter().enumerate().map(|(place, ask)| {
            let text = format!("{}\n", line(place, ask));
            Frame { bytes: text.into(), tokens: 0 }
        });
        let content_type = "application/octet-stream";
        let frames = frames.collect();
        Some(Answer { content_type, frames, stream: false, usage: sum(asks), usage_reported: true })
    }
}

/// How a batch tells how it stands.
type ToldBatch = dyn Fn(&str, &[Ask], bool) -> Value;

fn read(operation: Operation, question: &Value, seed: u64) -> Option<Ask> {
    Ask::read(operation, None, &question.to_string().into(), seed).ok()
}

fn sum(asks: &[Ask]) -> Usage {
    asks.iter().fold(Usage::default(), |sum, ask| sum.plus(&Plan::of(ask, None).usage))
}

fn batch_json(id: &str, asks: &[Ask], is_done: bool) -> Value {
    let status = if is_done { "completed" } else { "in_progress" };
    let output = if is_done { json!(format!("file-output-of-{id}")) } else { Value::Null };
    let count = if is_done { asks.len() } else { 0 };
    let mut batch = json!({"id": id, "object": "batch", "endpoint": "/v1/chat/completions", "errors": null,
        "input_file_id": "file-input", "completion_window": "24h", "status": status,
        "output_file_id": output, "error_file_id": null, "created_at": 1_735_689_600,
        "request_counts": {"total": asks.len(), "completed": count, "failed": 0}});
    let Some(first) = asks.first() else { return batch };
    let told = if is_done { sum(asks) } else { Usage::default() };
    let usage = first.knobs.usage.spell(responses::usage_json(&told), "output_tokens");
    if usage.is_some() {
        batch["model"] = json!(first.knobs.reported);
    }
    with_usage(batch, usage)
}

fn messages_json(id: &str, asks: &[Ask], is_done: bool) -> Value {
    let (status, count) = if is_done { ("ended", asks.len()) } else { ("in_progress", 0) };
    let results = if is_done { json!(format!("/v1/messages/batches/{id}/results")) } else { Value::Null };
    json!({"id": id, "type": "message_batch", "processing_status": status, "results_url": results,
        "request_counts": {"processing": asks.len() - count, "succeeded": count, "errored": 0,
            "canceled": 0, "expired": 0}})
}

fn chat_line(place: usize, ask: &Ask) -> Value {
    let body = body_of(&chat::answer(ask, &Plan::of(ask, None)));
    json!({"id": format!("batch_req_{place}"), "custom_id": format!("request-{place}"),
        "response": {"status_code": 200, "request_id": format!("req_{place}"), "body": body}, "error": null})
}

fn message_line(place: usize, ask: &Ask) -> Value {
    let message = body_of(&anthropic::answer(ask, &Plan::of(ask, None)));
    json!({"custom_id": format!("request-{place}"), "result": {"type": "succeeded", "message": message}})
}

fn body_of(answer: &Answer) -> Value {
    let whole: Vec<u8> = answer.frames.iter().flat_map(|frame| frame.bytes.iter().copied()).collect();
    serde_json::from_slice(&whole).unwrap_or_default()
}
