//! The host allow-list: on loopback, only loopback names are served. A page in a browser can point a name of
//! its own at 127.0.0.1 (DNS rebinding); what it cannot do is send another `host` than that name.

use axum::extract::{Request, State};
use axum::http::header::HOST;
use axum::http::uri::Authority;
use axum::middleware::Next;
use axum::response::Response;

use super::error::AdminFault;
use super::state::AdminState;

pub(super) async fn known_host(
    State(state): State<AdminState>,
    request: Request,
    next: Next,
) -> Result<Response, AdminFault> {
    if state.loopback && !asks_for_loopback(&request) {
        return Err(AdminFault::UnknownHost);
    }
    Ok(next.run(request).await)
}

/// Exactly one host, with any port; HTTP/2 has it in the URI.
fn asks_for_loopback(request: &Request) -> bool {
    let mut headers = request.headers().get_all(HOST).iter();
    match (request.uri().authority(), headers.next(), headers.next()) {
        (Some(authority), None, None) => is_loopback(authority),
        (authority, Some(header), None) => {
            let named = header.to_str().ok().and_then(|text| text.parse::<Authority>().ok());
            named.as_ref().is_some_and(is_loopback) && authority.is_none_or(is_loopback)
        }
        _ => false,
    }
}

fn is_loopback(authority: &Authority) -> bool {
    let no_user = !authority.as_str().contains('@');
    no_user && LOOPBACK.iter().any(|name| authority.host().eq_ignore_ascii_case(name))
}

const LOOPBACK: [&str; 3] = ["localhost", "127.0.0.1", "[::1]"];
