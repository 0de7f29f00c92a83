//! Which requests are begun and not ended, as far as the journal has been read.

use std::collections::{BTreeSet, HashMap};

use crate::store::ledger::Position;

/// Intents whose outcome has not been read: where each stands, and which is the oldest.
#[derive(Default)]
pub(super) struct OpenIntents {
    places: HashMap<u128, Position>,
    in_order: BTreeSet<Position>,
}

impl OpenIntents {
    pub(super) fn begin(&mut self, id: u128, at: Position) {
        if let Some(earlier) = self.places.insert(id, at) {
            self.in_order.remove(&earlier);
        }
        self.in_order.insert(at);
    }

    pub(super) fn end(&mut self, id: u128) {
        if let Some(at) = self.places.remove(&id) {
            self.in_order.remove(&at);
        }
    }

    pub(super) fn len(&self) -> usize {
        self.places.len()
    }

    pub(super) fn oldest(&self) -> Option<Position> {
        self.in_order.first().copied()
    }
}
