//! What a request can cost at most: its dearest target's price, its input's ceiling, its output's cap, and
//! what is billed by other measures than tokens.

use std::sync::Arc;

use super::exchange::{Books, Exchange};
use super::request::ReadRequest;
use crate::base::money::NanoUsd;
use crate::base::usage::Usage;
use crate::dialect::outline::outline;
use crate::dialect::path::Operation;
use crate::dialect::request::RequestFacts;
use crate::pricing::cost::{Terms, ceiling_at, cost};
use crate::pricing::price::{Price, Tier};
use crate::routing::router::Target;

/// What a request needs at most.
#[derive(Debug)]
pub(super) struct AtMost {
    /// Its cost at its dearest target; `None` if any target's price is unknown.
    pub(super) cost: Option<NanoUsd>,
    /// Its tokens at the target that allows most.
    pub(super) tokens: u64,
    /// The price of the dearest target.
    pub(super) price: Option<Arc<Price>>,
}

/// The most of all targets: a failover must not need more than was reserved.
pub(super) fn at_most(x: &Exchange, request: &ReadRequest) -> AtMost {
    let mut most = AtMost { cost: Some(NanoUsd::ZERO), tokens: 0, price: None };
    for target in &request.targets {
        let price = price_of(x, target);
        let (input, output) = tokens_at_most(x, request, price.as_deref());
        most.tokens = most.tokens.max(input.saturating_add(output));
        let cost = price.as_deref().and_then(|price| cost_at_most(x, request, price, input, output));
        if most.price.is_none() || cost > most.cost {
            most.price = price;
        }
        most.cost = most.cost.zip(cost).map(|(most, cost)| most.max(cost));
    }
    most
}

fn price_of(x: &Exchange, target: &Target) -> Option<Arc<Price>> {
    let now = x.now();
    let host = Some(x.policy.upstreams[target.upstream].authority.host());
    let sent = target.model.as_deref().and_then(|model| x.policy.prices.price(host, model, now));
    sent.or_else(|| x.policy.prices.price(host, &x.record.model, now))
}

/// Input and output tokens, by the bounds of one target. They need no price: a token budget holds for
/// models that nobody has priced, too.
fn tokens_at_most(x: &Exchange, request: &ReadRequest, price: Option<&Price>) -> (u64, u64) {
    let input = match price.and_then(|price| price.context_window) {
        Some(window) if request.ceiling.is_open => window,
        Some(window) => request.ceiling.tokens.min(window),
        None if request.ceiling.is_open => request.ceiling.tokens.max(UNKNOWN_WINDOW),
        None => request.ceiling.tokens,
    };
    if x.endpoint.operation == Operation::Embeddings {
        return (input, 0);
    }
    let cap = match (request.facts.output_cap, price.and_then(|price| price.max_output_tokens)) {
        (Some(asked), Some(most)) => asked.min(most),
        (Some(only), None) | (None, Some(only)) => only,
        (None, None) => UNKNOWN_OUTPUT_CAP,
    };
    (input, cap.saturating_mul(request.facts.choices.max(1)))
}

/// `None` where the price knows neither the tokens nor the measure of the answer.
fn cost_at_most(
    x: &Exchange,
    request: &ReadRequest,
    price: &Price,
    input: u64,
    output: u64,
) -> Option<NanoUsd> {
    let by_tokens = tiers_within_reach(&request.facts)
        .into_iter()
        .filter_map(|tier| ceiling_at(price, tier, input, output))
        .max();
    let by_measure = measured_at_most(x).and_then(|usage| cost(price, &usage, &Terms::default()).amount);
    by_tokens.into_iter().chain(by_measure).reduce(|a, b| a + b)
}

/// Tiers that the answer may be billed at. Asking for none, or for `auto`, leaves it to the account's
/// own setting, which may be the faster one.
fn tiers_within_reach(facts: &RequestFacts) -> Vec<Tier> {
    let asked = match facts.service_tier.as_deref() {
        None | Some("auto") => Tier::Priority,
        Some(tier) => Tier::from_word(tier),
    };
    let speed = facts.speed.as_deref().map(Tier::from_word);
    [Tier::Standard, asked].into_iter().chain(speed).collect()
}

/// The most that can be billed by other measures than tokens: characters to speak, seconds of audio, images.
fn measured_at_most(books: &Books) -> Option<Usage> {
    measures(books, FEWEST_AUDIO_BYTES_PER_SECOND)
}

/// What is charged by these measures where the answer does not tell.
pub(super) fn measured_as_usual(books: &Books) -> Usage {
    measures(books, USUAL_AUDIO_BYTES_PER_SECOND).unwrap_or_default()
}

fn measures(books: &Books, audio_bytes_per_second: u64) -> Option<Usage> {
    let mut usage = Usage::default();
    match books.endpoint.operation {
        Operation::Speech => usage.characters = outline(&books.endpoint, &books.prompt).characters,
        Operation::Transcriptions | Operation::Translations => {
            usage.seconds = (books.prompt.len() as u64).div_ceil(audio_bytes_per_second);
        }
        Operation::Images => usage.images = books.facts.choices.max(1),
        _ => return None,
    }
    Some(usage)
}

/// Speech codecs do not go below 4 kbit/s.
const FEWEST_AUDIO_BYTES_PER_SECOND: u64 = 500;
/// 32 kbit/s, as recorders and messengers encode speech.
const USUAL_AUDIO_BYTES_PER_SECOND: u64 = 4_000;
/// When neither the caller nor the catalogue caps the output. Above what today's chat models answer
/// in one go without being told to.
const UNKNOWN_OUTPUT_CAP: u64 = 16_384;
/// The input of a request that refers to more than it shows, where nobody knows the context window.
const UNKNOWN_WINDOW: u64 = 200_000;

/// What is charged for a request that was surely worked on and whose numbers nobody will tell: its reservation.
pub(super) fn reserved_usage(tokens: u64) -> Usage {
    Usage { input_tokens: tokens, ..Usage::default() }
}
