//! The bytes of an answer, from the upstream towards the client, and what is read in passing.

mod end;

use std::future::{Future as _, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body, Frame, SizeHint};
use tokio::time::{Sleep, sleep};

use super::count::{Counting, let_go};
use super::cut::{Tail, last_words};
use super::live::{BROKEN_OFF, FELL_SILENT, Live};
use super::note_sent;
use super::pieces::Pieces;
use super::silence::Silence;
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
    /// What is ready for the client.
    ready: Pieces,
    /// What the upstream sent after the body; the last frame.
    trailers: Option<HeaderMap>,
    silence: Silence,
    ended: bool,
    /// What broke.
    broken: Option<&'static str>,
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

/// A prompt up to this size is copied for as long as its answer takes: it lies in a buffer of its connection, which
/// would be kept for it and is larger.
const SMALL_PROMPT: usize = 4 << 10;

/// `error` of an answer that was cut.
const OUT_OF_MONEY: &str = "insufficient_quota";

type Next = Poll<Option<Result<Frame<Bytes>, BrokenOff>>>;

impl<B: Body<Data = Bytes> + Unpin> Flow<B> {
    pub(super) fn new(mut x: Exchange, meter: Meter, live: Live<B>) -> Self {
        if x.prompt.len() <= SMALL_PROMPT {
            x.prompt = Bytes::copy_from_slice(&x.prompt);
        }
        let tail = (!meter.is_encoded()).then(Tail::default);
        let stream =
            x.record.stream.then(|| x.door.signals.stream_started(x.endpoint.operation.api_format()));
        Self {
            open: Some((x, meter)),
            incoming: Some(live.incoming),
            unask: live.unask,
            ready: Pieces::default(),
            trailers: None,
            silence: Silence::up_to(live.idle_timeout),
            ended: false,
            broken: None,
            tail,
            waiting: None,
            draining: live.draining,
            _stream: stream,
            _attempt: live.active,
        }
    }

    /// The next frame: all that is ready of the answer, however many pieces it came in, and not a moment later.
    pub(super) fn poll_frame(&mut self, cx: &mut Context<'_>) -> Next {
        while !(self.is_over() || self.ready.are_enough()) {
            if self.poll_more(cx).is_pending() {
                return self.hand_out().map_or(Poll::Pending, |frame| Poll::Ready(Some(Ok(frame))));
            }
        }
        match self.hand_out() {
            Some(frame) => Poll::Ready(Some(Ok(frame))),
            None => Poll::Ready(self.finish()),
        }
    }

    /// Whether nothing is to be expected from the upstream.
    const fn is_over(&self) -> bool {
        self.ended || self.broken.is_some() || self.incoming.is_none()
    }

    /// Whether the client has all of an answer that ended well: it need not ask for more.
    pub(super) fn is_done(&self) -> bool {
        self.ended && self.ready.is_empty() && self.trailers.is_none()
    }

    fn poll_more(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        match &mut self.waiting {
            None => match ready!(self.poll_upstream(cx)) {
                Some(Ok(frame)) => self.take_frame(frame),
                Some(Err(error)) => self.broken = Some(error),
                None => self.take_end(),
            },
            Some(Waiting { until: Until::Counted(counting), .. }) => {
                let counted = ready!(counting.poll(cx));
                self.take_counted(counted);
            }
            Some(Waiting { until: Until::Refilled(rest), .. }) => {
                ready!(rest.as_mut().poll(cx));
                self.take_rested();
            }
        }
        Poll::Ready(())
    }

    /// What follows the last piece.
    fn finish(&mut self) -> Option<Result<Frame<Bytes>, BrokenOff>> {
        if let Some(error) = self.broken {
            self.end(Outcome::Truncated, Some(error));
            return Some(Err(BrokenOff));
        }
        if !self.ended {
            self.end(Outcome::Cut, Some(OUT_OF_MONEY));
            return Some(Err(BrokenOff));
        }
        self.end(Outcome::Completed, None);
        self.trailers.take().map(|trailers| Ok(Frame::trailers(trailers)))
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
            self.silence.is_broken();
            return Poll::Ready(next.map(|frame| frame.map_err(|_| BROKEN_OFF)));
        }
        ready!(self.silence.poll(cx));
        Poll::Ready(Some(Err(FELL_SILENT)))
    }

    fn take_frame(&mut self, frame: Frame<Bytes>) {
        match frame.into_data() {
            Ok(data) => self.take_in(data),
            Err(frame) => {
                self.trailers = frame.into_trailers().ok();
                self.take_end();
            }
        }
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
            None => self.ready.push(data),
            Some(unask) => self.ready.take_from(|pieces| unask.push(data, pieces)),
        }
        // a body of known length is not polled again after its last byte
        if self.incoming.as_ref().is_some_and(Body::is_end_stream) {
            self.take_end();
        }
    }

    fn take_end(&mut self) {
        self.ended = true;
        if let Some(unask) = &mut self.unask {
            self.ready.take_from(|pieces| unask.finish(pieces));
        }
        if self.ready.is_empty() {
            self.end(Outcome::Completed, None);
        }
    }

    /// Hands out what is ready; with the last of it the books are closed.
    fn hand_out(&mut self) -> Option<Frame<Bytes>> {
        let bytes = self.ready.join()?;
        if let Some((x, _)) = &mut self.open {
            note_sent(x, &bytes);
        }
        if let Some(tail) = &mut self.tail {
            tail.note(&bytes);
        }
        if self.ended {
            self.end(Outcome::Completed, None);
        }
        Some(Frame::data(bytes))
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
        if let Some(mut tail) = self.tail {
            self.ready.iter().for_each(|piece| tail.note(piece));
            self.ready
                .take_from(|pieces| pieces.extend(last_words(x, tail, data, &Refusal::Budget(refusal))));
        }
        // what follows is ours, and no part of an answer
        x.fill = None;
    }
}

/// Without the client.
impl<B: Body<Data = Bytes> + Unpin> Flow<B> {
    /// For how long at most what is left is read without the client; `None` if it is not read.
    pub(super) fn time_alone(&self) -> Option<Duration> {
        if self.has_all() || self.is_over() {
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
            // one piece after the other: each may be the one that is enough
            self.hand_out();
            if self.is_over() {
                self.finish();
                return;
            }
            poll_fn(|cx| self.poll_more(cx)).await;
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
