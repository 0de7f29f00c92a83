//! The mock's WebSockets: the handshake, the frames, and whose turn it is. What it says is in `lines`.

use std::io;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method, header};
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use sha1::Sha1;
use sha2::{Digest as _, Sha256};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, ReadHalf, WriteHalf, split};
use tokio_util::sync::CancellationToken;

use super::lines::Lines;
use crate::dialect::frames::{Opcode, closing, frame, piece_of_message};
use crate::dialect::messages::{Messages, Step};

/// What a handshake asks for.
#[derive(Debug)]
pub(super) struct Handshake {
    pub(super) client: OnUpgrade,
    accept: String,
    protocol: Option<HeaderValue>,
    lines: Lines,
}

/// RFC 6455, 1.3.
const GUID: &str = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

impl Handshake {
    /// The socket that a request asks for, if it asks for one.
    pub(super) fn of(parts: &mut Parts, pace: Duration) -> Option<Self> {
        let asks = parts.headers.get(header::UPGRADE)?.as_bytes().eq_ignore_ascii_case(b"websocket");
        let key =
            parts.headers.get(header::SEC_WEBSOCKET_KEY).filter(|_| asks && parts.method == Method::GET)?;
        let mut sum = Sha1::new();
        sum.update(key.as_bytes());
        sum.update(GUID);
        let accept = STANDARD.encode(sum.finalize());
        let offered = parts.headers.get(header::SEC_WEBSOCKET_PROTOCOL).and_then(|names| names.to_str().ok());
        let chosen =
            offered.and_then(|names| names.split(',').map(str::trim).find(|name| *name == "realtime"));
        let protocol = chosen.and_then(|name| HeaderValue::from_str(name).ok());
        let lines = Lines::of(&parts.uri, &parts.headers, pace)?;
        Some(Self { client: parts.extensions.remove()?, accept, protocol, lines })
    }

    /// The headers of the 101.
    pub(super) fn headers(&self) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
        headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
        if let Ok(accept) = HeaderValue::from_str(&self.accept) {
            headers.insert(header::SEC_WEBSOCKET_ACCEPT, accept);
        }
        if let Some(protocol) = &self.protocol {
            headers.insert(header::SEC_WEBSOCKET_PROTOCOL, protocol.clone());
        }
        headers
    }

    /// Talks until the client closes, or the mock stops.
    pub(super) async fn talk(self, stop: CancellationToken) {
        let Ok(client) = self.client.await else { return };
        let (hear, say) = split(TokioIo::new(client));
        let messages = Messages::new(MOST_MESSAGE, None);
        let mut talk = Talk { hear, say, messages, heard: Sha256::new(), lines: self.lines };
        tokio::select! {
            () = stop.cancelled() => {}
            // a client that breaks off ends its socket, as it should
            _ = talk.run() => {}
        }
    }
}

const MOST_MESSAGE: usize = 64 << 20;
/// A message longer than this goes out in three frames with a ping between them.
const WHOLE_FRAME: usize = 64 << 10;

type Side = TokioIo<Upgraded>;

struct Talk {
    hear: ReadHalf<Side>,
    say: WriteHalf<Side>,
    messages: Messages,
    /// Of all bytes that came, frames and masks included.
    heard: Sha256,
    lines: Lines,
}

impl Talk {
    async fn run(&mut self) -> io::Result<()> {
        let mut buffer = vec![0; 16 << 10];
        loop {
            while let Some(line) = self.lines.due() {
                self.tell(&line).await?;
            }
            let pause = self.lines.pause();
            let read = tokio::select! {
                read = self.hear.read(&mut buffer) => read?,
                () = tokio::time::sleep(pause.unwrap_or_default()), if pause.is_some() => {
                    self.lines.go_on();
                    continue;
                }
            };
            if read == 0 || !self.take(&buffer[..read]).await? {
                return self.say.shutdown().await;
            }
        }
    }

    /// `false` once the client has closed.
    async fn take(&mut self, input: &[u8]) -> io::Result<bool> {
        self.heard.update(input);
        let mut rest = input;
        loop {
            let (taken, step) = self.messages.step(rest).map_err(io::Error::other)?;
            rest = &rest[taken..];
            match step {
                Step::More => return Ok(true),
                Step::Closed => {
                    self.write(frame(Opcode::Close, &closing(1000, ""), None)).await?;
                    return Ok(false);
                }
                Step::ControlEnded => self.write(frame(Opcode::Pong, b"mock", None)).await?,
                Step::Message => {
                    let event: Value =
                        serde_json::from_slice(self.messages.message().bytes).unwrap_or_default();
                    match event["type"].as_str() {
                        Some("mock.digest") => {
                            let sum: String = self
                                .heard
                                .clone()
                                .finalize()
                                .iter()
                                .map(|byte| format!("{byte:02x}"))
                                .collect();
                            self.tell(&json!({"type": "mock.digest", "sha256": sum})).await?;
                        }
                        Some("mock.reset") => return Err(io::ErrorKind::ConnectionReset.into()),
                        _ => self.lines.hear(&event),
                    }
                }
                Step::Control | Step::Data => {}
            }
        }
    }

    async fn tell(&mut self, line: &Value) -> io::Result<()> {
        let text = Bytes::from(line.to_string());
        if text.len() <= WHOLE_FRAME {
            return self.write(frame(Opcode::Text, &text, None)).await;
        }
        let third = text.len() / 3;
        self.write(piece_of_message(Opcode::Text, &text[..third], None, false)).await?;
        self.write(frame(Opcode::Ping, b"between", None)).await?;
        self.write(piece_of_message(Opcode::Continuation, &text[third..2 * third], None, false)).await?;
        self.write(piece_of_message(Opcode::Continuation, &text[2 * third..], None, true)).await
    }

    async fn write(&mut self, bytes: Vec<u8>) -> io::Result<()> {
        self.say.write_all(&bytes).await?;
        self.say.flush().await
    }
}
