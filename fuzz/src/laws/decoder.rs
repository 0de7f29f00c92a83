//! What was encoded comes out as it went in, as soon as it was flushed and however it is cut; what is no
//! encoding at all ends in a fault and in no more memory than is said.

use crate::dialect::decode::{Decoder, FREE_DECODED, MAX_RATIO};
use crate::input::Input;

/// Encodings, one by one and on top of each other.
pub const ENCODINGS: [&str; 6] = ["gzip", "deflate", "br", "zstd", "zstd, gzip", "x-gzip"];

/// Panics where the law is broken.
pub fn check(data: &[u8]) {
    let Some(input) = Input::read(data) else { return };
    let encoding = *input.pick(0, &ENCODINGS);
    if input.choice(1) & 1 == 0 {
        strange(&input, encoding);
    } else if !encoding.contains(',') {
        encoded(&input, encoding);
    }
}

/// The payload is what came.
fn strange(input: &Input<'_>, encoding: &str) {
    let whole = decoded(encoding, &[input.payload]);
    let sliced = decoded(encoding, &input.sliced(input.payload));
    assert_eq!(whole.is_ok(), sliced.is_ok(), "cutting decided on a fault");
    if let (Ok(whole), Ok(sliced)) = (whole, sliced) {
        assert_eq!(whole, sliced, "cutting changed what was decoded");
    }
}

fn decoded(encoding: &str, pieces: &[&[u8]]) -> Result<Vec<u8>, ()> {
    let mut decoder = Decoder::new(Some(encoding));
    let (mut plain, mut taken) = (Vec::new(), 0_u64);
    let mut fault = false;
    for piece in pieces {
        taken += piece.len() as u64;
        fault |= decoder.push(piece, |part| plain.extend_from_slice(part)).is_err();
        assert!(plain.len() as u64 <= FREE_DECODED.max(taken.pow(2) * MAX_RATIO), "more than is sane");
    }
    if fault { Err(()) } else { Ok(plain) }
}

/// The payload is what an upstream encodes, and flushes where it is cut.
fn encoded(input: &Input<'_>, encoding: &str) {
    let parts = input.sliced(input.payload);
    let mut decoder = Decoder::new(Some(encoding));
    let (mut plain, mut sent) = (Vec::new(), Vec::new());
    for (part, flushed) in parts.iter().zip(flushed(encoding, &parts)) {
        sent.extend_from_slice(part);
        for piece in flushed.chunks(1 + input.choice(2)) {
            decoder.push(piece, |part| plain.extend_from_slice(part)).expect("what was encoded decodes");
        }
        assert_eq!(plain, sent, "flushed bytes were held back");
    }
}

/// What an encoder writes for each part when it is flushed behind it.
fn flushed(encoding: &str, parts: &[&[u8]]) -> Vec<Vec<u8>> {
    let level = flate2::Compression::fast();
    match encoding {
        "deflate" => {
            each(flate2::write::ZlibEncoder::new(Vec::new(), level), parts, |encoder| encoder.get_mut())
        }
        "br" => {
            each(brotli::CompressorWriter::new(Vec::new(), 4096, 1, 18), parts, |encoder| encoder.get_mut())
        }
        "zstd" => {
            let encoder =
                zstd::stream::write::Encoder::new(Vec::new(), 1).expect("a zstd context needs only memory");
            each(encoder, parts, |encoder| encoder.get_mut())
        }
        _ => each(flate2::write::GzEncoder::new(Vec::new(), level), parts, |encoder| encoder.get_mut()),
    }
}

fn each<E: std::io::Write>(
    mut encoder: E,
    parts: &[&[u8]],
    out: impl Fn(&mut E) -> &mut Vec<u8>,
) -> Vec<Vec<u8>> {
    let mut flushed = Vec::new();
    for part in parts {
        encoder.write_all(part).and_then(|()| encoder.flush()).expect("memory takes everything");
        flushed.push(std::mem::take(out(&mut encoder)));
    }
    flushed
}
