//! The laws of an allowance.

use proptest::prelude::*;

use super::*;

#[test]
fn a_slice_covers_its_own_bytes_and_not_one_more() {
    let allowance = Allowance::sliced(SLICE, 1);
    assert!(allowance.covers(SLICE - UNSEEN));
    assert!(!allowance.covers(SLICE - UNSEEN + 1));
    assert_eq!(allowance.wanted(1_000), 1_000 + UNSEEN + SLICE);
}

#[test]
fn each_choice_has_tokens_that_no_text_shows() {
    assert_eq!(Allowance::sliced(SLICE, 8).most(0), 8 * UNSEEN);
}

#[test]
fn a_count_makes_room_for_the_bytes_that_were_no_tokens() {
    let mut allowance = Allowance::sliced(SLICE, 1);
    assert!(allowance.is_worth_counting(2_000));
    allowance.note_counted(500, true, 2_000);
    assert_eq!(allowance.most(2_100), 500 + 100 + UNSEEN);
    assert!(allowance.covers(2_000 + SLICE - 500 - UNSEEN));
    assert!(!allowance.is_worth_counting(2_063));
}

#[test]
fn an_answer_within_its_cap_is_never_taken_for_one_beyond_it() {
    // 100 tokens of 4.5 bytes, in pieces
    let mut allowance = Allowance::capped(100);
    for bytes in (0..=450).step_by(9) {
        if !allowance.covers(bytes) {
            allowance.note_counted(bytes * 2 / 9, true, bytes);
        }
        assert!(allowance.counts_first(), "{bytes}");
    }
}

#[test]
fn an_answer_beyond_its_cap_is_found_out_within_one_read() {
    let mut allowance = Allowance::capped(10_000);
    let first_look = (0..).find(|bytes| !allowance.covers(*bytes)).unwrap();
    assert!(first_look <= 10_000 + ONE_READ + 1);
    // one byte each, as dense as text can be
    allowance.note_counted(first_look, true, first_look);
    assert!(!allowance.counts_first() && !allowance.covers(first_look));
}

proptest! {
    /// Whatever the pieces are and whenever it is counted: the tokens shown are never more than `most` says.
    #[test]
    fn the_bound_is_never_below_the_tokens(pieces in prop::collection::vec((1_u64..50, any::<bool>()), 1..200)) {
        let mut allowance = Allowance::sliced(SLICE, 1);
        let (mut bytes, mut tokens) = (0, 0);
        for (size, counts) in pieces {
            bytes += size;
            // a piece is at least a token and at most one a byte
            let of_piece = (size / 3).max(1);
            tokens += of_piece;
            if counts {
                allowance.note_counted(tokens, true, bytes);
            }
            prop_assert!(allowance.most(bytes) >= tokens);
        }
    }
}

#[test]
fn a_stream_that_has_come_to_hold_its_whole_cap_is_looked_at_like_a_capped_one() {
    let mut allowance = Allowance::sliced(SLICE, 1);
    assert!(!allowance.covers(3_000));
    allowance.hold(2_500);
    allowance.trust_cap();
    assert!(allowance.counts_first() && allowance.covers(3_000));
}
