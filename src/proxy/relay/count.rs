//! Counts of a stream's output, made on the counting pool: those that the stream waits for, and those that only let
//! text go.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::sync::oneshot;

use crate::dialect::meter::Meter;
use crate::proxy::exchange::Books;
use crate::proxy::follow::Counted;
use crate::proxy::tally::model_of;
use crate::tokens::{Count, Tokenizer};

/// A count under way.
#[derive(Debug)]
pub(super) struct Counting {
    /// Nothing comes of it if the pool is too busy, or the text ends its thread's job.
    counted: Option<oneshot::Receiver<Count>>,
    /// Bytes of output that no tokenizer will see.
    unread: u64,
    /// The output since the last count, in bytes.
    fresh: u64,
}

impl Counting {
    /// Counts what was shown so far.
    pub(super) fn start(books: &Books, meter: &mut Meter) -> Self {
        let before = books.follow.as_ref().map_or(0, |follow| follow.allowance.counted_bytes());
        let shown = meter.output_so_far();
        let fresh = shown.saturating_sub(before);
        books.tally.hand_over(meter);
        let unread = shown.saturating_sub(books.tally.handed_over());
        let (tell, counted) = oneshot::channel();
        let (tally, model) = (books.tally.clone(), model_of(&books.record, meter.model()));
        let job = Box::new(move |_: &Tokenizer| {
            // nobody listens if the stream has ended meanwhile
            let _ = tell.send(tally.catch_up(&model));
        });
        let counted = books.door.counting.submit(job).is_ok().then_some(counted);
        Self { counted, unread, fresh }
    }

    /// The count, once it is there.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Counted> {
        let counted = match &mut self.counted {
            None => None,
            Some(counted) => ready!(Pin::new(counted).poll(cx)).ok(),
        };
        Poll::Ready(match counted {
            // unseen bytes count for the most that they can be
            Some(count) => Counted::All(Count { tokens: count.tokens.saturating_add(self.unread), ..count }),
            None => Counted::Guessed(self.fresh.div_ceil(BUSY_BYTES_PER_TOKEN)),
        })
    }
}

/// Where nobody has time to count: twice as many tokens as usual text has.
const BUSY_BYTES_PER_TOKEN: u64 = 2;

/// Output that is kept until it is known whether anybody will have to count it. Most answers are shorter, and most
/// upstreams tell what they used.
const KEPT: usize = 256 << 10;

/// Has output counted that would take too much memory until the end. The stream goes on meanwhile.
pub(super) fn let_go(books: &Books, meter: &mut Meter) {
    if meter.output_kept() < KEPT || !meter.is_stream() || !books.is_billed() {
        return;
    }
    if books.tally.hand_over(meter) {
        let (tally, model) = (books.tally.clone(), model_of(&books.record, meter.model()));
        let job = Box::new(move |_: &Tokenizer| {
            tally.catch_up(&model);
        });
        // if there is no room for it, a later one or the last one counts this too
        let _ = books.door.counting.submit(job);
    }
}
