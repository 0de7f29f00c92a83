//! Which headers go where: what is read and not forwarded, what is hop-by-hop, what Tollgate adds.

use std::collections::BTreeMap;

use http::header::{self, HeaderName, IntoHeaderName};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Version};

use super::names;
use crate::identity::{PROTOCOL_KEY, key_of_protocols};
use crate::telemetry::trace::TraceContext;

/// Labels that the client put on a request. Never an identity (FAULTS B9).
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Labels {
    pub(super) user: String,
    pub(super) run: String,
    pub(super) session: String,
    pub(super) tags: BTreeMap<String, String>,
}

/// What the span and the log want to know of the request's head.
#[derive(Debug, Clone)]
pub(super) struct Head {
    pub(super) scheme: &'static str,
    pub(super) protocol_version: &'static str,
    pub(super) method: String,
    pub(super) path: String,
    pub(super) user_agent: String,
    pub(super) host: String,
}

/// Reads our own label headers and the aliases that people already send (DESIGN, outside surface).
pub(super) fn labels(headers: &HeaderMap) -> Labels {
    if !headers.keys().any(may_be_label) {
        return Labels::default();
    }
    let mut labels = Labels {
        user: first_text(headers, &[&names::USER, &names::HELICONE_USER]),
        run: first_text(headers, &[&names::RUN]),
        session: first_text(headers, &[&names::SESSION, &names::HELICONE_SESSION]),
        tags: BTreeMap::new(),
    };
    for name in [&names::LITELLM_TAGS, &names::TAGS] {
        for value in headers.get_all(name) {
            read_tags(value, &mut labels.tags);
        }
    }
    for (name, value) in headers {
        if let Some(property) = name.as_str().strip_prefix("helicone-property-") {
            add_tag(&mut labels.tags, property, value.to_str().unwrap_or_default());
        }
    }
    if let Some(metadata) = headers.get(&names::CF_METADATA).and_then(|value| value.to_str().ok())
        && let Ok(pairs) = serde_json::from_str::<BTreeMap<String, serde_json::Value>>(metadata)
    {
        for (name, value) in pairs {
            let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            add_tag(&mut labels.tags, &name, &text);
        }
    }
    labels
}

pub(super) fn head(parts: &Parts, scheme: &'static str) -> Head {
    let text = |name| parts.headers.get(name).and_then(|v| v.to_str().ok()).unwrap_or_default();
    let authority = parts.uri.authority().map(http::uri::Authority::as_str);
    Head {
        scheme,
        protocol_version: if parts.version == Version::HTTP_2 { "2" } else { "1.1" },
        method: parts.method.as_str().into(),
        path: parts.uri.path().into(),
        user_agent: bounded(text(header::USER_AGENT)),
        host: bounded(authority.unwrap_or_else(|| text(header::HOST))),
    }
}

/// The caller's trace, if it sent a valid one.
pub(super) fn trace(headers: &HeaderMap) -> Option<TraceContext> {
    if !headers.contains_key(&names::TRACEPARENT) {
        return None;
    }
    let values = |name| headers.get_all(name).iter().map(HeaderValue::as_bytes);
    TraceContext::parse(values(&names::TRACEPARENT), values(&names::TRACESTATE))
}

/// The upstream the client asked for.
pub(super) fn wanted_upstream(headers: &HeaderMap) -> Option<&str> {
    headers.get(&names::UPSTREAM).and_then(|value| value.to_str().ok()).map(str::trim)
}

/// Request headers as the upstream gets them: without hop-by-hop headers, the caller's credentials,
/// our own headers, and those that frame the body (the client library frames it anew). `trailer` stays where
/// the body passes with its trailers.
pub(super) fn to_upstream(from: &HeaderMap, passes_trailers: bool) -> HeaderMap {
    let nominated = nominated(from);
    let mut kept = HeaderMap::with_capacity(from.len() + 4);
    for (name, value) in from {
        let dropped = (is_hop_by_hop(name) && !(passes_trailers && name == header::TRAILER))
            || nominated.iter().any(|nominee| nominee == name.as_str())
            || is_for_us(name.as_str());
        if dropped {
            continue;
        }
        let value =
            if name == header::SEC_WEBSOCKET_PROTOCOL { without_keys(value) } else { Some(value.clone()) };
        if let Some(value) = value {
            kept.append(name.clone(), value);
        }
    }
    kept
}

/// Subprotocols without the one that is a key: browsers have no other place for it (WIRE 1.4).
fn without_keys(protocols: &HeaderValue) -> Option<HeaderValue> {
    let Ok(text) = protocols.to_str() else { return None };
    if key_of_protocols(protocols).is_none() {
        return Some(protocols.clone());
    }
    let kept: Vec<_> =
        text.split(',').map(str::trim).filter(|name| !name.starts_with(PROTOCOL_KEY)).collect();
    HeaderValue::from_str(&kept.join(", ")).ok().filter(|value| !value.is_empty())
}

/// Response headers as the client gets them: without hop-by-hop headers. Order and values stay. A length
/// stays only if the body is framed by it: beside `transfer-encoding` it would cut the body short.
/// `trailer` stays: trailers are relayed, and HTTP/1.1 sends only those that were announced.
pub(super) fn to_client(mut from: HeaderMap, keeps_length: bool) -> HeaderMap {
    let nominated = nominated(&from);
    let drops = |name: &HeaderName| {
        (is_hop_by_hop(name) && name != header::TRAILER)
            || nominated.iter().any(|nominee| nominee == name.as_str())
            || (!keeps_length && name == header::CONTENT_LENGTH)
    };
    if !from.keys().any(drops) {
        from.reserve(OUR_HEADERS);
        return from;
    }
    // taking one out of the map would put the last one in its place
    let mut kept = HeaderMap::with_capacity(from.len() + OUR_HEADERS);
    let mut last: Option<HeaderName> = None;
    for (name, value) in from {
        last = name.or(last);
        if let Some(name) = last.as_ref().filter(|name| !drops(name)) {
            kept.append(name, value);
        }
    }
    kept
}

/// Headers that Tollgate adds to an answer.
const OUR_HEADERS: usize = 8;

/// The trace as the upstream continues it: our attempt is the parent; vendors' state and baggage go on.
pub(super) fn continue_trace(sent: &mut HeaderMap, from: &HeaderMap, trace: &TraceContext, parent: &str) {
    set(sent, &names::TRACEPARENT, parent);
    if let Some(state) = trace.tracestate.as_deref().filter(|state| !state.is_empty()) {
        set(sent, &names::TRACESTATE, state);
    }
    for baggage in from.get_all(&names::BAGGAGE) {
        sent.append(&names::BAGGAGE, baggage.clone());
    }
}

/// A header value from text that we made; text that cannot be one is left out.
pub(super) fn set(headers: &mut HeaderMap, name: impl IntoHeaderName, text: &str) {
    if let Ok(value) = HeaderValue::from_str(text) {
        headers.insert(name, value);
    }
}

/// Whether a header of a request ends here, beside those that are hop-by-hop.
fn is_for_us(name: &str) -> bool {
    match name {
        // the caller's credentials: exactly one of ours replaces them (FAULTS A16)
        "authorization" | "x-api-key" | "api-key" | "x-goog-api-key" | "xi-api-key" | "cookie"
        // read here; the trace context is written anew per attempt
        | "x-litellm-tags" | "cf-aig-metadata" | "traceparent" | "tracestate" | "baggage" | "b3" | "x-amzn-trace-id"
        // what frames the body is the client library's
        | "host" | "content-length" | "expect" => true,
        other => other.starts_with("x-tollgate-") || other.starts_with("helicone-"),
    }
}

/// Whether [`labels`] may read it.
fn may_be_label(name: &HeaderName) -> bool {
    let name = name.as_str();
    match name.as_bytes().first() {
        Some(b'x') => name.starts_with("x-tollgate-") || name == "x-litellm-tags",
        Some(b'h') => name.starts_with("helicone-"),
        Some(b'c') => name == "cf-aig-metadata",
        _ => false,
    }
}

/// A label longer than this is cut: it becomes a column, not a document.
const LONGEST_LABEL: usize = 256;
const MOST_TAGS: usize = 32;

fn is_hop_by_hop(name: &HeaderName) -> bool {
    matches!(
        name.as_str(),
        "connection"
            | "keep-alive"
            | "proxy-authenticate"
            | "proxy-authorization"
            | "proxy-connection"
            | "te"
            | "trailer"
            | "transfer-encoding"
            | "upgrade"
    )
}

/// Names listed in `Connection`. Framing and identity do not depend on them: the body is framed anew, and
/// the caller was identified before (FAULTS H8).
fn nominated(headers: &HeaderMap) -> Vec<String> {
    let values = headers.get_all(header::CONNECTION).iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).map(|name| name.trim().to_ascii_lowercase()).collect()
}

fn first_text(headers: &HeaderMap, names: &[&HeaderName]) -> String {
    let found = names.iter().find_map(|name| headers.get(*name));
    found.map(|value| bounded(&String::from_utf8_lossy(value.as_bytes()))).unwrap_or_default()
}

/// `a=1,b=2` and bare words (`x-litellm-tags: prod,search`), which become `word=true`.
fn read_tags(value: &HeaderValue, tags: &mut BTreeMap<String, String>) {
    for part in String::from_utf8_lossy(value.as_bytes()).split(',') {
        let (name, text) = part.split_once('=').unwrap_or((part, "true"));
        add_tag(tags, name, text);
    }
}

fn add_tag(tags: &mut BTreeMap<String, String>, name: &str, text: &str) {
    let name = bounded(name.trim());
    if !name.is_empty() && tags.len() < MOST_TAGS {
        tags.insert(name, bounded(text.trim()));
    }
}

/// As much of a text as a label has.
pub(super) fn cut(text: &str) -> &str {
    // most labels have no more bytes than that
    if text.len() <= LONGEST_LABEL {
        return text;
    }
    let end = text.char_indices().nth(LONGEST_LABEL).map_or(text.len(), |(end, _)| end);
    &text[..end]
}

/// As the ledger keeps it: what budgets count by must be the same name there.
pub(super) fn bounded(text: &str) -> String {
    let text = cut(text);
    if !text.as_bytes().contains(&0) {
        return text.to_owned();
    }
    text.chars().map(|c| if c == '\0' { '\u{fffd}' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(HeaderName::from_static(name), HeaderValue::from_static(value));
        }
        headers
    }

    #[test]
    fn no_credential_and_no_hop_by_hop_header_reaches_the_upstream() {
        let came = map(&[
            ("authorization", "Bearer caller"),
            ("x-api-key", "caller"),
            ("cookie", "a=b"),
            ("connection", "keep-alive, x-secret-hop"),
            ("x-secret-hop", "1"),
            ("te", "trailers"),
            ("x-tollgate-tags", "a=b"),
            ("x-stainless-lang", "python"),
            ("openai-beta", "v2"),
            ("trailer", "x-sum"),
        ]);
        let sent = to_upstream(&came, false);
        let names: Vec<_> = sent.keys().map(HeaderName::as_str).collect();
        assert_eq!(names, ["x-stainless-lang", "openai-beta"]);
        assert_eq!(to_upstream(&came, true).len(), 3, "a body that passes may have trailers");
    }

    #[test]
    fn answer_headers_keep_their_order_and_values() {
        let kept = |pairs: &[(&'static str, &'static str)], keeps_length| {
            let kept = to_client(map(pairs), keeps_length);
            kept.iter().map(|(n, v)| format!("{n}: {}", v.to_str().unwrap())).collect::<Vec<_>>()
        };
        let plain = [("b", "2"), ("content-length", "5"), ("a", "1"), ("b", "3")];
        assert_eq!(kept(&plain, true), ["b: 2", "b: 3", "content-length: 5", "a: 1"]);
        assert_eq!(kept(&plain, false), ["b: 2", "b: 3", "a: 1"]);
        let hops =
            [("b", "2"), ("connection", "close, C"), ("c", "9"), ("a", "1"), ("trailer", "d"), ("b", "3")];
        assert_eq!(kept(&hops, true), ["b: 2", "b: 3", "a: 1", "trailer: d"]);
        let twice = [("te", "1"), ("te", "2"), ("a", "1"), ("a", "2"), ("upgrade", "x")];
        assert_eq!(kept(&twice, true), ["a: 1", "a: 2"]);
    }

    #[test]
    fn labels_are_read_from_our_headers_and_from_those_people_already_send() {
        let labels = labels(&map(&[
            ("x-tollgate-tags", "feature=search, env=prod"),
            ("x-litellm-tags", "beta"),
            ("helicone-property-app", "web"),
            ("helicone-user-id", "u1"),
            ("cf-aig-metadata", r#"{"n":1,"s":"x"}"#),
        ]));
        let pairs: Vec<_> = labels.tags.iter().map(|(n, v)| format!("{n}={v}")).collect();
        assert_eq!(pairs, ["app=web", "beta=true", "env=prod", "feature=search", "n=1", "s=x"]);
        assert_eq!(labels.user, "u1");
    }
}
