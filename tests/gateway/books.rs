//! Done-when 3: after any mix of requests the books are right, to the row, to the token, to the nano-USD.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use serde_json::{Value, json};
use tollgate::base::chance::Chance;
use tollgate::base::usage::{Usage, UsageSource};
use tollgate::mock::{Mock, MockConfig, Served};
use tollgate::store::record::{Outcome, Record};

use crate::support::{Answer, Ask, BodyEnd, House, Rates, Setup, Team, Wire, eventually};

const REQUESTS: usize = 2_000;
const AT_ONCE: usize = 64;
const SEED: u64 = 20_261_120;
const TEAMS: [&str; 3] = ["search", "support", "batch"];

/// Models, their knobs and their prices; odd rates, so that rounding shows.
const MODELS: &[(&str, Rates)] = &[
    ("small", SMALL),
    ("small@out=33+cached=4+cache-write=3", SMALL),
    ("small@burst+reasoning=9", SMALL),
    ("medium", MEDIUM),
    ("medium@slice=13", MEDIUM),
    ("medium@usage=every-chunk", MEDIUM),
    ("large", LARGE),
    ("large@crlf", LARGE),
    ("large@cached=5", LARGE),
    (UNTOLD, SMALL),
    (FAILS, SMALL),
    (BUSY, MEDIUM),
    (CUT, MEDIUM),
    (ENDS_IN_AN_ERROR, LARGE),
    (STALLS, LARGE),
];
const SMALL: Rates = Rates { input: 150_001, cached: 75_003, cache_write: 187_507, output: 600_011 };
const MEDIUM: Rates =
    Rates { input: 2_500_499, cached: 1_250_501, cache_write: 2_500_499, output: 10_000_499 };
const LARGE: Rates =
    Rates { input: 15_000_000, cached: 1_500_000, cache_write: 18_750_000, output: 75_000_001 };

const PLAIN: std::ops::Range<u64> = 0..9;
const UNTOLD: &str = "small@no-usage";
const FAILS: &str = "small@status=500";
const BUSY: &str = "medium@status=429+retry-after=3";
const CUT: &str = "medium@out=60+cut=5000";
const ENDS_IN_AN_ERROR: &str = "large@out=20+error-frame=9";
/// Three events, then silence for longer than the test: only the client's hanging up ends it.
const STALLS: &str = "large@out=30+stall=4:10m";

/// What a request is meant to show.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Whole,
    Untold,
    UnknownKey,
    ForbiddenModel,
    UpstreamError,
    Cut,
    ErrorFrame,
    HangUp,
}

/// One request of the mix.
#[derive(Debug, Clone)]
struct Planned {
    kind: Kind,
    team: &'static str,
    model: &'static str,
    ask: Ask,
}

/// What the client saw of it.
#[derive(Debug)]
struct Seen {
    planned: Planned,
    answer: Answer,
}

fn house() -> House {
    let mut setup = Setup::default()
        .team(
            Team::new("search")
                .with("budgets: [{ limit_usd: 1000, every: total }]")
                .with("models: [\"small*\", \"medium*\", \"large*\"]"),
        )
        // runs out on the way
        .team(Team::new("support").with("budgets: [{ limit_usd: 0.15, every: total }]"))
        .team(
            Team::new("batch")
                .with("budgets: [{ limit_tokens: 100000000, every: total }]")
                .with("limits: { requests_per_minute: 300 }"),
        );
    for (model, rates) in MODELS {
        setup = setup.price(model, *rates);
    }
    setup.start()
}

/// The mix: the same for every run.
fn plan() -> Vec<Planned> {
    let chance = Chance::seeded(SEED);
    (0..REQUESTS).map(|number| planned(&chance, number)).collect()
}

fn planned(chance: &Chance, number: usize) -> Planned {
    let team = TEAMS[usize::try_from(chance.below(3)).unwrap()];
    let (kind, model) = match chance.below(100) {
        0..5 => (Kind::UnknownKey, "small"),
        5..9 => (Kind::ForbiddenModel, "elsewhere"),
        9..14 => (Kind::UpstreamError, if chance.below(2) == 0 { FAILS } else { BUSY }),
        14..18 => (Kind::Cut, CUT),
        18..21 => (Kind::ErrorFrame, ENDS_IN_AN_ERROR),
        21..25 => (Kind::HangUp, STALLS),
        25..30 => (Kind::Untold, UNTOLD),
        _ => (Kind::Whole, MODELS[usize::try_from(PLAIN.start + chance.below(PLAIN.end)).unwrap()].0),
    };
    // only one team has a list of models
    let team = if kind == Kind::ForbiddenModel { "search" } else { team };
    let streams = matches!(kind, Kind::Cut | Kind::ErrorFrame | Kind::HangUp) || chance.below(2) == 0;
    let ask = question(chance.below(6), model, streams, number);
    let ask = if kind == Kind::UnknownKey { ask.key("tg-nobody") } else { ask.team(team) };
    Planned { kind, team, model, ask: ask.header("anthropic-version", "2023-06-01") }
}

/// One of the operations; embeddings do not stream, so a stream becomes a chat instead.
fn question(operation: u64, model: &str, stream: bool, number: usize) -> Ask {
    let said = format!("question number {number} of the mix");
    let messages = json!([{"role": "user", "content": said}]);
    let (path, mut body) = match operation {
        0 => ("/v1/completions", json!({"model": model, "prompt": said, "max_tokens": 80})),
        1 => ("/v1/responses", json!({"model": model, "input": said, "max_output_tokens": 80})),
        2 => ("/v1/messages", json!({"model": model, "messages": messages, "max_tokens": 80})),
        3 if !stream => ("/v1/embeddings", json!({"model": model, "input": said})),
        _ => ("/v1/chat/completions", json!({"model": model, "messages": messages, "max_tokens": 80})),
    };
    if stream {
        body["stream"] = json!(true);
        if operation == 5 {
            body["stream_options"] = json!({"include_usage": true});
        }
    }
    Ask::post(path, &body)
}

/// Sends the mix, `AT_ONCE` at a time, on connections that are kept where they can be.
fn send_all(house: &House, plan: &[Planned]) -> Vec<Seen> {
    let (next, seen) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                let mut kept: Option<Wire> = None;
                while let Some(planned) = plan.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let mut wire = kept.take().unwrap_or_else(|| house.connect());
                    let answer = send(&mut wire, planned);
                    // a refusal may come before the body was read
                    if answer.end == BodyEnd::Whole && answer.status() == 200 && planned.kind != Kind::HangUp
                    {
                        kept = Some(wire);
                    }
                    seen.lock().unwrap().push(Seen { planned: planned.clone(), answer });
                }
            });
        }
    });
    seen.into_inner().unwrap()
}

/// Sends one; where the plan says so, hangs up in the middle of the stream.
fn send(wire: &mut Wire, planned: &Planned) -> Answer {
    let head = wire.begin(&planned.ask);
    if planned.kind != Kind::HangUp || head.status != 200 {
        return wire.rest(head);
    }
    let body = wire.one_chunk();
    Answer { head, raw: Vec::new(), body, end: BodyEnd::BrokenOff }
}

#[test]
fn after_two_thousand_requests_of_every_kind_the_books_are_exact() {
    let house = house();
    let seen = send_all(&house, &plan());
    let rows = eventually("every request has its row", || {
        let rows = house.rows();
        (rows.len() >= REQUESTS).then_some(rows)
    });
    assert_eq!(rows.len(), REQUESTS, "one row per request");
    let books = Pages::open(&house, rows);
    let met: BTreeSet<End> = seen.iter().map(|one| books.check(one)).collect();
    for end in EVERY_END {
        assert!(met.contains(end), "the mix does not show {end:?}: {met:?}");
    }
    books.totals_agree(&house, &seen);
    every_byte_is_the_upstreams(&seen);
}

/// Invariant I6 under load: what each client got is what the upstream says to it alone, or begins it.
fn every_byte_is_the_upstreams(seen: &[Seen]) {
    let alone = Mock::start(MockConfig::default()).unwrap();
    let mut wire = Wire::open(alone.addr);
    for Seen { planned, answer } in seen {
        if answer.head.get("x-tollgate-error-source").is_some() {
            continue;
        }
        let uncut = match planned.model {
            CUT => "medium@out=60",
            STALLS => "large@out=30",
            other => other,
        };
        let direct = wire.ask(&planned.ask.with_model(planned.model, uncut));
        let is_whole = answer.end == BodyEnd::Whole;
        let agrees =
            if is_whole { answer.body == direct.body } else { direct.body.starts_with(&answer.body) };
        assert!(agrees, "{planned:?}\n{}\n{}", answer.text(), direct.text());
    }
}

/// How a kind of request can end: its status and its outcome.
type End = (Kind, u16, &'static str);

const EVERY_END: &[End] = &[
    (Kind::Whole, 200, "completed"),
    (Kind::Whole, 402, "refused"),
    (Kind::Whole, 429, "refused"),
    (Kind::Untold, 200, "completed"),
    (Kind::UnknownKey, 401, "refused"),
    (Kind::ForbiddenModel, 403, "refused"),
    (Kind::UpstreamError, 500, "upstream_error"),
    (Kind::UpstreamError, 429, "upstream_error"),
    (Kind::Cut, 200, "truncated"),
    (Kind::ErrorFrame, 200, "upstream_error"),
    (Kind::HangUp, 200, "cancelled"),
];

/// The gateway's rows and the mock's log, by the ids that the client saw.
struct Pages {
    rows: HashMap<String, Record>,
    served: HashMap<String, Served>,
}

impl Pages {
    fn open(house: &House, rows: Vec<Record>) -> Self {
        let rows = rows.into_iter().map(|row| (row.request_id().to_string(), row)).collect();
        let served = house.served().into_iter().map(|served| (served.id.clone(), served)).collect();
        Self { rows, served }
    }

    fn row(&self, seen: &Seen) -> &Record {
        &self.rows[seen.answer.head.get("x-tollgate-request-id").unwrap()]
    }

    fn served(&self, seen: &Seen) -> &Served {
        let head = &seen.answer.head;
        &self.served[head.get("x-request-id").or_else(|| head.get("request-id")).unwrap()]
    }

    /// Holds one row against what the client saw and what the mock served.
    fn check(&self, seen: &Seen) -> End {
        let Seen { planned, answer } = seen;
        let row = self.row(seen);
        let shown = format!("{planned:?}\n{:?}\n{row:?}", answer.head);
        assert_eq!(row.status, answer.status(), "{shown}");
        let team = if planned.kind == Kind::UnknownKey { "" } else { planned.team };
        assert_eq!((row.team.as_str(), row.model.as_str()), (team, self.model(planned)), "{shown}");
        if answer.head.get("x-tollgate-error-source") == Some("gateway") {
            assert_eq!(
                (row.outcome, row.usage, row.attempts),
                (Outcome::Refused, Usage::default(), 0),
                "{shown}"
            );
            assert_eq!(row.cost.unwrap().as_nanos(), 0, "{shown}");
            return (planned.kind, row.status, row.outcome.as_str());
        }
        let (outcome, end) = match planned.kind {
            Kind::Whole | Kind::Untold => (Outcome::Completed, BodyEnd::Whole),
            Kind::UpstreamError | Kind::ErrorFrame => (Outcome::UpstreamError, BodyEnd::Whole),
            Kind::Cut => (Outcome::Truncated, BodyEnd::BrokenOff),
            Kind::HangUp => (Outcome::Cancelled, BodyEnd::BrokenOff),
            Kind::UnknownKey | Kind::ForbiddenModel => panic!("not refused: {shown}"),
        };
        assert_eq!((row.outcome, answer.end), (outcome, end), "{shown}");
        match planned.kind {
            Kind::Whole => self.is_exact(seen, &shown),
            Kind::UpstreamError => {
                assert_eq!(
                    (row.usage_source, row.cost.unwrap().as_nanos()),
                    (UsageSource::None, 0),
                    "{shown}"
                );
            }
            _ => self.is_between_relayed_and_reserved(seen, &shown),
        }
        (planned.kind, row.status, row.outcome.as_str())
    }

    /// A stranger's body is not read, so nobody knows the model.
    fn model(&self, planned: &Planned) -> &'static str {
        if planned.kind == Kind::UnknownKey { "" } else { planned.model }
    }

    /// Invariant I2: the upstream's own usage at the rates, to the nano-USD.
    fn is_exact(&self, seen: &Seen, shown: &str) {
        let (row, mut told) = (self.row(seen), self.served(seen).usage);
        if row.operation == "messages" && row.stream {
            // a stream of messages tells the sum only
            told.reasoning_tokens = 0;
        }
        assert_eq!((row.usage_source, row.usage), (UsageSource::Reported, told), "{shown}");
        assert_eq!(row.cost.unwrap().as_nanos(), rates(seen).cost(&told), "{shown}");
    }

    /// Invariant I3.
    fn is_between_relayed_and_reserved(&self, seen: &Seen, shown: &str) {
        let row = self.row(seen);
        assert!(matches!(row.usage_source, UsageSource::Estimated | UsageSource::Partial), "{shown}");
        let relayed = if row.stream {
            Mock::tokens_in(seen.answer.text().as_bytes())
        } else {
            self.served(seen).tokens_emitted
        };
        assert!(row.usage.output_tokens >= relayed, "{relayed} tokens were relayed: {shown}");
        assert!(row.usage.total_tokens() <= row.reserved_tokens, "{shown}");
        let at_least = rates(seen).cost(&Usage { output_tokens: relayed, ..Usage::default() });
        let cost = row.cost.unwrap();
        assert!(at_least <= cost.as_nanos() && cost <= row.reserved, "{shown}");
    }

    /// `tollgate usage` against the mock's log, by team and model; and everything against everything.
    fn totals_agree(&self, house: &House, seen: &[Seen]) {
        let mut told: BTreeMap<(String, String), [u64; 7]> = BTreeMap::new();
        for one in seen.iter().filter(|one| one.planned.kind == Kind::Whole) {
            if self.row(one).outcome != Outcome::Completed {
                continue;
            }
            let usage = self.served(one).usage;
            let cost = u64::try_from(rates(one).cost(&usage)).unwrap();
            let place = (one.planned.team.to_owned(), one.planned.model.to_owned());
            let sums = told.entry(place).or_default();
            let figures = [
                1,
                usage.input_tokens,
                usage.cached_input_tokens,
                usage.cache_write_tokens,
                usage.output_tokens,
                usage.total_tokens(),
                cost,
            ];
            for (sum, figure) in sums.iter_mut().zip(figures) {
                *sum += figure;
            }
        }
        assert!(told.len() > TEAMS.len() * 5, "several models in each team: {told:?}");
        let report = house.usage("team,model,outcome");
        let mut reported = BTreeMap::new();
        for row in report["rows"].as_array().unwrap() {
            if row["outcome"] == "completed" && row["model"] != UNTOLD {
                let text = |name: &str| row[name].as_str().unwrap().to_owned();
                reported.insert((text("team"), text("model")), figures(row));
            }
        }
        assert_eq!(reported, told);
        let all: i64 = self.rows.values().map(|row| row.cost.unwrap().as_nanos()).sum();
        assert_eq!(
            (&report["total"]["requests"], &report["total"]["cost_nano_usd"]),
            (&json!(REQUESTS), &json!(all))
        );
    }
}

fn figures(row: &Value) -> [u64; 7] {
    let figure = |name: &str| row[name].as_u64().unwrap();
    let (input, output) = (figure("input_tokens"), figure("output_tokens"));
    [
        figure("requests"),
        input,
        figure("cached_input_tokens"),
        figure("cache_write_tokens"),
        output,
        input + output,
        figure("cost_nano_usd"),
    ]
}

fn rates(seen: &Seen) -> Rates {
    MODELS.iter().find(|(model, _)| *model == seen.planned.model).unwrap().1
}
