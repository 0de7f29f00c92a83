//! What a request can cost at most: its dearest target's price, its input's ceiling, its output's cap, and
//! what is billed by other measures than tokens.

use std::sync::Arc;

use super::exchange::{Books, Exchange};
use super::request::ReadRequest;
use crate::base::usage::Usage;
use crate::budget::Need;
use crate::dialect::outline::outline;
use crate::dialect::path::Operation;
use crate::pricing::cost::{Terms, ceiling, ceiling_at, cost};
use crate::pricing::price::{Price, Tier};
use crate::routing::router::Target;

/// The price of the dearest target: a failover must not cost more than was reserved. `None` if any
/// target's price is unknown.
pub(super) fn price_of(x: &Exchange, request: &ReadRequest) -> Option<Arc<Price>> {
    let now = x.now();
    let price = |target: &Target| {
        let host = Some(x.policy.upstreams[target.upstream].authority.host());
        let sent = target.model.as_deref().and_then(|model| x.policy.prices.price(host, model, now));
        sent.or_else(|| x.policy.prices.price(host, &x.record.model, now))
    };
    let prices: Option<Vec<Arc<Price>>> = request.targets.iter().map(price).collect();
    prices?.into_iter().max_by_key(|price| ceiling(price, SAMPLE_TOKENS, SAMPLE_TOKENS))
}

/// What the request needs at most; `None` where its price is unknown.
pub(super) fn need_of(x: &Exchange, request: &ReadRequest) -> Option<Need> {
    let price = x.price.as_ref()?;
    let input = match price.context_window {
        Some(window) if request.ceiling.is_open => window,
        Some(window) => request.ceiling.tokens.min(window),
        None if request.ceiling.is_open => request.ceiling.tokens.max(UNKNOWN_WINDOW),
        None => request.ceiling.tokens,
    };
    let output = output_ceiling(x, request, price);
    let by_tokens = tiers_within_reach(request.facts.service_tier.as_deref())
        .into_iter()
        .filter_map(|tier| ceiling_at(price, tier, input, output))
        .max();
    let by_measure = measured_at_most(x).and_then(|usage| cost(price, &usage, &Terms::default()).amount);
    // a price is known by tokens or by a measure; by neither, it is not known
    let cost = by_tokens.into_iter().chain(by_measure).reduce(|a, b| a + b)?;
    Some(Need { cost, tokens: input.saturating_add(output) })
}

fn output_ceiling(x: &Exchange, request: &ReadRequest, price: &Price) -> u64 {
    if matches!(x.endpoint.operation, Operation::Embeddings) {
        return 0;
    }
    let cap = match (request.facts.output_cap, price.max_output_tokens) {
        (Some(asked), Some(most)) => asked.min(most),
        (Some(only), None) | (None, Some(only)) => only,
        (None, None) => UNKNOWN_OUTPUT_CAP,
    };
    cap.saturating_mul(request.facts.choices.max(1))
}

/// Tiers that the answer may be billed at. Asking for none, or for `auto`, leaves it to the account's
/// own setting, which may be the faster one.
fn tiers_within_reach(asked: Option<&str>) -> Vec<Tier> {
    match asked {
        None | Some("auto") => vec![Tier::Standard, Tier::Priority],
        Some(tier) => vec![Tier::Standard, Tier::from_word(tier)],
    }
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
/// Prices are compared by what this many tokens in and out would cost.
const SAMPLE_TOKENS: u64 = 1_000;
/// When neither the caller nor the catalogue caps the output. Above what today's chat models answer
/// in one go without being told to.
const UNKNOWN_OUTPUT_CAP: u64 = 16_384;
/// The input of a request that refers to more than it shows, where nobody knows the context window.
const UNKNOWN_WINDOW: u64 = 200_000;

/// What is charged for a request that was surely worked on and whose numbers nobody will tell: its reservation.
pub(super) fn reserved_usage(tokens: u64) -> Usage {
    Usage { input_tokens: tokens, ..Usage::default() }
}
