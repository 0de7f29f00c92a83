//! What all budgets of a request together ask of the one who serves it.

use std::sync::Arc;

use super::amount::Unit;
use super::book::Budget;
use super::counted::Spender;
use super::section::{Unpriced, WhenSpent};

/// What the concerned budgets ask, by the strictest.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Terms {
    /// One of them can say no.
    pub is_held: bool,
    /// One of them wants streams cut.
    pub cuts: bool,
    /// One of them wants the output cap lowered near its limit.
    pub clamps: bool,
    /// What becomes of a request of unknown price.
    pub unpriced: UnpricedRule,
}

/// What becomes of a request of unknown price.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum UnpricedRule {
    /// It is refused: it cannot be held to a limit in USD.
    Refuse,
    /// It is priced as this model.
    PriceAs(String),
    /// It passes uncounted.
    #[default]
    Allow,
}

/// The terms of the budgets that count this request. One that only warns or watches refuses nothing, not an
/// unknown price either. Of several models to price as, the first is taken.
#[must_use]
pub fn terms(budgets: &[Arc<Budget>], spender: &Spender<'_>) -> Terms {
    let mut terms = Terms::default();
    for budget in budgets.iter().filter(|budget| budget.counted().fits(spender)) {
        let spec = budget.spec();
        let is_held = spec.is_held();
        terms.is_held |= is_held;
        terms.cuts |= is_held && spec.when_spent == WhenSpent::Cut;
        terms.clamps |= is_held && spec.when_spent == WhenSpent::Clamp;
        if spec.limit.unit() != Unit::Usd {
            continue;
        }
        match (&spec.unpriced, &terms.unpriced) {
            (Unpriced::Refuse, _) if is_held => terms.unpriced = UnpricedRule::Refuse,
            (Unpriced::PriceAs(model), UnpricedRule::Allow) => {
                terms.unpriced = UnpricedRule::PriceAs(model.clone());
            }
            (Unpriced::Refuse | Unpriced::PriceAs(_) | Unpriced::Allow, _) => {}
        }
    }
    terms
}
