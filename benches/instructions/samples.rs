//! What is asked and what is answered, the same each time.

/// A request with a prompt of so many bytes.
pub(crate) fn request(prompt: usize, stream: bool) -> String {
    let prompt = &PROMPT.repeat(prompt / PROMPT.len() + 1)[..prompt];
    let stream = if stream { r#","stream":true"# } else { "" };
    format!(
        r#"{{"model":"gpt-4o-mini","messages":[{{"role":"user","content":"{prompt}"}}],"max_tokens":100{stream}}}"#
    )
}

/// A stream that says its usage because it was asked to: an event per piece, the usage, the end.
pub(crate) fn events(chunks: usize) -> Vec<String> {
    let delta = r#"{"index":0,"delta":{"content":" word"},"logprobs":null,"finish_reason":null}"#;
    let mut events: Vec<String> = (0..chunks).map(|_| event(delta, r#","usage":null"#)).collect();
    events.push(event("", USAGE));
    events.push("data: [DONE]\n\n".to_owned());
    events
}

fn event(choice: &str, usage: &str) -> String {
    format!(
        r#"data: {{"id":"chatcmpl-00000000000000000000","object":"chat.completion.chunk","created":1763640000,"model":"gpt-4o-mini-2024-07-18","service_tier":"default","system_fingerprint":"fp_560af6e559","choices":[{choice}]{usage},"obfuscation":"aZ3kTq9"}}{}"#,
        "\n\n"
    )
}

const PROMPT: &str = "Summarise the letter in two sentences, please. ";

const USAGE: &str = r#","usage":{"prompt_tokens":87,"completion_tokens":20,"total_tokens":107,"prompt_tokens_details":{"cached_tokens":0,"audio_tokens":0},"completion_tokens_details":{"reasoning_tokens":0,"audio_tokens":0,"accepted_prediction_tokens":0,"rejected_prediction_tokens":0}}"#;

pub(crate) const ANSWER: &str = r#"{"id":"chatcmpl-0","object":"chat.completion","created":1763640000,"model":"gpt-4o-mini-2024-07-18","choices":[{"index":0,"message":{"role":"assistant","content":"The letter thanks the reader for the visit in spring. It asks for an answer by the end of the month.","refusal":null,"annotations":[]},"logprobs":null,"finish_reason":"stop"}],"usage":{"prompt_tokens":87,"completion_tokens":24,"total_tokens":111,"prompt_tokens_details":{"cached_tokens":0,"audio_tokens":0},"completion_tokens_details":{"reasoning_tokens":0,"audio_tokens":0,"accepted_prediction_tokens":0,"rejected_prediction_tokens":0}},"service_tier":"default","system_fingerprint":"fp_560af6e559"}"#;
