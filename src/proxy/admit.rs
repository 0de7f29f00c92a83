//! Fourth step: may this caller use this model, now, for this much? Limits first, then all budgets at once.

use std::sync::Arc;

use super::error::Refusal;
use super::exchange::Exchange;
use super::request::ReadRequest;
use crate::budget::{self, Need};
use crate::dialect::outline::input_ceiling;
use crate::dialect::path::{Metering, Operation};
use crate::limits;
use crate::pricing::cost::ceiling;
use crate::pricing::price::Price;
use crate::tokens;

/// Reserves what the request may need at most; nothing is held if anything refuses.
pub(super) fn admit(x: &mut Exchange, request: &ReadRequest) -> Result<(), Refusal> {
    permit_model(x)?;
    if x.endpoint.operation.metering() == Metering::Unmetered && x.policy.refuse_unmetered && x.has_budget() {
        return Err(Refusal::UnmeteredPath);
    }
    x.price = price_of(x, request);
    let need = if x.is_billed() { need_of(x, request) } else { Need::default() };
    take_limits(x, need.tokens)?;
    reserve(x, need)
}

/// The model must be allowed to the key. A request that names none is the upstream's to judge.
fn permit_model(x: &Exchange) -> Result<(), Refusal> {
    let model = &x.record.model;
    match x.account.as_ref().and_then(|account| account.rules.as_ref()) {
        Some(rules) if !model.is_empty() && !rules.allows(model) => {
            Err(Refusal::ModelNotAllowed(model.clone()))
        }
        _ => Ok(()),
    }
}

/// The price of the dearest target: a failover must not cost more than was reserved.
fn price_of(x: &Exchange, request: &ReadRequest) -> Option<Arc<Price>> {
    let now = x.now();
    let price = |target: &crate::routing::router::Target| {
        let upstream = &x.policy.upstreams[target.upstream];
        let host = Some(upstream.authority.host());
        let sent = target.model.as_deref().and_then(|model| x.policy.catalogue.price(host, model, now));
        sent.or_else(|| x.policy.catalogue.price(host, &x.record.model, now))
    };
    let prices: Option<Vec<Arc<Price>>> = request.targets.iter().map(price).collect();
    prices?.into_iter().max_by_key(|price| ceiling(price, SAMPLE_TOKENS, SAMPLE_TOKENS))
}

/// Prices are compared by what this many tokens in and out would cost.
const SAMPLE_TOKENS: u64 = 1_000;

/// When neither the caller nor the catalogue caps the output. Above what today's chat models answer
/// in one go without being told to.
const UNKNOWN_OUTPUT_CAP: u64 = 16_384;

/// The input of a request that refers to more than it shows, where nobody knows the context window.
const UNKNOWN_WINDOW: u64 = 200_000;

fn need_of(x: &Exchange, request: &ReadRequest) -> Need {
    let facts = &request.facts;
    let shown = input_ceiling(&x.endpoint, &x.record.model, request.whole().map_or(&[], |body| body));
    let window = x.price.as_ref().and_then(|price| price.context_window);
    let input = match window {
        Some(window) if shown.is_open => window,
        Some(window) => shown.tokens.min(window),
        None if shown.is_open => shown.tokens.max(UNKNOWN_WINDOW),
        None => shown.tokens,
    };
    let model_cap = x.price.as_ref().and_then(|price| price.max_output_tokens);
    let cap = match (facts.output_cap, model_cap) {
        (Some(asked), Some(most)) => asked.min(most),
        (Some(only), None) | (None, Some(only)) => only,
        (None, None) => UNKNOWN_OUTPUT_CAP,
    };
    let has_output = x.endpoint.operation != Operation::Embeddings;
    let output = if has_output { cap.saturating_mul(facts.choices.max(1)) } else { 0 };
    let cost = x.price.as_ref().and_then(|price| ceiling(price, input, output)).unwrap_or_default();
    Need { cost, tokens: input.saturating_add(output) }
}

/// Tokens per minute are taken by expectation (a quarter of the input's bytes and the caller's cap, or
/// a usual answer), requests and places exactly.
fn take_limits(x: &mut Exchange, tokens_at_most: u64) -> Result<(), Refusal> {
    let Some(account) = x.account.clone() else { return Ok(()) };
    let usual = tokens::rough(x.prompt.len()) + x.facts.output_cap.unwrap_or(USUAL_ANSWER);
    let tokens = if x.is_billed() { usual.min(tokens_at_most) } else { 0 };
    let admitted = limits::admit(&account.limiters, tokens, x.tick()).map_err(|hit| {
        let scope = if hit.scope.starts_with("key") { "key" } else { "team" };
        x.limit_hit = Some((hit.kind.as_str(), scope));
        Refusal::RateLimit(hit)
    })?;
    x.admission = Some(admitted);
    Ok(())
}

/// Tokens of an answer whose length nobody capped, for the rate limit only.
const USUAL_ANSWER: u64 = 1_000;

fn reserve(x: &mut Exchange, need: Need) -> Result<(), Refusal> {
    let Some(account) = x.account.clone() else { return Ok(()) };
    if account.budgets.is_empty() || !x.is_billed() {
        return Ok(());
    }
    let is_strict = account.budgets.iter().any(|budget| budget.refuses_unpriced());
    if is_strict && x.price.is_none() {
        return Err(Refusal::ModelUnpriced(x.record.model.clone()));
    }
    let reservation = budget::reserve(&account.budgets, need, x.now()).map_err(Refusal::Budget)?;
    x.record.reserved = need.cost;
    x.record.reserved_tokens = need.tokens;
    x.reservation = Some(reservation);
    Ok(())
}
