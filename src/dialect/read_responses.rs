//! Reads the Responses API: the events of a stream and the whole response.

use serde::Deserialize;
use serde_json::value::RawValue;

use super::facts::{ErrorBody, Facts, Work};
use super::fields::{Count, Label, Loose, Text};
use super::shown::Part;
use super::usage_openai;
use crate::base::usage::Usage;

/// The name under which the image tool is billed when the answer does not name its model.
const IMAGE_TOOL: &str = "image_generation";

/// The last is realtime's.
const ENDS: [&str; 4] = ["response.completed", "response.incomplete", "response.failed", "response.done"];
/// Their deltas are base64, not text.
const AUDIO: [&str; 2] = ["response.audio.delta", "response.output_audio.delta"];

/// Whether a response ends with an event of this type.
pub(super) fn is_end(kind: &str) -> bool {
    ENDS.contains(&kind)
}

/// Reads one event of a stream; `false` if it is not JSON of this shape.
pub(super) fn event(json: &str, facts: &mut Facts) -> bool {
    let Ok(event) = serde_json::from_str::<Event<'_>>(json) else { return false };
    let kind = &*event.kind.0;
    if kind.ends_with(".delta") {
        if !AUDIO.contains(&kind) {
            let index = event.content_index.or(event.summary_index).part();
            facts.lane(event.output_index.part(), part(kind), index);
            facts.output(&event.delta.0);
        }
        return true;
    }
    if kind == "response.output_item.added"
        && let Some(item) = &event.item.0
    {
        // its arguments, or its text, follow in parts
        facts.lane(event.output_index.part(), Part::Call, 0);
        facts.output(&item.name.0);
    }
    if let Some(response) = &event.response {
        let ended = is_end(kind);
        response.note_head(facts, ended);
        // the work goes on behind a stream that breaks off, if it was begun in the background
        if ended || response.background.0 == Some(true) {
            facts.reading.work = response.work();
        }
        facts.reading.ended |= ended;
    }
    match event.error {
        Some(error) => facts.error(error),
        None if kind == "error" => {
            facts.error_body(&ErrorBody { code: event.code, kind: Label::default(), message: event.message });
        }
        None => {}
    }
    true
}

/// What a delta of this kind is a part of.
fn part(kind: &str) -> Part {
    if kind.contains("reasoning") {
        Part::Reasoning
    } else if kind.contains("refusal") {
        Part::Refusal
    } else if kind.contains("_call") {
        Part::Call
    } else {
        Part::Words
    }
}

/// Reads a whole response; `false` if it is not JSON of this shape.
pub(super) fn body(json: &str, facts: &mut Facts) -> bool {
    let Ok(response) = serde_json::from_str::<Response<'_>>(json) else { return false };
    response.note_head(facts, true);
    facts.reading.work = response.work();
    for (place, item) in response.output.all().iter().enumerate() {
        if let Some(item) = &item.0 {
            item.note(place as u64, facts);
        }
    }
    true
}

/// Takes the usage of an event that was too long to be read, by its name.
pub(super) fn clipped_end(name: &str, usage: &RawValue, facts: &mut Facts) {
    facts.counted(usage_openai::read(usage.get()));
    if is_end(name) {
        facts.reading.ended = true;
        facts.reading.work = if name == "response.failed" { Work::Failed } else { Work::Ended };
        facts.finish_reason(&Text(name.trim_start_matches("response.").into()));
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Event<'a> {
    #[serde(rename = "type", borrow)]
    kind: Text<'a>,
    #[serde(borrow)]
    delta: Text<'a>,
    output_index: Count,
    content_index: Count,
    summary_index: Count,
    #[serde(borrow)]
    item: Loose<Item<'a>>,
    #[serde(borrow)]
    response: Option<Response<'a>>,
    #[serde(borrow)]
    error: Option<&'a RawValue>,
    /// Of the flat error event.
    code: Label,
    #[serde(borrow)]
    message: Text<'a>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Response<'a> {
    #[serde(borrow)]
    id: Text<'a>,
    #[serde(borrow)]
    model: Text<'a>,
    #[serde(borrow)]
    status: Text<'a>,
    background: Loose<bool>,
    #[serde(borrow)]
    service_tier: Text<'a>,
    #[serde(borrow)]
    incomplete_details: Loose<Incomplete<'a>>,
    #[serde(borrow)]
    usage: Option<&'a RawValue>,
    #[serde(borrow)]
    tool_usage: Loose<ToolUsage<'a>>,
    #[serde(borrow)]
    tools: Loose<Vec<Tool<'a>>>,
    #[serde(borrow)]
    output: Loose<Vec<Loose<Item<'a>>>>,
    #[serde(borrow)]
    error: Option<&'a RawValue>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Incomplete<'a> {
    #[serde(borrow)]
    reason: Text<'a>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct ToolUsage<'a> {
    #[serde(borrow)]
    image_gen: Option<&'a RawValue>,
    web_search: Loose<WebSearch>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct WebSearch {
    num_requests: Count,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Tool<'a> {
    #[serde(rename = "type", borrow)]
    kind: Text<'a>,
    #[serde(borrow)]
    model: Text<'a>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Item<'a> {
    #[serde(rename = "type", borrow)]
    kind: Text<'a>,
    #[serde(borrow)]
    action: Loose<Action<'a>>,
    #[serde(borrow)]
    name: Text<'a>,
    #[serde(borrow)]
    arguments: Text<'a>,
    #[serde(borrow)]
    input: Text<'a>,
    #[serde(borrow)]
    content: Loose<Vec<Piece<'a>>>,
    #[serde(borrow)]
    summary: Loose<Vec<Piece<'a>>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Action<'a> {
    #[serde(rename = "type", borrow)]
    kind: Text<'a>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Piece<'a> {
    #[serde(borrow)]
    text: Text<'a>,
    #[serde(borrow)]
    refusal: Text<'a>,
}

impl Response<'_> {
    fn work(&self) -> Work {
        match &*self.status.0 {
            "queued" | "in_progress" => Work::Pending,
            "completed" | "incomplete" | "cancelled" => Work::Ended,
            "failed" => Work::Failed,
            _ => Work::Untold,
        }
    }

    fn note_head(&self, facts: &mut Facts, last: bool) {
        facts.response_id(&self.id);
        facts.model(&self.model);
        facts.service_tier(&self.service_tier);
        if last {
            facts.finish_reason(&self.status);
        }
        if let Some(incomplete) = &self.incomplete_details.0 {
            facts.finish_reason(&incomplete.reason);
        }
        if let Some(error) = self.error {
            facts.error(error);
        }
        self.note_usage(facts);
        if last && self.tool_usage.0.as_ref().is_none_or(|tools| tools.web_search.0.is_none()) {
            self.count_searches(facts);
        }
    }

    /// Where no tool tells its use, each call of it is an item of the output.
    fn count_searches(&self, facts: &mut Facts) {
        let items = self.output.all().iter().filter_map(|item| item.0.as_ref());
        let searches = items.filter(|item| item.is_search()).count() as u64;
        if let Some(usage) = facts.reading.usage.filter(|usage| searches > usage.web_searches) {
            facts.usage(Some(Usage { web_searches: searches, ..usage }), false);
        }
    }

    fn note_usage(&self, facts: &mut Facts) {
        if let Some(raw) = self.usage {
            facts.counted(usage_openai::read(raw.get()));
        }
        let Some(tools) = &self.tool_usage.0 else { return };
        if let Some(search) = &tools.web_search.0 {
            facts.reading.usage_invalid |= search.num_requests.is_invalid();
            if let Some(requests) = search.num_requests.get().filter(|requests| *requests > 0) {
                let usage = facts.reading.usage.unwrap_or_default();
                facts.usage(Some(Usage { web_searches: requests, ..usage }), false);
            }
        }
        if let Some(raw) = tools.image_gen {
            let counted = usage_openai::read(raw.get());
            facts.reading.usage_invalid |= counted.invalid;
            let used = counted.usage.filter(|usage| usage.total_tokens() > 0);
            facts.extra(used.map(|usage| (self.image_model(), usage)).into_iter().collect());
        }
    }

    fn image_model(&self) -> String {
        let tools = self.tools.all().iter();
        let image =
            tools.filter(|tool| &*tool.kind.0 == "image_generation").find_map(|tool| tool.model.some());
        image.unwrap_or(IMAGE_TOOL).to_owned()
    }
}

impl Item<'_> {
    /// Whether it is a search that is billed: opening a page that was found, and looking in it, is not.
    fn is_search(&self) -> bool {
        let action = self.action.0.as_ref().and_then(|action| action.kind.some());
        &*self.kind.0 == "web_search_call" && action.is_none_or(|action| action == "search")
    }

    fn note(&self, place: u64, facts: &mut Facts) {
        facts.lane(place, Part::Call, 0);
        facts.output(&self.name.0);
        facts.output(&self.arguments.0);
        facts.output(&self.input.0);
        let is_reasoning = &*self.kind.0 == "reasoning";
        let kind = if is_reasoning { Part::Reasoning } else { Part::Words };
        for (index, part) in self.content.all().iter().chain(self.summary.all()).enumerate() {
            facts.lane(place, kind, index as u64);
            facts.output(&part.text.0);
            facts.lane(place, Part::Refusal, index as u64);
            facts.output(&part.refusal.0);
        }
    }
}
