//! The JSON of socket events: what tells them apart and where they belong. The responses in them are read by the
//! reader of responses.

use std::borrow::Cow;

use memchr::memmem;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::fields::{Label, Loose, Text};
use super::members::Fields;
use super::socket::{Lane, Refused, Settings, UNCAPPED};

/// A client's event.
#[derive(Debug)]
pub(super) struct ClientEvent<'a> {
    pub(super) kind: Cow<'a, str>,
    pub(super) event_id: Cow<'a, str>,
    pub(super) stream_id: Cow<'a, str>,
    pub(super) response: Option<&'a RawValue>,
    pub(super) session: Option<&'a RawValue>,
}

/// Reads a client's event. `None` for what is no object, has no type, or has a member twice that decides: a
/// lenient upstream may take the other one.
pub(super) fn client(json: &[u8]) -> Option<ClientEvent<'_>> {
    #[derive(Debug, Default, Deserialize)]
    #[serde(default)]
    struct Event<'a> {
        #[serde(rename = "type", borrow)]
        kind: Text<'a>,
        #[serde(borrow)]
        event_id: Text<'a>,
        #[serde(borrow)]
        stream_id: Text<'a>,
        #[serde(borrow)]
        response: Option<&'a RawValue>,
        #[serde(borrow)]
        session: Option<&'a RawValue>,
    }
    let event: Event<'_> = serde_json::from_slice(json).ok()?;
    let is_ambiguous = |json: &[u8]| Fields::read(json).is_ok_and(|fields| fields.ambiguous.is_some());
    let inner = [event.response, event.session].into_iter().flatten();
    if event.kind.0.is_empty() || is_ambiguous(json) || inner.map(raw_bytes).any(is_ambiguous) {
        return None;
    }
    Some(ClientEvent {
        kind: event.kind.0,
        event_id: event.event_id.0,
        stream_id: event.stream_id.0,
        response: event.response,
        session: event.session,
    })
}

fn raw_bytes(raw: &RawValue) -> &[u8] {
    raw.get().as_bytes()
}

/// The model that a response's own settings name, as whole as it stands there: it is compared.
pub(super) fn model_of(response: &RawValue) -> String {
    let fields = Fields::read(raw_bytes(response)).unwrap_or_default();
    fields.model.map_or_else(String::new, |model| Fields::text(model).unwrap_or_else(|| model.to_owned()))
}

/// An upstream's event.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct UpstreamEvent<'a> {
    #[serde(rename = "type", borrow)]
    pub(super) kind: Text<'a>,
    #[serde(borrow)]
    event_id: Text<'a>,
    #[serde(borrow)]
    response_id: Text<'a>,
    #[serde(borrow)]
    stream_id: Text<'a>,
    #[serde(borrow)]
    pub(super) item_id: Text<'a>,
    #[serde(borrow)]
    response: Loose<Response<'a>>,
    #[serde(borrow)]
    pub(super) session: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(super) usage: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(super) transcript: Text<'a>,
    #[serde(borrow)]
    error: Loose<ErrorEvent<'a>>,
    /// The event of another API that this one delivers.
    #[serde(borrow)]
    event: Option<&'a RawValue>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Response<'a> {
    #[serde(borrow)]
    id: Text<'a>,
    #[serde(borrow)]
    model: Text<'a>,
    #[serde(borrow)]
    stream_id: Text<'a>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct ErrorEvent<'a> {
    code: Label,
    #[serde(rename = "type")]
    kind: Label,
    #[serde(borrow)]
    event_id: Text<'a>,
}

/// Reads an upstream's event; `None` if it is not JSON of this shape.
pub(super) fn upstream(json: &[u8]) -> Option<UpstreamEvent<'_>> {
    serde_json::from_slice(json).ok()
}

impl<'a> UpstreamEvent<'a> {
    pub(super) fn lane(&self) -> Lane {
        let response = self.response.0.as_ref();
        let id = self.response_id.some().or_else(|| response.and_then(|response| response.id.some()));
        let stream =
            self.stream_id.some().or_else(|| response.and_then(|response| response.stream_id.some()));
        Lane { response_id: short(id), stream_id: short(stream) }
    }

    pub(super) fn model(&self) -> String {
        short(self.response.0.as_ref().and_then(|response| response.model.some()))
    }

    pub(super) fn refused(&self) -> Refused {
        let error = self.error.0.as_ref();
        let about = error.and_then(|error| error.event_id.some()).or_else(|| self.event_id.some());
        let code = error.map(|error| if error.code.0.is_empty() { &error.kind.0 } else { &error.code.0 });
        Refused {
            event_id: short(about),
            names_cause: error.is_some_and(|error| error.event_id.some().is_some()),
            stream_id: short(self.stream_id.some()),
            code: code.cloned().unwrap_or_default(),
        }
    }

    /// The event that this one delivers, if it is one that delivers.
    pub(super) fn inner(&self) -> Option<UpstreamEvent<'a>> {
        upstream(self.inner_json()?.as_bytes())
    }

    pub(super) fn inner_json(&self) -> Option<&'a str> {
        self.event.filter(|_| &*self.kind.0 == DELIVERY).map(RawValue::get)
    }
}

/// Ids are kept, and are not ours to make long.
fn short(text: Option<&str>) -> String {
    super::fields::clipped(text.unwrap_or_default(), LONGEST_ID).to_owned()
}

const LONGEST_ID: usize = 256;

/// What a session says of itself, in the spelling of before and after realtime's general availability.
pub(super) fn settings(session: &RawValue) -> Settings {
    #[derive(Debug, Default, Deserialize)]
    #[serde(default)]
    struct Session<'a> {
        #[serde(borrow)]
        model: Text<'a>,
        #[serde(borrow)]
        input_audio_transcription: Loose<Named<'a>>,
        #[serde(borrow)]
        audio: Loose<Audio<'a>>,
    }
    #[derive(Debug, Default, Deserialize)]
    #[serde(default)]
    struct Audio<'a> {
        #[serde(borrow)]
        input: Loose<Input<'a>>,
    }
    #[derive(Debug, Default, Deserialize)]
    #[serde(default)]
    struct Input<'a> {
        #[serde(borrow)]
        transcription: Loose<Named<'a>>,
    }
    #[derive(Debug, Default, Deserialize)]
    #[serde(default)]
    struct Named<'a> {
        #[serde(borrow)]
        model: Text<'a>,
    }
    let read: Session<'_> = serde_json::from_str(session.get()).unwrap_or_default();
    let input = read.audio.0.and_then(|audio| audio.input.0);
    let named = read.input_audio_transcription.0.or_else(|| input.and_then(|input| input.transcription.0));
    let owned = |text: &Text<'_>| text.some().map(|text| short(Some(text)));
    Settings {
        model: owned(&read.model),
        transcription_model: named.and_then(|named| owned(&named.model)),
        output_cap: output_cap(session),
    }
}

/// The most output that a session or a response of it may have. What is no number, such as `inf`, is none.
pub(super) fn output_cap(settings: &RawValue) -> Option<u64> {
    #[derive(Debug, Default, Deserialize)]
    #[serde(default)]
    struct Capped<'a> {
        #[serde(borrow)]
        max_output_tokens: Option<&'a RawValue>,
        #[serde(borrow)]
        max_response_output_tokens: Option<&'a RawValue>,
    }
    let Ok(read) = serde_json::from_str::<Capped<'_>>(settings.get()) else { return Some(UNCAPPED) };
    let cap = read.max_output_tokens.or(read.max_response_output_tokens)?;
    Some(Fields::count(cap.get()).unwrap_or(UNCAPPED))
}

/// The usage of a session, where it stands in the session.
pub(super) fn usage_of(session: &RawValue) -> Option<&RawValue> {
    #[derive(Debug, Default, Deserialize)]
    #[serde(default)]
    struct Session<'a> {
        #[serde(borrow)]
        usage: Option<&'a RawValue>,
    }
    serde_json::from_str::<Session<'_>>(session.get()).ok()?.usage
}

/// The type of an event about a response of which only the beginning and the end are known. Either may have it, and
/// types of what is in the event may stand before it.
pub(super) fn kind_between(beginning: &[u8], end: &[u8]) -> Option<String> {
    let kinds = |json| memmem::find_iter(json, TYPE).filter_map(move |at| string_after(&json[at..], TYPE));
    let is_it = |kind: &String| kind.starts_with("response.") && kind != DELIVERY;
    kinds(beginning).find(is_it).or_else(|| kinds(end).filter(is_it).last())
}

const TYPE: &[u8] = b"\"type\"";
/// An event that has another one in it.
const DELIVERY: &str = "response.event";

/// Where the event that begins so belongs, as far as its beginning tells.
pub(super) fn lane_in(beginning: &[u8]) -> Lane {
    let response = memmem::find(beginning, b"\"response\"").map(|at| &beginning[at..]);
    let id = string_after(beginning, b"\"response_id\"").or_else(|| string_after(response?, b"\"id\""));
    Lane {
        response_id: short(id.as_deref()),
        stream_id: short(string_after(beginning, b"\"stream_id\"").as_deref()),
    }
}

/// The string that is the value of the first member of this name.
fn string_after(json: &[u8], name: &[u8]) -> Option<String> {
    let at = memmem::find(json, name)? + name.len();
    let value = json[at..].trim_ascii_start().strip_prefix(b":")?.trim_ascii_start();
    let mut values = serde_json::Deserializer::from_slice(value).into_iter::<String>();
    values.next()?.ok()
}
