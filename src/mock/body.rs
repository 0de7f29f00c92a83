//! A response body that follows a script: pieces, pauses, a stall, an early end.

use std::collections::VecDeque;
use std::future::Future as _;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tokio::time::Sleep;

use super::encode::Encoder;
use super::knobs::{Cut, Knobs};
use super::served::{End, Entry};
use super::wire::Frame;

/// The body of one answer.
pub(super) struct ScriptBody {
    frames: VecDeque<Frame>,
    /// `None` once the coding is closed.
    encoder: Option<Encoder>,
    /// Encoded and due, not yet handed over.
    ready: BytesMut,
    /// Output tokens in `ready`.
    tokens: u64,
    begun: u64,
    sent: usize,
    pause: Option<Pin<Box<Sleep>>>,
    /// Lets the connection flush before the next piece, so that pieces stay separate writes.
    flush: bool,
    script: Script,
    filler: Filler,
    entry: Entry,
    /// Set when the connection is to end with a reset.
    reset: Arc<AtomicBool>,
}

struct Script {
    pace: Duration,
    stall: Option<(u64, Duration)>,
    slice: usize,
    cut: Option<Cut>,
}

impl ScriptBody {
    /// A body that sends `frames` as `knobs` say. `pace` holds where the knobs name none.
    pub(super) fn new(
        frames: Vec<Frame>,
        knobs: &Knobs,
        pace: Duration,
        entry: Entry,
        reset: Arc<AtomicBool>,
    ) -> io::Result<Self> {
        let script = Script {
            pace: knobs.pace.unwrap_or(pace),
            stall: knobs.stall,
            slice: knobs.slice.unwrap_or(usize::MAX),
            cut: knobs.cut,
        };
        let filler = Filler::of(&frames, knobs.bytes);
        let frames = if knobs.burst { joined(&frames) } else { frames.into() };
        Ok(Self {
            frames,
            encoder: Some(Encoder::new(knobs.encoding)?),
            ready: BytesMut::new(),
            tokens: 0,
            begun: 0,
            sent: 0,
            pause: None,
            flush: knobs.cut.is_some(),
            script,
            filler,
            entry,
            reset,
        })
    }

    /// Makes the next frame ready, or says that there is none.
    fn advance(&mut self) -> io::Result<bool> {
        let filling = if self.begun > 0 { self.filler.next() } else { None };
        let next = filling.or_else(|| self.frames.pop_front());
        let (Some(encoder), Some(frame)) = (&mut self.encoder, next) else { return Ok(false) };
        let coded = encoder.push(&frame.bytes)?;
        self.ready.extend_from_slice(&coded);
        self.tokens += frame.tokens;
        self.begun += 1;
        if self.is_last() {
            let encoder = self.encoder.take().expect("the encoder was there a line ago");
            self.ready.extend_from_slice(&encoder.finish()?);
        }
        Ok(true)
    }

    fn is_last(&self) -> bool {
        self.frames.is_empty() && self.filler.left == 0
    }

    /// The pause that is due before the next frame.
    fn pause_due(&self) -> Duration {
        if self.frames.is_empty() {
            return Duration::ZERO;
        }
        let pace = if self.begun == 0 { Duration::ZERO } else { self.script.pace };
        match self.script.stall {
            Some((after, length)) if after == self.begun => pace + length,
            _ => pace,
        }
    }

    /// Takes the next piece of what is ready, within the slice and the cut.
    fn piece(&mut self) -> Bytes {
        let left = self.script.cut.map_or(usize::MAX, |cut| cut.after - self.sent);
        let length = self.ready.len().min(self.script.slice).min(left);
        let piece = self.ready.split_to(length).freeze();
        let tokens = if self.ready.is_empty() { std::mem::take(&mut self.tokens) } else { 0 };
        self.sent += length;
        self.entry.sent(length, tokens);
        // a connection with a content-length never asks again after the last byte
        if self.is_cut_due() {
            self.entry.close(End::Cut);
        } else if self.ready.is_empty() && self.is_last() {
            self.entry.close(End::Clean);
        }
        piece
    }

    fn is_cut_due(&self) -> bool {
        self.script.cut.is_some_and(|cut| cut.after == self.sent)
    }

    fn cut(&mut self) -> io::Error {
        self.entry.close(End::Cut);
        if self.script.cut.is_some_and(|cut| cut.reset) {
            self.reset.store(true, Ordering::Release);
        }
        io::Error::new(io::ErrorKind::ConnectionAborted, "cut as the model name asked")
    }
}

impl http_body::Body for ScriptBody {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<io::Result<http_body::Frame<Bytes>>>> {
        let this = &mut *self;
        loop {
            if std::mem::take(&mut this.flush) {
                context.waker().wake_by_ref();
                return Poll::Pending;
            }
            if let Some(pause) = &mut this.pause {
                ready!(pause.as_mut().poll(context));
                this.pause = None;
                this.advance()?;
            }
            if this.is_cut_due() {
                return Poll::Ready(Some(Err(this.cut())));
            }
            if !this.ready.is_empty() {
                this.flush = true;
                return Poll::Ready(Some(Ok(http_body::Frame::data(this.piece()))));
            }
            let due = this.pause_due();
            if due > Duration::ZERO {
                this.pause = Some(Box::pin(tokio::time::sleep(due)));
            } else if !this.advance()? {
                this.entry.close(End::Clean);
                return Poll::Ready(None);
            }
        }
    }
}

/// What stands between an answer's first frame and the rest, made as it is sent.
struct Filler {
    piece: Bytes,
    left: u64,
}

impl Filler {
    /// Of a stream whole events, so that the end may be past `bytes`; of anything else so many zeros.
    fn of(frames: &[Frame], bytes: u64) -> Self {
        if bytes == 0 {
            return Self { piece: Bytes::new(), left: 0 };
        }
        let piece = match frames {
            [_, event, ..] => event.bytes.repeat(FILLING / event.bytes.len() + 1),
            _ => vec![0; FILLING],
        };
        let left = if frames.len() > 1 { bytes.next_multiple_of(piece.len() as u64) } else { bytes };
        Self { piece: piece.into(), left }
    }

    fn next(&mut self) -> Option<Frame> {
        let length = usize::try_from(self.left).unwrap_or(usize::MAX).min(self.piece.len());
        self.left -= length as u64;
        (length > 0).then(|| Frame { bytes: self.piece.slice(..length), tokens: 0 })
    }
}

const FILLING: usize = 64 << 10;

fn joined(frames: &[Frame]) -> VecDeque<Frame> {
    let bytes = frames.iter().map(|frame| frame.bytes.as_ref()).collect::<Vec<_>>().concat();
    VecDeque::from([Frame { bytes: bytes.into(), tokens: frames.iter().map(|frame| frame.tokens).sum() }])
}
