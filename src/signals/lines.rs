//! Standard error behind a bounded queue: a reader that stands still costs log lines, never a request.

use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::Duration;

use tracing_subscriber::fmt::MakeWriter;

/// A queue of lines with a thread that writes them. Cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Lines {
    queue: SyncSender<Item>,
    dropped: Arc<AtomicU64>,
}

#[derive(Debug)]
enum Item {
    Line(Vec<u8>),
    /// Answered when everything before it is written.
    Flush(SyncSender<()>),
}

impl Lines {
    /// A queue that a thread empties into `to`. The thread ends when the last clone is gone.
    pub(super) fn to(to: impl Write + Send + 'static) -> io::Result<Self> {
        let (queue, items) = sync_channel(QUEUE);
        std::thread::Builder::new().name("log".into()).spawn(move || write_all(&items, to))?;
        Ok(Self { queue, dropped: Arc::default() })
    }

    /// Lines that found the queue full.
    pub(super) fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    /// Waits until all lines so far are written, at most `limit`.
    pub(super) fn flush(&self, limit: Duration) {
        let (done, written) = sync_channel(1);
        if self.queue.try_send(Item::Flush(done)).is_ok() {
            // a reader that stands still costs what is left in the queue
            let _ = written.recv_timeout(limit);
        }
    }
}

impl<'a> MakeWriter<'a> for Lines {
    type Writer = Line<'a>;
    fn make_writer(&'a self) -> Line<'a> {
        Line { to: self }
    }
}

/// Takes one line: `tracing-subscriber` writes each event with one call.
#[derive(Debug)]
pub(super) struct Line<'a> {
    to: &'a Lines,
}

impl Write for Line<'_> {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        if self.to.queue.try_send(Item::Line(line.to_vec())).is_err() {
            self.to.dropped.fetch_add(1, Ordering::Relaxed);
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn write_all(items: &Receiver<Item>, mut to: impl Write) {
    for item in items {
        match item {
            // nobody reads standard error any more: nothing is left to tell them
            Item::Line(line) => drop(to.write_all(&line)),
            Item::Flush(done) => {
                let _ = to.flush();
                let _ = done.try_send(());
            }
        }
    }
}

/// Lines in memory, about 4 MiB at the usual length.
const QUEUE: usize = 8_192;

#[cfg(test)]
pub(super) mod tests {
    use std::sync::Mutex;

    use super::*;

    /// What was written, for tests to read.
    #[derive(Debug, Clone, Default)]
    pub(in crate::signals) struct Written(pub(in crate::signals) Arc<Mutex<Vec<u8>>>);

    impl Written {
        pub(in crate::signals) fn text(&self) -> String {
            String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
        }
    }

    impl Write for Written {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn lines_are_written_in_order_and_flushed() {
        let written = Written::default();
        let lines = Lines::to(written.clone()).unwrap();
        for line in [&b"one\n"[..], b"two\n"] {
            lines.make_writer().write_all(line).unwrap();
        }
        lines.flush(Duration::from_secs(10));
        assert_eq!((written.text().as_str(), lines.dropped()), ("one\ntwo\n", 0));
    }

    #[test]
    fn a_reader_that_stands_still_costs_lines_and_not_time() {
        let written = Written::default();
        let standstill = written.0.lock().unwrap();
        let lines = Lines::to(written.clone()).unwrap();
        for _ in 0..QUEUE + 10 {
            lines.make_writer().write_all(b"line\n").unwrap();
        }
        assert!(lines.dropped() >= 9, "{}", lines.dropped());
        drop(standstill);
    }
}
