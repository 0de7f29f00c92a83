//! Whole requests through the gateway's own binary: one connection, one request after the other, an upstream that
//! writes each answer at once.

use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::Child;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tokio::time::Instant;

use crate::samples::{ANSWER, events, request};
use crate::{Failure, callgrind};

/// What is asked.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Requests {
    Json,
    Stream,
}

impl Requests {
    pub(crate) const ALL: [Self; 2] = [Self::Json, Self::Stream];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Json => "a whole JSON request",
            Self::Stream => "a whole stream of 20 chunks at once",
        }
    }

    fn request(self) -> Vec<u8> {
        let body = request(400, matches!(self, Self::Stream));
        format!(
            "POST /v1/chat/completions HTTP/1.1\r\nhost: gateway.example\r\naccept: application/json\r\n\
             content-type: application/json\r\nuser-agent: OpenAI/Python 2.8.1\r\nauthorization: Bearer {KEY}\r\n\
             content-length: {}\r\n\r\n{body}",
            body.len()
        )
        .into_bytes()
    }

    fn answer(self) -> Vec<u8> {
        let (kind, body) = match self {
            Self::Json => ("application/json", ANSWER.to_owned()),
            Self::Stream => ("text/event-stream", chunked(&events(20))),
        };
        let framing = match self {
            Self::Json => format!("content-length: {}", body.len()),
            Self::Stream => "transfer-encoding: chunked".to_owned(),
        };
        format!("HTTP/1.1 200 OK\r\ncontent-type: {kind}\r\nx-request-id: req_1\r\n{framing}\r\n\r\n{body}")
            .into_bytes()
    }

    fn end(self) -> &'static [u8] {
        match self {
            Self::Json => b"}",
            Self::Stream => b"\r\n0\r\n\r\n",
        }
    }
}

fn chunked(events: &[String]) -> String {
    let chunks = events.iter().map(|event| format!("{:x}\r\n{event}\r\n", event.len()));
    chunks.collect::<String>() + "0\r\n\r\n"
}

/// Instructions of a gateway that was asked so many times, from its start to its orderly end.
pub(crate) fn count(requests: Requests, times: u64) -> Result<u64, Failure> {
    let folder = tempfile::tempdir()?;
    let address = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
    let config = folder.path().join("tollgate.yaml");
    let text = CONFIG
        .replace("@LISTEN@", &address.to_string())
        .replace("@HOME@", &folder.path().display().to_string())
        .replace("@UPSTREAM@", &upstream(requests)?.to_string());
    std::fs::write(&config, text)?;
    std::fs::write(folder.path().join("key"), KEY)?;
    let config = config.display().to_string();
    callgrind::count(Path::new(env!("CARGO_BIN_EXE_tollgate")), &["serve", "--config", &config], |child| {
        ask(address, requests, times)?;
        stop(child)
    })
}

fn ask(to: SocketAddr, requests: Requests, times: u64) -> Result<(), Failure> {
    let mut connection = connect(to)?;
    connection.set_nodelay(true)?;
    connection.set_read_timeout(Some(PATIENCE))?;
    let request = requests.request();
    let mut buffer = vec![0; 64 * 1_024];
    for _ in 0..times {
        connection.write_all(&request)?;
        let mut read = 0;
        while !buffer[..read].ends_with(requests.end()) {
            match connection.read(&mut buffer[read..])? {
                0 => return Err(format!("hung up after {}", String::from_utf8_lossy(&buffer[..read])).into()),
                more => read += more,
            }
        }
        if !buffer.starts_with(b"HTTP/1.1 200") {
            return Err(String::from_utf8_lossy(&buffer[..read]).into());
        }
    }
    Ok(())
}

fn connect(to: SocketAddr) -> Result<TcpStream, Failure> {
    let until = now() + PATIENCE;
    loop {
        match TcpStream::connect(to) {
            Ok(connection) => return Ok(connection),
            Err(fault) if now() > until => return Err(format!("the gateway does not listen: {fault}").into()),
            Err(_) => pause(Duration::from_millis(20)),
        }
    }
}

fn stop(child: &mut Child) -> Result<(), Failure> {
    let id = i32::try_from(child.id()).ok().and_then(Pid::from_raw).ok_or("no process")?;
    kill_process(id, Signal::TERM)?;
    if child.wait()?.success() { Ok(()) } else { Err("the gateway did not end well".into()) }
}

/// Answers every request on every connection, on threads that end with the process.
fn upstream(requests: Requests) -> io::Result<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    let answer = requests.answer();
    std::thread::spawn(move || {
        for connection in listener.incoming().flatten() {
            let answer = answer.clone();
            std::thread::spawn(move || serve(connection, &answer));
        }
    });
    Ok(address)
}

fn serve(mut connection: TcpStream, answer: &[u8]) -> io::Result<()> {
    connection.set_nodelay(true)?;
    let mut buffer = vec![0; 64 * 1_024];
    let mut read = 0;
    loop {
        match connection.read(&mut buffer[read..])? {
            0 => return Ok(()),
            more => read += more,
        }
        // the body is the only thing in a request that ends so
        if buffer[..read].ends_with(b"}") {
            connection.write_all(answer)?;
            read = 0;
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "another process starts by the machine's time")]
fn pause(span: Duration) {
    std::thread::sleep(span);
}

/// The runtime's time is the machine's.
fn now() -> Instant {
    Instant::now()
}

const PATIENCE: Duration = Duration::from_secs(60);

/// Made up, and of no use anywhere else.
const KEY: &str = "bench-key-of-no-use-anywhere-else-0123456789";

/// Everything that a request passes, but nothing that happens by time or by chance.
const CONFIG: &str = r#"
listen: "@LISTEN@"
admin: { listen: "127.0.0.1:0" }
data_dir: "@HOME@/data"
workers: 1
upstreams:
  provider: { base_url: "http://@UPSTREAM@/v1", stream_usage: ask }
teams:
  bench:
    keys:
      - { name: load, key: "file:key", budgets: [{ limit_usd: 1_000_000, every: day }] }
    budgets: [{ limit_usd: 1_000_000, every: month }]
    limits: { requests_per_minute: 100_000_000, tokens_per_minute: 10_000_000_000, concurrent: 10_000 }
log: { format: json, level: info, requests: true }
"#;
