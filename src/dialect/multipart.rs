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
    /// It is read no further.
    Faulty,
}

/// A boundary in what is held.
enum Boundary {
    /// A part follows: what comes before it ends at the first number, the part begins at the second.
    Part(usize, usize),
    /// The last one.
    Last(usize),
    /// One may begin here; more must come to tell.
    Open(usize),
    /// Some readers see one, and others none.
    Ambiguous(usize),
}

impl FormReader {
    /// A reader of a body of this content type; `None` if that is no form or tells no boundary.
    pub(super) fn of(content_type: &str, wanted: &'static [&'static str]) -> Option<Self> {
        let (kind, text) = content_type.split_once(';')?;
        if !kind.trim().eq_ignore_ascii_case("multipart/form-data") {
            return None;
        }
        let plain = parameters(text, false);
        let mut boundaries = plain.iter().filter(|(name, _)| name.starts_with("boundary"));
        let (_, boundary) = boundaries.next().filter(|(_, text)| (1..=MAX_BOUNDARY).contains(&text.len()))?;
        let mut reader = Self::new(boundary, wanted);
        let is_one = boundaries.next().is_none() && plain.iter().any(|(name, _)| name == "boundary");
        if !is_one || plain != parameters(text, true) || boundary.contains(',') {
            reader.state = State::Faulty;
            reader.found.fault = Some("its `content-type` can be read in two ways");
        }
        Some(reader)
    }

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
            if self.state == State::Faulty {
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
        match std::mem::replace(&mut self.state, State::Faulty) {
            State::Faulty => false,
            State::Skipping => self.skip(),
            State::Over => self.end(),
            State::Head => self.head(),
            State::Value(name) => self.value(name),
        }
    }

    /// Goes on to the next part.
    fn skip(&mut self) -> bool {
        match self.boundary() {
            Some(boundary) => self.pass(&boundary),
            None => {
                self.drop_all_but_a_beginning();
                self.stay(State::Skipping)
            }
        }
    }

    /// What follows the last part is nobody's, unless it looks like another.
    fn end(&mut self) -> bool {
        match self.boundary() {
            None => self.drop_all_but_a_beginning(),
            Some(Boundary::Open(at)) => self.drop_held(at),
            Some(_) => return self.fail("something follows its last part"),
        }
        self.stay(State::Over)
    }

    fn pass(&mut self, boundary: &Boundary) -> bool {
        match *boundary {
            Boundary::Open(at) => {
                self.drop_held(at);
                self.stay(State::Skipping)
            }
            Boundary::Last(at) => {
                self.drop_held(at + self.delimiter.len());
                self.go_on(State::Over)
            }
            Boundary::Ambiguous(_) => self.fail(TWO_ENDS),
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
        let part = Part::read(&self.held[..end], self.wanted);
        // the line end stays: a value may be empty, and the boundary follows at once
        self.drop_held(begins - 1);
        self.found.files += u64::from(part == Part::File);
        match part {
            Part::Text(name) if self.wanted.contains(&name.as_str()) => self.go_on(State::Value(name)),
            Part::Ambiguous => self.fail("the headers of a part can be read in two ways"),
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
            Some(Boundary::Ambiguous(end)) if end <= MAX_TEXT => return self.fail(TWO_ENDS),
            Some(Boundary::Open(_) | Boundary::Ambiguous(_)) | None => return self.fail(TOO_LONG),
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

    /// The first boundary in what is held: a line of its own. Some readers take a bare carriage return for the
    /// end of a line.
    fn boundary(&self) -> Option<Boundary> {
        let mut from = 0;
        while let Some(found) = memmem::find(&self.held[from + 1..], &self.delimiter[1..]) {
            let at = from + found;
            match self.held[at] {
                b'\n' => {}
                b'\r' => return Some(Boundary::Ambiguous(at)),
                _ => {
                    from = at + 1;
                    continue;
                }
            }
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
                [b'\r', ..] => return Some(Boundary::Ambiguous(at)),
                _ => from = at + 1,
            }
        }
        None
    }

    /// Keeps what may be the beginning of a boundary.
    fn drop_all_but_a_beginning(&mut self) {
        let kept = self.held.len().min(self.delimiter.len() - 1);
        self.drop_held(self.held.len() - kept);
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
const TWO_ENDS: &str = "a bare carriage return stands beside a boundary";
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
    /// What readers of HTTP and those of mail agree on.
    fn read(head: &[u8], wanted: &[&str]) -> Self {
        let head = String::from_utf8_lossy(head);
        let (mut disposition, mut is_encoded) = (None, false);
        for line in head.split('\n').map(|line| line.strip_suffix('\r').unwrap_or(line)) {
            if line.is_empty() {
                continue;
            }
            // some put a line that begins with a blank behind the one before
            let Some((name, value)) = line.split_once(':').filter(|_| !line.starts_with([' ', '\t'])) else {
                return Self::Ambiguous;
            };
            let (name, is_broken) = (name.trim(), line.contains(['\r', '\0']));
            let is_disposition = name.eq_ignore_ascii_case("content-disposition");
            if is_broken || is_disposition && disposition.replace(value).is_some() {
                return Self::Ambiguous;
            }
            is_encoded |= name.eq_ignore_ascii_case("content-transfer-encoding")
                && !PLAIN_ENCODINGS.iter().any(|plain| plain.eq_ignore_ascii_case(value.trim()));
        }
        let Some((_, text)) = disposition.and_then(|value| value.split_once(';')) else {
            return Self::Nameless;
        };
        let plain = Self::of(&parameters(text, false), wanted);
        match plain {
            // browsers write a backslash as it is, others put it before a quote
            _ if plain != Self::of(&parameters(text, true), wanted) => Self::Ambiguous,
            Self::Text(_) if is_encoded => Self::Ambiguous,
            plain => plain,
        }
    }

    fn of(parameters: &[(String, String)], wanted: &[&str]) -> Self {
        let mut names = parameters.iter().filter(|(name, _)| name == "name");
        let (name, second) = (names.next(), names.next());
        let is_starred = parameters.iter().any(|(name, _)| name.starts_with("name*"));
        if is_starred || second.is_some() {
            return Self::Ambiguous;
        }
        let is_file = parameters.iter().any(|(name, _)| name == "filename");
        match name {
            // without a file's name, or with an empty one, it is a text to some
            Some((_, name)) if is_file && wanted.contains(&name.as_str()) => Self::Ambiguous,
            _ if is_file => Self::File,
            Some((_, name)) => Self::Text(name.clone()),
            None => Self::Nameless,
        }
    }
}

/// What a text may be in without being another.
const PLAIN_ENCODINGS: [&str; 3] = ["7bit", "8bit", "binary"];

/// The parameters of a header value, `name=value` or `name="value"`, their names in lower case. In quotes a
/// backslash is itself, or takes its meaning from the next character.
fn parameters(mut text: &str, escapes: bool) -> Vec<(String, String)> {
    let mut found = Vec::new();
    while let Some((name, rest)) = text.split_once('=') {
        // words without a value may stand in front
        let name = name.rsplit(';').next().unwrap_or_default().trim().to_ascii_lowercase();
        let value;
        (value, text) = match rest.trim_start().strip_prefix('"') {
            Some(quoted) => match unquote(quoted, escapes) {
                Some(split) => split,
                None => return found,
            },
            None => {
                let (value, rest) = rest.split_once(';').unwrap_or((rest, ""));
                (value.to_owned(), rest)
            }
        };
        found.push((name, value.trim().to_owned()));
    }
    found
}

/// The text up to a quote, and what follows it.
fn unquote(quoted: &str, escapes: bool) -> Option<(String, &str)> {
    let mut text = String::new();
    let mut rest = quoted.chars();
    loop {
        match rest.next()? {
            '"' => return Some((text, rest.as_str())),
            '\\' if escapes => text.push(rest.next()?),
            other => text.push(other),
        }
    }
}

#[cfg(test)]
#[path = "multipart_tests.rs"]
mod tests;
