use flate2::{Compress, Compression, FlushCompress};
use proptest::prelude::*;

use super::*;
use crate::dialect::frames::{frame, piece_of_message};

/// Text or not, kept bytes, beginning, clipped, unread.
type Found = (bool, Vec<u8>, Vec<u8>, bool, bool);

/// The messages in bytes that come in these pieces.
fn messages(mut of: Messages, pieces: impl IntoIterator<Item = Vec<u8>>) -> Vec<Found> {
    let mut found = Vec::new();
    for piece in pieces {
        let mut rest = piece.as_slice();
        loop {
            let (taken, step) = of.step(rest).unwrap();
            rest = &rest[taken..];
            match step {
                Step::More => break,
                Step::Message => {
                    let Message { is_text, bytes, head, is_clipped, is_unread } = of.message();
                    found.push((is_text, bytes.to_vec(), head.to_vec(), is_clipped, is_unread));
                }
                _ => {}
            }
        }
    }
    found
}

/// A message in frames of `size` bytes with pings between them.
fn in_frames(payload: &[u8], size: usize, is_compressed: bool) -> Vec<u8> {
    let mut bytes = Vec::new();
    let pieces: Vec<_> = if payload.is_empty() { vec![payload] } else { payload.chunks(size).collect() };
    for (at, piece) in pieces.iter().enumerate() {
        let opcode = if at == 0 { Opcode::Text } else { Opcode::Continuation };
        let from = bytes.len();
        bytes.extend(piece_of_message(opcode, piece, Some([1, 2, 3, 4]), at + 1 == pieces.len()));
        if at == 0 && is_compressed {
            bytes[from] |= 0x40;
        }
        bytes.extend(frame(Opcode::Ping, b"ping", Some([5, 6, 7, 8])));
    }
    bytes
}

fn deflated(raw: &mut Compress, payload: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(payload.len() + 1_024);
    raw.compress_vec(payload, &mut out, FlushCompress::Sync).unwrap();
    assert!(out.ends_with(&[0, 0, 0xff, 0xff]));
    out.truncate(out.len() - 4);
    out
}

proptest! {
    #[test]
    fn messages_are_the_same_wherever_their_bytes_are_cut(
        texts in prop::collection::vec("[ -~]{0,400}", 1..5),
        size in 1..200_usize,
        cuts in prop::collection::vec(1..50_usize, 1..40),
        is_compressed: bool,
    ) {
        let mut raw = Compress::new(Compression::fast(), false);
        let bytes: Vec<u8> = texts.iter().flat_map(|text| {
            let payload = if is_compressed { deflated(&mut raw, text.as_bytes()) } else { text.clone().into_bytes() };
            in_frames(&payload, size, is_compressed)
        }).collect();
        let inflater = || is_compressed.then(|| Inflater::new(false));
        let mut pieces = Vec::new();
        let (mut rest, mut turn) = (bytes.as_slice(), cuts.iter().cycle());
        while !rest.is_empty() {
            let (piece, after) = rest.split_at(rest.len().min(*turn.next().unwrap()));
            pieces.push(piece.to_vec());
            rest = after;
        }
        let whole = messages(Messages::new(1 << 20, inflater()), [bytes.clone()]);
        prop_assert_eq!(&messages(Messages::new(1 << 20, inflater()), pieces), &whole);
        let read: Vec<_> = whole.iter().map(|(_, bytes, ..)| String::from_utf8(bytes.clone()).unwrap()).collect();
        prop_assert_eq!(read, texts);
    }
}

#[test]
fn of_a_long_message_beginning_and_end_are_kept() {
    let text: Vec<u8> = (0..400_000_u32).map(|n| b'a' + u8::try_from(n % 26).unwrap()).collect();
    let found = messages(Messages::new(100_000, None), [in_frames(&text, 5_000, false)]);
    let (is_text, bytes, head, is_clipped, is_unread) = &found[0];
    assert!(is_text & is_clipped & !is_unread);
    assert_eq!((head.as_slice(), bytes.as_slice()), (&text[..HEAD], &text[text.len() - TAIL..]));
}

#[test]
fn a_message_that_begins_anew_is_read_after_one_that_was_broken() {
    let broken = in_frames(&[0xff; 40], 100, true);
    let fresh = || deflated(&mut Compress::new(Compression::fast(), false), b"hello");
    let bytes = [broken, in_frames(&fresh(), 100, true)].concat();
    let anew = messages(Messages::new(1_000, Some(Inflater::new(true))), [bytes.clone()]);
    assert_eq!((anew[0].4, anew[1].4, anew[1].1.as_slice()), (true, false, &b"hello"[..]));
    let with_memory = messages(Messages::new(1_000, Some(Inflater::new(false))), [bytes]);
    assert!(with_memory[0].4 && with_memory[1].4, "what refers to a lost message is lost");
}

#[test]
fn a_bomb_is_not_read() {
    let bomb = deflated(&mut Compress::new(Compression::best(), false), &vec![0; 4 << 20]);
    let found = messages(Messages::new(1_000, Some(Inflater::new(false))), [in_frames(&bomb, 1_000, true)]);
    assert!(found[0].4);
}
