//! A raw HTTP/1.1 client that hides nothing: what came, how far, and how it ended. It can leave early, too.

use std::io;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::ask::Ask;
use super::door::{Caller, Door};

/// When a client goes away by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Leave {
    /// It stays to the end.
    Never,
    /// After so many body bytes, or right after the head with 0.
    AfterBody(usize),
    /// After so much time without a head.
    BeforeHead(Duration),
    /// After so many bytes of its own request.
    InUpload(usize),
}

/// How an answer ended for its client.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Ended {
    /// As its framing says it should.
    Whole,
    /// The connection ended before.
    BrokenOff,
    /// The client left.
    Left,
    /// There was no answer at all.
    NoAnswer,
    /// Nothing came for longer than anybody waits.
    Hung,
}

/// What a client saw.
#[derive(Debug, Clone)]
pub(super) struct Transcript {
    pub(super) status: Option<u16>,
    /// Names in small letters.
    pub(super) headers: Vec<(String, String)>,
    pub(super) body: Vec<u8>,
    pub(super) ended: Ended,
}

impl Transcript {
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }
}

/// A connection that may be used again.
#[derive(Debug, Default)]
pub(super) struct Wire {
    stream: Option<TcpStream>,
    read: Vec<u8>,
}

impl Wire {
    /// Sends one request and reads its answer; keeps the connection if both sides may.
    pub(super) async fn ask(&mut self, door: &Door, caller: &Caller, ask: &Ask, leave: Leave) -> Transcript {
        let mut seen =
            Transcript { status: None, headers: Vec::new(), body: Vec::new(), ended: Ended::NoAnswer };
        let request = door.request(ask, caller);
        let patience = if let Leave::BeforeHead(wait) = leave { wait } else { PATIENCE };
        let asked = tokio::time::timeout(patience, self.exchange(door, &request, leave, &mut seen)).await;
        seen.ended = match asked {
            Ok(Ok(ended)) => ended,
            Ok(Err(_)) if seen.status.is_some() => Ended::BrokenOff,
            Ok(Err(_)) => Ended::NoAnswer,
            Err(_) if matches!(leave, Leave::BeforeHead(_)) => Ended::Left,
            Err(_) => Ended::Hung,
        };
        if seen.ended == Ended::Left
            && let Some(stream) = &self.stream
            && seen.body.len() % 2 == 1
        {
            // half of those who leave do it with a reset
            let _ = socket2::SockRef::from(stream).set_linger(Some(Duration::ZERO));
        }
        let says_close = seen.header("connection").is_some_and(|said| said.eq_ignore_ascii_case("close"));
        // a refusal may come before the body was read
        if seen.ended != Ended::Whole || seen.status != Some(200) || says_close {
            *self = Self::default();
        }
        seen
    }

    async fn exchange(
        &mut self,
        door: &Door,
        request: &[u8],
        leave: Leave,
        seen: &mut Transcript,
    ) -> io::Result<Ended> {
        if self.stream.is_none() {
            let stream = TcpStream::connect(door.address).await?;
            stream.set_nodelay(true)?;
            self.stream = Some(stream);
        }
        if let Leave::InUpload(bytes) = leave {
            self.stream().write_all(&request[..bytes.min(request.len() - 1)]).await?;
            return Ok(Ended::Left);
        }
        self.stream().write_all(request).await?;
        self.head(seen).await?;
        if leave == Leave::AfterBody(0) {
            return Ok(Ended::Left);
        }
        let most = if let Leave::AfterBody(bytes) = leave { bytes } else { usize::MAX };
        if seen.header("transfer-encoding").is_some_and(|coding| coding.eq_ignore_ascii_case("chunked")) {
            return self.chunks(seen, most).await;
        }
        let length = seen.header("content-length").and_then(|text| text.parse::<usize>().ok());
        let Some(length) = length else { return self.until_closed(seen, most).await };
        if !self.take(length, &mut seen.body, most).await? {
            return Ok(Ended::Left);
        }
        Ok(Ended::Whole)
    }

    fn stream(&mut self) -> &mut TcpStream {
        self.stream.as_mut().expect("connected before anything is sent")
    }

    async fn head(&mut self, seen: &mut Transcript) -> io::Result<()> {
        loop {
            let status = self.line().await?;
            let status = status.split(' ').nth(1).and_then(|word| word.parse().ok()).ok_or_else(malformed)?;
            let mut headers = Vec::new();
            loop {
                let line = self.line().await?;
                if line.is_empty() {
                    break;
                }
                let (name, value) = line.split_once(':').ok_or_else(malformed)?;
                headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
            }
            if status >= 200 {
                (seen.status, seen.headers) = (Some(status), headers);
                return Ok(());
            }
        }
    }

    async fn chunks(&mut self, seen: &mut Transcript, most: usize) -> io::Result<Ended> {
        loop {
            let size = self.line().await?;
            let size = size.split(';').next().unwrap_or_default().trim();
            let size = usize::from_str_radix(size, 16).map_err(|_| malformed())?;
            if !self.take(size, &mut seen.body, most).await? {
                return Ok(Ended::Left);
            }
            if !self.line().await?.is_empty() {
                return Err(malformed());
            }
            if size == 0 {
                return Ok(Ended::Whole);
            }
        }
    }

    /// Moves `length` bytes into `body`; `false` if the client leaves on the way.
    async fn take(&mut self, length: usize, body: &mut Vec<u8>, most: usize) -> io::Result<bool> {
        let mut left = length;
        while left > 0 {
            if self.read.is_empty() {
                self.fill().await?;
            }
            let piece = left.min(self.read.len()).min(most - body.len());
            body.extend(self.read.drain(..piece));
            left -= piece;
            if body.len() >= most {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// A body without a length ends with its connection: nobody can tell an end from a break.
    async fn until_closed(&mut self, seen: &mut Transcript, most: usize) -> io::Result<Ended> {
        loop {
            let piece = self.read.len().min(most - seen.body.len());
            seen.body.extend(self.read.drain(..piece));
            if seen.body.len() >= most {
                return Ok(Ended::Left);
            }
            match self.fill().await {
                Ok(()) => {}
                Err(fault) if fault.kind() == io::ErrorKind::UnexpectedEof => {
                    self.stream = None;
                    return Ok(Ended::Whole);
                }
                Err(fault) => return Err(fault),
            }
        }
    }

    async fn line(&mut self) -> io::Result<String> {
        loop {
            if let Some(end) = memchr::memchr(b'\n', &self.read) {
                let mut line: Vec<u8> = self.read.drain(..=end).collect();
                line.pop();
                if line.pop_if(|last| *last == b'\r').is_none() {
                    return Err(malformed());
                }
                return String::from_utf8(line).map_err(|_| malformed());
            }
            if self.read.len() > MAX_LINE {
                return Err(malformed());
            }
            self.fill().await?;
        }
    }

    async fn fill(&mut self) -> io::Result<()> {
        self.read.reserve(BUFFER);
        let stream = self.stream.as_mut().expect("connected before anything is read");
        if stream.read_buf(&mut self.read).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(())
    }
}

fn malformed() -> io::Error {
    io::ErrorKind::InvalidData.into()
}

/// Longer than any answer of the kit takes on a busy machine; who waits longer calls it a hang.
const PATIENCE: Duration = Duration::from_secs(60);
const BUFFER: usize = 4 << 10;
const MAX_LINE: usize = 64 << 10;
