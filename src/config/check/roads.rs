//! Checks of upstreams, routes and prices.

use std::collections::HashMap;
use std::fs;
use std::path::Path;

use http::{HeaderName, HeaderValue, Uri};

use super::{Checker, known};
use crate::config::report::KeyPath;
use crate::config::settings::Settings;
use crate::pricing::catalogue::Catalogue;
use crate::routing::section::{Pick, RouteSection};
use crate::upstream::section::UpstreamSection;

pub(super) fn check(settings: &Settings, checker: &mut Checker<'_>) {
    let upstreams = KeyPath::top("upstreams");
    if settings.upstreams.is_empty() {
        checker.error(
            &upstreams,
            "there is no upstream",
            "e.g. `openai: { base_url: \"https://api.openai.com/v1\" }`",
        );
    }
    for (name, section) in &settings.upstreams {
        let path = upstreams.key(name);
        checker.name(&path, name);
        upstream(&path, section, checker);
    }
    let names: Vec<&str> = settings.upstreams.keys().map(String::as_str).collect();
    for (index, section) in settings.routes.iter().enumerate() {
        route(&KeyPath::top("routes").item(index), section, &names, checker);
    }
    let mut priced = HashMap::new();
    for (model, price) in &settings.prices {
        let path = KeyPath::top("prices").key(model);
        if let Some(first) = priced.insert(model.to_ascii_lowercase(), model) {
            let message = format!("`{first}` is the same model: case does not matter");
            checker.error(&path, message, "keep one of the two");
        }
        if model.trim().is_empty() {
            checker.error(&path, "a price needs the name of a model", "");
        }
        checker.not_zero(&path.key("max_output_tokens"), price.max_output_tokens == Some(0));
    }
    if let Some(file) = &settings.price_catalogue {
        catalogue(file, checker);
    }
}

/// The prices that this config goes by; `None` if its catalogue cannot be read.
pub(super) fn catalogue_of(settings: &Settings) -> Option<Catalogue> {
    let Some(file) = &settings.price_catalogue else {
        return Some(Catalogue::shipped().with_overrides(&settings.prices));
    };
    let parsed = Catalogue::parse(&fs::read_to_string(file).ok()?).ok()?;
    Some(parsed.with_overrides(&settings.prices))
}

fn catalogue(file: &Path, checker: &mut Checker<'_>) {
    let path = KeyPath::top("price_catalogue");
    let parsed = match fs::read_to_string(file) {
        Ok(text) => Catalogue::parse(&text),
        Err(reason) => {
            let message = format!("{} cannot be read: {reason}", file.display());
            return checker.error(&path, message, "the path starts from the folder of the config file");
        }
    };
    if let Err(reason) = parsed {
        let message = format!("{} is not a price catalogue: {reason}", file.display());
        checker.error(&path, message, "`tollgate prices import` makes one");
    }
}

fn upstream(path: &KeyPath<'_>, section: &UpstreamSection, checker: &mut Checker<'_>) {
    if let Err(message) = endpoint(&section.base_url) {
        checker.error(&path.key("base_url"), message, "e.g. `https://api.openai.com/v1`");
    }
    headers(&path.key("headers"), &section.headers, checker);
    for (key, limit) in [
        ("connect_timeout", section.connect_timeout),
        ("first_byte_timeout", section.first_byte_timeout),
        ("idle_timeout", section.idle_timeout),
    ] {
        checker.not_zero(&path.key(key), limit.0.is_zero());
    }
}

/// Whether `text` is a URL that requests can be sent below. The message does not repeat it: it may hold a password.
pub(super) fn endpoint(text: &str) -> Result<(), &'static str> {
    let uri: Uri = text.parse().map_err(|_| "not a URL")?;
    if !matches!(uri.scheme_str(), Some("http" | "https")) {
        return Err("the URL must begin with `https://` or `http://`");
    }
    let authority = uri.authority().map_or("", |authority| authority.as_str());
    if authority.contains('@') {
        return Err("a URL holds no user or password: use `api_key` or `headers`");
    }
    if uri.host().is_none_or(str::is_empty) {
        return Err("the URL has no host");
    }
    let port = authority.rsplit_once(':').map(|(_, port)| port).filter(|port| !port.ends_with(']'));
    if port.is_some_and(|port| port.parse::<u16>().map_or(true, |port| port == 0)) {
        return Err("the URL's port is not one of 1 to 65535");
    }
    if text.contains(['?', '#']) {
        return Err("a base URL has no `?query` or `#fragment`");
    }
    Ok(())
}

/// Whether names and values can be sent; a credential written out is warned of.
pub(super) fn headers(
    path: &KeyPath<'_>,
    headers: &indexmap::IndexMap<String, String>,
    checker: &mut Checker<'_>,
) {
    for (name, value) in headers {
        let path = path.key(name);
        if HeaderName::from_bytes(name.as_bytes()).is_err() {
            checker.error(&path, "not a header name", "letters, digits and `-`");
        }
        if HeaderValue::from_str(value).is_err() {
            checker.error(
                &path,
                "this value cannot be sent in a header",
                "no line breaks or control characters",
            );
        }
        let refers = checker.root.text_at(&path).is_some_and(|text| text.contains("${"));
        if !refers && CREDENTIALS.iter().any(|holder| name.eq_ignore_ascii_case(holder)) {
            let message = "a credential is written into the config";
            checker.warning(&path, message, "refer to it: `Bearer ${NAME}`");
        }
        if HOP_BY_HOP.iter().any(|reserved| name.eq_ignore_ascii_case(reserved)) {
            checker.error(&path, "Tollgate sets this header itself", "remove it");
        }
    }
}

fn route(path: &KeyPath<'_>, section: &RouteSection, upstreams: &[&str], checker: &mut Checker<'_>) {
    checker.patterns(&path.key("models"), &section.models);
    if section.to.is_empty() {
        checker.error(&path.key("to"), "the route leads nowhere", "e.g. `to: [{ upstream: openai }]`");
    }
    for (index, target) in section.to.iter().enumerate() {
        let path = path.key("to").item(index);
        if !upstreams.contains(&target.upstream.as_str()) {
            let message = "there is no upstream of this name";
            checker.error(&path.key("upstream"), message, &known(&target.upstream, upstreams));
        }
        if target.model.as_deref().is_some_and(|model| model.trim().is_empty()) {
            checker.error(&path.key("model"), "an empty model name", "remove the key to send the caller's");
        }
    }
    let weightless = !section.to.is_empty() && section.to.iter().all(|target| target.weight == 0);
    if section.pick == Pick::Weighted && weightless {
        checker.error(&path.key("to"), "all weights are 0", "give at least one target a weight");
    }
}

/// Headers that hold credentials.
const CREDENTIALS: [&str; 5] = ["authorization", "proxy-authorization", "x-api-key", "api-key", "cookie"];

/// Set by the HTTP client, or meaningful to one connection only (RFC 9110, 7.6.1).
const HOP_BY_HOP: [&str; 9] = [
    "connection",
    "content-length",
    "host",
    "keep-alive",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_base_url_is_one_that_paths_can_be_added_to() {
        for good in
            ["https://api.openai.com/v1", "http://[::1]:8000", "http://localhost:8080/a/b/", "https://h"]
        {
            assert_eq!(endpoint(good), Ok(()), "{good}");
        }
        for bad in [
            "",
            "api.openai.com/v1",
            "ftp://h/",
            "https://",
            "https:///v1",
            "https://u:p@h/v1",
            "https://h/v1?x=1",
            "https://h/v1#x",
            "https://h:0/",
            "https://h:99999/",
            "https://a b/",
        ] {
            assert!(endpoint(bad).is_err(), "{bad}");
        }
    }
}
