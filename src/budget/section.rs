//! A `budgets:` entry of the config: values and defaults only.

use std::collections::BTreeMap;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::base::units::{Percent, Span, Usd, Written};

/// A limit on spending over a window.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct BudgetSection {
    /// The limit in USD. Exactly one of `limit_usd`, `limit_tokens` and `limit_requests`; `per: run` alone means 0.50.
    pub limit_usd: Option<Usd>,
    /// The limit in tokens, input and output together.
    pub limit_tokens: Option<u64>,
    /// The limit in requests.
    pub limit_requests: Option<u64>,
    /// The window after which it starts again. Exactly one of `every` and `rolling`; `per: run` alone means `total`.
    pub every: Option<Every>,
    /// The span before now that counts, such as `24h` or `30d`, instead of a window: what was spent ages out of it.
    pub rolling: Option<Span>,
    /// The day on which `every: week` begins. Default: `monday`.
    pub first_day: Option<WeekDay>,
    /// The day on which `every: month` begins, 1 to 31; the last one in months that are shorter. Default: 1.
    pub reset_day: Option<u32>,
    /// IANA time zone in which windows begin at midnight.
    pub time_zone: String,
    /// One account, with the whole limit, for each `user`, `model`, `run` or value of `tag:NAME`. Default: one for all.
    pub per: Option<Per>,
    /// Count only requests for these models: names or patterns. Default: all.
    pub models: Option<Vec<String>>,
    /// Count only requests that carry all of these tags.
    pub tags: BTreeMap<String, String>,
    /// Shares of the limit at which to warn, in header, log and metrics.
    pub warn_at: Vec<Percent>,
    /// What happens when it is spent.
    pub when_spent: WhenSpent,
    /// Only count, and report what would have been refused.
    pub shadow: bool,
    /// What happens to a request whose model has no known price.
    pub unpriced: Unpriced,
}

impl Default for BudgetSection {
    fn default() -> Self {
        Self {
            limit_usd: None,
            limit_tokens: None,
            limit_requests: None,
            every: None,
            rolling: None,
            first_day: None,
            reset_day: None,
            time_zone: "UTC".into(),
            per: None,
            models: None,
            tags: BTreeMap::new(),
            // 75 % leaves time to react, 90 % is the last call
            warn_at: vec![Percent(75), Percent(90)],
            when_spent: WhenSpent::default(),
            shadow: false,
            unpriced: Unpriced::default(),
        }
    }
}

/// A budget's window.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Every {
    /// Full hours of UTC.
    Hour,
    /// From midnight to midnight.
    Day,
    /// From `first_day` to `first_day`.
    Week,
    /// From `reset_day` to `reset_day`.
    Month,
    /// Never starts again.
    Total,
}

/// A day of the week.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum WeekDay {
    /// Monday.
    #[default]
    Monday,
    /// Tuesday.
    Tuesday,
    /// Wednesday.
    Wednesday,
    /// Thursday.
    Thursday,
    /// Friday.
    Friday,
    /// Saturday.
    Saturday,
    /// Sunday.
    Sunday,
}

/// What has an account of its own in a budget. Names of users, runs and tags are names within a team,
/// whoever holds the budget.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Per {
    /// The user that the request names; those that name none share one account.
    User,
    /// The model that the caller asks for.
    Model,
    /// The run that the request names; those that name none are not held.
    Run,
    /// The value of this tag; requests without it share one account.
    Tag(String),
}

/// What a spent budget does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum WhenSpent {
    /// Refuse with 402 before any upstream is asked.
    #[default]
    Refuse,
    /// As `refuse`; streams hold their input and a slice of output at a time, and are cut when the next does not fit.
    Cut,
    /// As `refuse`, but near the limit the output cap is lowered so that the request fits.
    Clamp,
    /// Let it pass, and warn.
    Warn,
}

impl WhenSpent {
    /// The word in the config.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Refuse => "refuse",
            Self::Cut => "cut",
            Self::Clamp => "clamp",
            Self::Warn => "warn",
        }
    }
}

/// What a USD budget does with a model of unknown price.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Unpriced {
    /// Refuse with 403 `model_unpriced`: an unknown price cannot be held to a limit.
    #[default]
    Refuse,
    /// Let it pass uncounted; the ledger row says `cost: null`.
    Allow,
    /// Take the price of this model.
    PriceAs(String),
}

impl Written for Per {
    const FORMAT: &'static str = "tollgate-per";
    const EXAMPLE: &'static str = "user, model, run, tag:feature";
    fn read(text: &str) -> Result<Self, String> {
        match text.trim() {
            "user" => Ok(Self::User),
            "model" => Ok(Self::Model),
            "run" => Ok(Self::Run),
            text => match text.strip_prefix("tag:").map(str::trim) {
                Some(name) if !name.is_empty() => Ok(Self::Tag(name.into())),
                _ => Err(format!("`{text}` is not one of {}", Self::EXAMPLE)),
            },
        }
    }
}

impl std::fmt::Display for Per {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::User => f.write_str("user"),
            Self::Model => f.write_str("model"),
            Self::Run => f.write_str("run"),
            Self::Tag(name) => write!(f, "tag:{name}"),
        }
    }
}

impl<'de> Deserialize<'de> for Per {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        Self::read(&String::deserialize(from)?).map_err(de::Error::custom)
    }
}

impl Serialize for Per {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

impl JsonSchema for Per {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Per".into()
    }
    fn inline_schema() -> bool {
        true
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "format": Self::FORMAT })
    }
}
