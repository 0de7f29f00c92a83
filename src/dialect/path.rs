//! Which dialect and operation a path belongs to.

/// A family of wire formats.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Dialect {
    /// `OpenAI` and what is compatible with it.
    OpenAi,
    /// Anthropic.
    Anthropic,
}

/// What a request asks an upstream to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Operation {
    /// Chat completions.
    ChatCompletions,
    /// Completions.
    Completions,
    /// Embeddings.
    Embeddings,
    /// Responses.
    Responses,
    /// Compaction of a response.
    ResponsesCompact,
    /// Images made or edited.
    Images,
    /// Speech to text.
    Transcriptions,
    /// Speech to English text.
    Translations,
    /// Text to speech.
    Speech,
    /// Moderations.
    Moderations,
    /// Anthropic messages.
    Messages,
    /// The list of models.
    Models,
    /// A count that is not spend.
    CountTokens,
    /// A stored object, billed when it was made.
    Stored,
    /// A path that no dialect knows.
    Unmetered,
}
