//! What past usage would have cost by another catalogue: row by row, from the usage, tier and names that
//! the rows keep, at the prices of the day on which each began.

use std::collections::HashMap;
use std::sync::Arc;

use serde::Deserialize;

use crate::base::clock::Timestamp;
use crate::base::money::{NanoUsd, round_to_nanos};
use crate::base::usage::{Usage, UsageSource};
use crate::pricing::catalogue::Catalogue;
use crate::pricing::cost::{Cost, Terms, cost};
use crate::pricing::names_of_answer::NamesOfAnswer;
use crate::pricing::price::Price;
use crate::store::record::Record;

/// A catalogue to look back with.
#[derive(Debug, Clone)]
pub struct Repricing {
    /// The prices.
    pub catalogue: Arc<Catalogue>,
    /// Hosts of the upstreams, by name: the same model costs differently at different providers.
    pub hosts: HashMap<String, String>,
}

/// What rows would have cost.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Repriced {
    /// By the other catalogue, as far as it knows the prices.
    pub cost: NanoUsd,
    /// Rows that it has no price for.
    pub unpriced_requests: u64,
}

impl Repriced {
    pub(super) fn plus(self, row: Option<NanoUsd>) -> Self {
        Self {
            cost: self.cost + row.unwrap_or_default(),
            unpriced_requests: self.unpriced_requests.saturating_add(u64::from(row.is_none())),
        }
    }
}

impl Repricing {
    /// What one row would have cost; `None` when the catalogue does not know. What was charged without a
    /// usage stays what it was.
    pub(super) fn cost(&self, record: &Record) -> Option<NanoUsd> {
        if record.usage_source == UsageSource::None || was_charged_at_its_reservation(record) {
            return record.cost;
        }
        let at = Timestamp::from_nanos(record.started_at);
        let further = further(record)?;
        let lost = || further.iter().filter_map(|part| Some((part, part.host.as_deref()?)));
        let mut picos: u128 = 0;
        for (part, host) in lost() {
            let names = [part.model.as_str(), record.model.as_str()];
            let price = names.into_iter().find_map(|name| self.catalogue.price(Some(host), name, at))?;
            picos = picos.saturating_add(whole(cost(&price, &part.usage, &Terms::default()))?);
        }
        // no answer was priced then: its usage is what the lost attempts' was guessed by
        let was_answered = !record.rates.is_empty() || lost().next().is_none();
        if !was_answered {
            return Some(round_to_nanos(picos));
        }
        let price = self.price(record, at)?;
        let tier = Some(record.service_tier.as_str()).filter(|tier| !tier.is_empty());
        let terms = Terms { service_tier: tier, ..Terms::default() };
        picos = picos.saturating_add(whole(cost(&price, &record.usage, &terms))?);
        for part in further.iter().filter(|part| part.host.is_none()) {
            let other = match part.model.as_str() {
                "" => Some(Arc::clone(&price)),
                model => self.catalogue.price(None, model, at),
            }?;
            picos = picos.saturating_add(whole(cost(&other, &part.usage, &terms))?);
        }
        Some(round_to_nanos(picos))
    }

    /// By the rule of the request's end; if its upstream is not in the config any more, by the entry that
    /// priced it then.
    fn price(&self, record: &Record, at: Timestamp) -> Option<Arc<Price>> {
        let names = NamesOfAnswer {
            answered: &record.response_model,
            sent: &record.upstream_model,
            asked: &record.model,
        };
        let host = self.hosts.get(&record.upstream).map(String::as_str);
        let entry = Some(record.price_name.as_str()).filter(|name| host.is_none() && !name.is_empty());
        entry
            .and_then(|entry| self.catalogue.price(None, entry, at))
            .or_else(|| names.in_order(|_| false).find_map(|name| self.catalogue.price(host, name, at)))
    }
}

/// Usage of a further model of the same answer, or of an attempt that was lost at `host`.
#[derive(Deserialize)]
struct Further {
    model: String,
    host: Option<String>,
    usage: Usage,
}

/// Not rounded; `None` when a part of it has no price.
fn whole(cost: Cost) -> Option<u128> {
    cost.amount.map(|_| cost.picos)
}

/// `None` when it is there and cannot be read: part of the cost is unknown then.
fn further(record: &Record) -> Option<Vec<Further>> {
    if record.extra_usage.is_empty() {
        return Some(Vec::new());
    }
    serde_json::from_str(&record.extra_usage).ok()
}

/// Interrupted, or an answer that told no usage: its tokens are what was reserved, in no known kinds.
fn was_charged_at_its_reservation(record: &Record) -> bool {
    record.rates.is_empty() && record.reserved > NanoUsd::ZERO && record.cost == Some(record.reserved)
}

#[cfg(test)]
mod tests {
    use crate::store::samples::record;

    use super::*;

    fn repricing() -> Repricing {
        let hosts = HashMap::from([("openai".to_owned(), "api.openai.com".to_owned())]);
        Repricing { catalogue: Catalogue::shipped(), hosts }
    }

    /// A million tokens in and none out, for a known model.
    fn row() -> Record {
        let usage = Usage { input_tokens: 1_000_000, ..Usage::default() };
        let names = Record { model: "gpt-4o-mini".into(), upstream: "openai".into(), ..record(1) };
        Record { usage, rates: "{}".into(), ..names }
    }

    fn million(model: &str) -> NanoUsd {
        let at = Timestamp::from_nanos(record(1).started_at);
        let price = Catalogue::shipped().price(None, model, at).unwrap();
        cost(&price, &row().usage, &Terms::default()).amount.unwrap()
    }

    #[test]
    fn a_row_costs_what_its_own_usage_costs_by_the_catalogue() {
        let repriced = |row: Record| repricing().cost(&row);
        assert_eq!(repriced(row()), Some(million("gpt-4o-mini")));
        let answered = Record { response_model: "gpt-4o".into(), ..row() };
        assert_eq!(repriced(answered), Some(million("gpt-4o")));
        let moved = Record { upstream: "gone".into(), price_name: "openai/gpt-4o".into(), ..row() };
        assert_eq!(repriced(moved), Some(million("gpt-4o")), "by the entry that priced it");
        let unknown = Record { model: "nobody-knows-this".into(), ..row() };
        assert_eq!(repriced(unknown), None);
        let usage = r#"{"input_tokens":1000000}"#;
        let further = format!(r#"[{{"model":"gpt-4o","usage":{usage}}},{{"model":"","usage":{usage}}}]"#);
        let two = million("gpt-4o") + million("gpt-4o-mini") + million("gpt-4o-mini");
        assert_eq!(repriced(Record { extra_usage: further, ..row() }), Some(two));
        assert_eq!(repriced(Record { extra_usage: "[".into(), ..row() }), None);
    }

    #[test]
    fn attempts_that_were_lost_are_priced_where_they_were_lost() {
        let usage = r#"{"input_tokens":1000000}"#;
        let lost = format!(r#"[{{"model":"gpt-4o","host":"api.openai.com","usage":{usage}}}]"#);
        let answered = Record { extra_usage: lost.clone(), ..row() };
        assert_eq!(repricing().cost(&answered), Some(million("gpt-4o-mini") + million("gpt-4o")));
        let elsewhere = lost.replace("api.openai.com", "api.anthropic.com").replace("gpt-4o", "gpt-x");
        assert_eq!(repricing().cost(&Record { extra_usage: elsewhere, ..row() }), None);
        let never_answered = Record { extra_usage: lost, rates: String::new(), ..row() };
        assert_eq!(repricing().cost(&never_answered), Some(million("gpt-4o")), "only they cost something");
    }

    #[test]
    fn what_was_charged_without_a_usage_stays_what_it_was() {
        let reserved = NanoUsd::new(77);
        let interrupted = Record { cost: Some(reserved), reserved, rates: String::new(), ..row() };
        assert_eq!(repricing().cost(&interrupted), Some(reserved));
        let hit = Record { usage_source: UsageSource::None, cost: Some(NanoUsd::ZERO), ..row() };
        assert_eq!(repricing().cost(&hit), Some(NanoUsd::ZERO));
    }
}
