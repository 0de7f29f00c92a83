//! Everything known about one request so far. It owns what must be given back; dropping it closes
//! the books as `cancelled`, so no end of a request can leave them open.

use std::ops::{Deref, DerefMut};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use hyper::upgrade::OnUpgrade;
use tokio::sync::OwnedSemaphorePermit;

use super::budgets::spender;
use super::drain::Leaving;
use super::error::Refusal;
use super::fill::Fill;
use super::follow::Follow;
use super::headers::Head;
use super::policy::{Account, Door, Policy};
use super::settle::{self, End};
use super::tally::Tally;
use super::upload::Upload;
use crate::base::clock::{Tick, Timestamp};
use crate::base::id::RequestId;
use crate::base::money::NanoUsd;
use crate::base::usage::Usage;
use crate::budget::{self, Reservation, UnpricedRule, Watched};
use crate::dialect::grounds::Ground;
use crate::dialect::outline::{PromptOutline, outline};
use crate::dialect::path::{Endpoint, Metering};
use crate::dialect::request::RequestFacts;
use crate::limits::{Admission, TokenAsk};
use crate::pricing::cost::{Terms, cost};
use crate::pricing::price::Price;
use crate::signals::{Active, Answered, Attempt};
use crate::store::record::{Billing, Record};
use crate::telemetry::trace::{TraceContext, new_span_id};
use crate::telemetry::words::Rejection;
use crate::tokens::rough;

/// One request from its first header to its record: the books while they are open.
#[derive(Debug)]
pub(super) struct Exchange {
    /// `None` only once the books were handed to `settle`.
    books: Option<Box<Books>>,
}

/// What is known, and what is held, for one request.
#[derive(Debug)]
pub(super) struct Books {
    pub(super) door: Arc<Door>,
    pub(super) policy: Arc<Policy>,
    pub(super) began: Tick,
    pub(super) id: RequestId,
    pub(super) endpoint: Endpoint,
    pub(super) head: Head,
    pub(super) trace: TraceContext,
    pub(super) span_id: u64,
    pub(super) record: Record,

    pub(super) account: Option<Arc<Account>>,
    pub(super) facts: Arc<RequestFacts>,
    /// The body as it came, for counting when the upstream reports nothing.
    pub(super) prompt: Bytes,
    /// The same of a form that is not in memory.
    pub(super) upload: Option<Arc<Upload>>,
    /// The share of `server.max_body_total` that the body takes.
    pub(super) memory: Option<OwnedSemaphorePermit>,

    /// What it asks of limits on tokens.
    pub(super) token_ask: TokenAsk,
    /// Tokens that its limits were asked for while it streams.
    pub(super) tokens_taken: u64,
    pub(super) admission: Option<Admission>,
    /// Its place in the limits of the upstream that is asked.
    pub(super) upstream_admission: Option<Admission>,
    pub(super) reservation: Option<Reservation>,
    /// The accounts that the reservation is in, for all who tell how they stand.
    watched: Option<Watched>,
    /// A stream that is paid for as it passes.
    pub(super) follow: Option<Box<Follow>>,
    /// The count of the output that was shown.
    pub(super) tally: Tally,
    /// The most tokens that an estimate may come to: what is held.
    pub(super) most_input: u64,
    pub(super) most_output: u64,
    /// What its budgets say to unknown prices.
    pub(super) unpriced: UnpricedRule,
    /// The price by which it was admitted.
    pub(super) price: Option<Arc<Price>>,
    pub(super) fill: Option<Fill>,
    /// Tokens of an answer from the cache.
    pub(super) saved_tokens: u64,
    pub(super) attempts: Vec<Attempt>,
    /// Those that an upstream may have worked on without anything to show for it.
    pub(super) lost: Vec<Lost>,
    pub(super) answered: Answered,
    pub(super) rejection: Option<Rejection>,
    /// Type and scope of the rate limit that refused.
    pub(super) limit_hit: Option<(&'static str, &'static str)>,
    pub(super) first_output: Option<Tick>,
    pub(super) leaving: Arc<Leaving>,
    /// The client's connection, if it asks for a WebSocket.
    pub(super) upgrade: Option<OnUpgrade>,
    /// The client left in the middle of the answer, which is read on.
    pub(super) goes_on_alone: bool,

    _active: Active,
    place: Option<Place>,
}

/// An attempt whose request was sent and whose answer never came.
#[derive(Debug)]
pub(super) struct Lost {
    pub(super) number: u32,
    pub(super) host: String,
    pub(super) model: String,
    /// What it may have used, and what that costs: known at the end.
    pub(super) usage: Usage,
    pub(super) cost: Option<NanoUsd>,
}

/// What is known when a request begins.
#[derive(Debug)]
pub(super) struct Opening {
    pub(super) began: Tick,
    pub(super) id: RequestId,
    pub(super) endpoint: Endpoint,
    pub(super) trace: TraceContext,
    pub(super) record: Record,
    pub(super) head: Head,
    pub(super) leaving: Arc<Leaving>,
    pub(super) upgrade: Option<OnUpgrade>,
}

impl Exchange {
    pub(super) fn open(door: Arc<Door>, opening: Opening) -> Self {
        let Opening { began, id, endpoint, trace, record, head, leaving, upgrade } = opening;
        let books = Books {
            policy: door.live.snapshot(),
            span_id: new_span_id(&door.chance),
            _active: door.signals.request_started(&head.method, head.scheme),
            began,
            id,
            endpoint,
            head,
            trace,
            record,
            door,
            account: None,
            facts: Arc::default(),
            prompt: Bytes::new(),
            upload: None,
            memory: None,
            token_ask: TokenAsk::default(),
            tokens_taken: 0,
            admission: None,
            upstream_admission: None,
            reservation: None,
            watched: None,
            follow: None,
            tally: Tally::default(),
            most_input: 0,
            most_output: 0,
            unpriced: UnpricedRule::default(),
            price: None,
            fill: None,
            saved_tokens: 0,
            attempts: Vec::new(),
            lost: Vec::new(),
            answered: Answered::default(),
            rejection: None,
            limit_hit: None,
            first_output: None,
            leaving,
            upgrade,
            goes_on_alone: false,
            place: None,
        };
        Self { books: Some(Box::new(books)) }
    }

    /// Takes a place among the requests at work.
    pub(super) fn enter(&mut self) -> Result<(), Refusal> {
        if self.door.draining.load(Ordering::Acquire) {
            return Err(Refusal::ShuttingDown);
        }
        let before = self.door.at_work.fetch_add(1, Ordering::AcqRel);
        let door = self.door.clone();
        self.place = Some(Place { door });
        if before >= self.policy.bounds.max_requests { Err(Refusal::Overloaded) } else { Ok(()) }
    }

    /// Hands the books to who closes them by itself.
    pub(super) fn into_books(mut self) -> Option<Box<Books>> {
        self.books.take()
    }

    /// Ends the exchange: exactly one record is left. Tells the cost, if it is known at once.
    pub(super) fn close(mut self, end: End) -> Option<NanoUsd> {
        self.books.take().and_then(|books| settle::settle(books, end))
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        if let Some(books) = self.books.take() {
            if !std::thread::panicking() {
                settle::settle(books, End::cancelled());
                return;
            }
            // a second panic while the first unwinds would end the process
            let settled = catch_unwind(AssertUnwindSafe(|| settle::settle(books, End::panicked())));
            if settled.is_err() {
                tracing::error!("the books of a request that panicked could not be closed");
            }
        }
    }
}

impl Deref for Exchange {
    type Target = Books;
    fn deref(&self) -> &Books {
        self.books.as_deref().expect("books are open until close or drop, which both consume the exchange")
    }
}

impl DerefMut for Exchange {
    fn deref_mut(&mut self) -> &mut Books {
        self.books
            .as_deref_mut()
            .expect("books are open until close or drop, which both consume the exchange")
    }
}

impl Books {
    pub(super) fn now(&self) -> Timestamp {
        self.door.clock.now()
    }

    pub(super) fn tick(&self) -> Tick {
        self.door.clock.tick()
    }

    /// The instant whose prices apply: one for all parts of a request, from its admission to its end.
    pub(super) const fn priced_at(&self) -> Timestamp {
        Timestamp::from_nanos(self.record.started_at)
    }

    /// The price that stands in for an unknown one, if a budget names a model for that.
    pub(super) fn stand_in(&self) -> Option<Arc<Price>> {
        match &self.unpriced {
            UnpricedRule::PriceAs(model) => self.policy.prices.price(None, model, self.priced_at()),
            UnpricedRule::Refuse | UnpricedRule::Allow => None,
        }
    }

    pub(super) fn is_billed(&self) -> bool {
        self.endpoint.operation.metering() == Metering::Billed || self.record.billing == Billing::Late
    }

    /// Whether the caller's spending is limited.
    pub(super) fn has_budget(&self) -> bool {
        self.account.as_ref().is_some_and(|account| !account.budgets.is_empty())
    }

    /// Keeps what is held, and whose accounts it is in.
    pub(super) fn note_reserved(&mut self, reservation: Reservation) {
        self.reservation = Some(reservation);
        self.watched = Some(self.watched());
    }

    /// The budgets that count this request.
    pub(super) fn watched(&self) -> Watched {
        let watch = |account: &Arc<Account>| budget::watch(&account.budgets, &spender(&self.record));
        let found = || self.account.as_ref().map(watch).unwrap_or_default();
        self.watched.clone().unwrap_or_else(found)
    }

    /// Bytes of the body.
    pub(super) fn body_bytes(&self) -> u64 {
        self.upload.as_ref().map_or(self.prompt.len() as u64, |upload| upload.bytes())
    }

    /// Answers that are made.
    pub(super) fn choices(&self) -> u64 {
        let told_late = self.upload.as_ref().map_or(0, |upload| upload.choices());
        self.facts.choices.max(told_late).max(1)
    }

    /// Whether the upstream that was asked last may have had the whole body.
    pub(super) fn was_sent_whole(&self) -> bool {
        self.upload.as_ref().is_none_or(|upload| upload.is_whole())
    }

    /// What a tokenizer needs of the body.
    pub(super) fn outline(&self) -> PromptOutline {
        match &self.upload {
            None => outline(&self.endpoint, &self.prompt),
            Some(upload) => {
                let bytes = upload.input().min(upload.bytes());
                let skipped_bytes = usize::try_from(bytes).unwrap_or(usize::MAX);
                PromptOutline { skipped_bytes, grounds: Ground::Bytes.into(), ..PromptOutline::default() }
            }
        }
    }

    /// Whether an upstream was asked and may have worked.
    pub(super) fn was_dispatched(&self) -> bool {
        !self.attempts.is_empty()
    }

    /// Whether the client is gone and the request goes on.
    pub(super) fn is_alone(&self) -> bool {
        self.goes_on_alone || self.leaving.goes_on()
    }

    /// What visible output of this many bytes costs, about.
    pub(super) fn output_cost(&self, bytes: u64) -> NanoUsd {
        let output_tokens = rough(usize::try_from(bytes).unwrap_or(usize::MAX));
        let usage = Usage { output_tokens, ..Usage::default() };
        let cost_at = |price: &Arc<Price>| cost(price, &usage, &Terms::default()).priced;
        self.price.as_ref().map_or(NanoUsd::ZERO, cost_at)
    }

    /// Notes the first output byte that the client got.
    pub(super) fn note_first_output(&mut self) {
        if self.first_output.is_none() {
            self.first_output = Some(self.tick());
        }
    }
}

/// A place among the requests at work, given back when it goes.
#[derive(Debug)]
struct Place {
    door: Arc<Door>,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.door.at_work.fetch_sub(1, Ordering::AcqRel);
    }
}
