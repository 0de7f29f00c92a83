//! What the mock says in a socket: Realtime, Responses and Live, as far as a meter listens. It answers what it hears;
//! how much it answers is in the model name, as everywhere.

use std::collections::VecDeque;
use std::time::Duration;

use http::{HeaderMap, Uri};
use serde_json::{Value, json};

use super::knobs::Knobs;

/// The lines of one socket.
#[derive(Debug)]
pub(super) struct Lines {
    kind: Kind,
    /// Of the socket, from its query.
    model: String,
    pace: Duration,
    due: VecDeque<Value>,
    /// Responses under way, in turn.
    answers: VecDeque<Answer>,
    made: u64,
    seconds: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Realtime,
    Responses,
    Live,
}

#[derive(Debug)]
struct Answer {
    id: String,
    stream_id: Value,
    knobs: Knobs,
    /// Pieces of output that are still to come.
    left: u64,
}

/// Pieces of output where the model name asks for none.
const USUAL_PIECES: u64 = 4;
/// Bytes of audio in base64 in a response of a Realtime session: more than one frame, more than 64 KiB.
const AUDIO: usize = 100_000;

impl Lines {
    /// For a path that the mock has sockets at.
    pub(super) fn of(uri: &Uri, headers: &HeaderMap, pace: Duration) -> Option<Self> {
        let kind = match uri.path().rsplit('/').next()? {
            "realtime" => Kind::Realtime,
            "responses" => Kind::Responses,
            "live" => Kind::Live,
            _ => return None,
        };
        let pairs = uri.query().unwrap_or_default().split('&').filter_map(|pair| pair.split_once('='));
        let model = pairs.filter(|(name, _)| *name == "model").map(|(_, model)| model).next();
        let model = model.unwrap_or_default().replace("%3D", "=").replace("%2B", "+").replace("%40", "@");
        let mut lines = Self {
            kind,
            pace: Knobs::of(&model).ok().and_then(|knobs| knobs.pace).unwrap_or(pace),
            model,
            due: VecDeque::new(),
            answers: VecDeque::new(),
            made: 0,
            seconds: 0,
        };
        if kind != Kind::Responses {
            let transcription = json!({"model": "gpt-4o-mini-transcribe"});
            let session = json!({"model": lines.model, "audio": {"input": {"transcription": transcription}}});
            // so that a test sees what reached the upstream, and what did not
            let shown: Vec<_> = headers.keys().map(http::HeaderName::as_str).collect();
            lines.due.push_back(json!({"type": "session.created", "session": session, "headers": shown}));
        }
        Some(lines)
    }

    /// The next line that is due.
    pub(super) fn due(&mut self) -> Option<Value> {
        self.due.pop_front()
    }

    /// How long until the next one is; `None` where nothing is to be said.
    pub(super) fn pause(&self) -> Option<Duration> {
        self.answers.front().map(|answer| answer.knobs.pace.unwrap_or(self.pace))
    }

    /// The time is over: the next response in turn goes on.
    pub(super) fn go_on(&mut self) {
        let Some(mut answer) = self.answers.pop_front() else { return };
        if answer.left == 0 {
            return self.end(&answer, "completed");
        }
        answer.left -= 1;
        self.due.push_back(json!({"type": "response.output_text.delta", "response_id": answer.id,
            "stream_id": answer.stream_id, "delta": "words "}));
        self.answers.push_back(answer);
    }

    /// Answers an event of the client.
    pub(super) fn hear(&mut self, event: &Value) {
        match event["type"].as_str().unwrap_or_default() {
            "response.create" if event["fail"].is_string() => self.due.push_back(json!({"type": "error",
                "status": 400, "error": {"type": "invalid_request_error", "code": event["fail"],
                "message": "not this one", "event_id": event["event_id"]}})),
            "response.create" => {
                let model = event["model"].as_str().unwrap_or(&self.model).to_owned();
                self.begin(&model, &event["stream_id"]);
            }
            "response.steer" => self.steer(&event["stream_id"]),
            // a server that hears when its user has said something
            "input_audio_buffer.commit" => {
                self.due.push_back(json!({"type": "conversation.item.input_audio_transcription.completed",
                    "item_id": "item_mock", "transcript": "hello", "usage": {"type": "tokens", "input_tokens": 30,
                    "input_token_details": {"audio_tokens": 30, "text_tokens": 0}, "output_tokens": 5,
                    "total_tokens": 35}}));
                let model = self.model.clone();
                self.begin(&model, &Value::Null);
            }
            "session.update" => {
                self.due.push_back(json!({"type": "session.updated", "session": event["session"]}));
            }
            "session.tick" => {
                self.seconds += 10;
                self.due
                    .push_back(json!({"type": "session.usage.updated", "usage": {"seconds": self.seconds}}));
            }
            "session.close" => {
                self.due.push_back(json!({"type": "session.closed", "usage": {"seconds": self.seconds}}));
            }
            _ => {}
        }
    }

    fn begin(&mut self, model: &str, stream_id: &Value) {
        self.made += 1;
        let knobs = Knobs::of(model).unwrap_or_default();
        let id = format!("resp_mock_{}", self.made);
        let left = knobs.out.unwrap_or(USUAL_PIECES).min(USUAL_PIECES);
        let mut response = json!({"id": id, "status": "in_progress", "usage": null});
        if self.kind == Kind::Responses {
            response["model"] = knobs.reported.clone().into();
        }
        self.due.push_back(json!({"type": "response.created", "stream_id": stream_id, "response": response}));
        if self.kind == Kind::Realtime {
            self.due.push_back(json!({"type": "response.output_audio.delta", "response_id": id,
                "delta": "A".repeat(AUDIO)}));
        }
        self.answers.push_back(Answer { id, stream_id: stream_id.clone(), knobs, left });
    }

    /// Ends the response of a lane, and goes on with another.
    fn steer(&mut self, stream_id: &Value) {
        let Some(place) = self.answers.iter().position(|answer| answer.stream_id == *stream_id) else {
            return;
        };
        let Some(answer) = self.answers.remove(place) else { return };
        self.end(&answer, "incomplete");
        let model = answer.knobs.reported.clone();
        self.begin(&model, stream_id);
    }

    fn end(&mut self, answer: &Answer, status: &str) {
        let Answer { id, stream_id, knobs, .. } = answer;
        let (input, output) = (knobs.input.unwrap_or(100), knobs.out.unwrap_or(20));
        let total = input + output;
        let event = if self.kind == Kind::Responses {
            json!({"type": format!("response.{status}"), "stream_id": stream_id, "response": {"id": id,
                "status": status, "model": knobs.reported, "incomplete_details": reason(status),
                "usage": {"input_tokens": input, "input_tokens_details": {"cached_tokens": knobs.cached},
                "output_tokens": output, "output_tokens_details": {"reasoning_tokens": 0}, "total_tokens": total}}})
        } else {
            json!({"type": "response.done", "response": {"id": id, "status": status,
                "usage": {"input_tokens": input, "input_token_details": {"audio_tokens": input / 2,
                "text_tokens": input - input / 2, "cached_tokens": knobs.cached}, "output_tokens": output,
                "output_token_details": {"audio_tokens": output / 2, "text_tokens": output - output / 2},
                "total_tokens": total}}})
        };
        self.due.push_back(event);
    }
}

fn reason(status: &str) -> Value {
    if status == "incomplete" { json!({"reason": "steered"}) } else { Value::Null }
}
