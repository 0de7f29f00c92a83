//! The end of an answer, however it comes: the books are closed, once.

use std::panic::{AssertUnwindSafe, catch_unwind};

use http::StatusCode;

use super::{Flow, OUT_OF_MONEY};
use crate::base::failpoint::Failpoint;
use crate::proxy::settle::{CLIENT_GONE, End};
use crate::store::record::Outcome;

impl<B> Flow<B> {
    /// A panic of ours: what went out counts as far as the meter can still tell.
    pub(in crate::proxy::relay) fn fail(&mut self) {
        tracing::error!("a request panicked while its answer was relayed; the answer was broken off");
        let Some((x, meter)) = self.open.take() else { return };
        x.door.signals.panicked();
        let close = || {
            // the meter may be what panicked
            let reading = catch_unwind(AssertUnwindSafe(|| meter.finish())).unwrap_or_default();
            x.close(End::broken(Outcome::Failed, "internal_error", reading));
        };
        // what panics again stays open in the journal, which charges the reservation at the next start
        let _ = catch_unwind(AssertUnwindSafe(close));
    }

    /// Whether everything was handed on, or the dialect's own end was: some SDKs hang up on `[DONE]`.
    pub(super) fn has_all(&self) -> bool {
        let saw_end = self.open.as_ref().is_none_or(|(_, meter)| meter.is_complete());
        saw_end || (self.ended && self.ready.is_empty())
    }

    /// Closes the books, once.
    pub(super) fn end(&mut self, outcome: Outcome, error: Option<&'static str>) {
        let Some((x, meter)) = self.open.take() else { return };
        let told = x.attempts.last().and_then(|attempt| attempt.status).unwrap_or(x.record.status);
        let status = StatusCode::from_u16(told).unwrap_or(StatusCode::OK);
        let end = match outcome {
            Outcome::Completed => End::answered(status, meter.finish(), self.ended),
            _ => End::broken(outcome, error.unwrap_or(CLIENT_GONE), meter.finish()),
        };
        x.close(end);
        Failpoint::AfterCommitBeforeClientEnd.wait_for_it();
    }
}

impl<B> Drop for Flow<B> {
    /// The client is gone, or the time of reading on is over.
    fn drop(&mut self) {
        if self.open.is_none() {
            return;
        }
        if std::thread::panicking() {
            // a second panic here would end the process
            return self.fail();
        }
        if let Some(error) = self.broken {
            return self.end(Outcome::Truncated, Some(error));
        }
        if self.incoming.is_none() {
            return self.end(Outcome::Cut, Some(OUT_OF_MONEY));
        }
        let outcome = if self.has_all() { Outcome::Completed } else { Outcome::Cancelled };
        self.end(outcome, None);
    }
}
