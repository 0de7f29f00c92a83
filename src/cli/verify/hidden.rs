//! Takes secrets out of answers before anything looks at them: an upstream may repeat what it was sent.

use http::{HeaderMap, HeaderValue};

use crate::base::secret::Secret;
use crate::upstream::endpoint::Upstream;

/// What must not be shown.
#[derive(Debug, Default)]
pub(super) struct Hidden {
    secrets: Vec<Secret>,
}

impl Hidden {
    /// The credential and the headers of an upstream.
    pub(super) fn of(upstream: &Upstream) -> Self {
        let mut hidden = Self::default();
        let headers = upstream.headers.iter().filter(|(_, value)| value.len() >= LONG_ENOUGH);
        for (_, value) in headers.chain(&upstream.credential) {
            let text = value.to_str().unwrap_or_default();
            hidden.add(text.strip_prefix("Bearer ").unwrap_or(text));
        }
        hidden
    }

    /// One more.
    pub(super) fn add(&mut self, secret: &str) {
        if !secret.is_empty() {
            self.secrets.push(Secret::new(secret.into()));
            self.secrets.push(Secret::new(secret.replace('/', "\\/")));
        }
    }

    /// The text without them.
    pub(super) fn out_of(&self, text: &str) -> String {
        self.secrets.iter().fold(text.to_owned(), |text, secret| text.replace(secret.expose(), MASK))
    }

    /// The headers without them.
    pub(super) fn out_of_headers(&self, mut headers: HeaderMap) -> HeaderMap {
        for value in headers.values_mut() {
            let text = String::from_utf8_lossy(value.as_bytes());
            let clean = self.out_of(&text);
            if clean != text {
                *value = HeaderValue::from_str(&clean).unwrap_or_else(|_| HeaderValue::from_static(MASK));
            }
        }
        headers
    }
}

const MASK: &str = "(secret)";
/// Shorter values of extra headers are no secrets: `true`, `v2`.
const LONG_ENOUGH: usize = 8;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_repeated_credential_is_not_seen() {
        let section =
            r#"{"base_url":"http://h","api_key":"sk-a/b","headers":{"x-org":"org-12345","x-v":"v2"}}"#;
        let upstream = Upstream::build("u", &serde_json::from_str(section).unwrap()).unwrap();
        let hidden = Hidden::of(&upstream);
        assert_eq!(hidden.out_of(r#"sk-a/b sk-a\/b org-12345 v2"#), "(secret) (secret) (secret) v2");
        let mut headers = HeaderMap::new();
        headers.insert("echo", HeaderValue::from_static("Bearer sk-a/b"));
        assert_eq!(hidden.out_of_headers(headers)["echo"], "Bearer (secret)");
    }
}
