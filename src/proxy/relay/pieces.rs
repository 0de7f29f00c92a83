//! What is ready for the client: pieces that are there together go out as one frame, with one write. One that
//! is alone goes at once, and as it is.

use bytes::{Bytes, BytesMut};

/// Pieces that wait to be handed out.
#[derive(Debug, Default)]
pub(super) struct Pieces {
    pieces: Vec<Bytes>,
    bytes: usize,
}

/// What is handed out at once at most: more of a fast upstream's bytes would wait for longer than they save.
const MOST_BYTES: usize = 64 << 10;
const MOST_PIECES: usize = 64;
/// Room for pieces that is kept for the next ones.
const KEPT_ROOM: usize = 4;

impl Pieces {
    pub(super) const fn is_empty(&self) -> bool {
        self.pieces.is_empty()
    }

    /// Whether no more should be waited for.
    pub(super) const fn are_enough(&self) -> bool {
        self.bytes >= MOST_BYTES || self.pieces.len() >= MOST_PIECES
    }

    pub(super) fn push(&mut self, piece: Bytes) {
        if !piece.is_empty() {
            self.bytes += piece.len();
            self.pieces.push(piece);
        }
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Bytes> {
        self.pieces.iter()
    }

    /// Takes what `put` adds.
    pub(super) fn take_from(&mut self, put: impl FnOnce(&mut Vec<Bytes>)) {
        let before = self.pieces.len();
        put(&mut self.pieces);
        self.bytes += self.pieces[before..].iter().map(Bytes::len).sum::<usize>();
    }

    /// All that is ready, in one piece.
    pub(super) fn join(&mut self) -> Option<Bytes> {
        let bytes = std::mem::take(&mut self.bytes);
        if self.pieces.len() < 2 {
            return self.pieces.pop();
        }
        let mut joined = BytesMut::with_capacity(bytes);
        for piece in self.pieces.drain(..) {
            joined.extend_from_slice(&piece);
        }
        self.pieces.shrink_to(KEPT_ROOM);
        Some(joined.freeze())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn joined(pieces: &mut Pieces) -> Option<Vec<u8>> {
        pieces.join().map(|bytes| bytes.to_vec())
    }

    #[test]
    fn what_is_ready_together_goes_out_together_and_once() {
        let mut pieces = Pieces::default();
        pieces.push(Bytes::from_static(b"a"));
        pieces.take_from(|more| more.extend([Bytes::from_static(b"bc"), Bytes::from_static(b"d")]));
        assert_eq!(joined(&mut pieces).unwrap(), b"abcd");
        assert_eq!((pieces.is_empty(), joined(&mut pieces)), (true, None));
    }

    #[test]
    fn a_piece_that_is_alone_is_not_copied() {
        let (mut pieces, alone) = (Pieces::default(), Bytes::from(vec![7; 100]));
        pieces.push(alone.clone());
        assert_eq!(pieces.join().unwrap().as_ptr(), alone.as_ptr());
    }

    #[test]
    fn nothing_is_no_piece() {
        let mut pieces = Pieces::default();
        pieces.push(Bytes::new());
        assert!(pieces.is_empty());
    }

    #[test]
    fn neither_many_bytes_nor_many_pieces_wait_for_more() {
        let large = Bytes::from(vec![0; MOST_BYTES - 1]);
        let mut pieces = Pieces::default();
        pieces.push(large);
        assert!(!pieces.are_enough());
        pieces.push(Bytes::from_static(b"1"));
        assert!(pieces.are_enough());
        pieces.join();
        for _ in 1..MOST_PIECES {
            pieces.push(Bytes::from_static(b"1"));
            assert!(!pieces.are_enough());
        }
        pieces.push(Bytes::from_static(b"1"));
        assert!(pieces.are_enough());
    }
}
