//! The table of known paths: which tail means which operation, and its `http.route` under each root.

use http::Method;

use super::path::{ObjectKind, Operation};

/// What a path begins with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Root {
    /// `/v1`
    V1,
    /// `/anthropic/v1`
    Anthropic,
    /// `/openai/deployments/{deployment}`
    Deployment,
    /// `/openai/v1`
    AzureV1,
    /// `/openai`
    Azure,
    /// Something unknown that ends in `v1`, such as `/api/v1`.
    Prefixed,
    /// Nothing known.
    Bare,
}

impl Root {
    /// The root of a path, and how many of its names belong to it.
    pub(super) fn of(names: &[&str]) -> (Self, usize) {
        let is = |at: usize, word: &str| names.get(at).is_some_and(|name| name.eq_ignore_ascii_case(word));
        match () {
            () if is(0, "v1") => (Self::V1, 1),
            () if is(0, "anthropic") && is(1, "v1") => (Self::Anthropic, 2),
            () if is(0, "openai") && is(1, "v1") => (Self::AzureV1, 2),
            () if is(0, "openai") && is(1, "deployments") && names.len() > 2 => (Self::Deployment, 3),
            () if is(0, "openai") => (Self::Azure, 1),
            () => match names.iter().take(MAX_PREFIX).position(|name| name.eq_ignore_ascii_case("v1")) {
                Some(at) => (Self::Prefixed, at + 1),
                None => (Self::Bare, 0),
            },
        }
    }

    /// `http.route` of a path that no entry of the table knows.
    pub(super) const fn catch_all(self) -> &'static str {
        match self {
            Self::V1 => "/v1/{*path}",
            Self::Anthropic => "/anthropic/v1/{*path}",
            Self::Deployment => "/openai/deployments/{deployment}/{*path}",
            Self::AzureV1 => "/openai/v1/{*path}",
            Self::Azure => "/openai/{*path}",
            Self::Prefixed | Self::Bare => "/{*path}",
        }
    }
}

/// How deep `v1` may stand behind a prefix we do not know.
const MAX_PREFIX: usize = 8;

/// A known tail.
#[derive(Debug)]
pub(super) struct Route {
    pattern: &'static str,
    methods: Methods,
    v1: &'static str,
    anthropic: &'static str,
    deployment: &'static str,
    azure_v1: &'static str,
    azure: &'static str,
    prefixed: &'static str,
    bare: &'static str,
}

/// Which methods of a known tail mean what; every other method is unmetered.
#[derive(Debug)]
enum Methods {
    /// POST makes something; other methods are unknown.
    Create(Operation),
    /// POST makes something; GET lists what is stored.
    CreateOrList(Operation),
    /// GET reads; DELETE removes.
    Read(Operation),
    /// GET, POST and DELETE work on something stored.
    Stored,
    /// GET opens a socket.
    Socket(Operation),
    /// GET reads something stored that may tell a usage; DELETE removes it.
    ReadObject(ObjectKind),
    /// POST works on something stored, and may tell its usage.
    PostObject(ObjectKind),
}

impl Route {
    pub(super) fn operation(&self, method: &Method) -> Operation {
        let (post, get, delete) = (
            *method == Method::POST,
            matches!(*method, Method::GET | Method::HEAD),
            *method == Method::DELETE,
        );
        match self.methods {
            Methods::Create(operation) | Methods::CreateOrList(operation) if post => operation,
            Methods::CreateOrList(_) if get => Operation::Stored,
            Methods::Socket(operation) if get => operation,
            Methods::Read(operation) if get || delete => operation,
            Methods::Stored if get || post || delete => Operation::Stored,
            Methods::ReadObject(_) if get || delete => Operation::Stored,
            Methods::PostObject(_) if post => Operation::Stored,
            Methods::Create(_)
            | Methods::CreateOrList(_)
            | Methods::Read(_)
            | Methods::Socket(_)
            | Methods::Stored
            | Methods::ReadObject(_)
            | Methods::PostObject(_) => Operation::Unmetered,
        }
    }

    /// What is read of the stored object that the path names, and the place of its id among the names.
    pub(super) fn object(&self) -> Option<(ObjectKind, usize)> {
        match self.methods {
            Methods::ReadObject(kind) | Methods::PostObject(kind) => {
                Some((kind, self.pattern.split('/').position(|part| part == "{id}")?))
            }
            Methods::Create(_) | Methods::CreateOrList(_) | Methods::Read(_) => None,
            Methods::Stored | Methods::Socket(_) => None,
        }
    }

    pub(super) const fn template(&self, root: Root) -> &'static str {
        match root {
            Root::V1 => self.v1,
            Root::Anthropic => self.anthropic,
            Root::Deployment => self.deployment,
            Root::AzureV1 => self.azure_v1,
            Root::Azure => self.azure,
            Root::Prefixed => self.prefixed,
            Root::Bare => self.bare,
        }
    }

    fn fits(&self, names: &[&str]) -> bool {
        let mut names = names.iter();
        for part in self.pattern.split('/') {
            let name = names.next();
            match (part, name) {
                ("{*model}" | "{*path}", Some(_)) => return true,
                (_, None) => return false,
                ("{id}", Some(_)) => {}
                (word, Some(name)) if !name.eq_ignore_ascii_case(word) => return false,
                (_, Some(_)) => {}
            }
        }
        names.next().is_none()
    }
}

/// The entry for a tail, given as the names behind the root. Fixed names stand before `{id}`.
pub(super) fn find(names: &[&str]) -> Option<&'static Route> {
    ROUTES.iter().find(|route| route.fits(names))
}

/// The entry of a path that is spelt as the table has it, behind `/v1`. Most are.
pub(super) fn find_as_spelt(path: &str) -> Option<&'static Route> {
    ROUTES.iter().find(|route| route.v1 == path && !route.pattern.contains('{'))
}

/// The entry for the tail of a WebSocket's path.
pub(super) fn find_socket(names: &[&str]) -> Option<&'static Route> {
    SOCKETS.iter().find(|route| route.fits(names))
}

/// The tails of all known paths, as the table has them.
pub(super) fn tails() -> impl Iterator<Item = &'static str> {
    ROUTES.iter().map(|route| route.pattern)
}

macro_rules! routes {
    ($($pattern:literal => $methods:expr,)*) => {
        &[$(Route {
            pattern: $pattern,
            methods: $methods,
            v1: concat!("/v1/", $pattern),
            anthropic: concat!("/anthropic/v1/", $pattern),
            deployment: concat!("/openai/deployments/{deployment}/", $pattern),
            azure_v1: concat!("/openai/v1/", $pattern),
            azure: concat!("/openai/", $pattern),
            prefixed: concat!("/{*prefix}/v1/", $pattern),
            bare: concat!("/", $pattern),
        }),*]
    };
}

// without an upgrade these are no paths that anybody knows
static SOCKETS: &[Route] = routes! {
    "realtime" => Methods::Socket(Operation::Realtime),
    "responses" => Methods::Socket(Operation::ResponsesSocket),
    "live" => Methods::Socket(Operation::Live),
    "live/{*path}" => Methods::Socket(Operation::Live),
};

static ROUTES: &[Route] = routes! {
    "chat/completions" => Methods::CreateOrList(Operation::ChatCompletions),
    "chat/completions/{id}" => Methods::Stored,
    "chat/completions/{id}/messages" => Methods::Stored,
    "completions" => Methods::Create(Operation::Completions),
    "embeddings" => Methods::Create(Operation::Embeddings),
    "responses" => Methods::Create(Operation::Responses),
    "responses/compact" => Methods::Create(Operation::ResponsesCompact),
    "responses/input_tokens" => Methods::Create(Operation::CountTokens),
    "responses/{id}" => Methods::ReadObject(ObjectKind::Response),
    "responses/{id}/cancel" => Methods::PostObject(ObjectKind::Response),
    "responses/{id}/input_items" => Methods::Read(Operation::Stored),
    "batches" => Methods::CreateOrList(Operation::Batches),
    "batches/{id}" => Methods::ReadObject(ObjectKind::Batch),
    "batches/{id}/cancel" => Methods::PostObject(ObjectKind::Batch),
    "files/{id}/content" => Methods::ReadObject(ObjectKind::File),
    "decisions" => Methods::Create(Operation::Decisions),
    "images/generations" => Methods::Create(Operation::Images),
    "images/edits" => Methods::Create(Operation::Images),
    "images/variations" => Methods::Create(Operation::Images),
    "audio/transcriptions" => Methods::Create(Operation::Transcriptions),
    "audio/translations" => Methods::Create(Operation::Translations),
    "audio/speech" => Methods::Create(Operation::Speech),
    "moderations" => Methods::Create(Operation::Moderations),
    "messages" => Methods::Create(Operation::Messages),
    "messages/count_tokens" => Methods::Create(Operation::CountTokens),
    "messages/batches" => Methods::CreateOrList(Operation::Batches),
    "messages/batches/{id}" => Methods::ReadObject(ObjectKind::Batch),
    "messages/batches/{id}/cancel" => Methods::PostObject(ObjectKind::Batch),
    "messages/batches/{id}/results" => Methods::ReadObject(ObjectKind::Results),
    "models" => Methods::Read(Operation::Models),
    "models/{*model}" => Methods::Read(Operation::Models),
};
