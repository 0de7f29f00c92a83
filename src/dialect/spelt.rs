//! Paths that are spelt as the table of routes has them, behind `/v1`: most are, and need not be taken apart.

use http::Method;

use super::path::{Dialect, Endpoint, PathStyle};
use super::routes::{Root, find_as_spelt};

/// What such a path means; `None` of any other, which may mean the same in another spelling.
pub(super) fn as_spelt(method: &Method, path: &str) -> Option<Endpoint> {
    let route = find_as_spelt(path)?;
    let tail = path.strip_prefix("/v1").unwrap_or(path);
    let first = tail.trim_start_matches('/').split('/').next();
    Some(Endpoint {
        object: None,
        dialect: dialect(Root::V1, first.as_slice()),
        operation: route.operation(method),
        route: route.template(Root::V1),
        style: PathStyle::V1 { tail: tail.to_owned() },
        deployment: None,
    })
}

/// The wire format of a path, by its root and the names behind it.
pub(super) fn dialect(root: Root, tail: &[&str]) -> Dialect {
    let messages = tail.first().is_some_and(|name| name.eq_ignore_ascii_case("messages"));
    if root == Root::Anthropic || messages { Dialect::Anthropic } else { Dialect::OpenAi }
}
