//! Reads batches: the object that says how one stands, and the lines of what it came to.

use serde::Deserialize;
use serde_json::value::RawValue;

use super::facts::{Facts, Reading, Work};
use super::fields::{Count, Loose, Text};
use super::jsonl::Line;
use super::{read_chat, read_messages, read_responses, usage_openai};
use crate::base::usage::Usage;

/// Reads how a batch stands; `false` if it is not JSON of this shape.
pub(super) fn body(json: &str, facts: &mut Facts) -> bool {
    let Ok(batch) = serde_json::from_str::<Batch<'_>>(json) else { return false };
    facts.response_id(&batch.id);
    facts.model(&batch.model);
    facts.output_file(&batch.output_file_id);
    facts.reading.work = batch.work();
    facts.reading.answers = batch.request_counts.0.unwrap_or_default().completed.part();
    if let Some(error) = batch.error {
        facts.error(error);
    }
    // before its end a batch may say how far it is, or nothing but zeros
    if let Some(usage) = batch.usage.filter(|_| facts.reading.work != Work::Pending) {
        facts.counted(usage_openai::read(usage.get()));
    }
    true
}

/// The answers of a batch, one line each, summed up by the model that gave them.
#[derive(Debug, Default)]
pub(super) struct Answers {
    by_model: Vec<(String, Usage)>,
    count: u64,
}

/// Of one batch. What is beyond that goes with the first, so that nothing is lost.
const MOST_MODELS: usize = 16;

impl Answers {
    /// Takes one line in; `false` if it is not JSON of this shape.
    pub(super) fn take(&mut self, line: Line<'_>, tail: impl Fn(&str, &mut Facts)) -> bool {
        let json = String::from_utf8_lossy(line.text);
        let mut facts = Facts::default();
        let is_read = if line.is_clipped {
            tail(&json, &mut facts);
            true
        } else {
            read_line(&json, &mut facts)
        };
        self.add(facts.reading);
        is_read
    }

    /// Writes down what they come to.
    pub(super) fn tell(self, facts: &mut Facts) {
        facts.reading.answers = self.count;
        facts.reading.work = Work::Ended;
        let mut by_model = self.by_model.into_iter();
        if let Some((model, usage)) = by_model.next() {
            facts.model(&Text(model.into()));
            facts.usage(Some(usage), false);
        }
        facts.extra(by_model.collect());
    }

    fn add(&mut self, answer: Reading) {
        let Some(usage) = answer.usage else { return };
        let model = answer.model.unwrap_or_default();
        self.count += 1;
        for (further, usage) in answer.extra {
            let further = if further.is_empty() { model.clone() } else { further };
            self.add_usage(further, &usage);
        }
        self.add_usage(model, &usage);
    }

    fn add_usage(&mut self, model: String, usage: &Usage) {
        let known = self.by_model.iter().position(|(name, _)| *name == model);
        match known.or((self.by_model.len() >= MOST_MODELS).then_some(0)) {
            Some(place) => self.by_model[place].1 = self.by_model[place].1.plus(usage),
            None => self.by_model.push((model, *usage)),
        }
    }
}

/// One answer: what its status says was not made is not billed.
fn read_line(json: &str, facts: &mut Facts) -> bool {
    let Ok(line) = serde_json::from_str::<Answer<'_>>(json) else { return false };
    if let Some(response) = line.response.0.as_ref().filter(|response| response.status_code.part() < 400) {
        let Some(body) = response.body else { return true };
        let kind: Kind<'_> = serde_json::from_str(body.get()).unwrap_or_default();
        return match &*kind.object.0 {
            "response" => read_responses::body(body.get(), facts),
            _ => read_chat::body(body.get(), facts),
        };
    }
    let message = line.result.0.as_ref().filter(|result| &*result.kind.0 == "succeeded");
    message.and_then(|result| result.message).is_none_or(|message| read_messages::body(message.get(), facts))
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Batch<'a> {
    #[serde(borrow)]
    id: Text<'a>,
    #[serde(borrow)]
    model: Text<'a>,
    /// `OpenAI`.
    #[serde(borrow)]
    status: Text<'a>,
    /// Anthropic.
    #[serde(borrow)]
    processing_status: Text<'a>,
    #[serde(borrow)]
    output_file_id: Text<'a>,
    request_counts: Loose<Counts>,
    #[serde(borrow)]
    usage: Option<&'a RawValue>,
    #[serde(borrow)]
    error: Option<&'a RawValue>,
}

#[derive(Debug, Default, Clone, Copy, Deserialize)]
#[serde(default)]
struct Counts {
    completed: Count,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Answer<'a> {
    /// `OpenAI`.
    #[serde(borrow)]
    response: Loose<Answered<'a>>,
    /// Anthropic.
    #[serde(borrow)]
    result: Loose<Outcome<'a>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Answered<'a> {
    status_code: Count,
    #[serde(borrow)]
    body: Option<&'a RawValue>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Outcome<'a> {
    #[serde(rename = "type", borrow)]
    kind: Text<'a>,
    #[serde(borrow)]
    message: Option<&'a RawValue>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Kind<'a> {
    #[serde(borrow)]
    object: Text<'a>,
}

impl Batch<'_> {
    fn work(&self) -> Work {
        let told = self.status.some().or(self.processing_status.some()).unwrap_or_default();
        match told {
            "validating" | "in_progress" | "finalizing" | "cancelling" | "canceling" => Work::Pending,
            "completed" | "expired" | "cancelled" | "ended" => Work::Ended,
            "failed" => Work::Failed,
            _ => Work::Untold,
        }
    }
}
