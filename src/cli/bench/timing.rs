//! One request, and when the parts of its answer came.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Method, Request};
use http_body_util::BodyExt as _;
use memchr::memmem;
use serde_json::json;

use super::round::{Cap, Plan};
use crate::base::clock::Clock;
use crate::cli::compose::{Said, compose};
use crate::upstream::body::OutBody;
use crate::upstream::client::{Client, Freshness, SendFault};
use crate::upstream::endpoint::Upstream;
use crate::upstream::section::UpstreamKind;

/// What is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Kind {
    /// An answer in one piece.
    Json,
    /// A stream of events.
    Stream,
}

impl Kind {
    pub(super) const ALL: [Self; 2] = [Self::Json, Self::Stream];

    /// The word in reports.
    pub(super) const fn word(self) -> &'static str {
        match self {
            Self::Json => "json",
            Self::Stream => "stream",
        }
    }
}

/// Where requests go: straight to the upstream, or through the gateway.
#[derive(Debug)]
pub(super) struct Way {
    upstream: Upstream,
    client: Client,
    clock: Clock,
    is_gateway: bool,
}

/// When the parts of an answer came, from the moment of asking.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Timing {
    /// The first event of a stream.
    pub(super) first_event: Option<Duration>,
    /// Between one arrival of events and the next.
    pub(super) gaps: Vec<Duration>,
    /// The last byte.
    pub(super) whole: Duration,
}

/// No timing: the request failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum NoTiming {
    #[error("{0}")]
    Sending(#[from] SendFault),
    #[error("status {status}: {said}")]
    Status { status: u16, said: String },
    #[error("the answer broke off")]
    BrokenOff,
    #[error("no end within {} s", PATIENCE.as_secs())]
    TooSlow,
}

impl Way {
    pub(super) fn directly(upstream: Upstream, tls: &Arc<rustls::ClientConfig>) -> Self {
        Self { upstream, client: Client::new(tls), clock: Clock::system(), is_gateway: false }
    }

    pub(super) fn through(gateway: Upstream, tls: &Arc<rustls::ClientConfig>) -> Self {
        Self { is_gateway: true, ..Self::directly(gateway, tls) }
    }

    /// What a user calls it.
    pub(super) const fn name(&self) -> &'static str {
        if self.is_gateway { "the gateway" } else { "the upstream" }
    }

    /// Asks once and reads the answer to its end.
    pub(super) async fn ask(&self, kind: Kind, plan: &Plan, cap: Cap) -> Result<Timing, NoTiming> {
        let request = self.request(kind, plan, cap)?;
        tokio::time::timeout(PATIENCE, self.time(request)).await.unwrap_or(Err(NoTiming::TooSlow))
    }

    async fn time(&self, request: Request<OutBody>) -> Result<Timing, NoTiming> {
        let asked = self.clock.tick();
        let answer = self.client.send(&self.upstream, request, Freshness::Any, None).await?;
        let status = answer.status();
        let mut body = answer.into_body();
        if !status.is_success() {
            let said = body.frame().await.and_then(Result::ok).and_then(|frame| frame.into_data().ok());
            let said = said.unwrap_or_default();
            let said = String::from_utf8_lossy(&said[..said.len().min(LONGEST_WORDS)]).into_owned();
            return Err(NoTiming::Status { status: status.as_u16(), said });
        }
        let mut timing = Timing { first_event: None, gaps: Vec::new(), whole: Duration::ZERO };
        let mut before = None;
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|_| NoTiming::BrokenOff)?;
            if !frame.data_ref().is_some_and(|data| holds_event(data)) {
                continue;
            }
            let now = self.clock.tick();
            timing.first_event.get_or_insert(now.since(asked));
            timing.gaps.extend(before.map(|before| now.since(before)));
            before = Some(now);
        }
        timing.whole = self.clock.tick().since(asked);
        Ok(timing)
    }

    fn request(&self, kind: Kind, plan: &Plan, cap: Cap) -> Result<Request<OutBody>, SendFault> {
        let speaks_messages = plan.speaks == UpstreamKind::Anthropic;
        let prompt: String = PROMPT.chars().cycle().take(plan.prompt as usize).collect();
        let mut body = json!({"model": plan.model, "messages": [{"role": "user", "content": prompt}]});
        body[cap.word()] = plan.max_tokens.into();
        if kind == Kind::Stream {
            body["stream"] = true.into();
        }
        let said = Said {
            method: Method::POST,
            path: if speaks_messages { "/v1/messages" } else { "/v1/chat/completions" },
            model: &plan.model,
            body: Some(Bytes::from(body.to_string())),
            accepts: "identity",
            user_agent: USER_AGENT,
        };
        let mut request = compose(&self.upstream, said)?;
        if self.is_gateway {
            // what is measured is the way to the upstream, not the way past it
            let cache = HeaderName::from_static("x-tollgate-cache");
            request.headers_mut().insert(cache, HeaderValue::from_static("no-store"));
        }
        Ok(request)
    }
}

/// Whether a piece of an answer brings an event, not only a comment that keeps the connection alive.
fn holds_event(piece: &[u8]) -> bool {
    memmem::find(piece, b"data:").is_some()
}

const USER_AGENT: &str = concat!("tollgate-bench/", env!("CARGO_PKG_VERSION"));
const PROMPT: &str = "Say in a few words what a toll is, who has to pay it, and why some roads have none. ";
/// Small answers; the slowest reasoning models take a fraction of it.
const PATIENCE: Duration = Duration::from_mins(5);
/// Enough of an error to know it.
const LONGEST_WORDS: usize = 300;
