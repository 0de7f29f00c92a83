//! Where a request goes: the client's path re-rooted under the upstream's base URL. Pure.
//!
//! A base URL is what an SDK would be given: the client's `/v1/chat/completions` becomes
//! `{base_url}/chat/completions`. A base URL without any path (`http://vllm:8000`) gets the path as it is.

use http::Uri;
use http::uri::Parts;

use super::endpoint::Upstream;
use super::section::UpstreamKind;
use crate::dialect::path::{Endpoint, Operation, PathStyle};

/// The path cannot be made into a URI for this upstream.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("the path cannot be sent to this upstream")]
pub struct Unaddressable;

/// The absolute URI for a request. `path` and `query` are the client's raw text, `model` the one sent.
///
/// # Errors
/// When the text is no URI (it came in as one, so only an odd model name can do that).
pub fn resolve(
    upstream: &Upstream,
    endpoint: &Endpoint,
    path: &str,
    query: Option<&str>,
    model: &str,
) -> Result<Uri, Unaddressable> {
    let prefix = upstream.prefix.as_str();
    let mut target = match upstream.kind {
        UpstreamKind::Openai => openai(prefix, &endpoint.style, path),
        UpstreamKind::Azure => azure(upstream, endpoint, path, model),
        UpstreamKind::Anthropic => anthropic(prefix, &endpoint.style, path),
    };
    let version = upstream.api_version.as_deref().filter(|_| needs_version(&target, query));
    if let Some(query) = query {
        target.push('?');
        target.push_str(query);
    }
    if let Some(version) = version {
        target.push_str(if query.is_some() { "&api-version=" } else { "?api-version=" });
        target.push_str(version);
    }
    let mut parts = Parts::default();
    parts.scheme = Some(upstream.scheme.clone());
    parts.authority = Some(upstream.authority.clone());
    parts.path_and_query = Some(target.try_into().map_err(|_| Unaddressable)?);
    Uri::from_parts(parts).map_err(|_| Unaddressable)
}

/// Whether the upstream sees the deployment that a path names, and so goes by it, not by the body's model.
#[must_use]
pub fn keeps_deployment(upstream: &Upstream, endpoint: &Endpoint) -> bool {
    let is_named = matches!(endpoint.style, PathStyle::AzureDeployment { .. });
    let is_kept = match upstream.kind {
        UpstreamKind::Openai => upstream.prefix.is_empty(),
        UpstreamKind::Azure | UpstreamKind::Anthropic => true,
    };
    // Azure also gets deployments in paths that name none
    let is_made = upstream.kind == UpstreamKind::Azure
        && upstream.api_version.is_some()
        && matches!(endpoint.style, PathStyle::V1 { .. })
        && is_per_deployment(endpoint.operation);
    (is_named && is_kept) || is_made
}

fn openai(prefix: &str, style: &PathStyle, path: &str) -> String {
    if prefix.is_empty() {
        // a client of the anthropic SDK may have come through `/anthropic`
        return path.strip_prefix("/anthropic").unwrap_or(path).to_owned();
    }
    match style {
        PathStyle::V1 { tail } | PathStyle::AzureDeployment { tail, .. } | PathStyle::AzureV1 { tail } => {
            [prefix, tail].concat()
        }
        PathStyle::Azure { .. } | PathStyle::Other => [prefix, path].concat(),
    }
}

fn azure(upstream: &Upstream, endpoint: &Endpoint, path: &str, model: &str) -> String {
    let prefix = upstream.prefix.as_str();
    let root = prefix.strip_suffix("/openai/v1").or_else(|| prefix.strip_suffix("/openai")).unwrap_or(prefix);
    match &endpoint.style {
        PathStyle::V1 { tail } if prefix.ends_with("/openai/v1") => format!("{prefix}{tail}"),
        PathStyle::V1 { tail } if upstream.api_version.is_some() && is_per_deployment(endpoint.operation) => {
            format!("{root}/openai/deployments/{}{tail}", escape_segment(model))
        }
        PathStyle::V1 { tail } => format!("{root}/openai/v1{tail}"),
        PathStyle::AzureDeployment { tail, .. } if endpoint.deployment.as_deref() != Some(model) => {
            format!("{root}/openai/deployments/{}{tail}", escape_segment(model))
        }
        PathStyle::AzureDeployment { .. } | PathStyle::AzureV1 { .. } | PathStyle::Azure { .. } => {
            format!("{root}{path}")
        }
        PathStyle::Other => format!("{prefix}{path}"),
    }
}

fn anthropic(prefix: &str, style: &PathStyle, path: &str) -> String {
    match style {
        PathStyle::V1 { tail } if prefix.ends_with("/v1") => [prefix, tail].concat(),
        PathStyle::V1 { tail } => [prefix, "/v1", tail].concat(),
        _ => [prefix, path].concat(),
    }
}

/// Operations that Azure serves under a deployment (WIRE 1.6).
fn is_per_deployment(operation: Operation) -> bool {
    matches!(
        operation,
        Operation::ChatCompletions
            | Operation::Completions
            | Operation::Embeddings
            | Operation::Images
            | Operation::Transcriptions
            | Operation::Translations
            | Operation::Speech
    )
}

/// Azure's paths need a version unless they are of its versionless API.
fn needs_version(place: &str, query: Option<&str>) -> bool {
    let names_version =
        query.is_some_and(|query| query.split('&').any(|pair| pair.starts_with("api-version=")));
    !names_version && place.contains("/openai/") && !place.contains("/openai/v1")
}

/// A model name as one path segment, or as the value of a query.
#[must_use]
pub fn escape_segment(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~:".contains(&byte) {
            escaped.push(char::from(byte));
        } else {
            escaped.push('%');
            escaped.push(char::from_digit(u32::from(byte >> 4), 16).unwrap_or('0').to_ascii_uppercase());
            escaped.push(char::from_digit(u32::from(byte & 15), 16).unwrap_or('0').to_ascii_uppercase());
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use http::Method;

    use super::*;
    use crate::dialect::path::classify;

    fn sent(upstream: &str, uri: &str, model: &str) -> String {
        let upstream = Upstream::build("u", &serde_json::from_str(upstream).unwrap()).unwrap();
        let (path, query) = uri.split_once('?').map_or((uri, None), |(path, query)| (path, Some(query)));
        resolve(&upstream, &classify(&Method::POST, path), path, query, model).unwrap().to_string()
    }

    #[test]
    fn a_base_url_is_what_an_sdk_would_be_given() {
        for (base, uri, expected) in [
            (
                "https://api.openai.com/v1",
                "/v1/chat/completions",
                "https://api.openai.com/v1/chat/completions",
            ),
            ("https://h/api/v1/", "/v1/models/a%2Fb", "https://h/api/v1/models/a%2Fb"),
            ("http://vllm:8000", "/v1/chat/completions", "http://vllm:8000/v1/chat/completions"),
            ("http://vllm:8000/v1", "/v1/responses?beta=true", "http://vllm:8000/v1/responses?beta=true"),
            (
                "http://h/v1",
                "/openai/deployments/d/chat/completions?api-version=1",
                "http://h/v1/chat/completions?api-version=1",
            ),
            ("https://api.anthropic.com", "/v1/messages", "https://api.anthropic.com/v1/messages"),
            (
                "https://api.anthropic.com/v1",
                "/anthropic/v1/messages",
                "https://api.anthropic.com/v1/messages",
            ),
            ("http://mock:1", "/anthropic/v1/messages", "http://mock:1/v1/messages"),
        ] {
            assert_eq!(sent(&format!(r#"{{"base_url":"{base}"}}"#), uri, "m"), expected);
        }
    }

    #[test]
    fn azure_gets_deployments_where_it_wants_them() {
        let dated = r#"{"base_url":"https://r.openai.azure.com","api_version":"2024-10-21"}"#;
        let plain = r#"{"base_url":"https://r.openai.azure.com"}"#;
        for (upstream, uri, expected) in [
            (
                dated,
                "/v1/chat/completions",
                "https://r.openai.azure.com/openai/deployments/my%20dep/chat/completions?api-version=2024-10-21",
            ),
            (
                dated,
                "/openai/deployments/my%20dep/embeddings?api-version=9",
                "https://r.openai.azure.com/openai/deployments/my%20dep/embeddings?api-version=9",
            ),
            (dated, "/v1/responses", "https://r.openai.azure.com/openai/v1/responses"),
            (plain, "/v1/chat/completions", "https://r.openai.azure.com/openai/v1/chat/completions"),
        ] {
            assert_eq!(sent(upstream, uri, "my dep"), expected);
        }
    }
}
