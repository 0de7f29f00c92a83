//! What a client got against what the oracle says to the same question alone: invariants I6 and I7.

use serde_json::Value;

use crate::mock::Mock;
use crate::torture::ask::{Ask, Operation};
use crate::torture::client::Transcript;

/// How a body compares with the upstream's own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::torture) enum Likeness {
    /// Every byte of it.
    Same,
    /// An exact beginning.
    Beginning,
    /// An exact beginning, and one error event behind it.
    BeginningAndError,
    /// Different from this byte on.
    Other { at: usize },
    /// An answer of the gateway itself.
    OwnWords,
    /// No body to compare.
    Nothing,
}

/// Compares; only answers with a status below 400 can be like the upstream's.
pub(in crate::torture) fn likeness(ask: &Ask, seen: &Transcript) -> Likeness {
    let Some(status) = seen.status else { return Likeness::Nothing };
    let Some(said) = Mock::says(ask.operation.path(), &ask.body()) else { return Likeness::Nothing };
    if status >= 400 {
        let is_upstreams = said.refusal.is_some_and(|refusal| refusal == seen.body);
        return if is_upstreams { Likeness::Same } else { Likeness::OwnWords };
    }
    let common = said.whole.iter().zip(&seen.body).take_while(|(one, other)| one == other).count();
    match (common == said.whole.len(), common == seen.body.len()) {
        (true, true) => Likeness::Same,
        (false, true) => Likeness::Beginning,
        _ if ask.stream && is_error_event(&seen.body, common) => Likeness::BeginningAndError,
        _ => Likeness::Other { at: common },
    }
}

/// Whether all behind the last event before `at` is one event that says `error`. Events may begin alike, so
/// that the place where bytes differ lies inside it.
fn is_error_event(body: &[u8], at: usize) -> bool {
    let begin = memchr::memmem::rfind(&body[..at], b"\n\n").map_or(0, |end| end + 2);
    let Ok(text) = std::str::from_utf8(&body[begin..]) else { return false };
    let Some(event) = text.strip_suffix("\n\n") else { return false };
    let data = event.lines().find_map(|line| line.strip_prefix("data: "));
    let said = data.and_then(|data| serde_json::from_str::<Value>(data).ok());
    !event.contains("\n\n") && said.is_some_and(|said| !said["error"].is_null())
}

/// Whether a client would take the body for finished: `[DONE]`, `message_stop`, `response.completed`.
pub(in crate::torture) fn says_finished(ask: &Ask, body: &[u8]) -> bool {
    let sign: &[u8] = match ask.operation {
        Operation::Chat | Operation::Completions => b"data: [DONE]",
        Operation::Messages => b"event: message_stop",
        Operation::Responses => b"event: response.completed",
        Operation::Embeddings => return false,
    };
    ask.stream && memchr::memmem::rfind(body, sign).is_some()
}

/// Output tokens in the whole events of a stream.
pub(in crate::torture) fn relayed(ask: &Ask, body: &[u8]) -> u64 {
    if ask.stream { Mock::tokens_in(body) } else { 0 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::torture::client::Ended;

    fn seen(body: &[u8]) -> Transcript {
        Transcript { status: Some(200), headers: Vec::new(), body: body.to_vec(), ended: Ended::Whole }
    }

    #[test]
    fn a_changed_byte_a_missing_end_and_an_error_frame_are_told_apart() {
        let ask = Ask::chat("m".into(), "gpt", 30).with("out=5");
        let whole = Mock::says("/v1/chat/completions", &ask.body()).unwrap().whole;
        assert_eq!(likeness(&ask, &seen(&whole)), Likeness::Same);
        assert_eq!(relayed(&ask, &whole), 5);
        assert!(says_finished(&ask, &whole) && !says_finished(&ask, &whole[..200]));
        assert_eq!(likeness(&ask, &seen(&whole[..200])), Likeness::Beginning);
        let mut changed = whole.clone();
        changed[100] ^= 1;
        assert_eq!(likeness(&ask, &seen(&changed)), Likeness::Other { at: 100 });
        let event = memchr::memmem::find(&whole, b"\n\n").unwrap() + 2;
        let cut = [&whole[..event], b"data: {\"error\":{\"message\":\"spent\"}}\n\n"].concat();
        assert_eq!(likeness(&ask, &seen(&cut)), Likeness::BeginningAndError);
        let doubled = [whole.as_slice(), whole.as_slice()].concat();
        assert_eq!(likeness(&ask, &seen(&doubled)), Likeness::Other { at: whole.len() });
    }
}
