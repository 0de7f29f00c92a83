//! Fourth step: may this caller use this model, now, for this much? Limits first, then all budgets at once.

use super::error::Refusal;
use super::exchange::Exchange;
use super::need::{AtMost, at_most};
use super::rates;
use super::request::ReadRequest;
use crate::budget::{self, Need};
use crate::dialect::path::Metering;

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
    if most.cost.is_none() && account.budgets.iter().any(|budget| budget.refuses_unpriced()) {
        return Err(Refusal::ModelUnpriced(x.record.model.clone()));
    }
    // the record has it even without a budget: it is what a request whose end nobody sees is charged
    let need = Need { cost: most.cost.unwrap_or_default(), tokens: most.tokens };
    x.record.reserved = need.cost;
    x.record.reserved_tokens = need.tokens;
    if !account.budgets.is_empty() {
        let held = budget::reserve(&account.budgets, need, x.now()).map_err(Refusal::Budget)?;
        x.reservation = Some(held);
    }
    Ok(())
}
