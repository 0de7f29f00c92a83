//! One question of the kit: whose, of which model, in which shape, and what it asks of the oracle.

use serde_json::{Value, json};

/// What is asked; the dialects that the judge can read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Operation {
    Chat,
    Completions,
    Responses,
    Messages,
    Embeddings,
}

/// One question. Its text carries the mark by which oracle, client and books are held together, and the
/// knobs that tell the oracle how to answer (docs/MOCK.md).
#[derive(Debug, Clone)]
pub(super) struct Ask {
    pub(super) mark: String,
    pub(super) operation: Operation,
    pub(super) model: String,
    pub(super) stream: bool,
    /// Whether the client asks for usage on its stream.
    pub(super) wants_usage: bool,
    /// The caller's cap on output.
    pub(super) cap: Option<u64>,
    pub(super) knobs: String,
    /// The run that it says it belongs to, so that a report can be about these alone; empty for none.
    pub(super) run: &'static str,
    /// Which of the gateway's callers asks.
    pub(super) caller: usize,
}

impl Operation {
    pub(super) const ALL: [Self; 5] =
        [Self::Chat, Self::Completions, Self::Responses, Self::Messages, Self::Embeddings];

    pub(super) const fn path(self) -> &'static str {
        match self {
            Self::Chat => "/v1/chat/completions",
            Self::Completions => "/v1/completions",
            Self::Responses => "/v1/responses",
            Self::Messages => "/v1/messages",
            Self::Embeddings => "/v1/embeddings",
        }
    }

    const fn cap_member(self) -> Option<&'static str> {
        match self {
            Self::Chat | Self::Completions | Self::Messages => Some("max_tokens"),
            Self::Responses => Some("max_output_tokens"),
            Self::Embeddings => None,
        }
    }
}

impl Ask {
    /// A streamed chat, capped; knobs and caller as the scenario wants them.
    pub(super) fn chat(mark: String, model: &str, cap: u64) -> Self {
        Self {
            mark,
            operation: Operation::Chat,
            model: model.into(),
            stream: true,
            wants_usage: false,
            cap: Some(cap),
            knobs: String::new(),
            run: "",
            caller: 0,
        }
    }

    pub(super) fn with(mut self, knobs: &str) -> Self {
        knobs.clone_into(&mut self.knobs);
        self
    }

    pub(super) fn by(mut self, caller: usize) -> Self {
        self.caller = caller;
        self
    }

    pub(super) fn of(mut self, operation: Operation, stream: bool) -> Self {
        self.operation = operation;
        self.stream = stream && operation != Operation::Embeddings;
        self
    }

    /// The body of the request, the same for the same question.
    pub(super) fn body(&self) -> Vec<u8> {
        let mut said = format!("a question [[mark:{}]]", self.mark);
        if !self.knobs.is_empty() {
            said = format!("{said} [[mock:{}]]", self.knobs);
        }
        let member = match self.operation {
            Operation::Chat | Operation::Messages => "messages",
            Operation::Completions => "prompt",
            Operation::Responses | Operation::Embeddings => "input",
        };
        let said =
            if member == "messages" { json!([{"role": "user", "content": said}]) } else { Value::from(said) };
        let mut body = json!({"model": self.model});
        body[member] = said;
        if let (Some(member), Some(cap)) = (self.operation.cap_member(), self.cap) {
            body[member] = json!(cap);
        }
        if self.stream {
            body["stream"] = json!(true);
        }
        if self.wants_usage && matches!(self.operation, Operation::Chat | Operation::Completions) {
            body["stream_options"] = json!({"include_usage": true});
        }
        body.to_string().into_bytes()
    }
}
