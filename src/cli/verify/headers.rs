//! Which headers of two answers must be the same, and how: name, order, value. Pure.

use http::{HeaderMap, HeaderName, HeaderValue, header};

use super::compare::{Difference, Part};
use super::way::Answer;

/// What is asked of a header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Rule {
    /// It belongs to one connection, or to the gateway.
    Ignored,
    /// It must be there; its value is of one request.
    Present,
    /// It must be the same.
    Equal,
}

/// Adds what differs in the headers.
pub(super) fn compare(directly: &Answer, other: &Answer, is_exact: bool, found: &mut Vec<Difference>) {
    let (one, two) = (kept(&directly.headers), kept(&other.headers));
    let mut note = |name: &HeaderName, text: String| {
        found.push(Difference::new(Part::Headers, name.as_str(), text));
    };
    for name in one.iter().filter(|name| !two.contains(name)) {
        note(name, format!("`{name}` is gone"));
    }
    let is_stream = directly.is_stream();
    for name in two.iter().filter(|name| !one.contains(name)) {
        // who has all of an answer may say how long it is; of a stream nobody should have all
        if name == header::CONTENT_LENGTH && !is_stream {
            continue;
        }
        note(name, format!("`{name}` is new"));
    }
    for name in one.iter().filter(|name| two.contains(name)) {
        if rule(name, is_exact) == Rule::Equal {
            let (left, right) = (values(&directly.headers, name), values(&other.headers, name));
            if left != right {
                note(name, format!("`{name}` is `{}`, directly `{}`", right.join("`, `"), left.join("`, `")));
            }
        }
    }
    let left = one.iter().filter(|name| two.contains(name));
    let right = two.iter().filter(|name| one.contains(name));
    if let Some((was, is)) = left.zip(right).find(|(left, right)| left != right) {
        found.push(Difference::new(Part::Headers, "order", format!("`{is}` stands where `{was}` stood")));
    }
}

/// The names that count, in order, each once.
fn kept(headers: &HeaderMap) -> Vec<HeaderName> {
    let is_foreign =
        |name: &HeaderName| headers.get_all(name).iter().any(|value| !is_our_timing(name, value));
    headers.keys().filter(|name| rule(name, false) != Rule::Ignored && is_foreign(name)).cloned().collect()
}

/// Ours stands beside an upstream's own.
fn is_our_timing(name: &HeaderName, value: &HeaderValue) -> bool {
    name == "server-timing" && value.as_bytes().starts_with(b"tollgate;")
}

fn values(headers: &HeaderMap, name: &HeaderName) -> Vec<String> {
    headers.get_all(name).iter().map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned()).collect()
}

fn rule(name: &HeaderName, is_exact: bool) -> Rule {
    let name = name.as_str();
    if IGNORED.contains(&name) || name.starts_with("x-tollgate-") {
        return Rule::Ignored;
    }
    let is_volatile =
        OF_ONE_REQUEST.contains(&name) || OF_ONE_REQUEST_IN.iter().any(|part| name.contains(part));
    // words have lengths
    let is_length = name == "content-length" && !is_exact;
    if is_volatile || is_length { Rule::Present } else { Rule::Equal }
}

/// Hop by hop, and our own.
const IGNORED: &[&str] = &[
    "connection",
    "keep-alive",
    "proxy-authenticate",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    // which versions of HTTP a host speaks, and where else
    "alt-svc",
];
const OF_ONE_REQUEST: &[&str] = &[
    "date",
    "set-cookie",
    "cf-ray",
    "age",
    "etag",
    "retry-after",
    "x-envoy-upstream-service-time",
    "via",
    "server-timing",
];
const OF_ONE_REQUEST_IN: &[&str] =
    &["request-id", "requestid", "ratelimit", "processing-ms", "trace", "correlation"];

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(pairs: &[(&'static str, &'static str)]) -> Answer {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(HeaderName::from_static(name), HeaderValue::from_static(value));
        }
        Answer { status: 200, headers, body: String::new(), is_whole: true, asked_at: 0 }
    }

    fn differences(
        one: &[(&'static str, &'static str)],
        two: &[(&'static str, &'static str)],
    ) -> Vec<String> {
        let mut found = Vec::new();
        compare(&answer(one), &answer(two), false, &mut found);
        found.into_iter().map(|difference| difference.text).collect()
    }

    #[test]
    fn what_is_of_one_request_need_only_be_there() {
        let one = [("x-request-id", "1"), ("date", "a"), ("x-ratelimit-remaining-tokens", "9"), ("a", "1")];
        let two = [("x-request-id", "2"), ("date", "b"), ("x-ratelimit-remaining-tokens", "8"), ("a", "1")];
        assert!(differences(&one, &two).is_empty());
        assert_eq!(
            differences(&one[1..], &two[1..2]),
            ["`x-ratelimit-remaining-tokens` is gone", "`a` is gone"]
        );
    }

    #[test]
    fn values_order_and_new_headers_are_told() {
        let one = [("b", "2"), ("a", "1"), ("a", "3")];
        assert_eq!(differences(&one, &[("b", "2"), ("a", "1")]), ["`a` is `1`, directly `1`, `3`"]);
        assert_eq!(differences(&one, &[("a", "1"), ("a", "3"), ("b", "2")]), ["`a` stands where `b` stood"]);
        assert_eq!(differences(&one[..1], &[("b", "2"), ("x-own", "1")]), ["`x-own` is new"]);
    }

    #[test]
    fn a_length_may_be_added_but_not_to_a_stream() {
        let json = [("content-type", "application/json"), ("content-length", "2")];
        assert!(differences(&json[..1], &json).is_empty());
        let stream = [("content-type", "text/event-stream"), ("content-length", "2")];
        assert_eq!(differences(&stream[..1], &stream), ["`content-length` is new"]);
    }

    #[test]
    fn our_own_and_the_connections_headers_do_not_count() {
        let ours = ("server-timing", "tollgate;dur=0.4");
        let added = [("x-tollgate-attempts", "1"), ours, ("connection", "close")];
        assert!(differences(&[], &added).is_empty());
        let upstreams = [("server-timing", "edge;dur=9")];
        assert!(differences(&upstreams, &[("server-timing", "edge;dur=8"), ours]).is_empty());
        assert_eq!(differences(&upstreams, &[ours]), ["`server-timing` is gone"]);
    }
}
