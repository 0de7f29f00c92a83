//! Fourth step: may this caller use this model, now, for this much? Limits first, then all budgets at once.

use super::error::Refusal;
use super::exchange::Exchange;
use super::need::{AtMost, at_most};
use super::rates;
use super::request::ReadRequest;
use crate::budget::{self, Need, Spender, UnpricedRule};
use crate::dialect::path::Metering;
use crate::store::record::Record;

/// Reserves what the request may need at most; nothing is held if anything refuses.
pub(super) fn admit(x: &mut Exchange, request: &ReadRequest) -> Result<(), Refusal> {
    permit_model(x)?;
    if x.endpoint.operation.metering() == Metering::Unmetered && x.policy.refuse_unmetered && x.has_budget() {
        return Err(Refusal::UnmeteredPath);
    }
    let most = at_most(x, request);
    x.price.clone_from(&most.price);
    rates::enter(x, request, most.tokens)?;
    reserve(x, &most)
}

/// The model must be allowed to the key. A billed request that names none, or hides it, is allowed only to
/// those who may use every model.
fn permit_model(x: &Exchange) -> Result<(), Refusal> {
    let model = &x.record.model;
    let may_name_none = model.is_empty() && !x.is_billed();
    match x.account.as_ref().and_then(|account| account.rules.as_ref()) {
        Some(rules) if !may_name_none && !rules.allows(model) => Err(Refusal::ModelNotAllowed(model.clone())),
        _ => Ok(()),
    }
}

/// Notes the need, and holds it in all budgets at once.
fn reserve(x: &mut Exchange, most: &AtMost) -> Result<(), Refusal> {
    let Some(account) = x.account.clone().filter(|_| x.is_billed()) else { return Ok(()) };
    let spender = spender(&x.record);
    let terms = budget::terms(&account.budgets, &spender);
    if most.cost.is_none() && terms.unpriced == UnpricedRule::Refuse {
        return Err(Refusal::ModelUnpriced(x.record.model.clone()));
    }
    // it is what a request whose end nobody sees is charged, with a budget or without
    let need = Need { cost: most.cost.unwrap_or_default(), tokens: most.tokens, requests: 1 };
    let held = budget::reserve(&account.budgets, &spender, need, x.now()).map_err(Refusal::Budget)?;
    // the record has it even without a budget, for budgets to come
    x.record.admitted_at = held.charged_at().as_nanos();
    x.reservation = Some(held);
    x.record.reserved = need.cost;
    x.record.reserved_tokens = need.tokens;
    Ok(())
}

/// The request as budgets see it: by the names that its record has, so that the ledger counts it alike.
pub(super) fn spender(record: &Record) -> Spender<'_> {
    Spender {
        team: &record.team,
        key: &record.key,
        user: &record.user,
        run: &record.run,
        model: &record.model,
        tags: &record.tags,
    }
}
