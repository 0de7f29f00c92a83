//! A client that leaves at any byte of a stream: one record each, exact where the answer is drained, between
//! what was relayed and what was held where it is not. In one process and without a socket, so that it is
//! every byte.

use std::collections::{HashMap, HashSet, VecDeque};
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame};
use tempfile::TempDir;
use tokio::sync::Semaphore;

use super::*;
use crate::base::chance::Chance;
use crate::base::clock::Clock;
use crate::base::live::Live as Swapped;
use crate::base::money::NanoUsd;
use crate::base::usage::{Usage, UsageSource};
use crate::budget::section::BudgetSection;
use crate::budget::{Book, Budget, BudgetSpec, Need, Scope};
use crate::cache::Cache;
use crate::dialect::path::{Operation, classify};
use crate::dialect::unask::Unask;
use crate::identity::{Directory, Pepper};
use crate::ledger::books::Books as Ledger;
use crate::ledger::deferred::Deferred;
use crate::ledger::journal::Journal;
use crate::ledger::section::LedgerSection;
use crate::pricing::catalogue::Catalogue;
use crate::proxy::drain::{Drains, Leaving};
use crate::proxy::exchange::Opening;
use crate::proxy::headers::Head;
use crate::proxy::lines::Lines;
use crate::proxy::policy::{Account, Bounds, ByName, Door, Policy};
use crate::proxy::prices::Prices;
use crate::proxy::spool::Spools;
use crate::routing::router::Router;
use crate::signals::section::LogSection;
use crate::signals::{Active, Attempt, Colours, Signals};
use crate::store::ledger::{Filter, LedgerReader as _};
use crate::store::record::{Disconnect, Outcome, Record};
use crate::telemetry::trace::TraceContext;
use crate::tokens::CountingPool;
use crate::upstream::endpoint::Draining;

const MODEL: &str = "gpt-4o-mini";
/// Words of the answer: 300 in the whole run, fewer where every check has to wait for it.
#[expect(clippy::disallowed_methods, reason = "a switch of this test, not of the gateway")]
fn chunks() -> usize {
    if std::env::var_os("TOLLGATE_DISCONNECTS").is_some() { 300 } else { 60 }
}

/// Each is one token of the model's vocabulary.
const WORDS: [&str; 8] = [" the", " stream", " of", " one", " answer", " is", " long", " enough"];

/// What the upstream reports.
fn told() -> Usage {
    Usage { input_tokens: 9, output_tokens: chunks() as u64, ..Usage::default() }
}

/// The whole answer, and where each of its words ends.
fn answer() -> (Bytes, Vec<usize>) {
    let (mut bytes, mut ends) = (Vec::new(), Vec::new());
    for place in 0..chunks() {
        let word = WORDS[place % WORDS.len()];
        let chunk =
            format!("data: {{\"choices\":[{{\"index\":0,\"delta\":{{\"content\":\"{word}\"}}}}]}}\n\n");
        bytes.extend_from_slice(chunk.as_bytes());
        ends.push(bytes.len());
    }
    let usage = format!(
        "data: {{\"choices\":[],\"usage\":{{\"prompt_tokens\":{},\"completion_tokens\":{}}}}}\n\ndata: [DONE]\n\n",
        told().input_tokens,
        told().output_tokens
    );
    bytes.extend_from_slice(usage.as_bytes());
    (bytes.into(), ends)
}

/// An upstream's body, in the pieces in which it comes, and whether it breaks off after them.
struct Scripted {
    pieces: VecDeque<Bytes>,
    /// Nothing is there until it is asked for again: no two pieces come together.
    pauses: bool,
    breaks_off: bool,
}

impl Scripted {
    /// The client will leave after `cut` bytes; what comes later comes in large pieces.
    fn cut_at(whole: &Bytes, cut: usize) -> Self {
        let mut pieces = VecDeque::from([whole.slice(..cut)]);
        pieces.extend(whole.slice(cut..).chunks(4_096).map(Bytes::copy_from_slice));
        pieces.retain(|piece| !piece.is_empty());
        Self { pieces, pauses: false, breaks_off: false }
    }

    /// The upstream will break off after these bytes.
    fn broken_after(bytes: Bytes) -> Self {
        Self { pieces: VecDeque::from([bytes]), pauses: false, breaks_off: true }
    }
}

impl Body for Scripted {
    type Data = Bytes;
    type Error = &'static str;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, &'static str>>> {
        if std::mem::take(&mut self.pauses) {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        self.pauses = true;
        let piece = self.pieces.pop_front().map(|piece| Ok(Frame::data(piece)));
        Poll::Ready(piece.or(self.breaks_off.then_some(Err("broken off"))))
    }
}

/// A body of which all is there at once, and which breaks off or ends then.
struct AtOnce {
    pieces: VecDeque<Bytes>,
    breaks_off: bool,
}

impl Body for AtOnce {
    type Data = Bytes;
    type Error = &'static str;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, &'static str>>> {
        let piece = self.pieces.pop_front().map(|piece| Ok(Frame::data(piece)));
        Poll::Ready(piece.or(self.breaks_off.then_some(Err("broken off"))))
    }
}

/// What is asked, and how it will be answered.
pub(in crate::proxy::relay) struct Asked {
    pub(in crate::proxy::relay) path: &'static str,
    pub(in crate::proxy::relay) status: u16,
    pub(in crate::proxy::relay) stream: bool,
}

/// A door behind which one account has one budget.
pub(in crate::proxy::relay) struct House {
    _folder: TempDir,
    door: Arc<Door>,
    account: Arc<Account>,
    budget: Arc<Budget>,
}

impl House {
    pub(in crate::proxy::relay) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (clock, chance) = (Clock::system(), Chance::seeded(8));
        let quiet = LogSection { requests: false, level: "off".into(), ..LogSection::default() };
        let signals = Signals::start(&Default::default(), &quiet, &chance, Colours::Never).unwrap();
        let section: BudgetSection =
            serde_json::from_str(r#"{"limit_usd":"9000000000","every":"total"}"#).unwrap();
        let spec = BudgetSpec::new(Scope::Team("search".into()), &section).unwrap();
        let budget = Book::new().open(spec);
        let account = Arc::new(Account {
            team: "search".into(),
            key: "prod".into(),
            rules: None,
            limiters: Vec::new(),
            model_limiters: Vec::new(),
            budgets: vec![Arc::clone(&budget)],
            cache: None,
        });
        let door = Door {
            live: Swapped::new(policy()),
            deferred: Deferred::new(10),
            cache: Cache::new(&Default::default(), clock.clone()),
            counting: CountingPool::start(2, 2_000).unwrap(),
            body_memory: Arc::new(Semaphore::new(1_000)),
            spools: Spools::new(folder.path().into(), 1 << 20),
            at_work: AtomicU32::new(0),
            settling: AtomicU32::new(0),
            lines: Lines::default(),
            drains: Drains::default(),
            sockets: crate::proxy::Sockets::default(),
            draining: AtomicBool::new(false),
            signals: Arc::new(signals),
            journal: Arc::new(Journal::open(folder.path(), &LedgerSection::default()).unwrap()),
            clock,
            chance,
        };
        Self { _folder: folder, door: Arc::new(door), account, budget }
    }

    /// A chat request that was sent and begins to be answered.
    fn exchange(&self) -> Exchange {
        self.ask(&Asked { path: "/v1/chat/completions", status: 200, stream: true })
    }

    /// A request that was sent and begins to be answered.
    pub(in crate::proxy::relay) fn ask(&self, asked: &Asked) -> Exchange {
        let door = &self.door;
        let now = door.clock.now();
        let id = crate::base::id::RequestId::new(now, &door.chance);
        let record = Record {
            id: id.as_u128(),
            started_at: now.as_nanos(),
            team: "search".into(),
            key: "prod".into(),
            model: MODEL.into(),
            upstream_model: MODEL.into(),
            attempts: 1,
            stream: asked.stream,
            status: asked.status,
            ..Record::default()
        };
        let head = Head {
            scheme: "http",
            protocol_version: "1.1",
            method: "POST".into(),
            path: asked.path.into(),
            user_agent: String::new(),
            host: String::new(),
        };
        let opening = Opening {
            began: door.clock.tick(),
            id,
            endpoint: classify(&http::Method::POST, asked.path),
            trace: TraceContext::start(&door.chance),
            record,
            head,
            leaving: Arc::new(Leaving::default()),
            upgrade: None,
        };
        let mut x = Exchange::open(Arc::clone(door), opening);
        x.account = Some(Arc::clone(&self.account));
        x.prompt = Bytes::from_static(br#"{"messages":[{"role":"user","content":"go on"}]}"#);
        x.attempts.push(Attempt { number: 1, status: Some(asked.status), ..Attempt::default() });
        x.price = x.policy.prices.price(None, MODEL, now);
        (x.most_input, x.most_output) = (60, 400);
        let need = Need { cost: cost_of(60, 400), tokens: 460, requests: 1 };
        (x.record.reserved, x.record.reserved_tokens) = (need.cost, need.tokens);
        let held = crate::proxy::budgets::reserve(&x, need).unwrap();
        x.record.admitted_at = held.charged_at().as_nanos();
        x.reservation = Some(held);
        door.journal.intend(&x.record).unwrap();
        x
    }

    /// Relays `cut` bytes to a client that leaves then. Yields the request's id.
    async fn leave_at(&self, whole: &Bytes, cut: usize, draining: Draining) -> u128 {
        let x = self.exchange();
        let id = x.record.id;
        let meter = Meter::new(x.endpoint.operation, 200, Some("text/event-stream"), None);
        let live = Live {
            incoming: Scripted::cut_at(whole, cut),
            unask: None,
            idle_timeout: Duration::from_secs(600),
            draining,
            active: self.attempt(),
        };
        let mut relay = Relay::new(x, meter, live);
        let mut got = 0;
        while got < cut {
            let frame = poll_fn(|cx| relay.poll_frame(cx)).await.unwrap().unwrap();
            got += frame.data_ref().unwrap().len();
        }
        assert_eq!(got, cut);
        drop(relay);
        id
    }

    pub(in crate::proxy::relay) fn attempt(&self) -> Active {
        self.door.signals.attempt_started("mock")
    }

    pub(in crate::proxy::relay) fn operation(&self, path: &str) -> Operation {
        classify(&http::Method::POST, path).operation
    }

    /// Relays an answer that breaks off after `cut` bytes. Yields what the client got before the break, and
    /// the request's id.
    async fn break_at(&self, whole: &Bytes, cut: usize, unask: Option<Unask>) -> (Vec<u8>, u128) {
        let x = self.exchange();
        let id = x.record.id;
        let meter = Meter::new(x.endpoint.operation, 200, Some("text/event-stream"), None);
        let live = Live {
            incoming: Scripted::broken_after(whole.slice(..cut)),
            unask,
            idle_timeout: Duration::from_secs(600),
            draining: Draining::Never,
            active: self.door.signals.attempt_started("mock"),
        };
        let (mut relay, mut got) = (Relay::new(x, meter, live), Vec::new());
        loop {
            match poll_fn(|cx| relay.poll_frame(cx)).await.expect("no good end") {
                Ok(frame) => got.extend_from_slice(frame.data_ref().unwrap()),
                Err(_) => return (got, id),
            }
        }
    }

    /// Waits until nothing is open any more.
    pub(in crate::proxy::relay) async fn rest(&self) {
        self.door.drains.finish().await;
        while self.budget.state(self.door.clock.now()).reserved.count > 0 {
            tokio::task::yield_now().await;
        }
    }

    pub(in crate::proxy::relay) fn rows(&self) -> HashMap<u128, Record> {
        let (mut rows, mut count) = (HashMap::new(), 0);
        let mut ledger = Ledger::open(self._folder.path()).unwrap();
        ledger
            .scan(&Filter::default(), &mut |record| {
                count += 1;
                rows.insert(record.id, record.clone());
            })
            .unwrap();
        assert_eq!(rows.len(), count, "no request has two rows");
        rows
    }
}

fn policy() -> Policy {
    Policy {
        directory: Directory::new(Pepper::from_bytes(&[7; 32]), Vec::new()).unwrap(),
        open: None,
        router: Router::default(),
        upstreams: Vec::new(),
        upstream_limiters: Vec::new(),
        prices: Prices::of(Catalogue::shipped()),
        overridden: HashSet::new(),
        by_name: ByName::default(),
        refuse_unmetered: false,
        bounds: Bounds {
            max_body: 1 << 20,
            max_upload: 1 << 20,
            body_timeout: Duration::from_secs(1),
            max_requests: 1_000,
            budget_wait: Duration::ZERO,
            deferred_for: Duration::from_secs(60),
            coalesce_wait: Duration::ZERO,
            socket_idle: Duration::ZERO,
        },
    }
}

/// 0.15 and 0.60 USD per million.
fn cost_of(input: u64, output: u64) -> NanoUsd {
    NanoUsd::new(i64::try_from(input * 150 + output * 600).unwrap())
}

/// The record of each place at which a client can leave, by that place.
async fn left_everywhere(draining: Draining) -> Vec<(usize, Record)> {
    let (whole, _) = answer();
    let house = House::new();
    let mut ids = Vec::new();
    for cut in 0..=whole.len() {
        ids.push(house.leave_at(&whole, cut, draining).await);
        if cut % 500 == 0 {
            house.rest().await;
        }
    }
    house.rest().await;
    let mut rows = house.rows();
    assert_eq!(rows.len(), ids.len(), "one record each");
    let spent: i64 = rows.values().map(|row| row.cost.unwrap().as_nanos()).sum();
    assert_eq!(house.budget.state(house.door.clock.now()).spent.count, spent);
    ids.into_iter().enumerate().map(|(cut, id)| (cut, rows.remove(&id).unwrap())).collect()
}

#[tokio::test]
async fn a_client_that_leaves_between_the_last_word_and_the_count_pays_the_count() {
    let (whole, ends) = answer();
    let finish = b"data: {\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}\n\n";
    let cut = ends.last().unwrap() + finish.len();
    let whole = [&whole[..*ends.last().unwrap()], finish, &whole[*ends.last().unwrap()..]].concat().into();
    let house = House::new();
    for draining in [Draining::Never, Draining::UpTo(NanoUsd::ZERO), Draining::Whole] {
        let id = house.leave_at(&whole, cut, draining).await;
        house.rest().await;
        let row = house.rows().remove(&id).unwrap();
        let told = (told(), UsageSource::Reported, Disconnect::Drained);
        assert_eq!((row.usage, row.usage_source, row.disconnect), told, "{draining:?}");
    }
}

#[tokio::test]
async fn what_is_there_together_goes_out_as_one_frame_before_the_end_or_the_break() {
    let (whole, ends) = answer();
    let house = House::new();
    for breaks_off in [false, true] {
        let x = house.exchange();
        let id = x.record.id;
        let meter = Meter::new(x.endpoint.operation, 200, Some("text/event-stream"), None);
        let live = Live {
            incoming: AtOnce {
                pieces: ends.windows(2).map(|at| whole.slice(at[0]..at[1])).collect(),
                breaks_off,
            },
            unask: None,
            idle_timeout: Duration::from_secs(600),
            draining: Draining::Never,
            active: house.attempt(),
        };
        let mut relay = Relay::new(x, meter, live);
        let frame = poll_fn(|cx| relay.poll_frame(cx)).await.unwrap().unwrap();
        assert_eq!(frame.data_ref().unwrap(), &whole[ends[0]..*ends.last().unwrap()]);
        // an end is known with the last bytes, and a break only breaks after them
        assert_eq!(relay.is_done(), !breaks_off);
        let end = poll_fn(|cx| relay.poll_frame(cx)).await;
        assert_eq!(end.map(|frame| frame.is_err()), breaks_off.then_some(true));
        house.rest().await;
        let outcome = if breaks_off { Outcome::Truncated } else { Outcome::Completed };
        assert_eq!(house.rows().remove(&id).unwrap().outcome, outcome);
    }
}

// FAULTS L8
#[tokio::test]
async fn a_disconnect_at_any_byte_is_exact_where_the_answer_is_drained() {
    for (cut, row) in left_everywhere(Draining::Whole).await {
        assert_eq!((row.usage, row.usage_source), (told(), UsageSource::Reported), "at {cut}");
        assert_eq!(row.cost, Some(cost_of(9, told().output_tokens)), "at {cut}");
        let how = (row.outcome, row.disconnect);
        let whole = (Outcome::Completed, Disconnect::None);
        assert!(how == (Outcome::Cancelled, Disconnect::Drained) || how == whole, "at {cut}: {how:?}");
    }
}

// FAULTS L8
#[tokio::test]
async fn a_disconnect_at_any_byte_is_between_what_was_relayed_and_what_was_held_where_it_is_cancelled() {
    let (_, ends) = answer();
    for (cut, row) in left_everywhere(Draining::Never).await {
        let relayed = ends.iter().filter(|end| **end <= cut).count() as u64;
        assert!(row.usage.output_tokens >= relayed, "at {cut}: {relayed} and {row:?}");
        assert!(row.cost.unwrap() <= row.reserved, "at {cut}: {row:?}");
        // the client had the upstream's own count by then
        let was_told = relayed == told().output_tokens && row.usage == told();
        let is_flagged = matches!(row.usage_source, UsageSource::Estimated | UsageSource::Partial);
        let is_cancelled = row.disconnect == Disconnect::Cancelled && (is_flagged || was_told);
        assert!(is_cancelled || (row.outcome == Outcome::Completed && was_told), "at {cut}: {row:?}");
    }
}

// FAULTS S1
#[tokio::test]
async fn s_01_an_upstream_that_breaks_off_at_any_byte_leaves_an_exact_prefix_and_a_truncated_record() {
    let (whole, ends) = answer();
    // what the client would have had if nobody had asked for usage
    let plain = [&whole[..*ends.last().unwrap()], b"data: [DONE]\n\n"].concat();
    let house = House::new();
    for asked_by_us in [false, true] {
        for cut in 0..=whole.len() {
            let (got, id) = house.break_at(&whole, cut, asked_by_us.then(Unask::new)).await;
            let is_prefix = if asked_by_us { plain.starts_with(&got) } else { got == whole[..cut] };
            assert!(is_prefix, "at {cut}");
            if cut % 200 == 0 {
                house.rest().await;
                let row = house.rows().remove(&id).unwrap();
                assert_eq!(
                    (row.outcome, row.response_bytes),
                    (Outcome::Truncated, got.len() as u64),
                    "at {cut}"
                );
                assert!(row.cost.unwrap() <= row.reserved, "at {cut}: {row:?}");
            }
        }
    }
    house.rest().await;
    assert!(house.rows().values().all(|row| row.outcome == Outcome::Truncated));
}
