//! Finds the one key that a request presents, wherever its client puts it.

use http::HeaderMap;
use http::header::{AUTHORIZATION, HeaderName, HeaderValue, SEC_WEBSOCKET_PROTOCOL};

/// The key in `Authorization: Bearer`, `x-api-key`, `api-key` or among the subprotocols of a WebSocket. Some clients send the same key in two
/// of them; two different keys are refused, because we and the upstream might believe different ones.
///
/// # Errors
/// When there is none, when there are two, or when it cannot be a key.
pub fn presented_key(headers: &HeaderMap) -> Result<&str, NoKey> {
    let mut found: Option<&str> = None;
    let bearers = headers.get_all(AUTHORIZATION).iter().map(bearer);
    let plain = [&X_API_KEY, &API_KEY].into_iter().flat_map(|name| headers.get_all(name).iter().map(text));
    let protocols = headers.get_all(SEC_WEBSOCKET_PROTOCOL).iter();
    let in_protocols = protocols.filter_map(key_of_protocols).map(checked);
    for key in bearers.chain(plain).chain(in_protocols) {
        let key = key?;
        if key.is_empty() {
            continue;
        }
        match found {
            Some(other) if other != key => return Err(NoKey::Several),
            _ => found = Some(key),
        }
    }
    found.ok_or(NoKey::Missing)
}

/// What stands before the key in a list of WebSocket subprotocols.
pub const PROTOCOL_KEY: &str = "openai-insecure-api-key.";

/// The key among the subprotocols that a client offers: browsers cannot set any other header of a WebSocket. Of
/// several, the first; the others are not forwarded either.
#[must_use]
pub fn key_of_protocols(offered: &HeaderValue) -> Option<&str> {
    let names = offered.to_str().ok()?.split(',').map(str::trim);
    names.filter_map(|name| name.strip_prefix(PROTOCOL_KEY)).next()
}

/// Why a request presents no key. The caller's fault; 401, and 400 for two.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NoKey {
    /// Nothing there, or nothing after `Bearer`.
    #[error("no API key: send `Authorization: Bearer KEY`, `x-api-key: KEY` or `api-key: KEY`")]
    Missing,
    /// Two different ones.
    #[error("two different API keys in one request: send one")]
    Several,
    /// Not a key: another scheme than Bearer, spaces, control or non-ASCII characters, or over 512 bytes.
    #[error(
        "the API key is malformed: send `Authorization: Bearer KEY` with at most 512 visible ASCII characters"
    )]
    Malformed,
}

fn bearer(value: &HeaderValue) -> Result<&str, NoKey> {
    let text = value.to_str().map_err(|_| NoKey::Malformed)?.trim();
    let (scheme, key) = text.split_once(' ').unwrap_or((text, ""));
    if !scheme.eq_ignore_ascii_case("bearer") && !text.is_empty() {
        return Err(NoKey::Malformed);
    }
    checked(key.trim())
}

fn text(value: &HeaderValue) -> Result<&str, NoKey> {
    checked(value.to_str().map_err(|_| NoKey::Malformed)?.trim())
}

fn checked(key: &str) -> Result<&str, NoKey> {
    let fits = key.len() <= MAX_KEY && key.bytes().all(|b| b.is_ascii_graphic());
    if fits { Ok(key) } else { Err(NoKey::Malformed) }
}

static X_API_KEY: HeaderName = HeaderName::from_static("x-api-key");
static API_KEY: HeaderName = HeaderName::from_static("api-key");
/// Longer than the keys of any provider; hashing more would be work for an attacker to give us.
const MAX_KEY: usize = 512;

#[cfg(test)]
mod tests {
    use super::*;

    fn key_of(headers: &[(&'static str, &str)]) -> Result<String, NoKey> {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(*name, HeaderValue::from_bytes(value.as_bytes()).unwrap());
        }
        presented_key(&map).map(Into::into)
    }

    #[test]
    fn a_key_is_found_where_clients_put_it() {
        for headers in [
            &[("authorization", "Bearer k")][..],
            &[("authorization", "bearer k")],
            &[("authorization", "BEARER   k ")],
            &[("x-api-key", "k")],
            &[("api-key", " k")],
            &[("authorization", "Bearer k"), ("x-api-key", "k")],
            &[("authorization", "Bearer k"), ("authorization", "Bearer k")],
            &[("authorization", "Bearer"), ("x-api-key", "k")],
            &[("authorization", ""), ("x-api-key", "k")],
            &[("sec-websocket-protocol", "realtime, openai-insecure-api-key.k, openai-beta.realtime-v1")],
        ] {
            assert_eq!(key_of(headers), Ok("k".into()), "{headers:?}");
        }
    }

    #[test]
    fn what_is_not_one_key_is_refused() {
        let long = "k".repeat(513);
        for (headers, fault) in [
            (&[][..], NoKey::Missing),
            (&[("authorization", "Bearer ")], NoKey::Missing),
            (&[("x-api-key", "")], NoKey::Missing),
            (&[("authorization", "Bearer a"), ("x-api-key", "b")], NoKey::Several),
            (&[("authorization", "Bearer a"), ("authorization", "Bearer b")], NoKey::Several),
            (&[("x-api-key", "a"), ("api-key", "b")], NoKey::Several),
            (&[("x-api-key", "a"), ("sec-websocket-protocol", "openai-insecure-api-key.b")], NoKey::Several),
            (&[("authorization", "Basic dTpw")], NoKey::Malformed),
            (&[("authorization", "k")], NoKey::Malformed),
            (&[("authorization", "Bearer a b")], NoKey::Malformed),
            (&[("authorization", "Bearer a,Bearer b")], NoKey::Malformed),
            (&[("x-api-key", "a\tb")], NoKey::Malformed),
            (&[("x-api-key", "schlüssel")], NoKey::Malformed),
            (&[("x-api-key", &long)], NoKey::Malformed),
        ] {
            assert_eq!(key_of(headers), Err(fault), "{headers:?}");
        }
    }
}
