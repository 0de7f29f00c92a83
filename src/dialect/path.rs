//! Which dialect and operation a request path means. Reads the path only, never the query, and keeps
//! the raw text of the tail so that an upstream sees the spelling the client chose.

use http::Method;

use super::routes::{self, Root, Route};
use super::segments::{has_escaped_slash, percent_decoded, segments};
use super::spelt::{as_spelt, dialect};

/// A wire format (WIRE 1.1, 1.5).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Dialect {
    /// `OpenAI` and everything that calls itself compatible.
    OpenAi,
    /// Anthropic messages.
    Anthropic,
}

impl Dialect {
    /// The word in logs and configuration.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::OpenAi => "openai",
            Self::Anthropic => "anthropic",
        }
    }
}

/// What a request asks an upstream to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Operation {
    /// `POST /chat/completions`
    ChatCompletions,
    /// `POST /completions`, the legacy text completion.
    Completions,
    /// `POST /embeddings`
    Embeddings,
    /// `POST /responses`
    Responses,
    /// `POST /responses/compact`: billed like a response, answers a compacted conversation.
    ResponsesCompact,
    /// `POST /decisions`: billed like a response.
    Decisions,
    /// `POST /images/generations`, `/images/edits`, `/images/variations`
    Images,
    /// `POST /audio/transcriptions`
    Transcriptions,
    /// `POST /audio/translations`
    Translations,
    /// `POST /audio/speech`
    Speech,
    /// `POST /moderations`: free of charge.
    Moderations,
    /// `POST /messages` of the Anthropic dialect.
    Messages,
    /// `GET /models`, `/models/{id}`
    Models,
    /// `POST /responses/input_tokens`, `/messages/count_tokens`: a count, not spend.
    CountTokens,
    /// `POST /batches`, and `POST /messages/batches` of the Anthropic dialect: work whose usage is told when
    /// it is fetched.
    Batches,
    /// Reads, lists, cancels and deletes of stored objects: they repeat usage that was billed before, or tell
    /// that of work which went on after its answer.
    Stored,
    /// A WebSocket of the Realtime API. Its responses are parts of it, each with a row and a bill of its own.
    Realtime,
    /// A WebSocket of the Responses API: its responses are parts of it, [`Operation::Responses`] each.
    ResponsesSocket,
    /// A WebSocket of the Live API, billed by its seconds.
    Live,
    /// A response in a Realtime socket.
    RealtimeResponse,
    /// The seconds of a Live socket.
    LiveSession,
    /// A path no dialect knows: forwarded, not metered.
    Unmetered,
}

/// What an operation means for the books.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Metering {
    /// It spends: reserve before, settle after.
    Billed,
    /// It spends, and nobody knows how much before the work is done: nothing can be reserved.
    Later,
    /// Known and free of charge.
    Free,
    /// Unknown: may spend, nobody counts.
    Unmetered,
}

impl Operation {
    /// Every operation, for tables of metrics and tests.
    pub const ALL: [Self; 22] = [
        Self::ChatCompletions,
        Self::Completions,
        Self::Embeddings,
        Self::Responses,
        Self::ResponsesCompact,
        Self::Decisions,
        Self::Images,
        Self::Transcriptions,
        Self::Translations,
        Self::Speech,
        Self::Moderations,
        Self::Messages,
        Self::Models,
        Self::CountTokens,
        Self::Batches,
        Self::Stored,
        Self::Realtime,
        Self::ResponsesSocket,
        Self::Live,
        Self::RealtimeResponse,
        Self::LiveSession,
        Self::Unmetered,
    ];

    /// The word in the ledger and in reports.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ChatCompletions => "chat_completions",
            Self::Completions => "completions",
            Self::Embeddings => "embeddings",
            Self::Responses => "responses",
            Self::ResponsesCompact => "responses_compact",
            Self::Decisions => "decisions",
            Self::Images => "images",
            Self::Transcriptions => "transcriptions",
            Self::Translations => "translations",
            Self::Speech => "speech",
            Self::Moderations => "moderations",
            Self::Messages => "messages",
            Self::Models => "models",
            Self::CountTokens => "count_tokens",
            Self::Batches => "batches",
            Self::Stored => "stored",
            Self::Realtime => "realtime",
            Self::ResponsesSocket => "responses_socket",
            Self::Live => "live",
            Self::RealtimeResponse => "realtime_response",
            Self::LiveSession => "live_session",
            Self::Unmetered => "unmetered",
        }
    }

    /// `tollgate.api.format`: dialect and operation; what both dialects have is named without one.
    #[must_use]
    pub const fn api_format(self) -> &'static str {
        match self {
            Self::ChatCompletions => "openai.chat_completions",
            Self::Completions => "openai.completions",
            Self::Embeddings => "openai.embeddings",
            Self::Responses => "openai.responses",
            Self::ResponsesCompact => "openai.responses_compact",
            Self::Decisions => "openai.decisions",
            Self::Images => "openai.images",
            Self::Transcriptions => "openai.transcriptions",
            Self::Translations => "openai.translations",
            Self::Speech => "openai.speech",
            Self::Moderations => "openai.moderations",
            Self::Messages => "anthropic.messages",
            Self::Models => "models",
            Self::CountTokens => "count_tokens",
            Self::Batches => "batches",
            Self::Stored => "stored",
            Self::Realtime => "openai.realtime",
            Self::ResponsesSocket => "openai.responses_socket",
            Self::Live => "openai.live",
            Self::RealtimeResponse => "openai.realtime_response",
            Self::LiveSession => "openai.live_session",
            Self::Unmetered => "unmetered",
        }
    }

    /// `gen_ai.operation.name` of the upstream span (TELEMETRY 1.3).
    #[must_use]
    pub const fn gen_ai_name(self) -> &'static str {
        match self {
            Self::ChatCompletions
            | Self::Responses
            | Self::ResponsesCompact
            | Self::RealtimeResponse
            | Self::Messages => "chat",
            Self::Decisions => "decision",
            Self::Completions => "text_completion",
            Self::Embeddings => "embeddings",
            Self::Images => "image_generation",
            Self::Transcriptions => "transcription",
            Self::Translations => "translation",
            Self::Speech => "speech",
            Self::Moderations => "moderation",
            Self::Models => "list_models",
            Self::CountTokens => "count_tokens",
            Self::Batches => "batch",
            Self::Stored => "fetch_response",
            Self::Realtime | Self::ResponsesSocket | Self::Live => "socket",
            Self::LiveSession => "live",
            Self::Unmetered => "unmetered",
        }
    }

    /// Whether it is a socket whose messages are read.
    #[must_use]
    pub const fn is_socket(self) -> bool {
        matches!(self, Self::Realtime | Self::ResponsesSocket | Self::Live)
    }

    /// What it means for the books.
    #[must_use]
    pub const fn metering(self) -> Metering {
        match self {
            Self::ChatCompletions
            | Self::Completions
            | Self::Embeddings
            | Self::Responses
            | Self::ResponsesCompact
            | Self::Decisions
            | Self::Images
            | Self::Transcriptions
            | Self::Translations
            | Self::Speech
            | Self::RealtimeResponse
            | Self::LiveSession
            | Self::Messages => Metering::Billed,
            // a socket costs nothing by itself: what is made in it does
            Self::Realtime | Self::ResponsesSocket | Self::Live => Metering::Free,
            Self::Batches => Metering::Later,
            Self::Moderations | Self::Models | Self::CountTokens | Self::Stored => Metering::Free,
            Self::Unmetered => Metering::Unmetered,
        }
    }
}

/// Where a path hangs, so that it can be hung under an upstream's base URL. A `tail` is the raw text
/// behind the root, with its leading slash: `/v1//chat/completions/` has the tail `//chat/completions/`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PathStyle {
    /// `/v1` + tail, `/anthropic/v1` + tail, or a known tail without any root (a base URL given
    /// without `/v1`): an upstream's base URL + tail.
    V1 {
        /// Raw text behind the root.
        tail: String,
    },
    /// `/openai/deployments/{deployment}` + tail.
    AzureDeployment {
        /// The deployment as spelt in the path, percent escapes included.
        deployment: String,
        /// Raw text behind the deployment.
        tail: String,
    },
    /// `/openai/v1` + tail.
    AzureV1 {
        /// Raw text behind `/openai/v1`.
        tail: String,
    },
    /// `/openai` + tail, Azure's older paths that name no deployment.
    Azure {
        /// Raw text behind `/openai`.
        tail: String,
    },
    /// Anything else: the path as it is.
    Other,
}

/// Something stored at an upstream that may tell the usage of work which went on after its answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Object {
    /// What it is.
    pub kind: ObjectKind,
    /// The upstream's id of it, percent escapes decoded.
    pub id: String,
}

/// What is read of such an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ObjectKind {
    /// `GET /responses/{id}` and `POST /responses/{id}/cancel`: a response, as JSON or as events.
    Response,
    /// `GET /batches/{id}`, `/messages/batches/{id}`, and their `/cancel`: how a batch stands.
    Batch,
    /// `GET /messages/batches/{id}/results`: a line for each answer.
    Results,
    /// `GET /files/{id}/content`: it may be the output of a batch, a line for each answer.
    File,
}

/// What a path means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// The wire format of bodies and errors.
    pub dialect: Dialect,
    /// What is asked.
    pub operation: Operation,
    /// The template for `http.route`; one of a fixed set.
    pub route: &'static str,
    /// Where the path hangs.
    pub style: PathStyle,
    /// Azure: the deployment, percent escapes decoded. It is what the client calls the model.
    pub deployment: Option<String>,
    /// The stored object that is asked for, if it may tell a usage.
    pub object: Option<Object>,
}

/// Reads a path. Spellings that some server would resolve to a known path (doubled slashes, a trailing
/// slash, dot segments, escapes, other case) count as that path, so that spelling cannot dodge the books.
#[must_use]
pub fn classify(method: &Method, path: &str) -> Endpoint {
    if let Some(endpoint) = as_spelt(method, path) {
        return endpoint;
    }
    let endpoint = classify_by(path, |names| {
        let route = routes::find(names);
        (route, route.map_or(Operation::Unmetered, |route| route.operation(method)))
    });
    // an answer without a body tells no usage, which must not be taken for a usage of nothing
    let is_told = matches!(*method, Method::GET | Method::POST);
    Endpoint { object: endpoint.object.filter(|_| is_told), ..endpoint }
}

/// Reads the path of a WebSocket. Only sockets are known here: any other path is one whose messages nobody reads.
#[must_use]
pub fn classify_socket(path: &str) -> Endpoint {
    classify_by(path, |names| {
        let route = routes::find_socket(names);
        (route, route.map_or(Operation::Unmetered, |route| route.operation(&Method::GET)))
    })
}

type Found = (Option<&'static Route>, Operation);

fn classify_by(path: &str, find: impl Fn(&[&str]) -> Found) -> Endpoint {
    let endpoint = classify_spelling(path, &find);
    if endpoint.operation != Operation::Unmetered || !has_escaped_slash(path) {
        return endpoint;
    }
    // servers that decode before they route see a slash here; the raw text is still what is forwarded
    let decoded = path.replace("%2F", "/").replace("%2f", "/");
    let seen = classify_spelling(&decoded, &find);
    Endpoint { style: endpoint.style, deployment: endpoint.deployment, ..seen }
}

/// Text of a path or a query without its percent escapes.
#[must_use]
pub fn decoded(text: &str) -> String {
    percent_decoded(text).into_owned()
}

/// The tails of all known paths, such as `chat/completions/{id}`: for tests that leave none out.
pub fn known_tails() -> impl Iterator<Item = &'static str> {
    routes::tails()
}

fn classify_spelling(path: &str, find: &impl Fn(&[&str]) -> Found) -> Endpoint {
    let segments = segments(path);
    let names: Vec<&str> = segments.iter().map(|segment| segment.name.as_ref()).collect();
    let (root, depth) = Root::of(&names);
    let (route, operation) = find(&names[depth..]);
    let tail = || match depth.checked_sub(1) {
        Some(last) => path[segments[last].end..].to_owned(),
        None => path.to_owned(),
    };
    let (style, deployment) = match root {
        Root::V1 | Root::Anthropic => (PathStyle::V1 { tail: tail() }, None),
        Root::Deployment => {
            let named = &segments[depth - 1];
            let deployment = path[named.start..named.end].to_owned();
            (PathStyle::AzureDeployment { deployment, tail: tail() }, Some(named.name.clone().into_owned()))
        }
        Root::AzureV1 => (PathStyle::AzureV1 { tail: tail() }, None),
        Root::Azure => (PathStyle::Azure { tail: tail() }, None),
        Root::Bare if operation != Operation::Unmetered => (PathStyle::V1 { tail: tail() }, None),
        Root::Bare | Root::Prefixed => (PathStyle::Other, None),
    };
    let object = route.filter(|_| operation == Operation::Stored).and_then(|route| {
        let (kind, place) = route.object()?;
        Some(Object { kind, id: (*names.get(depth + place)?).to_owned() })
    });
    Endpoint {
        object,
        dialect: dialect(root, &names[depth..]),
        operation,
        route: template(root, route),
        style,
        deployment,
    }
}

fn template(root: Root, route: Option<&Route>) -> &'static str {
    route.map_or_else(|| root.catch_all(), |route| route.template(root))
}

#[cfg(test)]
#[path = "path_tests.rs"]
mod tests;
