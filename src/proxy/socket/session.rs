//! The books of one socket: its own, and those of the responses that are under way in it. Every response that the
//! upstream tells of is billed, whoever began it; an end that is told twice is billed once.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use http::StatusCode;

use super::live::LiveBill;
use super::open::{self, Opened, Survey};
use super::settings::InForce;
use crate::budget::Need;
use crate::dialect::error::About;
use crate::dialect::messages::Message;
use crate::dialect::meter::Reading;
use crate::dialect::path::{Endpoint, Operation};
use crate::dialect::socket::{self, AnswerReader, Lane, Refused, Settings, Told, Wanted};
use crate::proxy::error::Refusal;
use crate::proxy::exchange::{Books, Exchange};
use crate::proxy::part;
use crate::proxy::settle::{CLIENT_GONE, End};
use crate::store::record::Outcome;
use crate::upstream::client::SendFault;
use crate::upstream::endpoint::Upstream;

/// What is open in one socket.
#[derive(Debug)]
pub(super) struct Session {
    /// `None` once they were closed.
    whole: Option<Exchange>,
    /// Of the parts.
    pub(super) endpoint: Endpoint,
    pub(super) upstream: Arc<Upstream>,
    /// Whether its messages are read.
    pub(super) is_metered: bool,
    pub(super) settings: InForce,
    /// Asked for and not begun, oldest first.
    asked: VecDeque<Awaited>,
    answering: Vec<Answering>,
    /// The last response of each lane, oldest first.
    before: VecDeque<Before>,
    /// Responses that were billed, oldest first.
    billed: VecDeque<String>,
    live: Option<LiveBill>,
    /// Bytes that the client has said since it last asked.
    said: u64,
    /// One side has said that it closes.
    pub(super) is_closing: bool,
    /// How parts end that are open when the socket ends.
    ending: (Outcome, &'static str),
}

/// Responses at once, and lanes that are remembered; the API allows far fewer.
const MOST_AT_ONCE: usize = 64;

/// A response that a client asked for.
#[derive(Debug)]
struct Awaited {
    x: Exchange,
    wanted: Wanted,
    survey: Survey,
}

/// A response under way.
#[derive(Debug)]
struct Answering {
    lane: Lane,
    x: Exchange,
    survey: Survey,
    reader: AnswerReader,
}

/// What a successor goes on from.
#[derive(Debug)]
struct Before {
    stream_id: String,
    model: String,
    survey: Survey,
    most_output: u64,
}

/// Why a socket is cut: what its client is told.
#[derive(Debug)]
pub(super) struct Cut {
    pub(super) event: Vec<u8>,
    pub(super) code: &'static str,
}

impl Session {
    /// The books of a socket that was just agreed on. A Live session is held for from its first second.
    pub(super) fn open(whole: Exchange, is_read: bool) -> Result<Self, Cut> {
        let operation = whole.endpoint.operation;
        let endpoint = open::endpoint_of_parts(&whole.endpoint);
        let named = |upstream: &&Arc<Upstream>| upstream.name == whole.record.upstream;
        let upstream = whole.policy.upstreams.iter().find(named);
        let upstream = Arc::clone(upstream.expect("a socket is to an upstream of its policy"));
        let mut session = Self {
            endpoint,
            upstream,
            is_metered: is_read && operation.is_socket(),
            settings: InForce::default(),
            asked: VecDeque::new(),
            answering: Vec::new(),
            before: VecDeque::new(),
            billed: VecDeque::new(),
            live: None,
            said: 0,
            is_closing: false,
            ending: (Outcome::Cancelled, CLIENT_GONE),
            whole: Some(whole),
        };
        if operation == Operation::Live && session.is_metered {
            let opened = LiveBill::open(&session);
            session.live = Some(opened.map_err(|refusal| session.cut(&refusal))?);
        }
        Ok(session)
    }

    /// The socket's own books.
    pub(super) fn books(&self) -> &Books {
        self.whole.as_ref().expect("the books of a socket are open until its end, which consumes the session")
    }

    /// Notes bytes that went to the client.
    pub(super) fn note_sent(&mut self, bytes: usize) {
        if let Some(whole) = &mut self.whole {
            whole.record.response_bytes += bytes as u64;
        }
    }

    /// Notes bytes of a message that went to the upstream.
    pub(super) fn note_said(&mut self, bytes: usize) {
        self.said = self.said.saturating_add(bytes as u64);
    }

    /// Whether no response is under way.
    pub(super) fn is_at_rest(&self) -> bool {
        self.asked.is_empty() && self.answering.is_empty()
    }

    /// Opens a part that a client asks for; nothing is held for it yet.
    pub(super) fn open_asked(
        &self,
        wanted: &Wanted,
        survey: &Survey,
        event: Bytes,
    ) -> Result<Opened, (Exchange, Refusal)> {
        let named = survey.facts.model.as_deref();
        let before = self.before.back().map(|before| before.model.as_str());
        let model = if self.endpoint.operation == Operation::Responses { named.or(before) } else { None };
        let opened = open::open(self, &self.endpoint, survey, event, model);
        let routed = || model.map_or(Ok(()), |model| open::check_route(self.books(), model));
        let checked = open::check_key(self.books())
            .and_then(|()| open::check_model(self.books(), model, &wanted.model))
            .and_then(|()| routed());
        let is_full = self.asked.len() + self.answering.len() >= MOST_AT_ONCE;
        match checked {
            Ok(()) if is_full => Err((opened.x, Refusal::Overloaded)),
            Ok(()) => Ok(opened),
            Err(refusal) => Err((opened.x, refusal)),
        }
    }

    /// A part was admitted, and its wish goes to the upstream now.
    pub(super) fn expect(&mut self, x: Exchange, wanted: Wanted, survey: Survey) {
        self.said = 0;
        self.asked.push_back(Awaited { x, wanted, survey });
    }

    /// What a client sets from here on. The model is not among it: the socket was admitted for its own.
    pub(super) fn wish(&mut self, settings: Settings) -> Result<(), Refusal> {
        open::check_model(self.books(), None, settings.model.as_deref().unwrap_or_default())?;
        self.settings.wish(settings);
        Ok(())
    }

    /// Takes in what the upstream tells. A part that nobody pays for ends the socket.
    pub(super) fn told(&mut self, message: &Message<'_>) -> Result<(), Cut> {
        if !self.is_metered {
            return Ok(());
        }
        if message.is_unread && self.books().has_budget() {
            // nor will those after it be read: what is made from here on would be free
            return Err(self.cut(&Refusal::Unreachable(SendFault::InvalidResponse)));
        }
        let told = match socket::told(message) {
            Told::Session(settings) => {
                self.settings.tell(settings);
                Ok(())
            }
            Told::Began(lane, model) => self.begin(lane, &model, message),
            Told::Going(lane) => {
                self.go_on(&lane, message);
                Ok(())
            }
            Told::Ended(lane) => self.finish(&lane, message),
            Told::Transcribed(reading) => self.bill_transcription(*reading),
            Told::Seconds(seconds) => self.live.as_mut().map_or(Ok(()), |live| live.tell(seconds)),
            Told::Refused(refused) => {
                self.give_up(&refused);
                Ok(())
            }
            Told::Nothing => Ok(()),
        };
        told.map_err(|refusal| self.cut(&refusal))
    }

    fn cut(&self, refusal: &Refusal) -> Cut {
        let event = refusal.socket_event(self.books().id, About::default());
        Cut { event, code: refusal.face().code }
    }

    fn begin(&mut self, lane: Lane, model: &str, message: &Message<'_>) -> Result<(), Refusal> {
        let is_known = |id: &String| !id.is_empty() && *id == lane.response_id;
        if self.billed.iter().any(is_known)
            || self.answering.iter().any(|one| is_known(&one.lane.response_id))
        {
            return Ok(());
        }
        let in_lane = |one: &Awaited| !lane.stream_id.is_empty() && one.wanted.stream_id == lane.stream_id;
        let place = self.asked.iter().position(in_lane);
        let awaited = match place {
            Some(place) => self.asked.remove(place),
            None => self.asked.pop_front(),
        };
        let (x, survey) = match awaited {
            Some(Awaited { x, survey, .. }) => (x, survey),
            None if self.answering.len() >= MOST_AT_ONCE => return Err(Refusal::Overloaded),
            None => self.begin_by_itself(&lane, model)?,
        };
        let mut answering = Answering { lane, x, survey, reader: AnswerReader::default() };
        answering.observe(message);
        self.answering.push(answering);
        Ok(())
    }

    /// A response that nobody asked for in so many words: voice was heard, or a steered lane goes on.
    fn begin_by_itself(&self, lane: &Lane, model: &str) -> Result<(Exchange, Survey), Refusal> {
        open::check_key(self.books())?;
        if self.endpoint.operation != Operation::Responses {
            let survey = open::realtime(self.settings.output_cap());
            let x = open::begin_now(self, open::open(self, &self.endpoint, &survey, Bytes::new(), None))?;
            return Ok((x, survey));
        }
        let before = self.before.iter().rev().find(|before| before.stream_id == lane.stream_id);
        let before = before.or_else(|| self.before.back());
        let (survey, model) = match before {
            Some(before) => {
                let survey = open::successor(&before.survey, before.most_output, self.said);
                (survey, before.model.as_str())
            }
            None => (Survey::unknown(), model),
        };
        let x = open::begin_now(self, open::open(self, &self.endpoint, &survey, Bytes::new(), Some(model)))?;
        Ok((x, survey))
    }

    fn go_on(&mut self, lane: &Lane, message: &Message<'_>) {
        if let Some(place) = self.place(lane) {
            self.answering[place].observe(message);
        }
    }

    /// By its id; else by its lane; else it is the only one.
    fn place(&self, lane: &Lane) -> Option<usize> {
        if !lane.response_id.is_empty() {
            return self.answering.iter().position(|one| one.lane.response_id == lane.response_id);
        }
        let in_lane = |one: &Answering| one.lane.stream_id == lane.stream_id;
        let place = self.answering.iter().position(in_lane);
        place.or_else(|| (self.answering.len() == 1).then_some(0))
    }

    fn finish(&mut self, lane: &Lane, message: &Message<'_>) -> Result<(), Refusal> {
        if self.place(lane).is_none() {
            // its beginning was not seen: it is billed all the same
            self.begin(lane.clone(), "", message)?;
        }
        let Some(place) = self.place(lane) else { return Ok(()) };
        let Answering { lane, x, survey, mut reader } = self.answering.remove(place);
        reader.observe(message);
        let (model, most_output) = (x.record.model.clone(), x.most_output);
        let mut reading = reader.finish();
        // realtime names its model once, for the session
        reading.model = reading.model.or_else(|| self.settings.model().map(str::to_owned));
        self.remember(Before { stream_id: lane.stream_id, model, survey, most_output });
        self.billed.push_back(lane.response_id);
        if self.billed.len() > MOST_AT_ONCE {
            self.billed.pop_front();
        }
        x.close(End::answered(StatusCode::OK, reading, true));
        Ok(())
    }

    fn remember(&mut self, before: Before) {
        self.before.retain(|other| other.stream_id != before.stream_id);
        self.before.push_back(before);
        if self.before.len() > MOST_AT_ONCE {
            self.before.pop_front();
        }
    }

    /// The model that writes down what was said sends a bill of its own.
    fn bill_transcription(&mut self, reading: Reading) -> Result<(), Refusal> {
        let endpoint = Endpoint { operation: Operation::Transcriptions, ..self.endpoint.clone() };
        let mut x = Exchange::part_of(self.books(), endpoint);
        let model = self.settings.transcription_model().unwrap_or_default().to_owned();
        (x.record.model, x.record.upstream_model) = (model.clone(), model.clone());
        x.record.status = StatusCode::OK.as_u16();
        x.unpriced = crate::proxy::budgets::terms(&x).unpriced;
        // it was used already
        part::impose(&mut x, Need { requests: 1, ..Need::default() });
        part::begin(&mut x, &self.upstream, &model)?;
        x.close(End::answered(StatusCode::OK, reading, true));
        Ok(())
    }

    /// The upstream says no to what a client asked: nothing was made. If it was about something else and the response
    /// begins after all, as much is held for it again.
    fn give_up(&mut self, refused: &Refused) {
        let Some(place) = self.refused_place(refused) else { return };
        let Some(Awaited { mut x, wanted, survey }) = self.asked.remove(place) else { return };
        let (model, most_output) = (x.record.model.clone(), x.most_output);
        self.remember(Before { stream_id: wanted.stream_id, model, survey, most_output });
        if let Some(attempt) = x.attempts.last_mut() {
            attempt.status = Some(StatusCode::BAD_REQUEST.as_u16());
        }
        x.record.status = StatusCode::BAD_REQUEST.as_u16();
        let code = if refused.code.is_empty() { "upstream_error" } else { refused.code.as_str() };
        x.close(End::broken(Outcome::UpstreamError, code, Reading::default()));
    }

    /// The one that an error names; else the oldest that it may be about.
    fn refused_place(&self, refused: &Refused) -> Option<usize> {
        let names = |named: &str, own: &str| !named.is_empty() && named == own;
        let is_it = |one: &Awaited| {
            names(&refused.event_id, &one.wanted.event_id) || names(&refused.stream_id, &one.wanted.stream_id)
        };
        let may_be = |one: &Awaited| {
            let (lane, own) = (&refused.stream_id, &one.wanted.stream_id);
            !refused.names_cause && (lane.is_empty() || own.is_empty())
        };
        self.asked.iter().position(is_it).or_else(|| self.asked.iter().position(may_be))
    }

    /// Closes all books.
    pub(super) fn end(mut self, outcome: Outcome, error: &'static str) {
        self.ending =
            if outcome == Outcome::Completed { (Outcome::Cancelled, CLIENT_GONE) } else { (outcome, error) };
        self.close_parts();
        let reading = Reading { ended: true, ..Reading::default() };
        let Some(whole) = self.whole.take() else { return };
        whole.close(match outcome {
            Outcome::Completed => End::answered(StatusCode::SWITCHING_PROTOCOLS, reading, true),
            _ => End::broken(outcome, error, reading),
        });
    }

    fn close_parts(&mut self) {
        let (outcome, error) = self.ending;
        for Awaited { x, .. } in self.asked.drain(..) {
            x.close(End::broken(outcome, error, Reading::default()));
        }
        for Answering { x, reader, .. } in self.answering.drain(..) {
            x.close(End::broken(outcome, error, reader.finish()));
        }
        if let Some(live) = self.live.take() {
            live.close(outcome, error);
        }
    }
}

impl Drop for Session {
    /// Dropped by the runtime, or by a panic.
    fn drop(&mut self) {
        self.close_parts();
    }
}

impl Answering {
    fn observe(&mut self, message: &Message<'_>) {
        self.reader.observe(message);
        if self.reader.output_so_far() > 0 {
            self.x.note_first_output();
        }
    }
}
