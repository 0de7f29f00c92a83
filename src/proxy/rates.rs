//! The limits that hold for a request: those of key, team and model as it is admitted, those of an upstream
//! as it is chosen, and what the answer says of them.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use http::HeaderMap;

use super::error::Refusal;
use super::exchange::{Books, Exchange};
use super::headers;
use super::names;
use super::request::ReadRequest;
use crate::base::clock::Clock;
use crate::limits::{self, LimitHit, Limiter, Standing, TokenAsk, reset_text};
use crate::routing::router::Target;
use crate::tokens;

/// Takes the request's place in the limits of its key, its team and its model, in all or in none.
pub(super) fn enter(x: &mut Exchange, request: &ReadRequest, tokens_at_most: u64) -> Result<(), Refusal> {
    x.token_ask = ask(x, request, tokens_at_most);
    if x.account.is_none() {
        return Ok(());
    }
    let is_part = x.record.parent != 0;
    let admit = if is_part { limits::admit_part } else { limits::admit };
    let admitted = admit(&callers_limiters(x), x.token_ask, x.tick());
    x.admission = Some(admitted.map_err(|hit| refusal(x, hit))?);
    Ok(())
}

/// What the caller capped is taken whole. A stream takes its input and a usual answer, and more as it goes;
/// an answer that comes at once takes all that it might use, as far as that is there. Input is taken by
/// expectation, a quarter of its bytes: the ceiling would throttle everybody, and the end corrects it.
fn ask(books: &Books, request: &ReadRequest, tokens_at_most: u64) -> TokenAsk {
    if !books.is_billed() {
        return TokenAsk::default();
    }
    let shown = if request.ceiling.is_open { u64::MAX } else { request.ceiling.tokens };
    let input = rough_input(books).min(shown).min(tokens_at_most);
    let choices = request.facts.choices.max(1);
    let with_answer = |tokens: u64| input.saturating_add(tokens.saturating_mul(choices)).min(tokens_at_most);
    if let Some(cap) = request.facts.output_cap {
        return TokenAsk::exactly(with_answer(cap));
    }
    let usual = with_answer(USUAL_ANSWER);
    let most = if request.facts.stream { usual } else { tokens_at_most };
    TokenAsk { firm: input, usual, most }
}

fn rough_input(books: &Books) -> u64 {
    tokens::rough(usize::try_from(books.body_bytes()).unwrap_or(usize::MAX))
}

/// Tokens of an answer whose length nobody capped, for limits only.
const USUAL_ANSWER: u64 = 1_000;

/// The first target from `from` on whose upstream has room; takes the request's place there. Until one is
/// found, the place in the upstream asked before is kept.
pub(super) fn enter_upstream(x: &mut Exchange, targets: &[Target], from: usize) -> Result<usize, Refusal> {
    let mut soonest: Option<LimitHit> = None;
    for (place, target) in targets.iter().enumerate().skip(from) {
        let Some(limiter) = x.policy.upstream_limiters[target.upstream].clone() else {
            x.upstream_admission = None;
            return Ok(place);
        };
        match limits::admit(&[limiter], x.token_ask, x.tick()) {
            Ok(admitted) => {
                x.upstream_admission = Some(admitted);
                return Ok(place);
            }
            // whichever has room first is the one to wait for
            Err(hit) if soonest.as_ref().is_none_or(|other| hit.gravity() < other.gravity()) => {
                soonest = Some(hit);
            }
            Err(_) => {}
        }
    }
    let Some(hit) = soonest else { return Err(Refusal::NoUpstream) };
    if from == 0
        && let Some(admission) = x.admission.take()
    {
        // nobody was asked: the caller's own limits do not count it
        admission.withdraw();
    }
    Err(refusal(x, hit))
}

/// Takes more tokens ahead for a stream that has shown so many bytes of output. Answers how long it has to
/// wait for them: what is taken ahead of the refill is paid for by waiting.
pub(super) fn follow(books: &mut Books, output_bytes: u64) -> Duration {
    if books.admission.is_none() && books.upstream_admission.is_none() {
        return Duration::ZERO;
    }
    let shown = if books.most_input > 0 { books.most_input } else { u64::MAX };
    let output = tokens::rough(usize::try_from(output_bytes).unwrap_or(usize::MAX));
    let used = rough_input(books).min(shown).saturating_add(output);
    let taken = books.tokens_taken.max(books.token_ask.usual);
    if used <= taken {
        return Duration::ZERO;
    }
    let ahead = used.saturating_add(AHEAD);
    books.tokens_taken = ahead;
    let now = books.tick();
    let admissions = books.admission.iter_mut().chain(&mut books.upstream_admission);
    admissions.map(|admission| admission.top_up_to(ahead, now)).max().unwrap_or_default()
}

/// Tokens that a stream takes ahead of what it has shown: a few seconds of output.
const AHEAD: u64 = 256;

/// Gives slots back, and corrects tokens to what was used.
pub(super) fn leave(books: &mut Books, used_tokens: u64) {
    for mut admission in books.admission.take().into_iter().chain(books.upstream_admission.take()) {
        admission.settle(used_tokens);
    }
}

/// Where a caller stands with its rates, to be told on its answer in `OpenAI`'s format (WIRE 2.5).
pub(super) struct Told {
    limiters: Vec<Arc<Limiter>>,
    clock: Clock,
}

impl Told {
    /// What is to be told on an answer with these headers: nothing where the upstream tells its own.
    pub(super) fn on(books: &Books, answer: &HeaderMap) -> Self {
        let is_told = answer.keys().any(|name| is_rate_header(name.as_str()));
        let limiters = if is_told { Vec::new() } else { callers_limiters(books).into_owned() };
        Self { limiters, clock: books.door.clock.clone() }
    }

    /// Writes it down as it is now: once the answer is settled, if it is.
    pub(super) fn write(&self, answer: &mut HeaderMap) {
        let now = self.clock.tick();
        let standings = self.limiters.iter().map(|limiter| limiter.standing(now));
        let Some(Standing { requests, tokens }) = standings.reduce(Standing::tightest) else { return };
        if let Some(rate) = requests {
            headers::set(answer, &names::LIMIT_REQUESTS, &rate.limit.to_string());
            headers::set(answer, &names::REMAINING_REQUESTS, &rate.remaining.to_string());
            headers::set(answer, &names::RESET_REQUESTS, &reset_text(rate.reset));
        }
        if let Some(rate) = tokens {
            headers::set(answer, &names::LIMIT_TOKENS, &rate.limit.to_string());
            headers::set(answer, &names::REMAINING_TOKENS, &rate.remaining.to_string());
            headers::set(answer, &names::RESET_TOKENS, &reset_text(rate.reset));
        }
    }
}

fn is_rate_header(name: &str) -> bool {
    name.starts_with("x-ratelimit-") || name.starts_with("anthropic-ratelimit-")
}

fn callers_limiters(books: &Books) -> Cow<'_, [Arc<Limiter>]> {
    let Some(account) = &books.account else { return Cow::Borrowed(&[]) };
    if account.model_limiters.is_empty() {
        return Cow::Borrowed(&account.limiters);
    }
    let of_models = account.model_limiters.iter().filter_map(|rule| rule.holds_for(&books.record.model));
    Cow::Owned(account.limiters.iter().chain(of_models).cloned().collect())
}

fn refusal(x: &mut Exchange, hit: LimitHit) -> Refusal {
    x.limit_hit = Some((hit.kind.as_str(), hit.scope_word()));
    Refusal::RateLimit(hit)
}
