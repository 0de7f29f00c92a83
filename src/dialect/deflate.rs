//! What a socket's handshake agreed on compression (RFC 7692), and the inflating of a copy.

use flate2::{Decompress, FlushDecompress, Status};

use super::decode::{FREE_DECODED, MAX_RATIO};

/// The extensions that were agreed on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Agreed {
    /// None: frames are as they look.
    Plain,
    /// `permessage-deflate`, and which side begins every message anew.
    Deflate {
        /// The client does.
        client_begins_anew: bool,
        /// The upstream does.
        server_begins_anew: bool,
    },
    /// Something that nobody here can read.
    Unknown,
}

impl Agreed {
    /// What the `sec-websocket-extensions` of a 101 say.
    #[must_use]
    pub fn of<'a>(values: impl Iterator<Item = &'a str>) -> Self {
        let mut extensions =
            values.flat_map(|value| value.split(',')).map(str::trim).filter(|one| !one.is_empty());
        let (Some(extension), more) = (extensions.next(), extensions.next()) else { return Self::Plain };
        let mut words = extension.split(';').map(str::trim);
        let is_known = words.next().is_some_and(|name| name.eq_ignore_ascii_case("permessage-deflate"));
        if !is_known || more.is_some() {
            return Self::Unknown;
        }
        let parameters: Vec<String> = words.map(str::to_ascii_lowercase).collect();
        let has = |name: &str| parameters.iter().any(|parameter| parameter == name);
        Self::Deflate {
            client_begins_anew: has("client_no_context_takeover"),
            server_begins_anew: has("server_no_context_takeover"),
        }
    }
}

/// Inflates the messages of one direction. The window is the largest there is, which fits all smaller ones.
#[derive(Debug)]
pub struct Inflater {
    raw: Decompress,
    begins_anew: bool,
    /// Of the message under way.
    taken: u64,
    made: u64,
}

/// The copy cannot be read from here on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a compressed message cannot be read")]
pub struct NotInflated;

/// What every message ends with and none shows (RFC 7692, 7.2.2).
const TAIL: [u8; 4] = [0, 0, 0xff, 0xff];

impl Inflater {
    /// For a direction whose messages may refer to those before them unless each begins anew.
    #[must_use]
    pub fn new(begins_anew: bool) -> Self {
        Self { raw: Decompress::new(false), begins_anew, taken: 0, made: 0 }
    }

    /// Inflates a piece of a message.
    ///
    /// # Errors
    /// When it is broken, or a bomb.
    pub fn push(&mut self, piece: &[u8], mut out: impl FnMut(&[u8])) -> Result<(), NotInflated> {
        self.taken += piece.len() as u64;
        let mut rest = piece;
        let mut room = [0; 4096];
        loop {
            let (before_in, before_out) = (self.raw.total_in(), self.raw.total_out());
            let status =
                self.raw.decompress(rest, &mut room, FlushDecompress::Sync).map_err(|_| NotInflated)?;
            let taken = usize::try_from(self.raw.total_in() - before_in).map_err(|_| NotInflated)?;
            let made = usize::try_from(self.raw.total_out() - before_out).map_err(|_| NotInflated)?;
            rest = &rest[taken..];
            self.made += made as u64;
            if self.made > FREE_DECODED.max(self.taken * MAX_RATIO) {
                return Err(NotInflated);
            }
            out(&room[..made]);
            if status == Status::StreamEnd {
                // a final block in the middle of a message: the next begins a stream of its own
                self.raw.reset(false);
            }
            if (taken == 0 && made == 0) || (rest.is_empty() && made < room.len()) {
                return Ok(());
            }
        }
    }

    /// Whether messages refer to those before them.
    #[must_use]
    pub const fn has_memory(&self) -> bool {
        !self.begins_anew
    }

    /// The message is over.
    ///
    /// # Errors
    /// When it did not end where a message can.
    pub fn finish(&mut self, out: impl FnMut(&[u8])) -> Result<(), NotInflated> {
        self.push(&TAIL, out)?;
        (self.taken, self.made) = (0, 0);
        if self.begins_anew {
            self.restart();
        }
        Ok(())
    }

    /// Forgets all messages so far.
    pub fn restart(&mut self) {
        (self.taken, self.made) = (0, 0);
        self.raw.reset(false);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_one_extension_is_understood() {
        let deflate = |client_begins_anew, server_begins_anew| Agreed::Deflate {
            client_begins_anew,
            server_begins_anew,
        };
        for (values, expected) in [
            (&[][..], Agreed::Plain),
            (&["permessage-deflate"], deflate(false, false)),
            (
                &["Permessage-Deflate; server_no_context_takeover; client_max_window_bits=12"],
                deflate(false, true),
            ),
            (&["permessage-deflate; client_no_context_takeover"], deflate(true, false)),
            (&["x-webkit-deflate-frame"], Agreed::Unknown),
            (&["permessage-deflate, other"], Agreed::Unknown),
            (&["permessage-deflate", "other"], Agreed::Unknown),
        ] {
            assert_eq!(Agreed::of(values.iter().copied()), expected, "{values:?}");
        }
    }
}
