//! WebSockets: how one is asked for and agreed on. Then `tunnel` carries its bytes untouched, `gate` keeps a client's
//! wishes until they are admitted, and `session` has the books (docs/WEBSOCKETS.md).

mod gate;
mod live;
mod open;
mod session;
mod settings;
mod tunnel;

use http::request::Parts;
use http::response::Parts as AnswerParts;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Version, header};
use hyper::upgrade::OnUpgrade;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::error::Refusal;
use super::exchange::{Books, Exchange};
use super::headers;
use super::relay::{Answer, AnswerBody};
use crate::dialect::deflate::Agreed;
use crate::dialect::path::decoded;
use crate::signals::Active;
use crate::upstream::address::escape_segment;
use crate::upstream::client::SendFault;
use crate::upstream::endpoint::Upstream;

/// The sockets of the process. Each has a place among the requests at work (`server.max_requests`).
#[derive(Debug, Default)]
pub struct Sockets {
    tasks: TaskTracker,
    stop: CancellationToken,
}

impl Sockets {
    /// Tells every socket to end: one at rest at once, one in the middle of a response after it.
    pub fn stop(&self) {
        self.stop.cancel();
    }

    /// Waits until none is open; what the runtime ends before has its books closed by its drop.
    pub async fn finish(&self) {
        self.tasks.close();
        self.tasks.wait().await;
    }
}

/// The connection of a client that asks for a WebSocket (RFC 6455, 4.1). Any other `upgrade` is none: it is taken
/// out as all hop-by-hop headers are, and the request is answered as if it had not been there.
pub(super) fn upgrade_of(parts: &mut Parts) -> Option<OnUpgrade> {
    if is_asked(parts) { parts.extensions.remove() } else { None }
}

fn is_asked(parts: &Parts) -> bool {
    let has = |name: HeaderName, word: &str| {
        let values = parts.headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
        values.flat_map(|value| value.split(',')).any(|one| one.trim().eq_ignore_ascii_case(word))
    };
    let has_body = [header::CONTENT_LENGTH, header::TRANSFER_ENCODING]
        .iter()
        .any(|name| parts.headers.get(name).is_some_and(|value| value.as_bytes() != b"0"));
    parts.method == Method::GET
        && parts.version == Version::HTTP_11
        && has(header::CONNECTION, "upgrade")
        && has(header::UPGRADE, "websocket")
        && !has_body
}

/// What the query names as the model; Azure's older paths call it the deployment. Of two that differ, nobody knows
/// which one an upstream takes.
pub(super) fn model_in(query: Option<&str>) -> Result<Option<String>, Refusal> {
    let mut values = model_pairs(query.unwrap_or_default()).map(|(_, value)| decoded(value));
    let first = values.next();
    if values.any(|other| Some(other) != first) {
        return Err(Refusal::AmbiguousFraming("its query names more than one model"));
    }
    Ok(first.filter(|model| !model.is_empty()))
}

/// The query as the upstream gets it: with its own name for the model, everything else as it came.
pub(super) fn query_to(books: &Books, query: Option<&str>, model: &str) -> Option<String> {
    let query = query?;
    let is_renamed = books.endpoint.operation.is_socket()
        && model_pairs(query).any(|(_, value)| !value.is_empty() && decoded(value) != model);
    if !is_renamed {
        return Some(query.to_owned());
    }
    let renamed = |pair: &str| match model_pairs(pair).next() {
        Some((name, _)) => format!("{name}={}", escape_segment(model)),
        None => pair.to_owned(),
    };
    Some(query.split('&').map(renamed).collect::<Vec<_>>().join("&"))
}

fn model_pairs(query: &str) -> impl Iterator<Item = (&str, &str)> {
    let pairs = query.split('&').filter_map(|pair| pair.split_once('='));
    pairs.filter(|(name, _)| {
        let name = decoded(name);
        ["model", "deployment"].iter().any(|known| name.eq_ignore_ascii_case(known))
    })
}

/// Asks the upstream for a WebSocket, as the client asked us.
pub(super) fn ask_to_switch(sent: &mut HeaderMap) {
    sent.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
    sent.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
}

/// Both sides of a socket that was agreed on.
#[derive(Debug)]
pub(super) struct Switched {
    client: OnUpgrade,
    upstream: OnUpgrade,
    agreed: Agreed,
    _attempt: Active,
}

/// The answer to a 101. One that nobody asked for, or that switches to something else, is no answer.
pub(super) fn switch(
    x: &mut Exchange,
    parts: &mut AnswerParts,
    upstream: &Upstream,
    attempt: Active,
) -> Result<Answer, Refusal> {
    let is_websocket =
        parts.headers.get(header::UPGRADE).is_some_and(|to| to.as_bytes().eq_ignore_ascii_case(b"websocket"));
    let sides = if is_websocket { parts.extensions.remove().zip(x.upgrade.take()) } else { None };
    let Some((theirs, client)) = sides else {
        tracing::debug!(upstream = upstream.name, "a 101 that nobody asked for");
        return Err(Refusal::Unreachable(SendFault::InvalidResponse));
    };
    let extensions = parts.headers.get_all(header::SEC_WEBSOCKET_EXTENSIONS).iter();
    let agreed = Agreed::of(extensions.filter_map(|value| value.to_str().ok()));
    let is_unread = agreed == Agreed::Unknown && x.endpoint.operation.is_socket();
    if is_unread && x.policy.refuse_unmetered && x.has_budget() {
        return Err(Refusal::UnmeteredPath);
    }
    let mut headers = headers::to_client(std::mem::take(&mut parts.headers), false);
    ask_to_switch(&mut headers);
    x.record.stream = true;
    let switched = Switched { client, upstream: theirs, agreed, _attempt: attempt };
    Ok(Answer { status: parts.status, headers, body: AnswerBody::Switched(switched) })
}

/// Carries the socket to its end, beside the answer that announces it.
pub(super) fn carry(x: Exchange, switched: Switched) {
    let door = x.door.clone();
    door.sockets.tasks.spawn(tunnel::carry(x, switched, door.sockets.stop.clone()));
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;

    fn asks(build: impl FnOnce(http::request::Builder) -> http::request::Builder) -> bool {
        let request = build(Request::get("/v1/realtime")).body(()).unwrap();
        is_asked(&request.into_parts().0)
    }

    #[test]
    fn only_websockets_over_http_1_1_are_upgrades() {
        let plain =
            |r: http::request::Builder| r.header("connection", "Upgrade").header("upgrade", "websocket");
        assert!(asks(plain));
        assert!(asks(|r| r.header("Connection", "keep-alive, UPGRADE").header("Upgrade", "WebSocket")));
        assert!(!asks(|r| r.header("connection", "Upgrade").header("upgrade", "h2c")));
        assert!(!asks(|r| r.header("upgrade", "websocket")));
        assert!(!asks(|r| plain(r).method("POST")));
        assert!(!asks(|r| plain(r).version(Version::HTTP_2)));
        assert!(!asks(|r| plain(r).header("content-length", "3")));
    }

    #[test]
    fn the_model_of_a_socket_stands_in_its_query() {
        let model = |query| model_in(Some(query)).map_err(|refusal| refusal.face().code);
        assert_eq!(model("a=b&model=gpt-realtime"), Ok(Some("gpt-realtime".into())));
        assert_eq!(model("api-version=1&deployment=my%20dep"), Ok(Some("my dep".into())));
        assert_eq!(model("call_id=rtc_1"), Ok(None));
        assert_eq!(model("model="), Ok(None));
        assert_eq!(model("model=m&model=%6D"), Ok(Some("m".into())));
        for two in ["model=a&model=b", "model=a&Model=b", "model=a&mod%65l=b", "model=&model=b"] {
            assert_eq!(model(two), Err("ambiguous_framing"), "{two}");
        }
    }
}
