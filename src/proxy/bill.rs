//! What a finished request cost, and by which price.

use std::sync::Arc;

use serde_json::json;

use super::exchange::Books;
use super::settle::{is_untold, may_cost};
use crate::base::clock::Timestamp;
use crate::base::money::NanoUsd;
use crate::base::usage::{Usage, UsageSource};
use crate::dialect::meter::Reading;
use crate::dialect::path::Metering;
use crate::pricing::cost::{Cost, Terms, cost};
use crate::pricing::names_of_answer::NamesOfAnswer;
use crate::pricing::price::{Price, Tier};
use crate::store::record::Outcome;

/// What it cost; `None` when it was used and nobody knows the price.
pub(super) fn price_usage(books: &mut Books, reading: &Reading) -> Option<NanoUsd> {
    let record = &mut books.record;
    for text in [&mut record.catalogue, &mut record.price_name, &mut record.price_source] {
        text.clear();
    }
    if books.record.usage_source == UsageSource::None {
        let may_cost_unknown = books.record.outcome == Outcome::Completed
            && books.was_dispatched()
            && books.endpoint.operation.metering() == Metering::Unmetered;
        return (!may_cost_unknown).then_some(NanoUsd::ZERO);
    }
    if is_untold(books, reading) {
        books.record.catalogue = books.policy.prices.version().into();
        return (books.record.reserved > NanoUsd::ZERO).then_some(books.record.reserved);
    }
    let lost = price_lost(books);
    if !may_cost(books) {
        if let Some(price) = books.price.clone() {
            note_price(books, &price);
        }
        return lost;
    }
    let price = final_price(books)?;
    let terms = Terms {
        service_tier: reading.service_tier.as_deref(),
        speed: reading.speed.as_deref(),
        batch: false,
    };
    let own: Cost = cost(&price, &books.record.usage, &terms);
    let further = price_further(books, reading, &price, &terms);
    note_price(books, &price);
    let record = &mut books.record;
    record.rates = own.rates.to_json();
    let by_speed = reading.speed.as_deref().filter(|speed| Tier::from_word(speed) != Tier::Standard);
    record.service_tier = by_speed.or(reading.service_tier.as_deref()).unwrap_or_default().into();
    [own.amount, further, lost].into_iter().try_fold(NanoUsd::ZERO, |sum, part| Some(sum + part?))
}

/// By which entry of which catalogue.
pub(super) fn note_price(books: &mut Books, price: &Price) {
    let record = &mut books.record;
    record.catalogue = books.policy.prices.version().into();
    record.price_name.clone_from(&price.name);
    record.price_source.clone_from(&price.source);
}

/// What further models of the same answer cost; they stand on the row one by one.
fn price_further(
    books: &mut Books,
    reading: &Reading,
    price: &Arc<Price>,
    terms: &Terms<'_>,
) -> Option<NanoUsd> {
    let now = books.now();
    let mut total = Some(NanoUsd::ZERO);
    let mut told = Vec::new();
    for (model, usage) in &reading.extra {
        let other =
            if model.is_empty() { Some(price.clone()) } else { books.policy.prices.price(None, model, now) };
        let part = other.and_then(|price| cost(&price, usage, terms).amount);
        total = total.zip(part).map(|(sum, part)| sum + part);
        told.push(further(model, usage));
    }
    for lost in &books.lost {
        told.push(further(&lost.model, &lost.usage));
    }
    if !told.is_empty() {
        books.record.extra_usage = serde_json::Value::from(told).to_string();
    }
    total
}

fn further(model: &str, usage: &Usage) -> serde_json::Value {
    json!({"model": model, "usage": usage})
}

/// Attempts that an upstream may have worked on before they were lost: their input, as this request's own is
/// counted, at what each would have charged.
fn price_lost(books: &mut Books) -> Option<NanoUsd> {
    let input_tokens = books.record.usage.input_tokens;
    let at = Timestamp::from_nanos(books.record.started_at);
    let prices = &books.policy.prices;
    let mut total = Some(NanoUsd::ZERO);
    for lost in &mut books.lost {
        lost.usage = Usage { input_tokens, ..Usage::default() };
        let price = prices.price(Some(&lost.host), &lost.model, at);
        let price = price.or_else(|| prices.price(Some(&lost.host), &books.record.model, at));
        lost.cost = price.and_then(|price| cost(&price, &lost.usage, &Terms::default()).amount);
        total = total.zip(lost.cost).map(|(sum, part)| sum + part);
    }
    total
}

/// A price from the config wins; then the model that the answer names, the model sent, the model asked for.
fn final_price(books: &Books) -> Option<Arc<Price>> {
    let record = &books.record;
    let catalogue = &books.policy.prices;
    let now = Timestamp::from_nanos(record.started_at);
    let host = books.attempts.last().map(|attempt| attempt.host.as_str());
    let names = NamesOfAnswer {
        answered: &record.response_model,
        sent: &record.upstream_model,
        asked: &record.model,
    };
    let overridden = |model: &str| books.policy.overridden.iter().any(|own| own.eq_ignore_ascii_case(model));
    let known = names.in_order(overridden).find_map(|model| catalogue.price(host, model, now));
    known.or_else(|| books.price_as.as_ref().and_then(|model| catalogue.price(None, model, now)))
}
