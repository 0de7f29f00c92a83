//! The count of an answer's visible output under way. Text is handed over by the worker as it comes, counted on the
//! pool and let go: each count costs the new text only, and a long answer is not kept.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::dialect::grounds::Ground;
use crate::dialect::meter::Meter;
use crate::dialect::shown::Shown;
use crate::store::record::Record;
use crate::tokens::{Count, OutputCount, rough};

/// A handle on the count of one answer.
#[derive(Debug, Clone, Default)]
pub(super) struct Tally(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    inbox: Mutex<Inbox>,
    /// Held while text is counted; by threads of the pool alone.
    counter: Mutex<Option<OutputCount>>,
}

#[derive(Debug, Default)]
struct Inbox {
    /// In the order in which it came.
    waiting: Vec<Shown>,
    /// Memory that it takes.
    size: usize,
    /// Bytes of output that came here, and those of them that were counted.
    handed_over: u64,
    counted: u64,
    /// What they came to.
    known: Count,
}

/// Text that waits for the pool, at most. What is beyond it stays with the meter, which has a limit of its own.
const MAX_WAITING: usize = 1 << 20;

impl Tally {
    /// Takes out what the meter has kept, unless too much is waiting already.
    pub(super) fn hand_over(&self, meter: &mut Meter) -> bool {
        let mut inbox = lock(&self.0.inbox);
        let fits = inbox.size + meter.output_kept() <= MAX_WAITING;
        if fits {
            inbox.take(meter.take_output());
        }
        fits
    }

    /// Bytes of output that were handed over.
    pub(super) fn handed_over(&self) -> u64 {
        lock(&self.0.inbox).handed_over
    }

    /// Counts what is waiting; on the pool. Tells the count of all that was handed over.
    pub(super) fn catch_up(&self, model: &str) -> Count {
        let mut counter = lock(&self.0.counter);
        // taken after the counter: whoever has it takes all there is, in order
        let waiting = {
            let mut inbox = lock(&self.0.inbox);
            inbox.size = 0;
            std::mem::take(&mut inbox.waiting)
        };
        let counter = counter.get_or_insert_with(|| OutputCount::new(model));
        for shown in &waiting {
            counter.push(shown);
        }
        let count = counter.count();
        let mut inbox = lock(&self.0.inbox);
        inbox.known = count;
        inbox.counted += waiting.iter().map(|shown| shown.len() as u64).sum::<u64>();
        count
    }

    /// Counts the rest; on the pool.
    pub(super) fn finish(&self, model: &str, rest: Shown) -> Count {
        lock(&self.0.inbox).take(rest);
        self.catch_up(model)
    }

    /// What is known, and the rest by its bytes: where nobody has time to count.
    pub(super) fn finish_roughly(&self, rest: &Shown) -> Count {
        let inbox = lock(&self.0.inbox);
        let bytes = (inbox.handed_over - inbox.counted).saturating_add(rest.len() as u64);
        let mut count = inbox.known;
        if bytes > 0 {
            count.tokens = count.tokens.saturating_add(rough(usize::try_from(bytes).unwrap_or(usize::MAX)));
            count.grounds.add(Ground::Bytes);
        }
        count
    }
}

impl Inbox {
    fn take(&mut self, shown: Shown) {
        self.handed_over += shown.len() as u64;
        self.size += shown.size();
        if !shown.is_empty() {
            self.waiting.push(shown);
        }
    }
}

/// The model by whose vocabulary an answer is counted: the one that it names, the one that was asked for.
pub(super) fn model_of(record: &Record, answered: Option<&str>) -> String {
    let names = [answered.unwrap_or_default(), &record.response_model, &record.upstream_model, &record.model];
    names.into_iter().find(|name| !name.is_empty()).unwrap_or_default().to_owned()
}

/// A poisoned lock is taken as it is: what is under it is a count, and no end of a request waits for a better one.
fn lock<T>(lock: &Mutex<T>) -> MutexGuard<'_, T> {
    lock.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dialect::path::Operation;
    use crate::tokens::Tokenizer;

    const MODEL: &str = "gpt-4o";

    /// A stream of two choices that say the same, word by word.
    fn words(count: usize) -> (Vec<String>, String) {
        let word = |place: usize| [" stream", "ing", " counts", "12", "\\n", " don't"][place * place % 6];
        let chunk = |place| {
            let word = word(place);
            format!(
                "data: {{\"choices\":[{{\"index\":0,\"delta\":{{\"content\":\"{word}\"}}}},{{\"index\":1,\"delta\":{{\"content\":\"{word}\"}}}}]}}\n\n"
            )
        };
        let text: String = (0..count).map(word).collect();
        ((0..count).map(chunk).collect(), text.replace("\\n", "\n"))
    }

    #[test]
    fn a_tally_is_the_count_of_the_whole_text_whenever_it_is_handed_over() {
        let (chunks, text) = words(3_000);
        let whole = 2 * Tokenizer.count(MODEL, &text).tokens;
        for (hands, counts) in [(1, 7), (5, 1_000), (999, 10), (1_000, 1)] {
            let mut meter = Meter::new(Operation::ChatCompletions, 200, Some("text/event-stream"), None);
            let tally = Tally::default();
            for (place, chunk) in chunks.iter().enumerate() {
                meter.observe(chunk.as_bytes());
                if place % hands == 0 {
                    assert!(tally.hand_over(&mut meter));
                }
                if place % counts == 0 {
                    let so_far = tally.catch_up(MODEL).tokens;
                    assert!(so_far <= tally.handed_over());
                }
            }
            let count = tally.finish(MODEL, meter.finish().output);
            assert_eq!(count, Count { tokens: whole, grounds: Ground::Text.into() }, "{hands} {counts}");
        }
    }

    #[test]
    fn where_nobody_counts_the_rest_is_known_by_its_bytes() {
        let (chunks, text) = words(400);
        let mut meter = Meter::new(Operation::ChatCompletions, 200, Some("text/event-stream"), None);
        let tally = Tally::default();
        for chunk in &chunks[..200] {
            meter.observe(chunk.as_bytes());
        }
        tally.hand_over(&mut meter);
        let counted = tally.catch_up(MODEL).tokens;
        let counted_bytes = tally.handed_over();
        for chunk in &chunks[200..] {
            meter.observe(chunk.as_bytes());
        }
        let count = tally.finish_roughly(&meter.finish().output);
        let rest = 2 * text.len() as u64 - counted_bytes;
        assert_eq!((count.tokens, count.grounds.has(Ground::Bytes)), (counted + rest.div_ceil(4), true));
    }

    #[test]
    fn no_more_waits_than_the_limit() {
        let tally = Tally::default();
        let chunk =
            format!("data: {{\"choices\":[{{\"delta\":{{\"content\":\"{}\"}}}}]}}\n\n", "a ".repeat(300_000));
        let mut meter = Meter::new(Operation::ChatCompletions, 200, Some("text/event-stream"), None);
        let taken = [(); 3].map(|()| {
            meter.observe(chunk.as_bytes());
            tally.hand_over(&mut meter)
        });
        assert_eq!(taken, [true, false, false]);
        assert!(meter.output_kept() <= MAX_WAITING);
        tally.catch_up(MODEL);
        assert!(tally.hand_over(&mut meter), "what was counted is gone");
    }
}
