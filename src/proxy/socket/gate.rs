//! The way from the client to the upstream. What a client says passes as it came; a message that asks for a response
//! waits here until it is admitted, and one that is refused never leaves.

use std::ops::Range;
use std::time::Duration;

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::sync::{OwnedSemaphorePermit, mpsc};
use tokio::time::{Instant, timeout_at};

use super::open::{self, Opened};
use super::tunnel::{Ended, Shared, Word};
use crate::dialect::error::About;
use crate::dialect::messages::{Messages, Step};
use crate::dialect::path::Operation;
use crate::dialect::socket::{self, Asked, Wanted};
use crate::ledger::journal::Ticket;
use crate::proxy::error::Refusal;
use crate::proxy::intake::{SLOWEST_BYTES_PER_SECOND, memory_of};
use crate::proxy::part;

/// The client's half of a socket.
pub(super) struct Gate<R, W> {
    pub(super) client: R,
    pub(super) upstream: W,
    pub(super) shared: Shared,
    /// What the client is told between two of the upstream's messages.
    pub(super) words: mpsc::Sender<Word>,
    way: Way,
}

/// The bytes that wait, and what becomes of the message under way.
struct Way {
    operation: Operation,
    messages: Messages,
    /// Bytes of a frame's head of which nobody knows yet whose it is.
    loose: Vec<u8>,
    held: Vec<u8>,
    /// Where pings, pongs and closes stand in it: they pass whatever becomes of the message.
    controls: Vec<Range<usize>>,
    turn: Turn,
    /// The longest message that is held.
    most: usize,
    room: Room,
}

/// What a message has of the memory for bodies.
#[derive(Debug, Default)]
struct Room {
    permit: Option<OwnedSemaphorePermit>,
    bytes: usize,
    /// When it began to take it, and when it last grew to how much: pings are no growth.
    since: Option<Instant>,
    grown: Option<(Instant, usize)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Turn {
    /// It waits for its end.
    Held,
    /// It asks for nothing: its bytes go on as they come.
    Passing,
    /// It was refused before its end.
    Dropped,
}

/// What waits, or is kept to be read, without taking from the memory for bodies; beyond, it is taken in such steps.
const FREE: usize = 128 << 10;
const BUFFER: usize = 16 << 10;

impl<R: AsyncRead + Unpin, W: AsyncWrite + Unpin> Gate<R, W> {
    pub(super) fn new(sides: (R, W), shared: Shared, words: mpsc::Sender<Word>, messages: Messages) -> Self {
        let (operation, most) = {
            let session = shared.lock();
            let books = session.books();
            let most = usize::try_from(books.policy.bounds.max_body).unwrap_or(usize::MAX);
            (books.endpoint.operation, most)
        };
        let way = Way {
            operation,
            messages,
            loose: Vec::new(),
            held: Vec::new(),
            controls: Vec::new(),
            turn: Turn::Held,
            most,
            room: Room::default(),
        };
        Self { client: sides.0, upstream: sides.1, shared, words, way }
    }

    /// Until the client says no more, or one side breaks off.
    pub(super) async fn run(&mut self) -> Ended {
        let mut buffer = vec![0; BUFFER];
        let patience = self.shared.lock().books().policy.bounds.body_timeout;
        loop {
            let read = self.client.read(&mut buffer);
            let read = match self.way.deadline(patience) {
                None => read.await,
                Some(deadline) => match timeout_at(deadline, read).await {
                    Ok(read) => read,
                    Err(_) => match self.refuse_unread(Refusal::BodyTimeout).await {
                        Ok(()) => continue,
                        Err(ended) => return ended,
                    },
                },
            };
            let read = match read {
                Ok(0) | Err(_) => {
                    // the upstream hears of it, and may still end what it has begun
                    let _ = self.upstream.shutdown().await;
                    return Ended::ClientLeft;
                }
                Ok(read) => read,
            };
            self.shared.note_life();
            if let Err(ended) = self.take(&buffer[..read]).await {
                return ended;
            }
        }
    }

    async fn take(&mut self, input: &[u8]) -> Result<(), Ended> {
        let mut rest = input;
        loop {
            let (taken, step) = self.way.messages.step(rest).map_err(|_| Ended::NotFrames)?;
            let (bytes, after) = rest.split_at(taken);
            rest = after;
            self.way.keep(bytes, step);
            match step {
                Step::More => break,
                Step::Message => self.decide().await?,
                Step::Closed => self.shared.lock().is_closing = true,
                Step::Control | Step::Data | Step::ControlEnded => {}
            }
            if self.way.is_between_messages() {
                self.flush().await?;
            }
        }
        self.look().await
    }

    /// A message that is longer than what just waits.
    async fn look(&mut self) -> Result<(), Ended> {
        let is_metered = self.shared.lock().is_metered;
        match self.way.turn {
            _ if !self.way.messages.is_under_way() => {}
            Turn::Held if !is_metered || !self.way.may_be_event() => self.way.pass(),
            Turn::Held if self.way.held.len() > self.way.most => {
                let limit = self.shared.lock().books().policy.bounds.body_limit();
                return self.refuse_unread(Refusal::BodyTooLarge(limit)).await;
            }
            Turn::Held => return self.take_room().await,
            Turn::Passing | Turn::Dropped => {}
        }
        self.flush().await
    }

    /// The copy that is read may take far more than the bytes themselves: they may be compressed.
    async fn take_room(&mut self) -> Result<(), Ended> {
        let way = &mut self.way;
        while way.held.len() + way.messages.kept() > FREE + way.room.bytes {
            let door = self.shared.lock().books().door.clone();
            match memory_of(&door, FREE as u64).await {
                Ok(permit) => {
                    way.room.bytes += FREE;
                    way.room.since.get_or_insert_with(Instant::now);
                    match &mut way.room.permit {
                        Some(memory) => memory.merge(permit),
                        none => *none = Some(permit),
                    }
                }
                Err(refusal) => return self.refuse_unread(refusal).await,
            }
        }
        way.note_growth();
        Ok(())
    }

    /// Refuses a message that has no books yet.
    async fn refuse_unread(&mut self, refusal: Refusal) -> Result<(), Ended> {
        let opened = {
            let session = self.shared.lock();
            open::open(&session, &session.endpoint, &open::Survey::unknown(), Bytes::new(), None)
        };
        let id = opened.x.id;
        open::refuse(opened.x, &refusal);
        let event = refusal.socket_event(id, About::default());
        self.drop_message(event, refusal.face().code).await
    }

    /// The whole message is there.
    async fn decide(&mut self) -> Result<(), Ended> {
        let is_metered = self.shared.lock().is_metered;
        if self.way.turn == Turn::Held && is_metered {
            let message = self.way.messages.message();
            let bytes = message.bytes.len();
            match socket::asked(self.way.operation, &message) {
                Asked::Response(wanted) if self.way.operation != Operation::Live => {
                    let event = Bytes::copy_from_slice(message.bytes);
                    let ticket = self.ask(wanted, event).await?;
                    self.pass_on(ticket).await?;
                }
                Asked::Session(settings) => {
                    let wished = self.shared.lock().wish(settings);
                    if let Err(refusal) = wished {
                        self.refuse_unread(refusal).await?;
                    }
                }
                Asked::Unreadable => {
                    let fault = "an event in a socket must be one JSON object with one `type`".to_owned();
                    self.refuse_unread(Refusal::BadRequest(fault)).await?;
                }
                Asked::Response(_) | Asked::Other => self.shared.lock().note_said(bytes),
            }
        }
        self.flush().await?;
        self.way.begin_anew();
        Ok(())
    }

    /// Asks for a response. `None` if it was refused, and its message dropped.
    async fn ask(&mut self, wanted: Wanted, event: Bytes) -> Result<Option<Ticket>, Ended> {
        let (endpoint, cap) = {
            let session = self.shared.lock();
            (session.endpoint.clone(), session.settings.output_cap())
        };
        let survey = match open::survey(&endpoint, event.clone(), &wanted, cap).await {
            Ok(survey) => survey,
            Err(refusal) => {
                self.refuse_unread(refusal).await?;
                return Ok(None);
            }
        };
        let opened = self.shared.lock().open_asked(&wanted, &survey, event);
        let (x, refusal) = match opened {
            Err(refused) => refused,
            Ok(Opened { mut x, mut request, model }) => {
                let admitted = part::admit(&mut x, &mut request).await;
                let mut session = self.shared.lock();
                match admitted.and_then(|()| part::begin(&mut x, &session.upstream, &model)) {
                    Ok(ticket) => {
                        session.expect(x, wanted, survey);
                        return Ok(Some(ticket));
                    }
                    Err(refusal) => (x, refusal),
                }
            }
        };
        let about = About { event_id: &wanted.event_id, stream_id: &wanted.stream_id };
        let event = refusal.socket_event(x.id, about);
        open::refuse(x, &refusal);
        self.drop_message(event, refusal.face().code).await?;
        Ok(None)
    }

    /// The upstream gets what was admitted; an fsync, where one is asked for, overlaps its work.
    async fn pass_on(&mut self, ticket: Option<Ticket>) -> Result<(), Ended> {
        let Some(ticket) = ticket else { return Ok(()) };
        self.flush().await?;
        let journal = self.shared.lock().books().door.journal.clone();
        journal.durable(ticket).await.map_err(|_| Ended::Cut("ledger_unavailable"))
    }

    /// The client is told, and the message never leaves. Where messages refer to each other, none can be left out:
    /// the socket ends.
    async fn drop_message(&mut self, event: Vec<u8>, code: &'static str) -> Result<(), Ended> {
        let ends = self.way.messages.has_memory();
        self.way.drop_data();
        let word = if ends { Word::Cut { event, code } } else { Word::Event(event) };
        // nobody hears it only if the socket has ended
        let _ = self.words.send(word).await;
        if ends { std::future::pending().await } else { Ok(()) }
    }

    async fn flush(&mut self) -> Result<(), Ended> {
        let way = &mut self.way;
        if way.held.is_empty() {
            return Ok(());
        }
        let written = self.upstream.write_all(&way.held).await;
        way.held.clear();
        way.controls.clear();
        if written.is_ok() && self.upstream.flush().await.is_ok() { Ok(()) } else { Err(Ended::UpstreamLeft) }
    }
}

impl Way {
    fn keep(&mut self, bytes: &[u8], step: Step) {
        if step == Step::More {
            return self.loose.extend_from_slice(bytes);
        }
        if bytes.is_empty() {
            return;
        }
        let is_control = step == Step::Control;
        if self.turn == Turn::Dropped && !is_control {
            return self.loose.clear();
        }
        let from = self.held.len();
        self.held.append(&mut self.loose);
        self.held.extend_from_slice(bytes);
        if is_control {
            self.controls.push(from..self.held.len());
        }
    }

    /// Drops the bytes of the message so far, and of the rest of it.
    fn drop_data(&mut self) {
        let mut kept = Vec::new();
        for control in self.controls.drain(..) {
            kept.extend_from_slice(&self.held[control]);
        }
        self.held = kept;
        self.turn = Turn::Dropped;
        self.messages.pass_over();
        self.room = Room::default();
    }

    fn is_between_messages(&self) -> bool {
        self.messages.at_boundary()
    }

    fn note_growth(&mut self) {
        let kept = self.messages.kept();
        if self.room.since.is_some() && self.room.grown.is_none_or(|(_, before)| before != kept) {
            self.room.grown = Some((Instant::now(), kept));
        }
    }

    /// When a message that takes memory from others has to have gone on, as any body has.
    fn deadline(&self, patience: Duration) -> Option<Instant> {
        let for_its_size = Duration::from_secs(self.held.len() as u64 / SLOWEST_BYTES_PER_SECOND);
        let (since, (grown, _)) = self.room.since.zip(self.room.grown)?;
        Some((since + for_its_size).min(grown) + patience)
    }

    /// Whether the message under way may ask for something: that is known at its end, whatever stands before.
    fn may_be_event(&self) -> bool {
        socket::may_be_event(self.messages.is_text(), self.messages.so_far())
    }

    /// The message under way goes on as it comes, and nobody reads it.
    fn pass(&mut self) {
        self.turn = Turn::Passing;
        self.messages.pass_over();
        self.room = Room::default();
    }

    fn begin_anew(&mut self) {
        (self.turn, self.room) = (Turn::Held, Room::default());
        if self.held.capacity() > 2 * FREE && self.held.is_empty() {
            self.held = Vec::new();
        }
    }
}
