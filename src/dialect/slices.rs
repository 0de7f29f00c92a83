//! For tests: bytes cut into pieces anywhere.

use proptest::prelude::{Strategy, any};

/// Cuts of up to 40 pieces, small ones most of all; what is left over is the last piece.
pub(super) fn cuts() -> impl Strategy<Value = Vec<usize>> {
    let size =
        any::<u8>().prop_map(|byte| if byte < 128 { usize::from(byte % 4) } else { usize::from(byte) });
    proptest::collection::vec(size, 0..40)
}

/// `bytes` in pieces of these sizes.
pub(super) fn sliced<'a>(bytes: &'a [u8], cuts: &[usize]) -> Vec<&'a [u8]> {
    let mut pieces = Vec::new();
    let mut rest = bytes;
    for cut in cuts {
        let (piece, left) = rest.split_at((*cut).min(rest.len()));
        pieces.push(piece);
        rest = left;
    }
    pieces.push(rest);
    pieces
}
