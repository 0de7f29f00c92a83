//! The bytes of an answer, from the upstream towards the client, and what is read in passing.

use std::collections::VecDeque;
use std::future::{Future as _, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use http_body::{Body, Frame, SizeHint};
use tokio::time::{Instant, Sleep, sleep};

use super::count::{Counting, let_go};
use super::cut::{Tail, last_words};
use super::live::{BROKEN_OFF, FELL_SILENT, Live};
use super::note_sent;
use crate::base::failpoint::Failpoint;
use crate::budget;
use crate::dialect::meter::Meter;
use crate::dialect::unask::Unask;
use crate::proxy::body::BrokenOff;
use crate::proxy::drain::DRAIN_AT_MOST;
use crate::proxy::error::Refusal;
use crate::proxy::exchange::Exchange;
use crate::proxy::follow::{self, Counted, Step};
use crate::proxy::policy::Door;
use crate::proxy::rates;
use crate::proxy::settle::{CLIENT_GONE, End};
use crate::signals::Active;
use crate::store::record::Outcome;
use crate::upstream::endpoint::Draining;

/// What came, and what it waits for.
#[derive(Debug)]
struct Waiting {
    data: Bytes,
    until: Until,
}

#[derive(Debug)]
enum Until {
    /// The text was counted, and it is known what is left.
    Counted(Counting),
    /// A limit on tokens has refilled.
    Refilled(Pin<Box<Sleep>>),
}

/// An answer under way.
#[derive(Debug)]
pub(super) struct Flow<B> {
    /// `None` once the books were closed.
    open: Option<(Exchange, Meter)>,
    /// `None` once the answer was cut: nobody pays for more.
    incoming: Option<B>,
    unask: Option<Unask>,
    /// Pieces that the removal of our own question left over, to be sent next.
    pieces: VecDeque<Bytes>,
    scratch: Vec<Bytes>,
    /// What the upstream sent after the body; the last frame.
    trailers: Option<HeaderMap>,
    idle_timeout: Duration,
    idle: Pin<Box<Sleep>>,
    /// Set while the timer runs for the present silence.
    silence: bool,
    ended: bool,
    /// `None` of an encoded answer: nothing can be said in the middle of one.
    tail: Option<Tail>,
    /// A piece that nobody gets yet.
    waiting: Option<Waiting>,
    draining: Draining,
    _stream: Option<Active>,
    _attempt: Active,
}

/// After its finish reason an upstream has nothing left to write but its count, which comes at once: some
/// clients leave before it.
const LAST_WORD: Duration = Duration::from_secs(2);

/// `error` of an answer that was cut.
const OUT_OF_MONEY: &str = "insufficient_quota";

type Next = Poll<Option<Result<Frame<Bytes>, BrokenOff>>>;

impl<B: Body<Data = Bytes> + Unpin> Flow<B> {
    pub(super) fn new(x: Exchange, meter: Meter, live: Live<B>) -> Self {
        let tail = (!meter.is_encoded()).then(Tail::default);
        let stream =
            x.record.stream.then(|| x.door.signals.stream_started(x.endpoint.operation.api_format()));
        Self {
            open: Some((x, meter)),
            incoming: Some(live.incoming),
            unask: live.unask,
            pieces: VecDeque::new(),
            scratch: Vec::new(),
            trailers: None,
            idle_timeout: live.idle_timeout,
            idle: Box::pin(sleep(live.idle_timeout)),
            silence: false,
            ended: false,
            tail,
            waiting: None,
            draining: live.draining,
            _stream: stream,
            _attempt: live.active,
        }
    }

    pub(super) fn poll_frame(&mut self, cx: &mut Context<'_>) -> Next {
        loop {
            if let Some(piece) = self.pieces.pop_front() {
                self.note_piece(&piece);
                return Poll::Ready(Some(Ok(Frame::data(piece))));
            }
            if let Some(waiting) = &mut self.waiting {
                match &mut waiting.until {
                    Until::Counted(counting) => {
                        let counted = ready!(counting.poll(cx));
                        self.take_counted(counted);
                    }
                    Until::Refilled(rest) => {
                        ready!(rest.as_mut().poll(cx));
                        self.take_rested();
                    }
                }
                continue;
            }
            if self.incoming.is_none() && !self.ended {
                self.end(Outcome::Cut, Some(OUT_OF_MONEY));
                return Poll::Ready(Some(Err(BrokenOff)));
            }
            if self.ended {
                self.end(Outcome::Completed, None);
                return Poll::Ready(self.trailers.take().map(|trailers| Ok(Frame::trailers(trailers))));
            }
            match ready!(self.poll_upstream(cx)) {
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) => self.take_in(data),
                    Err(frame) => {
                        self.trailers = frame.into_trailers().ok();
                        self.take_end();
                    }
                },
                Some(Err(error)) => {
                    self.end(Outcome::Truncated, Some(error));
                    return Poll::Ready(Some(Err(BrokenOff)));
                }
                None => self.take_end(),
            }
        }
    }

    /// The size, where the bytes pass through as they are.
    pub(super) fn size_hint(&self) -> SizeHint {
        match &self.incoming {
            Some(incoming) if self.unask.is_none() && !self.ended => incoming.size_hint(),
            _ => SizeHint::default(),
        }
    }

    /// The next frame, or the name of what broke: the upstream, or its silence.
    fn poll_upstream(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, &'static str>>> {
        let Some(incoming) = &mut self.incoming else { return Poll::Ready(None) };
        if let Poll::Ready(next) = Pin::new(incoming).poll_frame(cx) {
            self.silence = false;
            return Poll::Ready(next.map(|frame| frame.map_err(|_| BROKEN_OFF)));
        }
        if !self.silence {
            // moving the timer only when silence begins keeps it off the path of busy streams
            self.silence = true;
            let until = Instant::now() + self.idle_timeout;
            self.idle.as_mut().reset(until);
        }
        ready!(self.idle.as_mut().poll(cx));
        Poll::Ready(Some(Err(FELL_SILENT)))
    }

    fn take_in(&mut self, data: Bytes) {
        if let Some((x, meter)) = &mut self.open {
            if x.record.response_bytes > 0 {
                Failpoint::MidStream.reach();
            }
            meter.observe(&data);
            if meter.usage_seen() {
                Failpoint::AfterUsage.reach();
            }
            if meter.output_seen() {
                x.note_first_output();
            }
            let_go(x, meter);
        }
        let rest = match &mut self.open {
            Some((x, meter)) => rates::follow(x, meter.output_so_far()),
            None => Duration::ZERO,
        };
        if rest.is_zero() {
            self.pay(data);
        } else {
            self.waiting = Some(Waiting { data, until: Until::Refilled(Box::pin(sleep(rest))) });
        }
    }

    fn pass(&mut self, data: Bytes) {
        match &mut self.unask {
            None => self.pieces.push_back(data),
            Some(unask) => {
                unask.push(data, &mut self.scratch);
                self.pieces.extend(self.scratch.drain(..));
            }
        }
        // a body of known length is not polled again after its last byte
        if self.incoming.as_ref().is_some_and(Body::is_end_stream) {
            self.take_end();
        }
    }

    fn take_end(&mut self) {
        self.ended = true;
        if let Some(unask) = &mut self.unask {
            unask.finish(&mut self.scratch);
            self.pieces.extend(self.scratch.drain(..));
        }
        if self.pieces.is_empty() {
            self.end(Outcome::Completed, None);
        }
    }

    fn note_piece(&mut self, piece: &Bytes) {
        if let Some((x, _)) = &mut self.open {
            note_sent(x, piece);
            if let Some(tail) = self.tail.as_mut().filter(|_| x.follow.is_some()) {
                tail.note(piece);
            }
        }
        if self.ended && self.pieces.is_empty() {
            self.end(Outcome::Completed, None);
        }
    }
}

/// With limits and budgets that are asked as output passes.
impl<B: Body<Data = Bytes> + Unpin> Flow<B> {
    fn take_rested(&mut self) {
        if let Some(Waiting { data, .. }) = self.waiting.take() {
            self.pay(data);
        }
    }

    fn pay(&mut self, data: Bytes) {
        match self.step() {
            Step::Pass => self.pass(data),
            Step::Count => self.wait_for_count(data),
            Step::Cut(refusal) => self.cut(&data, refusal),
        }
    }

    fn step(&mut self) -> Step {
        match &mut self.open {
            Some((x, meter)) if x.follow.is_some() => follow::step(x, meter.output_so_far()),
            _ => Step::Pass,
        }
    }

    fn wait_for_count(&mut self, data: Bytes) {
        let Some((x, meter)) = &mut self.open else { return };
        self.waiting = Some(Waiting { data, until: Until::Counted(Counting::start(x, meter)) });
    }

    fn take_counted(&mut self, counted: Counted) {
        let (Some(Waiting { data, .. }), Some((x, meter))) = (self.waiting.take(), &mut self.open) else {
            return;
        };
        match follow::step_counted(x, counted, meter.output_so_far()) {
            Step::Pass | Step::Count => self.pass(data),
            Step::Cut(refusal) => self.cut(&data, refusal),
        }
    }

    /// Ends the answer before `data`; the upstream is let go at once.
    fn cut(&mut self, data: &Bytes, refusal: Box<budget::Refusal>) {
        self.incoming = None;
        let Some((x, _)) = &mut self.open else { return };
        if let Some(tail) = self.tail {
            self.pieces.extend(last_words(x, tail, data, &Refusal::Budget(refusal)));
        }
        // what follows is ours, and no part of an answer
        x.fill = None;
    }
}

/// Without the client.
impl<B: Body<Data = Bytes> + Unpin> Flow<B> {
    /// For how long at most what is left is read without the client; `None` if it is not read.
    pub(super) fn time_alone(&self) -> Option<Duration> {
        if self.has_all() || self.incoming.is_none() {
            return None;
        }
        if self.draining.is_wanted() { Some(DRAIN_AT_MOST) } else { self.is_finishing().then_some(LAST_WORD) }
    }

    /// Whether the text is over, and the count of it is still to come.
    fn is_finishing(&self) -> bool {
        self.open.as_ref().is_some_and(|(_, meter)| meter.is_finishing())
    }

    pub(super) fn door(&self) -> Option<Arc<Door>> {
        self.open.as_ref().map(|(x, _)| x.door.clone())
    }

    /// The client is gone; what is read from now on is for the books.
    pub(super) fn leave(&mut self) {
        if let Some((x, _)) = &mut self.open {
            x.goes_on_alone = true;
        }
    }

    /// Reads to the end, or as far as the upstream's section allows.
    pub(super) async fn read_on(&mut self) {
        while !self.has_cost_enough() {
            let next = poll_fn(|cx| self.poll_frame(cx)).await;
            if !matches!(next, Some(Ok(_))) {
                return;
            }
        }
    }

    fn has_cost_enough(&self) -> bool {
        if self.is_finishing() {
            return false;
        }
        match (self.draining, &self.open) {
            (Draining::UpTo(most), Some((x, meter))) => x.output_cost(meter.output_so_far()) > most,
            _ => false,
        }
    }
}

/// The end, however it comes.
impl<B> Flow<B> {
    /// A panic of ours: what went out counts as far as the meter can still tell.
    pub(super) fn fail(&mut self) {
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
    fn has_all(&self) -> bool {
        let saw_end = self.open.as_ref().is_none_or(|(_, meter)| meter.is_complete());
        saw_end || (self.ended && self.pieces.is_empty())
    }

    /// Closes the books, once.
    fn end(&mut self, outcome: Outcome, error: Option<&'static str>) {
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
        if self.incoming.is_none() {
            return self.end(Outcome::Cut, Some(OUT_OF_MONEY));
        }
        let outcome = if self.has_all() { Outcome::Completed } else { Outcome::Cancelled };
        self.end(outcome, None);
    }
}
