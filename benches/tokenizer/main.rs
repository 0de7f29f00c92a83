//! How fast tokens are counted: whole texts, hostile runs, and a stream in small parts. docs/ESTIMATES.md has the
//! numbers and the command.

use std::time::Duration;

use tollgate::tokens::{StreamCount, Tokenizer};

const MODEL: &str = "gpt-4o";

const ENGLISH: &str = include_str!("../../docs/RELIABILITY.md");
const CODE: &str = include_str!("../../src/proxy/relay/flow.rs");

fn main() {
    let (_, load) = timed(&mut || {
        Tokenizer.warm(MODEL);
        Tokenizer.count(MODEL, ENGLISH).tokens
    });
    say(&format!("first count, with loading the vocabulary: {} ms", load.as_millis()));
    for (name, text) in [
        ("English", repeated(ENGLISH)),
        ("Rust", repeated(CODE)),
        ("1 MB of one letter", "a".repeat(1_000_000)),
        ("1 MB of spaces", " ".repeat(1_000_000)),
        ("1 MB of CJK without a mark", "的".repeat(333_333)),
    ] {
        let (tokens, took) = timed(&mut || Tokenizer.count(MODEL, &text).tokens);
        say(&format!("{name}: {tokens} tokens in {} ms, {} MB/s", took.as_millis(), rate(text.len(), took)));
    }
    for (every, shown) in
        [(1, "every part"), (16, "every 64 bytes"), (128, "every 512 bytes"), (4_096, "every 16 KiB")]
    {
        let text = repeated(ENGLISH);
        let parts: Vec<&str> = parts(&text);
        let (tokens, took) = timed(&mut || streamed(&parts, every));
        let each = took.as_nanos() / parts.len() as u128;
        say(&format!("stream of 4 bytes a part, counted {shown}: {tokens} tokens, {each} ns a part"));
    }
    let text = repeated(ENGLISH);
    let alone = |parts: &[&str]| parts.iter().map(|part| Tokenizer.count(MODEL, part).tokens).sum();
    let (tokens, took) = timed(&mut || alone(&parts(&text)));
    let whole = Tokenizer.count(MODEL, &text).tokens;
    say(&format!("each part by itself: {tokens} tokens of {whole}, {} ms", took.as_millis()));
}

fn timed(work: &mut dyn FnMut() -> u64) -> (u64, Duration) {
    let began = on_cpu();
    let tokens = work();
    (tokens, on_cpu() - began)
}

/// The time that this thread has had a core, as the kernel counts it: other work of the machine does not show.
fn on_cpu() -> Duration {
    let told = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    let nanos = told.split(' ').next().and_then(|nanos| nanos.parse().ok());
    Duration::from_nanos(nanos.expect("Linux tells a thread's time in nanoseconds"))
}

/// A megabyte of it.
fn repeated(text: &str) -> String {
    text.repeat(1_000_000 / text.len())
}

fn parts(text: &str) -> Vec<&str> {
    let (mut rest, mut all) = (text, Vec::new());
    while !rest.is_empty() {
        let (part, after) = rest.split_at(rest.ceil_char_boundary(4));
        all.push(part);
        rest = after;
    }
    all
}

fn streamed(parts: &[&str], every: usize) -> u64 {
    let mut stream = StreamCount::new(MODEL);
    for (place, part) in parts.iter().enumerate() {
        stream.push(part);
        if place % every == 0 {
            stream.count();
        }
    }
    stream.count().tokens
}

fn rate(bytes: usize, took: Duration) -> u128 {
    bytes as u128 / took.as_micros().max(1)
}

#[expect(clippy::print_stdout, reason = "this is what it is for")]
fn say(line: &str) {
    println!("{line}");
}
