//! The fault proxy: a TCP proxy that breaks the network on demand. What is set holds for connections that
//! begin after it; those before live on as they began, or are ended by [`Netfault::end_all`].

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio_util::task::TaskTracker;

use super::TortureFault;
use crate::base::chance::Chance;

/// What happens to new connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Welcome {
    /// They are joined to the other side.
    #[default]
    Join,
    /// They are taken and nothing is ever read or said.
    Silence,
    /// Nobody listens.
    Refuse,
}

/// What happens to the bytes of one direction.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Way {
    /// Before each piece.
    pub(super) latency: Duration,
    /// By chance, on top.
    pub(super) jitter: Duration,
    pub(super) bytes_per_second: Option<u64>,
    /// The largest piece, in bytes.
    pub(super) slice: Option<usize>,
    /// After some bytes something ends.
    pub(super) end: Option<(After, End)>,
}

/// How many bytes pass before the end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum After {
    Exactly(u64),
    /// Another number below this one on each connection.
    SomeBelow(u64),
}

/// How a direction ends before its time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// Both connections are closed in order (FIN).
    Cut,
    /// Both connections are reset (RST).
    Reset,
    /// This direction is closed in order, the other goes on.
    HalfClose,
    /// Nothing goes on any more, and nobody is told.
    Blackhole,
}

/// All of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Weather {
    pub(super) welcome: Welcome,
    /// From who connects to who is connected to: requests.
    pub(super) there: Way,
    /// Answers.
    pub(super) back: Way,
}

/// A running proxy. Dropping it breaks its connections off and frees the port.
#[derive(Debug)]
pub(super) struct Netfault {
    /// Where it listens.
    pub(super) address: SocketAddr,
    weather: watch::Sender<Weather>,
    /// Counts up when all connections are to end.
    ends: watch::Sender<u64>,
    thread: Option<JoinHandle<()>>,
}

impl Netfault {
    /// A proxy to `to` on a free port of the loopback.
    pub(super) fn start(to: SocketAddr, chance: Chance) -> Result<Self, TortureFault> {
        Self::start_at(([127, 0, 0, 1], 0).into(), to, chance)
    }

    /// A proxy to `to` at `listen`, on a thread of its own.
    pub(super) fn start_at(listen: SocketAddr, to: SocketAddr, chance: Chance) -> Result<Self, TortureFault> {
        let fault = || TortureFault::io("start the fault proxy");
        let listener = std::net::TcpListener::bind(listen).map_err(fault())?;
        listener.set_nonblocking(true).map_err(fault())?;
        let address = listener.local_addr().map_err(fault())?;
        let (weather, forecast) = watch::channel(Weather::default());
        let (ends, ended) = watch::channel(0);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(fault())?;
        let run = move || runtime.block_on(serve(listener, to, (forecast, ended), chance));
        let thread = std::thread::Builder::new().name("netfault".into()).spawn(run).map_err(fault())?;
        Ok(Self { address, weather, ends, thread: Some(thread) })
    }

    /// From now on new connections have this weather.
    pub(super) fn set(&self, weather: Weather) {
        self.weather.send_replace(weather);
    }

    /// Breaks all connections off.
    pub(super) fn end_all(&self) {
        self.ends.send_modify(|ends| *ends += 1);
    }
}

impl Drop for Netfault {
    fn drop(&mut self) {
        // the thread ends when nobody can change the weather any more
        self.weather = watch::Sender::default();
        self.end_all();
        self.ends = watch::Sender::default();
        if let Some(thread) = self.thread.take() {
            // a panic on that thread was already printed by it
            let _ = thread.join();
        }
    }
}

async fn serve(
    listener: std::net::TcpListener,
    to: SocketAddr,
    (mut forecast, ended): (watch::Receiver<Weather>, watch::Receiver<u64>),
    chance: Chance,
) {
    let connections = TaskTracker::new();
    let Ok(address) = listener.local_addr() else { return };
    let mut listener = TcpListener::from_std(listener).ok();
    let chance = Arc::new(chance);
    loop {
        let weather = *forecast.borrow_and_update();
        let is_open = weather.welcome != Welcome::Refuse;
        if !is_open {
            listener = None;
        } else if listener.is_none() {
            listener = TcpListener::bind(address).await.ok();
        }
        let accepted = tokio::select! {
            changed = forecast.changed() => match changed {
                Ok(()) => continue,
                Err(_) => break,
            },
            accepted = accept(listener.as_ref()) => accepted,
        };
        if let Ok(near) = accepted {
            let (mut ended, chance) = (ended.clone(), Arc::clone(&chance));
            ended.mark_unchanged();
            // it may have changed while nobody came
            let weather = *forecast.borrow();
            connections.spawn(async move {
                tokio::select! {
                    // an error is an end like any other
                    _ = join(near, to, weather, &chance) => {}
                    _ = ended.changed() => {}
                }
            });
        }
    }
    connections.close();
    connections.wait().await;
}

async fn accept(listener: Option<&TcpListener>) -> io::Result<TcpStream> {
    match listener {
        Some(listener) => listener.accept().await.map(|(stream, _)| stream),
        None => std::future::pending().await,
    }
}

async fn join(near: TcpStream, to: SocketAddr, weather: Weather, chance: &Chance) -> io::Result<()> {
    if weather.welcome == Welcome::Silence {
        return std::future::pending().await;
    }
    near.set_nodelay(true)?;
    let far = TcpStream::connect(to).await?;
    far.set_nodelay(true)?;
    let reset = Mutex::new(false);
    let (near_read, near_write) = near.into_split();
    let (far_read, far_write) = far.into_split();
    let mut there = Pipe { from: near_read, to: far_write, way: weather.there, chance, reset: &reset };
    let mut back = Pipe { from: far_read, to: near_write, way: weather.back, chance, reset: &reset };
    // both run until both are through, or until one breaks both
    let outcome = tokio::try_join!(there.run(), back.run());
    if *reset.lock().unwrap_or_else(PoisonError::into_inner) {
        for half in [there.to, back.to] {
            // lingering for no time at all makes the kernel send RST in place of FIN
            let _ =
                socket2::SockRef::from(AsRef::<TcpStream>::as_ref(&half)).set_linger(Some(Duration::ZERO));
            // dropped, it would say FIN first
            half.forget();
        }
    }
    outcome.map(|_| ())
}

/// One direction of one connection.
struct Pipe<'a> {
    from: OwnedReadHalf,
    to: OwnedWriteHalf,
    way: Way,
    chance: &'a Chance,
    reset: &'a Mutex<bool>,
}

impl Pipe<'_> {
    async fn run(&mut self) -> io::Result<()> {
        let mut buffer = vec![0; BUFFER];
        let mut passed = 0;
        let end = self.way.end.map(|(after, _)| match after {
            After::Exactly(bytes) => bytes,
            After::SomeBelow(bytes) => self.chance.below(bytes),
        });
        loop {
            let length = self.from.read(&mut buffer).await?;
            if length == 0 {
                return self.to.shutdown().await;
            }
            let mut rest = &buffer[..length];
            while !rest.is_empty() {
                let left = end.map_or(u64::MAX, |after| after.saturating_sub(passed));
                if left == 0 {
                    return self.end().await;
                }
                let most =
                    self.way.slice.unwrap_or(usize::MAX).min(usize::try_from(left).unwrap_or(usize::MAX));
                let (piece, later) = rest.split_at(rest.len().min(most));
                self.wait(piece.len()).await;
                self.to.write_all(piece).await?;
                passed += piece.len() as u64;
                rest = later;
            }
            if end == Some(passed) {
                return self.end().await;
            }
        }
    }

    async fn wait(&self, bytes: usize) {
        let jitter = u64::try_from(self.way.jitter.as_micros()).unwrap_or(u64::MAX);
        let mut wait = self.way.latency + Duration::from_micros(self.chance.below(jitter));
        if let Some(rate) = self.way.bytes_per_second {
            wait += Duration::from_micros(bytes as u64 * 1_000_000 / rate.max(1));
        }
        if !wait.is_zero() {
            tokio::time::sleep(wait).await;
        } else if self.way.slice.is_some() {
            // lets each piece be a packet of its own
            tokio::task::yield_now().await;
        }
    }

    async fn end(&mut self) -> io::Result<()> {
        match self.way.end.map(|(_, end)| end) {
            Some(End::HalfClose) => self.to.shutdown().await,
            Some(End::Blackhole) => std::future::pending().await,
            Some(End::Reset) => {
                *self.reset.lock().unwrap_or_else(PoisonError::into_inner) = true;
                Err(io::ErrorKind::ConnectionReset.into())
            }
            Some(End::Cut) | None => Err(io::ErrorKind::ConnectionAborted.into()),
        }
    }
}

const BUFFER: usize = 16 << 10;

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};
    use std::net::TcpListener;

    use super::*;

    /// Says `words` to everyone who says something.
    fn speaker(words: &'static [u8]) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        std::thread::spawn(move || {
            for mut stream in listener.incoming().map_while(Result::ok) {
                let mut asked = [0; 1];
                // a caller that breaks off is what this is about
                let _ = stream.read_exact(&mut asked).and_then(|()| stream.write_all(words));
            }
        });
        address
    }

    fn hear(address: SocketAddr) -> (Vec<u8>, Option<io::ErrorKind>) {
        let mut stream = std::net::TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(Duration::from_millis(500))).unwrap();
        stream.write_all(b"x").unwrap();
        let mut heard = Vec::new();
        let mut buffer = [0; 64];
        loop {
            match stream.read(&mut buffer) {
                Ok(0) => return (heard, None),
                Ok(length) => heard.extend_from_slice(&buffer[..length]),
                Err(fault) => return (heard, Some(fault.kind())),
            }
        }
    }

    #[test]
    fn each_end_looks_as_it_should() {
        let proxy = Netfault::start(speaker(b"hello world"), Chance::seeded(1)).unwrap();
        let back = |end| Weather {
            back: Way { end: Some((After::Exactly(5), end)), ..Way::default() },
            ..Weather::default()
        };
        assert_eq!(hear(proxy.address), (b"hello world".to_vec(), None));
        proxy.set(back(End::Cut));
        assert_eq!(hear(proxy.address), (b"hello".to_vec(), None));
        proxy.set(back(End::HalfClose));
        assert_eq!(hear(proxy.address), (b"hello".to_vec(), None));
        proxy.set(back(End::Reset));
        assert_eq!(hear(proxy.address).1, Some(io::ErrorKind::ConnectionReset));
        proxy.set(back(End::Blackhole));
        assert_eq!(hear(proxy.address), (b"hello".to_vec(), Some(io::ErrorKind::WouldBlock)));
        proxy.set(Weather { welcome: Welcome::Silence, ..Weather::default() });
        assert_eq!(hear(proxy.address), (Vec::new(), Some(io::ErrorKind::WouldBlock)));
    }

    #[test]
    fn a_proxy_that_refuses_listens_again_afterwards() {
        let proxy = Netfault::start(speaker(b"hello"), Chance::seeded(1)).unwrap();
        let is_open = || std::net::TcpStream::connect(proxy.address).is_ok();
        proxy.set(Weather { welcome: Welcome::Refuse, ..Weather::default() });
        while is_open() {
            std::thread::yield_now();
        }
        proxy.set(Weather::default());
        while !is_open() {
            std::thread::yield_now();
        }
        let slow = Way { latency: Duration::from_millis(1), slice: Some(2), ..Way::default() };
        proxy.set(Weather { back: slow, ..Weather::default() });
        assert_eq!(hear(proxy.address).0, b"hello");
    }
}
