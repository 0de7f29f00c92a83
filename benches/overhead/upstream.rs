//! The upstream: as little work as an answer can be, on a thread of its own. The `id` of a stream's chunk says
//! when it was written, so that the reader knows how long it was on its way.

use std::io;
use std::net::SocketAddr;
use std::thread;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::sleep_until;

use crate::load::{now, since_start};
use crate::work::{Answer, Work};

/// A listening upstream; it ends with the process.
pub(crate) struct Upstream {
    pub(crate) address: SocketAddr,
}

impl Upstream {
    pub(crate) fn start() -> io::Result<Self> {
        let socket = std::net::TcpListener::bind("127.0.0.1:0")?;
        socket.set_nonblocking(true)?;
        let address = socket.local_addr()?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        thread::Builder::new().name("upstream".into()).spawn(move || runtime.block_on(accept(socket)))?;
        Ok(Self { address })
    }
}

async fn accept(socket: std::net::TcpListener) -> io::Result<()> {
    let listener = TcpListener::from_std(socket)?;
    let mut connections = JoinSet::new();
    loop {
        let (connection, _) = listener.accept().await?;
        connections.spawn(serve(connection));
        while connections.try_join_next().is_some() {}
    }
}

async fn serve(mut connection: TcpStream) -> io::Result<()> {
    connection.set_nodelay(true)?;
    let mut read = Vec::with_capacity(8_192);
    loop {
        read.clear();
        let Some(body_at) = request(&mut connection, &mut read).await? else { return Ok(()) };
        let Some(work) = Work::asked_by(&read[body_at..]) else {
            return connection.write_all(NOT_FOUND.as_bytes()).await;
        };
        match work.answer {
            Answer::Json => connection.write_all(&json()).await?,
            Answer::Stream { chunks, pace } => {
                let with_usage = memchr::memmem::find(&read[body_at..], b"include_usage").is_some();
                stream(&mut connection, chunks, pace, with_usage).await?;
            }
        }
    }
}

/// Reads one request; `None` when the peer has closed. The number is where the body begins.
pub(crate) async fn request(connection: &mut TcpStream, read: &mut Vec<u8>) -> io::Result<Option<usize>> {
    let mut whole = None;
    loop {
        if connection.read_buf(read).await? == 0 {
            return Ok(None);
        }
        if whole.is_none() {
            whole =
                memchr::memmem::find(read, b"\r\n\r\n").map(|end| (end + 4, content_length(&read[..end])));
        }
        if let Some((body_at, Some(length))) = whole
            && read.len() >= body_at + length
        {
            return Ok(Some(body_at));
        }
    }
}

/// The value of `content-length` in the head of a message.
pub(crate) fn content_length(head: &[u8]) -> Option<usize> {
    let head = std::str::from_utf8(head).ok()?;
    head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse().ok())?
    })
}

fn json() -> Vec<u8> {
    format!(
        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n{HEADERS}content-length: {}\r\n\r\n{ANSWER}",
        ANSWER.len()
    )
    .into_bytes()
}

async fn stream(to: &mut TcpStream, chunks: u32, pace: Option<Duration>, with_usage: bool) -> io::Result<()> {
    let mut bytes = format!(
        "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream; charset=utf-8\r\n{HEADERS}\
         transfer-encoding: chunked\r\n\r\n"
    )
    .into_bytes();
    let begun = now();
    // like the provider: asked for usage, every chunk mentions it
    let null = if with_usage { r#","usage":null"# } else { "" };
    for number in 0..chunks {
        if let Some(pace) = pace {
            to.write_all(&bytes).await?;
            bytes.clear();
            sleep_until(begun + pace * number).await;
        }
        let delta = r#"{"index":0,"delta":{"content":" word"},"logprobs":null,"finish_reason":null}"#;
        event(&mut bytes, &chunk(delta, null));
    }
    if with_usage {
        event(&mut bytes, &chunk("", USAGE));
    }
    event(&mut bytes, "data: [DONE]\n\n");
    bytes.extend_from_slice(b"0\r\n\r\n");
    to.write_all(&bytes).await
}

fn chunk(choice: &str, usage: &str) -> String {
    format!(
        r#"data: {{"id":"chatcmpl-{:020}","object":"chat.completion.chunk","created":1763640000,"model":"gpt-4o-mini-2024-07-18","service_tier":"default","system_fingerprint":"fp_560af6e559","choices":[{choice}]{usage},"obfuscation":"aZ3kTq9"}}{}"#,
        since_start().as_nanos(),
        "\n\n"
    )
}

fn event(to: &mut Vec<u8>, event: &str) {
    to.extend_from_slice(format!("{:x}\r\n{event}\r\n", event.len()).as_bytes());
}

const NOT_FOUND: &str = "HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n";

/// What a provider's answers carry besides.
const HEADERS: &str = "date: Fri, 20 Nov 2026 12:00:00 GMT\r\nx-request-id: req_0123456789abcdef\r\n\
    openai-processing-ms: 12\r\nopenai-version: 2020-10-01\r\nx-ratelimit-limit-requests: 10000\r\n\
    x-ratelimit-remaining-requests: 9999\r\nx-ratelimit-reset-requests: 6ms\r\nserver: upstream\r\n";

const USAGE: &str = r#","usage":{"prompt_tokens":87,"completion_tokens":20,"total_tokens":107,"prompt_tokens_details":{"cached_tokens":0,"audio_tokens":0},"completion_tokens_details":{"reasoning_tokens":0,"audio_tokens":0,"accepted_prediction_tokens":0,"rejected_prediction_tokens":0}}"#;

const ANSWER: &str = r#"{"id":"chatcmpl-0","object":"chat.completion","created":1763640000,"model":"gpt-4o-mini-2024-07-18","choices":[{"index":0,"message":{"role":"assistant","content":"The letter thanks the reader for the visit in spring. It asks for an answer by the end of the month.","refusal":null,"annotations":[]},"logprobs":null,"finish_reason":"stop"}],"usage":{"prompt_tokens":87,"completion_tokens":24,"total_tokens":111,"prompt_tokens_details":{"cached_tokens":0,"audio_tokens":0},"completion_tokens_details":{"reasoning_tokens":0,"audio_tokens":0,"accepted_prediction_tokens":0,"rejected_prediction_tokens":0}},"service_tier":"default","system_fingerprint":"fp_560af6e559"}"#;
