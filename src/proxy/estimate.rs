//! What was used where the upstream did not tell: counted on the pool, never above what was held.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, PoisonError};

use super::exchange::Books;
use super::hidden::hides;
use super::need::measured_as_usual;
use super::settle::{close_books, may_cost};
use super::tally::{Tally, model_of};
use crate::base::usage::{Usage, UsageSource};
use crate::dialect::grounds::{Ground, Grounds};
use crate::dialect::meter::Reading;
use crate::dialect::outline::PromptOutline;
use crate::dialect::path::Operation;
use crate::dialect::shown::Shown;
use crate::tokens::{Count, Tokenizer, rough};

/// Counts on the pool; if the pool is full, roughly and at once (bytes over four), never on this worker.
pub(super) fn count_later(books: Box<Books>, reading: Reading) {
    let door = books.door.clone();
    let open = Arc::new(Mutex::new(Some((books, reading))));
    let queued = open.clone();
    let job = Box::new(move |tokenizer: &Tokenizer| close_estimated(&queued, &Way::Counted(*tokenizer)));
    if door.counting.submit(job).is_err() {
        close_estimated(&open, &Way::Rough);
    }
}

/// How it is counted.
enum Way {
    Counted(Tokenizer),
    /// By size.
    Rough,
}

impl Way {
    fn prompt(&self, model: &str, prompt: &PromptOutline) -> Count {
        match self {
            Self::Counted(tokenizer) => tokenizer.count_prompt(model, prompt),
            Self::Rough => {
                let texts: usize = prompt.texts.iter().map(String::len).sum();
                let bytes = rough(texts.saturating_add(prompt.skipped_bytes));
                Count {
                    tokens: prompt.fixed_tokens.saturating_add(bytes),
                    grounds: prompt.grounds.with(Ground::Bytes.into()),
                }
            }
        }
    }

    fn output(&self, tally: &Tally, model: &str, rest: Shown) -> Count {
        match self {
            Self::Counted(_) => tally.finish(model, rest),
            Self::Rough => tally.finish_roughly(&rest),
        }
    }
}

type OpenBooks = Mutex<Option<(Box<Books>, Reading)>>;

fn close_estimated(open: &OpenBooks, way: &Way) {
    let taken = open.lock().unwrap_or_else(PoisonError::into_inner).take();
    let Some((mut books, mut reading)) = taken else { return };
    // what was reported is not counted again
    let input = if reading.usage.is_some() { Count::default() } else { input(&books, way) };
    let output = if may_cost(&books) {
        output(&books, &mut reading, way)
    } else {
        // only attempts that were lost may have been worked on: on their input
        Count::default()
    };
    let mut grounds = input.grounds.with(output.grounds);
    let mut usage = bounded(&books, &reading, [input.tokens, output.tokens], &mut grounds);
    if reading.usage.is_none() && may_cost(&books) {
        usage = usage.plus(&measured(&books, &mut grounds));
    }
    books.record.note_grounds(grounds);
    let source = if reading.usage.is_some() { UsageSource::Partial } else { UsageSource::Estimated };
    close_books(books, usage, source, &reading);
}

fn input(books: &Books, way: &Way) -> Count {
    let model = model_of(&books.record, None);
    // the books must be closed whatever the request's own bytes do to its reader
    let counted = catch_unwind(AssertUnwindSafe(|| {
        let prompt = books.outline();
        way.prompt(&model, &prompt)
    }));
    counted.unwrap_or_else(|_| by_size(books.body_bytes()))
}

/// What was shown, and what nobody has seen of it.
fn output(books: &Books, reading: &mut Reading, way: &Way) -> Count {
    let rest = std::mem::take(&mut reading.output);
    let seen = books.tally.handed_over().saturating_add(rest.len() as u64);
    let beyond = unread_text(books, reading).unwrap_or(reading.output_text_bytes.saturating_sub(seen));
    let model = model_of(&books.record, reading.model.as_deref());
    let counted = catch_unwind(AssertUnwindSafe(|| way.output(&books.tally, &model, rest)));
    let counted = counted.unwrap_or_else(|_| by_size(seen));
    let beyond = by_size(beyond);
    let mut output =
        Count { tokens: counted.tokens + beyond.tokens, grounds: counted.grounds.with(beyond.grounds) };
    if reading.usage.is_none() && may_hide_output(books) && output.tokens < books.most_output {
        // invisible tokens are counted by nobody but the upstream, which did not tell
        output = Count { tokens: books.most_output, grounds: Ground::Ceiling.into() };
    }
    output
}

fn by_size(bytes: u64) -> Count {
    let grounds = if bytes > 0 { Ground::Bytes.into() } else { Grounds::default() };
    Count { tokens: rough(usize::try_from(bytes).unwrap_or(usize::MAX)), grounds }
}

/// What is charged by other measures than tokens.
fn measured(books: &Books, grounds: &mut Grounds) -> Usage {
    let measured = measured_as_usual(books);
    if measured.seconds > 0 {
        grounds.add(Ground::Bytes);
    }
    measured
}

/// Whether a budget holds the output of a model that may have written more than it has shown.
fn may_hide_output(books: &Books) -> bool {
    let is_held = books.reservation.as_ref().is_some_and(|held| !held.is_empty());
    let Some(last) = books.attempts.last().filter(|_| is_held) else { return false };
    let upstream = books.policy.upstreams.iter().find(|upstream| upstream.name == last.upstream);
    let priced_as = books.price.as_ref().map(|price| price.name.as_str());
    let names = [last.model_sent.as_str()].into_iter().chain(priced_as);
    hides(&books.facts, upstream.map(|upstream| &**upstream), names)
}

/// Bytes of an answer in text whose text could not be told from the rest: cut JSON, an unknown encoding.
fn unread_text(books: &Books, reading: &Reading) -> Option<u64> {
    let is_text = matches!(
        books.endpoint.operation,
        Operation::ChatCompletions | Operation::Completions | Operation::Responses | Operation::Messages
    );
    let is_unread = reading.output_text_bytes == 0 && !books.record.stream;
    (is_text && is_unread).then_some(books.record.response_bytes)
}

/// Input by the request's outline, output by what was relayed; never below what the upstream did
/// report, never above what was reserved (invariant I3).
fn bounded(books: &Books, reading: &Reading, [input, output]: [u64; 2], grounds: &mut Grounds) -> Usage {
    let is_bounded = books.record.reserved_tokens > 0;
    let mut at_most = |tokens: u64, most: u64| {
        if is_bounded && tokens > most {
            grounds.add(Ground::Ceiling);
            return most;
        }
        tokens
    };
    let output = at_most(output, books.most_output);
    let mut usage = reading
        .usage
        .unwrap_or_else(|| Usage { input_tokens: at_most(input, books.most_input), ..Usage::default() });
    usage.output_tokens = usage.output_tokens.max(output);
    usage
}
