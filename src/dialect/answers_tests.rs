//! For tests: answers as an upstream may send them, made up by chance. Of each it is known what the client is
//! to get if the gateway asked for usage and the client did not.
//!
//! It stands alone, so that tests of the whole gateway can take it in by its path.

use std::io::Write;

/// A generator of chances that tells the same story for the same seed (`SplitMix64`).
#[derive(Debug, Clone)]
pub struct Dice(pub u64);

impl Dice {
    /// A number below `bound`, which is not 0.
    pub fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        usize::try_from((mixed ^ (mixed >> 31)) % bound as u64).expect("it is below a usize")
    }

    /// Once in so many times.
    pub fn one_in(&mut self, times: usize) -> bool {
        self.below(times) == 0
    }

    /// One of these.
    pub fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len())]
    }
}

/// What an upstream sends.
#[derive(Debug, Clone)]
pub struct Answer {
    /// The path that is asked.
    pub path: &'static str,
    /// The status.
    pub status: u16,
    /// The content type.
    pub content_type: &'static str,
    /// The content encoding.
    pub encoding: Option<&'static str>,
    /// The body, in the parts in which it is written.
    pub parts: Vec<Part>,
    /// Whether the upstream breaks off at the end.
    pub breaks_off: bool,
}

/// An event, a comment between events, or a piece of a body.
#[derive(Clone, PartialEq, Eq)]
pub struct Part {
    /// What an upstream sends that was asked for usage.
    pub asked: Vec<u8>,
    /// The same if it was not asked.
    pub unasked: Vec<u8>,
    /// Whether it is plain that nothing more belongs to it.
    pub is_whole: bool,
}

impl std::fmt::Debug for Part {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (asked, unasked) = (String::from_utf8_lossy(&self.asked), String::from_utf8_lossy(&self.unasked));
        if asked == unasked { write!(f, "{asked:?}") } else { write!(f, "{asked:?} for {unasked:?}") }
    }
}

impl Part {
    fn same(bytes: impl Into<Vec<u8>>) -> Self {
        let bytes = bytes.into();
        Self { asked: bytes.clone(), unasked: bytes, is_whole: true }
    }
}

impl Answer {
    /// Whether usage can be asked for and what was caused by that be taken out again.
    #[must_use]
    pub fn can_be_asked(&self) -> bool {
        self.is_stream() && self.encoding.is_none() && self.path.ends_with("completions")
    }

    /// Whether it is a stream of events.
    #[must_use]
    pub fn is_stream(&self) -> bool {
        self.content_type.starts_with("text/event-stream")
    }

    /// A recorded stream, event by event; what it holds stays.
    #[must_use]
    pub fn recorded(path: &'static str, text: &str) -> Self {
        let parts = text.split_inclusive("\n\n").map(Part::same).collect();
        let content_type = "text/event-stream";
        Self { path, status: 200, content_type, encoding: None, parts, breaks_off: false }
    }

    /// Any answer.
    #[must_use]
    pub fn any(dice: &mut Dice) -> Self {
        let mut answer = match dice.below(12) {
            0..=4 => chat(dice),
            5 => named(dice, "/v1/messages", &MESSAGES),
            6 => named(dice, "/v1/responses", &RESPONSES),
            7 => named(dice, dice.clone().pick(&["/v1/images/generations", "/v1/images/edits"]), &IMAGES),
            8 => named(dice, dice.clone().pick(&["/v1/audio/transcriptions", "/v1/audio/speech"]), &AUDIO),
            _ => body(dice),
        };
        answer.breaks_off = dice.one_in(20);
        if dice.one_in(6) {
            answer.encode(dice.pick(&["gzip", "deflate", "br", "zstd"]));
        }
        answer
    }

    /// Encodes the answer with a flush behind each part; nothing can be taken out of it any more.
    fn encode(&mut self, encoding: &'static str) {
        let plain: Vec<&[u8]> = self.parts.iter().map(|part| &part.asked[..]).collect();
        self.parts = flushed(encoding, &plain).into_iter().map(Part::same).collect();
        self.encoding = Some(encoding);
    }
}

/// How an upstream prints.
#[derive(Debug, Clone, Copy)]
struct Style {
    line_end: &'static str,
    data: &'static str,
    comma: &'static str,
    colon: &'static str,
    braces: (&'static str, &'static str),
}

impl Style {
    fn any(dice: &mut Dice) -> Self {
        let (comma, colon) = dice.pick(&[(",", ":"), (", ", ": "), (",\n", ": "), (", ", " :\t")]);
        Self {
            line_end: dice.pick(&["\n", "\n", "\r\n", "\r"]),
            data: dice.pick(&["data: ", "data: ", "data:"]),
            comma,
            colon,
            braces: dice.pick(&[("{", "}"), ("{", "}"), ("{ ", " }")]),
        }
    }

    fn object(self, members: &[(&str, String)]) -> String {
        let member = |(key, value): &(&str, String)| format!("\"{key}\"{}{value}", self.colon);
        let members: Vec<String> = members.iter().map(member).collect();
        format!("{}{}{}", self.braces.0, members.join(self.comma), self.braces.1)
    }

    fn event(self, head: &str, json: &str) -> Vec<u8> {
        let lines: Vec<String> = json.split('\n').map(|line| format!("{}{line}", self.data)).collect();
        let end = self.line_end;
        format!("{}{}{end}{end}", head.replace('\n', end), lines.join(end)).into_bytes()
    }
}

/// Numbers as they should be, and as they should not.
const COUNTS: [&str; 24] = [
    "7",
    "12",
    "0",
    "3000",
    "1000000000",
    "1000000001",
    "12.0",
    "1e2",
    "1E+2",
    "-0",
    "-5",
    "0.5",
    "1e400",
    "\"12\"",
    "\"x\"",
    "99999999999999999999999",
    "null",
    "true",
    "[]",
    "{}",
    "1.0e-2",
    "9007199254740993",
    "12.50",
    "-1e2",
];
/// Texts whose spelling must stay.
const TEXTS: [&str; 12] = [
    "\"Hello\"",
    "\"\"",
    "\" w\\u00f6rld \\ud83d\\ude00\"",
    "\"\u{fc}\u{1f600}\u{2028}\"",
    "\"\\\"usage\\\":null,\\\"choices\\\":[]\"",
    "\"{\\\"usage\\\":{\\\"prompt_tokens\\\":5}}\"",
    "\"\\/\\b\\f\\t \\u0075sage\"",
    "\"data: [DONE]\\n\\n\"",
    "null",
    "\"\\ud800 alone\"",
    "\"]}\\\\\"",
    "7",
];
/// Members that no dialect knows.
const STRANGE: [(&str, &str); 8] = [
    ("obfuscation", "\"aX9\""),
    ("created", "1.700000000e9"),
    ("x_unknown", "{\"usage\":null,\"a\":[1,{\"usage\":{}}]}"),
    ("\\u0061b", "-0.0"),
    ("", "[[[]]]"),
    ("system_fingerprint", "null"),
    ("usages", "null"),
    ("provider", "\"usage\""),
];

/// A usage in the words of chat completions.
fn usage(dice: &mut Dice, style: Style) -> String {
    let mut members = vec![("prompt_tokens", count(dice)), ("completion_tokens", count(dice))];
    if dice.one_in(2) {
        members.push(("total_tokens", count(dice)));
    }
    if dice.one_in(3) {
        let cached = style.object(&[("cached_tokens", count(dice)), ("audio_tokens", count(dice))]);
        members.push(("prompt_tokens_details", cached));
    }
    if dice.one_in(3) {
        let reasoning = style.object(&[("reasoning_tokens", count(dice)), ("other", count(dice))]);
        members.push(("completion_tokens_details", reasoning));
    }
    if dice.one_in(12) {
        members.push(("prompt_tokens", count(dice)));
    }
    if dice.one_in(12) {
        members[0].0 = "prompt\\u005Ftokens";
    }
    shuffle(dice, &mut members);
    style.object(&members)
}

/// Mostly counts that can be read.
fn count(dice: &mut Dice) -> String {
    if dice.one_in(3) { dice.pick(&COUNTS).to_owned() } else { dice.below(5_000).to_string() }
}

fn text(dice: &mut Dice) -> String {
    if dice.one_in(4) { dice.pick(&TEXTS).to_owned() } else { format!("\" word {}\"", dice.below(1_000)) }
}

fn shuffle<T>(dice: &mut Dice, list: &mut [T]) {
    if dice.one_in(2) {
        for at in (1..list.len()).rev() {
            list.swap(at, dice.below(at + 1));
        }
    }
}

/// How an upstream reports the usage of a chat stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Manner {
    Never,
    /// In a chunk of its own, if it was asked; until then `null` in every chunk, or nothing.
    IfAsked {
        null: bool,
        tells: bool,
    },
    /// On every chunk, asked or not, and perhaps once more at the end.
    Always,
    /// On the chunk that ends the choice.
    AtFinish,
}

fn chat(dice: &mut Dice) -> Answer {
    let style = Style::any(dice);
    let manner = match dice.below(8) {
        0 => Manner::Never,
        1 => Manner::Always,
        2 => Manner::AtFinish,
        _ => Manner::IfAsked { null: !dice.one_in(3), tells: !dice.one_in(8) },
    };
    let mut parts = Vec::new();
    let chunks = if dice.one_in(40) { 300 } else { 1 + dice.below(7) };
    let place = dice.below(6);
    for number in 0..chunks {
        parts.extend(between(dice, style));
        let finish = number + 1 == chunks;
        parts.push(chunk(dice, style, manner, (place, finish)));
    }
    let own =
        style.object(&[("id", "\"c\"".into()), ("choices", "[]".into()), ("usage", usage(dice, style))]);
    let own = style.event("", &own);
    match manner {
        Manner::IfAsked { tells: true, .. } => {
            parts.push(Part { asked: own, unasked: Vec::new(), is_whole: true });
        }
        Manner::IfAsked { null: true, tells: false } => {
            let silent = style.object(&[("choices", "[]".into()), ("usage", "null".into())]);
            parts.push(Part { asked: style.event("", &silent), unasked: Vec::new(), is_whole: true });
        }
        Manner::Always => parts.push(Part::same(own)),
        _ => {}
    }
    finish(dice, style, &mut parts);
    let path = dice.pick(&["/v1/chat/completions", "/v1/chat/completions", "/v1/completions"]);
    let content_type = dice.pick(&["text/event-stream", "text/event-stream; charset=utf-8"]);
    Answer { path, status: 200, content_type, encoding: None, parts, breaks_off: false }
}

/// One chunk of a chat stream, with its usage at `place` if it has one.
fn chunk(dice: &mut Dice, style: Style, manner: Manner, (place, is_last): (usize, bool)) -> Part {
    let name = dice.pick(&["content", "content", "content", "refusal", "reasoning", "reasoning_content"]);
    let delta = style.object(&[(name, text(dice))]);
    let reason = if is_last { "\"stop\"" } else { "null" };
    let choice = style.object(&[
        ("index", dice.below(3).to_string()),
        ("delta", delta),
        ("finish_reason", reason.into()),
    ]);
    let mut members = vec![("choices", format!("[{choice}]"))];
    if !dice.one_in(4) {
        members.push(("id", "\"chatcmpl-1\"".into()));
        members.push(("model", dice.pick(&["\"gpt-4o-mini\"", "\"\"", "\"m\\u006fdel\""]).into()));
    }
    if dice.one_in(3) {
        let (key, value) = dice.pick(&STRANGE);
        members.push((key, value.into()));
    }
    if dice.one_in(400) {
        members.push(("padding", format!("\"{}\"", "x".repeat(100_000))));
    }
    shuffle(dice, &mut members);
    let head = dice.pick(&["", "", "", "event: chunk\n", "id: 7\nretry: 10\n"]);
    let unasked = style.event(head, &style.object(&members));
    let at = place.min(members.len());
    let key = if dice.one_in(10) { "\\u0075sage" } else { "usage" };
    match manner {
        Manner::IfAsked { null: true, .. } => members.insert(at, (key, "null".into())),
        Manner::Always => members.insert(at, (key, usage(dice, style))),
        Manner::AtFinish if is_last => members.insert(at, (key, usage(dice, style))),
        _ => {}
    }
    let asked = style.event(head, &style.object(&members));
    let is_own = matches!(manner, Manner::Always | Manner::AtFinish);
    Part { unasked: if is_own { asked.clone() } else { unasked }, asked, is_whole: true }
}

/// What may stand between two events.
fn between(dice: &mut Dice, style: Style) -> Option<Part> {
    let end = style.line_end;
    let line = match dice.below(12) {
        0 => format!(": OPENROUTER PROCESSING{end}{end}"),
        1 => format!(":{end}"),
        2 => end.to_string(),
        3 => format!(": \"usage\":null{end}"),
        4 => format!("event: ping{end}data: {{}}{end}{end}"),
        _ => return None,
    };
    Some(Part::same(line))
}

/// The last words of a stream: an error, its end, or none.
fn finish(dice: &mut Dice, style: Style, parts: &mut Vec<Part>) {
    let end = style.line_end;
    if dice.one_in(8) {
        let code = dice.pick(&["429", "\"server_error\"", "null", "1e2"]);
        let error = style.object(&[("code", code.into()), ("message", "\"it broke\"".into())]);
        let event = style.event(dice.pick(&["", "event: error\n"]), &style.object(&[("error", error)]));
        let at = dice.below(parts.len() + 1);
        parts.insert(at, Part::same(event));
    }
    match dice.below(8) {
        0 => {}
        1 => parts.push(Part { is_whole: false, ..Part::same(format!("data: [DONE]{end}")) }),
        2 => parts.push(Part { is_whole: false, ..Part::same("data: [DONE]") }),
        _ => parts.push(Part::same(format!("{}[DONE]{end}{end}", style.data))),
    }
    if dice.one_in(10)
        && let Some(first) = parts.first_mut()
        && !first.asked.starts_with(b"\r")
        && !first.asked.starts_with(b"\n")
        && !first.asked.starts_with(b":")
    {
        first.asked.splice(0..0, *b"\xef\xbb\xbf");
        first.unasked.splice(0..0, *b"\xef\xbb\xbf");
    }
}

/// Events with a name: what it is, and its JSON, where `#` is a count and `$` is a text.
type Script = [(&'static str, &'static str)];

const MESSAGES: [(&str, &str); 6] = [
    (
        "message_start",
        r#"{"type":"message_start","message":{"id":"msg_1","model":"claude-x","usage":{"input_tokens":#,"cache_creation_input_tokens":#,"cache_read_input_tokens":#,"output_tokens":#}}}"#,
    ),
    ("ping", r#"{"type":"ping"}"#),
    (
        "content_block_delta",
        r#"{"type":"content_block_delta","index":0,"delta":{"type":"thinking_delta","thinking":$}}"#,
    ),
    (
        "content_block_delta",
        r#"{"type":"content_block_delta","index":1,"delta":{"type":"text_delta","text":$}}"#,
    ),
    (
        "message_delta",
        r#"{"type":"message_delta","delta":{"stop_reason":"end_turn"},"usage":{"output_tokens":#,"server_tool_use":{"web_search_requests":#}}}"#,
    ),
    ("message_stop", r#"{"type":"message_stop"}"#),
];
const RESPONSES: [(&str, &str); 5] = [
    (
        "response.created",
        r#"{"type":"response.created","response":{"id":"resp_1","model":"gpt-4o-mini","status":"in_progress","usage":null}}"#,
    ),
    ("response.output_text.delta", r#"{"type":"response.output_text.delta","delta":$,"obfuscation":"xyz"}"#),
    ("response.audio.delta", r#"{"type":"response.audio.delta","delta":"QUJD"}"#),
    ("response.output_text.delta", r#"{"type":"response.output_text.delta","delta":$}"#),
    (
        "response.completed",
        r#"{"type":"response.completed","response":{"id":"resp_1","model":"gpt-4o-mini","status":"completed","usage":{"input_tokens":#,"input_tokens_details":{"cached_tokens":#},"output_tokens":#},"tool_usage":{"image_gen":{"input_tokens":#,"output_tokens":#},"web_search":{"num_requests":#}}}}"#,
    ),
];
const IMAGES: [(&str, &str); 3] = [
    ("image_generation.partial_image", r#"{"type":"image_generation.partial_image","b64_json":$}"#),
    (
        "image_generation.completed",
        r#"{"type":"image_generation.completed","b64_json":"QUJD","usage":{"input_tokens":#,"output_tokens":#}}"#,
    ),
    (
        "image_edit.completed",
        r#"{"type":"image_edit.completed","usage":{"input_tokens":#,"output_tokens":#,"input_tokens_details":{"image_tokens":#}}}"#,
    ),
];
const AUDIO: [(&str, &str); 4] = [
    ("", r#"{"type":"transcript.text.delta","delta":$}"#),
    ("", r#"{"type":"speech.audio.delta","audio":"QUJD"}"#),
    (
        "",
        r#"{"type":"transcript.text.done","text":$,"usage":{"type":"tokens","input_tokens":#,"output_tokens":#}}"#,
    ),
    ("", r#"{"type":"speech.audio.done","usage":{"input_tokens":#,"output_tokens":#,"seconds":#}}"#),
];

fn filled(dice: &mut Dice, template: &str) -> String {
    let mut json = String::new();
    for character in template.chars() {
        match character {
            '#' => json.push_str(&count(dice)),
            '$' => json.push_str(&text(dice)),
            _ => json.push(character),
        }
    }
    json
}

/// A stream of named events, some left out and some told twice.
fn named(dice: &mut Dice, path: &'static str, script: &Script) -> Answer {
    let style = Style::any(dice);
    let mut parts = Vec::new();
    for (name, template) in script {
        for _ in 0..dice.pick(&[1, 1, 1, 1, 0, 2]) {
            parts.extend(between(dice, style));
            let head = if name.is_empty() { String::new() } else { format!("event: {name}\n") };
            parts.push(Part::same(style.event(&head, &filled(dice, template))));
        }
    }
    finish(dice, style, &mut parts);
    Answer { path, status: 200, content_type: "text/event-stream", encoding: None, parts, breaks_off: false }
}

/// Whole answers: path, content type and text.
const BODIES: [(&str, &str, &str); 12] = [
    (
        "/v1/chat/completions",
        "application/json",
        r#"{"id":"c","model":"gpt-4o-mini","choices":[{"index":0,"message":{"content":$,"refusal":null},"finish_reason":"stop"}],"usage":{"prompt_tokens":#,"completion_tokens":#,"total_tokens":#}}"#,
    ),
    (
        "/v1/completions",
        "application/json; charset=utf-8",
        "{\n  \"choices\" : [ { \"text\" : $ } ] ,\n  \"\\u0075sage\" : { \"prompt_tokens\" : # , \"completion_tokens\" : # }\n}\n",
    ),
    (
        "/v1/embeddings",
        "application/json",
        r#"{"object":"list","data":[{"embedding":[0.1,-2e-3]}],"usage":{"prompt_tokens":#,"total_tokens":#}}"#,
    ),
    (
        "/v1/responses",
        "application/json",
        r#"{"id":"resp_1","status":"completed","output":[{"type":"message","content":[{"type":"output_text","text":$}]},{"type":"web_search_call","action":{"type":"search"}}],"usage":{"input_tokens":#,"output_tokens":#}}"#,
    ),
    (
        "/v1/messages",
        "application/json",
        r#"{"type":"message","content":[{"type":"text","text":$}],"usage":{"input_tokens":#,"cache_read_input_tokens":#,"output_tokens":#}}"#,
    ),
    (
        "/v1/images/generations",
        "application/json",
        r#"{"data":[{"b64_json":"QUJD"},{"url":$}],"usage":{"input_tokens":#,"output_tokens":#}}"#,
    ),
    ("/v1/audio/transcriptions", "application/json", r#"{"text":$,"usage":{"type":"duration","seconds":#}}"#),
    ("/v1/audio/transcriptions", "text/plain", "plain words, $\r\n"),
    ("/v1/audio/speech", "audio/mpeg", "\u{1}ID3 $ \r\r\n"),
    ("/v1/moderations", "application/json", r#"{"results":[{"flagged":false}],"usage":{"prompt_tokens":#}}"#),
    (
        "/v1/chat/completions",
        "application/json",
        r#"{"error":{"code":#,"message":$},"usage":{"prompt_tokens":5}}"#,
    ),
    ("/v1/models", "application/json", r#"{"data":[{"id":$}]}"#),
];

fn body(dice: &mut Dice) -> Answer {
    let (path, content_type, template) = dice.pick(&BODIES);
    let text = filled(dice, template);
    let status = if template.contains("error") { dice.pick(&[400, 429, 500]) } else { 200 };
    let mut bytes = text.into_bytes();
    if dice.one_in(10) {
        bytes.truncate(dice.below(bytes.len()));
    }
    let parts = bytes.chunks(1 + dice.below(200)).map(Part::same).collect();
    Answer { path, status, content_type, encoding: None, parts, breaks_off: false }
}

/// What an encoder writes for each part when it is flushed behind it.
fn flushed(encoding: &str, parts: &[&[u8]]) -> Vec<Vec<u8>> {
    let level = flate2::Compression::fast();
    match encoding {
        "gzip" => each(flate2::write::GzEncoder::new(Vec::new(), level), parts, |encoder| encoder.get_mut()),
        "deflate" => {
            each(flate2::write::ZlibEncoder::new(Vec::new(), level), parts, |encoder| encoder.get_mut())
        }
        "br" => {
            each(brotli::CompressorWriter::new(Vec::new(), 4096, 1, 16), parts, |encoder| encoder.get_mut())
        }
        _ => {
            let encoder = zstd::stream::write::Encoder::new(Vec::new(), 1).expect("memory suffices");
            each(encoder, parts, |encoder| encoder.get_mut())
        }
    }
}

fn each<E: Write>(mut encoder: E, parts: &[&[u8]], out: impl Fn(&mut E) -> &mut Vec<u8>) -> Vec<Vec<u8>> {
    let mut flushed = Vec::new();
    for part in parts {
        encoder.write_all(part).and_then(|()| encoder.flush()).expect("memory takes everything");
        flushed.push(std::mem::take(out(&mut encoder)));
    }
    flushed
}
