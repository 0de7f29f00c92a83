use std::io::Write;

use flate2::Compression;
use flate2::write::{DeflateEncoder, GzEncoder, ZlibEncoder};
use proptest::prelude::{prop_assert_eq, proptest};

use super::super::slices::{cuts, sliced};
use super::{DecodeFault, Decoder, FREE_DECODED, MAX_RATIO};

/// Writes each event and flushes, as a server of compressed streams does. Returns the flushed parts.
pub(in crate::dialect) fn flushed(encoding: &str, events: &[&str]) -> Vec<Vec<u8>> {
    fn parts<W: Write>(
        mut encoder: W,
        events: &[&str],
        take: impl Fn(&mut W) -> Vec<u8>,
        end: impl FnOnce(W) -> Vec<u8>,
    ) -> Vec<Vec<u8>> {
        let mut parts = Vec::new();
        for event in events {
            encoder.write_all(event.as_bytes()).unwrap();
            encoder.flush().unwrap();
            parts.push(take(&mut encoder));
        }
        parts.push(end(encoder));
        parts
    }
    let level = Compression::default();
    match encoding {
        "gzip" => parts(
            GzEncoder::new(Vec::new(), level),
            events,
            |e| std::mem::take(e.get_mut()),
            |e| e.finish().unwrap(),
        ),
        "deflate" => parts(
            ZlibEncoder::new(Vec::new(), level),
            events,
            |e| std::mem::take(e.get_mut()),
            |e| e.finish().unwrap(),
        ),
        "raw" => parts(
            DeflateEncoder::new(Vec::new(), level),
            events,
            |e| std::mem::take(e.get_mut()),
            |e| e.finish().unwrap(),
        ),
        "br" => parts(
            brotli::CompressorWriter::new(Vec::new(), 4096, 5, 22),
            events,
            |e| std::mem::take(e.get_mut()),
            brotli::CompressorWriter::into_inner,
        ),
        "zstd" => parts(
            zstd::stream::write::Encoder::new(Vec::new(), 3).unwrap(),
            events,
            |e| std::mem::take(e.get_mut()),
            |e| e.finish().unwrap(),
        ),
        other => panic!("no encoder for {other}"),
    }
}

/// The header's value for one of [`flushed`]'s names.
fn header(encoding: &str) -> &str {
    if encoding == "raw" { "deflate" } else { encoding }
}

const ENCODINGS: [&str; 5] = ["gzip", "deflate", "raw", "br", "zstd"];
const EVENTS: [&str; 3] = ["data: {\"a\":1}\n\n", "data: {\"b\":\"\u{e9}\u{e9}\"}\n\n", "data: [DONE]\n\n"];

fn decoded<'a>(encoding: &str, pieces: impl IntoIterator<Item = &'a [u8]>) -> Result<Vec<u8>, DecodeFault> {
    let mut decoder = Decoder::new(Some(encoding));
    let mut plain = Vec::new();
    for piece in pieces {
        decoder.push(piece, |part| plain.extend_from_slice(part))?;
    }
    Ok(plain)
}

#[test]
fn wire_25_each_flushed_event_comes_out_at_once() {
    for encoding in ENCODINGS {
        let mut decoder = Decoder::new(Some(header(encoding)));
        for (part, event) in flushed(encoding, &EVENTS).iter().zip(EVENTS) {
            let mut plain = Vec::new();
            decoder.push(part, |bytes| plain.extend_from_slice(bytes)).unwrap();
            assert_eq!(String::from_utf8(plain).unwrap(), event, "{encoding}");
        }
    }
}

#[test]
fn a_flushed_event_that_is_larger_than_any_buffer_comes_out_at_once() {
    // without the end of the encoding: an upstream may break off before it
    for encoding in ENCODINGS {
        for length in [4_095, 4_096, 4_097, 9_000, 70_000, 300_000] {
            let event = "usage ".repeat(length / 6);
            let parts = flushed(encoding, &[&event]);
            let plain = decoded(header(encoding), [&parts[0][..]]);
            assert_eq!(plain.map(|plain| plain.len()), Ok(event.len()), "{encoding} of {length}");
        }
    }
}

#[test]
fn chains_are_undone_from_the_outside_in() {
    let inner = flushed("gzip", &EVENTS).concat();
    let mut outer = brotli::CompressorWriter::new(Vec::new(), 4096, 5, 22);
    outer.write_all(&inner).unwrap();
    let both = outer.into_inner();
    assert_eq!(decoded("gzip, identity, BR", both.chunks(3)), Ok(EVENTS.concat().into_bytes()));
}

#[test]
fn identity_and_nothing_pass_through() {
    for encoding in [None, Some(""), Some("identity"), Some(" Identity , ")] {
        let mut decoder = Decoder::new(encoding);
        assert!(decoder.is_identity());
        let mut plain = Vec::new();
        decoder.push(b"as it is", |part| plain.extend_from_slice(part)).unwrap();
        assert_eq!(plain, b"as it is");
    }
}

#[test]
fn several_gzip_members_are_one_answer() {
    let twice = [flushed("gzip", &["one "]).concat(), flushed("gzip", &["two"]).concat()].concat();
    assert_eq!(decoded("x-gzip", twice.chunks(7)), Ok(b"one two".to_vec()));
}

#[test]
fn unknown_and_broken_encodings_say_so_and_stay_so() {
    assert_eq!(decoded("compress", [&b"x"[..]]), Err(DecodeFault::Unknown));
    assert_eq!(decoded("gzip,gzip,gzip,gzip", [&b"x"[..]]), Err(DecodeFault::Unknown));
    for encoding in ["gzip", "br", "zstd", "deflate"] {
        let mut decoder = Decoder::new(Some(encoding));
        let fault = decoder.push(&[0xff; 64], |_| {});
        assert_eq!(fault, Err(DecodeFault::Broken), "{encoding}");
        assert_eq!(decoder.push(b"", |_| {}), fault);
    }
}

#[test]
fn s_07_a_bomb_stops_the_reading_before_it_fills_the_memory() {
    let zeros = "0".repeat(32 << 20);
    for encoding in ENCODINGS {
        let bomb = flushed(encoding, &[&zeros]).concat();
        let mut decoder = Decoder::new(Some(header(encoding)));
        let mut seen = 0;
        let result = decoder.push(&bomb, |part| seen += part.len() as u64);
        assert_eq!(result, Err(DecodeFault::TooLarge), "{encoding}");
        assert!(seen <= FREE_DECODED.max(bomb.len() as u64 * MAX_RATIO), "{encoding}: {seen}");
    }
}

proptest! {
    #[test]
    fn slicing_never_changes_what_is_decoded(cuts in cuts(), text in "[a-z{}\":\n]{0,300}", which in 0..ENCODINGS.len()) {
        let encoded = flushed(ENCODINGS[which], &[&text, &text]).concat();
        let plain = decoded(header(ENCODINGS[which]), sliced(&encoded, &cuts));
        prop_assert_eq!(plain, Ok(format!("{text}{text}").into_bytes()));
    }

    #[test]
    fn no_bytes_can_panic_it(bytes in proptest::collection::vec(0_u8.., 0..200), which in 0..ENCODINGS.len()) {
        let mut decoder = Decoder::new(Some(header(ENCODINGS[which])));
        let _fault = decoder.push(&bytes, |_| {});
        let mut encoded = flushed(ENCODINGS[which], &EVENTS).concat();
        let middle = encoded.len() / 2;
        encoded.splice(middle..middle, bytes);
        let mut decoder = Decoder::new(Some(header(ENCODINGS[which])));
        let first = decoder.push(&encoded, |_| {});
        prop_assert_eq!(first.is_err() && decoder.push(b"", |_| {}).is_ok(), false);
    }
}
