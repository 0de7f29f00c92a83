use super::super::answers::Dice;
use super::super::any_json::any_object;
use super::super::corpus::{AZURE, CHAT, VLLM};
use super::*;

const MEMBERS: &[&str] = &["id", "model", "service_tier", "object", "choices", "usage", "error", "x_groq"];
const OF_CHOICES: &[&str] = &["index", "text", "finish_reason", "delta", "message", "usage", "logprobs"];
const OF_DELTAS: &[&str] =
    &["content", "refusal", "reasoning", "reasoning_content", "tool_calls", "function_call", "audio", "role"];
const OF_USAGE: &[&str] = &[
    "prompt_tokens",
    "completion_tokens",
    "total_tokens",
    "prompt_tokens_details",
    "completion_tokens_details",
    "cached_tokens",
    "cache_write_tokens_details",
    "audio_tokens",
    "reasoning_tokens",
    "num_search_queries",
    "seconds",
    "x",
];

/// Whether the chunk is walked; if it is, it says what a full parser reads.
#[track_caller]
fn says_the_same(json: &str) -> bool {
    let read = |chunk: &Chunk<'_>| {
        let mut facts = Facts { collect_text: true, ..Facts::default() };
        chunk.note(&mut facts);
        facts.reading
    };
    let Some(chunk) = walked(json) else { return false };
    let parsed = serde_json::from_str(json).map(|chunk: Chunk<'_>| read(&chunk));
    assert_eq!(parsed.ok(), Some(read(&chunk)), "{json}");
    true
}

#[test]
fn what_is_walked_says_what_a_full_parser_reads() {
    let mut dice = Dice(6);
    let mut walked = 0;
    for _ in 0..20_000 {
        let delta = any_object(&mut dice, OF_DELTAS, 1);
        let choice = any_object(&mut dice, OF_CHOICES, 1);
        let usage = any_object(&mut dice, OF_USAGE, 2);
        let name = dice.pick(&["delta", "message"]);
        let choices = dice
            .pick(&["", "@", "@,@"])
            .replace('@', &choice.replacen('{', &format!("{{\"{name}\":{delta},"), 1));
        let chunk = any_object(&mut dice, MEMBERS, 1);
        let mut json = chunk.replacen('{', &format!("{{\"choices\":[{choices}],\"usage\":{usage},"), 1);
        // an object without members had none to be in front of
        json = json.replace(",}", "}");
        if dice.one_in(10) {
            json = json.replacen(
                dice.pick(&["\"", ":", ",", "}", "[", "o"]),
                dice.pick(&["\"", "", " ", "]", "{"]),
                1,
            );
        }
        walked += usize::from(says_the_same(&json));
    }
    assert!(walked > 150, "{walked}");
}

#[test]
fn what_upstreams_usually_send_is_walked() {
    for chunk in [CHAT, AZURE, VLLM].concat().lines().filter_map(|line| line.strip_prefix("data: {")) {
        assert!(says_the_same(&format!("{{{chunk}")), "{chunk}");
    }
}
