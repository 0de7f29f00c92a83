//! What a chunk of a stream costs on its way to the client: read by the meter, and rid by the filter of what only
//! Tollgate asked for. Nanoseconds of the thread's CPU, and allocations. No sockets.

use std::alloc::System;
use std::hint::black_box;
use std::time::Duration;

use bytes::Bytes;
use clap::Parser;
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};
use tollgate::dialect::meter::Meter;
use tollgate::dialect::path::Operation;
use tollgate::dialect::unask::Unask;

/// Counts allocations; the system's allocator does the work, so times are a little above the gateway's.
#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// Nanoseconds and allocations per chunk
#[derive(Debug, Parser)]
#[command(name = "relay")]
struct Args {
    /// A look, not a measurement
    #[arg(long)]
    quick: bool,
    /// Print JSON instead of a table
    #[arg(long)]
    json: bool,
    /// What cargo adds on its own
    #[arg(long, hide = true)]
    bench: bool,
}

/// A kind of stream.
struct Stream {
    name: &'static str,
    operation: Operation,
    /// Whether the usage is taken out again.
    filtered: bool,
    chunk: fn(&str) -> String,
    end: &'static str,
}

const STREAMS: [Stream; 4] = [
    Stream {
        name: "chat, usage asked by us",
        operation: Operation::ChatCompletions,
        filtered: true,
        chunk: chat_asked,
        end: CHAT_END,
    },
    Stream {
        name: "chat",
        operation: Operation::ChatCompletions,
        filtered: false,
        chunk: chat,
        end: CHAT_END,
    },
    Stream {
        name: "messages",
        operation: Operation::Messages,
        filtered: false,
        chunk: message,
        end: MESSAGE_END,
    },
    Stream {
        name: "responses",
        operation: Operation::Responses,
        filtered: false,
        chunk: response,
        end: RESPONSE_END,
    },
];

/// Per chunk.
struct Figures {
    stream: &'static str,
    together: usize,
    nanos: u128,
    allocations: f64,
    bytes: f64,
}

fn main() {
    let args = Args::parse();
    let streams = if args.quick { 200 } else { 5_000 };
    // a chunk that is alone, and chunks that are ready together
    let all = STREAMS.iter().flat_map(|stream| [1, 20].map(|together| measure(stream, together, streams)));
    let all: Vec<Figures> = all.collect();
    if args.json {
        let one = |of: &Figures| {
            serde_json::json!({
                "stream": of.stream,
                "chunks_together": of.together,
                "ns": u64::try_from(of.nanos).unwrap_or(u64::MAX),
                "allocations": of.allocations,
                "bytes_allocated": of.bytes,
            })
        };
        return say(&serde_json::Value::from_iter(all.iter().map(one)).to_string());
    }
    let mut table = comfy_table::Table::new();
    table.load_preset(comfy_table::presets::UTF8_HORIZONTAL_ONLY);
    table.set_header(["stream", "chunks together", "ns per chunk", "allocations", "bytes"]);
    for of in &all {
        table.add_row([
            of.stream.to_owned(),
            of.together.to_string(),
            of.nanos.to_string(),
            format!("{:.2}", of.allocations),
            format!("{:.0}", of.bytes),
        ]);
    }
    say(&table.to_string());
}

fn measure(stream: &Stream, together: usize, streams: u32) -> Figures {
    let events: Vec<String> = (0..CHUNKS).map(|_| (stream.chunk)(" word")).collect();
    let pieces: Vec<Bytes> = events.chunks(together).map(|pieces| Bytes::from(pieces.concat())).collect();
    let (mut began, mut allocations, mut bytes) = (Duration::ZERO, 0, 0);
    let mut out = Vec::with_capacity(CHUNKS);
    // the first stream warms up: it fills tables that stay
    for number in 0..=streams {
        if number == 1 {
            began = on_cpu();
        }
        let mut meter = Meter::new(stream.operation, 200, Some("text/event-stream"), None);
        let mut unask = Unask::new();
        let region = Region::new(ALLOCATOR);
        for piece in &pieces {
            meter.observe(piece);
            if stream.filtered {
                unask.push(piece.clone(), &mut out);
                out.clear();
            }
        }
        if number > 0 {
            let change = region.change();
            allocations += change.allocations + change.reallocations;
            bytes += change.bytes_allocated;
        }
        meter.observe(stream.end.as_bytes());
        black_box(meter.finish());
    }
    let nanos = on_cpu().saturating_sub(began);
    let chunks = u128::from(streams) * CHUNKS as u128;
    Figures {
        stream: stream.name,
        together,
        nanos: nanos.as_nanos() / chunks,
        allocations: allocations as f64 / chunks as f64,
        bytes: bytes as f64 / chunks as f64,
    }
}

/// The time that this thread has had a core, as the kernel counts it.
fn on_cpu() -> Duration {
    // the kernel brings the figure up to date when a thread gives way
    std::thread::yield_now();
    let told = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    let nanos = told.split(' ').next().and_then(|nanos| nanos.parse().ok());
    Duration::from_nanos(nanos.expect("Linux tells a thread's time in nanoseconds"))
}

fn chat(word: &str) -> String {
    chat_chunk(word, "")
}

fn chat_asked(word: &str) -> String {
    chat_chunk(word, r#","usage":null"#)
}

fn chat_chunk(word: &str, usage: &str) -> String {
    let choice =
        format!(r#"{{"index":0,"delta":{{"content":"{word}"}},"logprobs":null,"finish_reason":null}}"#);
    format!(
        r#"data: {{"id":"chatcmpl-CabcdefGHIJKLmnopqRSTUVwx","object":"chat.completion.chunk","created":1763640000,"model":"gpt-4o-mini-2024-07-18","service_tier":"default","system_fingerprint":"fp_560af6e559","choices":[{choice}]{usage},"obfuscation":"aZ3kTq9"}}{END}"#
    )
}

fn message(word: &str) -> String {
    let delta = format!(r#"{{"type":"text_delta","text":"{word}"}}"#);
    format!(
        r#"event: content_block_delta{LINE}data: {{"type":"content_block_delta","index":0,"delta":{delta}}}{END}"#
    )
}

fn response(word: &str) -> String {
    format!(
        r#"event: response.output_text.delta{LINE}data: {{"type":"response.output_text.delta","sequence_number":7,"item_id":"msg_0123456789abcdef","output_index":0,"content_index":0,"delta":"{word}","logprobs":[],"obfuscation":"aZ3kTq9"}}{END}"#
    )
}

#[expect(clippy::print_stdout, reason = "the numbers are what this program is for")]
fn say(text: &str) {
    println!("{text}");
}

/// Of a stream.
const CHUNKS: usize = 500;

const LINE: &str = "\n";
const END: &str = "\n\n";

const CHAT_END: &str = "data: [DONE]\n\n";
const MESSAGE_END: &str = "event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n";
const RESPONSE_END: &str =
    "event: response.completed\ndata: {\"type\":\"response.completed\",\"response\":{}}\n\n";
