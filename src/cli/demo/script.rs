//! What the three teams ask in the demo, in order; again from the start when it is through.

use serde_json::{Value, json};

use super::config::{Caller, NIGHTLY, RESEARCH, SEARCH, SUPPORT};

/// One request of the demo.
#[derive(Debug, Clone, Copy)]
pub(super) struct Step {
    pub(super) caller: Caller,
    pub(super) ask: Ask,
    pub(super) model: &'static str,
    /// The question. Asked word for word again, the cache can answer it.
    pub(super) words: &'static str,
    /// The most output tokens.
    pub(super) cap: u32,
}

/// What kind of request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ask {
    /// Chat completions, as JSON.
    Chat,
    /// Chat completions, as a stream.
    ChatStream,
    /// The same, from a client that leaves in the middle.
    ChatLeft,
    /// Anthropic messages, as JSON.
    Messages,
    /// Anthropic messages, as a stream.
    MessagesStream,
    /// Embeddings.
    Embeddings,
}

impl Ask {
    /// The path it goes to.
    pub(super) const fn path(self) -> &'static str {
        match self {
            Self::Chat | Self::ChatStream | Self::ChatLeft => "/v1/chat/completions",
            Self::Messages | Self::MessagesStream => "/v1/messages",
            Self::Embeddings => "/v1/embeddings",
        }
    }
}

impl Step {
    /// The request body. Each round asks anew, so that not all of a long demo comes from the cache.
    pub(super) fn body(&self, round: usize) -> Value {
        let Self { ask, model, words, cap, .. } = self;
        let words = if round == 0 { (*words).to_owned() } else { format!("{words} ({})", round + 1) };
        let messages = json!([{ "role": "user", "content": words }]);
        match ask {
            Ask::Embeddings => json!({ "model": model, "input": words, "dimensions": 16 }),
            Ask::Chat | Ask::Messages => json!({ "model": model, "messages": messages, "max_tokens": cap }),
            Ask::ChatStream | Ask::ChatLeft | Ask::MessagesStream => {
                json!({ "model": model, "messages": messages, "max_tokens": cap, "stream": true })
            }
        }
    }
}

/// Within the first eight steps, about two seconds, research has run into its budget.
pub(super) const SCRIPT: [Step; 16] = [
    step(SEARCH, Ask::Chat, "gpt-4o-mini", "Rewrite for search: cheap flights to Lisbon in May", 60),
    step(RESEARCH, Ask::MessagesStream, "claude-sonnet-4-5", "Compare three ways to count tokens", 90),
    step(SUPPORT, Ask::ChatStream, "gpt-4o-mini", "A customer asks where parcel 4711 is; answer kindly", 80),
    step(SEARCH, Ask::Embeddings, "text-embedding-3-small", "cheap flights to Lisbon in May", 0),
    step(RESEARCH, Ask::Messages, "claude-sonnet-4-5", "Which of them is exact, and why?", 240),
    step(SEARCH, Ask::Chat, "gpt-4o-mini", "Rewrite for search: cheap flights to Lisbon in May", 60),
    step(SUPPORT, Ask::Chat, "gpt-4o", "Summarise today's complaints", 80),
    step(RESEARCH, Ask::Messages, "claude-sonnet-4-5", "Now write the whole paper", 400),
    step(SEARCH, Ask::ChatStream, "gpt-4o", "What should a traveller know of Lisbon in May?", 110),
    step(SEARCH, Ask::Embeddings, "text-embedding-3-small", "cheap flights to Lisbon in May", 0),
    step(NIGHTLY, Ask::Chat, "gpt-4o-mini", "Label this ticket: late, lost, broken or other", 8),
    step(SUPPORT, Ask::ChatLeft, "gpt-4o-mini", "Explain our returns policy at length", 300),
    step(NIGHTLY, Ask::Chat, "gpt-4o-mini", "Label the next ticket, too", 8),
    step(SUPPORT, Ask::MessagesStream, "claude-haiku-4-5", "Thank the customer in two sentences", 50),
    step(SEARCH, Ask::Chat, "gpt-4o", "Is a museum open in Lisbon on Mondays?", 70),
    step(RESEARCH, Ask::MessagesStream, "claude-sonnet-4-5", "A shorter paper, then", 300),
];

const fn step(caller: Caller, ask: Ask, model: &'static str, words: &'static str, cap: u32) -> Step {
    Step { caller, ask, model, words, cap }
}
