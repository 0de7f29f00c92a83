//! Standard error behind a bounded queue: a reader that stands still costs log lines, never a request.

use std::io::{self, Write};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tracing_subscriber::fmt::MakeWriter;

/// Lines on their way, and a thread that writes them. Cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Lines {
    belt: Arc<Belt>,
    /// The thread ends when the last clone is gone.
    _end: Arc<End>,
}

/// Where lines wait. Those that come within a moment of each other are written with one call: waking
/// the thread for each of them costs more than everything else about a line.
#[derive(Debug, Default)]
struct Belt {
    waiting: Mutex<Waiting>,
    /// Told when the first line comes, and when somebody waits for the last.
    thread: Condvar,
    /// Told when everything was written.
    written: Condvar,
}

#[derive(Debug, Default)]
struct Waiting {
    text: Vec<u8>,
    dropped: u64,
    /// Somebody waits, or the end has come: do not gather any more.
    hurry: bool,
    is_writing: bool,
    ended: bool,
}

#[derive(Debug)]
struct End {
    belt: Arc<Belt>,
}

impl Drop for End {
    fn drop(&mut self) {
        let mut waiting = self.belt.lock();
        (waiting.ended, waiting.hurry) = (true, true);
        self.belt.thread.notify_one();
    }
}

impl Lines {
    /// Starts the thread that writes into `to`.
    pub(super) fn to(to: impl Write + Send + 'static) -> io::Result<Self> {
        let belt = Arc::<Belt>::default();
        let worked = Arc::clone(&belt);
        std::thread::Builder::new().name("log".into()).spawn(move || worked.write_all(to))?;
        let end = Arc::new(End { belt: Arc::clone(&belt) });
        Ok(Self { belt, _end: end })
    }

    /// Lines that found the belt full.
    pub(super) fn dropped(&self) -> u64 {
        self.belt.lock().dropped
    }

    /// Waits until all lines so far are written, at most `limit`: a reader that stands still costs what is left.
    pub(super) fn flush(&self, limit: Duration) {
        let mut waiting = self.belt.lock();
        waiting.hurry = true;
        self.belt.thread.notify_one();
        let pending = |waiting: &mut Waiting| waiting.is_writing || !waiting.text.is_empty();
        drop(self.belt.written.wait_timeout_while(waiting, limit, pending));
    }
}

impl Belt {
    /// Takes a whole line or drops it.
    fn put(&self, line: &[u8]) {
        let mut waiting = self.lock();
        if waiting.text.len() + line.len() > MOST_BYTES {
            waiting.dropped += 1;
            return;
        }
        let is_first = waiting.text.is_empty();
        waiting.text.extend_from_slice(line);
        if is_first {
            self.thread.notify_one();
        }
    }

    fn write_all(&self, mut to: impl Write) {
        let mut text = Vec::new();
        while self.take(&mut text) {
            // nobody reads standard error any more: nothing is left to tell them
            drop(to.write_all(&text).and_then(|()| to.flush()));
            text.clear();
            self.lock().is_writing = false;
            self.written.notify_all();
        }
    }

    /// Waits for lines, gathers a moment, and swaps them for the empty `text`. `false` at the end.
    fn take(&self, text: &mut Vec<u8>) -> bool {
        let idle = |waiting: &mut Waiting| waiting.text.is_empty() && !waiting.ended;
        let waiting = self.thread.wait_while(self.lock(), idle).unwrap_or_else(PoisonError::into_inner);
        let calm = |waiting: &mut Waiting| !waiting.hurry;
        let gathered = self.thread.wait_timeout_while(waiting, GATHER, calm);
        let (mut waiting, _) = gathered.unwrap_or_else(PoisonError::into_inner);
        waiting.hurry = waiting.ended;
        waiting.is_writing = true;
        std::mem::swap(&mut waiting.text, text);
        !text.is_empty()
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
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
        self.to.belt.put(line);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Lines in memory: thousands at the usual length.
const MOST_BYTES: usize = 4 << 20;
/// A person sees no delay; at any rate of requests the thread wakes at most 100 times a second.
const GATHER: Duration = Duration::from_millis(10);

#[cfg(test)]
pub(super) mod tests {
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
        let line = [b'x'; 1 << 10];
        // what the thread took before it stood still makes room for as much again
        for _ in 0..2 * (MOST_BYTES / line.len()) + 10 {
            lines.make_writer().write_all(&line).unwrap();
        }
        assert!(lines.dropped() >= 10, "{}", lines.dropped());
        drop(standstill);
    }
}
