//! Opens the parts of a socket: what one may need, by what its client or its upstream says of it.

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, Method};

use super::session::Session;
use crate::dialect::outline::InputCeiling;
use crate::dialect::path::{Dialect, Endpoint, Operation};
use crate::dialect::request::{self, RequestFacts};
use crate::dialect::socket::{UNCAPPED, Wanted};
use crate::proxy::error::Refusal;
use crate::proxy::exchange::{Books, Exchange};
use crate::proxy::headers;
use crate::proxy::hold::withdraw;
use crate::proxy::part;
use crate::proxy::request::{ReadRequest, RequestBody};
use crate::proxy::settle::End;
use crate::routing::router::{Target, UpstreamIndex};

/// What an event that asks for a response says, as a request's body would.
#[derive(Debug, Clone)]
pub(super) struct Survey {
    pub(super) facts: Arc<RequestFacts>,
    pub(super) ceiling: InputCeiling,
}

/// The endpoint of a socket's responses: as if each had been asked for alone.
pub(super) fn endpoint_of_parts(socket: &Endpoint) -> Endpoint {
    let operation = match socket.operation {
        // what a live session has others do are responses, too
        Operation::ResponsesSocket | Operation::Live => Operation::Responses,
        _ => Operation::RealtimeResponse,
    };
    Endpoint { operation, ..socket.clone() }
}

/// Reads an event that asks for a response. One of a certain size is read off the worker.
pub(super) async fn survey(
    endpoint: &Endpoint,
    event: Bytes,
    wanted: &Wanted,
    session_cap: Option<u64>,
) -> Result<Survey, Refusal> {
    if endpoint.operation != Operation::Responses {
        return Ok(realtime(wanted.output_cap.or(session_cap)));
    }
    let read = |endpoint: &Endpoint, event: &[u8]| {
        let read = request::read(endpoint, None, event);
        let (facts, ceiling) = read.map_err(|fault| Refusal::BadRequest(fault.message))?;
        Ok(Survey { facts: Arc::new(facts), ceiling })
    };
    if event.len() <= SMALL_EVENT {
        return read(endpoint, &event);
    }
    let endpoint = endpoint.clone();
    let read = tokio::task::spawn_blocking(move || read(&endpoint, &event)).await;
    read.unwrap_or_else(|_| Err(Refusal::BadRequest("it could not be read".into())))
}

/// Up to this size an event is read in well under a millisecond.
const SMALL_EVENT: usize = 256 << 10;

/// A response of a Realtime session, which works on all that the session has heard: what events show of that is
/// audio of unknown length, so only the model's window bounds it.
pub(super) fn realtime(output_cap: Option<u64>) -> Survey {
    let output_cap = output_cap.filter(|cap| *cap != UNCAPPED);
    let facts = RequestFacts {
        choices: 1,
        output_cap: Some(output_cap.unwrap_or(REALTIME_OUTPUT)),
        ..RequestFacts::default()
    };
    let ceiling = InputCeiling { tokens: REALTIME_INPUT, of_images: 0, is_open: false };
    Survey { facts: Arc::new(facts), ceiling }
}

/// The most that a Realtime response puts out (`max_output_tokens` is 1 to 4096, or `inf`, which is the same).
const REALTIME_OUTPUT: u64 = 4_096;
/// The window of a Realtime model that the catalogue has none for; the largest that there was in 2026.
const REALTIME_INPUT: u64 = 131_072;

/// A Live session, which is billed by the second.
pub(super) fn live() -> Survey {
    let facts = RequestFacts { choices: 1, output_cap: Some(0), ..RequestFacts::default() };
    Survey { facts: Arc::new(facts), ceiling: InputCeiling { tokens: 0, of_images: 0, is_open: false } }
}

/// A response that an upstream begins in a lane by itself goes on from the one before it: on its input, its output,
/// and what the client has said since.
pub(super) fn successor(before: &Survey, most_output: u64, said: u64) -> Survey {
    let more = most_output.saturating_add(said);
    let ceiling = InputCeiling { tokens: before.ceiling.tokens.saturating_add(more), ..before.ceiling };
    Survey { facts: Arc::clone(&before.facts), ceiling }
}

/// A part and what it needs.
#[derive(Debug)]
pub(super) struct Opened {
    pub(super) x: Exchange,
    pub(super) request: ReadRequest,
    /// The model as the upstream knows it.
    pub(super) model: String,
}

/// Opens a part of `session` for `model`, or for the socket's own.
pub(super) fn open(
    session: &Session,
    endpoint: &Endpoint,
    survey: &Survey,
    event: Bytes,
    model: Option<&str>,
) -> Opened {
    let whole = session.books();
    let mut x = Exchange::part_of(whole, endpoint.clone());
    if let Some(model) = model {
        let model = headers::bounded(model);
        (x.record.upstream_model, x.record.model) = (model.clone(), model);
    }
    let asked = model.map_or_else(|| x.record.model.clone(), str::to_owned);
    x.facts = Arc::clone(&survey.facts);
    x.prompt = event.clone();
    x.record.stream = true;
    x.record.status = http::StatusCode::OK.as_u16();
    let model = x.record.upstream_model.clone();
    let upstream = index_of(whole);
    let target = Target { upstream, model: Some(model.clone()).filter(|model| !model.is_empty()) };
    let request = ReadRequest {
        method: Method::GET,
        path: String::new(),
        query: None,
        headers: HeaderMap::new(),
        body: RequestBody::Whole(event),
        model: asked,
        facts: Arc::clone(&survey.facts),
        ceiling: survey.ceiling,
        // what a client said in a socket goes on as it is, or not at all
        can_splice: false,
        targets: vec![target],
        cap_to: None,
        cache_ttl: None,
    };
    Opened { x, request, model }
}

/// Whether the key may still ask: a socket outlives the policy that it was opened with, which has it as it was.
pub(super) fn check_key(whole: &Books) -> Result<(), Refusal> {
    let Some(account) = &whole.account else { return Ok(()) };
    let Some(now) = whole.door.live.snapshot().account_of(&account.team, &account.key) else {
        return Err(Refusal::UnknownKey);
    };
    let is_over = now.rules.as_ref().is_some_and(|rules| rules.expired(whole.now()));
    if is_over { Err(Refusal::ExpiredKey) } else { Ok(()) }
}

/// A wish whose inner settings name a model is for none but the `admitted` one, else that of the socket: upstreams
/// differ in which of two they take.
pub(super) fn check_model(whole: &Books, admitted: Option<&str>, inner: &str) -> Result<(), Refusal> {
    let own = [&whole.record.model, &whole.record.upstream_model];
    let is_own = admitted.map_or_else(|| own.iter().any(|model| *model == inner), |model| model == inner);
    if inner.is_empty() || is_own { Ok(()) } else { Err(Refusal::ModelNotAllowed(headers::bounded(inner))) }
}

/// Whether routes send `model` where this socket leads, under that name: nothing in a frame is renamed, and a socket
/// has one upstream.
pub(super) fn check_route(whole: &Books, model: &str) -> Result<(), Refusal> {
    let (upstream, dice) = (index_of(whole), whole.door.chance.next_u64());
    let plan = whole.policy.plan(model, Dialect::OpenAi, Some(&whole.record.upstream), dice);
    let leads_here = |target: &Target| {
        target.upstream == upstream && target.model.as_deref().is_none_or(|sent| sent == model)
    };
    if plan.targets.iter().any(leads_here) {
        return Ok(());
    }
    let message = format!(
        "`routes` sends the model {:?} to another upstream than that of this socket, or under another name: open a \
         socket with `x-tollgate-upstream`, or name the upstream's own model",
        headers::bounded(model)
    );
    Err(Refusal::BadRequest(message))
}

fn index_of(whole: &Books) -> UpstreamIndex {
    let upstreams = &whole.policy.upstreams;
    upstreams.iter().position(|upstream| upstream.name == whole.record.upstream).unwrap_or_default()
}

/// Admits and begins a part that is under way already: at once or not at all.
pub(super) fn begin_now(session: &Session, mut opened: Opened) -> Result<Exchange, Refusal> {
    let Opened { x, request, model } = &mut opened;
    let begun = part::admit_begun(x, request).and_then(|()| part::begin(x, &session.upstream, model));
    match begun {
        Ok(_) => Ok(opened.x),
        Err(refusal) => {
            refuse(opened.x, &refusal);
            Err(refusal)
        }
    }
}

/// Closes a part that was not admitted.
pub(super) fn refuse(mut x: Exchange, refusal: &Refusal) {
    withdraw(&mut x);
    let face = refusal.face();
    x.record.status = face.status.as_u16();
    x.rejection = Some(face.reason);
    x.close(End::refused(face.outcome, face.code));
}

impl Survey {
    /// Of a response whose beginning says nothing: only the model's window bounds its input.
    pub(super) fn unknown() -> Self {
        let facts = RequestFacts { choices: 1, ..RequestFacts::default() };
        let ceiling = InputCeiling { tokens: 0, of_images: 0, is_open: true };
        Self { facts: Arc::new(facts), ceiling }
    }
}
