//! Asks each case both ways, one after the other, and judges the answers.

use std::collections::HashMap;

use super::VerifyFault;
use super::case::{Case, Terms};
use super::compare::{Difference, Part, compare, without};
use super::report::Row;
use super::usage::{self, Finding};
use super::way::{Answer, Way};
use crate::base::clock::Clock;
use crate::base::money::NanoUsd;
use crate::pricing::catalogue::Catalogue;
use crate::pricing::cost::{Terms as Tariff, cost};
use crate::store::record::Record;

/// Both ways to one upstream.
#[derive(Debug)]
pub(super) struct Ways {
    /// The upstream's name.
    pub(super) upstream: String,
    pub(super) directly: Way,
    pub(super) through: Way,
}

/// What came of one case, before the gateway's books are read.
#[derive(Debug)]
pub(super) struct Asked {
    case: Case,
    directly: Answer,
    through: Option<Answer>,
    differences: Vec<Difference>,
    unstable: Vec<String>,
}

/// What all cases came to.
#[derive(Debug, Default)]
pub(super) struct Run {
    pub(super) asked: Vec<Asked>,
    /// Requests that reached for the upstream.
    pub(super) requests: u64,
}

impl Run {
    /// Asks all `cases`.
    pub(super) async fn through(
        ways: &Ways,
        mut terms: Terms,
        cases: &[Case],
        progress: &dyn Fn(&str),
    ) -> Result<Self, VerifyFault> {
        let mut run = Self::default();
        for (place, case) in cases.iter().enumerate() {
            let mut directly = run.directly(ways, *case, &terms).await?;
            if case.is_capped_chat() && directly.status == 400 && directly.body.contains(NEW_CAP) {
                terms.cap = NEW_CAP;
                directly = run.directly(ways, *case, &terms).await?;
            }
            let asked = run.compare(ways, *case, &terms, directly).await?;
            let word = if asked.differences.is_empty() { "same answers" } else { "different" };
            progress(&format!("{:>2}/{} {} {word}", place + 1, cases.len(), case.name()));
            run.asked.push(asked);
        }
        Ok(run)
    }

    async fn directly(&mut self, ways: &Ways, case: Case, terms: &Terms) -> Result<Answer, VerifyFault> {
        self.requests += 1;
        let upstream = &ways.upstream;
        let answer = ways
            .directly
            .ask(&case.asked(terms))
            .await
            .map_err(|fault| VerifyFault::Unreached { upstream: upstream.clone(), why: fault.to_string() })?;
        if case.most_output().is_some() && REFUSALS.contains(&answer.status) {
            let (upstream, model) = (upstream.clone(), terms.model.clone());
            return Err(VerifyFault::TurnedAway { upstream, model, status: answer.status });
        }
        Ok(answer)
    }

    /// The same through the gateway. Where that differs the upstream is asked once more: what its own answers
    /// differ in is no fault of the gateway's.
    async fn compare(
        &mut self,
        ways: &Ways,
        case: Case,
        terms: &Terms,
        directly: Answer,
    ) -> Result<Asked, VerifyFault> {
        self.requests += 1;
        let mut asked =
            Asked { case, directly, through: None, differences: Vec::new(), unstable: Vec::new() };
        match ways.through.ask(&case.asked(terms)).await {
            Err(fault) => {
                let text = format!("there is no answer: {fault}");
                asked.differences.push(Difference::new(Part::Status, "status", text));
            }
            Ok(through) => {
                let found = compare(case, &asked.directly, &through);
                if !found.is_empty() {
                    let again = self.directly(ways, case, terms).await?;
                    let own = compare(case, &asked.directly, &again);
                    if !compare(case, &again, &through).is_empty() {
                        asked.differences = without(found, &own);
                    }
                    asked.unstable = own.into_iter().map(|difference| difference.about).collect();
                }
                asked.through = Some(through);
            }
        }
        Ok(asked)
    }

    /// The rows of the report, with usage as the gateway's own books have it.
    pub(super) fn judged_by_rows(self, rows: &HashMap<String, Record>) -> Vec<Row> {
        let input = self
            .asked
            .iter()
            .filter(|asked| asked.case.is_words())
            .find_map(|asked| usage::reported(&asked.directly).map(|counts| counts.input));
        self.judged(|case, answer| {
            let row = rows.get(answer.header("x-tollgate-request-id"));
            usage::against_row(case, answer, row, input.filter(|_| case.is_words()))
        })
    }

    /// The rows of the report, with usage as far as another gateway tells it on its answers.
    pub(super) fn judged_by_cost(self, terms: &Terms, catalogue: &Catalogue, host: &str) -> Vec<Row> {
        self.judged(|case, answer| {
            let fair = fair_costs(case, terms, answer, catalogue, host);
            usage::against_cost(answer, &fair)
        })
    }

    fn judged(self, usage_of: impl Fn(Case, &Answer) -> Finding) -> Vec<Row> {
        let row = |asked: Asked| {
            let usage = match &asked.through {
                Some(answer) if answer.status == asked.directly.status => usage_of(asked.case, answer),
                Some(_) | None => Finding::unseen("-"),
            };
            Row {
                case: asked.case,
                directly: asked.directly.status,
                through: asked.through.map(|answer| answer.status),
                differences: asked.differences,
                unstable: asked.unstable,
                usage,
            }
        };
        self.asked.into_iter().map(row).collect()
    }
}

/// What the usage that an answer reports may cost: by the name that was asked for, or by that of the answer.
fn fair_costs(case: Case, terms: &Terms, answer: &Answer, catalogue: &Catalogue, host: &str) -> Vec<NanoUsd> {
    let Some(counts) = usage::reported(answer) else { return Vec::new() };
    let body = case.asked(terms).body.unwrap_or_default();
    let said: serde_json::Value = serde_json::from_str(&answer.body).unwrap_or_default();
    let names = [&body["model"], &said["model"]].into_iter().filter_map(|name| name.as_str());
    let now = Clock::system().now();
    let prices = names.filter_map(|name| catalogue.price(Some(host), name, now));
    let tariff = Tariff { service_tier: said["service_tier"].as_str(), ..Tariff::default() };
    let mut fair: Vec<NanoUsd> =
        prices.filter_map(|price| cost(&price, &counts.as_usage(), &tariff).amount).collect();
    fair.dedup();
    fair
}

/// An account that may not ask shows nothing about a gateway.
const REFUSALS: &[u16] = &[401, 402, 403, 429];
/// What newer models call the cap of a chat, and say so when they are asked by the old name.
const NEW_CAP: &str = "max_completion_tokens";
