//! The process dies at each named point of a request's way and comes up again: what is left is what
//! docs/RELIABILITY.md says.

use serde_json::json;
use tollgate::base::failpoint::Failpoint;
use tollgate::base::money::NanoUsd;
use tollgate::base::usage::UsageSource;
use tollgate::store::record::Outcome;

use crate::support::{Ask, BodyEnd, House, Rates, Setup, Team, Wire};

const MODEL: &str = "gpt@out=30+pace=1ms";
const RATES: Rates = Rates::flat(150_000, 600_000);

/// What the row says when the gateway is up again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Left {
    /// There is none: nothing was sent upstream, nothing is charged.
    Nothing,
    /// Interrupted, charged at its reservation.
    Reserved,
    /// Completed, charged at what the upstream reported.
    Exact,
}

/// docs/RELIABILITY.md, "Killed at a named point".
const fn left(point: Failpoint) -> Left {
    match point {
        Failpoint::AfterAuth | Failpoint::AfterReserve => Left::Nothing,
        Failpoint::AfterIntent
        | Failpoint::AfterConnect
        | Failpoint::AfterFirstByte
        | Failpoint::MidStream
        | Failpoint::AfterUsage
        | Failpoint::BeforeSettle => Left::Reserved,
        Failpoint::MidCommit | Failpoint::AfterCommitBeforeClientEnd => Left::Exact,
    }
}

fn chat() -> Ask {
    let body = json!({"model": MODEL, "stream": true, "max_tokens": 50,
        "messages": [{"role": "user", "content": "hello"}]});
    Ask::post("/v1/chat/completions", &body).team("search")
}

fn house() -> House {
    Setup::default()
        .team(Team::new("search").with("budgets: [{ limit_usd: 1000, every: total }]"))
        .price(MODEL, RATES)
        .start()
}

// FAULTS L2
#[test]
fn a_gateway_that_dies_at_any_point_leaves_what_is_written_down_for_it() {
    let mut house = house();
    let mut before = Vec::new();
    for point in Failpoint::ALL {
        house.restart_until(point.as_str());
        // without an answer where the process died before its head
        let answer = Wire::try_ask(house.address(), &chat());
        house.wait_for_death();
        house.restart();

        let rows = house.rows();
        let new: Vec<_> = rows.iter().filter(|row| !before.contains(&row.id)).collect();
        let name = point.as_str();
        match left(point) {
            Left::Nothing => assert!(new.is_empty(), "{name}: {new:?}"),
            Left::Reserved => {
                assert_eq!(new.len(), 1, "{name}: {new:?}");
                let row = new[0];
                let end = (row.outcome, row.usage_source);
                assert_eq!(end, (Outcome::Interrupted, UsageSource::Estimated), "{name}: {row:?}");
                assert!(row.cost == Some(row.reserved) && row.reserved > NanoUsd::ZERO, "{name}: {row:?}");
            }
            Left::Exact => {
                assert_eq!(new.len(), 1, "{name}: {new:?}");
                let row = new[0];
                let end = (row.outcome, row.usage_source);
                assert_eq!(end, (Outcome::Completed, UsageSource::Reported), "{name}: {row:?}");
                assert_eq!(row.cost, Some(NanoUsd::new(RATES.cost(&row.usage))), "{name}");
            }
        }
        if point == Failpoint::AfterCommitBeforeClientEnd {
            assert!(answer.is_none_or(|answer| answer.end != BodyEnd::Whole), "the client saw no good end");
        }
        let budget = house.budget("search");
        let charged: i64 = rows.iter().map(|row| row.cost.unwrap_or_default().as_nanos()).sum();
        assert_eq!((&budget["spent"], &budget["reserved"]), (&json!(charged), &json!(0)), "{name}");
        before = rows.iter().map(|row| row.id).collect();
    }
    assert_eq!(before.len(), 8);
}
