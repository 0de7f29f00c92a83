use super::super::answers::Dice;
use super::*;

const CHUNKS: [&str; 12] = [
    r#"{"id":"@","choices":[{"index":0,"delta":{"content":"%"}}],"usage":null,"obfuscation":"@"}"#,
    r#"{"id":"@","choices":[{"index":1,"delta":{"content":"%"},"finish_reason":null}],"service_tier":"flex"}"#,
    r#"{"id":"@","service_tier":"default","choices":[{"delta":{"reasoning":"%","reasoning_content":"%"}}]}"#,
    r#"{"id":"c","choices":[{"delta":{"tool_calls":[{"index":1,"function":{"arguments":"%"}}]}}]}"#,
    r#"{"id":"c","choices":[{"delta":{"content":"%","refusal":"@"},"finish_reason":"@"}]}"#,
    r#"{"id":"c","model":"m","choices":[{"delta":{"content":"%"}}],"usage":{"prompt_tokens":#,"completion_tokens":#}}"#,
    r#"{"id":"c","choices":[],"usage":{"prompt_tokens":#,"completion_tokens":#}}"#,
    r#"{"type":"content_block_delta","index":1,"delta":{"type":"text_delta","text":"%"}}"#,
    r#"{"type":"message_start","message":{"id":"@","usage":{"input_tokens":#,"output_tokens":#}}}"#,
    r#"{"type":"message_delta","delta":{"text":"%","stop_reason":"@"},"usage":{"output_tokens":#}}"#,
    r#"{"type":"response.output_text.delta","sequence_number":#,"item_id":"i","delta":"%","obfuscation":"@"}"#,
    r#"{"type":"response.completed","sequence_number":#,"response":{"id":"@","status":"completed"}}"#,
];

const WORDS: [&str; 12] = [
    " word",
    "",
    "é😀",
    "\\n",
    "\\\"usage\\\":",
    "\\u0075sage",
    "\\ud800",
    "\\x",
    "a \u{1} b",
    "\"",
    " twelve",
    "a word that is longer than any block of bytes that is looked at in one go, and therefore goes other ways",
];

/// The chunk with its holes filled.
fn filled(dice: &mut Dice, chunk: &str) -> Vec<u8> {
    let mut text = chunk.to_owned();
    while let Some(hole) = text.find(['%', '@', '#']) {
        let filling = match text.as_bytes()[hole] {
            b'%' => dice.pick(&WORDS),
            b'@' => dice.pick(&["", "aB3", "zzzz", "é", "x\\u0041"]),
            _ => dice.pick(&["1", "0", "01", "12345", "-3", "12345678901234567890"]),
        };
        text.replace_range(hole..=hole, filling);
    }
    let mut bytes = text.into_bytes();
    if dice.one_in(20) {
        let at = dice.below(bytes.len());
        bytes[at] = dice.pick(b"\"{}[],:\\ x\xff");
    }
    bytes
}

#[test]
fn a_word_that_fits_a_chunk_that_was_read_says_what_reading_it_would() {
    let mut dice = Dice(3);
    let mut words = 0;
    for _ in 0..1_000 {
        let wire = dice.pick(&[Wire::Chat, Wire::Messages, Wire::Responses, Wire::Media]);
        let new = || Scribe::new(wire, false, Facts { collect_text: true, ..Facts::default() });
        let (mut short, mut long) = (new(), new());
        let chunks = [dice.pick(&CHUNKS), dice.pick(&CHUNKS)];
        for _ in 0..30 {
            let chunk = if dice.one_in(6) { dice.pick(&CHUNKS) } else { chunks[dice.below(2)] };
            for _ in 0..=dice.below(4) {
                let data = filled(&mut dice, chunk);
                let event = Event { name: b"", data: &data, clipped: dice.one_in(60) };
                long.alike = None;
                words += usize::from(
                    short.alike.as_ref().is_some_and(|(stencil, _)| stencil.fit(&data).is_some()),
                );
                short.event(event);
                long.event(event);
                assert_eq!(short.facts.reading, long.facts.reading, "{}", String::from_utf8_lossy(&data));
            }
        }
    }
    assert!(words > 400, "{words}");
}

#[test]
fn what_is_no_string_is_no_word() {
    let mut scribe = Scribe::new(Wire::Messages, false, Facts { collect_text: true, ..Facts::default() });
    let opens = |input: &str| format!("{{\"content_block\":{{\"type\":\"tool_use\",\"input\":{input}\t}}}}");
    let start = r#"{"type":"message_start","message":{"id":"m"}}"#.to_owned();
    for data in [start, opens("5"), opens("{}"), opens("null")] {
        scribe.event(Event { name: b"", data: data.as_bytes(), clipped: false });
    }
    assert_eq!(scribe.facts.reading.output.as_str(), "5");
}
