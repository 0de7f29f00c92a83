//! What an answer says it used, against what the gateway counted. Reads usage by itself: the gateway's own
//! reader is what is judged here. Pure.

use serde_json::Value;

use super::case::Case;
use super::compare::{Difference, Part};
use super::way::Answer;
use crate::base::money::NanoUsd;
use crate::base::usage::{Usage, UsageSource};
use crate::store::record::Record;

/// Counts as an upstream reports them, whatever it calls them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Counts {
    /// All input, cached or not.
    pub(super) input: u64,
    pub(super) cached: u64,
    pub(super) cache_write: u64,
    pub(super) output: u64,
    pub(super) reasoning: u64,
}

/// What was found about the usage of one case.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Finding {
    /// For the table: `14+16`.
    pub(super) text: String,
    pub(super) is_compared: bool,
    pub(super) difference: Option<Difference>,
}

impl Finding {
    fn same(text: String) -> Self {
        Self { text, is_compared: true, difference: None }
    }

    /// Nothing to compare with.
    pub(super) fn unseen(text: impl Into<String>) -> Self {
        Self { text: text.into(), is_compared: false, difference: None }
    }

    fn differs(text: impl Into<String>) -> Self {
        let difference = Difference::new(Part::Usage, "usage", text);
        Self { text: "differs".into(), is_compared: true, difference: Some(difference) }
    }
}

/// The usage that an answer reports; `None` if it does not.
pub(super) fn reported(answer: &Answer) -> Option<Counts> {
    if answer.status >= 400 {
        return None;
    }
    let is_stream = answer.header("content-type").starts_with("text/event-stream");
    let pieces: Vec<&str> = if is_stream {
        answer.body.lines().filter_map(|line| line.strip_prefix("data:")).collect()
    } else {
        vec![&answer.body]
    };
    let mut members = serde_json::Map::new();
    for piece in pieces {
        let Ok(value) = serde_json::from_str::<Value>(piece) else { continue };
        for usage in [&value["usage"], &value["response"]["usage"], &value["message"]["usage"]] {
            // later events correct earlier ones
            members.extend(
                usage.as_object().into_iter().flatten().map(|(name, count)| (name.clone(), count.clone())),
            );
        }
    }
    (!members.is_empty()).then(|| counts(&Value::Object(members)))
}

fn counts(usage: &Value) -> Counts {
    let first = |names: [&str; 2]| names.iter().find_map(|name| usage[*name].as_u64()).unwrap_or(0);
    let detail =
        |names: [&str; 2], part: &str| names.iter().find_map(|name| usage[*name][part].as_u64()).unwrap_or(0);
    let inside = ["prompt_tokens_details", "input_tokens_details"];
    // beside the input, not within it
    let (written, read) = (
        usage["cache_creation_input_tokens"].as_u64().unwrap_or(0),
        usage["cache_read_input_tokens"].as_u64().unwrap_or(0),
    );
    Counts {
        input: first(["prompt_tokens", "input_tokens"]) + written + read,
        cached: detail(inside, "cached_tokens") + read,
        cache_write: detail(inside, "cache_write_tokens") + written,
        output: first(["completion_tokens", "output_tokens"]),
        reasoning: detail(["completion_tokens_details", "output_tokens_details"], "reasoning_tokens"),
    }
}

impl Counts {
    /// As the ledger keeps them.
    pub(super) fn as_usage(self) -> Usage {
        Usage {
            input_tokens: self.input,
            cached_input_tokens: self.cached,
            cache_write_tokens: self.cache_write,
            output_tokens: self.output,
            reasoning_tokens: self.reasoning,
            ..Usage::default()
        }
    }

    fn of_row(row: &Record) -> Self {
        Self {
            input: row.usage.input_tokens,
            cached: row.usage.cached_input_tokens,
            cache_write: row.usage.cache_write_tokens + row.usage.cache_write_long_tokens,
            output: row.usage.output_tokens,
            reasoning: row.usage.reasoning_tokens,
        }
    }
}

/// Compares with the row in the gateway's books. `asked_the_same` is the input that was reported for another
/// request with the same words.
pub(super) fn against_row(
    case: Case,
    answer: &Answer,
    row: Option<&Record>,
    asked_the_same: Option<u64>,
) -> Finding {
    let Some(row) = row else { return Finding::differs("the gateway has no record of this request") };
    let counted = Counts::of_row(row);
    let shown = format!("{}+{}", counted.input, counted.output);
    let Some(told) = reported(answer) else {
        return match row.usage_source {
            UsageSource::None if counted == Counts::default() => Finding::same("none".into()),
            _ if answer.status >= 400 || case.most_output().is_none() && answer.status != 200 => {
                Finding::differs(format!("counted {shown} for an answer that costs nothing"))
            }
            UsageSource::Estimated => Finding::unseen(format!("{shown} estimated")),
            _ if asked_the_same.is_some_and(|input| input != counted.input) => {
                let input = asked_the_same.unwrap_or_default();
                Finding::differs(format!(
                    "counted {} of input; the same words were {input} before",
                    counted.input
                ))
            }
            _ => Finding::same(format!("{shown} not shown")),
        };
    };
    if told != counted {
        return Finding::differs(format!("counted {counted:?}, the answer reports {told:?}"));
    }
    Finding::same(shown)
}

/// Compares with the cost that another gateway tells on its answer. `fair` are the costs at the prices that the
/// answer may go by.
pub(super) fn against_cost(answer: &Answer, fair: &[NanoUsd]) -> Finding {
    let told = answer.header("x-tollgate-cost-usd");
    let Ok(told) = NanoUsd::parse_usd(told) else { return Finding::unseen("not told") };
    let Some(counts) = reported(answer) else {
        return if told == NanoUsd::ZERO {
            Finding::same("none".into())
        } else {
            Finding::unseen("not told")
        };
    };
    let shown = format!("{}+{}", counts.input, counts.output);
    if fair.is_empty() {
        return Finding::unseen(format!("{shown} no price"));
    }
    if fair.contains(&told) {
        return Finding::same(shown);
    }
    let fair: Vec<String> = fair.iter().map(|cost| cost.to_usd_string()).collect();
    let told = told.to_usd_string();
    Finding::differs(format!("it says {told} USD; what the answer reports costs {} USD", fair.join(" or ")))
}
