//! Standard error behind a bounded queue: a reader that stands still costs log lines, never a request.

use std::io::{self, Write};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tracing::{Level, Metadata};
use tracing_subscriber::fmt::MakeWriter;

/// Lines on their way, and a thread that writes them. Cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Lines {
    belt: Arc<Belt>,
    /// The thread ends when the last clone is gone.
    _end: Arc<End>,
}

/// Where lines wait. Waking the thread costs more than everything else about a line, so nobody does while it
/// sleeps for a time: it finds what has come when it wakes by itself, and writes it with one call.
#[derive(Debug, Default)]
struct Belt {
    waiting: Mutex<Waiting>,
    /// Told when the thread must not sleep on.
    thread: Condvar,
    /// Told when everything was written.
    written: Condvar,
}

#[derive(Debug, Default)]
struct Waiting {
    text: Vec<u8>,
    dropped: u64,
    /// The thread found nothing when it woke last, and sleeps until it is told.
    asleep: bool,
    /// Somebody waits, much has gathered, or the end has come: do not gather any more.
    hurry: bool,
    is_writing: bool,
    ended: bool,
}

impl Waiting {
    /// Takes a whole line or drops it. Tells whether the thread must be woken.
    fn take_in(&mut self, line: &[u8], is_urgent: bool) -> bool {
        if self.text.len() + line.len() > MOST_BYTES {
            self.dropped += 1;
            return false;
        }
        self.text.extend_from_slice(line);
        let hurry = is_urgent || self.text.len() > MOST_BYTES / 2;
        let must_wake = self.asleep || (hurry && !self.hurry);
        self.hurry |= hurry;
        self.asleep = false;
        must_wake
    }

    fn hurry(&mut self) {
        (self.hurry, self.asleep) = (true, false);
    }

    const fn is_pending(&self) -> bool {
        self.is_writing || !self.text.is_empty()
    }
}

#[derive(Debug)]
struct End {
    belt: Arc<Belt>,
}

impl Drop for End {
    fn drop(&mut self) {
        let mut waiting = self.belt.lock();
        waiting.ended = true;
        waiting.hurry();
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

    /// Takes a whole line, its end with it, or drops it.
    pub(super) fn put(&self, line: &[u8]) {
        self.belt.put(line, false);
    }

    /// Lines that found the belt full.
    pub(super) fn dropped(&self) -> u64 {
        self.belt.lock().dropped
    }

    /// Waits until all lines so far are written, at most `limit`: a reader that stands still costs what is left.
    pub(super) fn flush(&self, limit: Duration) {
        let mut waiting = self.belt.lock();
        if waiting.is_pending() {
            waiting.hurry();
            self.belt.thread.notify_one();
            let pending = |waiting: &mut Waiting| waiting.is_pending();
            drop(self.belt.written.wait_timeout_while(waiting, limit, pending));
        }
    }
}

impl Belt {
    fn put(&self, line: &[u8], is_urgent: bool) {
        let must_wake = self.lock().take_in(line, is_urgent);
        if must_wake {
            self.thread.notify_one();
        }
    }

    fn write_all(&self, mut to: impl Write) {
        let mut text = Vec::new();
        while self.take(&mut text) {
            // nobody reads standard error any more: nothing is left to tell them
            drop(to.write_all(&text).and_then(|()| to.flush()));
            text.clear();
            text.shrink_to(KEPT_BYTES);
            self.lock().is_writing = false;
            self.written.notify_all();
        }
    }

    /// Gathers for a while, and swaps what there is for the empty `text`. `false` at the end.
    fn take(&self, text: &mut Vec<u8>) -> bool {
        let mut waiting = self.lock();
        loop {
            let gathered = self.thread.wait_timeout_while(waiting, GATHER, |waiting| !waiting.hurry);
            (waiting, _) = gathered.unwrap_or_else(PoisonError::into_inner);
            waiting.hurry = waiting.ended;
            if waiting.ended || !waiting.text.is_empty() {
                break;
            }
            waiting.asleep = true;
            let told = self.thread.wait_while(waiting, |waiting| waiting.asleep);
            waiting = told.unwrap_or_else(PoisonError::into_inner);
        }
        std::mem::swap(&mut waiting.text, text);
        waiting.is_writing = !text.is_empty();
        waiting.is_writing
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<'a> MakeWriter<'a> for Lines {
    type Writer = Line<'a>;

    fn make_writer(&'a self) -> Line<'a> {
        Line { to: self, is_urgent: false }
    }

    fn make_writer_for(&'a self, event: &Metadata<'_>) -> Line<'a> {
        Line { to: self, is_urgent: *event.level() == Level::ERROR }
    }
}

/// Takes one line: `tracing-subscriber` writes each event with one call.
#[derive(Debug)]
pub(super) struct Line<'a> {
    to: &'a Lines,
    /// What may be the last words of a process does not wait for others.
    is_urgent: bool,
}

impl Write for Line<'_> {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.to.belt.put(line, self.is_urgent);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Lines in memory: thousands at the usual length.
const MOST_BYTES: usize = 4 << 20;
/// What a buffer keeps of its room between two writes.
const KEPT_BYTES: usize = 1 << 20;
/// A person sees hardly a delay; at any rate of requests the thread wakes about ten times a second.
const GATHER: Duration = Duration::from_millis(100);

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
    fn the_thread_is_woken_by_the_first_line_after_a_rest_and_by_no_other() {
        let mut waiting = Waiting { asleep: true, ..Waiting::default() };
        let woken: Vec<bool> = (0..3).map(|_| waiting.take_in(b"a request\n", false)).collect();
        assert_eq!(woken, [true, false, false]);
    }

    #[test]
    fn an_error_and_a_belt_that_is_half_full_do_not_wait_for_others() {
        let mut waiting = Waiting::default();
        assert_eq!([waiting.take_in(b"error\n", true), waiting.take_in(b"error\n", true)], [true, false]);
        let mut waiting = Waiting::default();
        let half = vec![b'x'; MOST_BYTES / 2];
        let woken = [&half[..], b"one more\n", b"and more\n"].map(|line| waiting.take_in(line, false));
        assert_eq!(woken, [false, true, false]);
    }

    #[test]
    fn what_waits_when_the_last_holder_goes_is_written() {
        let written = Written::default();
        let lines = Lines::to(written.clone()).unwrap();
        lines.put(b"last words\n");
        let belt = Arc::clone(&lines.belt);
        drop(lines);
        let waiting = belt.written.wait_while(belt.lock(), |waiting| waiting.is_pending());
        drop(waiting);
        assert_eq!(written.text(), "last words\n");
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
