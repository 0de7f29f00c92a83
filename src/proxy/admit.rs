//! Fourth step: may this caller use this model, now, for this much? Limits first, then all budgets at once.

use super::budgets::{reserve, terms};
use super::error::Refusal;
use super::exchange::Exchange;
use super::headers::bounded;
use super::hold::hold;
use super::need::Needs;
use super::rates;
use super::request::ReadRequest;
use crate::base::money::NanoUsd;
use crate::budget::{Need, Terms, UnpricedRule};
use crate::dialect::path::{Metering, Operation};

/// Reserves what the request may need; nothing is held if anything refuses.
pub(super) async fn admit(x: &mut Exchange, request: &mut ReadRequest) -> Result<(), Refusal> {
    match check(x, request)? {
        Some((needs, terms)) => hold(x, request, needs, &terms).await,
        None => Ok(()),
    }
}

/// Everything but the money: what it needs, and by which terms; `None` where no money is to be held.
pub(super) fn check(x: &mut Exchange, request: &ReadRequest) -> Result<Option<(Needs, Terms)>, Refusal> {
    permit_model(x, &request.model)?;
    let cannot_be_held = matches!(x.endpoint.operation.metering(), Metering::Later | Metering::Unmetered);
    if cannot_be_held && x.policy.refuse_unmetered && x.has_budget() {
        return Err(Refusal::UnmeteredPath);
    }
    let terms = terms(x);
    x.unpriced.clone_from(&terms.unpriced);
    let needs = Needs::of(x, request);
    x.price = needs.price();
    rates::enter(x, request, needs.whole().tokens)?;
    if x.account.is_some() && x.endpoint.operation.is_socket() {
        see_room(x, &needs, &terms)?;
    }
    if x.account.is_none() || !x.is_billed() {
        return Ok(None);
    }
    if !needs.is_priced() && terms.unpriced != UnpricedRule::Allow {
        return Err(Refusal::ModelUnpriced(x.record.model.clone()));
    }
    Ok(Some((needs, terms)))
}

/// A socket holds nothing: what is made in it will. But where nothing is left, or where the price of its model is
/// not known, its client is told at once, with a status.
fn see_room(x: &Exchange, needs: &Needs, terms: &Terms) -> Result<(), Refusal> {
    let has_model = !x.record.model.is_empty();
    if has_model && !needs.is_priced() && terms.unpriced != UnpricedRule::Allow {
        return Err(Refusal::ModelUnpriced(x.record.model.clone()));
    }
    let least = Need { cost: NanoUsd::new(1), tokens: 1, requests: 1 };
    reserve(x, least).map(drop).map_err(Refusal::Budget)
}

/// The model must be allowed to the key. A billed request that names none, or hides it, is allowed only to
/// those who may use every model.
fn permit_model(x: &Exchange, model: &str) -> Result<(), Refusal> {
    // the model of these sockets is named as they are opened, or never
    let is_for_one = matches!(x.endpoint.operation, Operation::Realtime | Operation::Live);
    let may_name_none = model.is_empty() && !x.is_billed() && !is_for_one;
    match x.account.as_ref().and_then(|account| account.rules.as_ref()) {
        Some(rules) if !may_name_none && !rules.allows(model) => {
            Err(Refusal::ModelNotAllowed(bounded(model)))
        }
        _ => Ok(()),
    }
}
