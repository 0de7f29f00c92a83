//! Seventh step: the answer goes to the client, byte for byte, while its usage is read in passing. However
//! the answer ends (clean, broken, client gone), `settle` hears of it exactly once.

use std::collections::VecDeque;
use std::future::Future as _;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, Response, StatusCode, header};
use http_body::{Body as _, Frame, SizeHint};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use tokio::time::{Instant, Sleep, sleep, timeout};

use super::body::{BrokenOff, Outgoing};
use super::error::Refusal;
use super::exchange::Exchange;
use super::headers;
use super::rates;
use super::settle::{End, standing_headers};
use crate::base::failpoint::Failpoint;
use crate::dialect::meter::Meter;
use crate::dialect::path::Dialect;
use crate::dialect::unask::Unask;
use crate::signals::Active;
use crate::store::record::{CacheResult, Outcome};

/// What the client will get.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: AnswerBody,
}

/// Where the bytes come from.
#[derive(Debug)]
pub(super) enum AnswerBody {
    /// A small answer, read whole before its head goes out: its cost can stand in a header.
    Whole(Bytes),
    /// The same, but the upstream broke off: the client gets what came, and no good end.
    Cut {
        /// What came.
        sent: Bytes,
        /// What broke.
        error: &'static str,
    },
    /// From the cache.
    Remembered(Bytes),
    /// As the upstream sends them.
    Live(Live),
}

/// An upstream's body that is still coming.
#[derive(Debug)]
pub(super) struct Live {
    pub(super) incoming: Incoming,
    pub(super) unask: Option<Unask>,
    pub(super) idle_timeout: Duration,
    /// Counts the attempt as active until the last byte.
    pub(super) active: Active,
}

impl Live {
    /// Reads a body of known, small size whole. One that comes in pieces of unknown number is not held
    /// back: the upstream may be keeping the connection alive with them.
    pub(super) async fn gather_if_small(mut self, headers: &HeaderMap) -> AnswerBody {
        let announced = headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok());
        let is_small =
            announced.and_then(|text| text.parse::<usize>().ok()).is_some_and(|size| size <= SMALL);
        if !is_small || self.incoming.size_hint().exact().is_none_or(|size| size > SMALL as u64) {
            return AnswerBody::Live(self);
        }
        let mut whole = BytesMut::new();
        loop {
            let error = match timeout(self.idle_timeout, self.incoming.frame()).await {
                Ok(None) => return AnswerBody::Whole(whole.freeze()),
                Ok(Some(Ok(frame))) => {
                    whole.extend_from_slice(frame.data_ref().map_or(&[], |data| data));
                    continue;
                }
                Ok(Some(Err(_))) => BROKEN_OFF,
                Err(_) => FELL_SILENT,
            };
            return AnswerBody::Cut { sent: whole.freeze(), error };
        }
    }
}

/// `error.type` of an answer that broke off, and of one that fell silent.
const BROKEN_OFF: &str = "upstream_stream_interrupted";
const FELL_SILENT: &str = "upstream_idle_timeout";

/// Answers up to this size are read whole.
const SMALL: usize = 256 << 10;

/// Sends an answer to the client.
pub(super) fn relay(mut x: Exchange, answer: Answer) -> Response<Outgoing> {
    let Answer { status, headers, body } = answer;
    x.record.status = status.as_u16();
    let mut response = Response::new(Outgoing::Ready(None));
    *response.status_mut() = status;
    if let Some(fill) = &mut x.fill {
        fill.note_headers(&headers);
    }
    let mut meter = Meter::new(
        x.endpoint.operation,
        status.as_u16(),
        text(&headers, header::CONTENT_TYPE),
        text(&headers, header::CONTENT_ENCODING),
    );
    *response.headers_mut() = headers;
    let told = rates::Told::on(&x, response.headers());
    stamp(&x, response.headers_mut());
    *response.body_mut() = match body {
        AnswerBody::Whole(bytes) => {
            meter.observe(&bytes);
            x.note_first_output();
            note_sent(&mut x, &bytes);
            let (budgets, clock) = (x.watched(), x.door.clock.clone());
            if let Some(cost) = x.close(End::answered(status, meter.finish(), true)) {
                headers::set(response.headers_mut(), "x-tollgate-cost-usd", &cost.to_usd_string());
            }
            // the reservation is settled: this is what the next request has
            standing_headers(&budgets, clock.now(), response.headers_mut());
            Outgoing::ready(bytes)
        }
        AnswerBody::Cut { sent, error } => {
            meter.observe(&sent);
            note_sent(&mut x, &sent);
            x.close(End::broken(Outcome::Truncated, error, meter.finish()));
            Outgoing::cut(sent)
        }
        AnswerBody::Remembered(bytes) => {
            x.note_first_output();
            note_sent(&mut x, &bytes);
            headers::set(response.headers_mut(), "x-tollgate-cost-usd", "0.00");
            x.close(End::remembered());
            Outgoing::ready(bytes)
        }
        AnswerBody::Live(live) => Outgoing::Relayed(Box::new(Relay::new(x, meter, live))),
    };
    told.write(response.headers_mut());
    response
}

/// Tollgate's own answer.
pub(super) fn refuse(mut x: Exchange, refusal: &Refusal) -> Response<Outgoing> {
    let face = refusal.face();
    let (status, headers, body) = refusal.answer(x.endpoint.dialect, x.id);
    x.record.status = status.as_u16();
    x.rejection = Some(face.reason);
    let mut response = Response::new(Outgoing::ready(body.clone()));
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    stamp(&x, response.headers_mut());
    // the SDKs show these as the request's id; on an upstream's answer they stay the upstream's
    let id_header = match x.endpoint.dialect {
        Dialect::OpenAi => "x-request-id",
        Dialect::Anthropic => "request-id",
    };
    headers::set(response.headers_mut(), id_header, &x.id.to_string());
    note_sent(&mut x, &body);
    let told = rates::Told::on(&x, response.headers());
    x.close(End::refused(face.outcome, face.code));
    told.write(response.headers_mut());
    response
}

/// The headers that Tollgate adds to every answer.
fn stamp(x: &Exchange, headers: &mut HeaderMap) {
    headers::set(headers, "x-tollgate-request-id", &x.id.to_string());
    if !x.record.upstream.is_empty() && (x.was_dispatched() || x.record.cache != CacheResult::Off) {
        headers::set(headers, "x-tollgate-upstream", &x.record.upstream);
        headers::set(headers, "x-tollgate-attempts", &x.record.attempts.to_string());
    }
    if x.record.cache != CacheResult::Off {
        headers::set(headers, "x-tollgate-cache", x.record.cache.as_str());
    }
    standing_headers(&x.watched(), x.now(), headers);
    let overhead = x.record.overhead_us;
    if overhead > 0 {
        let (whole, part) = (overhead / 1_000, overhead % 1_000);
        headers::set(headers, "server-timing", &format!("tollgate;dur={whole}.{part:03}"));
    }
}

fn note_sent(x: &mut Exchange, bytes: &Bytes) {
    x.record.response_bytes += bytes.len() as u64;
    if let Some(fill) = &mut x.fill {
        fill.note_bytes(bytes);
    }
}

fn text(headers: &HeaderMap, name: header::HeaderName) -> Option<&str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

/// A body on its way from the upstream to the client.
#[derive(Debug)]
pub struct Relay {
    /// `None` once the books were closed.
    open: Option<(Exchange, Meter)>,
    incoming: Incoming,
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
    _stream: Option<Active>,
    _attempt: Active,
}

impl Relay {
    fn new(x: Exchange, meter: Meter, live: Live) -> Self {
        let stream =
            x.record.stream.then(|| x.door.signals.stream_started(x.endpoint.operation.api_format()));
        Self {
            open: Some((x, meter)),
            incoming: live.incoming,
            unask: live.unask,
            pieces: VecDeque::new(),
            scratch: Vec::new(),
            trailers: None,
            idle_timeout: live.idle_timeout,
            idle: Box::pin(sleep(live.idle_timeout)),
            silence: false,
            ended: false,
            _stream: stream,
            _attempt: live.active,
        }
    }

    pub(super) fn poll_frame(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BrokenOff>>> {
        loop {
            if let Some(piece) = self.pieces.pop_front() {
                self.note_piece(&piece);
                return Poll::Ready(Some(Ok(Frame::data(piece))));
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
        if self.unask.is_some() || self.ended { SizeHint::default() } else { self.incoming.size_hint() }
    }

    /// The next frame, or the name of what broke: the upstream, or its silence.
    fn poll_upstream(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, &'static str>>> {
        if let Poll::Ready(next) = Pin::new(&mut self.incoming).poll_frame(cx) {
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
        }
        match &mut self.unask {
            None => self.pieces.push_back(data),
            Some(unask) => {
                unask.push(data, &mut self.scratch);
                self.pieces.extend(self.scratch.drain(..));
            }
        }
        // a body of known length is not polled again after its last byte
        if self.incoming.is_end_stream() {
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
        }
        if self.ended && self.pieces.is_empty() {
            self.end(Outcome::Completed, None);
        }
    }

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

    /// Closes the books, once.
    fn end(&mut self, outcome: Outcome, error: Option<&'static str>) {
        let Some((x, meter)) = self.open.take() else { return };
        let status = StatusCode::from_u16(x.record.status).unwrap_or(StatusCode::OK);
        let end = match outcome {
            Outcome::Completed => End::answered(status, meter.finish(), self.ended),
            _ => End::broken(outcome, error.unwrap_or("client_disconnect"), meter.finish()),
        };
        x.close(end);
        Failpoint::AfterCommitBeforeClientEnd.wait_for_it();
    }
}

impl Drop for Relay {
    /// The client is gone. After the dialect's own end that is success: some SDKs hang up on `[DONE]`.
    fn drop(&mut self) {
        if std::thread::panicking() {
            // a second panic here would end the process
            return self.fail();
        }
        let saw_end = self.open.as_ref().is_some_and(|(_, meter)| meter.is_complete());
        let all_sent = self.ended && self.pieces.is_empty();
        let outcome = if saw_end || all_sent { Outcome::Completed } else { Outcome::Cancelled };
        self.end(outcome, None);
    }
}
