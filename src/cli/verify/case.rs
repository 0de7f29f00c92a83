//! What is asked: a small request for each thing that gateways get wrong. Values only.

use http::Method;
use serde_json::{Value, json};

use crate::upstream::section::UpstreamKind;

/// One request that is sent both ways.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Case {
    Models,
    Head,
    Chat,
    ChatStream,
    ChatStreamUsage,
    ChatGzip,
    ToolCall,
    StructuredOutput,
    Responses,
    ResponsesStream,
    Embeddings,
    Messages,
    MessagesStream,
    MessagesGzip,
    MessagesToolCall,
    UnknownModel,
    BadParameter,
    UnknownPath,
}

/// What the requests have in common.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Terms {
    pub(super) kind: UpstreamKind,
    pub(super) model: String,
    pub(super) embedding_model: Option<String>,
    /// How this model wants the cap of a chat to be called.
    pub(super) cap: &'static str,
}

/// A request as a client would send it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Asked {
    pub(super) method: Method,
    pub(super) path: &'static str,
    pub(super) body: Option<Value>,
    /// The encodings that the client says it can read.
    pub(super) accepts: &'static str,
}

impl Case {
    /// All of them, in the order in which they are asked.
    pub(super) const ALL: [Self; 18] = [
        Self::Models,
        Self::Head,
        Self::Chat,
        Self::ChatStream,
        Self::ChatStreamUsage,
        Self::ChatGzip,
        Self::ToolCall,
        Self::StructuredOutput,
        Self::Responses,
        Self::ResponsesStream,
        Self::Embeddings,
        Self::Messages,
        Self::MessagesStream,
        Self::MessagesGzip,
        Self::MessagesToolCall,
        Self::UnknownModel,
        Self::BadParameter,
        Self::UnknownPath,
    ];

    /// The word on the command line and in reports.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Models => "models",
            Self::Head => "head",
            Self::Chat => "chat",
            Self::ChatStream => "chat-stream",
            Self::ChatStreamUsage => "chat-stream-usage",
            Self::ChatGzip => "chat-gzip",
            Self::ToolCall => "tool-call",
            Self::StructuredOutput => "structured-output",
            Self::Responses => "responses",
            Self::ResponsesStream => "responses-stream",
            Self::Embeddings => "embeddings",
            Self::Messages => "messages",
            Self::MessagesStream => "messages-stream",
            Self::MessagesGzip => "messages-gzip",
            Self::MessagesToolCall => "messages-tool-call",
            Self::UnknownModel => "unknown-model",
            Self::BadParameter => "bad-parameter",
            Self::UnknownPath => "unknown-path",
        }
    }

    /// The case of this name.
    pub(super) fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|case| case.name() == name)
    }

    /// Whether there is something to ask of an upstream of this kind.
    pub(super) const fn suits(self, terms: &Terms) -> bool {
        let speaks_messages = matches!(terms.kind, UpstreamKind::Anthropic);
        match self {
            Self::Models | Self::Head | Self::UnknownModel | Self::BadParameter | Self::UnknownPath => true,
            Self::Messages | Self::MessagesStream | Self::MessagesGzip | Self::MessagesToolCall => {
                speaks_messages
            }
            Self::Embeddings => !speaks_messages && terms.embedding_model.is_some(),
            Self::Chat
            | Self::ChatStream
            | Self::ChatStreamUsage
            | Self::ChatGzip
            | Self::ToolCall
            | Self::StructuredOutput
            | Self::Responses
            | Self::ResponsesStream => !speaks_messages,
        }
    }

    /// The most output tokens that it may cost; `None` if it should cost nothing.
    pub(super) const fn most_output(self) -> Option<u64> {
        match self {
            Self::Models | Self::Head | Self::UnknownModel | Self::BadParameter | Self::UnknownPath => None,
            Self::Embeddings => Some(0),
            Self::ToolCall | Self::MessagesToolCall | Self::StructuredOutput => Some(CAP_OF_JSON),
            Self::Chat
            | Self::ChatStream
            | Self::ChatStreamUsage
            | Self::ChatGzip
            | Self::Responses
            | Self::ResponsesStream
            | Self::Messages
            | Self::MessagesStream
            | Self::MessagesGzip => Some(CAP),
        }
    }

    /// Whether the upstream answers with the same bytes each time, but for ids.
    pub(super) const fn is_exact(self, status: u16) -> bool {
        match self {
            Self::UnknownModel | Self::BadParameter => status >= 400,
            _ => status >= 400 || self.most_output().is_none(),
        }
    }

    /// Whether it says the same words as others, without tools.
    pub(super) const fn is_words(self) -> bool {
        matches!(self, Self::Chat | Self::ChatStream | Self::ChatStreamUsage | Self::ChatGzip)
    }

    /// Whether the request asks for a cap by the name that models differ in.
    pub(super) const fn is_capped_chat(self) -> bool {
        matches!(
            self,
            Self::Chat
                | Self::ChatStream
                | Self::ChatStreamUsage
                | Self::ChatGzip
                | Self::ToolCall
                | Self::StructuredOutput
        )
    }

    /// The request.
    pub(super) fn asked(self, terms: &Terms) -> Asked {
        let get = |path| Asked { method: Method::GET, path, body: None, accepts: "identity" };
        let post = |path, body| Asked { method: Method::POST, path, body: Some(body), accepts: "identity" };
        let speaks_messages = terms.kind == UpstreamKind::Anthropic;
        let talk = if speaks_messages { MESSAGES } else { CHAT };
        let with = |mut body: Value, more: Value| {
            merge(&mut body, more);
            body
        };
        match self {
            Self::Models => get("/v1/models"),
            Self::Head => Asked { method: Method::HEAD, ..get("/v1/models") },
            Self::Chat => post(CHAT, chat(terms)),
            Self::ChatStream => post(CHAT, with(chat(terms), json!({"stream": true}))),
            Self::ChatStreamUsage => {
                let usage = json!({"stream": true, "stream_options": {"include_usage": true}});
                post(CHAT, with(chat(terms), usage))
            }
            Self::ChatGzip => Asked { accepts: "gzip", ..post(CHAT, chat(terms)) },
            Self::ToolCall => post(CHAT, with(chat(terms), tools(terms))),
            Self::StructuredOutput => post(CHAT, with(chat(terms), structure(terms))),
            Self::Responses => post("/v1/responses", response(terms)),
            Self::ResponsesStream => post("/v1/responses", with(response(terms), json!({"stream": true}))),
            Self::Embeddings => {
                post("/v1/embeddings", json!({"model": terms.embedding_model, "input": "tollgate"}))
            }
            Self::Messages => post(MESSAGES, messages(terms)),
            Self::MessagesStream => post(MESSAGES, with(messages(terms), json!({"stream": true}))),
            Self::MessagesGzip => Asked { accepts: "gzip", ..post(MESSAGES, messages(terms)) },
            Self::MessagesToolCall => post(MESSAGES, with(messages(terms), messages_tools())),
            Self::UnknownModel => {
                post(talk, with(messages(terms), json!({"model": "tollgate-verify-no-such-model"})))
            }
            // no number: some upstreams take -1 for "without end"
            Self::BadParameter => post(talk, with(messages(terms), json!({"max_tokens": "many"}))),
            // some upstreams say what came: a renamed parameter would show
            Self::UnknownPath => post("/v1/tollgate-verify-no-such-path", messages(terms)),
        }
    }
}

/// Tokens of answers in words. No upstream takes less than 16 everywhere.
const CAP: u64 = 16;
/// Tokens of a small JSON object.
const CAP_OF_JSON: u64 = 48;
/// About what the longest of the requests takes: a tool with its schema.
pub(super) const MOST_INPUT: u64 = 120;

const CHAT: &str = "/v1/chat/completions";
const MESSAGES: &str = "/v1/messages";
/// Models agree on this answer, so that its shape is the same each time.
const WORDS: &str = "Reply with exactly one word: ok";

fn chat(terms: &Terms) -> Value {
    json!({"model": terms.model, terms.cap: CAP, "messages": [{"role": "user", "content": WORDS}]})
}

fn messages(terms: &Terms) -> Value {
    json!({"model": terms.model, "max_tokens": CAP, "messages": [{"role": "user", "content": WORDS}]})
}

fn response(terms: &Terms) -> Value {
    json!({"model": terms.model, "max_output_tokens": CAP, "input": WORDS, "store": false})
}

fn tools(terms: &Terms) -> Value {
    json!({
        terms.cap: CAP_OF_JSON,
        "messages": [{"role": "user", "content": "What is the time in Oslo? Use the tool."}],
        "tools": [{"type": "function", "function": {"name": "clock", "description": "The time in a city",
            "parameters": schema()}}],
        "tool_choice": {"type": "function", "function": {"name": "clock"}},
    })
}

fn messages_tools() -> Value {
    json!({
        "max_tokens": CAP_OF_JSON,
        "messages": [{"role": "user", "content": "What is the time in Oslo? Use the tool."}],
        "tools": [{"name": "clock", "description": "The time in a city", "input_schema": schema()}],
        "tool_choice": {"type": "tool", "name": "clock"},
    })
}

fn structure(terms: &Terms) -> Value {
    json!({
        terms.cap: CAP_OF_JSON,
        "messages": [{"role": "user", "content": "Name the city Oslo."}],
        "response_format": {"type": "json_schema", "json_schema": {"name": "place", "strict": true,
            "schema": schema()}},
    })
}

fn schema() -> Value {
    json!({"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"],
        "additionalProperties": false})
}

/// Sets members of an object: those it has where they are, new ones at its end.
fn merge(object: &mut Value, more: Value) {
    if let (Value::Object(members), Value::Object(more)) = (object, more) {
        members.extend(more);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_case_is_found_by_its_name_and_says_what_to_ask() {
        let terms =
            Terms { kind: UpstreamKind::Openai, model: "m".into(), embedding_model: None, cap: "max_tokens" };
        for case in Case::ALL {
            assert_eq!(Case::from_name(case.name()), Some(case));
            assert!(case.asked(&terms).path.starts_with("/v1/"));
        }
        assert_eq!(Case::from_name("chat "), None);
    }

    #[test]
    fn a_cap_is_called_as_the_model_wants_it() {
        let terms = Terms {
            kind: UpstreamKind::Openai,
            model: "m".into(),
            embedding_model: None,
            cap: "max_completion_tokens",
        };
        for case in Case::ALL.into_iter().filter(|case| case.is_capped_chat()) {
            let body = case.asked(&terms).body.unwrap();
            assert!(body["max_completion_tokens"].is_u64() && body["max_tokens"].is_null(), "{body}");
        }
    }
}
