//! How a request gets to the upstream: straight, or through a gateway. Both are asked by the same client, in
//! the same words, so that a difference is not ours.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Request, header};
use http_body_util::BodyExt as _;

use super::super::compose::{Said, compose, gateway_at};
use super::case::Asked;
use super::hidden::Hidden;
use crate::base::clock::Clock;
use crate::base::secret::Secret;
use crate::dialect::decode::Decoder;
use crate::upstream::answer::Incoming;
use crate::upstream::body::OutBody;
use crate::upstream::client::{Client, Freshness, SendFault};
use crate::upstream::endpoint::{Upstream, UpstreamFault};
use crate::upstream::section::UpstreamKind;

/// Somewhere to send requests to.
#[derive(Debug)]
pub(super) struct Way {
    upstream: Upstream,
    client: Client,
    clock: Clock,
    hidden: Arc<Hidden>,
}

/// An answer as it came, but for secrets in it.
#[derive(Debug, Clone)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) headers: HeaderMap,
    /// Without its content encoding.
    pub(super) body: String,
    /// Whether the body came to the end that its framing promised.
    pub(super) is_whole: bool,
    /// Seconds since the epoch.
    pub(super) asked_at: i64,
}

impl Answer {
    /// Whether it is a stream of events.
    pub(super) fn is_stream(&self) -> bool {
        self.header("content-type").starts_with("text/event-stream")
    }

    /// A header's text; empty if there is none.
    pub(super) fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }
}

impl Way {
    /// Straight to an upstream of the config.
    pub(super) fn to_upstream(
        upstream: Upstream,
        tls: &Arc<rustls::ClientConfig>,
        hidden: &Arc<Hidden>,
    ) -> Self {
        let (client, hidden) = (Client::new(tls), Arc::clone(hidden));
        Self { upstream, client, clock: Clock::system(), hidden }
    }

    /// To a gateway in front of an upstream of `kind`, as that upstream's clients would be set up for it.
    pub(super) fn to_gateway(
        url: &str,
        key: Secret,
        kind: UpstreamKind,
        tls: &Arc<rustls::ClientConfig>,
        hidden: &Arc<Hidden>,
    ) -> Result<Self, UpstreamFault> {
        Ok(Self::to_upstream(gateway_at(url, key, kind)?, tls, hidden))
    }

    /// Asks, and asks again where the answer is that it was too often.
    pub(super) async fn ask(&self, asked: &Asked) -> Result<Answer, SendFault> {
        for _ in 0..TRIES_WHEN_LIMITED {
            let answer = self.ask_once(asked).await?;
            if answer.status != 429 {
                return Ok(answer);
            }
            let wait = answer.header("retry-after").parse().map_or(USUAL_WAIT, Duration::from_secs);
            tokio::time::sleep(wait.min(LONGEST_WAIT)).await;
        }
        self.ask_once(asked).await
    }

    /// Asks once and reads the answer to its end.
    async fn ask_once(&self, asked: &Asked) -> Result<Answer, SendFault> {
        let request = self.compose(asked)?;
        let asked_at = self.clock.now().as_secs();
        let answered = async {
            let (parts, body) =
                self.client.send(&self.upstream, request, Freshness::Any, None).await?.into_parts();
            let (body, is_whole) = read(body).await;
            let body = decoded(&parts.headers, &body);
            Ok(Answer {
                status: parts.status.as_u16(),
                headers: self.hidden.out_of_headers(parts.headers),
                body: self.hidden.out_of(&body),
                is_whole,
                asked_at,
            })
        };
        tokio::time::timeout(PATIENCE, answered).await.unwrap_or(Err(SendFault::FirstByteTimeout))
    }

    fn compose(&self, asked: &Asked) -> Result<Request<OutBody>, SendFault> {
        let said = Said {
            method: asked.method.clone(),
            path: asked.path,
            model: asked.body.as_ref().and_then(|body| body["model"].as_str()).unwrap_or_default(),
            body: asked.body.as_ref().map(|body| Bytes::from(body.to_string())),
            accepts: asked.accepts,
            user_agent: USER_AGENT,
        };
        compose(&self.upstream, said)
    }
}

async fn read(mut body: Incoming) -> (Vec<u8>, bool) {
    let mut bytes = Vec::new();
    while let Some(frame) = body.frame().await {
        let Ok(frame) = frame else { return (bytes, false) };
        if let Ok(data) = frame.into_data() {
            bytes.extend_from_slice(&data);
        }
        if bytes.len() > LONGEST_ANSWER {
            return (bytes, false);
        }
    }
    (bytes, true)
}

/// The text of a body; bytes that cannot be decoded stay as they are.
fn decoded(headers: &HeaderMap, body: &[u8]) -> String {
    let encoding = headers.get(header::CONTENT_ENCODING).and_then(|value| value.to_str().ok());
    let mut plain = Vec::new();
    let read = Decoder::new(encoding).push(body, |piece| plain.extend_from_slice(piece));
    String::from_utf8_lossy(if read.is_ok() { &plain } else { body }).into_owned()
}

const USER_AGENT: &str = concat!("tollgate-verify/", env!("CARGO_PKG_VERSION"));
/// A list of all models of an aggregator is a few MiB.
const LONGEST_ANSWER: usize = 32 << 20;
/// New accounts may ask a few times a minute.
const TRIES_WHEN_LIMITED: u32 = 2;
const USUAL_WAIT: Duration = Duration::from_secs(5);
const LONGEST_WAIT: Duration = Duration::from_secs(30);
/// Answers of a few tokens; the slowest reasoning models take half of it.
const PATIENCE: Duration = Duration::from_mins(2);
