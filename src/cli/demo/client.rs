//! The demo's clients: they ask, read what comes, and say nothing; the gateway's own lines tell the story.

use std::net::SocketAddr;

use bytes::Bytes;
use http::{HeaderValue, Method, Request, header};
use http_body_util::{BodyExt as _, Full};
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::{self, ResponseFuture};
use hyper_util::rt::TokioExecutor;

use super::script::{Ask, Step};

/// An HTTP client of the gateway. Cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Client {
    http: legacy::Client<HttpConnector, Full<Bytes>>,
    gateway: SocketAddr,
}

impl Client {
    pub(super) fn to(gateway: SocketAddr) -> Self {
        Self { http: legacy::Client::builder(TokioExecutor::new()).build_http(), gateway }
    }

    /// Sends a step and reads its answer, or a part of it if the step's client leaves early. Refusals and
    /// broken answers are part of the show: nothing is reported here.
    pub(super) async fn send(self, step: &Step, round: usize) {
        let Some(asked) = self.ask(step, round) else { return };
        let Ok(answer) = asked.await else { return };
        let mut body = answer.into_body();
        let mut frames = 0;
        while let Some(Ok(_)) = body.frame().await {
            frames += 1;
            if step.ask == Ask::ChatLeft && frames == FRAMES_BEFORE_LEAVING {
                return;
            }
        }
    }

    fn ask(&self, step: &Step, round: usize) -> Option<ResponseFuture> {
        let mut request = Request::builder()
            .method(Method::POST)
            .uri(format!("http://{}{}", self.gateway, step.ask.path()))
            .header(header::CONTENT_TYPE, "application/json")
            .body(Full::new(Bytes::from(step.body(round).to_string())))
            .ok()?;
        let headers = request.headers_mut();
        match step.ask {
            Ask::Messages | Ask::MessagesStream => {
                headers.insert("x-api-key", HeaderValue::from_static(step.caller.key));
                headers.insert("anthropic-version", HeaderValue::from_static("2023-06-01"));
            }
            Ask::Chat | Ask::ChatStream | Ask::ChatLeft | Ask::Embeddings => {
                let bearer = format!("Bearer {}", step.caller.key);
                headers.insert(header::AUTHORIZATION, HeaderValue::from_str(&bearer).ok()?);
            }
        }
        Some(self.http.request(request))
    }
}

/// Enough of a stream to have cost something.
const FRAMES_BEFORE_LEAVING: u32 = 30;
