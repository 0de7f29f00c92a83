//! An upstream that a test plays byte by byte: it accepts, reads, writes and hangs up when the test says so.

use std::io::{BufReader, Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};

use crate::support::upstream::read_request;
use crate::support::{Ask, PATIENCE, PROD, Seen};

/// A listening upstream.
#[derive(Debug)]
pub(crate) struct Script {
    pub(crate) addr: SocketAddr,
    listener: TcpListener,
}

/// One connection of the gateway to it.
#[derive(Debug)]
pub(crate) struct Line {
    stream: BufReader<TcpStream>,
}

impl Script {
    pub(crate) fn open() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        // on Linux this bounds `accept`, too
        socket2::SockRef::from(&listener).set_read_timeout(Some(PATIENCE)).unwrap();
        Self { addr: listener.local_addr().unwrap(), listener }
    }

    /// The gateway's next connection.
    pub(crate) fn accept(&self) -> Line {
        let (stream, _) = self.listener.accept().expect("the gateway connects");
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        Line { stream: BufReader::new(stream) }
    }

    /// The next connection and its first request.
    pub(crate) fn asked(&self) -> (Line, Seen) {
        let mut line = self.accept();
        let seen = line.request();
        (line, seen)
    }

    /// Whether the gateway has connected once more by now.
    pub(crate) fn has_another(&self) -> bool {
        self.listener.set_nonblocking(true).unwrap();
        let found = self.listener.accept().is_ok();
        self.listener.set_nonblocking(false).unwrap();
        found
    }
}

impl Line {
    /// The next request on this connection.
    pub(crate) fn request(&mut self) -> Seen {
        read_request(&mut self.stream).expect("the gateway asks on this connection")
    }

    /// The bytes that come, as they come.
    pub(crate) fn raw(&mut self) -> &mut BufReader<TcpStream> {
        &mut self.stream
    }

    pub(crate) fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.stream.get_mut().write_all(bytes.as_ref()).unwrap();
    }

    /// Writes what the gateway takes; answers whether it took everything.
    pub(crate) fn send_while_open(&mut self, bytes: impl AsRef<[u8]>) -> bool {
        self.stream.get_mut().write_all(bytes.as_ref()).is_ok()
    }

    /// Writes `bytes` up to `times` times, until nobody takes any for two seconds; answers how many were taken.
    pub(crate) fn send_until_stuck(&mut self, bytes: &[u8], times: usize) -> u64 {
        let stream = self.stream.get_mut();
        stream.set_write_timeout(Some(std::time::Duration::from_secs(2))).unwrap();
        let mut taken = 0;
        for _ in 0..times {
            let mut rest = bytes;
            while !rest.is_empty() {
                let Ok(written) = stream.write(rest) else { return taken };
                taken += written as u64;
                rest = &rest[written..];
            }
        }
        taken
    }

    /// Begins a streamed answer.
    pub(crate) fn begin_events(&mut self) {
        self.send("HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n");
    }

    /// Sends one chunk of a chunked answer.
    pub(crate) fn chunk(&mut self, bytes: impl AsRef<[u8]>) {
        self.send(chunk(bytes));
    }

    /// Ends a chunked answer well.
    pub(crate) fn last_chunk(&mut self) {
        self.send("0\r\n\r\n");
    }

    /// Ends the sending direction.
    pub(crate) fn finish(&self) {
        self.stream.get_ref().shutdown(Shutdown::Write).unwrap();
    }

    /// Breaks off with a TCP reset.
    pub(crate) fn reset(self) {
        socket2::SockRef::from(self.stream.get_ref()).set_linger(Some(std::time::Duration::ZERO)).unwrap();
    }

    /// Reads raw bytes until they end like this; yields them all.
    pub(crate) fn wait_for(&mut self, end: &[u8]) -> Vec<u8> {
        let mut read = Vec::new();
        let mut byte = [0];
        while !read.ends_with(end) {
            self.stream.read_exact(&mut byte).expect("the gateway sends more");
            read.push(byte[0]);
        }
        read
    }

    /// Waits until the gateway has hung up, without a further word.
    pub(crate) fn is_left(&mut self) {
        let mut rest = Vec::new();
        // a reset ends the waiting, too
        let _ = self.stream.read_to_end(&mut rest);
        assert!(rest.is_empty(), "the gateway says more: {:?}", String::from_utf8_lossy(&rest));
    }
}

/// A stream whose client asked for usage.
pub(crate) fn asking() -> Ask {
    let body =
        r#"{"model":"gpt-4o-mini","stream":true,"stream_options":{"include_usage":true},"messages":[]}"#;
    Ask::post("/v1/chat/completions", body).bearer(PROD)
}

/// Bytes as one chunk.
pub(crate) fn chunk(bytes: impl AsRef<[u8]>) -> Vec<u8> {
    let bytes = bytes.as_ref();
    [format!("{:x}\r\n", bytes.len()).as_bytes(), bytes, b"\r\n"].concat()
}

/// An answer of events with a chunk for each piece.
pub(crate) fn events<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Vec<u8> {
    let head = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n";
    let chunks = pieces.into_iter().flat_map(chunk);
    head.iter().copied().chain(chunks).chain(*b"0\r\n\r\n").collect()
}

/// A gateway in front of `upstream`; `more` are further lines of the upstream, `server` its bounds.
pub(crate) fn gateway(upstream: SocketAddr, server: &str, more: &str) -> crate::support::Gateway {
    crate::support::Gateway::start(&format!(
        "server: {{ {server} }}
upstreams: {{ up: {{ base_url: \"http://{upstream}/v1\"{more} }} }}
teams: {{ search: {{ keys: [{{ name: prod, key: \"${{KEY_PROD}}\" }}] }} }}\n"
    ))
}

/// The most memory that the process has had, in bytes.
pub(crate) fn peak_memory(gateway: &crate::support::Gateway) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", gateway.pid())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().strip_suffix(" kB").unwrap().parse::<u64>().unwrap() << 10
}
