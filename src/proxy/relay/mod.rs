//! Seventh step: the answer goes to the client, byte for byte, while its usage is read in passing (`flow`).
//! However it ends (clean, broken, cut, client gone), `settle` hears of it exactly once.

mod client;
mod count;
mod cut;
#[cfg(test)]
#[path = "differential_tests.rs"]
mod differential;
mod flow;
mod live;
mod pieces;
mod silence;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Response, StatusCode};

use super::body::Outgoing;
use super::error::Refusal;
use super::exchange::Exchange;
use super::headers;
use super::hold::withdraw;
use super::late;
use super::names;
use super::rates;
use super::settle::{End, standing_headers};
use super::socket::{self, Switched};
use crate::base::digits::Digits;
use crate::dialect::path::Dialect;
use crate::store::record::{CacheResult, Outcome};

pub(super) use client::Relay;
pub(super) use live::Live;

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
    /// No HTTP any more: both sides speak WebSocket from here on.
    Switched(Switched),
}

/// Sends an answer to the client.
pub(super) fn relay(mut x: Exchange, answer: Answer) -> Response<Outgoing> {
    let Answer { status, headers, body } = answer;
    if !x.is_alone() {
        x.record.status = status.as_u16();
    }
    let mut response = Response::new(Outgoing::Ready(None));
    *response.status_mut() = status;
    if let Some(fill) = &mut x.fill {
        fill.note_headers(&headers);
    }
    let mut meter = late::meter(&x, status, &headers);
    *response.headers_mut() = headers;
    let told = rates::Told::on(&x, response.headers());
    stamp(&x, response.headers_mut());
    if !matches!(body, AnswerBody::Whole(_)) {
        standing_headers(&x.watched(), x.now(), response.headers_mut());
    }
    *response.body_mut() = match body {
        AnswerBody::Whole(bytes) => {
            meter.observe(&bytes);
            x.note_first_output();
            note_sent(&mut x, &bytes);
            let (budgets, clock) = (x.watched(), x.door.clock.clone());
            if let Some(cost) = x.close(End::answered(status, meter.finish(), true)) {
                headers::set(response.headers_mut(), &names::COST, &cost.to_usd_string());
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
            headers::set(response.headers_mut(), &names::COST, "0.00");
            x.close(End::remembered());
            Outgoing::ready(bytes)
        }
        AnswerBody::Live(live) => Outgoing::Relayed(Relay::new(x, meter, live)),
        AnswerBody::Switched(switched) => {
            socket::carry(x, switched);
            Outgoing::Ready(None)
        }
    };
    told.write(response.headers_mut());
    response
}

/// Tollgate's own answer.
pub(super) fn refuse(mut x: Exchange, refusal: &Refusal) -> Response<Outgoing> {
    if !x.was_dispatched() {
        withdraw(&mut x);
    }
    let face = refusal.face();
    let (status, headers, body) = refusal.answer(x.endpoint.dialect, x.id);
    x.record.status = status.as_u16();
    x.rejection = Some(face.reason);
    let mut response = Response::new(Outgoing::ready(body.clone()));
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    stamp(&x, response.headers_mut());
    standing_headers(&x.watched(), x.now(), response.headers_mut());
    // the SDKs show these as the request's id; on an upstream's answer they stay the upstream's
    let id_header = match x.endpoint.dialect {
        Dialect::OpenAi => "x-request-id",
        Dialect::Anthropic => "request-id",
    };
    headers::set(response.headers_mut(), id_header, x.id.text().as_str());
    note_sent(&mut x, &body);
    let told = rates::Told::on(&x, response.headers());
    x.close(End::refused(face.outcome, face.code));
    told.write(response.headers_mut());
    response
}

/// The headers that Tollgate adds to every answer.
fn stamp(x: &Exchange, headers: &mut HeaderMap) {
    headers::set(headers, &names::REQUEST_ID, x.id.text().as_str());
    if !x.record.upstream.is_empty() && (x.was_dispatched() || x.record.cache != CacheResult::Off) {
        headers::set(headers, &names::UPSTREAM, &x.record.upstream);
        headers::set(headers, &names::ATTEMPTS, Digits::of(x.record.attempts.into()).as_str());
    }
    if x.record.cache != CacheResult::Off {
        headers::set(headers, &names::CACHE, x.record.cache.as_str());
    }
    let overhead = x.record.overhead_us;
    if overhead > 0 {
        // beside the upstream's own
        if let Ok(value) = HeaderValue::try_from(server_timing(overhead)) {
            headers.append(&names::SERVER_TIMING, value);
        }
    }
}

/// In milliseconds, with three digits after the point.
fn server_timing(overhead_us: u64) -> String {
    let mut text = String::with_capacity(32);
    text.push_str("tollgate;dur=");
    text.push_str(Digits::of(overhead_us / 1_000).as_str());
    text.push('.');
    // a one in front keeps the zeros that the part begins with
    text.push_str(&Digits::of(1_000 + overhead_us % 1_000).as_str()[1..]);
    text
}

fn note_sent(x: &mut Exchange, bytes: &Bytes) {
    if !x.is_alone() {
        x.record.response_bytes += bytes.len() as u64;
    }
    if let Some(fill) = &mut x.fill {
        fill.note_bytes(bytes);
    }
}
