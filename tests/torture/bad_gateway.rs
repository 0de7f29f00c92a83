//! A tiny relay that keeps each answer until it has all of it, and does one thing wrong.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;

/// What it does wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    None,
    /// Every request goes to the upstream twice.
    AsksTwice,
    /// One byte in the middle of each answer is gone.
    DropsAByte,
    /// An answer that broke off is given as if that were all of it.
    EndsCutStreamsWell,
    /// One answer in ten is a 500 of its own.
    FailsNowAndThen,
}

/// The running relay.
#[derive(Debug)]
pub(crate) struct BadGateway {
    address: SocketAddr,
    upstream: SocketAddr,
    stop: Arc<AtomicBool>,
}

impl BadGateway {
    pub(crate) fn start(fault: Fault) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        // free a moment ago; the oracle will listen there
        let upstream = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let stop = Arc::new(AtomicBool::new(false));
        let (stopped, count) = (Arc::clone(&stop), Arc::new(AtomicU64::new(0)));
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                if stopped.load(Ordering::Acquire) {
                    return;
                }
                let count = Arc::clone(&count);
                // whoever breaks off gets nothing more
                thread::spawn(move || relay(stream, upstream, fault, &count));
            }
        });
        Self { address, upstream, stop }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}/v1", self.address)
    }

    pub(crate) fn upstream(&self) -> SocketAddr {
        self.upstream
    }
}

impl Drop for BadGateway {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
        // wakes the listener up, if it still listens
        let _ = TcpStream::connect(self.address);
    }
}

/// One request of one connection.
fn relay(mut client: TcpStream, upstream: SocketAddr, fault: Fault, count: &AtomicU64) -> io::Result<()> {
    let mut reader = BufReader::new(client.try_clone()?);
    let (line, _, body) = message(&mut reader)?;
    let path = line.split(' ').nth(1).unwrap_or_default();
    if line.starts_with("GET") {
        return client.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\n{}");
    }
    if fault == Fault::FailsNowAndThen && count.fetch_add(1, Ordering::Relaxed).is_multiple_of(10) {
        return client.write_all(b"HTTP/1.1 500 Oh\r\ncontent-length: 2\r\nconnection: close\r\n\r\n{}");
    }
    let ask = || {
        let mut stream = TcpStream::connect(upstream)?;
        let head = format!(
            "POST {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: {}\r\n\r\n",
            body.len()
        );
        stream.write_all(head.as_bytes())?;
        stream.write_all(&body)?;
        message(&mut BufReader::new(stream))
    };
    if fault == Fault::AsksTwice {
        ask()?;
    }
    let (status, is_whole, mut answer) = ask()?;
    if fault == Fault::DropsAByte && !answer.is_empty() {
        answer.remove(answer.len() / 2);
    }
    let ends_well = is_whole || fault == Fault::EndsCutStreamsWell;
    let promised = if ends_well { answer.len() } else { answer.len() + 1 };
    let head = format!("{status}\r\ncontent-length: {promised}\r\nconnection: close\r\n\r\n");
    client.write_all(head.as_bytes())?;
    client.write_all(&answer)
}

/// First line, whether all of it came, and body of a request or an answer.
fn message(reader: &mut impl BufRead) -> io::Result<(String, bool, Vec<u8>)> {
    let first = line(reader)?;
    let (mut length, mut is_chunked) = (None, false);
    loop {
        let header = line(reader)?.to_ascii_lowercase();
        if header.is_empty() {
            break;
        }
        is_chunked |= header == "transfer-encoding: chunked";
        length = header.strip_prefix("content-length: ").and_then(|text| text.parse().ok()).or(length);
    }
    let mut body = Vec::new();
    let is_whole = if is_chunked {
        chunks(reader, &mut body).is_ok()
    } else {
        let length: u64 = length.unwrap_or(0);
        reader.take(length).read_to_end(&mut body).is_ok() && body.len() as u64 == length
    };
    Ok((first, is_whole, body))
}

fn chunks(reader: &mut impl BufRead, body: &mut Vec<u8>) -> io::Result<()> {
    loop {
        let size = usize::from_str_radix(&line(reader)?, 16).map_err(io::Error::other)?;
        let mut chunk = vec![0; size];
        reader.read_exact(&mut chunk)?;
        body.extend_from_slice(&chunk);
        line(reader)?;
        if size == 0 {
            return Ok(());
        }
    }
}

fn line(reader: &mut impl BufRead) -> io::Result<String> {
    let mut line = String::new();
    reader.read_line(&mut line)?;
    line.strip_suffix("\r\n").map(str::to_owned).ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
}
