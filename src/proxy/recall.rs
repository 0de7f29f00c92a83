//! Fifth step: has this been answered before, or is it being answered right now?

use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};

use super::error::Refusal;
use super::exchange::Exchange;
use super::fill::Fill;
use super::headers;
use super::relay::{Answer, AnswerBody};
use super::request::ReadRequest;
use crate::cache::{self, CacheKey, Filling, KeyParts, Lookup, Tenant, Wish};
use crate::store::record::CacheResult;

/// Looks the request up where the cache is switched on: the answer from memory, or `None` where an
/// upstream must be asked. Becomes the leader of identical requests if it misses.
pub(super) async fn recall(x: &mut Exchange, request: &ReadRequest) -> Result<Option<Answer>, Refusal> {
    let of_team = x.account.as_ref().and_then(|account| account.cache).map(|rule| rule.ttl.0);
    match of_team.or(request.cache_ttl) {
        Some(rule) => Box::pin(look_up(x, request, rule)).await,
        None => Ok(None),
    }
}

async fn look_up(x: &mut Exchange, request: &ReadRequest, rule: Duration) -> Result<Option<Answer>, Refusal> {
    let wish = wish_of(&request.headers)?;
    let may_use = x.is_billed() && request.method == Method::POST && wish.stores();
    let Some(body) = request.whole().filter(|body| may_use && body.len() <= LARGEST_HASHED_INLINE) else {
        x.record.cache = CacheResult::Bypass;
        return Ok(None);
    };
    let ttl = wish.ttl(rule);
    let key = key_of(x, request, body);
    let began = x.tick();
    let mut looked_up =
        if wish.reads() { x.door.cache.look_up(key, ttl) } else { Lookup::Lead(x.door.cache.refresh(key)) };
    let mut waited = CacheResult::Hit;
    if let Lookup::Follow(follower) = looked_up {
        waited = CacheResult::Coalesced;
        let patience = x.policy.bounds.coalesce_wait;
        looked_up = match follower.wait(patience).await {
            Some(answer) => Lookup::Hit(answer),
            // the one that asked has failed: of those who waited, one asks, and the others wait for it
            None if x.tick().since(began) < patience => x.door.cache.look_up(key, ttl),
            None => {
                x.record.cache = CacheResult::Miss;
                return Ok(None);
            }
        };
    }
    let answer = match looked_up {
        Lookup::Hit(answer) => {
            x.record.cache = waited;
            Some(answer)
        }
        Lookup::Follow(follower) => {
            let left = x.policy.bounds.coalesce_wait.saturating_sub(x.tick().since(began));
            let answer = follower.wait(left).await;
            x.record.cache = if answer.is_some() { CacheResult::Coalesced } else { CacheResult::Miss };
            answer
        }
        Lookup::Lead(leader) => {
            x.record.cache = CacheResult::Miss;
            // what a budget shortened is no answer to anybody else: who waits for it asks, too
            if request.cap_to.is_none() {
                let filling = Filling::up_to(x.door.cache.max_answer());
                x.fill = Some(Fill::new(leader, filling, ttl, x.now()));
            }
            None
        }
    };
    Ok(answer.map(|answer| replay(x, &answer)))
}

fn wish_of(headers: &HeaderMap) -> Result<Wish, Refusal> {
    let Some(value) = headers.get("x-tollgate-cache") else { return Ok(Wish::default()) };
    let text = value.to_str().unwrap_or("?");
    Wish::parse(text).map_err(|fault| Refusal::BadHeader(fault.to_string()))
}

/// Hashing a larger body would hold up the worker.
const LARGEST_HASHED_INLINE: usize = 256 << 10;

/// Headers that differ between equal requests and do not change an answer. Every other one that is
/// forwarded is part of the key.
const BESIDE_THE_POINT: [&str; 5] =
    ["user-agent", "x-request-id", "x-client-request-id", "idempotency-key", "date"];

fn is_beside_the_point(name: &HeaderName) -> bool {
    BESIDE_THE_POINT.contains(&name.as_str()) || name.as_str().starts_with("x-stainless-")
}

fn key_of(x: &Exchange, request: &ReadRequest, body: &[u8]) -> CacheKey {
    let mut policy = String::new();
    for target in &request.targets {
        let upstream = &x.policy.upstreams[target.upstream];
        let model = target.model.as_deref().unwrap_or_default();
        let (scheme, place) = (upstream.scheme.as_str(), upstream.authority.as_str());
        policy.extend([&*upstream.name, "=", scheme, "://", place, &*upstream.prefix, " ", model, "\n"]);
    }
    let path_and_query = [&*request.path, "?", request.query.as_deref().unwrap_or_default()].concat();
    let forwarded = headers::to_upstream(&request.headers, false);
    let mut headers: Vec<(&HeaderName, &HeaderValue)> =
        forwarded.iter().filter(|(name, _)| !is_beside_the_point(name)).collect();
    // stable: several values of one name stay in their order
    headers.sort_by_key(|(name, _)| name.as_str());
    CacheKey::of(&KeyParts {
        tenant: Tenant(&x.record.team),
        policy: &policy,
        method: &request.method,
        path_and_query: &path_and_query,
        headers: &headers,
        body,
    })
}

/// The stored answer, as it was; the cost it saved goes to the record.
fn replay(x: &mut Exchange, answer: &cache::Answer) -> Answer {
    let mut headers = HeaderMap::with_capacity(answer.headers.len() + 8);
    for (name, value) in &answer.headers {
        headers.append(name.clone(), value.clone());
    }
    let age = x.now().since(answer.stored_at).as_secs();
    headers.insert(header::AGE, HeaderValue::from(age));
    x.record.saved = answer.cost.unwrap_or_default();
    x.saved_tokens = answer.usage.total_tokens();
    x.record.stream = answer.stream;
    x.record.response_model.clone_from(&answer.model);
    x.record.upstream.clone_from(&answer.upstream);
    Answer {
        status: StatusCode::from_u16(answer.status).unwrap_or(StatusCode::OK),
        headers,
        body: AnswerBody::Remembered(answer.body.clone()),
    }
}
