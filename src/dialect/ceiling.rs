//! The most input tokens a request can cost, for reservations: cheap, never too low. Every byte of
//! text may be a token (byte-level vocabularies make at most one of each); images and audio count by
//! what they are, not by the length of their base64.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};

use super::image;
use super::path::{Endpoint, Operation};

/// An upper bound of input tokens. The model's context window bounds it too: the smaller counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InputCeiling {
    /// Tokens of what the body shows.
    pub tokens: u64,
    /// Of them, tokens of images.
    pub of_images: u64,
    /// Whether the body refers to input it does not show - an earlier response, a stored prompt, a
    /// file by id, a search. Then only the context window is a bound.
    pub is_open: bool,
}

impl InputCeiling {
    /// The bound where a model takes in `window` tokens at most. Some models bill an image as more tokens than
    /// their window has; and a list of texts is as many inputs, each with a window of its own.
    #[must_use]
    pub fn within(&self, window: Option<u64>, operation: Operation) -> u64 {
        let is_list = matches!(operation, Operation::Embeddings | Operation::Completions);
        match window {
            Some(window) if self.is_open => window.saturating_add(self.of_images),
            Some(window) if !is_list => {
                self.tokens.saturating_sub(self.of_images).min(window).saturating_add(self.of_images)
            }
            None if self.is_open => self.tokens.max(UNKNOWN_WINDOW),
            Some(_) | None => self.tokens,
        }
    }
}

/// The input of a request that refers to more than it shows, where nobody knows the context window.
const UNKNOWN_WINDOW: u64 = 200_000;

/// What chat templates add by themselves: open models put up to about 100 tokens of system text in
/// front, hosted ones a handful.
const TEMPLATE: u64 = 128;

/// What providers add to explain tools to a model: up to 530 tokens are documented (Anthropic).
const TOOLS_TEMPLATE: u64 = 640;

/// A built-in tool without hidden input (shell, editor, computer) brings a description of its own.
const BUILT_IN_TOOL: u64 = 1024;

/// Bytes of audio per token, at least: a token stands for 100 ms (`OpenAI`'s figure for a user's
/// audio), and the most frugal common codec, Opus at 6 kbit/s, makes 75 bytes of them.
const AUDIO_BYTES_PER_TOKEN: u64 = 64;

/// What stands for the marks around a value: at least the tokens that templates put around a message,
/// a parameter or a value of an `enum` (3 each).
pub(super) const PUNCTUATION: u64 = 4;

/// The most digits that a float is printed with.
pub(super) const LONGEST_FLOAT: u64 = 24;

/// The longest text field that image and audio forms take, in bytes.
const FORM_TEXT: u64 = 128 * 1024;

/// The upper bound for `body`, whose `model` may be known under another name upstream.
#[must_use]
pub fn input_ceiling(endpoint: &Endpoint, model: &str, body: &[u8]) -> InputCeiling {
    let mut survey = Survey::new();
    let json = body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(body);
    let mut reader = serde_json::Deserializer::from_slice(json);
    let read = At { place: Place::Request, survey: &mut survey }.deserialize(&mut reader);
    if read.is_ok() {
        return survey.ceiling(model);
    }
    let files = || memchr::memmem::find_iter(body, b"filename").count() as u64;
    match endpoint.operation {
        Operation::Transcriptions | Operation::Translations | Operation::Images => {
            form_ceiling(endpoint.operation, model, body.len() as u64, files())
        }
        // JSON that we cannot read and an upstream might: only the context window is a bound
        _ => {
            InputCeiling { tokens: (body.len() as u64).saturating_add(TEMPLATE), of_images: 0, is_open: true }
        }
    }
}

/// The upper bound for a form of this many bytes and files.
pub(super) fn form_ceiling(operation: Operation, model: &str, bytes: u64, files: u64) -> InputCeiling {
    let text = FORM_TEXT.min(bytes) + TEMPLATE;
    if operation == Operation::Images {
        let of_images = files.saturating_mul(image::most_tokens(model));
        return InputCeiling { tokens: text.saturating_add(of_images), of_images, is_open: false };
    }
    InputCeiling { tokens: text + bytes / AUDIO_BYTES_PER_TOKEN, of_images: 0, is_open: false }
}

/// What a request shows of its input.
pub(super) struct Survey {
    images: u64,
    /// Of everything else.
    tokens: u64,
    is_open: bool,
}

/// Where in a request a value stands. Media are only recognised where an upstream would take them for
/// media: the same member inside a tool's arguments is text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// The body itself.
    Request,
    /// A message, an input item, a content part, or a list of them.
    Content,
    /// An image: a URL, or an object holding one.
    Image,
    /// A base64 or remote source, of an image or of a document.
    Source,
    /// An audio clip.
    Audio,
    /// A file or document.
    File,
    /// The `type` of an item or part.
    ItemType,
    /// A tool or a list of them.
    Tools,
    /// The `type` of a tool.
    ToolType,
    /// Something that stands for input kept elsewhere, unless it is `null`.
    Reference,
    /// The prompt of a completion, which is text, or the reference of a response to a stored prompt,
    /// which is an object.
    StoredPrompt,
    /// Anything else: text.
    Text,
}

impl Place {
    /// Whether it matters what a string says here, and not only how long it is.
    pub(super) const fn is_looked_at(self) -> bool {
        !matches!(self, Self::Request | Self::Content | Self::Tools | Self::StoredPrompt | Self::Text)
    }

    /// Where the value of member `key` stands.
    pub(super) fn member(self, key: &str, survey: &mut Survey) -> Self {
        survey.add(key.len() as u64 + PUNCTUATION);
        match (self, key) {
            (Self::Request, "messages" | "input" | "system") => Self::Content,
            (Self::Request, "tools") => survey.tools(Self::Tools),
            (Self::Request, "functions") => survey.tools(Self::Text),
            (Self::Request, "prompt") => Self::StoredPrompt,
            (
                Self::Request,
                "previous_response_id" | "conversation" | "container" | "web_search_options" | "mcp_servers",
            ) => Self::Reference,
            (Self::Content, "type") => Self::ItemType,
            (Self::Content, "content" | "output") => Self::Content,
            (Self::Content, "image_url") => survey.image(Self::Image),
            // a result is an image that an earlier answer made
            (Self::Content, "source" | "result") => survey.image(Self::Source),
            (Self::Content, "input_audio") => Self::Audio,
            (Self::Content, "file") => Self::File,
            (Self::Content | Self::File, "file_data") => Self::File,
            (Self::Content | Self::Source | Self::File, "file_id" | "file_url") => Self::Reference,
            // an earlier answer's audio, referred to by id
            (Self::Content, "audio") => Self::Reference,
            (Self::Image, "url") => Self::Image,
            (Self::Source, "url" | "data") => Self::Source,
            // a document may be given as content parts of its own
            (Self::Source, "content") => Self::Content,
            (Self::Audio, "data") => Self::Audio,
            (Self::Tools, "type") => Self::ToolType,
            _ => Self::Text,
        }
    }
}

impl Survey {
    pub(super) const fn new() -> Self {
        Self { images: 0, tokens: TEMPLATE, is_open: false }
    }

    /// The upper bound, where the model is known.
    pub(super) fn ceiling(&self, model: &str) -> InputCeiling {
        let each = if self.images == 0 { 0 } else { image::most_tokens(model) };
        let of_images = self.images.saturating_mul(each);
        InputCeiling { tokens: self.tokens.saturating_add(of_images), of_images, is_open: self.is_open }
    }

    fn image(&mut self, place: Place) -> Place {
        self.images += 1;
        place
    }

    fn tools(&mut self, place: Place) -> Place {
        self.add(TOOLS_TEMPLATE);
        place
    }

    pub(super) const fn add(&mut self, tokens: u64) {
        self.tokens = self.tokens.saturating_add(tokens);
    }

    pub(super) fn string(&mut self, place: Place, text: &str) {
        let bytes = text.len() as u64;
        match place {
            // counted when its member was met
            Place::Image if is_inline_image(text) || is_remote(text) => {}
            Place::Source if is_inline_image(text) => {}
            // documents are compressed, and their pages count as images too
            Place::Source if is_remote(text) || text.starts_with(PDF) => self.is_open = true,
            Place::File if !text.starts_with("data:text/") => self.is_open = true,
            Place::Reference => self.is_open = true,
            Place::Audio => self.add(bytes / AUDIO_BYTES_PER_TOKEN + 1),
            Place::ItemType if text == "item_reference" => self.is_open = true,
            Place::ToolType => self.tool(text),
            _ => self.add(bytes),
        }
    }

    pub(super) fn object(&mut self, place: Place) {
        self.add(PUNCTUATION);
        self.is_open |= matches!(place, Place::Reference | Place::StoredPrompt);
    }

    fn tool(&mut self, kind: &str) {
        match kind {
            "function" | "custom" => {}
            _ if kind.starts_with("bash")
                || kind.starts_with("text_editor")
                || kind.starts_with("computer") =>
            {
                self.add(BUILT_IN_TOOL);
            }
            _ => self.is_open = true,
        }
    }
}

/// How a PDF begins in base64.
const PDF: &str = "JVBERi";

/// Whether a string is an image, by its label or by how its bytes begin in base64.
fn is_inline_image(text: &str) -> bool {
    const MAGIC: [&str; 4] = ["iVBORw0KGgo", "/9j/", "R0lGOD", "UklGR"];
    text.starts_with("data:image/") || MAGIC.iter().any(|magic| text.starts_with(magic))
}

fn is_remote(text: &str) -> bool {
    text.starts_with("http://") || text.starts_with("https://")
}

/// Reads the value at a place into the survey, without keeping any of it.
struct At<'s> {
    place: Place,
    survey: &'s mut Survey,
}

impl<'de> DeserializeSeed<'de> for At<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, value: D) -> Result<(), D::Error> {
        value.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for At<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a request")
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<(), E> {
        self.survey.string(self.place, text);
        Ok(())
    }

    // a number may be a token id, or be printed into the prompt with all its digits
    fn visit_u64<E: serde::de::Error>(self, number: u64) -> Result<(), E> {
        self.survey.add(u64::from(number.checked_ilog10().unwrap_or(0)) + 1);
        Ok(())
    }

    fn visit_i64<E: serde::de::Error>(self, number: i64) -> Result<(), E> {
        self.survey.add(u64::from(number.unsigned_abs().checked_ilog10().unwrap_or(0)) + 2);
        Ok(())
    }

    fn visit_f64<E: serde::de::Error>(self, _: f64) -> Result<(), E> {
        self.survey.add(LONGEST_FLOAT);
        Ok(())
    }

    fn visit_bool<E: serde::de::Error>(self, _: bool) -> Result<(), E> {
        self.survey.add(1);
        Ok(())
    }

    fn visit_unit<E: serde::de::Error>(self) -> Result<(), E> {
        self.survey.add(1);
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
        self.survey.add(PUNCTUATION);
        while items.next_element_seed(At { place: self.place, survey: self.survey })?.is_some() {
            self.survey.add(PUNCTUATION);
        }
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<(), A::Error> {
        self.survey.object(self.place);
        while let Some(place) = members.next_key_seed(Member { of: self.place, survey: self.survey })? {
            members.next_value_seed(At { place, survey: self.survey })?;
        }
        Ok(())
    }
}

/// Reads the name of a member and answers with the place of its value.
struct Member<'s> {
    of: Place,
    survey: &'s mut Survey,
}

impl<'de> DeserializeSeed<'de> for Member<'_> {
    type Value = Place;

    fn deserialize<D: Deserializer<'de>>(self, key: D) -> Result<Place, D::Error> {
        key.deserialize_str(self)
    }
}

impl Visitor<'_> for Member<'_> {
    type Value = Place;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a member name")
    }

    fn visit_str<E: serde::de::Error>(self, key: &str) -> Result<Place, E> {
        Ok(self.of.member(key, self.survey))
    }
}

#[cfg(test)]
#[path = "ceiling_tests.rs"]
mod tests;
