//! The knobs in a model name: `mock-out=200+pace=20ms`, `gpt-4o-mini@status=429+retry-after=7`.
//! Everything about one answer is chosen there, so that one request is one test (docs/MOCK.md).

use std::time::Duration;

use crate::base::units::{Size, Span, Written};

/// What a model name asks of the mock.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Knobs {
    /// The model that the answer names.
    pub(super) reported: String,
    /// Output tokens to emit per choice.
    pub(super) out: Option<u64>,
    /// Input tokens to report.
    pub(super) input: Option<u64>,
    /// Of the input: read from the prompt cache.
    pub(super) cached: u64,
    /// Of the input: written to the prompt cache.
    pub(super) cache_write: u64,
    /// Hidden reasoning tokens before the visible output.
    pub(super) reasoning: u64,
    /// Pause between stream events.
    pub(super) pace: Option<Duration>,
    /// Pause before the first body byte.
    pub(super) delay: Option<Duration>,
    /// After how many stream events to pause, and for how long.
    pub(super) stall: Option<(u64, Duration)>,
    /// Answer with an error status.
    pub(super) status: Option<Failure>,
    /// Seconds in `retry-after`.
    pub(super) retry_after: Option<u64>,
    /// Break the connection off in the middle of the body.
    pub(super) cut: Option<Cut>,
    /// How usage is spelt.
    pub(super) usage: UsageSpelling,
    /// After how many stream events an error event ends the stream.
    pub(super) error_frame: Option<u64>,
    /// Bytes of filling that the answer has besides what it says: zeros, or its second event again and again.
    pub(super) bytes: u64,
    /// Content coding of the answer, whatever the client accepts.
    pub(super) encoding: Option<Encoding>,
    /// CRLF line ends in streams.
    pub(super) crlf: bool,
    /// A comment before every stream event.
    pub(super) comments: bool,
    /// All events of a stream in one write.
    pub(super) burst: bool,
    /// Largest write, in bytes.
    pub(super) slice: Option<usize>,
    /// Service tier that the answer names.
    pub(super) tier: Option<String>,
    /// Answer 400 to `stream_options`.
    pub(super) no_stream_options: bool,
    /// Emit what `out` says, whatever the request caps.
    pub(super) ignore_cap: bool,
    /// Call a tool if there is one, whatever the message says.
    pub(super) tool: bool,
    /// The id of the answer, in place of one of its own; may be empty.
    pub(super) id: Option<String>,
    /// How many reads find background work unfinished.
    pub(super) later: Option<u64>,
}

/// An error status, for ever or for the first `times` identical requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Failure {
    pub(super) status: u16,
    pub(super) times: Option<u32>,
}

/// Where and how a connection breaks off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Cut {
    /// Body bytes sent before.
    pub(super) after: usize,
    /// With a TCP reset instead of an orderly close.
    pub(super) reset: bool,
}

/// How usage is spelt in the answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum UsageSpelling {
    /// As the real provider does.
    #[default]
    Faithful,
    /// Never mentioned, though asked for.
    Absent,
    /// `"usage":null` where numbers belong.
    Null,
    /// A negative output count.
    Negative,
    /// Output count at the top of 64 bits.
    Huge,
    /// Numbers in quotes.
    Text,
    /// Numbers with a fraction.
    Float,
    /// An output count beyond every integer: `1e308`.
    Exponent,
    /// No output count at all.
    Missing,
    /// A total of 1, whatever its parts are.
    WrongTotal,
    /// The right numbers, on two chunks at the end of a stream.
    Twice,
    /// Running usage on every chunk, asked for or not (vLLM's `--enable-force-include-usage`).
    EveryChunk,
    /// On the chunk with the finish reason, asked for or not (older llama.cpp).
    FinishChunk,
}

/// A content coding.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Encoding {
    Gzip,
    Deflate,
    Brotli,
    Zstd,
}

impl Encoding {
    /// The name in `content-encoding`.
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Gzip => "gzip",
            Self::Deflate => "deflate",
            Self::Brotli => "br",
            Self::Zstd => "zstd",
        }
    }
}

/// The model name is not one that the mock understands.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum KnobError {
    #[error("unknown knob `{0}` in the model name; docs/MOCK.md lists them")]
    Unknown(String),
    #[error("knob `{knob}` cannot be `{value}`; docs/MOCK.md lists the values")]
    Value { knob: String, value: String },
}

impl Knobs {
    /// Reads the knobs of a model name. A name without `mock-` or `@` has none.
    pub(super) fn of(model: &str) -> Result<Self, KnobError> {
        let (reported, parts) = match (model.strip_prefix("mock-"), model.split_once('@')) {
            (Some(parts), _) => (model, parts),
            (None, Some((reported, parts))) => (reported, parts),
            (None, None) => return Ok(Self { reported: model.to_owned(), ..Self::default() }),
        };
        let mut knobs = Self { reported: reported.to_owned(), ..Self::default() };
        for part in parts.split('+').filter(|part| !part.is_empty()) {
            let (knob, value) = part.split_once('=').unwrap_or((part, ""));
            knobs.turn(knob, value)?;
        }
        Ok(knobs)
    }

    /// Turns the knobs that the text of a request asks for: `[[mock:out=20+cut=500]]`, once, anywhere in the
    /// body. For gateways that know a few model names only.
    pub(super) fn heed(&mut self, body: &[u8]) -> Result<(), KnobError> {
        let Some(parts) = between(body, IN_TEXT, b"]]") else { return Ok(()) };
        for part in parts.split('+').filter(|part| !part.is_empty()) {
            let (knob, value) = part.split_once('=').unwrap_or((part, ""));
            self.turn(knob, value)?;
        }
        Ok(())
    }

    fn turn(&mut self, knob: &str, value: &str) -> Result<(), KnobError> {
        let fault = || KnobError::Value { knob: knob.to_owned(), value: value.to_owned() };
        let number = || value.parse::<u64>().map_err(|_| fault());
        let flag = || if value.is_empty() { Ok(true) } else { Err(fault()) };
        match knob {
            "out" => self.out = Some(number()?.min(MAX_OUT)),
            "in" => self.input = Some(number()?),
            "cached" => self.cached = number()?,
            "cache-write" => self.cache_write = number()?,
            "reasoning" => self.reasoning = number()?,
            "pace" => self.pace = Some(span(value).ok_or_else(fault)?),
            "delay" => self.delay = Some(span(value).ok_or_else(fault)?),
            "stall" => self.stall = Some(stall(value).ok_or_else(fault)?),
            "status" => self.status = Some(failure(value).ok_or_else(fault)?),
            "retry-after" => self.retry_after = Some(number()?),
            "cut" => self.cut = Some(Cut { after: size(value).ok_or_else(fault)?, reset: false }),
            "rst" => self.cut = Some(Cut { after: size(value).ok_or_else(fault)?, reset: true }),
            "usage" => self.usage = spelling(value).ok_or_else(fault)?,
            "no-usage" if flag()? => self.usage = UsageSpelling::Absent,
            "bytes" => self.bytes = Size::read(value).map_err(|_| fault())?.0,
            "error-frame" => self.error_frame = Some(number()?),
            "gzip" if flag()? => self.encoding = Some(Encoding::Gzip),
            "deflate" if flag()? => self.encoding = Some(Encoding::Deflate),
            "br" if flag()? => self.encoding = Some(Encoding::Brotli),
            "zstd" if flag()? => self.encoding = Some(Encoding::Zstd),
            "crlf" => self.crlf = flag()?,
            "comments" => self.comments = flag()?,
            "burst" => self.burst = flag()?,
            "slice" => self.slice = Some(size(value).filter(|n| *n > 0).ok_or_else(fault)?),
            "model" => value.clone_into(&mut self.reported),
            "tier" => self.tier = Some(value.to_owned()),
            "no-stream-options" => self.no_stream_options = flag()?,
            "ignore-cap" => self.ignore_cap = flag()?,
            "tool" => self.tool = flag()?,
            "later" => self.later = Some(number()?),
            "id" => self.id = Some(value.to_owned()),
            _ => return Err(KnobError::Unknown(knob.to_owned())),
        }
        Ok(())
    }
}

fn span(value: &str) -> Option<Duration> {
    Span::read(value).ok().map(|span| span.0)
}

fn size(value: &str) -> Option<usize> {
    value.parse().ok()
}

/// `20:30s`: after 20 events, for 30 seconds.
fn stall(value: &str) -> Option<(u64, Duration)> {
    let (after, pause) = value.split_once(':')?;
    Some((after.parse().ok()?, span(pause)?))
}

/// `500` or `500:2`.
fn failure(value: &str) -> Option<Failure> {
    let (status, times) = match value.split_once(':') {
        Some((status, times)) => (status, Some(times.parse().ok()?)),
        None => (value, None),
    };
    let status = status.parse().ok().filter(|status| (200..=599).contains(status))?;
    Some(Failure { status, times })
}

fn spelling(value: &str) -> Option<UsageSpelling> {
    Some(match value {
        "absent" => UsageSpelling::Absent,
        "null" => UsageSpelling::Null,
        "negative" => UsageSpelling::Negative,
        "huge" => UsageSpelling::Huge,
        "string" => UsageSpelling::Text,
        "float" => UsageSpelling::Float,
        "exponent" => UsageSpelling::Exponent,
        "missing" => UsageSpelling::Missing,
        "wrong-total" => UsageSpelling::WrongTotal,
        "twice" => UsageSpelling::Twice,
        "every-chunk" => UsageSpelling::EveryChunk,
        "finish-chunk" => UsageSpelling::FinishChunk,
        _ => return None,
    })
}

/// What stands in `body` between `open` and `close`, if it is short text.
pub(super) fn between<'b>(body: &'b [u8], open: &[u8], close: &[u8]) -> Option<&'b str> {
    let start = memchr::memmem::find(body, open)? + open.len();
    let rest = &body[start..body.len().min(start + MAX_IN_TEXT)];
    std::str::from_utf8(&rest[..memchr::memmem::find(rest, close)?]).ok()
}

const IN_TEXT: &[u8] = b"[[mock:";

/// More knobs than there are.
const MAX_IN_TEXT: usize = 512;

/// Bounds the memory of one answer at about 30 MB of stream events.
const MAX_OUT: u64 = 100_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plain_name_has_no_knobs() {
        let knobs = Knobs::of("gpt-4o-mini").unwrap();
        assert_eq!(knobs, Knobs { reported: "gpt-4o-mini".into(), ..Knobs::default() });
    }

    #[test]
    fn knobs_combine_in_both_spellings() {
        let billed = Knobs::of("gpt-4o@out=200+pace=5ms+status=500:2+rst=9").unwrap();
        assert_eq!((billed.reported.as_str(), billed.out), ("gpt-4o", Some(200)));
        assert_eq!(billed.pace, Some(Duration::from_millis(5)));
        assert_eq!(billed.status, Some(Failure { status: 500, times: Some(2) }));
        assert_eq!(billed.cut, Some(Cut { after: 9, reset: true }));
        let own = Knobs::of("mock-stall=20:30s+usage=huge+gzip+model=o3").unwrap();
        assert_eq!((own.reported.as_str(), own.stall), ("o3", Some((20, Duration::from_secs(30)))));
        assert_eq!((own.usage, own.encoding), (UsageSpelling::Huge, Some(Encoding::Gzip)));
    }

    #[test]
    fn knobs_in_the_text_are_heeded_on_top_of_the_names() {
        let mut knobs = Knobs::of("gpt-4o@out=5").unwrap();
        knobs.heed(br#"{"content":"hello [[mock:cut=9+usage=twice]] you"}"#).unwrap();
        assert_eq!((knobs.reported.as_str(), knobs.out), ("gpt-4o", Some(5)));
        assert_eq!((knobs.cut.unwrap().after, knobs.usage), (9, UsageSpelling::Twice));
        assert!(knobs.heed(b"[[mock:nonsense]]").is_err());
        assert_eq!(knobs.heed(b"[[mock:cut=1"), Ok(()));
    }

    #[test]
    fn a_misspelt_knob_is_named() {
        assert_eq!(Knobs::of("mock-outt=2"), Err(KnobError::Unknown("outt".into())));
        let fault = Knobs::of("gpt-4o@pace=fast").unwrap_err().to_string();
        assert!(fault.contains("pace") && fault.contains("fast"));
    }
}
