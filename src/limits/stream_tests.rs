//! Promises about many requests and streams at once, on a clock that stands still until it is moved.

use std::collections::BTreeMap;
use std::num::{NonZeroU32, NonZeroU64};

use proptest::prelude::*;
use proptest::strategy::ValueTree as _;

use super::*;
use crate::limits::limiter::LimiterBook;
use crate::limits::section::LimitsSection;

const SECOND: i64 = 1_000_000_000;
const MINUTE: i64 = 60 * SECOND;

fn section(requests: u32, tokens: u64, concurrent: u32) -> LimitsSection {
    LimitsSection {
        requests_per_minute: NonZeroU32::new(requests),
        tokens_per_minute: NonZeroU64::new(tokens),
        concurrent: NonZeroU32::new(concurrent),
    }
}

fn limiter(requests: u32, tokens: u64, concurrent: u32) -> [Arc<Limiter>; 1] {
    [Arc::new(Limiter::new("team search".into(), &section(requests, tokens, concurrent)))]
}

fn at(nanos: i64) -> Tick {
    Tick::from_nanos(nanos)
}

fn nanos(wait: Duration) -> i64 {
    i64::try_from(wait.as_nanos()).unwrap()
}

fn tokens_left(own: &[Arc<Limiter>], now: i64) -> u64 {
    own[0].standing(at(now)).tokens.unwrap().remaining
}

/// A stream whose length nobody capped: 100 tokens in, a usual answer reserved, as many out as it likes.
const UNCAPPED: TokenAsk = TokenAsk { firm: 100, usual: 1_100, most: 1_100 };

/// Streams that pass `each` tokens in slices as fast as the limit lets them. Answers when what passed.
fn run_streams(own: &[Arc<Limiter>], streams: usize, each: u64, slice: u64) -> Vec<(i64, usize, u64)> {
    let mut open: Vec<_> = (0..streams).map(|_| admit(own, UNCAPPED, at(0)).unwrap()).collect();
    let mut passed = vec![0_u64; streams];
    let mut log = Vec::new();
    // the instant and the order in which streams go on
    let mut turns: BTreeMap<(i64, usize), usize> = (0..streams).map(|n| ((0, n), n)).collect();
    let mut order = streams;
    while let Some(((now, _), n)) = turns.pop_first() {
        if passed[n] > 0 {
            log.push((now, n, slice));
        }
        if passed[n] == each {
            continue;
        }
        passed[n] += slice;
        let wait = open[n].top_up_to(100 + passed[n], at(now));
        turns.insert((now + nanos(wait), order), n);
        order += 1;
    }
    log
}

/// FAULTS B15: 50 streams of 10,000 tokens under 100,000 tokens per minute.
#[test]
fn parallel_streams_never_pass_the_limit_together() {
    let own = limiter(0, 100_000, 0);
    let log = run_streams(&own, 50, 10_000, 50);
    assert_eq!(log.iter().map(|(_, _, slice)| slice).sum::<u64>(), 500_000, "all of it passed");
    let mut passed = 50 * 100;
    for (now, _, slice) in &log {
        passed += i64::try_from(*slice).unwrap();
        let allowed = 100_000 + i128::from(*now) * 100_000 / i128::from(MINUTE);
        assert!(i128::from(passed) <= allowed, "{passed} at {now} ns, {allowed} are allowed");
    }
    // and no slower than the limit: the last token passes when the rate has made it good
    let last = log.last().unwrap().0;
    let due = (50 * 100 + 500_000 - 100_000) * (MINUTE / 100_000);
    assert!((due..=due + MINUTE / 100_000).contains(&last), "{last} and not {due}");
}

#[test]
fn streams_that_share_a_limit_get_their_turns_in_order() {
    let own = limiter(0, 100_000, 0);
    let log = run_streams(&own, 50, 10_000, 50);
    let mut passed = [0_u64; 50];
    for (_, n, slice) in log {
        passed[n] += slice;
        let ahead = passed.iter().max().unwrap() - passed.iter().min().unwrap();
        assert!(ahead <= 1_100, "no stream runs ahead by more than it reserved at first: {ahead}");
    }
}

#[test]
fn a_stream_that_ends_early_gives_back_what_it_took_ahead() {
    let own = limiter(0, 1_000, 0);
    let mut stream = admit(&own, TokenAsk { firm: 10, usual: 500, most: 500 }, at(0)).unwrap();
    assert_eq!(stream.top_up_to(400, at(0)), Duration::ZERO, "that is reserved");
    assert_eq!(tokens_left(&own, 0), 500);
    assert_eq!(stream.top_up_to(900, at(0)), Duration::ZERO);
    assert_eq!(stream.top_up_to(1_100, at(0)), Duration::from_secs(6), "100 tokens at 1,000 a minute");
    assert!(admit(&own, TokenAsk::exactly(1), at(0)).is_err());
    stream.settle(600);
    assert_eq!(tokens_left(&own, 0), 400);
}

#[test]
fn what_a_stream_has_reserved_waits_for_nobody() {
    let own = limiter(0, 1_000, 0);
    let mut first = admit(&own, TokenAsk::exactly(500), at(0)).unwrap();
    let mut second = admit(&own, TokenAsk::exactly(500), at(0)).unwrap();
    assert_eq!(second.top_up_to(1_500, at(0)), Duration::from_secs(60));
    for tokens in [499, 500] {
        assert_eq!(first.top_up_to(tokens, at(0)), Duration::ZERO, "{tokens}");
    }
    assert!(first.top_up_to(501, at(0)) > Duration::from_secs(60), "then it is its turn after the other's");
}

#[test]
fn a_request_without_a_cap_takes_what_it_might_use_as_far_as_it_is_there() {
    let own = limiter(0, 5_000, 0);
    let ask = TokenAsk { firm: 100, usual: 1_100, most: 16_484 };
    let whole = admit(&own, ask, at(0)).unwrap();
    assert_eq!(tokens_left(&own, 0), 0, "nobody else may use what it may need");
    assert!(admit(&own, ask, at(0)).is_err());
    drop(whole);
    let mut used = admit(&own, ask, at(0)).unwrap();
    used.settle(200);
    drop(used);
    // one after the other they pass although the bucket is never full again
    let mut next = admit(&own, ask, at(0)).unwrap();
    assert_eq!(tokens_left(&own, 0), 0);
    next.settle(200);
    assert_eq!(tokens_left(&own, 0), 4_600);
    let hit = admit(&limiter(0, 50, 0), ask, at(0)).unwrap_err();
    assert!(!hit.satisfiable, "its input alone is more than the limit");
    assert!(admit(&limiter(0, 500, 0), ask, at(0)).is_ok(), "a usual answer need not fit a small limit");
}

#[test]
fn what_another_limit_refused_after_all_counts_nowhere() {
    let own = limiter(2, 1_000, 1);
    admit(&own, TokenAsk::exactly(400), at(0)).unwrap().withdraw();
    assert_eq!((own[0].standing(at(0)).requests.unwrap().remaining, tokens_left(&own, 0)), (2, 1_000));
    assert_eq!(own[0].in_flight(), 0);
}

/// FAULTS B18
#[test]
fn a_limit_that_changes_under_open_streams_credits_nothing_twice() {
    let book = LimiterBook::new();
    let own = [book.open("team search", &section(0, 1_000, 0))];
    let mut streams: Vec<_> = (0..5).map(|_| admit(&own, TokenAsk::exactly(100), at(0)).unwrap()).collect();
    book.open("team search", &section(0, 100, 2));
    assert_eq!(tokens_left(&own, 0), 0, "never negative");
    assert!(admit(&own, TokenAsk::exactly(1), at(0)).is_err(), "lowered limits hold for the next");
    book.open("team search", &section(0, 10_000, 10));
    assert_eq!(tokens_left(&own, 0), 9_500);
    // taken away and put back: a new bucket, which the old streams took nothing from
    book.open("team search", &LimitsSection::default());
    book.open("team search", &section(0, 1_000, 10));
    let mut other = admit(&own, TokenAsk::exactly(1_000), at(0)).unwrap();
    assert_eq!(streams[0].top_up_to(500, at(0)), Duration::ZERO, "it is not theirs");
    streams.iter_mut().for_each(|stream| stream.settle(0));
    assert_eq!(tokens_left(&own, 0), 0);
    other.settle(1_000);
    drop((streams, other));
    assert_eq!((tokens_left(&own, 0), own[0].in_flight()), (0, 0));
}

/// FAULTS B14, with a minute for its second: burst 100, 100 per unit of time, 10,000 requests in one unit.
#[test]
fn of_ten_thousand_requests_exactly_burst_and_rate_are_admitted() {
    let own = limiter(100, 0, 0);
    let admitted = (0..10_000).filter(|n| admit(&own, TokenAsk::default(), at(n * MINUTE / 10_000)).is_ok());
    // the last of them come just before the minute is over
    assert_eq!(admitted.count(), 100 + 99);
}

/// FAULTS B16: however a request ends, at any point, its slot and what it did not use come back.
#[test]
fn ten_thousand_random_ends_leave_nothing_held() {
    let own = [limiter(0, 900_000_000, 64), limiter(0, 0, 100)].concat();
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let mut dice = move || proptest::num::u64::ANY.new_tree(&mut runner).unwrap().current();
    let (mut open, mut now, mut refused) = (Vec::new(), 0, 0);
    for _ in 0..10_000 {
        now += 1_000_000;
        match admit(&own, UNCAPPED, at(now)) {
            Ok(admission) => open.push(admission),
            Err(_) => refused += 1,
        }
        if open.is_empty() || dice() % 3 > 0 {
            continue;
        }
        let end = usize::try_from(dice() % open.len() as u64).unwrap();
        let mut ending = open.swap_remove(end);
        match dice() % 6 {
            0 => drop(ending),
            1 => ending.settle(dice() % 2_000),
            2 => ending.withdraw(),
            3 => drop((ending.top_up_to(dice() % 20_000, at(now)), ending)),
            4 => {
                ending.settle(10);
                let _ = ending.top_up_to(5_000, at(now));
                ending.settle(0);
            }
            _ => {
                let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(move || {
                    let _held = ending;
                    std::panic::resume_unwind(Box::new("the request's task"));
                }));
                assert!(panicked.is_err());
            }
        }
    }
    assert!(refused > 0 && !open.is_empty());
    assert_eq!(own[0].in_flight(), open.len() as u64);
    drop(open);
    assert_eq!((own[0].in_flight(), own[1].in_flight()), (0, 0));
    assert_eq!(tokens_left(&own, now + MINUTE), 900_000_000);
}

/// FAULTS B17: limiters are opened by the config's names; neither admissions nor look-ups add any.
#[test]
fn a_book_holds_what_the_config_names_and_no_more() {
    let book = LimiterBook::new();
    let own = [book.open("team search", &section(5, 0, 0))];
    for n in 0..10_000 {
        let _ = admit(&own, TokenAsk::exactly(n), at(0)).map(drop);
    }
    let _again = book.open("team search", &section(5, 0, 0));
    assert_eq!(book.len(), 1);
}

proptest! {
    /// FAULTS B14: whole histories against the plainest model of a limit: a list of what was admitted.
    #[test]
    fn requests_are_admitted_exactly_when_a_model_of_the_rule_says_so(
        limit in 1_u32..300,
        gaps in proptest::collection::vec(0_i64..3 * SECOND, 1..400),
    ) {
        let own = limiter(limit, 0, 0);
        let period = MINUTE / i64::from(limit);
        // the model: a bucket of `limit` drops that leaks one each period, in whole nanoseconds
        let (mut now, mut filled) = (0, 0_i64);
        for gap in gaps {
            now += gap;
            filled = (filled - gap).max(0);
            let room = filled + period <= i64::from(limit) * period;
            let answer = admit(&own, TokenAsk::default(), at(now));
            prop_assert_eq!(answer.is_ok(), room);
            match answer {
                Ok(_) => filled += period,
                Err(hit) => {
                    let wait = filled + period - i64::from(limit) * period;
                    prop_assert_eq!(nanos(hit.wait), wait, "the real wait");
                    let told = i64::try_from(hit.retry_after.as_secs()).unwrap();
                    prop_assert!((1..=59).contains(&told));
                    let rounded_up = wait / SECOND + i64::from(wait % SECOND > 0);
                    prop_assert_eq!(told, rounded_up.clamp(1, 59), "in whole seconds, rounded up");
                }
            }
        }
    }

    /// Any mix of asks, top-ups and settlements: what passed stays below the bucket and its refill.
    #[test]
    fn waiting_as_told_keeps_every_history_within_the_limit(
        limit in 100_u64..100_000,
        asks in proptest::collection::vec((0_i64..SECOND, 0_u64..100, 0_u64..200), 1..100),
    ) {
        let own = limiter(0, limit, 0);
        let (mut now, mut used) = (0, 0_u128);
        for (gap, percent_reserved, percent_used) in asks {
            now += gap;
            let firm = limit * percent_reserved / 100;
            let Ok(mut stream) = admit(&own, TokenAsk::exactly(firm), at(now)) else { continue };
            let real = limit * percent_used / 100;
            now += nanos(stream.top_up_to(real, at(now)));
            stream.settle(real);
            used += u128::from(real);
            let flowed = u128::from(limit) * u128::from(now.unsigned_abs()) / u128::from(MINUTE.unsigned_abs());
            prop_assert!(used <= u128::from(limit) + flowed);
        }
    }
}
