//! Reads images, audio, embeddings and moderations: usage at the top of an answer or of its last event.

use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::value::RawValue;

use super::facts::Facts;
use super::fields::{Seconds, Text};
use super::usage_openai;
use crate::base::usage::Usage;

/// The events that hand over one image.
const IMAGES: [&str; 2] = ["image_generation.completed", "image_edit.completed"];

/// Reads one event of a stream; `false` if it is not JSON of this shape.
pub(super) fn event(json: &str, facts: &mut Facts) -> bool {
    let Ok(answer) = serde_json::from_str::<Answer<'_>>(json) else { return false };
    let kind = &*answer.kind.0;
    if kind == "transcript.text.delta" {
        facts.output(&answer.delta.0);
        return true;
    }
    let image = IMAGES.contains(&kind);
    facts.reading.ended |= image || matches!(kind, "transcript.text.done" | "speech.audio.done");
    let before = facts.reading.usage.map_or(0, |usage| usage.images);
    answer.note(facts, before + u64::from(image));
    true
}

/// Reads a whole answer; `false` if it is not JSON of this shape.
pub(super) fn body(json: &str, facts: &mut Facts, makes_images: bool) -> bool {
    let Ok(answer) = serde_json::from_str::<Answer<'_>>(json) else { return false };
    facts.output(&answer.text.0);
    let made = answer.data.as_ref().map_or(0, |data| data.len() as u64);
    answer.note(facts, if makes_images { made } else { 0 });
    true
}

/// Takes the usage of an event that was too long to be read, by its name.
pub(super) fn clipped_image(name: &str, usage: &RawValue, facts: &mut Facts) {
    let image = IMAGES.contains(&name);
    let answer = Answer { usage: Some(usage), ..Answer::default() };
    let before = facts.reading.usage.map_or(0, |usage| usage.images);
    facts.reading.ended |= image;
    answer.note(facts, before + u64::from(image));
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Answer<'a> {
    #[serde(rename = "type", borrow)]
    kind: Text<'a>,
    #[serde(borrow)]
    id: Text<'a>,
    #[serde(borrow)]
    model: Text<'a>,
    #[serde(borrow)]
    delta: Text<'a>,
    /// A transcript.
    #[serde(borrow)]
    text: Text<'a>,
    /// Images or embeddings.
    data: Option<Vec<IgnoredAny>>,
    /// Seconds of audio, in a verbose transcript.
    duration: Seconds,
    #[serde(borrow)]
    usage: Option<&'a RawValue>,
    #[serde(borrow)]
    svg_usage: Option<&'a RawValue>,
    #[serde(borrow)]
    error: Option<&'a RawValue>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Named<'a> {
    #[serde(borrow)]
    model: Text<'a>,
}

impl Answer<'_> {
    fn note(&self, facts: &mut Facts, images: u64) {
        facts.response_id(&self.id);
        facts.model(&self.model);
        if let Some(error) = self.error {
            facts.error(error);
        }
        let mut usage = facts.reading.usage;
        if let Some(raw) = self.usage {
            let counted = usage_openai::read(raw.get());
            facts.reading.usage_invalid |= counted.invalid;
            usage = counted.usage.or(usage);
        }
        if usage.is_none()
            && let Some(seconds) = self.duration.0.get()
        {
            usage = Some(Usage { seconds, ..Usage::default() });
        }
        if images > 0 {
            usage = Some(Usage { images, ..usage.unwrap_or_default() });
        }
        facts.usage(usage, false);
        self.note_svg(facts);
    }

    /// The drawing of an SVG is billed to another model.
    fn note_svg(&self, facts: &mut Facts) {
        let Some(raw) = self.svg_usage else { return };
        let named: Named<'_> = serde_json::from_str(raw.get()).unwrap_or_default();
        let counted = usage_openai::read(raw.get());
        facts.reading.usage_invalid |= counted.invalid;
        facts.extra(counted.usage.map(|usage| (named.model.0.into_owned(), usage)).into_iter().collect());
    }
}
