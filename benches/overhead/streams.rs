//! Many streams that stay open, an event each second: how many are lost, what each one keeps resident, how late
//! its events are.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use serde_json::json;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until, timeout};

use crate::bar::{self, Measured};
use crate::figures::Quantiles;
use crate::gateways::{KEY, Tollgate};
use crate::load::{self, Load, now};
use crate::process::Process;
use crate::work::HELD_OPEN;
use crate::{Answered, Failure, Ground};

/// How many.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Streams open at once [default: 10,000; 2,000 with --quick]
    #[arg(long, value_name = "COUNT")]
    streams: Option<u32>,
}

/// Opens the streams in two halves and looks at the memory after each: what the second half added is what a
/// stream costs, without what the process has anyway.
pub(crate) fn measure(ground: &Ground<'_>, args: &Args) -> Result<Answered, Failure> {
    let count = args.streams.unwrap_or(if ground.args.quick { 2_000 } else { 10_000 });
    allow_descriptors(u64::from(count) * 2 + SPARE)?;
    let tollgate = Tollgate::start(&ground.setup(1), &ground.folder.path().join("tollgate"))?;
    let load = Load::new()?;
    let seen = load.runtime().block_on(hold_open(&tollgate, count))?;
    let each = (seen.resident[1] as f64 - seen.resident[0] as f64) / f64::from(count / 2);
    let events = seen.deliveries.len();
    let delay = Quantiles::of(seen.deliveries);
    let text = format!(
        "{count} streams, {} of them lost. Resident {:.1} MiB with half of them, {:.1} MiB with all: {each:.1} KiB \
         each. Of {events} events while all were open, from the upstream's write to the client: p50 {:.2} ms, p99 \
         {:.2} ms. CPU {:.1} µs per event.",
        seen.lost,
        seen.resident[0] as f64 / 1_024.0,
        seen.resident[1] as f64 / 1_024.0,
        delay.p50 / 1e3,
        delay.p99 / 1e3,
        seen.cpu.as_secs_f64() * 1e6 / events.max(1) as f64,
    );
    Ok(Answered {
        part: "streams",
        measured: vec![
            Measured::new(bar::OPEN_LOST, seen.lost as f64),
            Measured::new(bar::OPEN_RESIDENT, each),
            Measured::new(bar::OPEN_P99, delay.p99 / 1e3),
        ],
        table: text.clone(),
        json: json!({
            "streams": count,
            "lost": seen.lost,
            "resident_kib_half": seen.resident[0],
            "resident_kib_all": seen.resident[1],
            "resident_kib_each": each,
            "events": events,
            "event_p50_us": delay.p50,
            "event_p99_us": delay.p99,
        }),
        page: text,
    })
}

/// What was seen of the streams.
struct Seen {
    lost: u64,
    /// With half of them open, and with all, in KiB.
    resident: [u64; 2],
    /// Of events that came while all were open.
    deliveries: Vec<Duration>,
    /// Of the gateway, while all were open.
    cpu: Duration,
}

async fn hold_open(tollgate: &Tollgate, count: u32) -> Result<Seen, Failure> {
    let begin = now();
    let half = OPENING * (count / 2) / RATE;
    let all_open = begin + half * 2 + SETTLING * 2;
    let watched_until = all_open + WATCHED;
    let opened = Arc::new(AtomicU64::new(0));
    let mut streams = JoinSet::new();
    for number in 0..count {
        let pause = if number < count / 2 { Duration::ZERO } else { SETTLING };
        let at = begin + OPENING * number / RATE + pause;
        let span = (all_open, watched_until);
        streams.spawn(stream(tollgate.address, at, span, Arc::clone(&opened)));
    }
    sleep_until(begin + half + SETTLING).await;
    let with_half = tollgate.process.resident_kib()?;
    sleep_until(all_open).await;
    let (resident, opened) = ([with_half, tollgate.process.resident_kib()?], opened.load(Ordering::Relaxed));
    let cpu = cpu_until(&tollgate.process, watched_until).await?;
    let mut seen = Seen { lost: 0, resident, deliveries: Vec::new(), cpu };
    let mut fault = None;
    while let Some(ended) = streams.join_next().await {
        match ended? {
            Ok(deliveries) => seen.deliveries.extend(deliveries),
            Err(why) => {
                seen.lost += 1;
                fault = Some(why);
            }
        }
    }
    if let Some(why) = fault {
        crate::complain(&format!("streams: {} of {count} lost; the last: {why}", seen.lost));
    }
    if opened + seen.lost < u64::from(count) {
        return Err(format!("only {opened} of {count} streams were open when memory was read").into());
    }
    Ok(seen)
}

async fn cpu_until(process: &Process, until: Instant) -> io::Result<Duration> {
    let before = process.cpu()?;
    sleep_until(until).await;
    Ok(process.cpu()?.saturating_sub(before))
}

/// One stream to its own end; the delays of the events that came in `span`.
async fn stream(
    to: std::net::SocketAddr,
    at: Instant,
    span: (Instant, Instant),
    opened: Arc<AtomicU64>,
) -> io::Result<Vec<Duration>> {
    sleep_until(at).await;
    let mut connection = TcpStream::connect(to).await?;
    connection.write_all(&HELD_OPEN.request(KEY)).await?;
    let mut read = load::Arrivals::within(span.0, span.1);
    timeout(PATIENCE, async {
        read.more(&mut connection).await?;
        if !read.bytes().starts_with(b"HTTP/1.1 200") {
            return Err(io::Error::other(String::from_utf8_lossy(read.bytes())));
        }
        opened.fetch_add(1, Ordering::Relaxed);
        while !read.is_whole() {
            read.more(&mut connection).await?;
        }
        Ok::<_, io::Error>(())
    })
    .await??;
    load::expected(&HELD_OPEN, read.bytes())?;
    Ok(read.into_delays())
}

/// Raises the limit of open files of this process, which its children inherit.
fn allow_descriptors(wanted: u64) -> Result<(), Failure> {
    let limit = getrlimit(Resource::Nofile);
    if limit.current.is_none_or(|current| current >= wanted) {
        return Ok(());
    }
    // only root may raise the upper bound
    let maximum = limit.maximum.map(|maximum| maximum.max(wanted));
    setrlimit(Resource::Nofile, Rlimit { current: Some(wanted), maximum }).map_err(|fault| {
        format!(
            "{wanted} open files are needed, and the limit cannot be raised ({fault}): ulimit -n, or root"
        )
        .into()
    })
}

/// New streams: one each millisecond.
const RATE: u32 = 1_000;
const OPENING: Duration = Duration::from_secs(1);
/// Before memory is read.
const SETTLING: Duration = Duration::from_secs(3);
/// How long all are open and watched.
const WATCHED: Duration = Duration::from_secs(10);
/// A stream lasts 40 s.
const PATIENCE: Duration = Duration::from_secs(70);
/// Files, listeners and connections besides the streams'.
const SPARE: u64 = 1_000;
