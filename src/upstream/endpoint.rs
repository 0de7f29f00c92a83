//! One upstream as the gateway uses it: built once per config load, read by every request.

use std::sync::Arc;
use std::time::Duration;

use http::uri::{Authority, Scheme};
use http::{HeaderName, HeaderValue, Uri, header};

use super::learned::{Learned, Names};
use super::origin::Origin;
use super::section::{AuthStyle, OnDisconnect, StreamUsage, UpstreamKind, UpstreamSection};
use crate::base::money::NanoUsd;
use crate::base::secret::Secret;

/// An endpoint that answers: where it is, what it speaks, how it is asked.
#[derive(Debug)]
pub struct Upstream {
    /// Its name in the config.
    pub name: String,
    /// What it speaks.
    pub kind: UpstreamKind,
    /// `http` or `https`.
    pub scheme: Scheme,
    /// Host and port.
    pub authority: Authority,
    /// Path prefix without a trailing slash; empty for none.
    pub prefix: String,
    /// Azure only: the version for paths that carry none.
    pub api_version: Option<String>,
    /// Whether to ask for stream usage.
    pub stream_usage: StreamUsage,
    /// How far an answer is read whose client has left.
    pub draining: Draining,
    /// Limit on connecting.
    pub connect_timeout: Duration,
    /// Limit from request sent to the answer's head.
    pub first_byte_timeout: Duration,
    /// Limit on silence inside an answer.
    pub idle_timeout: Duration,
    /// Whether trace context is sent there.
    pub propagate_trace: bool,
    /// The credential header, marked sensitive.
    pub credential: Option<(HeaderName, HeaderValue)>,
    /// Headers set on every request.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// The host alone, which the authority would look for each time.
    host: String,
    /// The convention's word for its host, if it has one.
    well_known: Option<&'static str>,
    /// Whose connections it uses.
    pub(super) origin: Arc<Origin>,
    /// Models that answered 400 to the spliced usage option.
    refuses_usage: Names,
    /// Models that have reported hidden reasoning.
    reasons: Arc<Names>,
}

/// How far an answer is read whose client has left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Draining {
    /// Not at all: the upstream is cancelled.
    Never,
    /// To its end.
    Whole,
    /// Until its visible output has cost this much.
    UpTo(NanoUsd),
}

impl Draining {
    const fn of(section: &UpstreamSection) -> Self {
        match section.on_disconnect {
            OnDisconnect::Cancel => Self::Never,
            OnDisconnect::Drain => Self::Whole,
            OnDisconnect::DrainUpTo(most) => Self::UpTo(most.0),
        }
    }

    /// Whether anything is read at all.
    #[must_use]
    pub const fn is_wanted(self) -> bool {
        !matches!(self, Self::Never)
    }
}

/// Why a section does not make an upstream.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum UpstreamFault {
    /// The base URL cannot be used.
    #[error("upstream `{name}`: base_url `{url}` must be http:// or https:// with a host and no query")]
    BaseUrl {
        /// Name of the upstream.
        name: String,
        /// The URL as written.
        url: String,
    },
    /// A header cannot be sent.
    #[error("upstream `{name}`: `{header}` is not a header that can be sent")]
    Header {
        /// Name of the upstream.
        name: String,
        /// The header's name.
        header: String,
    },
    /// The credential holds bytes that no header may have.
    #[error("upstream `{name}`: the api_key cannot be sent in a header")]
    Credential {
        /// Name of the upstream.
        name: String,
    },
}

impl Upstream {
    /// Builds an upstream from its section.
    ///
    /// # Errors
    /// When URL, headers or credential cannot be used.
    pub fn build(name: &str, section: &UpstreamSection) -> Result<Self, UpstreamFault> {
        let bad_url = || UpstreamFault::BaseUrl { name: name.into(), url: section.base_url.clone() };
        let uri: Uri = section.base_url.parse().map_err(|_| bad_url())?;
        let (Some(scheme), Some(authority)) = (uri.scheme().cloned(), uri.authority().cloned()) else {
            return Err(bad_url());
        };
        if ![Scheme::HTTP, Scheme::HTTPS].contains(&scheme) || uri.query().is_some() {
            return Err(bad_url());
        }
        let connect_timeout = section.connect_timeout.0;
        let origin = Origin::new(scheme.clone(), authority.clone(), connect_timeout).ok_or_else(bad_url)?;
        let kind = section.kind.unwrap_or_else(|| kind_of_host(authority.host()));
        Ok(Self {
            name: name.into(),
            kind,
            prefix: uri.path().trim_end_matches('/').into(),
            api_version: section.api_version.clone(),
            stream_usage: section.stream_usage,
            draining: Draining::of(section),
            connect_timeout,
            origin: Arc::new(origin),
            first_byte_timeout: section.first_byte_timeout.0,
            idle_timeout: section.idle_timeout.0,
            propagate_trace: section.propagate_trace.unwrap_or_else(|| is_private(authority.host())),
            credential: credential(name, section, kind)?,
            headers: extra_headers(name, section)?,
            host: authority.host().into(),
            well_known: well_known(authority.host()),
            refuses_usage: Names::default(),
            reasons: Arc::default(),
            scheme,
            authority,
        })
    }

    /// This upstream with what was learned of its models before, under whatever config.
    #[must_use]
    pub fn remembering(self, learned: &Learned) -> Self {
        Self { reasons: learned.reasons_of(&self.name), ..self }
    }

    /// The host that is connected to.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The port that is connected to.
    #[must_use]
    pub fn port(&self) -> u16 {
        let default = if self.scheme == Scheme::HTTPS { 443 } else { 80 };
        self.authority.port_u16().unwrap_or(default)
    }

    /// Whether this upstream has answered 400 to the usage option for `model`.
    #[must_use]
    pub fn refuses_usage(&self, model: &str) -> bool {
        self.refuses_usage.has(model)
    }

    /// Remembers that this upstream answers 400 to the usage option for `model`.
    pub fn note_usage_refused(&self, model: &str) {
        self.refuses_usage.note(model);
    }

    /// Whether `model` has reported output here that nobody sees.
    #[must_use]
    pub fn reasons(&self, model: &str) -> bool {
        self.reasons.has(model)
    }

    /// Remembers that `model` reports output here that nobody sees.
    pub fn note_reasoning(&self, model: &str) {
        if !self.reasons.has(model) {
            self.reasons.note(model);
        }
    }

    /// `gen_ai.provider.name`: the convention's word for well-known hosts, else the upstream's name.
    #[must_use]
    pub fn provider(&self) -> &str {
        self.well_known.unwrap_or(&self.name)
    }
}

/// The convention's word for a host that it knows.
fn well_known(host: &str) -> Option<&'static str> {
    let is_of = |suffix: &str| {
        let rest = host.strip_suffix(suffix);
        rest.is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
    };
    PROVIDERS.iter().find(|(suffix, _)| is_of(suffix)).map(|(_, provider)| *provider)
}

/// Host suffix to `gen_ai.provider.name` (`OpenTelemetry` `GenAI` conventions 1.41).
const PROVIDERS: &[(&str, &str)] = &[
    ("api.openai.com", "openai"),
    ("openai.azure.com", "azure.ai.openai"),
    ("services.ai.azure.com", "azure.ai.inference"),
    ("anthropic.com", "anthropic"),
    ("generativelanguage.googleapis.com", "gcp.gemini"),
    ("aiplatform.googleapis.com", "gcp.vertex_ai"),
    ("cohere.com", "cohere"),
    ("mistral.ai", "mistral_ai"),
    ("groq.com", "groq"),
    ("deepseek.com", "deepseek"),
    ("perplexity.ai", "perplexity"),
    ("x.ai", "x_ai"),
];

fn kind_of_host(host: &str) -> UpstreamKind {
    if host.ends_with("anthropic.com") {
        UpstreamKind::Anthropic
    } else if host.ends_with(".azure.com") {
        UpstreamKind::Azure
    } else {
        UpstreamKind::Openai
    }
}

/// Loopback, private ranges and single-label or cluster-internal names.
fn is_private(host: &str) -> bool {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    match bare.parse::<std::net::IpAddr>() {
        Ok(std::net::IpAddr::V4(ip)) => ip.is_loopback() || ip.is_private() || ip.is_link_local(),
        Ok(std::net::IpAddr::V6(ip)) => {
            ip.is_loopback() || ip.is_unique_local() || ip.is_unicast_link_local()
        }
        Err(_) => {
            let suffixes = [".local", ".internal", ".svc", ".cluster.local", ".localhost"];
            !bare.contains('.') || suffixes.iter().any(|suffix| bare.ends_with(suffix))
        }
    }
}

fn credential(
    name: &str,
    section: &UpstreamSection,
    kind: UpstreamKind,
) -> Result<Option<(HeaderName, HeaderValue)>, UpstreamFault> {
    let Some(key) = &section.api_key else { return Ok(None) };
    let style = section.auth.unwrap_or(match kind {
        UpstreamKind::Openai => AuthStyle::Bearer,
        UpstreamKind::Azure => AuthStyle::ApiKey,
        UpstreamKind::Anthropic => AuthStyle::XApiKey,
    });
    let (header, text) = match style {
        AuthStyle::Bearer => (header::AUTHORIZATION, Secret::new(format!("Bearer {}", key.expose()))),
        AuthStyle::XApiKey => (HeaderName::from_static("x-api-key"), key.clone()),
        AuthStyle::ApiKey => (HeaderName::from_static("api-key"), key.clone()),
    };
    let mut value =
        HeaderValue::from_str(text.expose()).map_err(|_| UpstreamFault::Credential { name: name.into() })?;
    value.set_sensitive(true);
    Ok(Some((header, value)))
}

fn extra_headers(
    name: &str,
    section: &UpstreamSection,
) -> Result<Vec<(HeaderName, HeaderValue)>, UpstreamFault> {
    let pair = |(header, value): (&String, &String)| {
        let fault = || UpstreamFault::Header { name: name.into(), header: header.clone() };
        let mut value = HeaderValue::from_str(value).map_err(|_| fault())?;
        value.set_sensitive(true);
        Ok((HeaderName::from_bytes(header.as_bytes()).map_err(|_| fault())?, value))
    };
    section.headers.iter().map(pair).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn section(json: &str) -> UpstreamSection {
        serde_json::from_str(json).unwrap()
    }

    #[test]
    fn the_kind_decides_how_a_credential_is_presented() {
        for (url, header, value) in [
            ("https://api.openai.com/v1", "authorization", "Bearer k"),
            ("https://api.anthropic.com", "x-api-key", "k"),
            ("https://res.openai.azure.com", "api-key", "k"),
        ] {
            let built = Upstream::build("u", &section(&format!(r#"{{"base_url":"{url}","api_key":"k"}}"#)));
            let (name, sent) = built.unwrap().credential.unwrap();
            assert_eq!((name.as_str(), sent.to_str().unwrap()), (header, value));
            assert!(sent.is_sensitive());
        }
    }

    #[test]
    fn an_unusable_base_url_is_refused() {
        for url in ["ftp://x/v1", "/v1", "https://x/v1?a=b", ""] {
            let built = Upstream::build("u", &section(&format!(r#"{{"base_url":"{url}"}}"#)));
            assert!(matches!(built, Err(UpstreamFault::BaseUrl { .. })), "{url}");
        }
    }

    #[test]
    fn a_host_that_the_convention_knows_names_its_provider_and_any_other_its_upstream() {
        for (host, provider) in [
            ("api.openai.com", "openai"),
            ("res.openai.azure.com", "azure.ai.openai"),
            ("notanthropic.com", "u"),
            ("anthropic.com.example", "u"),
            ("127.0.0.1:9", "u"),
        ] {
            let built = Upstream::build("u", &section(&format!(r#"{{"base_url":"http://{host}/v1"}}"#)));
            assert_eq!(built.unwrap().provider(), provider, "{host}");
        }
    }

    #[test]
    fn trace_context_stays_inside_unless_told() {
        for (host, private) in
            [("127.0.0.1", true), ("vllm", true), ("10.1.2.3", true), ("api.openai.com", false)]
        {
            assert_eq!(is_private(host), private, "{host}");
        }
    }
}
