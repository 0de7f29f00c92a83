//! One request of the mock: read, refuse or answer, write the book, send.

use std::collections::HashMap;
use std::io;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, header};
use hyper::body::Incoming;
use serde_json::Value;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::base::units::{Size, Written as _};
use crate::base::usage::Usage;

use super::answer::Answer;
use super::ask::{Ask, Operation, sha256_hex};
use super::body::ScriptBody;
use super::encode::Encoder;
use super::fault::Refusal;
use super::intake::{Taken, take};
use super::knobs::{self, Knobs};
use super::plan::Plan;
use super::served::{Book, End, Served};
use super::server::Said;
use super::socket::Handshake;
use super::stored::Shelf;
use super::wire::Frame;
use super::{anthropic, chat, completions, embeddings, media, other, responses};

/// What all connections share.
pub(super) struct Service {
    pub(super) book: Arc<Book>,
    pub(super) seed: u64,
    pub(super) pace: Duration,
    pub(super) tokens: Option<u64>,
    /// The credential to insist on.
    pub(super) key: Option<String>,
    /// How often a question was refused, for `status=500:2`.
    pub(super) failures: Mutex<HashMap<(String, u64), u32>>,
    /// Open WebSockets.
    pub(super) sockets: TaskTracker,
    pub(super) stop: CancellationToken,
    /// Work that goes on after its answer.
    pub(super) shelf: Shelf,
}

/// What the connection needs to send.
struct Reply {
    operation: Operation,
    status: StatusCode,
    answer: Answer,
    knobs: Knobs,
    model: String,
}

impl Service {
    /// Answers one request. `reset` is set when its connection is to end with a TCP reset.
    pub(super) async fn call(
        self: Arc<Self>,
        request: Request<Incoming>,
        reset: Arc<AtomicBool>,
    ) -> Result<Response<ScriptBody>, io::Error> {
        let (mut parts, body) = request.into_parts();
        let is_allowed = self.key.as_deref().is_none_or(|key| credential(&parts.headers) == Some(key));
        if let Some(handshake) = Handshake::of(&mut parts, self.pace).filter(|_| is_allowed) {
            return self.open_socket(handshake, credential(&parts.headers), reset);
        }
        let body = take(&parts, body).await?;
        let (operation, deployment) = Operation::of(&parts.method, parts.uri.path());
        let reply = match self.reply(operation, deployment, &parts, &body) {
            Ok(reply) => reply,
            Err((refusal, asked)) => refused(operation, &refusal, asked),
        };
        let operation = reply.operation;
        let served = served(operation, &reply, &parts.headers, &body);
        let (id, mut entry, written) = self.book.begin(served);
        if let Some(written) = written {
            // a log that cannot be written says nothing about the gateway under test
            let _ = written.await;
        }
        tokio::time::sleep(reply.knobs.delay.unwrap_or_default()).await;
        let headers = headers(operation, &reply, &id)?;
        if parts.method == Method::HEAD {
            // the connection never asks for this body
            entry.close(End::Clean);
        }
        let body = ScriptBody::new(reply.answer.frames, &reply.knobs, self.pace, entry, reset)?;
        let mut response = Response::new(body);
        *response.status_mut() = reply.status;
        *response.headers_mut() = headers;
        Ok(response)
    }

    fn open_socket(
        &self,
        handshake: Handshake,
        credential: Option<&str>,
        reset: Arc<AtomicBool>,
    ) -> Result<Response<ScriptBody>, io::Error> {
        // what is said in it stands in no book of the mock's: a test that asks for it knows what it asked for
        let (_, entry, _) = self.book.begin(socket(credential));
        let body = ScriptBody::new(Vec::new(), &Knobs::default(), self.pace, entry, reset)?;
        let mut response = Response::new(body);
        *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
        *response.headers_mut() = handshake.headers();
        self.sockets.spawn(handshake.talk(self.stop.clone()));
        Ok(response)
    }

    fn reply(
        &self,
        mut operation: Operation,
        deployment: Option<&str>,
        parts: &Parts,
        body: &Taken,
    ) -> Result<Reply, (Refusal, Option<Box<Ask>>)> {
        if self.key.as_deref().is_some_and(|key| credential(&parts.headers) != Some(key)) {
            return Err((Refusal::asked(StatusCode::UNAUTHORIZED), None));
        }
        let answer = match operation {
            Operation::Models => other::models(),
            Operation::Echo => match self.shelf.answer(parts, &body.kept, self.seed) {
                Some((told, answer)) => {
                    operation = told;
                    answer
                }
                None => match filler_in_query(parts) {
                    Some(bytes) => return Ok(download(bytes)),
                    None => other::echo(parts, body.length, &body.sha256),
                },
            },
            _ => {
                let mut ask = Ask::read(operation, deployment, &body.kept, self.seed)
                    .map_err(|refusal| (refusal, None))?;
                ask.length = body.length;
                return match self.refusal(&ask) {
                    Some(refusal) => Err((refusal, Some(Box::new(ask)))),
                    None => Ok(self.answer(ask)),
                };
            }
        };
        Ok(Reply { operation, status: StatusCode::OK, answer, knobs: Knobs::default(), model: String::new() })
    }

    fn answer(&self, mut ask: Ask) -> Reply {
        if ask.operation != Operation::Responses || ask.body["background"] != Value::Bool(true) {
            return answer(ask, self.tokens);
        }
        let answer = self.shelf.begin(&mut ask, self.tokens);
        Reply { operation: ask.operation, status: StatusCode::OK, answer, knobs: ask.knobs, model: ask.model }
    }

    fn refusal(&self, ask: &Ask) -> Option<Refusal> {
        if ask.knobs.no_stream_options && !ask.body["stream_options"].is_null() {
            let message = "Unrecognized request argument supplied: stream_options".to_owned();
            return Some(Refusal::bad(message, Some("stream_options")));
        }
        if ask.operation == Operation::Messages && ask.body["max_tokens"].is_null() {
            return Some(Refusal::bad("max_tokens: Field required".to_owned(), None));
        }
        let failure = ask.knobs.status?;
        let status = StatusCode::from_u16(failure.status).ok()?;
        if let Some(times) = failure.times {
            let mut failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
            if failures.len() >= MAX_QUESTIONS {
                failures.clear();
            }
            let failed = failures.entry((ask.model.clone(), ask.seed)).or_default();
            if *failed >= times {
                return None;
            }
            *failed += 1;
        }
        Some(Refusal::asked(status))
    }
}

fn answer(ask: Ask, tokens: Option<u64>) -> Reply {
    let plan = || Plan::of(&ask, tokens);
    let answer = match ask.operation {
        Operation::Chat => chat::answer(&ask, &plan()),
        Operation::Completions => completions::answer(&ask, &plan()),
        Operation::Responses => responses::answer(&ask, &plan()),
        Operation::Messages => anthropic::answer(&ask, &plan()),
        Operation::CountTokens => anthropic::count(&ask),
        Operation::Embeddings => embeddings::answer(&ask),
        Operation::Moderations => other::moderations(&ask),
        Operation::Images => media::images(&ask),
        Operation::Speech => media::speech(&ask),
        Operation::Transcriptions => media::transcriptions(&ask),
        Operation::Models | Operation::Stored | Operation::Batches | Operation::Echo => {
            unreachable!("answered before the body is read")
        }
    };
    Reply { operation: ask.operation, status: StatusCode::OK, answer, knobs: ask.knobs, model: ask.model }
}

/// See [`super::Mock::says`].
pub(super) fn says(path: &str, body: &[u8]) -> Option<Said> {
    let (operation, deployment) = Operation::of(&Method::POST, path);
    if matches!(operation, Operation::Models | Operation::Echo) {
        return None;
    }
    let ask = Ask::read(operation, deployment, &Bytes::copy_from_slice(body), 0).ok()?;
    let refusal = ask.knobs.status.map(|failure| {
        let status = StatusCode::from_u16(failure.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        Refusal::asked(status).body(operation).to_string().into_bytes()
    });
    let reply = answer(ask, None);
    let mut encoder = Encoder::new(reply.knobs.encoding).ok()?;
    let mut whole = Vec::new();
    for frame in &reply.answer.frames {
        whole.extend_from_slice(&encoder.push(&frame.bytes).ok()?);
    }
    whole.extend_from_slice(&encoder.finish().ok()?);
    Some(Said { whole, refusal })
}

/// `?bytes=1GiB` on a path that the mock does not know: a download of so many bytes.
fn filler_in_query(parts: &Parts) -> Option<u64> {
    let query = parts.uri.query()?;
    query.split('&').find_map(|pair| Size::read(pair.strip_prefix("bytes=")?).ok()).map(|size| size.0)
}

fn download(bytes: u64) -> Reply {
    let knobs = Knobs { bytes, ..Knobs::default() };
    let frames = vec![Frame { bytes: Bytes::new(), tokens: 0 }];
    let usage = Usage::default();
    let content_type = "application/octet-stream";
    let answer = Answer { content_type, frames, stream: false, usage, usage_reported: false };
    Reply { operation: Operation::Echo, status: StatusCode::OK, answer, knobs, model: String::new() }
}

fn refused(operation: Operation, refusal: &Refusal, asked: Option<Box<Ask>>) -> Reply {
    let answer = Answer::json(&refusal.body(operation), Usage::default(), 0);
    let (knobs, model) = asked.map_or_else(Default::default, |ask| (ask.knobs, ask.model));
    Reply { operation, status: refusal.status, answer, knobs, model }
}

fn served(operation: Operation, reply: &Reply, headers: &HeaderMap, body: &Taken) -> Served {
    Served {
        id: String::new(),
        operation: operation.as_str(),
        model: reply.model.clone(),
        reported_model: reply.knobs.reported.clone(),
        body_sha256: body.sha256.clone(),
        mark: knobs::between(&body.kept, MARK, b"]]").unwrap_or_default().into(),
        credential: credential(headers)
            .map_or_else(String::new, |key| sha256_hex(key.as_bytes())[..8].into()),
        status: reply.status.as_u16(),
        stream: reply.answer.stream,
        usage: reply.answer.usage,
        usage_reported: reply.answer.usage_reported,
        tokens_emitted: 0,
        bytes: 0,
        end: End::Open,
    }
}

fn socket(credential: Option<&str>) -> Served {
    Served {
        id: String::new(),
        operation: "socket",
        model: String::new(),
        reported_model: String::new(),
        body_sha256: sha256_hex(b""),
        mark: String::new(),
        credential: credential.map_or_else(String::new, |key| sha256_hex(key.as_bytes())[..8].into()),
        status: StatusCode::SWITCHING_PROTOCOLS.as_u16(),
        stream: true,
        usage: Usage::default(),
        usage_reported: false,
        tokens_emitted: 0,
        bytes: 0,
        end: End::Open,
    }
}

/// The caller's credential, in any provider's spelling.
fn credential(headers: &HeaderMap) -> Option<&str> {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    text("authorization")
        .map(|value| value.strip_prefix("Bearer ").unwrap_or(value))
        .or_else(|| text("x-api-key"))
        .or_else(|| text("api-key"))
}

fn headers(operation: Operation, reply: &Reply, id: &str) -> Result<HeaderMap, io::Error> {
    let mut headers = HeaderMap::new();
    let value = |text: &str| HeaderValue::from_str(text).map_err(io::Error::other);
    headers.insert(header::CONTENT_TYPE, value(reply.answer.content_type)?);
    if operation.is_anthropic() {
        headers.insert("request-id", value(id)?);
        headers.insert("anthropic-ratelimit-requests-limit", HeaderValue::from_static("4000"));
        headers.insert("anthropic-ratelimit-requests-remaining", HeaderValue::from_static("3999"));
    } else {
        headers.insert("x-request-id", value(id)?);
        headers.insert("openai-version", HeaderValue::from_static("2020-10-01"));
        headers.insert("openai-processing-ms", HeaderValue::from_static("12"));
        headers.insert("x-ratelimit-limit-requests", HeaderValue::from_static("10000"));
        headers.insert("x-ratelimit-remaining-requests", HeaderValue::from_static("9999"));
        headers.insert("x-ratelimit-reset-requests", HeaderValue::from_static("6ms"));
    }
    if let Some(seconds) = reply.knobs.retry_after {
        headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    }
    match reply.knobs.encoding {
        Some(encoding) => {
            headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static(encoding.as_str()));
        }
        None if !reply.answer.stream => {
            headers.insert(
                header::CONTENT_LENGTH,
                HeaderValue::from(length(&reply.answer.frames) + reply.knobs.bytes),
            );
        }
        None => {}
    }
    Ok(headers)
}

fn length(frames: &[Frame]) -> u64 {
    frames.iter().map(|frame| frame.bytes.len() as u64).sum()
}

/// Whose request it is, in the body's text.
const MARK: &[u8] = b"[[mark:";

/// Questions whose failures are remembered at once.
const MAX_QUESTIONS: usize = 100_000;
