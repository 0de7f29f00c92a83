//! A request body changes in the places that are named and nowhere else: what was JSON stays JSON, what the
//! edits took away brings the first body back, and what they say is what is read afterwards. What one pass reads is
//! what its two readers do.

use bytes::Bytes;
use http::Method;
use serde_json::Value;
use serde_json::value::RawValue;

use crate::dialect::outline::input_ceiling;
use crate::dialect::path::{Endpoint, Operation, classify};
use crate::dialect::request::{RequestFacts, read, scan};
use crate::dialect::splice::{Edit, apply, ask_for_usage, lower_cap, rename_model};
use crate::input::Input;

/// Paths whose bodies are read as JSON.
pub const PATHS: [&str; 6] = [
    "/v1/chat/completions",
    "/v1/completions",
    "/v1/responses",
    "/v1/messages",
    "/v1/embeddings",
    "/v1/images/generations",
];

/// Panics where the law is broken.
pub fn check(data: &[u8]) {
    let Some(input) = Input::read(data) else { return };
    let endpoint = classify(&Method::POST, *input.pick::<&str>(0, &PATHS));
    let body = Bytes::copy_from_slice(input.payload);
    let in_one_pass = read(&endpoint, Some("application/json"), &body);
    let Ok(facts) = scan(&endpoint, Some("application/json"), &body) else {
        assert!(in_one_pass.is_err(), "one pass read what cannot be read");
        return;
    };
    let ceiling = input_ceiling(&endpoint, facts.model.as_deref().unwrap_or_default(), &body);
    assert_eq!(in_one_pass, Ok((facts.clone(), ceiling)), "one pass read something else");
    let is_read = is_json(&body);
    let most = input.choice(1) as u64;

    let asking: Vec<Edit> = ask_for_usage(&endpoint, &facts, &body).into_iter().collect();
    let asked = edited(&body, asking.clone(), is_read);
    let renaming: Vec<Edit> = rename_model(&facts, "another \"model\"").into_iter().collect();
    let renamed = edited(&body, renaming.clone(), is_read);
    let cap = cap_name(&endpoint);
    let capping = cap.and_then(|name| lower_cap(&facts, &body, name, most)).unwrap_or_default();
    let capped = edited(&body, capping.clone(), is_read);
    if !is_read {
        return;
    }
    only_usage_is_asked_for(&body, &asked, !asking.is_empty());
    if !renaming.is_empty() {
        let again = facts_of(&endpoint, &renamed);
        assert_eq!(again.model.as_deref(), Some("another \"model\""));
        assert_eq!(
            RequestFacts { model: None, ..placeless(again) },
            RequestFacts { model: None, ..placeless(facts.clone()) }
        );
    }
    if !capping.is_empty() {
        let again = facts_of(&endpoint, &capped);
        assert!(again.output_cap.is_some_and(|cap| cap <= most), "{again:?}");
    }
    // all at once, as a request may need them
    let all = asking.into_iter().chain(renaming).chain(capping).collect();
    edited(&body, all, true);
}

/// The body with these edits, which are undone again to see that nothing else has moved.
fn edited(body: &Bytes, edits: Vec<Edit>, was_json: bool) -> Bytes {
    let after = apply(body, edits.clone());
    assert_eq!(is_json(&after), was_json, "an edit made or broke JSON: {after:?}");
    let mut undone = after.to_vec();
    let mut in_order = edits;
    // insertions at one place keep their order
    in_order.sort_by_key(|edit| edit.range.start);
    let mut shift = 0_isize;
    let mut places = Vec::new();
    for edit in in_order {
        let start = edit.range.start.checked_add_signed(shift).expect("edits are in order");
        shift += isize::try_from(edit.text.len()).expect("edits are small")
            - isize::try_from(edit.range.len()).expect("bodies are small");
        places.push((start, edit));
    }
    for (start, edit) in places.into_iter().rev() {
        assert_eq!(&undone[start..start + edit.text.len()], &edit.text[..]);
        undone.splice(start..start + edit.text.len(), body[edit.range].iter().copied());
    }
    assert_eq!(undone, body.to_vec(), "more than the named place changed");
    after
}

fn only_usage_is_asked_for(body: &Bytes, asked: &Bytes, is_asked: bool) {
    let (Ok(mut before), Ok(mut after)) = (value(body), value(asked)) else { return };
    if !is_asked {
        assert_eq!(before, after);
        return;
    }
    assert_eq!(after["stream_options"]["include_usage"], Value::Bool(true));
    for body in [&mut before, &mut after] {
        let Some(members) = body.as_object_mut() else { panic!("only objects are edited") };
        let mut options = members.shift_remove("stream_options").unwrap_or_default();
        if let Some(options) = options.as_object_mut() {
            options.shift_remove("include_usage");
        }
        let left = options.as_object().filter(|options| !options.is_empty()).cloned();
        members.insert("stream_options".into(), left.map_or(Value::Null, Value::Object));
    }
    assert_eq!(before, after, "asking changed what it did not name");
}

fn cap_name(endpoint: &Endpoint) -> Option<&'static str> {
    match endpoint.operation {
        Operation::Responses => Some("max_output_tokens"),
        Operation::ChatCompletions => Some("max_completion_tokens"),
        Operation::Completions | Operation::Messages => Some("max_tokens"),
        _ => None,
    }
}

fn facts_of(endpoint: &Endpoint, body: &[u8]) -> RequestFacts {
    scan(endpoint, Some("application/json"), body).expect("an edited body reads as the first one did")
}

/// The facts without the places, which move.
fn placeless(facts: RequestFacts) -> RequestFacts {
    RequestFacts {
        model_at: None,
        stream_options: Default::default(),
        caps: facts.caps.into_iter().map(|cap| crate::dialect::request::Cap { at: 0..0, ..cap }).collect(),
        ..facts
    }
}

fn is_json(body: &[u8]) -> bool {
    serde_json::from_slice::<&RawValue>(without_bom(body)).is_ok()
}

fn value(body: &[u8]) -> Result<Value, serde_json::Error> {
    serde_json::from_slice(without_bom(body))
}

fn without_bom(body: &[u8]) -> &[u8] {
    body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(body)
}
