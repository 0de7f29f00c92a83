//! An HTTP/1.1 client that hides nothing: the status line, the headers in order, the body as it was framed
//! and as it was meant, and whether it came to a proper end.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};

use serde_json::Value;

use super::{Ask, PATIENCE};

/// One connection.
#[derive(Debug)]
pub(crate) struct Wire {
    stream: BufReader<TcpStream>,
    host: String,
}

/// The head of an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Head {
    pub(crate) line: String,
    pub(crate) status: u16,
    /// Names as they came, in their order.
    pub(crate) headers: Vec<(String, String)>,
}

/// How a body ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BodyEnd {
    /// As its framing says it should.
    Whole,
    /// The connection ended before.
    BrokenOff,
}

/// A whole answer.
#[derive(Debug, Clone)]
pub(crate) struct Answer {
    pub(crate) head: Head,
    /// The body without its framing.
    pub(crate) body: Vec<u8>,
    /// The body as it stood on the wire.
    pub(crate) raw: Vec<u8>,
    pub(crate) end: BodyEnd,
}

impl Head {
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    fn is_chunked(&self) -> bool {
        self.get("transfer-encoding").is_some_and(|coding| coding.eq_ignore_ascii_case("chunked"))
    }
}

impl Answer {
    pub(crate) fn status(&self) -> u16 {
        self.head.status
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|_| panic!("not JSON: {}", self.text()))
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

impl Wire {
    pub(crate) fn open(address: SocketAddr) -> Self {
        Self::open_as(address, &address.to_string())
    }

    /// A connection whose requests name another host.
    pub(crate) fn open_as(address: SocketAddr, host: &str) -> Self {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        Self { stream: BufReader::new(stream), host: host.into() }
    }

    /// Sends a request and reads the whole answer.
    pub(crate) fn ask(&mut self, ask: &Ask) -> Answer {
        let head = self.begin(ask);
        if ask.is_head() {
            return Answer { head, body: Vec::new(), raw: Vec::new(), end: BodyEnd::Whole };
        }
        self.rest(head)
    }

    /// The same with a gateway that may be gone by now: then there is no answer.
    pub(crate) fn try_ask(address: SocketAddr, ask: &Ask) -> Option<Answer> {
        let stream = TcpStream::connect(address).ok()?;
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut wire = Self { stream: BufReader::new(stream), host: address.to_string() };
        let bytes = ask.to_bytes(&wire.host);
        wire.stream.get_mut().write_all(&bytes).ok()?;
        let head = wire.head().ok()?;
        Some(wire.rest(head))
    }

    /// Sends bytes that are no whole request.
    pub(crate) fn send_bytes(&mut self, bytes: &[u8]) {
        self.stream.get_mut().write_all(bytes).unwrap();
    }

    /// Sends a request and reads the head of its answer.
    pub(crate) fn begin(&mut self, ask: &Ask) -> Head {
        self.send(ask);
        self.head().unwrap()
    }

    pub(crate) fn send(&mut self, ask: &Ask) {
        let bytes = ask.to_bytes(&self.host);
        self.stream.get_mut().write_all(&bytes).unwrap();
    }

    /// The head of the final answer; `100 Continue` is not one.
    fn head(&mut self) -> io::Result<Head> {
        loop {
            let head = self.any_head()?;
            if head.status != 100 {
                return Ok(head);
            }
        }
    }

    fn any_head(&mut self) -> io::Result<Head> {
        let line = self.line()?;
        let status = line.split(' ').nth(1).and_then(|word| word.parse().ok());
        let status = status.unwrap_or_else(|| panic!("no status line: {line:?}"));
        let mut headers = Vec::new();
        loop {
            let next = self.line()?;
            if next.is_empty() {
                return Ok(Head { line, status, headers });
            }
            let (name, value) = next.split_once(':').unwrap_or_else(|| panic!("no header: {next:?}"));
            headers.push((name.into(), value.trim().into()));
        }
    }

    /// Reads a body to its end, or to where it breaks off.
    pub(crate) fn rest(&mut self, head: Head) -> Answer {
        let mut answer = Answer { body: Vec::new(), raw: Vec::new(), end: BodyEnd::Whole, head };
        let length = answer.head.get("content-length").map(|text| text.parse::<usize>().unwrap());
        let read = match length {
            _ if matches!(answer.head.status, 100..=199 | 204 | 304) => Ok(()),
            Some(length) => self.take(length, &mut answer),
            None if answer.head.is_chunked() => self.chunks(&mut answer),
            None => self.until_closed(&mut answer),
        };
        if let Err(fault) = read {
            let slow = matches!(fault.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut);
            assert!(!slow, "a body stopped coming after {} bytes", answer.body.len());
            answer.end = BodyEnd::BrokenOff;
        }
        answer
    }

    /// Reads one chunk of a chunked body: what the gateway wrote at once.
    pub(crate) fn one_chunk(&mut self) -> Vec<u8> {
        let mut answer = Answer {
            head: Head { line: String::new(), status: 200, headers: Vec::new() },
            body: Vec::new(),
            raw: Vec::new(),
            end: BodyEnd::Whole,
        };
        self.chunk(&mut answer).unwrap();
        answer.body
    }

    /// Reads this many bytes of a body as they stand on the wire, or what there is of them.
    pub(crate) fn some_bytes(&mut self, most: usize) -> Vec<u8> {
        let mut bytes = Vec::new();
        self.stream.by_ref().take(most as u64).read_to_end(&mut bytes).unwrap();
        bytes
    }

    fn chunks(&mut self, answer: &mut Answer) -> io::Result<()> {
        while self.chunk(answer)? {}
        Ok(())
    }

    /// One chunk; `false` after the last.
    fn chunk(&mut self, answer: &mut Answer) -> io::Result<bool> {
        let size = self.raw_line(answer)?;
        let size = usize::from_str_radix(size.trim(), 16).unwrap_or_else(|_| panic!("no chunk: {size:?}"));
        if size > 0 {
            self.take(size, answer)?;
        }
        let end = self.raw_line(answer)?;
        assert_eq!(end, "\r\n", "after a chunk, and no trailers");
        Ok(size > 0)
    }

    fn take(&mut self, length: usize, answer: &mut Answer) -> io::Result<()> {
        let before = answer.body.len();
        let mut limited = self.stream.by_ref().take(length as u64);
        let read = limited.read_to_end(&mut answer.body);
        answer.raw.extend_from_slice(&answer.body[before..]);
        read?;
        if answer.body.len() - before == length { Ok(()) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
    }

    fn until_closed(&mut self, answer: &mut Answer) -> io::Result<()> {
        let read = self.stream.read_to_end(&mut answer.body);
        answer.raw.clone_from(&answer.body);
        read.map(|_| ())
    }

    fn raw_line(&mut self, answer: &mut Answer) -> io::Result<String> {
        let mut line = String::new();
        self.stream.read_line(&mut line)?;
        answer.raw.extend_from_slice(line.as_bytes());
        if line.ends_with('\n') { Ok(line) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
    }

    fn line(&mut self) -> io::Result<String> {
        let mut line = String::new();
        self.stream.read_line(&mut line)?;
        match line.strip_suffix("\r\n") {
            Some(line) => Ok(line.into()),
            None => Err(io::ErrorKind::UnexpectedEof.into()),
        }
    }
}
