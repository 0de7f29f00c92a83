//! What chance decides of a question, in scenarios that ask of every kind: the same for the same seed and number.

use crate::base::chance::Chance;
use crate::torture::ask::{Ask, Operation};
use crate::torture::run::Stand;

/// The lots of one run or round.
#[derive(Debug)]
pub(super) struct Lots {
    seed: u64,
    marks: String,
    models: Vec<String>,
    callers: u64,
}

impl Lots {
    pub(super) fn of(stand: &Stand<'_>, round: u64) -> Self {
        Self {
            seed: stand.chance.next_u64(),
            marks: stand.marks(round),
            models: stand.gateway.models(),
            callers: stand.gateway.callers().len() as u64,
        }
    }

    /// The question of this number, of which so many in `of` are streams; and the chance to decide the rest by.
    pub(super) fn draw(&self, number: u64, (streams, of): (u64, u64)) -> (Ask, Chance) {
        let chance = Chance::seeded(self.seed ^ number.wrapping_mul(0x9E37_79B9_7F4A_7C15));
        let operation = Operation::ALL[one_of(&chance, Operation::ALL.len())];
        let model = &self.models[one_of(&chance, self.models.len())];
        let is_stream = chance.below(of) >= of - streams;
        let ask = Ask::chat(format!("{}-{number}", self.marks), model, 80)
            .of(operation, is_stream)
            .by(usize::try_from(chance.below(self.callers)).unwrap_or(0));
        (ask, chance)
    }
}

/// A place among `count`.
pub(super) fn one_of(chance: &Chance, count: usize) -> usize {
    usize::try_from(chance.below(count as u64)).unwrap_or(0)
}
