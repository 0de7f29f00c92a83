//! Takes out of a stream what the spliced `stream_options.include_usage` put into it, so that the client
//! gets the bytes that it would have had: no usage chunk, no `"usage":null`.
//!
//! An event is looked at when its blank line is there, and not held a moment longer.

use std::ops::Range;
use std::sync::LazyLock;

use bytes::Bytes;
use memchr::memchr2;
use memchr::memmem::{self, Finder};
use serde::de::IgnoredAny;

use super::escape::has_escaped_letter;
use super::stencil::Stencil;
use super::unask_chunk::{Verdict, judge, string_end};

/// A longer event passes as it is: it is no usage chunk.
const MAX_HELD: usize = if cfg!(fuzzing) { 1 << 10 } else { 1 << 20 };
/// From this size on, a second piece costs less than a copy.
const WORTH_A_SLICE: usize = 8 * 1024;

static USAGE: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new("\"usage\""));
/// What most chunks are sent for.
const WORD: &[u8] = b"\"content\":\"";

/// The filter of one stream.
#[derive(Debug, Default)]
pub struct Unask {
    /// The start of an event whose blank line has not come.
    held: Vec<u8>,
    /// The event is longer than [`MAX_HELD`]: it passes until its end.
    passing: bool,
    /// The current line has bytes.
    in_line: bool,
    /// The event has a line that is no comment.
    in_event: bool,
    /// The current line began with a colon.
    in_comment: bool,
    /// The last byte was a CR that ended a line; a LF after it belongs to it.
    after_cr: bool,
    /// The event before ended with that CR and was taken out, so its LF goes too.
    removed: bool,
    judge: Judge,
}

/// What is known of the events so far.
#[derive(Debug, Default)]
struct Judge {
    /// The upstream reports usage without being asked: its usage chunk stays.
    reports_itself: bool,
    /// The last event of which something was cut out, and what.
    cut: Option<(Stencil, Range<usize>)>,
}

impl Unask {
    /// A filter at the start of a stream.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes the next bytes; what is left of them, and of bytes held before, is added to `out`.
    pub fn push(&mut self, input: Bytes, out: &mut Vec<Bytes>) {
        let mut outgoing = Outgoing::new(input, std::mem::take(&mut self.judge));
        let bytes = outgoing.input.clone();
        // Where the event that is not yet passed on begins, and how far the lines are read.
        let (mut start, mut at) = (0, 0);
        if self.after_cr && !bytes.is_empty() {
            self.after_cr = false;
            if bytes[0] == b'\n' {
                at = 1;
                start = self.late_line_feed(&mut outgoing);
            }
        }
        while let Some(end) = self.next_boundary(&bytes, &mut at) {
            self.end_event(start..end, &mut outgoing);
            start = end;
        }
        if self.passing {
            outgoing.pass(start..bytes.len());
        } else {
            self.held.extend_from_slice(&bytes[start..]);
        }
        if self.held.len() > MAX_HELD {
            outgoing.put(&std::mem::take(&mut self.held));
            self.passing = true;
        }
        self.judge = outgoing.finish(out);
    }

    /// Ends the stream: clients read a last event without its blank line too, so it is judged like any other.
    pub fn finish(&mut self, out: &mut Vec<Bytes>) {
        let mut outgoing = Outgoing::new(Bytes::new(), std::mem::take(&mut self.judge));
        outgoing.put_judged(&std::mem::take(&mut self.held));
        outgoing.finish(out);
    }

    /// The LF of a CRLF that was cut in two. Returns where the next event begins.
    fn late_line_feed(&mut self, outgoing: &mut Outgoing) -> usize {
        let event_is_over = self.held.is_empty() && !self.passing && !self.in_event;
        if !event_is_over {
            return 0;
        }
        if !std::mem::take(&mut self.removed) {
            outgoing.pass(0..1);
        }
        1
    }

    /// Reads lines from `at` on until an event, or a comment outside of one, ends; returns its end.
    fn next_boundary(&mut self, bytes: &[u8], at: &mut usize) -> Option<usize> {
        loop {
            let rest = &bytes[*at..];
            let Some(length) = memchr2(b'\n', b'\r', rest) else {
                self.begin_line(rest);
                *at = bytes.len();
                return None;
            };
            self.begin_line(&rest[..length]);
            *at += length + 1;
            if rest[length] == b'\r' {
                match bytes.get(*at) {
                    Some(b'\n') => *at += 1,
                    Some(_) => {}
                    None => self.after_cr = true,
                }
            }
            let blank = !std::mem::take(&mut self.in_line);
            if blank || (self.in_comment && !self.in_event) {
                return Some(*at);
            }
        }
    }

    fn begin_line(&mut self, part: &[u8]) {
        if part.is_empty() || self.in_line {
            return;
        }
        self.in_line = true;
        self.in_comment = part[0] == b':';
        self.in_event |= !self.in_comment;
    }

    /// An event, of which `held` and then `range` of the input are the bytes, is over.
    fn end_event(&mut self, range: Range<usize>, outgoing: &mut Outgoing) {
        self.in_event = false;
        self.removed = false;
        if std::mem::take(&mut self.passing) {
            outgoing.pass(range);
        } else if self.held.is_empty() {
            self.removed = outgoing.pass_judged(range);
        } else {
            let mut event = std::mem::take(&mut self.held);
            event.extend_from_slice(&outgoing.input[range.clone()]);
            self.removed = outgoing.put_judged(&event);
            outgoing.skip_to(range.end);
            event.clear();
            self.held = event;
        }
    }
}

/// What goes on of one input. Untouched bytes stay slices of it; once something was cut out, the pieces
/// are joined, since many small pieces cost more than one copy.
struct Outgoing {
    input: Bytes,
    run: Range<usize>,
    joined: Vec<u8>,
    judge: Judge,
}

impl Outgoing {
    const fn new(input: Bytes, judge: Judge) -> Self {
        Self { input, run: 0..0, joined: Vec::new(), judge }
    }

    fn pass(&mut self, range: Range<usize>) {
        if self.run.end == range.start {
            self.run.end = range.end;
            return;
        }
        self.join_run();
        self.run = range;
    }

    fn put(&mut self, bytes: &[u8]) {
        self.join_run();
        self.joined.extend_from_slice(bytes);
    }

    /// Leaves out the bytes up to `to`.
    fn skip_to(&mut self, to: usize) {
        self.join_run();
        self.run = to..to;
    }

    /// Passes what `judge` leaves of the event; `true` if nothing was left.
    fn pass_judged(&mut self, range: Range<usize>) -> bool {
        match self.judge.verdict(&self.input[range.clone()]) {
            Verdict::Keep | Verdict::ReportsItself => self.pass(range),
            Verdict::Remove => return true,
            Verdict::Cut(cut) => {
                self.pass(range.start..range.start + cut.start);
                self.pass(range.start + cut.end..range.end);
            }
        }
        false
    }

    /// The same for an event that is not in the input as a whole.
    fn put_judged(&mut self, event: &[u8]) -> bool {
        match self.judge.verdict(event) {
            Verdict::Keep | Verdict::ReportsItself => self.put(event),
            Verdict::Remove => return true,
            Verdict::Cut(cut) => {
                self.put(&event[..cut.start]);
                self.put(&event[cut.end..]);
            }
        }
        false
    }

    fn join_run(&mut self) {
        if self.joined.capacity() == 0 {
            self.joined.reserve(self.input.len());
        }
        self.joined.extend_from_slice(&self.input[self.run.clone()]);
        self.run = self.run.end..self.run.end;
    }

    fn finish(mut self, out: &mut Vec<Bytes>) -> Judge {
        if !self.joined.is_empty() {
            if self.run.len() < WORTH_A_SLICE {
                self.join_run();
            }
            out.push(Bytes::from(std::mem::take(&mut self.joined)));
        }
        if !self.run.is_empty() {
            out.push(self.input.slice(self.run));
        }
        self.judge
    }
}

impl Judge {
    /// The verdict on an event, in the light of those before it.
    fn verdict(&mut self, event: &[u8]) -> Verdict {
        if let Some((stencil, cut)) = &self.cut
            && let Some(fit) = stencil.fit(event)
        {
            return Verdict::Cut(stencil.place(fit, cut.start)..stencil.place(fit, cut.end));
        }
        match inspect(event) {
            Verdict::ReportsItself => {
                self.reports_itself = true;
                Verdict::Keep
            }
            Verdict::Remove if self.reports_itself => Verdict::Keep,
            Verdict::Cut(cut) => {
                self.cut = stencil_of(event).map(|stencil| (stencil, cut.clone()));
                Verdict::Cut(cut)
            }
            verdict => verdict,
        }
    }
}

/// Events that differ in what stands in a string are judged alike, if there is a string: what looks like one may be
/// anything in an event that is not JSON.
fn stencil_of(event: &[u8]) -> Option<Stencil> {
    let start = memmem::find(event, WORD)? + WORD.len();
    let json = event.strip_prefix(b"data:")?;
    serde_json::from_slice::<IgnoredAny>(json).ok()?;
    let length = string_end(event, start - 1)? - 1 - start;
    Stencil::cut(event, start..start + length)
}

/// Most events do not even hold the word.
fn inspect(event: &[u8]) -> Verdict {
    let may_tell = USAGE.find(event).is_some() || has_escaped_letter(event);
    if event.len() > MAX_HELD || !may_tell {
        return Verdict::Keep;
    }
    judge(event)
}

#[cfg(test)]
#[path = "unask_tests.rs"]
mod tests;
