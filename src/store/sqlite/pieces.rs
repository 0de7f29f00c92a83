//! Cuts time into the spans that sums are of. Pure.

use crate::base::clock::Timestamp;

/// The spans that sums are kept of, in nanoseconds: long ones, of which a month has few; days; and 24 minutes,
/// the steps of a rolling day, which divide those of a rolling week and of 30 days. Shorter ones would be as many as
/// rows. Each divides the one before it.
pub(super) const SPANS: [i64; 3] = [8 * DAY, DAY, FINEST];
pub(super) const FINEST: i64 = DAY / 60;
const DAY: i64 = 86_400_000_000_000;

/// Spans of one length, one after the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Piece {
    pub(super) span: i64,
    /// Of the first.
    pub(super) from: i64,
    /// Of the first behind them.
    pub(super) to: i64,
}

/// Spans between each two cuts and behind the last one, and from when to when there is none: those stretches are
/// joined where they meet.
pub(super) fn pieces(cuts: &[Timestamp]) -> (Vec<Vec<Piece>>, Vec<(i64, i64)>) {
    let (mut stretches, mut singles) = (Vec::new(), Vec::new());
    // what is not later than 1970 was not admitted
    let cut = |place: usize| cuts.get(place).map_or(i64::MAX, |cut| cut.as_nanos().max(0));
    for place in 0..cuts.len() {
        let mut stretch = Vec::new();
        divide(cut(place), cut(place + 1), &SPANS, &mut stretch, &mut singles);
        stretches.push(stretch);
    }
    (stretches, joined(singles))
}

fn divide(from: i64, to: i64, spans: &[i64], stretch: &mut Vec<Piece>, singles: &mut Vec<(i64, i64)>) {
    if from >= to {
        return;
    }
    let Some((&span, finer)) = spans.split_first() else {
        return singles.push((from, to));
    };
    let (first, end) = (from.div_euclid(span) + i64::from(from.rem_euclid(span) > 0), to.div_euclid(span));
    if to == i64::MAX {
        // it never ends, so that the last span is whole
        divide(from, first * span, finer, stretch, singles);
        stretch.push(Piece { span, from: first, to: i64::MAX });
    } else if first < end {
        divide(from, first * span, finer, stretch, singles);
        stretch.push(Piece { span, from: first, to: end });
        divide(end * span, to, finer, stretch, singles);
    } else {
        divide(from, to, finer, stretch, singles);
    }
}

fn joined(singles: Vec<(i64, i64)>) -> Vec<(i64, i64)> {
    let mut joined: Vec<(i64, i64)> = Vec::with_capacity(singles.len());
    for (from, to) in singles {
        match joined.last_mut() {
            Some(last) if last.1 == from => last.1 = to,
            _ => joined.push((from, to)),
        }
    }
    joined
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn every_instant_behind_the_first_cut_is_in_one_piece_between_its_cuts(
            mut cuts in vec(0..100 * DAY, 1..6),
            at in 0..120 * DAY,
        ) {
            cuts.sort_unstable();
            let cuts: Vec<Timestamp> = cuts.into_iter().map(Timestamp::from_nanos).collect();
            let (stretches, singles) = pieces(&cuts);
            let is_in = |piece: &Piece| (piece.from..piece.to).contains(&at.div_euclid(piece.span));
            let found = stretches.iter().flatten().filter(|piece| is_in(piece)).count()
                + singles.iter().filter(|(from, to)| (*from..*to).contains(&at)).count();
            prop_assert_eq!(found, usize::from(at >= cuts[0].as_nanos()));
            for (place, stretch) in stretches.iter().enumerate() {
                for piece in stretch {
                    prop_assert!(piece.from * piece.span >= cuts[place].as_nanos());
                    let end = cuts.get(place + 1).map_or(i64::MAX, |cut| cut.as_nanos());
                    prop_assert!(piece.to.saturating_mul(piece.span) <= end);
                }
            }
        }
    }
}
