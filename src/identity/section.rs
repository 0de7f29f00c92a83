//! The keys of the `teams:` section of the config: values and defaults only.

use schemars::JsonSchema;
use serde::Deserialize;

use crate::base::secret::Secret;

/// What a key and a team have in common: who may use what, until when.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Access {
    /// Model names or patterns allowed; `None` allows all.
    pub models: Option<Vec<String>>,
    /// The last instant of validity, RFC 3339 (`2027-01-31T00:00:00Z`) or a date (valid through its end, UTC).
    pub expires: Option<String>,
}

/// How a key is told to the gateway: exactly one of the two.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, JsonSchema)]
pub struct KeyProof {
    /// Keyed hash as printed by `tollgate keys new`: `hmac-sha256:` and 64 hex digits.
    #[serde(default)]
    pub hash: Option<String>,
    /// A reference to the key itself: `${ENV}` or `file:PATH`.
    #[serde(default)]
    pub key: Option<Secret>,
}
