//! Fourth step: may this caller use this model, now, for this much? Limits first, then all budgets at once.

use super::budgets::terms;
use super::error::Refusal;
use super::exchange::Exchange;
use super::hold::hold;
use super::need::Needs;
use super::rates;
use super::request::ReadRequest;
use crate::budget::{Terms, UnpricedRule};
use crate::dialect::path::Metering;

/// Reserves what the request may need; nothing is held if anything refuses.
pub(super) async fn admit(x: &mut Exchange, request: &mut ReadRequest) -> Result<(), Refusal> {
    match check(x, request)? {
        Some((needs, terms)) => hold(x, request, needs, &terms).await,
        None => Ok(()),
    }
}

/// Everything but the money: what it needs, and by which terms; `None` where no money is to be held.
pub(super) fn check(x: &mut Exchange, request: &ReadRequest) -> Result<Option<(Needs, Terms)>, Refusal> {
    permit_model(x)?;
    if x.endpoint.operation.metering() == Metering::Unmetered && x.policy.refuse_unmetered && x.has_budget() {
        return Err(Refusal::UnmeteredPath);
    }
    let terms = terms(x);
    x.unpriced.clone_from(&terms.unpriced);
    let needs = Needs::of(x, request);
    x.price = needs.price();
    rates::enter(x, request, needs.whole().tokens)?;
    if x.account.is_none() || !x.is_billed() {
        return Ok(None);
    }
    if !needs.is_priced() && terms.unpriced != UnpricedRule::Allow {
        return Err(Refusal::ModelUnpriced(x.record.model.clone()));
    }
    Ok(Some((needs, terms)))
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
