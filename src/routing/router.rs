//! Chooses targets for a model name. The choice is a list: later targets are tried when earlier ones fail.

use std::time::Duration;

use crate::base::glob::Glob;
use crate::routing::section::{Pick, RouteSection};

/// Place of an upstream in the config's list.
pub type UpstreamIndex = usize;

/// All routes of a config, in order.
#[derive(Debug, Default)]
pub struct Router {
    routes: Vec<Route>,
}

#[derive(Debug)]
struct Route {
    patterns: Vec<Glob>,
    targets: Vec<Target>,
    weights: Vec<u64>,
    pick: Pick,
    cache_ttl: Option<Duration>,
}

/// Where a request may go.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Plan {
    /// The targets, best first; empty when no route names the model.
    pub targets: Vec<Target>,
    /// How long the route lets an answer be served again; `None` where it switches no cache on.
    pub cache_ttl: Option<Duration>,
}

/// One place a request may go to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// Which upstream.
    pub upstream: UpstreamIndex,
    /// The model name sent there; `None` sends the caller's.
    pub model: Option<String>,
}

/// A route names an upstream that the config does not have.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("a route leads to `{0}`, which is not an upstream")]
pub struct UnknownUpstream(pub String);

impl Router {
    /// Builds the routes; `index_of` finds an upstream by name.
    ///
    /// # Errors
    /// When a route leads to an unknown upstream.
    pub fn build(
        routes: &[RouteSection],
        index_of: impl Fn(&str) -> Option<UpstreamIndex>,
    ) -> Result<Self, UnknownUpstream> {
        let build_route = |section: &RouteSection| {
            let target = |to: &super::section::TargetSection| {
                let upstream = index_of(&to.upstream).ok_or_else(|| UnknownUpstream(to.upstream.clone()))?;
                Ok(Target { upstream, model: to.model.clone() })
            };
            Ok(Route {
                patterns: section.models.iter().map(|pattern| Glob::new(pattern)).collect(),
                targets: section.to.iter().map(target).collect::<Result<_, _>>()?,
                weights: section.to.iter().map(|to| u64::from(to.weight)).collect(),
                pick: section.pick,
                cache_ttl: section.cache.map(|cache| cache.ttl.0),
            })
        };
        Ok(Self { routes: routes.iter().map(build_route).collect::<Result<_, _>>()? })
    }

    /// The plan for `model`. `dice` is any random number.
    #[must_use]
    pub fn plan(&self, model: &str, dice: u64) -> Plan {
        let fits = |route: &&Route| route.patterns.iter().any(|pattern| pattern.matches(model));
        let Some(route) = self.routes.iter().find(fits) else { return Plan::default() };
        let mut targets = route.targets.clone();
        if route.pick == Pick::Weighted {
            let first = weighted(&route.weights, dice);
            targets[..=first].rotate_right(1);
        }
        Plan { targets, cache_ttl: route.cache_ttl }
    }
}

/// The place that `dice` falls on when each place is as wide as its weight.
fn weighted(weights: &[u64], dice: u64) -> usize {
    let total: u64 = weights.iter().sum();
    let mut left = if total == 0 { 0 } else { dice % total };
    for (place, weight) in weights.iter().enumerate() {
        if left < *weight {
            return place;
        }
        left -= weight;
    }
    0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn router(yaml_like_json: &str) -> Router {
        let routes: Vec<RouteSection> = serde_json::from_str(yaml_like_json).unwrap();
        Router::build(&routes, |name| ["a", "b", "c"].iter().position(|known| *known == name)).unwrap()
    }

    fn upstreams(targets: &[Target]) -> Vec<usize> {
        targets.iter().map(|target| target.upstream).collect()
    }

    #[test]
    fn the_first_route_that_fits_is_taken_and_keeps_its_order() {
        let router = router(
            r#"[{"models":["gpt-4o"],"to":[{"upstream":"b"},{"upstream":"a","model":"x"}]},
                {"models":["gpt-*"],"to":[{"upstream":"c"}]}]"#,
        );
        assert_eq!(upstreams(&router.plan("gpt-4o", 9).targets), [1, 0]);
        assert_eq!(router.plan("gpt-4o", 9).targets[1].model.as_deref(), Some("x"));
        assert_eq!(upstreams(&router.plan("gpt-5", 9).targets), [2]);
        assert!(router.plan("claude", 9).targets.is_empty());
    }

    #[test]
    fn weights_share_the_traffic_and_the_rest_stays_as_fallback() {
        let router = router(
            r#"[{"models":["*"],"pick":"weighted","to":[{"upstream":"a","weight":1},{"upstream":"b","weight":3},{"upstream":"c","weight":0}]}]"#,
        );
        let first = |dice| router.plan("m", dice).targets[0].upstream;
        assert_eq!((0..8).map(first).collect::<Vec<_>>(), [0, 1, 1, 1, 0, 1, 1, 1]);
        assert_eq!(upstreams(&router.plan("m", 1).targets), [1, 0, 2]);
    }

    #[test]
    fn a_route_to_nowhere_is_a_fault() {
        let routes: Vec<RouteSection> =
            serde_json::from_str(r#"[{"models":["*"],"to":[{"upstream":"nope"}]}]"#).unwrap();
        assert_eq!(Router::build(&routes, |_| None).unwrap_err(), UnknownUpstream("nope".into()));
    }
}
