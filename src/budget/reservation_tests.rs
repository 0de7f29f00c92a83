use std::collections::BTreeMap;
use std::sync::Barrier;
use std::sync::atomic::{AtomicU64, Ordering};

use jiff::tz::TimeZone;
use proptest::prelude::*;

use super::*;
use crate::budget::amount::{Limit, Unit};
use crate::budget::book::Book;
use crate::budget::section::{BudgetSection, Every, WhenSpent};
use crate::budget::spec::{BudgetSpec, Scope};

const NOON: Timestamp = Timestamp::from_secs(1_700_049_600);
const TOMORROW: Timestamp = Timestamp::from_secs(1_700_049_600 + 86_400);

fn spec(name: &str, limit: Limit) -> BudgetSpec {
    let section =
        BudgetSection { limit_tokens: Some(0), every: Some(Every::Day), ..BudgetSection::default() };
    let id = format!("team:{name}/day-{}", limit.unit().as_str());
    BudgetSpec { id, limit, ..BudgetSpec::new(Scope::Team(name.into()), &section).unwrap() }
}

/// Reserves for a caller without any labels.
fn reserve(budgets: &[Arc<Budget>], need: Need, now: Timestamp) -> Result<Reservation, Box<Refusal>> {
    super::reserve(budgets, &spender("", ""), need, now)
}

fn spender<'a>(user: &'a str, run: &'a str) -> Spender<'a> {
    static NONE: BTreeMap<String, String> = BTreeMap::new();
    Spender { team: "search", key: "prod", user, run, model: "gpt-4o", tags: &NONE }
}

fn usd(nanos: i64) -> Limit {
    Limit::Usd(NanoUsd::new(nanos))
}

fn need(units: i64) -> Need {
    Need { cost: NanoUsd::new(units), tokens: units.unsigned_abs(), requests: 1 }
}

/// Spent and reserved.
fn counters(budget: &Budget, now: Timestamp) -> (i64, i64) {
    let state = budget.state(now);
    (state.spent.count, state.reserved.count)
}

#[test]
fn a_dropped_reservation_gives_all_back() {
    let budget = Book::new().open(spec("a", usd(100)));
    let mut held = reserve(&[Arc::clone(&budget)], need(40), NOON).unwrap();
    held.top_up(need(30)).unwrap();
    assert_eq!(counters(&budget, NOON), (0, 70));
    drop(held);
    assert_eq!(counters(&budget, NOON), (0, 0));
}

#[test]
fn a_settlement_charges_what_was_used_be_it_less_or_more() {
    let budget = Book::new().open(spec("a", usd(100)));
    let settled = reserve(&[Arc::clone(&budget)], need(60), NOON).unwrap().settle(need(20));
    assert_eq!(settled.remaining, Some(NanoUsd::new(80)));
    let settled = reserve(&[Arc::clone(&budget)], need(60), NOON).unwrap().settle(need(95));
    assert_eq!(settled.remaining, Some(NanoUsd::ZERO));
    let state = budget.state(NOON);
    assert_eq!((state.spent.count, state.left.count), (115, -15), "an overshoot is seen, not hidden");
    assert!(reserve(&[budget], need(0), NOON).is_err());
}

#[test]
fn a_refusal_names_everything_and_holds_nothing() {
    let book = Book::new();
    let (roomy, full) = (book.open(spec("roomy", usd(1_000))), book.open(spec("full", usd(100))));
    let _other = reserve(&[Arc::clone(&full)], need(80), NOON).unwrap();
    let refusal = reserve(&[Arc::clone(&roomy), Arc::clone(&full)], need(21), NOON).unwrap_err();
    assert_eq!(refusal.budget, "team:full/day-usd");
    assert_eq!((refusal.spent.count, refusal.reserved.count), (0, 80));
    assert_eq!((refusal.limit.count, refusal.need.count, refusal.unit), (100, 21, Unit::Usd));
    assert_eq!(refusal.resets_at, Some(Timestamp::from_secs(1_700_092_800)));
    assert_eq!(
        refusal.to_string(),
        "The day budget of team full has too little left for this request: of 0.0000001 USD, 0.00 USD are \
         spent and 0.00000008 USD are reserved by requests under way; this request may need 0.000000021 USD. \
         A lower cap on its output (`max_tokens`) needs less. It starts again at 2023-11-16T00:00:00Z. Its limit is set at `teams.full.budgets: limit_usd` in the gateway's config."
    );
    assert_eq!(counters(&roomy, NOON), (0, 0));
    assert_eq!(counters(&full, NOON), (0, 80));
    assert!(reserve(&[full], need(20), NOON).is_ok(), "what is left can be had to the last unit");
}

#[test]
fn a_refused_top_up_keeps_what_was_held() {
    let book = Book::new();
    let (one, two) = (book.open(spec("one", usd(100))), book.open(spec("two", usd(50))));
    let mut held = reserve(&[Arc::clone(&one), Arc::clone(&two)], need(40), NOON).unwrap();
    assert_eq!(held.top_up(need(11)).unwrap_err().budget, "team:two/day-usd");
    assert_eq!((counters(&one, NOON), counters(&two, NOON)), ((0, 40), (0, 40)));
    held.top_up(need(10)).unwrap();
    assert_eq!((counters(&one, NOON), counters(&two, NOON)), ((0, 50), (0, 50)));
}

#[test]
fn each_budget_counts_its_own_unit() {
    let book = Book::new();
    let (money, tokens) = (book.open(spec("a", usd(100))), book.open(spec("a", Limit::Tokens(10))));
    let budgets = [Arc::clone(&money), Arc::clone(&tokens)];
    let wanted = Need { cost: NanoUsd::new(50), tokens: 8, requests: 1 };
    let settled = reserve(&budgets, wanted, NOON).unwrap().settle(wanted);
    assert_eq!((counters(&money, NOON), counters(&tokens, NOON)), ((50, 0), (8, 0)));
    assert_eq!(settled.remaining, Some(NanoUsd::new(50)));
    let refusal =
        reserve(&budgets, Need { cost: NanoUsd::new(1), tokens: 3, requests: 1 }, NOON).unwrap_err();
    assert_eq!(refusal.unit, Unit::Tokens);
    assert!(refusal.to_string().contains("of 10 tokens, 8 tokens are spent"));
}

#[test]
fn a_warning_budget_counts_and_refuses_nothing() {
    let budget = Book::new().open(BudgetSpec { when_spent: WhenSpent::Warn, ..spec("a", usd(10)) });
    let settled = reserve(&[Arc::clone(&budget)], need(50), NOON).unwrap().settle(need(50));
    assert_eq!(settled.crossings.iter().map(|c| c.percent).collect::<Vec<_>>(), [75, 90]);
    assert_eq!(counters(&budget, NOON), (50, 0));
    let held = reserve(&[budget], need(50), NOON).unwrap();
    assert_eq!(held.warning().map(|w| w.percent), Some(90));
    assert_eq!(held.remaining(), Some(NanoUsd::ZERO));
}

#[test]
fn each_threshold_is_told_once_per_window() {
    let budget = Book::new().open(spec("a", usd(100)));
    let told = |units, now| {
        let settled = reserve(&[Arc::clone(&budget)], need(units), now).unwrap().settle(need(units));
        settled.crossings.into_iter().map(|c| c.percent).collect::<Vec<_>>()
    };
    assert!(told(74, NOON).is_empty());
    assert_eq!(told(1, NOON), [75]);
    assert!(told(1, NOON).is_empty());
    assert_eq!(told(20, NOON), [90]);
    assert_eq!(told(95, TOMORROW), [75, 90]);
}

#[test]
fn a_request_is_charged_to_the_window_that_admitted_it() {
    let budget = Book::new().open(spec("a", usd(100)));
    let (settled, released) =
        (reserve(&[Arc::clone(&budget)], need(30), NOON), reserve(&[Arc::clone(&budget)], need(70), NOON));
    let today = reserve(&[Arc::clone(&budget)], need(100), TOMORROW).expect("a new window is empty");
    let mut settled = settled.unwrap();
    let refusal = settled.top_up(need(1)).expect_err("the window that admitted it is full");
    assert_eq!((refusal.reserved.count, refusal.left.count), (100, 0));
    assert_eq!(refusal.resets_at, Some(budget.state(TOMORROW).window.start), "a new request has room");
    drop(released);
    settled.top_up(need(50)).expect("there is room again");
    assert_eq!(settled.top_up(need(21)).unwrap_err().left.count, 20);
    assert_eq!(counters(&budget, TOMORROW), (0, 100));
    settled.settle(need(60));
    assert_eq!(counters(&budget, TOMORROW), (0, 100));
    today.settle(need(90));
    assert_eq!(counters(&budget, TOMORROW), (90, 0));
}

#[test]
fn a_clock_that_jumps_back_refills_nothing() {
    let budget = Book::new().open(spec("a", usd(100)));
    reserve(&[Arc::clone(&budget)], need(100), TOMORROW).unwrap().settle(need(100));
    for back in [NOON, Timestamp::from_secs(0), TOMORROW] {
        assert!(reserve(&[Arc::clone(&budget)], need(1), back).is_err());
    }
}

#[test]
fn a_reload_changes_the_terms_and_never_the_usage() {
    let book = Book::new();
    let budget = book.open(spec("a", usd(100)));
    reserve(&[Arc::clone(&budget)], need(80), NOON).unwrap().settle(need(80));
    let held = reserve(&[Arc::clone(&budget)], need(20), NOON).unwrap();
    let berlin = TimeZone::get("Europe/Berlin").unwrap();
    let reloaded = book.open(BudgetSpec { time_zone: berlin, ..spec("a", usd(90)) });
    assert!(Arc::ptr_eq(&budget, &reloaded));
    assert_eq!(counters(&budget, NOON), (80, 20));
    assert!(reserve(&[Arc::clone(&budget)], need(0), NOON).is_err());
    book.open(spec("a", usd(1_000)));
    let crossings = held.settle(need(20)).crossings;
    assert_eq!((counters(&budget, NOON), crossings), ((100, 0), vec![]));
    let crossings = reserve(&[budget], need(700), NOON).unwrap().settle(need(700)).crossings;
    assert_eq!(crossings.len(), 1, "a threshold that a higher limit un-crossed is told again");
}

#[test]
fn a_moved_midnight_keeps_the_usage_of_today_and_not_of_yesterday() {
    let (book, tokyo) = (Book::new(), TimeZone::get("Asia/Tokyo").unwrap());
    let moved = || BudgetSpec { time_zone: tokyo.clone(), ..spec("a", usd(100)) };
    let budget = book.open(spec("a", usd(100)));
    let held = reserve(&[Arc::clone(&budget)], need(30), NOON).unwrap();
    book.open(moved());
    assert_eq!(counters(&budget, NOON), (0, 30));
    assert_eq!(budget.state(NOON).window.end, Some(Timestamp::from_secs(1_700_060_400)));
    held.settle(need(30));
    assert_eq!(counters(&budget, NOON), (30, 0));
    book.open(spec("a", usd(100)));
    assert_eq!(counters(&budget, TOMORROW), (0, 0));
}

#[test]
fn the_ledger_assigns_what_is_spent() {
    let budget = Book::new().open(spec("a", usd(100)));
    let held = reserve(&[Arc::clone(&budget)], need(10), NOON).unwrap();
    for _ in 0..2 {
        budget.assign(need(80), NOON);
    }
    assert_eq!(counters(&budget, NOON), (80, 10));
    assert_eq!(held.settle(need(11)).crossings.len(), 1, "75 % is not told again");
    assert_eq!(counters(&budget, NOON), (91, 0));
}

#[test]
fn the_same_budget_twice_counts_once() {
    let budget = Book::new().open(spec("a", usd(100)));
    let held = reserve(&[Arc::clone(&budget), Arc::clone(&budget)], need(60), NOON).unwrap();
    assert_eq!(counters(&budget, NOON), (0, 60));
    held.settle(need(60));
    assert_eq!(counters(&budget, NOON), (60, 0));
}

#[test]
fn without_budgets_everything_is_admitted() {
    let mut held = reserve(&[], need(i64::MAX), NOON).unwrap();
    held.top_up(need(i64::MAX)).unwrap();
    assert!(held.is_empty());
    assert_eq!(held.settle(need(1)), Settled::default());
}

#[test]
fn an_absurd_need_is_refused_and_harms_nobody() {
    let budget = Book::new().open(BudgetSpec { when_spent: WhenSpent::Warn, ..spec("a", usd(100)) });
    let held: Vec<_> =
        (0..10).map(|_| reserve(&[Arc::clone(&budget)], need(i64::MAX), NOON).unwrap()).collect();
    assert_eq!(counters(&budget, NOON), (0, i64::MAX));
    drop(held);
    assert_eq!(counters(&budget, NOON), (0, 0));
}

/// Threads hammer a team's budget with room for exactly `ROOM`, each also with a budget of its own and in
/// its own order: exactly `ROOM` are admitted, and nobody is refused while there is room.
#[test]
fn exactly_what_fits_is_admitted_however_many_ask() {
    const THREADS: u64 = 8;
    const ROOM: u64 = 1_000;
    let book = Book::new();
    let team = book.open(spec("team", Limit::Tokens(ROOM)));
    let keys: Vec<_> =
        (0..THREADS).map(|n| book.open(spec(&n.to_string(), Limit::Tokens(10 * ROOM)))).collect();
    let (admitted, start) = (AtomicU64::new(0), Barrier::new(8));
    std::thread::scope(|scope| {
        for (n, key) in keys.iter().enumerate() {
            let (team, admitted, start) = (&team, &admitted, &start);
            let mut budgets = [Arc::clone(team), Arc::clone(key)];
            budgets.rotate_left(n % 2);
            scope.spawn(move || {
                start.wait();
                for _ in 0..ROOM {
                    match reserve(&budgets, need(1), NOON) {
                        Ok(held) => {
                            held.settle(need(1));
                            admitted.fetch_add(1, Ordering::Relaxed);
                        }
                        Err(full) => assert_eq!(full.spent.count + full.reserved.count, 1_000),
                    }
                }
            });
        }
    });
    assert_eq!(admitted.into_inner(), ROOM);
    assert_eq!(counters(&team, NOON), (1_000, 0));
    let of_keys: i64 = keys.iter().map(|key| counters(key, NOON).0).sum();
    assert_eq!(of_keys, 1_000, "a refused request left nothing in the other budget");
}

/// One step of a random history. Places are taken modulo what is there.
#[derive(Debug, Clone)]
enum Step {
    Reserve { budgets: u8, units: i64 },
    TopUp { place: usize, units: i64 },
    Settle { place: usize, percent: i64 },
    Release { place: usize },
    NextDay,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0..8_u8, 0..60_i64).prop_map(|(budgets, units)| Step::Reserve { budgets, units }),
        2 => (any::<usize>(), 0..30_i64).prop_map(|(place, units)| Step::TopUp { place, units }),
        2 => (any::<usize>(), 0..=100_i64).prop_map(|(place, percent)| Step::Settle { place, percent }),
        1 => any::<usize>().prop_map(|place| Step::Release { place }),
        1 => Just(Step::NextDay),
    ]
}

/// The plainest possible budgets: a list of open holds and a list of settled amounts, both with their day.
#[derive(Debug, Default)]
struct Model {
    day: i64,
    open: Vec<(i64, u8, i64)>,
    settled: Vec<(i64, u8, i64)>,
}

const LIMITS: [i64; 3] = [100, 150, 250];

impl Model {
    fn sum(&self, of: &[(i64, u8, i64)], budget: usize) -> i64 {
        sum(of, self.day, budget)
    }

    /// Whether there is room on a day.
    fn fits(&self, day: i64, mask: u8, units: i64) -> bool {
        (0..LIMITS.len())
            .filter(|budget| mask & (1 << budget) != 0)
            .all(|n| sum(&self.open, day, n) + sum(&self.settled, day, n) + units <= LIMITS[n])
    }
}

fn sum(of: &[(i64, u8, i64)], day: i64, budget: usize) -> i64 {
    let counts = |(of_day, mask, _): &&(i64, u8, i64)| *of_day == day && mask & (1 << budget) != 0;
    of.iter().filter(counts).map(|(_, _, units)| units).sum()
}

proptest! {
    #[test]
    fn any_history_agrees_with_the_plain_model(steps in proptest::collection::vec(step(), 1..120)) {
        let book = Book::new();
        let budgets: Vec<_> =
            LIMITS.iter().enumerate().map(|(n, limit)| book.open(spec(&n.to_string(), usd(*limit)))).collect();
        let (mut model, mut held) = (Model::default(), Vec::<Reservation>::new());
        let mut now = NOON;
        for step in steps {
            match step {
                Step::Reserve { budgets: mask, units } => {
                    let chosen: Vec<_> =
                        (0..3).filter(|n| mask & (1 << n) != 0).map(|n| Arc::clone(&budgets[n])).collect();
                    let got = reserve(&chosen, need(units), now);
                    prop_assert_eq!(got.is_ok(), model.fits(model.day, mask, units));
                    if let Ok(reservation) = got {
                        held.push(reservation);
                        model.open.push((model.day, mask, units));
                    }
                }
                Step::TopUp { place, units } if !held.is_empty() => {
                    let place = place % held.len();
                    let (day, mask, _) = model.open[place];
                    let fits = units == 0 || model.fits(day, mask, units);
                    prop_assert_eq!(held[place].top_up(need(units)).is_ok(), fits);
                    if fits {
                        model.open[place].2 += units;
                    }
                }
                Step::Settle { place, percent } if !held.is_empty() => {
                    let place = place % held.len();
                    let (day, mask, units) = model.open.swap_remove(place);
                    held.swap_remove(place).settle(need(units * percent / 100));
                    model.settled.push((day, mask, units * percent / 100));
                }
                Step::Release { place } if !held.is_empty() => {
                    let place = place % held.len();
                    model.open.swap_remove(place);
                    drop(held.swap_remove(place));
                }
                Step::NextDay => {
                    now = now.plus(std::time::Duration::from_secs(86_400));
                    model.day += 1;
                    // a window turns when it is next looked at
                    for budget in &budgets {
                        counters(budget, now);
                    }
                }
                Step::TopUp { .. } | Step::Settle { .. } | Step::Release { .. } => {}
            }
            for (n, budget) in budgets.iter().enumerate() {
                let (spent, reserved) = counters(budget, now);
                prop_assert_eq!(spent, model.sum(&model.settled, n));
                prop_assert_eq!(reserved, model.sum(&model.open, n));
                prop_assert!(spent + reserved <= LIMITS[n], "never past a hard limit");
            }
        }
        drop(held);
        prop_assert!(budgets.iter().all(|budget| counters(budget, now).1 == 0), "nothing is left open");
    }
}

#[test]
fn a_budget_that_came_after_the_admission_is_charged_for_it_once() {
    let book = Book::new();
    let (old, new) = (book.open(spec("a", usd(100))), book.open(spec("b", usd(100))));
    let mut held = reserve(&[Arc::clone(&old)], need(60), NOON).unwrap();
    held.include(&[Arc::clone(&old), Arc::clone(&new)], &spender("", ""));
    assert_eq!((counters(&old, NOON), counters(&new, NOON)), ((0, 60), (0, 0)));
    let _ = held.settle(need(70));
    assert_eq!((counters(&old, NOON), counters(&new, NOON)), ((70, 0), (70, 0)));
}

#[test]
fn a_late_bill_is_owed_by_a_budget_that_has_nothing_left() {
    let budget = Book::new().open(spec("a", usd(100)));
    let _ = reserve(&[Arc::clone(&budget)], need(100), NOON).unwrap().settle(need(100));
    assert!(reserve(&[Arc::clone(&budget)], need(10), NOON).is_err());
    let late = impose(&[Arc::clone(&budget)], &spender("", ""), need(10), NOON);
    assert_eq!(counters(&budget, NOON), (100, 10));
    let _ = late.settle(need(10));
    assert_eq!(counters(&budget, NOON), (110, 0));
}
