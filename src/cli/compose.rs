//! Requests that a command sends by itself, to an upstream or to a gateway: as the gateway composes them.

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Method, Request, header};

use crate::base::secret::Secret;
use crate::dialect::path::classify;
use crate::upstream::address;
use crate::upstream::body::OutBody;
use crate::upstream::client::SendFault;
use crate::upstream::endpoint::{Upstream, UpstreamFault};
use crate::upstream::section::{UpstreamKind, UpstreamSection};

/// What a client would say.
#[derive(Debug)]
pub(super) struct Said<'a> {
    pub(super) method: Method,
    pub(super) path: &'a str,
    /// The model that the body names; empty if it names none.
    pub(super) model: &'a str,
    /// JSON, if there is one.
    pub(super) body: Option<Bytes>,
    /// The encodings that the client says it can read.
    pub(super) accepts: &'static str,
    pub(super) user_agent: &'static str,
}

/// What the client says, then what belongs to the upstream.
pub(super) fn compose(upstream: &Upstream, said: Said<'_>) -> Result<Request<OutBody>, SendFault> {
    let endpoint = classify(&said.method, said.path);
    let uri = address::resolve(upstream, &endpoint, said.path, None, said.model)
        .map_err(|_| SendFault::Unaddressable)?;
    let has_body = said.body.is_some();
    let mut request = Request::new(OutBody::whole(said.body.unwrap_or_default()));
    *request.method_mut() = said.method;
    *request.uri_mut() = uri;
    let headers = request.headers_mut();
    if has_body {
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    }
    headers.insert(header::ACCEPT, HeaderValue::from_static("*/*"));
    headers.insert(header::ACCEPT_ENCODING, HeaderValue::from_static(said.accepts));
    headers.insert(header::USER_AGENT, HeaderValue::from_static(said.user_agent));
    if upstream.kind == UpstreamKind::Anthropic {
        let version = HeaderName::from_static("anthropic-version");
        headers.insert(version, HeaderValue::from_static("2023-06-01"));
    }
    for (name, value) in &upstream.headers {
        headers.insert(name.clone(), value.clone());
    }
    if let Some((name, value)) = &upstream.credential {
        headers.insert(name.clone(), value.clone());
    }
    Ok(request)
}

/// A gateway in front of an upstream of `kind`, set up as that upstream's clients would be.
///
/// # Errors
/// When `url` is none that can be asked.
pub(super) fn gateway_at(url: &str, key: Secret, kind: UpstreamKind) -> Result<Upstream, UpstreamFault> {
    let kind = if kind == UpstreamKind::Anthropic { "anthropic" } else { "openai" };
    let section = serde_json::json!({"base_url": url, "kind": kind});
    let mut section: UpstreamSection =
        serde_json::from_value(section).expect("a section needs its base URL only");
    section.api_key = Some(key);
    Upstream::build("the gateway", &section)
}
