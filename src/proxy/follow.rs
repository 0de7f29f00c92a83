//! A stream whose output is paid for as it passes: what it holds, what it asks for next, and when it is cut.

use std::sync::Arc;

use super::allowance::Allowance;
use super::budgets::{fits, shrink};
use super::exchange::Books;
use super::need::Needs;
use crate::budget::{Need, Refusal};
use crate::tokens::Count;

/// What is held for a stream, and the price of more.
#[derive(Debug)]
pub(super) struct Follow {
    pub(super) allowance: Allowance,
    pub(super) needs: Arc<Needs>,
    pub(super) held: Need,
}

/// What happens to the next piece of a stream.
#[derive(Debug)]
pub(super) enum Step {
    /// It goes on.
    Pass,
    /// It waits until the text was counted.
    Count,
    /// It and all that follows is not for this client.
    Cut(Box<Refusal>),
}

/// What is known of the output so far.
#[derive(Debug, Clone, Copy)]
pub(super) enum Counted {
    /// The count of all of it.
    All(Count),
    /// Nobody had time to count: so many tokens at most, as far as usual text goes, since the last count.
    Guessed(u64),
}

/// Decides on a stream that has shown so many bytes of output.
pub(super) fn step(books: &mut Books, bytes: u64) -> Step {
    let Some(allowance) = allowance(books).filter(|allowance| !allowance.covers(bytes)) else {
        return Step::Pass;
    };
    if allowance.counts_first() {
        return Step::Count;
    }
    match raise_ahead(books, bytes) {
        Ok(()) => Step::Pass,
        Err(_) if allowance.is_worth_counting(bytes) => Step::Count,
        Err(refusal) => squeeze(books, bytes, refusal),
    }
}

/// Decides again, now that the output was counted as far as it came.
pub(super) fn step_counted(books: &mut Books, counted: Counted, bytes: u64) -> Step {
    let Some(follow) = &mut books.follow else { return Step::Pass };
    match counted {
        Counted::All(count) => {
            let is_own = count.grounds.is_exact();
            let slack =
                if is_own || follow.allowance.counts_first() { 0 } else { other_vocabulary(count.tokens) };
            follow.allowance.note_counted(count.tokens.saturating_add(slack), is_own, bytes);
        }
        Counted::Guessed(fresh) => {
            let tokens = follow.allowance.counted().saturating_add(fresh);
            follow.allowance.note_counted(tokens, false, bytes);
        }
    }
    let allowance = follow.allowance;
    if allowance.covers(bytes) {
        if !allowance.counts_first() {
            give_back(books, allowance.wanted(bytes));
        }
        return Step::Pass;
    }
    match raise_ahead(books, bytes) {
        Ok(()) => Step::Pass,
        Err(refusal) => squeeze(books, bytes, refusal),
    }
}

/// What the model's own vocabulary may have beyond a count by ours. Claude's newest makes up to 1.81 tokens of one of
/// ours, of English and of code (docs/ESTIMATES.md); other scripts may need more, and are found out at the end.
const fn other_vocabulary(tokens: u64) -> u64 {
    tokens.saturating_mul(7) / 8
}

/// Holds a slice more than was shown, or all that the upstream was told to write at most: then it is the cap
/// that is looked at from there.
fn raise_ahead(books: &mut Books, bytes: u64) -> Result<(), Box<Refusal>> {
    let Some(follow) = &books.follow else { return Ok(()) };
    let (wanted, cap) = (follow.allowance.wanted(bytes), follow.needs.cap());
    let reaches_cap = follow.allowance.held() < cap && cap <= wanted;
    raise(books, if reaches_cap { cap } else { wanted })?;
    if let Some(follow) = books.follow.as_mut().filter(|_| reaches_cap) {
        follow.allowance.trust_cap();
    }
    Ok(())
}

fn allowance(books: &Books) -> Option<Allowance> {
    books.follow.as_ref().map(|follow| follow.allowance)
}

/// Asks for what is left, down to what was shown already.
fn squeeze(books: &mut Books, bytes: u64, refusal: Box<Refusal>) -> Step {
    let Some(follow) = &books.follow else { return Step::Pass };
    let range = follow.allowance.most(bytes)..=follow.allowance.wanted(bytes);
    let (needs, held) = (Arc::clone(&follow.needs), follow.held);
    let fits = |refusal: &Refusal, output| fits(refusal, needs.with_output(output), held);
    match shrink(range, refusal, fits, |output| raise(books, output)) {
        Ok(()) => Step::Pass,
        Err(refusal) => Step::Cut(refusal),
    }
}

/// Holds so much output in all budgets, or changes nothing.
fn raise(books: &mut Books, output: u64) -> Result<(), Box<Refusal>> {
    let Some(follow) = &mut books.follow else { return Ok(()) };
    let need = follow.needs.with_output(output);
    let more = Need {
        cost: need.cost.max(follow.held.cost) - follow.held.cost,
        tokens: need.tokens.saturating_sub(follow.held.tokens),
        requests: 0,
    };
    if let Some(reservation) = &mut books.reservation {
        reservation.top_up(more)?;
    }
    follow.allowance.hold(output);
    follow.held = follow.held.plus(more);
    note_held(books);
    Ok(())
}

/// Lets go of what is held beyond so much output: the bytes were fewer tokens, and others wait.
fn give_back(books: &mut Books, output: u64) {
    let Some(follow) = &mut books.follow else { return };
    if follow.allowance.held() <= output {
        return;
    }
    // targets have caps of their own, which so much output may be beyond: nothing is raised here
    let need = follow.needs.with_output(output).min(follow.held);
    if let Some(reservation) = &mut books.reservation {
        reservation.lower_to(need);
    }
    follow.allowance.hold(output);
    follow.held = need;
    note_held(books);
    books.door.lines.money_came_back();
}

/// What a request whose end nobody sees is charged: what it holds by then.
fn note_held(books: &mut Books) {
    let Some(follow) = &books.follow else { return };
    (books.record.reserved, books.record.reserved_tokens) = (follow.held.cost, follow.held.tokens);
    books.most_output = follow.allowance.held();
    if let Err(fault) = books.door.journal.intend(&books.record) {
        // the first intent stands; what is held is given back or charged at the end all the same
        tracing::warn!(%fault, "the journal did not take a larger reservation");
    }
}

/// Holds the whole answer of a request that was sliced as a stream and is answered at once, if there is room.
/// If not, it passes all the same: it is written and will be billed, and its usage says more than a slice.
pub(super) fn hold_whole(books: &mut Books) {
    let Some(follow) = books.follow.as_ref() else { return };
    let cap = follow.needs.cap();
    if follow.allowance.held() < cap && raise(books, cap).is_err() {
        tracing::debug!("a stream was answered at once, by more than its budget may have left");
    }
    books.follow = None;
}
