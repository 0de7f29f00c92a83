//! Reads server-sent events from bytes that are cut anywhere. It finds events; it does not know what is in them.
//!
//! A line that lies whole inside one input slice is not copied, and neither is an event of one `data:` line
//! that ends in the slice where it began.

use memchr::memchr2;

use super::kept::Kept;

/// The most bytes of one event, or of one line, that are kept. Of a longer one only the tail is.
pub const MAX_EVENT: usize = if cfg!(fuzzing) { 1 << 10 } else { 1 << 20 };
/// How much of the end of an overlong event is still handed on: usage is the last thing in it.
pub const TAIL: usize = if cfg!(fuzzing) { 256 } else { 64 * 1024 };
/// The longest event name that anybody sends is below 64 bytes.
const MAX_NAME: usize = 128;
const BOM: &[u8] = b"\xef\xbb\xbf";

/// One event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Event<'a> {
    /// The `event:` line; empty if there was none.
    pub name: &'a [u8],
    /// The `data:` lines, joined by a line feed.
    pub data: &'a [u8],
    /// The event was longer than [`MAX_EVENT`]; `data` is its last [`TAIL`] bytes.
    pub clipped: bool,
}

/// An incremental reader of events with bounded memory.
#[derive(Debug)]
pub struct Reader {
    /// A line whose end has not come.
    line: Kept,
    /// The unfinished line is longer than [`MAX_EVENT`] and began with `data:`.
    long_line_is_data: bool,
    first_line: bool,
    after_cr: bool,
    event: Pending,
}

/// The event whose blank line has not come, between two pushes.
#[derive(Debug)]
struct Pending {
    name: Vec<u8>,
    data: Kept,
    has_data: bool,
}

/// The event whose blank line has not come, within one push: its only `data:` line is borrowed.
#[derive(Default)]
struct Borrowed<'a> {
    data: Option<&'a [u8]>,
}

impl Default for Reader {
    fn default() -> Self {
        Self::new()
    }
}

impl Reader {
    /// A reader at the start of a stream.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            line: Kept::new(MAX_EVENT, TAIL),
            long_line_is_data: false,
            first_line: true,
            after_cr: false,
            event: Pending { name: Vec::new(), data: Kept::new(MAX_EVENT, TAIL), has_data: false },
        }
    }

    /// Reads the next bytes and hands each event that they complete to `sink`.
    pub fn push(&mut self, input: &[u8], mut sink: impl FnMut(Event<'_>)) {
        let mut rest = input;
        let mut borrowed = Borrowed::default();
        if self.after_cr && !rest.is_empty() {
            self.after_cr = false;
            rest = rest.strip_prefix(b"\n").unwrap_or(rest);
        }
        while let Some(end) = memchr2(b'\n', b'\r', rest) {
            let line = &rest[..end];
            let is_cr = rest[end] == b'\r';
            rest = &rest[end + 1..];
            if is_cr {
                self.after_cr = rest.is_empty();
                rest = rest.strip_prefix(b"\n").unwrap_or(rest);
            }
            self.end_line(line, &mut borrowed, &mut sink);
        }
        self.hold(rest);
        if let Some(data) = borrowed.data {
            self.event.data.extend(data);
        }
    }

    /// Ends the stream: a last event without its blank line, or line without its end, still counts.
    pub fn finish(&mut self, mut sink: impl FnMut(Event<'_>)) {
        let mut borrowed = Borrowed::default();
        if !self.line.is_empty() {
            self.end_line(b"", &mut borrowed, &mut sink);
        }
        self.dispatch(&mut borrowed, &mut sink);
    }

    /// Keeps the start of a line until its end comes.
    fn hold(&mut self, part: &[u8]) {
        if part.is_empty() {
            return;
        }
        if self.line.would_clip(part.len()) {
            let mut head = [0; 8];
            let held = self.line.bytes().iter().chain(part).take(head.len());
            for (to, from) in head.iter_mut().zip(held) {
                *to = *from;
            }
            self.long_line_is_data = without_bom(&head, self.first_line).starts_with(b"data:");
        }
        self.line.extend(part);
    }

    /// A line has ended with `last` as its last part.
    fn end_line<'a>(
        &mut self,
        last: &'a [u8],
        borrowed: &mut Borrowed<'a>,
        sink: &mut impl FnMut(Event<'_>),
    ) {
        if self.line.is_empty() && last.len() <= MAX_EVENT {
            let line = without_bom(last, self.first_line);
            self.first_line = false;
            self.whole_line(line, borrowed, sink);
            return;
        }
        self.hold(last);
        let line = std::mem::replace(&mut self.line, Kept::new(MAX_EVENT, TAIL));
        let first = std::mem::take(&mut self.first_line);
        if line.is_clipped() {
            if self.long_line_is_data {
                self.event.clip(line.bytes(), borrowed);
            }
            self.line = line.emptied();
            return;
        }
        match without_bom(line.bytes(), first) {
            [] => self.dispatch(borrowed, sink),
            text => self.event.owned_line(text, borrowed),
        }
        self.line = line.emptied();
    }

    fn whole_line<'a>(
        &mut self,
        line: &'a [u8],
        borrowed: &mut Borrowed<'a>,
        sink: &mut impl FnMut(Event<'_>),
    ) {
        if line.is_empty() {
            self.dispatch(borrowed, sink);
            return;
        }
        match field(line) {
            Field::Data(data) if self.event.has_data => self.event.join(data, borrowed),
            Field::Data(data) => {
                self.event.has_data = true;
                borrowed.data = Some(data);
            }
            Field::Name(name) => self.event.set_name(name),
            Field::Other => {}
        }
    }

    fn dispatch(&mut self, borrowed: &mut Borrowed<'_>, sink: &mut impl FnMut(Event<'_>)) {
        let pending = &mut self.event;
        if pending.has_data {
            let (data, clipped) = match borrowed.data.take() {
                Some(data) => (data, false),
                None => (pending.data.bytes(), pending.data.is_clipped()),
            };
            sink(Event { name: &pending.name, data, clipped });
        }
        pending.has_data = false;
        pending.name.clear();
        pending.data.clear();
    }
}

impl Pending {
    fn owned_line(&mut self, line: &[u8], borrowed: &mut Borrowed<'_>) {
        match field(line) {
            Field::Data(data) => self.join(data, borrowed),
            Field::Name(name) => self.set_name(name),
            Field::Other => {}
        }
    }

    fn set_name(&mut self, name: &[u8]) {
        self.name.clear();
        self.name.extend_from_slice(&name[..name.len().min(MAX_NAME)]);
    }

    fn join(&mut self, data: &[u8], borrowed: &mut Borrowed<'_>) {
        if let Some(first) = borrowed.data.take() {
            self.data.extend(first);
        }
        if self.has_data {
            self.data.extend(b"\n");
        }
        self.has_data = true;
        self.data.extend(data);
    }

    fn clip(&mut self, tail: &[u8], borrowed: &mut Borrowed<'_>) {
        self.join(tail, borrowed);
        self.data.clip();
    }
}

enum Field<'a> {
    Data(&'a [u8]),
    Name(&'a [u8]),
    /// A comment, `id`, `retry` or something unknown.
    Other,
}

fn field(line: &[u8]) -> Field<'_> {
    if let Some(value) = line.strip_prefix(b"data:") {
        return Field::Data(value.strip_prefix(b" ").unwrap_or(value));
    }
    if let Some(value) = line.strip_prefix(b"event:") {
        return Field::Name(value.strip_prefix(b" ").unwrap_or(value));
    }
    match line {
        b"data" => Field::Data(b""),
        b"event" => Field::Name(b""),
        _ => Field::Other,
    }
}

fn without_bom(line: &[u8], first: bool) -> &[u8] {
    if first { line.strip_prefix(BOM).unwrap_or(line) } else { line }
}

#[cfg(test)]
#[path = "sse_tests.rs"]
mod tests;
