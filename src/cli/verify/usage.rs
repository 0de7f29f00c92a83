//! What an answer says it used, against what the gateway counted. Reads usage by itself: the gateway's own
//! reader is what is judged here. Pure.

use std::fmt;

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

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { input, cached, cache_write, output, reasoning } = self;
        write!(f, "{input} in ({cached} cached, {cache_write} written), {output} out ({reasoning} reasoning)")
    }
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
    let pieces: Vec<&str> = if answer.is_stream() {
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
        return Finding::differs(format!("counted {counted}, the answer reports {told}"));
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

#[cfg(test)]
mod tests {
    use http::{HeaderMap, HeaderValue, header};

    use super::*;

    fn answer(content_type: &'static str, body: &str) -> Answer {
        let mut headers = HeaderMap::new();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
        Answer { status: 200, headers, body: body.into(), is_whole: true, asked_at: 0 }
    }

    fn row(input: u64, output: u64, source: UsageSource) -> Record {
        let usage = Usage { input_tokens: input, output_tokens: output, ..Usage::default() };
        Record { usage, usage_source: source, ..Record::default() }
    }

    #[test]
    fn usage_is_read_in_every_dialect() {
        let chat = r#"{"usage":{"prompt_tokens":9,"completion_tokens":3,
            "prompt_tokens_details":{"cached_tokens":4},"completion_tokens_details":{"reasoning_tokens":2}}}"#;
        let expected = Counts { input: 9, cached: 4, cache_write: 0, output: 3, reasoning: 2 };
        assert_eq!(reported(&answer("application/json", chat)), Some(expected));
        let messages = "event: message_start\ndata: {\"message\":{\"usage\":{\"input_tokens\":5,\
            \"cache_read_input_tokens\":2,\"cache_creation_input_tokens\":1,\"output_tokens\":1}}}\n\n\
            event: message_delta\ndata: {\"usage\":{\"output_tokens\":7}}\n\n";
        let expected = Counts { input: 8, cached: 2, cache_write: 1, output: 7, reasoning: 0 };
        assert_eq!(reported(&answer("text/event-stream", messages)), Some(expected));
        let unasked = "data: {\"choices\":[],\"usage\":null}\n\ndata: [DONE]\n\n";
        assert_eq!(reported(&answer("text/event-stream", unasked)), None);
    }

    #[test]
    fn a_count_that_is_not_the_reported_one_is_a_difference() {
        let told = answer("application/json", r#"{"usage":{"prompt_tokens":9,"completion_tokens":3}}"#);
        let judged = |output| {
            let row = row(9, output, UsageSource::Reported);
            against_row(Case::Chat, &told, Some(&row), None)
        };
        assert_eq!(judged(3), Finding::same("9+3".into()));
        assert!(judged(4).difference.is_some());
        assert!(against_row(Case::Chat, &told, None, None).difference.is_some(), "no record");
    }

    #[test]
    fn what_the_client_is_not_told_is_held_against_the_same_words_asked_before() {
        let untold = answer("text/event-stream", "data: [DONE]\n\n");
        let judged = |input| {
            let row = row(input, 3, UsageSource::Reported);
            against_row(Case::ChatStream, &untold, Some(&row), Some(9)).difference
        };
        assert_eq!((judged(9).is_none(), judged(8).is_some()), (true, true));
    }

    #[test]
    fn an_error_that_was_charged_is_a_difference() {
        let error = Answer { status: 404, ..answer("application/json", "{}") };
        let judged = |row: &Record| against_row(Case::UnknownModel, &error, Some(row), None).difference;
        assert!(judged(&row(9, 0, UsageSource::Estimated)).is_some());
        assert!(judged(&Record::default()).is_none());
    }

    #[test]
    fn a_cost_is_fair_if_it_is_that_of_the_reported_usage() {
        let mut told = answer("application/json", r#"{"usage":{"prompt_tokens":9,"completion_tokens":3}}"#);
        told.headers.insert("x-tollgate-cost-usd", HeaderValue::from_static("0.000003"));
        assert_eq!(against_cost(&told, &[NanoUsd::new(3_000)]), Finding::same("9+3".into()));
        assert!(against_cost(&told, &[NanoUsd::new(3_001)]).difference.is_some());
        assert!(!against_cost(&told, &[]).is_compared);
    }
}
