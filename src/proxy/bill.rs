//! What a finished request cost, and by which price.

use std::sync::Arc;

use serde_json::json;

use super::exchange::Books;
use super::lost::cost_of;
use super::settle::{is_untold, may_cost};
use crate::base::case::lower;
use crate::base::money::{NanoUsd, round_to_nanos};
use crate::base::usage::{Usage, UsageSource};
use crate::budget::UnpricedRule;
use crate::dialect::meter::{Reading, Work};
use crate::dialect::path::{Metering, Operation};
use crate::pricing::cost::{Cost, Terms, cost};
use crate::pricing::names_of_answer::NamesOfAnswer;
use crate::pricing::price::{Price, Tier};
use crate::pricing::rates::Unit;
use crate::store::record::{Billing, Outcome};

/// What it cost; `None` when it was used and nobody knows the price.
pub(super) fn price_usage(books: &mut Books, reading: &Reading) -> Option<NanoUsd> {
    let record = &mut books.record;
    for text in [&mut record.catalogue, &mut record.price_name, &mut record.price_source] {
        text.clear();
    }
    if books.record.usage_source == UsageSource::None {
        return (!may_cost_unknown(books, reading)).then_some(NanoUsd::ZERO);
    }
    if is_untold(books, reading) {
        books.record.catalogue = books.policy.prices.version().into();
        return (books.record.reserved > NanoUsd::ZERO).then_some(books.record.reserved);
    }
    let mut sum = Sum::default();
    add_lost(books, &mut sum);
    if !may_cost(books) {
        if let Some(price) = books.price.clone() {
            note_price(books, &price);
        }
        note_further(books, &[]);
        return charge(books, sum);
    }
    note_further(books, &reading.extra);
    let Some(price) = final_price(books) else {
        sum.add(None);
        return charge(books, sum);
    };
    let terms = Terms {
        service_tier: reading.service_tier.as_deref(),
        speed: reading.speed.as_deref(),
        batch: books.endpoint.operation == Operation::Batches,
        answers: reading.answers,
    };
    let own = cost(&price, &books.record.usage, &terms);
    add_own(books, &own, &mut sum);
    for (model, usage) in &reading.extra {
        let price = if model.is_empty() { Some(price.clone()) } else { price_further(books, model) };
        sum.add(price.map(|price| cost(&price, usage, &terms)).as_ref());
    }
    note_price(books, &price);
    let record = &mut books.record;
    record.rates = own.rates_told();
    let by_speed = reading.speed.as_deref().filter(|speed| Tier::from_word(speed) != Tier::Standard);
    record.service_tier = by_speed.or(reading.service_tier.as_deref()).unwrap_or_default().into();
    charge(books, sum)
}

/// Whether something was used of which nobody will know what.
fn may_cost_unknown(books: &Books, reading: &Reading) -> bool {
    match (books.endpoint.operation.metering(), books.record.billing) {
        (_, Billing::Deferred) => false,
        (_, Billing::Late) => reading.work == Work::Untold,
        (Metering::Later | Metering::Unmetered, Billing::AtOnce) => {
            books.record.outcome == Outcome::Completed && books.was_dispatched()
        }
        (Metering::Billed | Metering::Free, Billing::AtOnce) => false,
    }
}

/// The parts of one request's cost, added before they are rounded.
#[derive(Debug, Clone, Copy, Default)]
struct Sum {
    /// What is priced.
    picos: u128,
    /// Nobody knows the price of something else.
    has_gaps: bool,
}

impl Sum {
    fn add(&mut self, part: Option<&Cost>) {
        self.picos = self.picos.saturating_add(part.map_or(0, |cost| cost.picos));
        self.has_gaps |= part.is_none_or(|cost| cost.amount.is_none());
    }
}

/// What the row says and the budgets are charged, which are one. A part of unknown price makes nothing free
/// where a budget in money counts the request: it is charged what was held for it, or, where a budget lets
/// unknown prices pass, at least what is priced. Elsewhere the cost is unknown.
fn charge(books: &mut Books, sum: Sum) -> Option<NanoUsd> {
    let priced = round_to_nanos(sum.picos);
    if !sum.has_gaps {
        return Some(priced);
    }
    let is_counted = books.reservation.as_ref().is_some_and(|held| held.remaining().is_some());
    let least = match books.unpriced {
        UnpricedRule::Allow => NanoUsd::ZERO,
        UnpricedRule::Refuse | UnpricedRule::PriceAs(_) => books.record.reserved,
    };
    let charged = Some(priced.max(least)).filter(|charged| is_counted && *charged > NanoUsd::ZERO)?;
    books.record.usage_source = UsageSource::Estimated;
    Some(charged)
}

/// By which entry of which catalogue.
pub(super) fn note_price(books: &mut Books, price: &Price) {
    let record = &mut books.record;
    record.catalogue = books.policy.prices.version().into();
    record.price_name.clone_from(&price.name);
    record.price_source.clone_from(&price.source);
}

/// The answer itself. What its price has no rate for costs what it does at the model that stands in.
fn add_own(books: &Books, own: &Cost, sum: &mut Sum) {
    let searches = Usage { web_searches: books.record.usage.web_searches, ..Usage::default() };
    let is_gap = own.unpriced == Some(Unit::WebSearch);
    let stand_in =
        books.stand_in().filter(|_| is_gap).map(|price| cost(&price, &searches, &Terms::default()));
    match stand_in.filter(|cost| cost.amount.is_some()) {
        Some(searches) => {
            sum.add(Some(&Cost { amount: Some(own.priced), ..*own }));
            sum.add(Some(&searches));
        }
        None => sum.add(Some(own)),
    }
}

fn price_further(books: &Books, model: &str) -> Option<Arc<Price>> {
    books.policy.prices.price(None, model, books.priced_at()).or_else(|| books.stand_in())
}

/// Usage beside the answer's own, one by one: of `further` models, and of attempts that were lost.
fn note_further(books: &mut Books, further: &[(String, Usage)]) {
    let further = further.iter().map(|(model, usage)| json!({"model": model, "usage": usage}));
    let lost = books.lost.iter();
    let lost = lost.map(|lost| json!({"model": lost.model, "host": lost.host, "usage": lost.usage}));
    let told: Vec<_> = further.chain(lost).collect();
    if !told.is_empty() {
        books.record.extra_usage = serde_json::Value::from(told).to_string();
    }
}

/// Attempts that were lost: their input, as this request's own is counted, at what each would have charged.
fn add_lost(books: &mut Books, sum: &mut Sum) {
    let input_tokens = books.record.usage.input_tokens;
    let mut all = std::mem::take(&mut books.lost);
    for lost in &mut all {
        let cost = cost_of(books, lost, input_tokens);
        lost.usage = Usage { input_tokens, ..Usage::default() };
        lost.cost = cost.and_then(|cost| cost.amount);
        sum.add(cost.as_ref());
    }
    books.lost = all;
}

/// A price from the config wins; then the model that the answer names, the model sent, the model asked for.
fn final_price(books: &Books) -> Option<Arc<Price>> {
    let record = &books.record;
    let catalogue = &books.policy.prices;
    let at = books.priced_at();
    let host = books.attempts.last().map(|attempt| attempt.host.as_str());
    let names = NamesOfAnswer {
        answered: &record.response_model,
        sent: &record.upstream_model,
        asked: &record.model,
    };
    let overridden = |model: &str| books.policy.overridden.contains(lower(model).as_ref());
    let known = names.in_order(overridden).find_map(|model| catalogue.price(host, model, at));
    known.or_else(|| books.stand_in())
}
