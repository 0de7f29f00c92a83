//! W3C Trace Context, level 2: reading what a caller sent, writing what an upstream gets.
//!
//! Our own forty lines, because the SDK's propagator masks the random flag and sends an empty
//! `tracestate`. Source: <https://www.w3.org/TR/trace-context-2/>.

use crate::base::chance::Chance;
use crate::base::digits::Hex;

/// The trace that a request belongs to: the caller's, or one of our own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TraceContext {
    /// Id of the trace; never 0.
    pub trace_id: u128,
    /// The caller's span; `None` when the trace begins here.
    pub parent_span_id: Option<u64>,
    /// Whether the caller records the trace; meaningless when the trace begins here.
    pub sampled: bool,
    /// Whether the trace id's low 56 bits are random, as its maker says. Must be passed on.
    pub random: bool,
    /// The vendors' list, bounded; `None` when there is none or it is broken.
    pub tracestate: Option<String>,
}

impl TraceContext {
    /// A new trace.
    #[must_use]
    pub fn start(chance: &Chance) -> Self {
        let trace_id = chance.next_u128().max(1);
        Self { trace_id, parent_span_id: None, sampled: false, random: true, tracestate: None }
    }

    /// The caller's trace, from every value of `traceparent` and of `tracestate`; `None` when there is
    /// no valid one. A broken `tracestate` is dropped alone; one without `traceparent` means nothing.
    #[must_use]
    pub fn parse<'a>(
        traceparents: impl IntoIterator<Item = &'a [u8]>,
        tracestates: impl IntoIterator<Item = &'a [u8]>,
    ) -> Option<Self> {
        let mut traceparents = traceparents.into_iter();
        let only = traceparents.next()?;
        if traceparents.next().is_some() {
            return None;
        }
        let (trace_id, span_id, flags) = parse_traceparent(only)?;
        Some(Self {
            trace_id,
            parent_span_id: Some(span_id),
            sampled: flags & SAMPLED != 0,
            random: flags & RANDOM != 0,
            tracestate: join_tracestate(tracestates),
        })
    }

    /// Whether the trace was begun by the caller.
    #[must_use]
    pub const fn is_remote(&self) -> bool {
        self.parent_span_id.is_some()
    }

    /// The `traceparent` of a request that `span_id` sends: the span of the upstream attempt.
    #[must_use]
    pub fn traceparent(&self, span_id: u64, sampled: bool) -> String {
        let mut text = String::with_capacity(HEAD);
        text.push_str("00-");
        text.push_str(Hex::of(self.trace_id).as_str());
        text.push('-');
        text.push_str(Hex::of(span_id.into()).last(16));
        text.push('-');
        text.push_str(match (self.random, sampled) {
            (false, false) => "00",
            (false, true) => "01",
            (true, false) => "02",
            (true, true) => "03",
        });
        text
    }

    /// The trace id as 32 hex digits, as logs and the ledger have it.
    #[must_use]
    pub fn trace_id_hex(&self) -> String {
        Hex::of(self.trace_id).as_str().to_owned()
    }
}

/// An id for a new span; never 0.
#[must_use]
pub fn new_span_id(chance: &Chance) -> u64 {
    chance.next_u64().max(1)
}

/// Trace id, parent id and flags of one header value. Versions above 00 may have more after a dash.
fn parse_traceparent(value: &[u8]) -> Option<(u128, u64, u8)> {
    let text = std::str::from_utf8(value).ok()?.trim_matches([' ', '\t']);
    let (head, rest) = text.split_at_checked(HEAD)?;
    let mut parts = head.split('-');
    let version = hex(parts.next()?, 2)?;
    let trace_id = hex(parts.next()?, 32)?;
    let span_id = u64::try_from(hex(parts.next()?, 16)?).ok()?;
    let flags = u8::try_from(hex(parts.next()?, 2)?).ok()?;
    let length_fits = match version {
        0 => rest.is_empty(),
        0xff => false,
        _ => rest.is_empty() || rest.starts_with('-'),
    };
    (length_fits && parts.next().is_none() && trace_id != 0 && span_id != 0)
        .then_some((trace_id, span_id, flags))
}

/// A number of exactly `digits` lower-case hex digits.
fn hex(text: &str, digits: usize) -> Option<u128> {
    let lower = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
    let well_formed = text.len() == digits && text.bytes().all(lower);
    if well_formed { u128::from_str_radix(text, 16).ok() } else { None }
}

/// All values as one list in their order, whole members from the left while they fit.
fn join_tracestate<'a>(values: impl IntoIterator<Item = &'a [u8]>) -> Option<String> {
    let mut joined = String::new();
    let mut members = 0;
    for value in values {
        for member in std::str::from_utf8(value).ok()?.split(',') {
            let member = member.trim_matches([' ', '\t']);
            if member.is_empty() {
                continue;
            }
            let printable = member.bytes().all(|b| (0x20..=0x7e).contains(&b));
            let pair =
                member.split_once('=').is_some_and(|(key, value)| !key.is_empty() && !value.is_empty());
            if !printable || !pair {
                return None;
            }
            if members == MAX_MEMBERS || joined.len() + 1 + member.len() > MAX_TRACESTATE {
                return Some(joined).filter(|kept| !kept.is_empty());
            }
            if members > 0 {
                joined.push(',');
            }
            joined.push_str(member);
            members += 1;
        }
    }
    Some(joined).filter(|kept| !kept.is_empty())
}

const SAMPLED: u8 = 0x01;
const RANDOM: u8 = 0x02;
/// `00-` 32 `-` 16 `-` 2
const HEAD: usize = 55;
/// The standard's bound on members.
const MAX_MEMBERS: usize = 32;
/// The standard asks for 512 at least.
const MAX_TRACESTATE: usize = 1024;

#[cfg(test)]
mod tests {
    use super::*;

    const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
    const SPAN: &str = "b7ad6b7169203331";

    fn parse(traceparent: &str) -> Option<TraceContext> {
        TraceContext::parse([traceparent.as_bytes()], [])
    }

    #[test]
    fn a_valid_header_continues_the_callers_trace() {
        let trace = parse(&format!("00-{TRACE}-{SPAN}-03")).unwrap();
        assert_eq!(trace.trace_id_hex(), TRACE);
        assert_eq!(trace.parent_span_id, Some(0xb7ad_6b71_6920_3331));
        assert!(trace.sampled && trace.random && trace.is_remote());
        assert_eq!(trace.traceparent(0xabc, true), format!("00-{TRACE}-0000000000000abc-03"));
        assert_eq!(trace.traceparent(0xabc, false), format!("00-{TRACE}-0000000000000abc-02"));
    }

    #[test]
    fn unknown_flags_are_not_passed_on_and_the_random_flag_is() {
        let trace = parse(&format!("00-{TRACE}-{SPAN}-fd")).unwrap();
        assert!(trace.sampled && !trace.random);
        assert!(trace.traceparent(1, true).ends_with("-01"));
    }

    #[test]
    fn a_broken_header_starts_a_new_trace() {
        let zeros = "0".repeat(32);
        for broken in [
            String::new(),
            "garbage".into(),
            format!("ff-{TRACE}-{SPAN}-01"),
            format!("00-{zeros}-{SPAN}-01"),
            format!("00-{TRACE}-{}-01", "0".repeat(16)),
            format!("00-{}-{SPAN}-01", TRACE.to_uppercase()),
            format!("00-{TRACE}-{SPAN}-1"),
            format!("00-{TRACE}-{SPAN}-01-extra"),
            format!("00-{TRACE}-{SPAN}-zz"),
            format!("01-{TRACE}-{SPAN}-01extra"),
            format!("00_{TRACE}_{SPAN}_01"),
            format!("0é-{TRACE}-{SPAN}-01"),
            format!("00-{TRACE}-{SPAN}-+1"),
        ] {
            assert_eq!(parse(&broken), None, "{broken}");
        }
        assert_eq!(TraceContext::parse([&b"\xff\xfe"[..]], []), None);
    }

    #[test]
    fn a_later_version_is_read_as_far_as_we_know_it() {
        for later in [format!("cc-{TRACE}-{SPAN}-01"), format!("01-{TRACE}-{SPAN}-01-what-comes-next")] {
            assert_eq!(parse(&later).unwrap().trace_id_hex(), TRACE);
        }
    }

    #[test]
    fn two_traceparents_are_none() {
        let header = format!("00-{TRACE}-{SPAN}-01");
        assert_eq!(TraceContext::parse([header.as_bytes(), header.as_bytes()], []), None);
    }

    #[test]
    fn tracestate_is_joined_bounded_and_never_costs_the_trace() {
        let header = format!("00-{TRACE}-{SPAN}-01");
        let state = |values: &[&str]| {
            let values: Vec<&[u8]> = values.iter().map(|v| v.as_bytes()).collect();
            TraceContext::parse([header.as_bytes()], values).unwrap().tracestate
        };
        assert_eq!(state(&["a=1, b=2", "c=3"]).as_deref(), Some("a=1,b=2,c=3"));
        assert_eq!(state(&["", " , "]), None);
        assert_eq!(state(&["a=1,broken"]), None);
        let many: Vec<String> = (0..100).map(|n| format!("k{n}=v")).collect();
        assert_eq!(state(&[&many.join(",")]).unwrap().split(',').count(), 32);
        assert!(state(&[&format!("a=1,b={}", "x".repeat(5000))]).unwrap().len() <= 1024);
    }

    #[test]
    fn a_new_trace_is_random_and_ours() {
        let trace = TraceContext::start(&Chance::seeded(5));
        assert!(trace.random && !trace.is_remote() && trace.trace_id != 0);
        assert_eq!(
            TraceContext::parse([trace.traceparent(7, true).as_bytes()], []).unwrap().trace_id,
            trace.trace_id
        );
    }

    proptest::proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(0_u8..=255, 0..80)) {
            let trace = TraceContext::parse([&bytes[..]], [&bytes[..]]);
            proptest::prop_assert!(trace.is_none_or(|trace| trace.trace_id != 0));
        }

        #[test]
        fn what_is_written_reads_back(id in 1_u128.., span in 1_u64.., sampled: bool, random: bool) {
            let ours = TraceContext { trace_id: id, parent_span_id: Some(span), sampled, random, tracestate: None };
            let written = ours.traceparent(span, sampled);
            proptest::prop_assert_eq!(TraceContext::parse([written.as_bytes()], []), Some(ours));
        }
    }
}
