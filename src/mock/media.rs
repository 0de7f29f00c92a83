//! Images and audio: made-up bytes with the usage that the real endpoints report.

use bytes::Bytes;
use serde_json::{Value, json};

use crate::base::usage::Usage;

use super::answer::{Answer, with_usage};
use super::ask::Ask;
use super::plan;
use super::sample::{self, Dice};
use super::wire::{Event, Frame};

/// `images/generations`: GPT image models report tokens, older ones nothing.
pub(super) fn images(ask: &Ask) -> Answer {
    let count = ask.body["n"].as_u64().unwrap_or(1).clamp(1, 10);
    let data: Vec<Value> = (0..count)
        .map(|index| json!({"b64_json": sample::base64(&noise(ask.seed ^ index, IMAGE_BYTES))}))
        .collect();
    let input_tokens = ask.knobs.input.unwrap_or_else(|| plan::input_tokens(&ask.body));
    let output_tokens = ask.knobs.out.unwrap_or(IMAGE_TOKENS) * count;
    let usage = Usage {
        input_tokens,
        output_tokens,
        output_image_tokens: output_tokens,
        images: count,
        ..Usage::default()
    };
    let reports = ask.knobs.reported.contains("gpt-image") || ask.knobs.reported.starts_with("mock-");
    let member = json!({"input_tokens": input_tokens,
        "input_tokens_details": {"image_tokens": 0, "text_tokens": input_tokens},
        "output_tokens": output_tokens, "total_tokens": input_tokens + output_tokens});
    let member = ask.knobs.usage.spell(member, "output_tokens").filter(|_| reports);
    let body = with_usage(json!({"created": ask.created(), "data": data}), member);
    let mut answer = Answer::json(&body, usage, 0);
    answer.usage_reported = reports && ask.knobs.usage.is_right();
    answer
}

/// `audio/speech`: bytes, or events with usage at the end.
pub(super) fn speech(ask: &Ask) -> Answer {
    let text = ask.body["input"].as_str().unwrap_or_default();
    let input_tokens = ask.knobs.input.unwrap_or_else(|| plan::input_tokens(&ask.body));
    let output_tokens = ask.knobs.out.unwrap_or(text.len() as u64);
    let usage = Usage {
        input_tokens,
        output_tokens,
        output_audio_tokens: output_tokens,
        characters: text.chars().count() as u64,
        ..Usage::default()
    };
    let audio = noise(ask.seed, SPEECH_BYTES);
    if ask.body["stream_format"] == "sse" {
        let mut events: Vec<Event> = audio
            .chunks(SPEECH_BYTES / 8)
            .map(|part| Event::data(&json!({"type": "speech.audio.delta", "audio": sample::base64(part)}), 0))
            .collect();
        let member = json!({"input_tokens": input_tokens, "output_tokens": output_tokens,
            "total_tokens": input_tokens + output_tokens});
        let member = ask.knobs.usage.spell(member, "output_tokens");
        events.push(Event::data(&with_usage(json!({"type": "speech.audio.done"}), member), 0));
        return Answer::stream(ask, events, usage, ask.knobs.usage.is_right());
    }
    let frames = vec![Frame { bytes: Bytes::from(audio), tokens: 0 }];
    Answer { content_type: "audio/mpeg", frames, stream: false, usage, usage_reported: false }
}

/// `audio/transcriptions`: whisper reports seconds, the GPT models tokens, plain formats nothing.
pub(super) fn transcriptions(ask: &Ask) -> Answer {
    let mut dice = Dice::new(ask.seed);
    let count = ask.knobs.out.unwrap_or(12);
    let said = sample::words(&mut dice, count);
    let seconds = (ask.length as u64).div_ceil(BYTES_PER_SECOND).max(1);
    let by_tokens = ask.knobs.reported.contains("gpt-");
    let audio = ask.knobs.input.unwrap_or(seconds * 10);
    let (usage, member) = if by_tokens {
        let usage = Usage {
            input_tokens: audio,
            input_audio_tokens: audio,
            output_tokens: count,
            ..Usage::default()
        };
        let member = json!({"type": "tokens", "input_tokens": audio,
            "input_token_details": {"audio_tokens": audio, "text_tokens": 0}, "output_tokens": count,
            "total_tokens": audio + count});
        (usage, member)
    } else {
        (Usage { seconds, ..Usage::default() }, json!({"type": "duration", "seconds": seconds}))
    };
    let member = ask.knobs.usage.spell(member, if by_tokens { "output_tokens" } else { "seconds" });
    let right = ask.knobs.usage.is_right();
    if matches!(ask.body["response_format"].as_str(), Some("text" | "srt" | "vtt")) {
        let frames = vec![Frame { bytes: format!("{}\n", said.concat()).into(), tokens: count }];
        let content_type = "text/plain; charset=utf-8";
        return Answer { content_type, frames, stream: false, usage, usage_reported: false };
    }
    if ask.stream {
        return transcript_stream(ask, &said, usage, member);
    }
    let mut answer = Answer::json(&with_usage(json!({"text": said.concat()}), member), usage, count);
    answer.usage_reported = right;
    answer
}

fn transcript_stream(ask: &Ask, said: &[String], usage: Usage, member: Option<Value>) -> Answer {
    let mut events: Vec<Event> = said
        .iter()
        .map(|piece| Event::data(&json!({"type": "transcript.text.delta", "delta": piece}), 1))
        .collect();
    let done = with_usage(json!({"type": "transcript.text.done", "text": said.concat()}), member);
    events.push(Event::data(&done, 0));
    Answer::stream(ask, events, usage, ask.knobs.usage.is_right())
}

fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut dice = Dice::new(seed);
    let mut bytes: Vec<u8> =
        std::iter::repeat_with(|| dice.roll().to_le_bytes()).take(length / 8).flatten().collect();
    bytes.truncate(length);
    bytes
}

/// Small, but past one TCP segment.
const IMAGE_BYTES: usize = 4096;
const SPEECH_BYTES: usize = 4096;

/// A 1024x1024 picture at medium quality.
const IMAGE_TOKENS: u64 = 1056;

/// 16 kbit/s of audio.
const BYTES_PER_SECOND: u64 = 2000;
