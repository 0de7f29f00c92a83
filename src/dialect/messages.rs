//! The messages of one direction of a socket, put together from a copy of its frames. Memory is bounded: of what is
//! too long only the beginning and the end are kept, which is where its type and its usage are.

use super::deflate::{Inflater, NotInflated};
use super::frames::{Frame, Frames, NotFrames, Opcode, Seen};
use super::kept::Kept;

/// What the bytes just read are part of, or the end of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Nothing can be told before more bytes come.
    More,
    /// Bytes of a ping, a pong or a close.
    Control,
    /// Bytes of a message.
    Data,
    /// A ping or a pong is over.
    ControlEnded,
    /// A close is over: this side says no more.
    Closed,
    /// A message is over: [`Messages::message`] has it until the next step.
    Message,
}

/// A whole message, as far as it was kept.
#[derive(Debug, Clone, Copy)]
pub struct Message<'a> {
    /// Text, which may say something; binary says nothing to us.
    pub is_text: bool,
    /// All of it; its end, if it was clipped.
    pub bytes: &'a [u8],
    /// Its beginning, at least [`HEAD`] bytes if there are as many.
    pub head: &'a [u8],
    /// Whether only beginning and end were kept.
    pub is_clipped: bool,
    /// Whether it was compressed in a way that nobody here could read.
    pub is_unread: bool,
}

/// What is kept of a long message's beginning.
pub const HEAD: usize = 4 * 1024;
/// What is kept of a long message's end.
pub const TAIL: usize = 64 * 1024;

/// Listens to one direction.
#[derive(Debug)]
pub struct Messages {
    frames: Frames,
    inflater: Option<Inflater>,
    /// The frame whose payload is read.
    frame: Option<Frame>,
    is_text: bool,
    is_compressed: bool,
    is_unread: bool,
    /// A compressed message could not be read, and those after it may refer to it.
    is_lost: bool,
    head: Vec<u8>,
    kept: Kept,
    /// Between the beginning and the end of a message.
    is_under_way: bool,
}

impl Messages {
    /// Keeps messages of up to `most` bytes whole.
    #[must_use]
    pub fn new(most: usize, inflater: Option<Inflater>) -> Self {
        Self {
            frames: Frames::default(),
            inflater,
            frame: None,
            is_text: false,
            is_compressed: false,
            is_unread: false,
            is_lost: false,
            head: Vec::new(),
            kept: Kept::new(most, TAIL),
            is_under_way: false,
        }
    }

    /// Reads on; answers how many bytes of `input` it read, and what they are.
    ///
    /// # Errors
    /// When the bytes are no frames.
    pub fn step(&mut self, input: &[u8]) -> Result<(usize, Step), NotFrames> {
        let (taken, seen) = self.frames.read(input)?;
        let step = match seen {
            // a head that is not complete: nobody knows yet whose it is
            Seen::Nothing => Step::More,
            Seen::Began(frame) => {
                self.frame = Some(frame);
                self.begin(frame)
            }
            Seen::Payload(plain) => match self.frame {
                Some(frame) if frame.opcode.is_control() => Step::Control,
                _ => {
                    let pushed = match &mut self.inflater {
                        Some(inflater) if self.is_compressed && !self.is_unread => {
                            let (head, kept) = (&mut self.head, &mut self.kept);
                            inflater.push(plain, |piece| keep(head, kept, piece))
                        }
                        _ if self.is_compressed => Err(NotInflated),
                        _ => {
                            keep(&mut self.head, &mut self.kept, plain);
                            Ok(())
                        }
                    };
                    if pushed.is_err() {
                        self.lose();
                    }
                    Step::Data
                }
            },
            Seen::Ended(frame) => self.end(frame),
        };
        Ok((taken, step))
    }

    /// The message that has just ended.
    #[must_use]
    pub fn message(&self) -> Message<'_> {
        Message {
            is_text: self.is_text,
            bytes: self.kept.bytes(),
            head: &self.head,
            is_clipped: self.kept.is_clipped(),
            is_unread: self.is_unread,
        }
    }

    /// The beginning of the message under way, as far as it came; at most [`HEAD`] bytes.
    #[must_use]
    pub fn so_far(&self) -> &[u8] {
        &self.head
    }

    /// Bytes that are kept of the message under way.
    #[must_use]
    pub fn kept(&self) -> usize {
        self.kept.bytes().len()
    }

    /// Nobody reads the message under way: no more than its end is kept.
    pub fn pass_over(&mut self) {
        self.kept.clip();
    }

    /// Whether a message is under way.
    #[must_use]
    pub const fn is_under_way(&self) -> bool {
        self.is_under_way
    }

    /// Whether the message under way, or the last one, is text.
    #[must_use]
    pub const fn is_text(&self) -> bool {
        self.is_text
    }

    /// Whether the next byte may be one of a frame that somebody else puts in.
    #[must_use]
    pub const fn at_boundary(&self) -> bool {
        self.frames.at_boundary()
    }

    /// Whether messages refer to those before them: none may be left out.
    #[must_use]
    pub fn has_memory(&self) -> bool {
        self.inflater.as_ref().is_some_and(Inflater::has_memory)
    }

    fn begin(&mut self, frame: Frame) -> Step {
        match frame.opcode {
            Opcode::Close | Opcode::Ping | Opcode::Pong => return Step::Control,
            Opcode::Continuation => {}
            Opcode::Text | Opcode::Binary => {
                self.head.clear();
                self.kept.clear();
                self.is_text = frame.opcode == Opcode::Text;
                self.is_compressed = frame.is_compressed;
                self.is_under_way = true;
                self.is_unread = self.is_compressed && self.is_lost;
            }
        }
        Step::Data
    }

    fn lose(&mut self) {
        self.is_unread = true;
        match &mut self.inflater {
            Some(inflater) if !inflater.has_memory() => inflater.restart(),
            _ => self.is_lost = true,
        }
    }

    fn end(&mut self, frame: Frame) -> Step {
        self.frame = None;
        match frame.opcode {
            Opcode::Close => return Step::Closed,
            Opcode::Ping | Opcode::Pong => return Step::ControlEnded,
            _ if !frame.is_last => return Step::Data,
            _ => {}
        }
        if let Some(inflater) = self.inflater.as_mut().filter(|_| self.is_compressed && !self.is_unread) {
            let (head, kept) = (&mut self.head, &mut self.kept);
            if inflater.finish(|piece| keep(head, kept, piece)).is_err() {
                self.lose();
            }
        }
        self.is_under_way = false;
        Step::Message
    }
}

fn keep(head: &mut Vec<u8>, kept: &mut Kept, piece: &[u8]) {
    let room = HEAD.saturating_sub(head.len()).min(piece.len());
    head.extend_from_slice(&piece[..room]);
    kept.extend(piece);
}

#[cfg(test)]
#[path = "messages_tests.rs"]
mod tests;
