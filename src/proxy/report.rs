//! Tells the signals of a finished request: translation only, nothing is decided here.

use super::exchange::Books;
use crate::base::clock::Timestamp;
use crate::budget::{BudgetState, Standing, Unit, Watched};
use crate::dialect::request::RequestFacts;
use crate::signals::{Asked, BudgetVerdict, Finished, HttpFacts};
use crate::telemetry::words::Rejection;

/// Metrics, spans and the request's line.
pub(super) fn report(books: &Books) {
    let watched = books.watched();
    let tightest = tightest(&watched, books.now());
    let verdict = tightest.as_ref().map(|standing| verdict(books, standing));
    let (server_address, server_port) = split_port(&books.head.host);
    let asked = asked(&books.facts);
    let response_model = &books.record.response_model;
    let knows_response =
        !response_model.is_empty() && books.policy.prices.price(None, response_model, books.now()).is_some();
    books.door.signals.finish(&Finished {
        record: &books.record,
        http: HttpFacts {
            method: &books.head.method,
            route: books.endpoint.route,
            path: &books.head.path,
            scheme: books.head.scheme,
            protocol_version: books.head.protocol_version,
            server_address,
            server_port,
            client_address: None,
            user_agent: Some(books.head.user_agent.as_str()).filter(|agent| !agent.is_empty()),
        },
        api_format: books.endpoint.operation.api_format(),
        gen_ai_operation: books.endpoint.operation.gen_ai_name(),
        model_known: books.price.is_some(),
        response_model_known: knows_response,
        trace: &books.trace,
        span_id: books.span_id,
        attempts: &books.attempts,
        rejection: books.rejection,
        budget: verdict,
        limit_hit: books.limit_hit,
        asked: &asked,
        answered: &books.answered,
        saved_tokens: books.saved_tokens,
    });
}

/// The budget with the smallest share left.
fn tightest(budgets: &Watched, now: Timestamp) -> Option<Standing<'_>> {
    budgets.standings(now).min_by(|a, b| ratio(&a.state).total_cmp(&ratio(&b.state)))
}

#[expect(clippy::cast_precision_loss, reason = "a share, for a span attribute")]
fn ratio(state: &BudgetState) -> f64 {
    if state.limit.count <= 0 { 0.0 } else { state.left.count.max(0) as f64 / state.limit.count as f64 }
}

fn verdict<'a>(books: &Books, standing: &'a Standing<'_>) -> BudgetVerdict<'a> {
    let state = &standing.state;
    let decision = match (books.rejection, state.crossed) {
        (Some(Rejection::BudgetExceeded), _) => "deny",
        (_, Some(_)) => "warn",
        (_, None) => "allow",
    };
    let left = if state.left.unit == Unit::Usd { state.left.as_usd() } else { None };
    BudgetVerdict {
        id: standing.id(),
        scope: standing.scope_word(),
        decision,
        remaining_ratio: ratio(state),
        left,
    }
}

fn asked(facts: &RequestFacts) -> Asked {
    Asked {
        max_tokens: facts.output_cap,
        temperature: facts.sampling.temperature,
        top_p: facts.sampling.top_p,
        frequency_penalty: facts.sampling.frequency_penalty,
        presence_penalty: facts.sampling.presence_penalty,
        seed: facts.sampling.seed,
        choice_count: (facts.choices > 1).then_some(facts.choices),
        service_tier: facts.service_tier.clone(),
    }
}

/// `host:port`, `[v6]:port` or a bare host.
fn split_port(host: &str) -> (Option<&str>, Option<u16>) {
    if host.is_empty() {
        return (None, None);
    }
    match host.rsplit_once(':').and_then(|(name, port)| Some((name, port.parse().ok()?))) {
        Some((name, port)) => (Some(name), Some(port)),
        None => (Some(host), None),
    }
}
