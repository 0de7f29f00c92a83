//! Visible output in the order in which it came, told apart by the texts that an answer writes side by side: a
//! tokenizer must not merge across them.

/// One of the texts of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Lane(u64);

/// What is written in a lane.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Part {
    #[default]
    Words,
    Reasoning,
    Refusal,
    Call,
}

impl Lane {
    /// The lane of a part of a choice or of an output item; parts of one kind are told apart by their index.
    pub(super) const fn new(choice: u64, part: Part, index: u64) -> Self {
        Self((choice & 0xffff_ffff) << 32 | (index & 0xff_ffff) << 8 | part as u64)
    }
}

/// So many bytes of one lane.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Run {
    lane: Lane,
    bytes: usize,
}

/// Output that no tokenizer has seen yet.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Shown {
    text: String,
    runs: Vec<Run>,
}

/// Lanes may change with every word; a run takes as much memory as this many bytes of text.
const BYTES_OF_RUN: usize = size_of::<Run>();

/// Answers come by the word; room is not asked for with each of the first ones.
const USUAL: usize = 512;

impl Shown {
    /// Takes note of what comes next in a lane.
    pub(super) fn push(&mut self, lane: Lane, text: &str) {
        if text.is_empty() {
            return;
        }
        if self.text.capacity() == 0 {
            self.text.reserve(USUAL);
        }
        self.text.push_str(text);
        match self.runs.last_mut().filter(|run| run.lane == lane) {
            Some(run) => run.bytes += text.len(),
            None => self.runs.push(Run { lane, bytes: text.len() }),
        }
    }

    /// The texts with their lanes, in order.
    pub fn runs(&self) -> impl Iterator<Item = (Lane, &str)> {
        let mut rest = self.text.as_str();
        self.runs.iter().map(move |run| {
            let (text, after) = rest.split_at(run.bytes);
            rest = after;
            (run.lane, text)
        })
    }

    /// All of it, one lane after the other as it came.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Its bytes.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.text.len()
    }

    /// Whether there is none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.text.is_empty()
    }

    /// Bytes of memory that it takes, about.
    #[must_use]
    pub const fn size(&self) -> usize {
        self.text.len() + self.runs.len() * BYTES_OF_RUN
    }
}

impl PartialEq<str> for Shown {
    fn eq(&self, text: &str) -> bool {
        self.text == text
    }
}
