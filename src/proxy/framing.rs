//! Heads that are refused before anything is read from them: methods that do not ask an upstream, and
//! framing or hosts that two readers could understand in two ways (FAULTS H2, H3, H11).

use std::cmp::Ordering;

use http::request::Parts;
use http::uri::Authority;
use http::{HeaderMap, Method, Version, header};

use super::error::Refusal;
use super::names;

/// Refuses what must not reach an upstream in any form.
pub(super) fn check(parts: &Parts) -> Result<(), Refusal> {
    check_method(parts)?;
    check_transfer_encoding(&parts.headers)?;
    check_labels(&parts.headers)?;
    check_host(parts)
}

/// Methods are case-sensitive: `post` is none of them.
const FORWARDED: [Method; 7] =
    [Method::GET, Method::HEAD, Method::POST, Method::PUT, Method::PATCH, Method::DELETE, Method::OPTIONS];

/// Longer than any name in the DNS.
const LONGEST_HOST: usize = 255;

/// `CONNECT` would make a tunnel, `TRACE` and `OPTIONS *` ask the next server about itself.
fn check_method(parts: &Parts) -> Result<(), Refusal> {
    let is_about_server = parts.method == Method::OPTIONS && parts.uri.path() == "*";
    if FORWARDED.contains(&parts.method) && !is_about_server {
        Ok(())
    } else {
        Err(Refusal::MethodNotAllowed)
    }
}

/// Exactly `chunked`, once. hyper has refused the rest of what smugglers send, or taken it out: of two
/// lengths that differ nothing arrives here, and of a length beside `chunked` only `chunked`.
fn check_transfer_encoding(headers: &HeaderMap) -> Result<(), Refusal> {
    let mut codings = headers.get_all(header::TRANSFER_ENCODING).iter();
    let first = codings.next();
    let is_plain = first.is_none_or(|coding| coding.as_bytes().eq_ignore_ascii_case(b"chunked"));
    if !is_plain || codings.next().is_some() {
        return Err(Refusal::AmbiguousFraming("`transfer-encoding` must be `chunked`, once"));
    }
    // servers that turn headers into variables read these as the real ones
    if headers.contains_key(&names::TRANSFER_ENCODING_OF_CGI)
        || headers.contains_key(&names::CONTENT_LENGTH_OF_CGI)
    {
        return Err(Refusal::AmbiguousFraming("a header looks like one that frames the body"));
    }
    Ok(())
}

/// What says how a body is to be read says it once: readers take the first, the last, or all.
fn check_labels(headers: &HeaderMap) -> Result<(), Refusal> {
    for name in [header::CONTENT_TYPE, header::CONTENT_ENCODING] {
        let mut values = headers.get_all(name).iter();
        let first = values.next();
        if values.any(|value| Some(value) != first) {
            return Err(Refusal::AmbiguousFraming("`content-type` or `content-encoding` stands in it twice"));
        }
    }
    Ok(())
}

fn check_host(parts: &Parts) -> Result<(), Refusal> {
    let mut hosts = parts.headers.get_all(header::HOST).iter();
    let (host, more) = (hosts.next(), hosts.next());
    if more.is_some() {
        return Err(Refusal::AmbiguousFraming("there is more than one `host`"));
    }
    let Some(host) = host else {
        let is_due = parts.version == Version::HTTP_11;
        return if is_due { Err(Refusal::AmbiguousFraming("`host` is missing")) } else { Ok(()) };
    };
    if !is_host(host.as_bytes()) {
        return Err(Refusal::AmbiguousFraming("`host` is no host"));
    }
    let differs = |asked: &Authority| !asked.as_str().as_bytes().eq_ignore_ascii_case(host.as_bytes());
    if parts.version == Version::HTTP_2 && parts.uri.authority().is_some_and(differs) {
        return Err(Refusal::AmbiguousFraming("`host` and `:authority` differ"));
    }
    Ok(())
}

/// A host with a port or none, and nothing else.
fn is_host(text: &[u8]) -> bool {
    text.len() <= LONGEST_HOST && (is_plain_host(text) || is_authority(text))
}

/// The usual case: letters, digits, dots and dashes, which can be read in one way only.
fn is_plain_host(text: &[u8]) -> bool {
    let mut parts = text.split(|byte| *byte == b':');
    let (name, port, more) = (parts.next().unwrap_or_default(), parts.next(), parts.next());
    let is_letter = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-');
    let is_in_range = |port: &[u8]| match port.len().cmp(&HIGHEST_PORT.len()) {
        Ordering::Less => true,
        Ordering::Equal => port <= HIGHEST_PORT,
        Ordering::Greater => false,
    };
    let is_port = |port: &[u8]| port.iter().all(u8::is_ascii_digit) && is_in_range(port);
    let is_named = !name.is_empty() && name.iter().all(is_letter);
    is_named && more.is_none() && port.is_none_or(is_port)
}

const HIGHEST_PORT: &[u8] = b"65535";

fn is_authority(text: &[u8]) -> bool {
    let Ok(authority) = Authority::try_from(text) else { return false };
    let is_whole = match authority.as_str().strip_prefix(authority.host()) {
        Some("") => true,
        // a port beyond 65535 is none
        Some(port) => port == ":" || authority.port_u16().is_some(),
        None => false,
    };
    is_whole && !authority.host().is_empty()
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;

    fn code(request: http::request::Builder) -> Option<&'static str> {
        check(&request.body(()).unwrap().into_parts().0).err().map(|refusal| refusal.face().code)
    }

    #[test]
    fn only_methods_that_ask_an_upstream_pass() {
        let of =
            |method: &str, uri: &str| code(Request::builder().method(method).uri(uri).header("host", "h"));
        for method in ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"] {
            assert_eq!(of(method, "/v1/models"), None, "{method}");
        }
        for method in ["TRACE", "CONNECT", "post", "PRI", "BREW"] {
            assert_eq!(of(method, "/v1/models"), Some("method_not_allowed"), "{method}");
        }
        assert_eq!(of("OPTIONS", "*"), Some("method_not_allowed"));
    }

    #[test]
    fn a_body_is_framed_in_one_way() {
        let with = |codings: &[&str]| {
            let request = Request::post("/").header("host", "h");
            code(codings.iter().fold(request, |request, coding| request.header("transfer-encoding", *coding)))
        };
        assert_eq!(with(&[]), None);
        assert_eq!(with(&["chunked"]), None);
        assert_eq!(with(&["Chunked"]), None);
        for codings in
            [&["gzip, chunked"][..], &["chunked", "chunked"], &["identity"], &["chunked, chunked"], &[""]]
        {
            assert_eq!(with(codings), Some("ambiguous_framing"), "{codings:?}");
        }
        for name in ["transfer_encoding", "content_length"] {
            let request = Request::post("/").header("host", "h").header(name, "1");
            assert_eq!(code(request), Some("ambiguous_framing"), "{name}");
        }
    }

    #[test]
    fn a_body_is_labelled_in_one_way() {
        for (name, one, other) in [("content-type", "a/b", "a/c"), ("content-encoding", "identity", "gzip")] {
            let with = |first, second| {
                code(Request::post("/").header("host", "h").header(name, first).header(name, second))
            };
            assert_eq!(with(one, one), None, "{name}");
            assert_eq!(with(one, other), Some("ambiguous_framing"), "{name}");
        }
    }

    #[test]
    fn a_request_names_one_host() {
        let with = |hosts: &[&str]| {
            code(hosts.iter().fold(Request::get("/"), |request, host| request.header("host", *host)))
        };
        for host in [
            "localhost",
            "localhost:4000",
            "localhost:",
            "127.0.0.1:4000",
            "[::1]:4000",
            "[::1]",
            "a_b",
            "a:65535",
        ] {
            assert_eq!(with(&[host]), None, "{host}");
        }
        let long = "a".repeat(256);
        for host in [
            "",
            "a/b",
            "a?b",
            "a#b",
            "a b",
            "u@a",
            "a:65536",
            "a:99999",
            "a:b",
            "a:1:2",
            ":80",
            long.as_str(),
        ] {
            assert_eq!(with(&[host]), Some("ambiguous_framing"), "{host}");
        }
        assert_eq!(with(&["a", "a"]), Some("ambiguous_framing"));
        assert_eq!(with(&[]), Some("ambiguous_framing"));
        assert_eq!(code(Request::get("/").version(Version::HTTP_10)), None);
        let h2 = |host| code(Request::get("http://a:80/").version(Version::HTTP_2).header("host", host));
        assert_eq!((h2("A:80"), h2("b:80")), (None, Some("ambiguous_framing")));
    }

    proptest::proptest! {
        #[test]
        fn what_is_plainly_a_host_is_one_to_a_full_parser(host in "[a-cA-C0-9.:-]{0,8}|[a-c.]{1,3}:[0-9]{0,7}") {
            let is_one = is_authority(host.as_bytes());
            proptest::prop_assert!(is_one || !is_plain_host(host.as_bytes()), "{host}");
        }
    }
}
