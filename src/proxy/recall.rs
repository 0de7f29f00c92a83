//! Fifth step: has this been answered before, or is it being answered right now?

use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};

use super::error::Refusal;
use super::exchange::Exchange;
use super::fill::Fill;
use super::relay::{Answer, AnswerBody};
use super::request::ReadRequest;
use crate::cache::{self, CacheKey, Filling, KeyParts, Lookup, Tenant, Wish};
use crate::store::record::CacheResult;

/// Looks the request up where the cache is switched on: the answer from memory, or `None` where an
/// upstream must be asked. Becomes the leader of identical requests if it misses.
pub(super) async fn recall(x: &mut Exchange, request: &ReadRequest) -> Result<Option<Answer>, Refusal> {
    let of_team = x.account.as_ref().and_then(|account| account.cache).map(|rule| rule.ttl.0);
    let Some(rule) = of_team.or(request.cache_ttl) else { return Ok(None) };
    let wish = wish_of(&request.headers)?;
    let may_use = x.is_billed() && request.method == Method::POST && wish.stores();
    let Some(body) = request.whole().filter(|body| may_use && body.len() <= LARGEST_HASHED_INLINE) else {
        x.record.cache = CacheResult::Bypass;
        return Ok(None);
    };
    let ttl = wish.ttl(rule);
    let key = key_of(x, request, body);
    let looked_up =
        if wish.reads() { x.door.cache.look_up(key, ttl) } else { Lookup::Lead(x.door.cache.refresh(key)) };
    let answer = match looked_up {
        Lookup::Hit(answer) => {
            x.record.cache = CacheResult::Hit;
            Some(answer)
        }
        Lookup::Follow(follower) => {
            let answer = follower.wait(x.policy.bounds.coalesce_wait).await;
            x.record.cache = if answer.is_some() { CacheResult::Coalesced } else { CacheResult::Miss };
            answer
        }
        Lookup::Lead(leader) => {
            x.record.cache = CacheResult::Miss;
            let filling = Filling::up_to(x.door.cache.max_answer());
            x.fill = Some(Fill::new(leader, filling, ttl, x.now()));
            None
        }
    };
    Ok(answer.map(|answer| replay(x, &answer)))
}

fn wish_of(headers: &HeaderMap) -> Result<Wish, Refusal> {
    let Some(value) = headers.get("x-tollgate-cache") else { return Ok(Wish::default()) };
    let text = value.to_str().unwrap_or("?");
    Wish::parse(text).map_err(|fault| Refusal::BadRequest(fault.to_string()))
}

/// Hashing a larger body would hold up the worker.
const LARGEST_HASHED_INLINE: usize = 256 << 10;

/// Request headers that change what an upstream answers, or how it is encoded.
const KEY_HEADERS: [&str; 9] = [
    "accept",
    "accept-encoding",
    "content-encoding",
    "content-type",
    "anthropic-beta",
    "anthropic-version",
    "openai-beta",
    "openai-organization",
    "openai-project",
];

fn key_of(x: &Exchange, request: &ReadRequest, body: &[u8]) -> CacheKey {
    let mut policy = String::new();
    for target in &request.targets {
        policy.push_str(&x.policy.upstreams[target.upstream].name);
        policy.push('=');
        policy.push_str(target.model.as_deref().unwrap_or_default());
        policy.push('\n');
    }
    let path_and_query = format!("{}?{}", request.path, request.query.as_deref().unwrap_or_default());
    let names: Vec<HeaderName> = KEY_HEADERS.into_iter().map(HeaderName::from_static).collect();
    let headers: Vec<(&HeaderName, &HeaderValue)> =
        names.iter().filter_map(|name| request.headers.get(name).map(|value| (name, value))).collect();
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
