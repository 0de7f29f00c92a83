//! The bill of a Live session: seconds of the whole session, of which each word replaces the one before.

use bytes::Bytes;
use http::StatusCode;

use super::open;
use super::session::Session;
use crate::base::money::NanoUsd;
use crate::budget::{Need, Reservation};
use crate::dialect::meter::Reading;
use crate::dialect::path::{Endpoint, Operation};
use crate::dialect::socket::seconds_used;
use crate::proxy::error::Refusal;
use crate::proxy::exchange::Exchange;
use crate::proxy::need::LIVE_SECONDS;
use crate::proxy::part;
use crate::proxy::settle::End;
use crate::store::record::Outcome;

/// What a Live session holds, and has used.
#[derive(Debug)]
pub(super) struct LiveBill {
    x: Exchange,
    told: Option<u64>,
    /// Seconds that are held, and what is held for as many as at first.
    held: u64,
    step: Need,
}

impl LiveBill {
    /// Held for from the first second.
    pub(super) fn open(session: &Session) -> Result<Self, Refusal> {
        let endpoint = Endpoint { operation: Operation::LiveSession, ..session.endpoint.clone() };
        let opened = open::open(session, &endpoint, &open::live(), Bytes::new(), None);
        let x = open::begin_now(session, opened)?;
        let first = x.reservation.as_ref().map_or_else(Need::default, Reservation::held);
        Ok(Self { x, told: None, held: LIVE_SECONDS, step: Need { requests: 0, ..first } })
    }

    /// So many seconds until now. Holds ahead of them.
    pub(super) fn tell(&mut self, seconds: u64) -> Result<(), Refusal> {
        self.told = self.told.max(Some(seconds));
        open::check_key(&self.x)?;
        let wanted = seconds.saturating_add(LIVE_SECONDS / 2);
        let steps = wanted.saturating_sub(self.held).div_ceil(LIVE_SECONDS);
        if steps == 0 {
            return Ok(());
        }
        let times = i64::try_from(steps).unwrap_or(i64::MAX);
        let cost = NanoUsd::new(self.step.cost.as_nanos().saturating_mul(times));
        let more = Need { cost, tokens: self.step.tokens.saturating_mul(steps), requests: 0 };
        self.held = self.held.saturating_add(steps.saturating_mul(LIVE_SECONDS));
        part::hold_more(&mut self.x, more)
    }

    /// The socket has ended. Where nobody told, it used as long as it was open.
    pub(super) fn close(self, outcome: Outcome, error: &str) {
        let lasted = self.x.tick().since(self.x.began).as_secs();
        match self.told {
            Some(told) => self.x.close(End::answered(StatusCode::OK, seconds_used(told), true)),
            // not as the upstream's word, which never came
            None => {
                let reading = Reading { ended: false, ..seconds_used(lasted) };
                self.x.close(End::broken(outcome, error, reading))
            }
        };
    }
}
