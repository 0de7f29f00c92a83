//! A count of a stream's output that the stream waits for, made on the counting pool.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::sync::oneshot;

use crate::dialect::meter::Meter;
use crate::proxy::exchange::Books;
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
    /// Counts what was shown since the last count.
    pub(super) fn start(books: &Books, meter: &Meter) -> Self {
        let before = books.follow.as_ref().map_or(0, |follow| follow.allowance.counted_bytes());
        let fresh = meter.output_so_far().saturating_sub(before);
        let text = meter.output_since(before).to_owned();
        let unread = fresh.saturating_sub(text.len() as u64);
        let model = books.record.upstream_model.clone();
        let (tell, counted) = oneshot::channel();
        let job = Box::new(move |tokenizer: &Tokenizer| {
            // nobody listens if the stream has ended meanwhile
            let _ = tell.send(tokenizer.count(&model, &text));
        });
        let counted = books.door.counting.submit(job).is_ok().then_some(counted);
        Self { counted, unread, fresh }
    }

    /// The count, once it is there.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Count> {
        let counted = match &mut self.counted {
            None => None,
            Some(counted) => ready!(Pin::new(counted).poll(cx)).ok(),
        };
        Poll::Ready(match counted {
            // unseen bytes count for the most that they can be
            Some(count) => Count { tokens: count.tokens.saturating_add(self.unread), ..count },
            None => Count { tokens: self.fresh.div_ceil(BUSY_BYTES_PER_TOKEN), exact: false },
        })
    }
}

/// Where nobody has time to count: twice as many tokens as usual text has.
const BUSY_BYTES_PER_TOKEN: u64 = 2;
