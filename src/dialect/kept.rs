//! A byte buffer that keeps everything up to a bound and only the tail beyond it.

/// What was kept of some bytes. How they were cut into parts makes no difference.
#[derive(Debug)]
pub(super) struct Kept {
    bytes: Vec<u8>,
    most: usize,
    tail: usize,
    clipped: bool,
}

impl Kept {
    /// Keeps up to `most` bytes whole, and of more than that the last `tail`.
    pub(super) const fn new(most: usize, tail: usize) -> Self {
        Self { bytes: Vec::new(), most, tail, clipped: false }
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    pub(super) const fn is_clipped(&self) -> bool {
        self.clipped
    }

    /// Everything, or the tail if it was clipped.
    pub(super) fn bytes(&self) -> &[u8] {
        if self.clipped { &self.bytes[self.bytes.len().saturating_sub(self.tail)..] } else { &self.bytes }
    }

    /// Whether `more` bytes are the ones that pass the bound.
    pub(super) const fn would_clip(&self, more: usize) -> bool {
        !self.clipped && self.bytes.len() + more > self.most
    }

    pub(super) fn extend(&mut self, part: &[u8]) {
        if self.would_clip(part.len()) {
            self.clip();
        }
        if !self.clipped {
            self.bytes.extend_from_slice(part);
            return;
        }
        let part = &part[part.len().saturating_sub(self.tail)..];
        self.bytes.extend_from_slice(part);
        // Twice the tail, so that the bytes are not moved on every small part.
        if self.bytes.len() > 2 * self.tail {
            self.trim();
        }
    }

    /// Treats the bytes as passed over the bound.
    pub(super) fn clip(&mut self) {
        self.clipped = true;
        self.trim();
    }

    pub(super) fn clear(&mut self) {
        self.bytes.clear();
        self.clipped = false;
        if self.bytes.capacity() > 2 * self.tail {
            self.bytes = Vec::new();
        }
    }

    /// Itself without content; the room stays, so that the next line need not ask for it again.
    pub(super) fn emptied(mut self) -> Self {
        self.clear();
        self
    }

    fn trim(&mut self) {
        let surplus = self.bytes.len().saturating_sub(self.tail);
        self.bytes.drain(..surplus);
    }
}
