//! What a request asks: the operation from its path, the rest from its body.

use bytes::Bytes;
use http::Method;
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::fault::Refusal;
use super::knobs::Knobs;

/// What the mock knows how to answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Operation {
    Chat,
    Completions,
    Responses,
    Embeddings,
    Moderations,
    Images,
    Speech,
    Transcriptions,
    Messages,
    CountTokens,
    Models,
    /// Something begun before, that is read or cancelled.
    Stored,
    Batches,
    Echo,
}

impl Operation {
    /// The word in the served log.
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Chat => "chat_completions",
            Self::Completions => "completions",
            Self::Responses => "responses",
            Self::Embeddings => "embeddings",
            Self::Moderations => "moderations",
            Self::Images => "images",
            Self::Speech => "audio_speech",
            Self::Transcriptions => "audio_transcriptions",
            Self::Messages => "messages",
            Self::CountTokens => "count_tokens",
            Self::Models => "models",
            Self::Stored => "stored",
            Self::Batches => "batches",
            Self::Echo => "echo",
        }
    }

    /// Whether errors have Anthropic's shape.
    pub(super) const fn is_anthropic(self) -> bool {
        matches!(self, Self::Messages | Self::CountTokens)
    }

    /// The operation of a path, and the Azure deployment in it.
    pub(super) fn of<'p>(method: &Method, path: &'p str) -> (Self, Option<&'p str>) {
        let (deployment, rest) = match path.split_once("/openai/deployments/") {
            Some((_, tail)) => match tail.split_once('/') {
                Some((deployment, rest)) => (Some(deployment), rest),
                None => (None, tail),
            },
            None => (None, path.rfind("/v1/").map_or(path.trim_start_matches('/'), |at| &path[at + 4..])),
        };
        let operation = match (method.as_str(), rest) {
            ("POST", "chat/completions") => Self::Chat,
            ("POST", "completions") => Self::Completions,
            ("POST", "responses") => Self::Responses,
            ("POST", "embeddings") => Self::Embeddings,
            ("POST", "moderations") => Self::Moderations,
            ("POST", "images/generations") => Self::Images,
            ("POST", "audio/speech") => Self::Speech,
            ("POST", "audio/transcriptions") => Self::Transcriptions,
            ("POST", "messages") => Self::Messages,
            ("POST", "messages/count_tokens") => Self::CountTokens,
            ("GET", "models") => Self::Models,
            _ => Self::Echo,
        };
        (operation, deployment)
    }
}

/// One request, read.
#[derive(Debug, Clone)]
pub(super) struct Ask {
    pub(super) operation: Operation,
    /// Model asked for, with its knobs.
    pub(super) model: String,
    pub(super) knobs: Knobs,
    /// The JSON body, or the text fields of a form.
    pub(super) body: Value,
    /// Bytes of the request body.
    pub(super) length: usize,
    /// Same question, same seed: ids, words and counts come from it.
    pub(super) seed: u64,
    pub(super) stream: bool,
    pub(super) include_usage: bool,
}

impl Ask {
    /// Reads a request to a known operation.
    pub(super) fn read(
        operation: Operation,
        deployment: Option<&str>,
        body: &Bytes,
        mix: u64,
    ) -> Result<Self, Refusal> {
        let value = if operation == Operation::Transcriptions { form(body) } else { json(body)? };
        let model = match (deployment, value["model"].as_str()) {
            (Some(deployment), _) => decoded(deployment),
            (None, Some(model)) if !model.is_empty() => model.to_owned(),
            (None, _) => return Err(Refusal::missing("model")),
        };
        let mut knobs = Knobs::of(&model).map_err(|fault| Refusal::bad(fault.to_string(), Some("model")))?;
        knobs.heed(body).map_err(|fault| Refusal::bad(fault.to_string(), None))?;
        Ok(Self {
            operation,
            model,
            stream: is_true(&value["stream"]),
            include_usage: value["stream_options"]["include_usage"] == Value::Bool(true),
            seed: seed(operation, &knobs.reported, &value, mix),
            length: body.len(),
            knobs,
            body: value,
        })
    }

    /// A deterministic id with a provider's prefix.
    pub(super) fn id(&self, prefix: &str) -> String {
        if let Some(id) = &self.knobs.id {
            return id.clone();
        }
        format!("{prefix}{:016x}{:08x}", self.seed, self.seed.rotate_left(29) & 0xFFFF_FFFF)
    }

    /// A deterministic creation time, in seconds of 2025.
    pub(super) const fn created(&self) -> u64 {
        1_735_689_600 + self.seed % 31_536_000
    }
}

/// The SHA-256 of some bytes, hexadecimal.
pub(super) fn sha256_hex(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// What a gateway may add or lower on the way must not change the rest of the answer; nor must knobs.
const NOT_IN_THE_SEED: [&str; 5] =
    ["model", "stream_options", "max_tokens", "max_completion_tokens", "max_output_tokens"];

fn seed(operation: Operation, reported: &str, body: &Value, mix: u64) -> u64 {
    let mut question = body.clone();
    if let Some(members) = question.as_object_mut() {
        for name in NOT_IN_THE_SEED {
            members.shift_remove(name);
        }
    }
    let digest = Sha256::digest(format!("{}\n{reported}\n{mix}\n{question}", operation.as_str()));
    digest.iter().take(8).fold(0, |seed, byte| (seed << 8) | u64::from(*byte))
}

fn json(body: &Bytes) -> Result<Value, Refusal> {
    let value: Value = serde_json::from_slice(body)
        .map_err(|fault| Refusal::bad(format!("the body is not valid JSON: {fault}"), None))?;
    if value.is_object() {
        Ok(value)
    } else {
        Err(Refusal::bad("the body is not a JSON object".into(), None))
    }
}

/// The text fields of a multipart form, without its files. Reads what SDKs write, not all of RFC 7578.
fn form(body: &Bytes) -> Value {
    let text = String::from_utf8_lossy(body);
    let mut fields = serde_json::Map::new();
    let boundary = text.lines().next().unwrap_or_default().trim_end();
    for part in text.split(boundary).filter(|part| !boundary.is_empty() && !part.contains("filename=")) {
        let Some((head, value)) = part.split_once("\r\n\r\n") else { continue };
        let Some((_, name)) = head.split_once("name=\"") else { continue };
        let name = name.split('"').next().unwrap_or_default();
        fields.insert(name.to_owned(), Value::String(value.trim_end_matches("\r\n").to_owned()));
    }
    Value::Object(fields)
}

/// A path segment without its percent codes; clients write `@` and `=` either way.
fn decoded(segment: &str) -> String {
    let mut parts = segment.split('%');
    let mut bytes = parts.next().unwrap_or_default().as_bytes().to_vec();
    for part in parts {
        match part.get(..2).and_then(|code| u8::from_str_radix(code, 16).ok()) {
            Some(byte) => {
                bytes.push(byte);
                bytes.extend_from_slice(&part.as_bytes()[2..]);
            }
            None => {
                bytes.push(b'%');
                bytes.extend_from_slice(part.as_bytes());
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// `true` in JSON, or in a form's text.
fn is_true(value: &Value) -> bool {
    value.as_bool().unwrap_or_else(|| value.as_str() == Some("true"))
}
