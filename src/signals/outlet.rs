//! The way out for spans: a bounded queue that grows with what waits, and a thread that sends it in batches.
//!
//! The SDK has such a queue, but takes the memory of a full one at the start: 24 MiB for the bound below.

use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use opentelemetry_sdk::error::{OTelSdkError, OTelSdkResult};
use opentelemetry_sdk::trace::{SpanData, SpanExporter};

/// Where kept spans go. Its thread sends the rest and ends when it is dropped.
#[derive(Debug)]
pub(super) struct SpanOutlet {
    queue: Arc<Queue>,
}

/// What became of spans.
#[derive(Debug, Default)]
pub(super) struct SpanCounts {
    waiting: AtomicU64,
    queue_full: AtomicU64,
    export_failed: AtomicU64,
}

#[derive(Debug, Default)]
struct Queue {
    waiting: Mutex<Waiting>,
    /// Told when the thread must not sleep on.
    thread: Condvar,
    /// Told when the thread has ended.
    ended: Condvar,
    counts: Arc<SpanCounts>,
}

#[derive(Debug, Default)]
struct Waiting {
    spans: Vec<SpanData>,
    /// The thread found nothing when it woke last, and sleeps until it is told.
    asleep: bool,
    /// A batch is full, or the end has come: do not gather any more.
    hurry: bool,
    stop: bool,
    /// How the last batch went, once there will be no more.
    end: Option<OTelSdkResult>,
}

impl SpanCounts {
    /// Dropped so far, by reason.
    pub(super) fn dropped(&self) -> [(&'static str, u64); 2] {
        [
            ("queue_full", self.queue_full.load(Ordering::Relaxed)),
            ("export_failed", self.export_failed.load(Ordering::Relaxed)),
        ]
    }
}

impl SpanOutlet {
    /// Starts the thread that sends by `exporter`, whose client must block: its futures are not waited for.
    pub(super) fn to(exporter: impl SpanExporter + 'static) -> std::io::Result<Self> {
        let queue = Arc::<Queue>::default();
        let sent = Arc::clone(&queue);
        std::thread::Builder::new().name("spans".into()).spawn(move || sent.send_all(&exporter))?;
        Ok(Self { queue })
    }

    /// Hands over the spans of one request: all or none, so that no trace has holes. Never waits.
    pub(super) fn send(&self, spans: Vec<SpanData>) {
        let (counts, count) = (&self.queue.counts, spans.len() as u64);
        if counts.waiting.fetch_add(count, Ordering::AcqRel) + count > DROP_LIMIT {
            counts.waiting.fetch_sub(count, Ordering::AcqRel);
            counts.queue_full.fetch_add(count, Ordering::Relaxed);
            return;
        }
        let must_wake = self.queue.lock().take_in(spans);
        if must_wake {
            self.queue.thread.notify_one();
        }
    }

    pub(super) fn counts(&self) -> Arc<SpanCounts> {
        Arc::clone(&self.queue.counts)
    }

    /// Sends what waits; gives up after `limit`. Call it once.
    pub(super) fn stop(&self, limit: Duration) -> OTelSdkResult {
        let waiting = self.queue.stop();
        let ended = self.queue.ended.wait_timeout_while(waiting, limit, |waiting| waiting.end.is_none());
        let (mut waiting, _) = ended.unwrap_or_else(PoisonError::into_inner);
        waiting.end.take().unwrap_or(Err(OTelSdkError::Timeout(limit)))
    }
}

impl Drop for SpanOutlet {
    fn drop(&mut self) {
        drop(self.queue.stop());
    }
}

impl Waiting {
    /// Takes the spans. Tells whether the thread must be woken.
    fn take_in(&mut self, spans: Vec<SpanData>) -> bool {
        self.spans.extend(spans);
        let hurry = self.spans.len() >= BATCH;
        let must_wake = self.asleep || (hurry && !self.hurry);
        self.hurry |= hurry;
        self.asleep = false;
        must_wake
    }
}

impl Queue {
    fn stop(&self) -> MutexGuard<'_, Waiting> {
        let mut waiting = self.lock();
        (waiting.stop, waiting.hurry, waiting.asleep) = (true, true, false);
        self.thread.notify_one();
        waiting
    }

    fn send_all(&self, exporter: &impl SpanExporter) {
        let mut result = Ok(());
        loop {
            let spans = self.take();
            if spans.is_empty() {
                break;
            }
            let mut spans = spans.into_iter();
            while spans.len() > 0 {
                result = self.send_batch(exporter, spans.by_ref().take(BATCH).collect());
            }
        }
        self.lock().end = Some(result);
        self.ended.notify_all();
    }

    fn send_batch(&self, exporter: &impl SpanExporter, batch: Vec<SpanData>) -> OTelSdkResult {
        let count = batch.len() as u64;
        let result = done_at_once(exporter.export(batch));
        self.counts.waiting.fetch_sub(count, Ordering::AcqRel);
        if result.is_err() {
            self.counts.export_failed.fetch_add(count, Ordering::Relaxed);
        }
        result
    }

    /// Gathers for a while and takes what there is: nothing only at the end.
    fn take(&self) -> Vec<SpanData> {
        let mut waiting = self.lock();
        loop {
            let gathered = self.thread.wait_timeout_while(waiting, GATHER, |waiting| !waiting.hurry);
            (waiting, _) = gathered.unwrap_or_else(PoisonError::into_inner);
            waiting.hurry = waiting.stop;
            if waiting.stop || !waiting.spans.is_empty() {
                return std::mem::take(&mut waiting.spans);
            }
            waiting.asleep = true;
            let told = self.thread.wait_while(waiting, |waiting| waiting.asleep);
            waiting = told.unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The result of a future that blocks instead of waiting.
fn done_at_once(future: impl Future<Output = OTelSdkResult>) -> OTelSdkResult {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(result) => result,
        Poll::Pending => Err(OTelSdkError::InternalFailure("the exporter's client does not block".into())),
    }
}

/// Spans that wait for the receiver; what comes beyond is dropped and counted. About 100 MiB when full.
const DROP_LIMIT: u64 = 65_536;
/// Spans per request to the receiver: about 2 MiB before compression.
const BATCH: usize = 2_048;
/// Traces show up within this time.
const GATHER: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug)]
    struct Nobody;

    impl SpanExporter for Nobody {
        async fn export(&self, _: Vec<SpanData>) -> OTelSdkResult {
            Err(OTelSdkError::InternalFailure("nobody is there".into()))
        }
    }

    fn span() -> SpanData {
        use opentelemetry::trace::{SpanContext, SpanId, SpanKind, Status, TraceFlags, TraceId, TraceState};
        SpanData {
            span_context: SpanContext::new(
                TraceId::from(1_u128),
                SpanId::from(1_u64),
                TraceFlags::SAMPLED,
                false,
                TraceState::default(),
            ),
            parent_span_id: SpanId::INVALID,
            parent_span_is_remote: false,
            span_kind: SpanKind::Server,
            name: "POST /".into(),
            start_time: std::time::UNIX_EPOCH,
            end_time: std::time::UNIX_EPOCH,
            attributes: Vec::new(),
            dropped_attributes_count: 0,
            events: Default::default(),
            links: Default::default(),
            status: Status::Unset,
            instrumentation_scope: Default::default(),
        }
    }

    #[test]
    fn a_full_queue_drops_whole_requests_and_counts_their_spans() {
        let outlet = SpanOutlet::to(Nobody).unwrap();
        outlet.counts().waiting.store(DROP_LIMIT - 1, Ordering::Relaxed);
        outlet.send(vec![span(), span()]);
        assert_eq!(outlet.counts().dropped(), [("queue_full", 2), ("export_failed", 0)]);
        assert_eq!(outlet.counts().waiting.load(Ordering::Relaxed), DROP_LIMIT - 1);
    }

    #[test]
    fn spans_that_no_receiver_took_are_counted_and_leave_the_queue() {
        let outlet = SpanOutlet::to(Nobody).unwrap();
        outlet.send(vec![span(), span(), span()]);
        assert!(outlet.stop(Duration::from_secs(60)).is_err(), "who stops it learns of it");
        assert_eq!(outlet.counts().dropped(), [("queue_full", 0), ("export_failed", 3)]);
        assert_eq!(outlet.counts().waiting.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn the_thread_is_woken_after_a_rest_and_by_a_full_batch_and_by_nothing_else() {
        let mut waiting = Waiting { asleep: true, ..Waiting::default() };
        let lots = vec![span(); BATCH - 2];
        let woken = [vec![span()], lots, vec![span()], vec![span()]].map(|spans| waiting.take_in(spans));
        assert_eq!(woken, [true, false, true, false]);
    }
}
