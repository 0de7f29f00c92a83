//! What a request can cost at most: its input's ceiling, its output's cap or any part of it, what is billed
//! by other measures than tokens, at the dearest of its targets and tiers.

use std::sync::Arc;

use super::exchange::{Books, Exchange};
use super::request::ReadRequest;
use crate::base::money::NanoUsd;
use crate::base::usage::Usage;
use crate::budget::Need;
use crate::dialect::path::Operation;
use crate::dialect::request::RequestFacts;
use crate::pricing::cost::{Ceiling, Terms, ceiling_at, cost};
use crate::pricing::price::{Price, Tier};
use crate::routing::router::Target;

/// What a request needs, by the output that it may make. A failover must not need more than was reserved,
/// so it is always that of the dearest target.
#[derive(Debug, Clone)]
pub(super) struct Needs {
    targets: Vec<OfTarget>,
    /// Answers that are made; output is counted over all of them.
    pub(super) choices: u64,
    /// What attempts that were lost may cost.
    lost: NanoUsd,
}

#[derive(Debug, Clone)]
struct OfTarget {
    price: Option<Arc<Price>>,
    input: u64,
    /// The most output.
    cap: u64,
    /// What its tokens can cost, at each tariff within reach.
    ceilings: [Option<Ceiling>; TIERS],
    beside: Beside,
}

/// What is billed beside the answer's tokens.
#[derive(Debug, Clone, Default)]
struct Beside {
    cost: Option<NanoUsd>,
    /// A tool is asked for that nobody has priced.
    has_gaps: bool,
}

impl Needs {
    /// Of a request to any of its targets. One without a price of its own costs what a budget says it does.
    pub(super) fn of(x: &Exchange, request: &ReadRequest) -> Self {
        let choices = request.facts.choices.max(1);
        let tiers = tiers_within_reach(&request.facts);
        let of_target = |target: &Target| {
            let price = price_of(x, target);
            let (input, cap) = tokens_at_most(x, request, price.as_deref());
            let beside = price.as_deref().map(|price| beside_tokens(x, request, price, input));
            let beside = beside.unwrap_or_default();
            let ceilings = price.as_deref().map(|price| ceilings(price, tiers, input)).unwrap_or_default();
            OfTarget { price, input, cap, ceilings, beside }
        };
        Self { targets: request.targets.iter().map(of_target).collect(), choices, lost: NanoUsd::ZERO }
    }

    /// Whether every target's price is known, that of each tool included.
    pub(super) fn is_priced(&self) -> bool {
        let is_priced = |target: &OfTarget| !target.beside.has_gaps && target.cost(target.cap).is_some();
        self.targets.iter().all(is_priced)
    }

    /// The names of the entries that price it.
    pub(super) fn price_names(&self) -> impl Iterator<Item = &str> {
        self.targets.iter().filter_map(|target| Some(target.price.as_ref()?.name.as_str()))
    }

    /// From here on it needs this much more, whatever its output.
    pub(super) fn add_lost(&mut self, cost: NanoUsd) {
        self.lost = self.lost + cost;
    }

    /// The price of the dearest target.
    pub(super) fn price(&self) -> Option<Arc<Price>> {
        // of equals the first, which is asked first
        let dearest = self.targets.iter().rev().max_by_key(|target| target.cost(target.cap))?;
        dearest.price.clone()
    }

    /// The most input.
    pub(super) fn input(&self) -> u64 {
        self.targets.iter().map(|target| target.input).max().unwrap_or_default()
    }

    /// The most output.
    pub(super) fn cap(&self) -> u64 {
        self.targets.iter().map(|target| target.cap).max().unwrap_or_default()
    }

    /// Holds the output to what the request will be sent with.
    pub(super) fn lower_caps(&mut self, output: u64) {
        for target in &mut self.targets {
            target.cap = target.cap.min(output);
        }
    }

    /// With all the output that there can be.
    pub(super) fn whole(&self) -> Need {
        self.within_caps(u64::MAX)
    }

    /// With so much output, where a target's cap allows as much.
    pub(super) fn within_caps(&self, output: u64) -> Need {
        self.dearest(|target| target.cap.min(output))
    }

    /// With so much output, whatever the caps are: not every upstream keeps them.
    pub(super) fn with_output(&self, output: u64) -> Need {
        self.dearest(|_| output)
    }

    fn dearest(&self, output: impl Fn(&OfTarget) -> u64) -> Need {
        let mut most = Need { requests: 1, ..Need::default() };
        for target in &self.targets {
            let output = output(target);
            most.tokens = most.tokens.max(target.input.saturating_add(output));
            most.cost = most.cost.max(target.cost(output).unwrap_or_default());
        }
        most.cost = most.cost + self.lost;
        most
    }

    /// The most output from `least` to `most` that `fits`: what is needed grows with the output.
    pub(super) fn most_output(least: u64, most: u64, fits: impl Fn(u64) -> bool) -> Option<u64> {
        if least > most || !fits(least) {
            return None;
        }
        let (mut known, mut above) = (least, most.saturating_add(1));
        while above - known > 1 {
            let middle = known + (above - known) / 2;
            if fits(middle) { known = middle } else { above = middle }
        }
        Some(known)
    }
}

impl OfTarget {
    /// `None` where the price knows neither the tokens nor the measure of the answer.
    fn cost(&self, output: u64) -> Option<NanoUsd> {
        let by_tokens = self.ceilings.iter().flatten().map(|ceiling| ceiling.with_output(output)).max();
        by_tokens.into_iter().chain(self.beside.cost).reduce(|a, b| a + b)
    }
}

fn price_of(x: &Exchange, target: &Target) -> Option<Arc<Price>> {
    let at = x.priced_at();
    let host = Some(x.policy.upstreams[target.upstream].host());
    let sent = target.model.as_deref().and_then(|model| x.policy.prices.price(host, model, at));
    sent.or_else(|| x.policy.prices.price(host, &x.record.model, at)).or_else(|| x.stand_in())
}

/// Input and output tokens, by the bounds of one target. They need no price: a token budget holds for
/// models that nobody has priced, too.
fn tokens_at_most(x: &Exchange, request: &ReadRequest, price: Option<&Price>) -> (u64, u64) {
    let window = price.and_then(|price| price.context_window);
    let input = request.ceiling.within(window, x.endpoint.operation);
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

/// Tiers that the answer may be billed at. Asking for none, or for `auto`, leaves it to the account's
/// own setting, which may be the faster one.
fn tiers_within_reach(facts: &RequestFacts) -> [Tier; TIERS] {
    let asked = match facts.service_tier.as_deref() {
        None | Some("auto") => Tier::Priority,
        Some(tier) => Tier::from_word(tier),
    };
    let speed = facts.speed.as_deref().map(Tier::from_word).unwrap_or_default();
    [Tier::Standard, asked, speed]
}

/// The standard one, the one that is asked for, and a speed.
const TIERS: usize = 3;

fn ceilings(price: &Price, tiers: [Tier; TIERS], input: u64) -> [Option<Ceiling>; TIERS] {
    let mut ceilings = [None; TIERS];
    for (place, (ceiling, tier)) in ceilings.iter_mut().zip(tiers).enumerate() {
        let (tier, tariff) = price.tariff(tier);
        // a tier without rates of its own is the standard one, which comes first
        if place == 0 || tier != Tier::Standard {
            *ceiling = Ceiling::of(tariff, input);
        }
    }
    ceilings
}

/// Characters to speak, seconds of audio, images; and the tools that the request lets the upstream use.
fn beside_tokens(x: &Exchange, request: &ReadRequest, price: &Price, input: u64) -> Beside {
    // tokens and measures describe the same answer: a price for one of them is enough
    let measured = measures(x, FEWEST_AUDIO_BYTES_PER_SECOND)
        .and_then(|used| cost(price, &used, &Terms::default()).amount);
    let tools = [searches(x, request, price), image_tool(x, request, input)];
    Beside {
        has_gaps: tools.contains(&Some(None)),
        cost: tools.into_iter().map(Option::flatten).chain([measured]).flatten().reduce(|a, b| a + b),
    }
}

/// What the searches of a request may cost, if it asks for some; a price without a rate for them takes that of
/// the model that stands in.
#[expect(clippy::option_option, reason = "not asked for, asked for and not priced, priced")]
fn searches(x: &Exchange, request: &ReadRequest, price: &Price) -> Option<Option<NanoUsd>> {
    let web_searches = Some(request.facts.web_searches).filter(|searches| *searches > 0)?;
    let used = Usage { web_searches, ..Usage::default() };
    let at = |price: &Price| cost(price, &used, &Terms::default()).amount;
    Some(at(price).or_else(|| x.stand_in().and_then(|price| at(&price))))
}

/// What an image costs that a response may have made on its way, if it may: it is another model's work.
#[expect(clippy::option_option, reason = "not asked for, asked for and not priced, priced")]
fn image_tool(x: &Exchange, request: &ReadRequest, input: u64) -> Option<Option<NanoUsd>> {
    let model = request.facts.image_tool.as_deref()?;
    let model = if model.is_empty() { DEAREST_IMAGE_MODEL } else { model };
    let price = x.policy.prices.price(None, model, x.priced_at()).or_else(|| x.stand_in());
    let at = |price: Arc<Price>| {
        let output = price.max_output_tokens.unwrap_or(TOKENS_OF_AN_IMAGE);
        ceiling_at(&price, Tier::Standard, input.min(INPUT_OF_AN_IMAGE), output)
    };
    Some(price.and_then(at))
}

/// What an image tool that names no model may use.
const DEAREST_IMAGE_MODEL: &str = "gpt-image-1";
/// The largest picture at the highest quality: 6,208 tokens, and up to three previews of some.
const TOKENS_OF_AN_IMAGE: u64 = 6_600;
/// A prompt and a picture to change, seen in detail.
const INPUT_OF_AN_IMAGE: u64 = 16_384;

/// What is charged by these measures where the answer does not tell.
pub(super) fn measured_as_usual(books: &Books) -> Usage {
    measures(books, USUAL_AUDIO_BYTES_PER_SECOND).unwrap_or_default()
}

fn measures(books: &Books, audio_bytes_per_second: u64) -> Option<Usage> {
    let mut usage = Usage::default();
    match books.endpoint.operation {
        Operation::Speech => usage.characters = books.outline().characters,
        Operation::Transcriptions | Operation::Translations => {
            usage.seconds = books.body_bytes().div_ceil(audio_bytes_per_second);
        }
        Operation::Images => usage.images = books.choices(),
        Operation::Live | Operation::LiveSession => usage.seconds = LIVE_SECONDS,
        _ => return None,
    }
    Some(usage)
}

/// Seconds of a Live session that are held ahead: its upstream tells of them every few seconds.
pub(super) const LIVE_SECONDS: u64 = 120;
/// Speech codecs do not go below 4 kbit/s.
const FEWEST_AUDIO_BYTES_PER_SECOND: u64 = 500;
/// 32 kbit/s, as recorders and messengers encode speech.
const USUAL_AUDIO_BYTES_PER_SECOND: u64 = 4_000;
/// When neither the caller nor the catalogue caps the output. Above what today's chat models answer
/// in one go without being told to.
const UNKNOWN_OUTPUT_CAP: u64 = 16_384;

/// What is charged for a request that was surely worked on and whose numbers nobody will tell: its reservation.
pub(super) fn reserved_usage(tokens: u64) -> Usage {
    Usage { input_tokens: tokens, ..Usage::default() }
}
