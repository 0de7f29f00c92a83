//! The differential test: answers of every dialect, cut anywhere and delayed anywhere, pass a relay. The client
//! gets the bytes that the upstream would have sent it, each event before the next one is sent, and the row is
//! that of the answer in one piece.
//!
//! `TOLLGATE_SLICINGS` says how many slicings (10,000), `TOLLGATE_SEED` where they begin (1).

use std::collections::VecDeque;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame};

use super::client::tests::{Asked, House};
use super::{Live, Relay};
use crate::dialect::answers::{Answer, Dice};
use crate::dialect::corpus::CORPUS;
use crate::dialect::meter::{Meter, Reading};
use crate::dialect::path::Operation;
use crate::dialect::unask::Unask;
use crate::store::record::Record;
use crate::upstream::endpoint::Draining;

/// Slicings of one answer in one mode.
const SLICINGS_OF_ONE: usize = 10;
/// Answers after which the books are compared.
const ANSWERS_OF_A_BATCH: usize = 100;

/// Who asked for usage.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    /// Nobody, `stream_usage: as_is`.
    Nobody,
    /// The client.
    Client,
    /// The gateway, `stream_usage: ask`.
    Gateway,
}

impl Mode {
    fn of(answer: &Answer) -> &'static [Self] {
        if answer.can_be_asked() { &[Self::Nobody, Self::Client, Self::Gateway] } else { &[Self::Nobody] }
    }

    fn sent(self, answer: &Answer) -> Vec<u8> {
        let of = |part: &crate::dialect::answers::Part| match self {
            Self::Nobody => part.unasked.clone(),
            Self::Client | Self::Gateway => part.asked.clone(),
        };
        answer.parts.iter().flat_map(of).collect()
    }

    /// What the client must have once the upstream has sent `sent` bytes: all of them, or where the gateway
    /// asked, all whole events of them.
    fn due(self, answer: &Answer, sent: usize) -> usize {
        if self != Self::Gateway {
            return sent;
        }
        let (mut came, mut due) = (0, 0);
        for part in &answer.parts {
            came += part.asked.len();
            if came > sent || !part.is_whole {
                break;
            }
            due += part.unasked.len();
        }
        due
    }

    /// The whole of what the client must get, and whether it may be less: a broken event may be missing.
    fn expected(self, answer: &Answer) -> Vec<u8> {
        let of_client = |part: &crate::dialect::answers::Part| match self {
            Self::Client => part.asked.clone(),
            Self::Nobody | Self::Gateway => part.unasked.clone(),
        };
        answer.parts.iter().flat_map(of_client).collect()
    }
}

/// An upstream's body that sends what the test hands it.
#[derive(Clone, Default)]
struct Played(Arc<Mutex<Stage>>);

#[derive(Default)]
struct Stage {
    pieces: VecDeque<Bytes>,
    /// Polls that find nothing before the next piece.
    pauses: usize,
    end: Option<End>,
    /// The length was told, so the end is known with the last byte.
    is_counted: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    Clean,
    BrokenOff,
}

impl Played {
    fn with<T>(&self, act: impl FnOnce(&mut Stage) -> T) -> T {
        act(&mut self.0.lock().unwrap())
    }

    fn is_idle(&self) -> bool {
        self.with(|stage| stage.pieces.is_empty() && stage.pauses == 0)
    }
}

impl Body for Played {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        self.with(|stage| {
            if stage.pauses > 0 {
                stage.pauses -= 1;
                return Poll::Pending;
            }
            match (stage.pieces.pop_front(), stage.end) {
                (Some(piece), _) => Poll::Ready(Some(Ok(Frame::data(piece)))),
                (None, Some(End::Clean)) => Poll::Ready(None),
                (None, Some(End::BrokenOff)) => Poll::Ready(Some(Err(io::ErrorKind::ConnectionReset.into()))),
                (None, None) => Poll::Pending,
            }
        })
    }

    fn is_end_stream(&self) -> bool {
        self.with(|stage| stage.is_counted && stage.end == Some(End::Clean) && stage.pieces.is_empty())
    }
}

/// What a client saw.
#[derive(Debug, PartialEq, Eq)]
struct Seen {
    bytes: Vec<u8>,
    ended_well: bool,
}

/// One answer on its way through a relay.
struct Run<'a> {
    answer: &'a Answer,
    mode: Mode,
    pieces: Vec<Bytes>,
    dice: Dice,
}

impl Run<'_> {
    /// Relays the pieces; after each one the client must have what is due.
    fn relay(mut self, house: &House) -> (Seen, u128) {
        let Answer { path, status, .. } = *self.answer;
        let x = house.ask(&Asked { path, status, stream: self.answer.is_stream() });
        let id = x.record.id;
        let meter =
            Meter::new(x.endpoint.operation, status, Some(self.answer.content_type), self.answer.encoding);
        let played = Played::default();
        played.with(|stage| stage.is_counted = self.dice.one_in(3));
        let mut relay = Relay::new(
            x,
            meter,
            Live {
                incoming: played.clone(),
                unask: (self.mode == Mode::Gateway).then(Unask::new),
                idle_timeout: Duration::from_secs(600),
                draining: Draining::Never,
                active: house.attempt(),
            },
        );
        let end = if self.answer.breaks_off { End::BrokenOff } else { End::Clean };
        let mut seen = Seen { bytes: Vec::new(), ended_well: false };
        let mut sent = 0;
        let last = self.pieces.len() - 1;
        for (number, piece) in std::mem::take(&mut self.pieces).into_iter().enumerate() {
            sent += piece.len();
            let pauses = if self.dice.one_in(4) { self.dice.below(4) } else { 0 };
            played.with(|stage| {
                stage.pieces.push_back(piece);
                stage.pauses = pauses;
                stage.end = (number == last).then_some(end);
            });
            let is_over = seen.read(&mut relay, &played);
            let due = self.mode.due(self.answer, sent);
            assert!(
                seen.bytes.len() >= due,
                "{} of {due} bytes came before the next were sent",
                seen.bytes.len()
            );
            assert_eq!(is_over, number == last, "it is over when it is");
        }
        (seen, id)
    }
}

impl Seen {
    /// Reads what can be read; says whether the answer is over.
    fn read<B: Body<Data = Bytes> + Send + Unpin + 'static>(
        &mut self,
        relay: &mut Relay<B>,
        played: &Played,
    ) -> bool {
        let mut cx = Context::from_waker(Waker::noop());
        loop {
            match relay.poll_frame(&mut cx) {
                Poll::Ready(Some(Ok(frame))) => self.bytes.extend_from_slice(frame.data_ref().unwrap()),
                Poll::Ready(Some(Err(_))) => return true,
                Poll::Ready(None) => {
                    self.ended_well = true;
                    return true;
                }
                Poll::Pending if played.is_idle() => return false,
                Poll::Pending => {}
            }
        }
    }
}

/// What of a row is the same for the same answer.
fn told(mut row: Record) -> Record {
    row.id = 0;
    (row.started_at, row.admitted_at) = (0, 0);
    (row.duration_us, row.first_token_us, row.overhead_us) = (0, 0, 0);
    row.trace_id.clear();
    row
}

fn reading<'a>(answer: &Answer, operation: Operation, pieces: impl IntoIterator<Item = &'a [u8]>) -> Reading {
    let mut meter = Meter::new(operation, answer.status, Some(answer.content_type), answer.encoding);
    for piece in pieces {
        meter.observe(piece);
    }
    meter.finish()
}

/// The bytes in pieces: none at all, single ones, a few, or large ones.
fn sliced(dice: &mut Dice, bytes: &[u8]) -> Vec<Bytes> {
    let whole = Bytes::copy_from_slice(bytes);
    let (most, least) = dice.pick(&[(1, 1), (4, 1), (40, 1), (300, 1), (5_000, 100), (3, 0)]);
    // a huge answer is not cut into single bytes
    let scale = 1 + bytes.len() / 20_000;
    let (mut pieces, mut at) = (Vec::new(), 0);
    while at < whole.len() {
        let size = (least + dice.below(most)) * scale;
        let end = (at + size).min(whole.len());
        pieces.push(whole.slice(at..end));
        at = end;
    }
    if pieces.is_empty() {
        pieces.push(whole);
    }
    pieces
}

/// Where a row is, and which row it must be like.
struct Twin {
    seed: u64,
    sliced: u128,
    whole: u128,
}

/// One answer, whole and in slices.
fn compare(house: &House, seed: u64, twins: &mut Vec<Twin>) -> usize {
    let mut dice = Dice(seed.wrapping_mul(0x5851_F42D_4C95_7F2D));
    let answer = match dice.below(CORPUS.len() * 8) {
        place if place < CORPUS.len() => {
            let (operation, text) = CORPUS[place];
            Answer::recorded(path_of(operation), text)
        }
        _ => Answer::any(&mut dice),
    };
    let modes: Vec<Mode> = Mode::of(&answer)
        .iter()
        .copied()
        // what a recorded stream would be unasked is not known
        .filter(|mode| *mode != Mode::Gateway || dice_made(&answer))
        .collect();
    let mut count = 0;
    for mode in modes {
        let bytes = mode.sent(&answer);
        let operation = house.operation(answer.path);
        let told = reading(&answer, operation, [&bytes[..]]);
        let run =
            |pieces, dice: &Dice| Run { answer: &answer, mode, pieces, dice: dice.clone() }.relay(house);
        let (seen, whole) = run(vec![Bytes::from(bytes.clone())], &dice);
        check_bytes(&answer, mode, &seen, seed);
        for _ in 0..SLICINGS_OF_ONE {
            let pieces = sliced(&mut dice, &bytes);
            let read = reading(&answer, operation, pieces.iter().map(|piece| &piece[..]));
            assert_eq!(read, told, "seed {seed}, {mode:?}: another reading of {answer:?}");
            let (seen, sliced) = run(pieces, &dice);
            check_bytes(&answer, mode, &seen, seed);
            twins.push(Twin { seed, sliced, whole });
            count += 1;
        }
    }
    count
}

fn check_bytes(answer: &Answer, mode: Mode, seen: &Seen, seed: u64) {
    let expected = mode.expected(answer);
    let got = String::from_utf8_lossy(&seen.bytes);
    assert_eq!(seen.ended_well, !answer.breaks_off, "seed {seed}, {mode:?}");
    if answer.breaks_off && mode == Mode::Gateway {
        assert!(expected.starts_with(&seen.bytes), "seed {seed}: no prefix of {answer:?}: {got:?}");
    } else {
        assert!(seen.bytes == expected, "seed {seed}, {mode:?}: other bytes of {answer:?}:\n{got:?}");
    }
}

fn dice_made(answer: &Answer) -> bool {
    answer.parts.iter().any(|part| part.asked != part.unasked)
        || !CORPUS
            .iter()
            .any(|(_, text)| text.len() == answer.parts.iter().map(|part| part.asked.len()).sum::<usize>())
}

const fn path_of(operation: Operation) -> &'static str {
    match operation {
        Operation::ChatCompletions => "/v1/chat/completions",
        Operation::Completions => "/v1/completions",
        Operation::Messages => "/v1/messages",
        _ => "/v1/responses",
    }
}

#[expect(clippy::disallowed_methods, reason = "a switch of this test, not of the gateway")]
fn number(name: &str, usual: u64) -> u64 {
    std::env::var(name).map_or(usual, |text| text.parse().unwrap())
}

#[tokio::test]
async fn s_02_no_slicing_changes_a_byte_or_a_row_or_holds_an_event_back() {
    let wanted = usize::try_from(number("TOLLGATE_SLICINGS", 10_000)).unwrap();
    let mut seed = number("TOLLGATE_SEED", 1);
    let (mut slicings, mut answers) = (0, 0);
    while slicings < wanted {
        let house = House::new();
        let mut twins = Vec::new();
        for _ in 0..ANSWERS_OF_A_BATCH {
            slicings += compare(&house, seed, &mut twins);
            (answers, seed) = (answers + 1, seed + 1);
            // lets the runtime go on with what waits for it
            tokio::task::yield_now().await;
        }
        house.rest().await;
        let rows = house.rows();
        for Twin { seed, sliced, whole } in twins {
            assert_eq!(told(rows[&sliced].clone()), told(rows[&whole].clone()), "seed {seed}: another row");
        }
    }
    eprintln!("{slicings} slicings of {answers} answers: 0 differing bytes, 0 differing records");
}
