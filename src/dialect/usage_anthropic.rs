//! Usage as Anthropic writes it: input without cache, output cumulative, several models in one answer.

use serde::Deserialize;
use serde_json::value::RawValue;

use super::facts::Facts;
use super::fields::{Count, Text};
use super::usage_openai::parts_within_totals;
use crate::base::usage::Usage;

/// The counts of one answer so far. Each field is replaced when it is reported again.
#[derive(Debug, Default)]
pub(super) struct Running {
    counts: Counts,
}

impl Running {
    /// Takes a usage object in; `opening` when it came before the output.
    pub(super) fn take(&mut self, raw: &RawValue, opening: bool, facts: &mut Facts) {
        // An array would be read as the fields in their order.
        let object = Some(raw.get()).filter(|json| json.starts_with('{'));
        let Some(wire) = object.and_then(|json| serde_json::from_str::<Wire<'_>>(json).ok()) else {
            facts.reading.usage_invalid = true;
            return;
        };
        facts.service_tier(&wire.service_tier);
        facts.speed(&wire.speed);
        let counts = wire.counts();
        facts.reading.usage_invalid |= counts.all().iter().any(|count| count.is_invalid());
        let known = facts.reading.usage.is_some();
        let opening = match counts.output.get() {
            Some(_) => opening,
            None => !known || facts.reading.usage_is_opening,
        };
        self.counts = counts.over(&self.counts);
        let stated = self.counts.usage();
        let usage = stated.map(parts_within_totals);
        facts.reading.usage_invalid |= usage != stated;
        facts.usage(usage, opening);
        if let Some(iterations) = wire.iterations {
            facts.extra(extra(&iterations));
        }
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Wire<'a> {
    #[serde(rename = "type", borrow)]
    kind: Text<'a>,
    #[serde(borrow)]
    model: Text<'a>,
    input_tokens: Count,
    cache_creation_input_tokens: Count,
    cache_read_input_tokens: Count,
    cache_creation: Option<Creation>,
    output_tokens: Count,
    output_tokens_details: Option<OutputDetails>,
    server_tool_use: Option<ServerTools>,
    #[serde(borrow)]
    service_tier: Text<'a>,
    #[serde(borrow)]
    speed: Text<'a>,
    #[serde(borrow)]
    iterations: Option<Vec<Wire<'a>>>,
}

#[derive(Debug, Default, Clone, Copy, Deserialize)]
#[serde(default)]
struct Creation {
    ephemeral_5m_input_tokens: Count,
    ephemeral_1h_input_tokens: Count,
}

#[derive(Debug, Default, Clone, Copy, Deserialize)]
#[serde(default)]
struct OutputDetails {
    thinking_tokens: Count,
}

#[derive(Debug, Default, Clone, Copy, Deserialize)]
#[serde(default)]
struct ServerTools {
    web_search_requests: Count,
}

impl Wire<'_> {
    fn counts(&self) -> Counts {
        let creation = self.cache_creation.unwrap_or_default();
        Counts {
            input: self.input_tokens,
            read: self.cache_read_input_tokens,
            written: self.cache_creation_input_tokens,
            written_5m: creation.ephemeral_5m_input_tokens,
            written_1h: creation.ephemeral_1h_input_tokens,
            output: self.output_tokens,
            thinking: self.output_tokens_details.unwrap_or_default().thinking_tokens,
            searches: self.server_tool_use.unwrap_or_default().web_search_requests,
        }
    }
}

#[derive(Debug, Default, Clone, Copy)]
struct Counts {
    input: Count,
    read: Count,
    written: Count,
    written_5m: Count,
    written_1h: Count,
    output: Count,
    thinking: Count,
    searches: Count,
}

impl Counts {
    const fn all(&self) -> [Count; 8] {
        [
            self.input,
            self.read,
            self.written,
            self.written_5m,
            self.written_1h,
            self.output,
            self.thinking,
            self.searches,
        ]
    }

    /// These counts where they are usable, the earlier ones where they are not.
    fn over(self, earlier: &Self) -> Self {
        let newer = |new: Count, old: Count| if new.get().is_some() { new } else { old };
        Self {
            input: newer(self.input, earlier.input),
            read: newer(self.read, earlier.read),
            written: newer(self.written, earlier.written),
            written_5m: newer(self.written_5m, earlier.written_5m),
            written_1h: newer(self.written_1h, earlier.written_1h),
            output: newer(self.output, earlier.output),
            thinking: newer(self.thinking, earlier.thinking),
            searches: newer(self.searches, earlier.searches),
        }
    }

    /// Input with its cache parts, as [`Usage`] wants it; none while neither input nor output is known.
    fn usage(&self) -> Option<Usage> {
        self.input.get().or(self.output.get())?;
        let long = self.written_1h.part();
        let written = self.written.get().unwrap_or_else(|| long + self.written_5m.part());
        let long = long.min(written);
        Some(Usage {
            input_tokens: self.input.part() + self.read.part() + written,
            cached_input_tokens: self.read.part(),
            cache_write_tokens: written - long,
            cache_write_long_tokens: long,
            output_tokens: self.output.part(),
            reasoning_tokens: self.thinking.part(),
            web_searches: self.searches.part(),
            ..Usage::default()
        })
    }
}

/// What the top-level counts leave out: compactions (by the answer's own model) and the turns of other
/// models. The `message` turns are in them already.
fn extra(iterations: &[Wire<'_>]) -> Vec<(String, Usage)> {
    let others = iterations.iter().filter(|turn| &*turn.kind.0 != "message");
    others
        .filter_map(|turn| {
            Some((turn.model.0.clone().into_owned(), parts_within_totals(turn.counts().usage()?)))
        })
        .collect()
}
