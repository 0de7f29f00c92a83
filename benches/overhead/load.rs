//! The load: connections that ask again and again, and note how long answers and events were on their way.

use std::io;
use std::net::SocketAddr;
use std::sync::OnceLock;
use std::time::Duration;

use memchr::memmem;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::runtime::Runtime;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until, timeout};

use crate::gateways::KEY;
use crate::upstream::content_length;
use crate::work::{Answer, Work};

/// Runs works on one thread.
pub(crate) struct Load {
    runtime: Runtime,
}

/// What one run of a work gave.
#[derive(Debug, Default)]
pub(crate) struct Sample {
    pub(crate) requests: u64,
    /// Events of streams, `[DONE]` included.
    pub(crate) events: u64,
    /// From the first byte asked to the last byte answered.
    pub(crate) answers: Vec<Duration>,
    /// From the upstream's write of an event to its arrival.
    pub(crate) deliveries: Vec<Duration>,
}

impl Load {
    pub(crate) fn new() -> io::Result<Self> {
        since_start();
        Ok(Self { runtime: tokio::runtime::Builder::new_current_thread().enable_all().build()? })
    }

    /// The runtime that the load runs on, for loads of another kind.
    pub(crate) fn runtime(&self) -> &Runtime {
        &self.runtime
    }

    /// One request, on a connection of its own.
    pub(crate) fn ask_once(&self, key: &str, work: &'static Work, to: SocketAddr) -> io::Result<()> {
        self.runtime.block_on(async {
            let mut connection = TcpStream::connect(to).await?;
            connection.write_all(&work.request(key)).await?;
            let mut read = Vec::new();
            timeout(PATIENCE, answer(&mut connection, &mut read, &mut Vec::new())).await??;
            expected(work, &read).map(drop)
        })
    }

    /// The work by one caller.
    pub(crate) fn run(&self, work: &'static Work, to: SocketAddr, span: Duration) -> io::Result<Sample> {
        self.run_by(&[KEY.to_owned()], work, to, span)
    }

    /// The work by callers with these keys, in turns.
    pub(crate) fn run_by(
        &self,
        keys: &[String],
        work: &'static Work,
        to: SocketAddr,
        span: Duration,
    ) -> io::Result<Sample> {
        self.runtime.block_on(async {
            let begin = now();
            let mut connections = JoinSet::new();
            for number in 0..work.connections {
                let turns = Turns::of(work, number, begin, begin + span);
                let own = keys.iter().cycle().skip(number as usize).step_by(work.connections as usize);
                let requests = own.take(keys.len().div_ceil(work.connections as usize));
                let requests: Vec<_> = requests.map(|key| work.request(key)).collect();
                connections.spawn(ask_again_and_again(work, to, requests, turns));
            }
            let mut all = Sample::default();
            while let Some(ended) = connections.join_next().await {
                all.join(ended.map_err(io::Error::other)??);
            }
            Ok(all)
        })
    }
}

impl Sample {
    fn join(&mut self, other: Self) {
        self.requests += other.requests;
        self.events += other.events;
        self.answers.extend(other.answers);
        self.deliveries.extend(other.deliveries);
    }
}

/// When a connection asks.
struct Turns {
    next: Instant,
    every: Duration,
    until: Instant,
}

impl Turns {
    /// At a fixed rate the connections take turns, spread evenly; paced streams do not speak in chorus.
    fn of(work: &Work, number: u32, begin: Instant, until: Instant) -> Self {
        let every = work.rate.map_or(Duration::ZERO, |rate| Duration::from_secs(1) * work.connections / rate);
        let spread = match work.answer {
            Answer::Stream { pace: Some(pace), .. } => pace,
            Answer::Stream { pace: None, .. } | Answer::Json => every,
        };
        Self { next: begin + spread * number / work.connections, every, until }
    }

    async fn next(&mut self) -> bool {
        sleep_until(self.next).await;
        self.next += self.every;
        now() < self.until
    }
}

async fn ask_again_and_again(
    work: &Work,
    to: SocketAddr,
    requests: Vec<Vec<u8>>,
    mut turns: Turns,
) -> io::Result<Sample> {
    let mut requests = requests.iter().cycle();
    let mut connection = TcpStream::connect(to).await?;
    connection.set_nodelay(true)?;
    let mut sample = Sample::default();
    let mut read = Vec::with_capacity(32 * 1_024);
    while turns.next().await {
        read.clear();
        let request = requests.next().ok_or_else(|| io::Error::other("a caller without a request"))?;
        let asked = now();
        connection.write_all(request).await?;
        timeout(PATIENCE, answer(&mut connection, &mut read, &mut sample.deliveries)).await??;
        sample.answers.push(asked.elapsed());
        sample.requests += 1;
        sample.events += expected(work, &read)?;
    }
    Ok(sample)
}

/// Reads one answer to its end.
async fn answer(from: &mut TcpStream, read: &mut Vec<u8>, deliveries: &mut Vec<Duration>) -> io::Result<()> {
    let mut length = None;
    let mut scanned = 0;
    loop {
        if from.read_buf(read).await? == 0 {
            return Err(io::Error::other(format!("hung up after {:?}", String::from_utf8_lossy(read))));
        }
        if length.is_none() {
            let Some(head) = memmem::find(read, b"\r\n\r\n") else { continue };
            length = Some(content_length(&read[..head]).map(|body| head + 4 + body));
            scanned = head;
        }
        if let Some(Some(length)) = length {
            if read.len() >= length {
                return Ok(());
            }
            continue;
        }
        note_arrivals(read, &mut scanned, deliveries);
        if read.ends_with(LAST_CHUNK) {
            return Ok(());
        }
    }
}

/// Chunks say in their `id` when they were written.
fn note_arrivals(read: &[u8], scanned: &mut usize, deliveries: &mut Vec<Duration>) {
    let arrived = since_start();
    while let Some(at) = memmem::find(&read[*scanned..], ID) {
        let digits = *scanned + at + ID.len();
        let Some(text) = read.get(digits..digits + DIGITS) else { return };
        let written = std::str::from_utf8(text).ok().and_then(|text| text.parse().ok());
        deliveries.extend(written.map(|written| arrived.saturating_sub(Duration::from_nanos(written))));
        *scanned = digits + DIGITS;
    }
}

/// A stream as it comes: its bytes, and how long the events of a span of time were on their way.
pub(crate) struct Arrivals {
    read: Vec<u8>,
    scanned: usize,
    delays: Vec<Duration>,
    from: Instant,
    until: Instant,
}

impl Arrivals {
    pub(crate) fn within(from: Instant, until: Instant) -> Self {
        Self { read: Vec::new(), scanned: 0, delays: Vec::new(), from, until }
    }

    pub(crate) async fn more(&mut self, connection: &mut TcpStream) -> io::Result<()> {
        if connection.read_buf(&mut self.read).await? == 0 {
            return Err(io::Error::other("the stream was broken off"));
        }
        let known = self.delays.len();
        note_arrivals(&self.read, &mut self.scanned, &mut self.delays);
        if now() < self.from || now() > self.until {
            self.delays.truncate(known);
        }
        Ok(())
    }

    pub(crate) fn is_whole(&self) -> bool {
        self.read.ends_with(LAST_CHUNK)
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.read
    }

    pub(crate) fn into_delays(self) -> Vec<Duration> {
        self.delays
    }
}

/// An answer that is not whole would make a gateway look fast. Gives the number of events.
pub(crate) fn expected(work: &Work, read: &[u8]) -> io::Result<u64> {
    let wanted = match work.answer {
        Answer::Json => 0,
        Answer::Stream { chunks, .. } => u64::from(chunks) + 1,
    };
    let found = memmem::find_iter(read, b"data: ").count() as u64;
    if read.starts_with(b"HTTP/1.1 200") && found == wanted {
        return Ok(found);
    }
    let text = String::from_utf8_lossy(&read[..read.len().min(1_000)]);
    Err(io::Error::other(format!("{}: {found} of {wanted} events: {text}", work.name)))
}

#[expect(clippy::disallowed_methods, reason = "what is measured is another process, by the machine's time")]
pub(crate) fn pause(span: Duration) {
    std::thread::sleep(span);
}

/// The runtime's time is the machine's.
pub(crate) fn now() -> Instant {
    Instant::now()
}

/// Time since the first call, the same on all threads.
pub(crate) fn since_start() -> Duration {
    static START: OnceLock<Instant> = OnceLock::new();
    START.get_or_init(now).elapsed()
}

const LAST_CHUNK: &[u8] = b"\r\n0\r\n\r\n";
const ID: &[u8] = b"\"chatcmpl-";
const DIGITS: usize = 20;
const PATIENCE: Duration = Duration::from_secs(20);
