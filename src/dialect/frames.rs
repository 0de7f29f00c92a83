//! WebSocket frames (RFC 6455, 5.2), read from a copy of the bytes in passing and however they were cut, and the few
//! that a gateway writes itself. What is forwarded is never what was read here.

/// What a frame carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Opcode {
    /// More of the message under way.
    Continuation,
    /// The beginning of a text message.
    Text,
    /// The beginning of a binary message.
    Binary,
    /// No more will be sent.
    Close,
    /// Are you there?
    Ping,
    /// I am.
    Pong,
}

impl Opcode {
    fn of(bits: u8) -> Option<Self> {
        Some(match bits {
            0 => Self::Continuation,
            1 => Self::Text,
            2 => Self::Binary,
            8 => Self::Close,
            9 => Self::Ping,
            10 => Self::Pong,
            _ => return None,
        })
    }

    const fn bits(self) -> u8 {
        match self {
            Self::Continuation => 0,
            Self::Text => 1,
            Self::Binary => 2,
            Self::Close => 8,
            Self::Ping => 9,
            Self::Pong => 10,
        }
    }

    /// Close, ping and pong: they may stand between the frames of a message.
    #[must_use]
    pub const fn is_control(self) -> bool {
        matches!(self, Self::Close | Self::Ping | Self::Pong)
    }
}

/// The head of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Frame {
    /// What it carries.
    pub opcode: Opcode,
    /// Whether its message ends with it.
    pub is_last: bool,
    /// The first reserved bit: its message is compressed.
    pub is_compressed: bool,
    /// Bytes of its payload.
    pub length: u64,
}

/// What was read next.
#[derive(Debug, PartialEq, Eq)]
pub enum Seen<'a> {
    /// Nothing yet: more bytes are needed.
    Nothing,
    /// The head of a frame is complete.
    Began(Frame),
    /// Bytes of its payload, without their mask.
    Payload(&'a [u8]),
    /// Its last byte was read before.
    Ended(Frame),
}

/// The bytes are no frames: from here on nobody knows where one begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the bytes are not WebSocket frames")]
pub struct NotFrames;

/// Reads one direction of a socket.
#[derive(Debug, Default)]
pub struct Frames {
    head: [u8; LONGEST_HEAD],
    /// Bytes of the head that came.
    held: usize,
    open: Option<Open>,
    /// Between the first and the last frame of a message.
    in_message: bool,
    plain: Vec<u8>,
}

#[derive(Debug)]
struct Open {
    frame: Frame,
    mask: Option<[u8; 4]>,
    seen: u64,
}

const LONGEST_HEAD: usize = 14;
const LAST: u8 = 0x80;
const COMPRESSED: u8 = 0x40;
const RESERVED: u8 = 0x30;
const MASKED: u8 = 0x80;
/// Payloads of control frames are at most as long.
const LONGEST_CONTROL: u64 = 125;
/// Payload that is unmasked at once.
const PIECE: usize = 16 * 1024;

impl Frames {
    /// Reads the next thing out of `input`, and how many of its bytes belong to it. An end takes none.
    ///
    /// # Errors
    /// When the bytes are no frames.
    pub fn read(&mut self, input: &[u8]) -> Result<(usize, Seen<'_>), NotFrames> {
        let Some(open) = &mut self.open else { return self.read_head(input) };
        let left = open.frame.length - open.seen;
        if left == 0 {
            let frame = open.frame;
            self.open = None;
            if !frame.opcode.is_control() {
                self.in_message = !frame.is_last;
            }
            return Ok((0, Seen::Ended(frame)));
        }
        let most = usize::try_from(left).unwrap_or(usize::MAX).min(PIECE);
        let piece = &input[..input.len().min(most)];
        if piece.is_empty() {
            return Ok((0, Seen::Nothing));
        }
        self.plain.clear();
        self.plain.extend_from_slice(piece);
        if let Some(mask) = open.mask {
            apply_mask(&mut self.plain, mask, open.seen);
        }
        open.seen += piece.len() as u64;
        Ok((piece.len(), Seen::Payload(&self.plain)))
    }

    /// Whether the next byte begins a frame that is not in the middle of a message.
    #[must_use]
    pub const fn at_boundary(&self) -> bool {
        self.held == 0 && self.open.is_none() && !self.in_message
    }

    fn read_head(&mut self, input: &[u8]) -> Result<(usize, Seen<'_>), NotFrames> {
        let mut taken = 0;
        while self.held < self.head_length() {
            let Some(byte) = input.get(taken) else { return Ok((taken, Seen::Nothing)) };
            self.head[self.held] = *byte;
            self.held += 1;
            taken += 1;
        }
        let open = self.parse()?;
        let frame = open.frame;
        (self.held, self.open) = (0, Some(open));
        Ok((taken, Seen::Began(frame)))
    }

    /// As far as it is known.
    const fn head_length(&self) -> usize {
        if self.held < 2 {
            return 2;
        }
        let length = match self.head[1] & !MASKED {
            126 => 2,
            127 => 8,
            _ => 0,
        };
        2 + length + if self.head[1] & MASKED == 0 { 0 } else { 4 }
    }

    fn parse(&self) -> Result<Open, NotFrames> {
        let [first, second, rest @ ..] = &self.head;
        let (length, rest) = match second & !MASKED {
            126 => (u64::from(u16::from_be_bytes([rest[0], rest[1]])), &rest[2..]),
            127 => {
                let long = rest.first_chunk().ok_or(NotFrames)?;
                (u64::from_be_bytes(*long), &rest[8..])
            }
            short => (u64::from(short), &rest[..]),
        };
        let opcode = Opcode::of(first & 0x0f).ok_or(NotFrames)?;
        let mask = if second & MASKED == 0 { None } else { rest.first_chunk().copied() };
        let frame =
            Frame { opcode, is_last: first & LAST != 0, is_compressed: first & COMPRESSED != 0, length };
        let fits = match opcode {
            Opcode::Continuation => self.in_message && !frame.is_compressed,
            Opcode::Text | Opcode::Binary => !self.in_message,
            _ => frame.is_last && !frame.is_compressed && length <= LONGEST_CONTROL,
        };
        // a length has 63 bits
        let is_frame = fits && first & RESERVED == 0 && i64::try_from(length).is_ok();
        if is_frame { Ok(Open { frame, mask, seen: 0 }) } else { Err(NotFrames) }
    }
}

fn apply_mask(bytes: &mut [u8], mask: [u8; 4], from: u64) {
    let mut turned = mask;
    turned.rotate_left(usize::try_from(from % 4).expect("below 4"));
    for chunk in bytes.chunks_mut(4) {
        for (byte, mask) in chunk.iter_mut().zip(turned) {
            *byte ^= mask;
        }
    }
}

/// A whole frame, with a mask where a client writes it (RFC 6455, 5.3).
#[must_use]
pub fn frame(opcode: Opcode, payload: &[u8], mask: Option<[u8; 4]>) -> Vec<u8> {
    piece_of_message(opcode, payload, mask, true)
}

/// A frame that may not be the last of its message.
#[must_use]
pub fn piece_of_message(opcode: Opcode, payload: &[u8], mask: Option<[u8; 4]>, is_last: bool) -> Vec<u8> {
    let mut written = Vec::with_capacity(payload.len() + LONGEST_HEAD);
    written.push(opcode.bits() | if is_last { LAST } else { 0 });
    let masked = if mask.is_some() { MASKED } else { 0 };
    match (u8::try_from(payload.len()), u16::try_from(payload.len())) {
        (Ok(short @ 0..126), _) => written.push(short | masked),
        (_, Ok(middle)) => {
            written.push(126 | masked);
            written.extend_from_slice(&middle.to_be_bytes());
        }
        _ => {
            written.push(127 | masked);
            written.extend_from_slice(&(payload.len() as u64).to_be_bytes());
        }
    }
    let Some(mask) = mask else {
        written.extend_from_slice(payload);
        return written;
    };
    written.extend_from_slice(&mask);
    let at = written.len();
    written.extend_from_slice(payload);
    apply_mask(&mut written[at..], mask, 0);
    written
}

/// The payload of a close frame: a status (RFC 6455, 7.4) and a reason of at most 123 bytes.
#[must_use]
pub fn closing(status: u16, reason: &str) -> Vec<u8> {
    let mut payload = status.to_be_bytes().to_vec();
    payload.extend_from_slice(&reason.as_bytes()[..reason.floor_char_boundary(123)]);
    payload
}

#[cfg(test)]
#[path = "frames_tests.rs"]
mod tests;
