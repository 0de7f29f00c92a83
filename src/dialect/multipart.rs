//! Reads a `multipart/form-data` body as it passes: the text fields that the walk needs and their places,
//! never files. Any slicing of the same bytes says the same; memory is bounded.

use std::ops::Range;

use memchr::memmem;

/// A text field of a form.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct FormField {
    pub(super) name: String,
    pub(super) value: String,
    /// Where its value stands in the body.
    pub(super) at: Range<u64>,
}

/// Parts looked at; forms of this dialect have about ten.
const MAX_PARTS: usize = 256;
/// The longest header block of a part, and the longest value taken for a text field.
const MAX_TEXT: usize = 16 * 1024;
/// Blanks that may stand behind a boundary.
const MAX_PADDING: usize = 64;
/// Taken at once of what comes, so that what is held stays within this and the longest text.
const STEP: usize = 32 * 1024;
/// RFC 2046 allows 70 characters; some clients take a few more.
const MAX_BOUNDARY: usize = 256;

/// The boundary of a `multipart/form-data` content type.
pub(super) fn boundary(content_type: &str) -> Option<String> {
    let (kind, parameters) = content_type.split_once(';')?;
    if !kind.trim().eq_ignore_ascii_case("multipart/form-data") {
        return None;
    }
    parameter(parameters, "boundary").filter(|boundary| (1..=MAX_BOUNDARY).contains(&boundary.len()))
}

/// A form under way.
#[derive(Debug)]
pub(super) struct FormReader {
    wanted: &'static [&'static str],
    /// A line end, two hyphens and the boundary.
    delimiter: Vec<u8>,
    /// What came and was not decided upon.
    held: Vec<u8>,
    /// Where `held` begins, in a body with a line end put in front.
    held_at: u64,
    state: State,
    parts: usize,
    found: Found,
}

/// What a form says so far.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Found {
    /// The wanted text fields, in order.
    pub(super) fields: Vec<FormField>,
    /// Parts that are files.
    pub(super) files: u64,
    /// Why upstreams could read the form in another way than it is read here.
    pub(super) fault: Option<&'static str>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum State {
    /// Before the first part, in a file, or in a text that nobody needs.
    Skipping,
    /// In the header block of a part.
    Head,
    /// In the value of the field of this name.
    Value(String),
    /// Behind the last part.
    Over,
}

/// A boundary in what is held.
enum Boundary {
    /// A part follows: what comes before it ends at the first number, the part begins at the second.
    Part(usize, usize),
    /// The last one.
    Last(usize),
    /// One may begin here; more must come to tell.
    Open(usize),
}

impl FormReader {
    pub(super) fn new(boundary: &str, wanted: &'static [&'static str]) -> Self {
        Self {
            wanted,
            delimiter: format!("\n--{boundary}").into_bytes(),
            // the first boundary has no line end in front
            held: b"\n".to_vec(),
            held_at: 0,
            state: State::Skipping,
            parts: 0,
            found: Found::default(),
        }
    }

    /// Reads the next bytes of the body.
    pub(super) fn push(&mut self, bytes: &[u8]) {
        for step in bytes.chunks(STEP) {
            if self.is_over() {
                return;
            }
            self.held.extend_from_slice(step);
            while self.advance() {}
        }
    }

    pub(super) const fn found(&self) -> &Found {
        &self.found
    }

    /// Decides on one thing; `false` where more bytes must come.
    fn advance(&mut self) -> bool {
        match std::mem::replace(&mut self.state, State::Over) {
            State::Over => false,
            State::Skipping => self.skip(),
            State::Head => self.head(),
            State::Value(name) => self.value(name),
        }
    }

    fn is_over(&self) -> bool {
        self.state == State::Over
    }

    /// Goes on to the next part, and keeps what may be the beginning of its boundary.
    fn skip(&mut self) -> bool {
        match self.boundary() {
            Some(boundary) => self.pass(&boundary),
            None => {
                let kept = self.held.len().min(self.delimiter.len() - 1);
                self.drop_held(self.held.len() - kept);
                self.stay(State::Skipping)
            }
        }
    }

    fn pass(&mut self, boundary: &Boundary) -> bool {
        match *boundary {
            Boundary::Open(at) => {
                self.drop_held(at);
                self.stay(State::Skipping)
            }
            Boundary::Last(_) => false,
            Boundary::Part(_, begins) => {
                self.parts += 1;
                if self.parts > MAX_PARTS {
                    return self.fail("it has more than 256 parts");
                }
                // the line end before the header block, so that a block without headers ends, too
                self.drop_held(begins - 1);
                self.go_on(State::Head)
            }
        }
    }

    fn head(&mut self) -> bool {
        let seen = &self.held[..self.held.len().min(MAX_TEXT)];
        let ends = HEAD_ENDS.iter().filter_map(|end| memmem::find(seen, end).map(|at| (at, at + end.len())));
        let Some((end, begins)) = ends.min() else {
            if self.held.len() < MAX_TEXT {
                return self.stay(State::Head);
            }
            return self.fail("the headers of a part are longer than 16 KiB");
        };
        let part = Part::read(&self.held[..end]);
        // the line end stays: a value may be empty, and the boundary follows at once
        self.drop_held(begins - 1);
        self.found.files += u64::from(part == Part::File);
        match part {
            Part::Text(name) if self.wanted.contains(&name.as_str()) => self.go_on(State::Value(name)),
            Part::Ambiguous => self.fail("a part's name stands in `name*`"),
            Part::Text(_) | Part::File | Part::Nameless => self.go_on(State::Skipping),
        }
    }

    fn value(&mut self, name: String) -> bool {
        let boundary = self.boundary();
        let end = match boundary {
            Some(Boundary::Part(end, _) | Boundary::Last(end)) => end,
            Some(Boundary::Open(end)) if end <= MAX_TEXT => return self.stay(State::Value(name)),
            None if self.held.len() <= MAX_TEXT + self.delimiter.len() => {
                return self.stay(State::Value(name));
            }
            Some(Boundary::Open(_)) | None => return self.fail(TOO_LONG),
        };
        if end > MAX_TEXT {
            return self.fail(TOO_LONG);
        }
        // without the line end in front; where the value is empty, it is the boundary's
        let value = self.held.get(1..end).unwrap_or_default();
        let value = value.strip_suffix(b"\r").unwrap_or(value);
        let at = self.held_at..self.held_at + value.len() as u64;
        let value = String::from_utf8_lossy(value).into_owned();
        self.found.fields.push(FormField { name, value, at });
        self.go_on(State::Skipping)
    }

    /// The first boundary in what is held: a line of its own.
    fn boundary(&self) -> Option<Boundary> {
        let mut from = 0;
        while let Some(found) = memmem::find(&self.held[from..], &self.delimiter) {
            let at = from + found;
            let behind = &self.held[at + self.delimiter.len()..];
            if behind.starts_with(b"--") {
                return Some(Boundary::Last(at));
            }
            let padding = behind.iter().take(MAX_PADDING).take_while(|byte| b" \t".contains(byte)).count();
            match &behind[padding..] {
                [b'\n', ..] => return Some(Boundary::Part(at, self.held.len() - behind.len() + padding + 1)),
                [b'\r', b'\n', ..] => {
                    return Some(Boundary::Part(at, self.held.len() - behind.len() + padding + 2));
                }
                [] | [b'\r'] => return Some(Boundary::Open(at)),
                [b'-'] if padding == 0 => return Some(Boundary::Open(at)),
                _ => from = at + 1,
            }
        }
        None
    }

    fn drop_held(&mut self, count: usize) {
        self.held.drain(..count);
        self.held_at += count as u64;
    }

    fn stay(&mut self, state: State) -> bool {
        self.state = state;
        false
    }

    fn go_on(&mut self, state: State) -> bool {
        self.state = state;
        true
    }

    fn fail(&mut self, fault: &'static str) -> bool {
        self.found.fault = Some(fault);
        false
    }
}

/// An empty line, in either spelling.
const HEAD_ENDS: [&[u8]; 2] = [b"\n\r\n", b"\n\n"];
const TOO_LONG: &str = "a text field that Tollgate reads is longer than 16 KiB";

/// What the headers of a part say it is.
#[derive(Debug, PartialEq, Eq)]
enum Part {
    /// A text field of this name.
    Text(String),
    /// A file.
    File,
    /// Neither; nobody can find it.
    Nameless,
    /// Some readers see a name in it and others none.
    Ambiguous,
}

impl Part {
    fn read(head: &[u8]) -> Self {
        let head = String::from_utf8_lossy(head);
        let disposition = head.lines().find_map(|line| {
            let (name, value) = line.split_once(':')?;
            name.trim().eq_ignore_ascii_case("content-disposition").then_some(value)
        });
        let Some((_, parameters)) = disposition.and_then(|value| value.split_once(';')) else {
            return Self::Nameless;
        };
        if parameter(parameters, "filename").is_some() {
            return Self::File;
        }
        match parameter(parameters, "name") {
            _ if parameter(parameters, "name*").is_some() => Self::Ambiguous,
            Some(name) => Self::Text(name),
            None => Self::Nameless,
        }
    }
}

/// A parameter of a header value, `name=value` or `name="value"`.
fn parameter(mut parameters: &str, wanted: &str) -> Option<String> {
    while let Some((name, rest)) = parameters.split_once('=') {
        let name = name.trim_matches([' ', ';', '\t']);
        let (value, rest) = match rest.trim_start().strip_prefix('"') {
            Some(quoted) => quoted.split_once('"')?,
            None => rest.split_once(';').unwrap_or((rest, "")),
        };
        if name.eq_ignore_ascii_case(wanted) {
            return Some(value.trim().to_owned());
        }
        parameters = rest;
    }
    None
}

#[cfg(test)]
#[path = "multipart_tests.rs"]
mod tests;
