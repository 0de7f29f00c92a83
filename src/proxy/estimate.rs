//! What was used where the upstream did not tell: counted on the pool, never above what was held.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, PoisonError};

use super::exchange::Books;
use super::hidden::reasons_by_name;
use super::need::measured_as_usual;
use super::settle::{close_books, may_cost};
use crate::base::usage::{Usage, UsageSource};
use crate::dialect::meter::Reading;
use crate::dialect::outline::PromptOutline;
use crate::dialect::path::Operation;
use crate::tokens::{Tokenizer, rough};
use crate::upstream::endpoint::Upstream;

/// Counts on the pool; if the pool is full, roughly and at once (bytes over four), never on this worker.
pub(super) fn count_later(books: Box<Books>, reading: Reading) {
    let door = books.door.clone();
    let open = Arc::new(Mutex::new(Some((books, reading))));
    let queued = open.clone();
    let job = Box::new(move |tokenizer: &Tokenizer| {
        close_estimated(&queued, |model, prompt, output| {
            (tokenizer.count_prompt(model, prompt).tokens, tokenizer.count(model, output).tokens)
        });
    });
    if door.counting.submit(job).is_err() {
        close_estimated(&open, |_, prompt, output| {
            let texts: usize = prompt.texts.iter().map(String::len).sum();
            (prompt.fixed_tokens + rough(texts + prompt.skipped_bytes), rough(output.len()))
        });
    }
}

type OpenBooks = Mutex<Option<(Box<Books>, Reading)>>;

/// `count` tells the tokens of a prompt and of an output, by the model's encoding.
fn close_estimated(open: &OpenBooks, count: impl Fn(&str, &PromptOutline, &str) -> (u64, u64)) {
    let taken = open.lock().unwrap_or_else(PoisonError::into_inner).take();
    let Some((books, reading)) = taken else { return };
    let model =
        first_filled(&[&books.record.response_model, &books.record.upstream_model, &books.record.model]);
    // the books must be closed whatever the request's own bytes do to its reader
    let counted = catch_unwind(AssertUnwindSafe(|| {
        let prompt = books.outline();
        count(model, &prompt, &reading.output_text)
    }));
    let by_size = |_| {
        (rough(usize::try_from(books.body_bytes()).unwrap_or(usize::MAX)), rough(reading.output_text.len()))
    };
    let (input, mut output) = counted.unwrap_or_else(by_size);
    let beyond = match unread_text(&books, &reading) {
        Some(relayed) => relayed,
        None => reading.output_text_bytes.saturating_sub(reading.output_text.len() as u64),
    };
    output += rough(usize::try_from(beyond).unwrap_or(usize::MAX));
    if !may_cost(&books) {
        // only attempts that were lost may have been worked on: on their input
        output = 0;
    }
    if reading.usage.is_none() && may_cost(&books) && may_hide_output(&books) {
        // invisible tokens are counted by nobody but the upstream, which did not tell
        output = output.max(books.most_output);
    }
    let mut usage = estimate(&books, &reading, input, output);
    if reading.usage.is_none() && may_cost(&books) {
        usage = usage.plus(&measured_as_usual(&books));
    }
    let source = if reading.usage.is_some() { UsageSource::Partial } else { UsageSource::Estimated };
    close_books(books, usage, source, &reading);
}

/// Whether a budget holds the output of a model that may have written more than it has shown.
fn may_hide_output(books: &Books) -> bool {
    let is_held = books.reservation.as_ref().is_some_and(|held| !held.is_empty());
    let Some(last) = books.attempts.last().filter(|_| is_held) else { return false };
    let is_known =
        |upstream: &Arc<Upstream>| upstream.name == last.upstream && upstream.reasons(&last.model_sent);
    books.facts.asks_hidden
        || reasons_by_name(&last.model_sent)
        || books.policy.upstreams.iter().any(is_known)
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
fn estimate(books: &Books, reading: &Reading, input: u64, output: u64) -> Usage {
    let mut usage = reading.usage.unwrap_or(Usage { input_tokens: input, ..Usage::default() });
    let is_bounded = books.record.reserved_tokens > 0;
    if is_bounded && reading.usage.is_none() {
        usage.input_tokens = usage.input_tokens.min(books.most_input);
    }
    let output = if is_bounded { output.min(books.most_output) } else { output };
    usage.output_tokens = usage.output_tokens.max(output);
    usage
}

fn first_filled<'a>(names: &[&'a String]) -> &'a str {
    names.iter().find(|name| !name.is_empty()).map_or("", |name| name.as_str())
}
