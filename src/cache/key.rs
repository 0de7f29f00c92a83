//! What makes two requests the same: everything that could change the answer, and whose they are.

use std::sync::LazyLock;

use http::{HeaderName, HeaderValue, Method};

/// Whose answers these are. A type of its own and without a default, so that no key can be made that
/// forgets it: no byte of one tenant reaches another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tenant<'a>(pub &'a str);

/// The parts of a request that a key is made of.
#[derive(Debug, Clone, Copy)]
pub struct KeyParts<'a> {
    /// Whose request.
    pub tenant: Tenant<'a>,
    /// How the gateway would serve it: upstream or route, and the model's alias.
    pub policy: &'a str,
    /// Its method.
    pub method: &'a Method,
    /// Its path and query, as sent.
    pub path_and_query: &'a str,
    /// The headers that can change the answer (organisation, version, beta features), in a fixed order.
    pub headers: &'a [(&'a HeaderName, &'a HeaderValue)],
    /// Its whole body.
    pub body: &'a [u8],
}

/// A strong hash of all parts. Equal keys mean equal requests of one tenant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct CacheKey([u8; 32]);

impl CacheKey {
    /// The key of a request. Pure; takes about 1 ms per 1 MB of body, so large bodies are hashed off the
    /// worker.
    #[must_use]
    pub fn of(parts: &KeyParts<'_>) -> Self {
        let KeyParts { tenant: Tenant(tenant), policy, method, path_and_query, headers, body } = parts;
        // what the context makes of it is the same for every key
        static DERIVED: LazyLock<blake3::Hasher> = LazyLock::new(|| blake3::Hasher::new_derive_key(CONTEXT));
        let mut hasher = DERIVED.clone();
        add(&mut hasher, tenant.as_bytes());
        add(&mut hasher, policy.as_bytes());
        add(&mut hasher, method.as_str().as_bytes());
        add(&mut hasher, path_and_query.as_bytes());
        add_length(&mut hasher, headers.len());
        for (name, value) in *headers {
            add(&mut hasher, name.as_str().as_bytes());
            add(&mut hasher, value.as_bytes());
        }
        add(&mut hasher, body);
        Self(*hasher.finalize().as_bytes())
    }
}

/// With its length before it, no part can run into the next: `ab` + `c` is not `a` + `bc`.
fn add(hasher: &mut blake3::Hasher, part: &[u8]) {
    add_length(hasher, part.len());
    hasher.update(part);
}

fn add_length(hasher: &mut blake3::Hasher, length: usize) {
    hasher.update(&(length as u64).to_le_bytes());
}

/// Changes when the parts or their order change.
const CONTEXT: &str = "tollgate 2026-11 answer cache key v1";

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    type Request = (String, String, String, Vec<(HeaderName, HeaderValue)>, Vec<u8>);

    fn key(request: &Request) -> CacheKey {
        let (tenant, policy, path, headers, body) = request;
        let headers: Vec<_> = headers.iter().map(|(name, value)| (name, value)).collect();
        CacheKey::of(&KeyParts {
            tenant: Tenant(tenant),
            policy,
            method: &Method::POST,
            path_and_query: path,
            headers: &headers,
            body,
        })
    }

    /// Short parts of two letters, so that the run together of different requests is often the same.
    fn request() -> impl Strategy<Value = Request> {
        let header = ("[ab]{1,2}", "[ab]{0,2}")
            .prop_map(|(name, value)| (name.parse().unwrap(), HeaderValue::from_str(&value).unwrap()));
        let body = "[ab]{0,3}".prop_map(String::into_bytes);
        ("[ab]{0,2}", "[ab]{0,2}", "[ab]{0,2}", proptest::collection::vec(header, 0..3), body)
    }

    proptest! {
        #[test]
        fn keys_are_equal_exactly_when_the_requests_are(one in request(), two in request()) {
            prop_assert_eq!(key(&one) == key(&two), one == two);
            prop_assert_eq!(key(&one), key(&one.clone()));
        }
    }

    #[test]
    fn two_tenants_never_share_a_key() {
        let of = |tenant: &str| key(&(tenant.into(), String::new(), "/v1".into(), vec![], b"{}".to_vec()));
        assert_ne!(of("a"), of("b"));
        assert_ne!(of("a"), of(""));
    }

    #[test]
    fn the_method_counts() {
        let of = |method: &Method| {
            let (path_and_query, headers, body) = ("/v1", &[][..], &b""[..]);
            CacheKey::of(&KeyParts { tenant: Tenant("a"), policy: "", method, path_and_query, headers, body })
        };
        assert_ne!(of(&Method::GET), of(&Method::POST));
    }
}
