use bytes::Bytes;
use http::Method;

use super::*;
use crate::base::clock::Timestamp;
use crate::base::money::NanoUsd;
use crate::base::units::Size;
use crate::base::usage::Usage;
use crate::cache::key::{KeyParts, Tenant};

const TTL: Duration = Duration::from_secs(60);
/// Longer than any test runs: a follower that is told nothing would hang, and the test with it.
const LONG: Duration = Duration::from_secs(3600);

fn cache() -> (Cache, Clock) {
    let clock = Clock::manual(Timestamp::from_secs(1_700_000_000));
    (Cache::new(&CacheSection::default(), clock.clone()), clock)
}

fn key(tenant: &str, body: &str) -> CacheKey {
    CacheKey::of(&KeyParts {
        tenant: Tenant(tenant),
        policy: "openai",
        method: &Method::POST,
        path_and_query: "/v1/chat/completions",
        headers: &[],
        body: body.as_bytes(),
    })
}

fn answer(body: impl Into<Bytes>) -> Answer {
    Answer {
        status: 200,
        headers: Vec::new(),
        body: body.into(),
        stream: false,
        usage: Usage::default(),
        cost: Some(NanoUsd::new(5)),
        model: "gpt-4o".into(),
        upstream: "openai".into(),
        stored_at: Timestamp::from_secs(1_700_000_000),
    }
}

fn lead(cache: &Cache, key: CacheKey) -> Leader {
    match cache.look_up(key, TTL) {
        Lookup::Lead(leader) => leader,
        other => panic!("not a leader: {other:?}"),
    }
}

fn follow(cache: &Cache, key: CacheKey) -> Follower {
    match cache.look_up(key, TTL) {
        Lookup::Follow(follower) => follower,
        other => panic!("not a follower: {other:?}"),
    }
}

fn hit(cache: &Cache, key: CacheKey, max_age: Duration) -> Option<Bytes> {
    match cache.look_up(key, max_age) {
        Lookup::Hit(answer) => Some(answer.body.clone()),
        Lookup::Lead(_) | Lookup::Follow(_) => None,
    }
}

#[test]
fn a_stored_answer_is_served_until_its_time_is_over() {
    let (cache, clock) = cache();
    let key = key("a", "{}");
    lead(&cache, key).store(answer("yes"), TTL);
    assert_eq!(hit(&cache, key, LONG).as_deref(), Some(&b"yes"[..]));
    clock.advance(TTL - Duration::from_nanos(1));
    assert!(hit(&cache, key, LONG).is_some());
    assert!(hit(&cache, key, Duration::from_secs(30)).is_none(), "older than the caller wants");
    clock.advance(Duration::from_nanos(1));
    assert!(hit(&cache, key, LONG).is_none());
}

#[test]
fn no_byte_of_one_tenant_reaches_another() {
    let (cache, _) = cache();
    lead(&cache, key("a", "{}")).store(answer("secret"), TTL);
    assert!(hit(&cache, key("b", "{}"), LONG).is_none());
    let _flight = lead(&cache, key("a", "other"));
    assert!(matches!(cache.look_up(key("b", "other"), TTL), Lookup::Lead(_)), "nor do they wait together");
}

#[test]
fn only_200_answers_without_cookies_up_to_the_bound_are_stored() {
    let clock = Clock::manual(Timestamp::from_secs(0));
    let section = CacheSection { max_answer: Size(4), ..CacheSection::default() };
    let cache = Cache::new(&section, clock);
    let key = key("a", "{}");
    lead(&cache, key).store(Answer { status: 500, ..answer("no") }, TTL);
    assert!(hit(&cache, key, LONG).is_none());
    let cookie = (http::header::SET_COOKIE, http::HeaderValue::from_static("session=1"));
    lead(&cache, key).store(Answer { headers: vec![cookie], ..answer("no") }, TTL);
    assert!(hit(&cache, key, LONG).is_none());
    lead(&cache, key).store(answer("12345"), TTL);
    assert!(hit(&cache, key, LONG).is_none());
    lead(&cache, key).store(answer("1234"), Duration::ZERO);
    assert!(hit(&cache, key, LONG).is_none());
    lead(&cache, key).store(answer("1234"), TTL);
    assert!(hit(&cache, key, LONG).is_some());
}

#[tokio::test]
async fn identical_requests_in_flight_wait_for_one_answer() {
    let (cache, _) = cache();
    let key = key("a", "{}");
    let leader = lead(&cache, key);
    let (one, two) = (follow(&cache, key), follow(&cache, key));
    let (one, two, ()) =
        tokio::join!(one.wait(LONG), two.wait(LONG), async { leader.store(answer("yes"), TTL) });
    assert_eq!(one.unwrap().body, "yes");
    assert_eq!(two.unwrap().body, "yes");
    assert_eq!(cache.shelf.flights.count(), 0);
}

#[tokio::test]
async fn a_dropped_leader_wakes_its_followers_to_ask_for_themselves() {
    let (cache, _) = cache();
    let key = key("a", "{}");
    let leader = lead(&cache, key);
    let follower = follow(&cache, key);
    let (told, ()) = tokio::join!(follower.wait(LONG), async { drop(leader) });
    assert_eq!(told, None);
    let _next = lead(&cache, key);
}

#[tokio::test]
async fn an_answer_that_cannot_be_stored_is_not_handed_on() {
    let (cache, _) = cache();
    let key = key("a", "{}");
    let leader = lead(&cache, key);
    let follower = follow(&cache, key);
    let failed = async { leader.store(Answer { status: 503, ..answer("no") }, TTL) };
    let (told, ()) = tokio::join!(follower.wait(LONG), failed);
    assert_eq!(told, None);
}

#[tokio::test]
async fn a_follower_waits_no_longer_than_its_limit() {
    let (cache, _) = cache();
    let key = key("a", "{}");
    let _leader = lead(&cache, key);
    assert_eq!(follow(&cache, key).wait(Duration::ZERO).await, None);
}

#[test]
fn a_refresh_replaces_the_answer_without_reading() {
    let (cache, _) = cache();
    let key = key("a", "{}");
    lead(&cache, key).store(answer("old"), TTL);
    cache.refresh(key).store(answer("new"), TTL);
    assert_eq!(hit(&cache, key, LONG).as_deref(), Some(&b"new"[..]));
}

#[test]
fn a_cleared_store_stays_clear_of_what_was_under_way() {
    let (cache, _) = cache();
    let (stored, under_way) = (key("a", "1"), key("a", "2"));
    lead(&cache, stored).store(answer("1"), TTL);
    let leader = lead(&cache, under_way);
    cache.clear();
    leader.store(answer("2"), TTL);
    assert!(hit(&cache, stored, LONG).is_none());
    assert!(hit(&cache, under_way, LONG).is_none());
    lead(&cache, stored).store(answer("3"), TTL);
    assert!(hit(&cache, stored, LONG).is_some());
}

#[test]
fn the_store_never_grows_past_its_size() {
    let section = CacheSection { max_size: Size(64 << 10), ..CacheSection::default() };
    let cache = Cache::new(&section, Clock::manual(Timestamp::from_secs(0)));
    for n in 0..200 {
        lead(&cache, key("a", &n.to_string())).store(answer(vec![b'x'; 1024]), TTL);
    }
    let stats = cache.stats();
    assert!(stats.bytes <= 64 << 10, "{stats:?}");
    assert!(stats.entries > 0 && stats.evictions > 0, "{stats:?}");
}

#[test]
fn beyond_the_bound_on_flights_requests_lead_alone() {
    let (cache, _) = cache();
    let flights: Vec<_> = (0..Flights::MAX).map(|n| lead(&cache, key("a", &n.to_string()))).collect();
    let one_more = key("a", "one more");
    let (_first, _second) = (lead(&cache, one_more), lead(&cache, one_more));
    assert_eq!(cache.shelf.flights.count(), Flights::MAX);
    drop(flights);
    assert_eq!(cache.shelf.flights.count(), 0);
}
