//! A receiver of traces and metrics that reads what comes, answers 200 and keeps nothing but a count: what a
//! collector does with it is not the gateway's cost.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use tokio::io::AsyncWriteExt as _;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use crate::upstream::request;

/// A listening receiver, on a thread of its own; it ends with the process.
pub(crate) struct Receiver {
    pub(crate) address: SocketAddr,
    traces: Arc<AtomicU64>,
}

impl Receiver {
    pub(crate) fn start() -> io::Result<Self> {
        let socket = std::net::TcpListener::bind("127.0.0.1:0")?;
        socket.set_nonblocking(true)?;
        let address = socket.local_addr()?;
        let traces = Arc::new(AtomicU64::new(0));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let counted = Arc::clone(&traces);
        thread::Builder::new()
            .name("receiver".into())
            .spawn(move || runtime.block_on(accept(socket, counted)))?;
        Ok(Self { address, traces })
    }

    /// Batches of spans that came so far.
    pub(crate) fn traces(&self) -> u64 {
        self.traces.load(Ordering::Relaxed)
    }
}

async fn accept(socket: std::net::TcpListener, traces: Arc<AtomicU64>) -> io::Result<()> {
    let listener = TcpListener::from_std(socket)?;
    let mut connections = JoinSet::new();
    loop {
        let (connection, _) = listener.accept().await?;
        connections.spawn(serve(connection, Arc::clone(&traces)));
        while connections.try_join_next().is_some() {}
    }
}

async fn serve(mut connection: TcpStream, traces: Arc<AtomicU64>) -> io::Result<()> {
    let mut read = Vec::with_capacity(8_192);
    loop {
        read.clear();
        if request(&mut connection, &mut read).await?.is_none() {
            return Ok(());
        }
        if read.starts_with(b"POST /v1/traces ") {
            traces.fetch_add(1, Ordering::Relaxed);
        }
        connection.write_all(TAKEN).await?;
    }
}

const TAKEN: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-type: application/x-protobuf\r\ncontent-length: 0\r\n\r\n";
