use std::collections::BTreeMap;

use jiff::tz::TimeZone;
use proptest::prelude::*;

use crate::base::money::NanoUsd;
use crate::store::ledger::Filter;
use crate::store::record::{Billing, Outcome};
use crate::store::samples::{any_record, record};

use super::*;

/// A ledger in memory.
struct Rows(Vec<Record>);

impl LedgerReader for Rows {
    fn scan(&mut self, filter: &Filter, each: &mut dyn FnMut(&Record)) -> Result<(), StoreFault> {
        self.0.iter().filter(|row| filter.lets_through(row)).for_each(each);
        Ok(())
    }
}

fn by(dimensions: &[Dimension]) -> Query {
    Query::new(dimensions.to_vec(), Filter::default())
}

fn tidy(record: Record, team: u8, outcome: usize) -> Record {
    let usage = &record.usage;
    let usage = crate::base::usage::Usage {
        input_tokens: usage.input_tokens >> 20,
        output_tokens: usage.output_tokens >> 20,
        ..*usage
    };
    Record {
        team: format!("team-{}", team % 3),
        outcome: Outcome::ALL[outcome],
        cost: record.cost.map(|cost| NanoUsd::new(cost.as_nanos() >> 20)),
        usage,
        ..record
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn a_report_equals_a_plain_fold(
        rows in proptest::collection::vec((any_record(), any::<u8>(), 0..8_usize), 0..30)
    ) {
        let rows: Vec<Record> = rows.into_iter().map(|(row, team, outcome)| tidy(row, team, outcome)).collect();
        let mut groups: BTreeMap<Vec<String>, Vec<&Record>> = BTreeMap::new();
        for row in &rows {
            groups.entry(vec![row.team.clone(), row.outcome.as_str().to_owned()]).or_default().push(row);
        }
        let report = run(&mut Rows(rows.clone()), &by(&[Dimension::Team, Dimension::Outcome])).unwrap();
        let is_request = |row: &&Record| row.billing != Billing::Late;
        prop_assert_eq!(report.total.requests, rows.iter().filter(is_request).count() as u64);
        prop_assert_eq!(report.rows.len(), groups.len());
        for Row { values, figures } in report.rows {
            let group = &groups[&values];
            let sum = |of: fn(&Record) -> u64| group.iter().map(|row| of(row)).sum::<u64>();
            let requests = || group.iter().copied().filter(is_request);
            prop_assert_eq!(figures.requests, requests().count() as u64);
            prop_assert_eq!(figures.input_tokens, sum(|row| row.usage.input_tokens));
            prop_assert_eq!(figures.output_tokens, sum(|row| row.usage.output_tokens));
            let cost: i64 = group.iter().filter_map(|row| row.cost).map(NanoUsd::as_nanos).sum();
            prop_assert_eq!(figures.cost.as_nanos(), cost);
            let answered = requests().filter(|row| row.outcome != Outcome::Refused);
            let mut durations: Vec<u64> = answered.map(|row| row.duration_us).collect();
            durations.sort_unstable();
            let rank = |percent: usize| (durations.len() * percent).div_ceil(100).saturating_sub(1);
            prop_assert_eq!(figures.duration_p50_us, durations.get(rank(50)).copied());
            prop_assert_eq!(figures.duration_p95_us, durations.get(rank(95)).copied());
        }
    }
}

#[test]
fn days_begin_where_the_time_zone_says() {
    // 2023-11-14 22:13:20 UTC is the 15th in Tokyo
    let mut rows = Rows(vec![record(1)]);
    let mut day = |zone: &str| {
        let query = Query { time_zone: TimeZone::get(zone).unwrap(), ..by(&[Dimension::Day]) };
        run(&mut rows, &query).unwrap().rows.remove(0).values.remove(0)
    };
    assert_eq!((day("UTC"), day("Asia/Tokyo")), ("2023-11-14".to_owned(), "2023-11-15".to_owned()));
}

#[test]
fn a_tag_is_a_dimension_and_a_key_brings_its_team() {
    let tagged = Record { tags: [("feature".to_owned(), "chat".to_owned())].into(), ..record(1) };
    let mut rows = Rows(vec![tagged, record(2)]);
    let feature = "tag:feature".parse().unwrap();
    let report = run(&mut rows, &by(&[Dimension::Key, feature])).unwrap();
    let values: Vec<_> = report.rows.iter().map(|row| row.values.join("/")).collect();
    assert_eq!(values, ["search/prod/", "search/prod/chat"]);
    assert!("tag:".parse::<Dimension>().is_err() && "teams".parse::<Dimension>().is_err());
}

#[test]
fn json_has_rows_and_a_total_in_integers() {
    let refused = Record { outcome: Outcome::Refused, cost: None, ..record(2) };
    let report = run(&mut Rows(vec![record(1), refused]), &by(&[Dimension::Team, Dimension::Model])).unwrap();
    let figures = r#""requests":2,"input_tokens":20,"cached_input_tokens":0,"cache_write_tokens":0,"output_tokens":10,"reasoning_tokens":0,"cost_nano_usd":1000,"saved_nano_usd":0,"unpriced_requests":0,"errors":0,"refused":1,"cache_hits":0,"estimated_requests":0,"duration_p50_ms":0.0,"duration_p95_ms":0.0,"first_token_p50_ms":null,"first_token_p95_ms":null"#;
    let expected =
        format!(r#"{{"rows":[{{"team":"search","model":"gpt-4o",{figures}}}],"total":{{{figures}}}}}"#);
    assert_eq!(report.to_json().to_string(), expected);
}

#[test]
fn another_catalogues_cost_stands_beside_the_recorded_one() {
    let catalogue = crate::pricing::catalogue::Catalogue::shipped();
    let repricing = Some(Repricing { catalogue, hosts: HashMap::new() });
    let unknown = Record { model: "nobody-knows-this".into(), ..record(2) };
    let query = Query { repricing, ..by(&[Dimension::Model]) };
    let report = run(&mut Rows(vec![record(1), unknown]), &query).unwrap();
    let json = report.to_json();
    // gpt-4o: 10 tokens in at 2.50 and 5 out at 10.00 per million
    assert_eq!(json["total"]["cost_nano_usd"], 2_000);
    assert_eq!(json["total"]["repriced_nano_usd"], 75_000);
    assert_eq!(json["total"]["repriced_unpriced_requests"], 1);
    let of =
        |model: &str| report.rows.iter().find(|row| row.values == [model]).unwrap().figures.repriced.unwrap();
    assert_eq!((of("gpt-4o").cost.as_nanos(), of("nobody-knows-this").unpriced_requests), (75_000, 1));
}

#[test]
fn a_scan_that_was_overtaken_begins_again() {
    struct Overtaken(u32);
    impl LedgerReader for Overtaken {
        fn scan(&mut self, _: &Filter, each: &mut dyn FnMut(&Record)) -> Result<(), StoreFault> {
            each(&record(1));
            self.0 = self.0.saturating_sub(1);
            if self.0 > 0 { Err(StoreFault::Moved) } else { Ok(()) }
        }
    }
    assert_eq!(run(&mut Overtaken(3), &by(&[])).unwrap().total.requests, 1);
    assert!(matches!(run(&mut Overtaken(99), &by(&[])), Err(StoreFault::Moved)));
}
