//! Carries a socket's bytes both ways, untouched, with one small buffer each way: a side that does not read holds up
//! the other. Nothing is put in but an error event or a close of ours, and only between two messages.

use std::future::pending;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, split};
use tokio::sync::{Notify, mpsc};
use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::sync::CancellationToken;

use super::Switched;
use super::gate::Gate;
use super::session::{Cut, Session};
use crate::dialect::deflate::{Agreed, Inflater};
use crate::dialect::frames::{Opcode, closing, frame};
use crate::dialect::messages::{Messages, Step};
use crate::proxy::exchange::Exchange;
use crate::proxy::settle::CLIENT_GONE;
use crate::store::record::Outcome;

/// How a socket ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ended {
    ClientLeft,
    UpstreamLeft,
    /// Nobody pays for what goes on in it.
    Cut(&'static str),
    /// Neither side said anything for too long.
    Idle,
    /// The process stops.
    Stopped,
    /// One side does not speak WebSocket.
    NotFrames,
}

/// What is put in for the client.
#[derive(Debug)]
pub(super) enum Word {
    /// An event; the socket goes on.
    Event(Vec<u8>),
    /// An event, and the end.
    Cut { event: Vec<u8>, code: &'static str },
    /// The end.
    Close(Ended),
}

/// What both directions share.
#[derive(Debug, Clone)]
pub(super) struct Shared {
    session: Arc<Mutex<Session>>,
    last: Arc<Mutex<Instant>>,
    /// Rung when a message of the upstream was read.
    news: Arc<Notify>,
}

impl Shared {
    pub(super) fn lock(&self) -> MutexGuard<'_, Session> {
        self.session.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Somebody said something.
    pub(super) fn note_life(&self) {
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
    }

    fn last_life(&self) -> Instant {
        *self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Words that wait for their turn; who has more to say waits.
const MOST_WORDS: usize = 16;
const BUFFER: usize = 16 << 10;
/// What is kept whole of an upstream's message; beyond, its beginning and its end.
const MOST_MESSAGE: usize = 1 << 20;
/// How long the other side may take to say goodbye.
const GOODBYE: Duration = Duration::from_secs(5);

/// Carries the socket to its end, and closes its books.
pub(super) async fn carry(x: Exchange, switched: Switched, stop: CancellationToken) {
    let Switched { client, upstream, agreed, _attempt } = switched;
    let most = usize::try_from(x.policy.bounds.max_body).unwrap_or(usize::MAX);
    let idle = x.policy.bounds.socket_idle;
    // the client's side is there as soon as the answer was written; a client that left has none
    let Ok((client, upstream)) = tokio::try_join!(client, upstream) else { return drop(x) };
    let (mut client, upstream) = (TokioIo::new(client), TokioIo::new(upstream));
    let session = match Session::open(x, agreed != Agreed::Unknown) {
        Ok(session) => session,
        Err(cut) => return say_no(&mut client, &cut).await,
    };
    let shared = Shared {
        session: Arc::new(Mutex::new(session)),
        last: Arc::new(Mutex::new(Instant::now())),
        news: Arc::new(Notify::new()),
    };
    let ended = Box::pin(both_ways(client, upstream, agreed, &shared, (most, idle), stop)).await;
    close(shared, ended);
}

type Side = TokioIo<Upgraded>;

async fn both_ways(
    client: Side,
    upstream: Side,
    agreed: Agreed,
    shared: &Shared,
    (most, idle): (usize, Duration),
    stop: CancellationToken,
) -> Ended {
    let (client_says, client_hears) = split(client);
    let (upstream_says, upstream_hears) = split(upstream);
    let (from_client, from_upstream) = inflaters(agreed);
    let (words, heard) = mpsc::channel(MOST_WORDS);
    let sides = (client_says, upstream_hears);
    let mut gate = Gate::new(sides, shared.clone(), words.clone(), Messages::new(most, from_client));
    let mut down = Down {
        upstream: upstream_says,
        client: client_hears,
        shared: shared.clone(),
        words: heard,
        messages: Messages::new(MOST_MESSAGE, from_upstream),
        closing: None,
    };
    let ended = {
        let (mut up, mut down) = (pin!(gate.run()), pin!(down.run()));
        let watch = pin!(watch(shared, idle, stop, words));
        tokio::select! {
            ended = &mut up => match ended {
                // what the upstream has still to say may be a bill
                Ended::ClientLeft => timeout(GOODBYE, down).await.ok().filter(is_ours).unwrap_or(ended),
                _ => ended,
            },
            ended = &mut down => match ended {
                Ended::UpstreamLeft => {
                    let _ = timeout(GOODBYE, up).await;
                    ended
                }
                _ => ended,
            },
            ended = watch => ended,
        }
    };
    if is_ours(&ended) {
        // so that the client reads our last words before its connection is gone
        let mut rest = [0; 1024];
        let read_on = async { while matches!(gate.client.read(&mut rest).await, Ok(read) if read > 0) {} };
        let _ = timeout(GOODBYE, read_on).await;
    }
    ended
}

fn is_ours(ended: &Ended) -> bool {
    matches!(ended, Ended::Cut(_) | Ended::Idle | Ended::Stopped)
}

fn inflaters(agreed: Agreed) -> (Option<Inflater>, Option<Inflater>) {
    match agreed {
        Agreed::Plain | Agreed::Unknown => (None, None),
        Agreed::Deflate { client_begins_anew, server_begins_anew } => {
            (Some(Inflater::new(client_begins_anew)), Some(Inflater::new(server_begins_anew)))
        }
    }
}

/// Ends a socket that is silent, or whose process stops: at its next rest, or at the end of the time there is.
async fn watch(shared: &Shared, idle: Duration, stop: CancellationToken, words: mpsc::Sender<Word>) -> Ended {
    let is_silent = async {
        loop {
            let until = shared.last_life() + idle;
            sleep_until(until).await;
            if shared.last_life() + idle <= Instant::now() {
                return;
            }
        }
    };
    let is_told_to_stop = async {
        stop.cancelled().await;
        loop {
            let news = shared.news.notified();
            if shared.lock().is_at_rest() {
                return;
            }
            news.await;
        }
    };
    let ended = tokio::select! {
        () = is_silent => Ended::Idle,
        () = is_told_to_stop => Ended::Stopped,
    };
    let say = async {
        let _ = words.send(Word::Close(ended)).await;
        pending().await
    };
    // where not even that can be said, it ends without
    let _: Result<(), _> = timeout(2 * GOODBYE, say).await;
    ended
}

/// The way from the upstream to the client.
struct Down<R, W> {
    upstream: R,
    client: W,
    shared: Shared,
    words: mpsc::Receiver<Word>,
    messages: Messages,
    /// Set once the client was told that it is over: it is told nothing more.
    closing: Option<Ended>,
}

impl<R: AsyncRead + Unpin, W: AsyncWrite + Unpin> Down<R, W> {
    async fn run(&mut self) -> Ended {
        let mut buffer = vec![0; BUFFER];
        loop {
            let may_speak = self.messages.at_boundary() && self.closing.is_none();
            let read = tokio::select! {
                Some(word) = self.words.recv(), if may_speak => match self.say(word).await {
                    Ok(()) => continue,
                    Err(ended) => return ended,
                },
                read = self.upstream.read(&mut buffer) => read.unwrap_or(0),
            };
            if read == 0 {
                let _ = self.client.shutdown().await;
                return self.closing.unwrap_or(Ended::UpstreamLeft);
            }
            self.shared.note_life();
            if let Err(ended) = self.take(&buffer[..read]).await {
                return ended;
            }
        }
    }

    async fn take(&mut self, input: &[u8]) -> Result<(), Ended> {
        let (mut at, mut sent) = (0, 0);
        loop {
            let (taken, step) = self.messages.step(&input[at..]).map_err(|_| Ended::NotFrames)?;
            at += taken;
            match step {
                Step::More => break,
                Step::Message => {
                    let told = self.shared.lock().told(&self.messages.message());
                    self.shared.news.notify_one();
                    if let Err(cut) = told {
                        self.write(&input[sent..at]).await?;
                        return self.say(Word::Cut { event: cut.event, code: cut.code }).await;
                    }
                }
                Step::Closed => self.shared.lock().is_closing = true,
                Step::Control | Step::Data | Step::ControlEnded => continue,
            }
            if self.messages.at_boundary()
                && self.closing.is_none()
                && let Ok(word) = self.words.try_recv()
            {
                self.write(&input[sent..at]).await?;
                sent = at;
                self.say(word).await?;
            }
        }
        self.write(&input[sent..at]).await
    }

    async fn write(&mut self, bytes: &[u8]) -> Result<(), Ended> {
        if self.closing.is_some() || bytes.is_empty() {
            return Ok(());
        }
        self.shared.lock().note_sent(bytes.len());
        let written = self.client.write_all(bytes).await;
        if written.is_ok() && self.client.flush().await.is_ok() { Ok(()) } else { Err(Ended::ClientLeft) }
    }

    /// Says something of ours.
    async fn say(&mut self, word: Word) -> Result<(), Ended> {
        match word {
            Word::Event(event) => self.write(&frame(Opcode::Text, &event, None)).await,
            Word::Cut { event, code } => {
                self.write(&last_words(&event, code)).await?;
                let _ = self.client.shutdown().await;
                Err(Ended::Cut(code))
            }
            Word::Close(ended) => {
                let reason = if ended == Ended::Idle { "idle for too long" } else { "the gateway stops" };
                self.write(&frame(Opcode::Close, &closing(GOING_AWAY, reason), None)).await?;
                // the upstream hears it from the client, which answers a close with one
                self.closing = Some(ended);
                Ok(())
            }
        }
    }
}

/// The upstream's close codes: RFC 6455, 7.4.1.
const GOING_AWAY: u16 = 1001;
const POLICY: u16 = 1008;

fn last_words(event: &[u8], code: &str) -> Vec<u8> {
    let mut words = frame(Opcode::Text, event, None);
    words.extend(frame(Opcode::Close, &closing(POLICY, code), None));
    words
}

/// A socket that nobody pays for from its first second.
async fn say_no(client: &mut Side, cut: &Cut) {
    let say = async {
        client.write_all(&last_words(&cut.event, cut.code)).await?;
        client.shutdown().await?;
        let mut rest = [0; 1024];
        while client.read(&mut rest).await? > 0 {}
        std::io::Result::Ok(())
    };
    let _ = timeout(GOODBYE, say).await;
}

fn close(shared: Shared, ended: Ended) {
    let Shared { session, .. } = shared;
    let Some(session) = Arc::into_inner(session) else { return };
    let session = session.into_inner().unwrap_or_else(PoisonError::into_inner);
    let (outcome, error) = match ended {
        Ended::Cut(code) => (Outcome::Cut, code),
        Ended::Idle => (Outcome::Cancelled, "socket_idle"),
        Ended::Stopped => (Outcome::Completed, ""),
        _ if session.is_closing => (Outcome::Completed, ""),
        Ended::ClientLeft => (Outcome::Cancelled, CLIENT_GONE),
        Ended::UpstreamLeft => (Outcome::Truncated, "stream_interrupted"),
        Ended::NotFrames => (Outcome::Truncated, "invalid_frames"),
    };
    session.end(outcome, error);
}
