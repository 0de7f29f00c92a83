//! An answer ready to send, and the ways its usage can be spelt.

use serde_json::{Value, json};

use crate::base::usage::Usage;

use super::ask::Ask;
use super::fault::error_event;
use super::knobs::UsageSpelling;
use super::wire::{Event, Frame, frames};

/// A 200 answer, before pauses and cuts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Answer {
    pub(super) content_type: &'static str,
    pub(super) frames: Vec<Frame>,
    pub(super) stream: bool,
    pub(super) usage: Usage,
    /// Whether the answer is meant to mention `usage`, spelt right.
    pub(super) usage_reported: bool,
}

impl Answer {
    /// A JSON body whose visible output is `tokens` long.
    pub(super) fn json(body: &Value, usage: Usage, tokens: u64) -> Self {
        let frame = Frame { bytes: body.to_string().into(), tokens };
        Self {
            content_type: "application/json",
            frames: vec![frame],
            stream: false,
            usage,
            usage_reported: usage != Usage::default(),
        }
    }

    /// A stream of events.
    pub(super) fn stream(ask: &Ask, events: Vec<Event>, usage: Usage, usage_reported: bool) -> Self {
        let error = error_event(ask.operation, events.len());
        Self {
            content_type: "text/event-stream; charset=utf-8",
            frames: frames(events, error, &ask.knobs),
            stream: true,
            usage,
            usage_reported: usage_reported && ask.knobs.error_frame.is_none(),
        }
    }
}

impl UsageSpelling {
    /// Whether a reader finds the right numbers where usage is mentioned.
    pub(super) const fn is_right(self) -> bool {
        matches!(self, Self::Faithful | Self::EveryChunk | Self::FinishChunk | Self::WrongTotal | Self::Twice)
    }

    /// `usage` as it is to be written; `None` when the member stays out. `output` names its output count.
    pub(super) fn spell(self, mut usage: Value, output: &str) -> Option<Value> {
        match self {
            Self::Faithful | Self::EveryChunk | Self::FinishChunk | Self::Twice => Some(usage),
            Self::Absent => None,
            Self::Null => Some(Value::Null),
            Self::Negative => {
                usage[output] = json!(-5);
                Some(usage)
            }
            Self::Huge => {
                usage[output] = json!(u64::MAX);
                Some(usage)
            }
            Self::Exponent => {
                usage[output] = json!(1e308);
                Some(usage)
            }
            Self::Missing => {
                if let Some(members) = usage.as_object_mut() {
                    members.shift_remove(output);
                }
                Some(usage)
            }
            Self::WrongTotal => {
                if let Some(total) = usage.get_mut("total_tokens") {
                    *total = json!(1);
                }
                Some(usage)
            }
            Self::Text => Some(every_number(usage, &|number| Value::String(number.to_string()))),
            Self::Float => Some(every_number(usage, &|number| json!(number as f64))),
        }
    }
}

fn every_number(value: Value, change: &dyn Fn(u64) -> Value) -> Value {
    match value {
        Value::Number(number) => change(number.as_u64().unwrap_or(0)),
        Value::Object(members) => Value::Object(
            members.into_iter().map(|(name, part)| (name, every_number(part, change))).collect(),
        ),
        other => other,
    }
}

/// Puts a usage member at the end of a body, if there is one.
pub(super) fn with_usage(mut body: Value, usage: Option<Value>) -> Value {
    if let Some(usage) = usage {
        body["usage"] = usage;
    }
    body
}
