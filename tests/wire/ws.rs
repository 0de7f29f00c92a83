//! A client of WebSockets on a raw connection: it knows every byte that it sent and got.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};

use serde_json::Value;
use sha2::{Digest as _, Sha256};
use tollgate::dialect::frames::{Frame, Frames, Opcode, Seen, frame, piece_of_message};

use crate::support::{PATIENCE, PROD};

/// An open socket.
#[derive(Debug)]
pub(crate) struct Socket {
    stream: TcpStream,
    /// Headers of the 101, in lower case names.
    pub(crate) headers: Vec<(String, String)>,
    frames: Frames,
    unread: Vec<u8>,
    text: Vec<u8>,
    sent: Sha256,
    got: Sha256,
    sent_masks: u32,
}

/// What came.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Got {
    Event(Value),
    Ping(Vec<u8>),
    Pong(Vec<u8>),
    /// Status of a close; 0 without one.
    Close(u16),
    /// The connection ended.
    End,
}

/// The handshake of a client; `more` are further header lines, each with its end.
pub(crate) fn handshake(path: &str, more: &str) -> String {
    format!(
        "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: keep-alive, Upgrade\r\nUpgrade: WebSocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{more}\r\n"
    )
}

/// The header that presents the key `prod`.
pub(crate) fn bearer() -> String {
    format!("Authorization: Bearer {PROD}\r\n")
}

impl Socket {
    pub(crate) fn open(to: SocketAddr, path: &str) -> Self {
        Self::open_with(to, path, &bearer())
    }

    pub(crate) fn open_with(to: SocketAddr, path: &str, more: &str) -> Self {
        match Self::try_open(to, path, more) {
            Ok(socket) => socket,
            Err(answer) => panic!("no socket: {answer}"),
        }
    }

    /// A socket, or the answer that is none.
    pub(crate) fn try_open(to: SocketAddr, path: &str, more: &str) -> Result<Self, String> {
        let mut stream = TcpStream::connect(to).unwrap();
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.write_all(handshake(path, more).as_bytes()).unwrap();
        let mut head = Vec::new();
        let mut byte = [0];
        while !head.ends_with(b"\r\n\r\n") {
            assert_eq!(stream.read(&mut byte).unwrap(), 1, "{}", String::from_utf8_lossy(&head));
            head.push(byte[0]);
        }
        let head = String::from_utf8(head).unwrap();
        if !head.starts_with("HTTP/1.1 101 ") {
            let length = head
                .to_ascii_lowercase()
                .split_once("content-length: ")
                .map_or(0, |(_, rest)| rest.split("\r\n").next().unwrap().parse::<usize>().unwrap());
            let mut body = vec![0; length];
            stream.read_exact(&mut body).unwrap();
            return Err(head + &String::from_utf8_lossy(&body));
        }
        let pairs = head.lines().skip(1).filter_map(|line| line.split_once(": "));
        let headers = pairs.map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned())).collect();
        Ok(Self {
            stream,
            headers,
            frames: Frames::default(),
            unread: Vec::new(),
            text: Vec::new(),
            sent: Sha256::new(),
            got: Sha256::new(),
            sent_masks: 0,
        })
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(own, _)| own == name).map(|(_, value)| value.as_str())
    }

    pub(crate) fn id(&self) -> String {
        self.header("x-tollgate-request-id").unwrap().to_owned()
    }

    /// Sends an event.
    pub(crate) fn say(&mut self, event: &Value) {
        let bytes = self.masked(Opcode::Text, event.to_string().as_bytes(), true);
        self.send(&bytes);
    }

    /// Sends an event that the upstream must not get: it is in no sum.
    pub(crate) fn say_in_vain(&mut self, event: &Value) {
        let bytes = self.masked(Opcode::Text, event.to_string().as_bytes(), true);
        self.stream.write_all(&bytes).unwrap();
    }

    /// Sends an event in as many frames as it has letters, with a ping in the middle.
    pub(crate) fn say_in_pieces(&mut self, event: &Value) {
        let text = event.to_string();
        for (at, byte) in text.bytes().enumerate() {
            let opcode = if at == 0 { Opcode::Text } else { Opcode::Continuation };
            let bytes = self.masked(opcode, &[byte], at + 1 == text.len());
            self.send(&bytes);
            if at == text.len() / 2 {
                self.control(Opcode::Ping, b"in the middle");
            }
        }
    }

    pub(crate) fn control(&mut self, opcode: Opcode, payload: &[u8]) {
        let bytes = self.masked(opcode, payload, true);
        self.send(&bytes);
    }

    fn masked(&mut self, opcode: Opcode, payload: &[u8], is_last: bool) -> Vec<u8> {
        self.sent_masks += 0x0103_0509;
        piece_of_message(opcode, payload, Some(self.sent_masks.to_be_bytes()), is_last)
    }

    pub(crate) fn send(&mut self, bytes: &[u8]) {
        self.sent.update(bytes);
        self.stream.write_all(bytes).unwrap();
    }

    /// The next thing that comes.
    pub(crate) fn next(&mut self) -> Got {
        let mut control = Vec::new();
        let mut open: Option<Frame> = None;
        loop {
            let (taken, seen) = self.frames.read(&self.unread).unwrap();
            let ended = match seen {
                Seen::Nothing => {
                    self.unread.drain(..taken);
                    let mut buffer = [0; 8192];
                    let read = self.stream.read(&mut buffer).unwrap_or(0);
                    if read == 0 {
                        return Got::End;
                    }
                    self.got.update(&buffer[..read]);
                    self.unread.extend_from_slice(&buffer[..read]);
                    continue;
                }
                Seen::Began(frame) => {
                    open = Some(frame);
                    None
                }
                Seen::Payload(plain) if open.is_some_and(|frame| frame.opcode.is_control()) => {
                    control.extend_from_slice(plain);
                    None
                }
                Seen::Payload(plain) => {
                    self.text.extend_from_slice(plain);
                    None
                }
                Seen::Ended(frame) => Some(frame),
            };
            self.unread.drain(..taken);
            match ended.map(|frame| (frame.opcode, frame.is_last)) {
                Some((Opcode::Ping, _)) => return Got::Ping(control),
                Some((Opcode::Pong, _)) => return Got::Pong(control),
                Some((Opcode::Close, _)) => {
                    return Got::Close(control.first_chunk().map_or(0, |code| u16::from_be_bytes(*code)));
                }
                Some((_, true)) => {
                    let text = std::mem::take(&mut self.text);
                    return Got::Event(serde_json::from_slice(&text).unwrap());
                }
                _ => {}
            }
        }
    }

    /// The next event, whatever stands before it.
    pub(crate) fn event(&mut self) -> Value {
        loop {
            match self.next() {
                Got::Event(event) => return event,
                Got::Ping(_) | Got::Pong(_) => {}
                other => panic!("no event but {other:?}"),
            }
        }
    }

    /// The next event of this type, passing over others.
    pub(crate) fn until(&mut self, kind: &str) -> Value {
        loop {
            let event = self.event();
            if event["type"] == kind {
                return event;
            }
        }
    }

    /// Closes in order, and reads to the end.
    pub(crate) fn close(&mut self) {
        self.control(Opcode::Close, &1000_u16.to_be_bytes());
        while self.next() != Got::End {}
    }

    pub(crate) fn sha_sent(&self) -> String {
        hex(&self.sent)
    }

    pub(crate) fn sha_got(&self) -> String {
        hex(&self.got)
    }

    /// Breaks off without a word.
    pub(crate) fn vanish(self) {
        socket2::SockRef::from(&self.stream).set_linger(Some(std::time::Duration::ZERO)).unwrap();
    }
}

fn hex(sum: &Sha256) -> String {
    sum.clone().finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A text frame as a server writes it.
pub(crate) fn told(event: &Value) -> Vec<u8> {
    frame(Opcode::Text, event.to_string().as_bytes(), None)
}
