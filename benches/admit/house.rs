//! A team with limits and budgets and a journal: what the books of a request are kept in.

use std::collections::BTreeMap;
use std::num::{NonZeroU32, NonZeroU64};
use std::path::Path;
use std::sync::Arc;

use tempfile::TempDir;
use tollgate::base::clock::Clock;
use tollgate::base::money::NanoUsd;
use tollgate::budget::{self, Book, Budget, Need, Spender};
use tollgate::ledger::journal::Journal;
use tollgate::ledger::section::{Durability, LedgerSection};
use tollgate::limits::section::LimitsSection;
use tollgate::limits::{self, Limiter, LimiterBook, TokenAsk};
use tollgate::store::record::Record;

use crate::{Failure, chat};

/// Everything that a request's books are kept in.
pub(crate) struct House {
    _dir: TempDir,
    pub(crate) clock: Clock,
    pub(crate) journal: Journal,
    limiters: Vec<Arc<Limiter>>,
    budgets: Vec<Arc<Budget>>,
    tags: BTreeMap<String, String>,
}

impl House {
    /// Limits and budgets of a team and of a key, wide enough that nobody is refused.
    pub(crate) fn open(dir: Option<&Path>, durability: Durability) -> Result<Self, Failure> {
        let dir = match dir {
            Some(dir) => TempDir::new_in(dir)?,
            None => TempDir::new()?,
        };
        let section = LedgerSection { durability, ..LedgerSection::default() };
        let limits = LimitsSection {
            requests_per_minute: NonZeroU32::new(1_000_000_000),
            tokens_per_minute: NonZeroU64::new(1 << 50),
            concurrent: NonZeroU32::new(1_000_000),
        };
        let limiters = LimiterBook::new();
        Ok(Self {
            clock: Clock::system(),
            journal: Journal::open(dir.path(), &section)?,
            limiters: ["team search", "key search/prod"].map(|name| limiters.open(name, &limits)).into(),
            budgets: budgets()?,
            tags: BTreeMap::new(),
            _dir: dir,
        })
    }

    /// Takes what a request may use, from all limits and budgets.
    pub(crate) fn reserve(&self) -> (limits::Admission, budget::Reservation) {
        let ask = TokenAsk { firm: 250, usual: 1_250, most: 1_250 };
        let admission = limits::admit(&self.limiters, ask, self.clock.tick()).expect("the limits are wide");
        let need = Need { cost: NanoUsd::new(12_500_000), tokens: 1_250, requests: 1 };
        let reservation = budget::reserve(&self.budgets, &self.spender(), need, self.clock.now())
            .expect("the budgets are wide");
        (admission, reservation)
    }

    fn spender(&self) -> Spender<'_> {
        Spender { team: "search", key: "prod", user: "", run: "", model: "gpt-4o-mini", tags: &self.tags }
    }

    /// Gives back what it did not use.
    pub(crate) fn settle(&self, mut admission: limits::Admission, reservation: budget::Reservation) {
        let settled = reservation.settle(Need { cost: NanoUsd::new(3_250_000), tokens: 700, requests: 1 });
        assert!(settled.crossings.is_empty(), "the budgets are wide");
        admission.settle(700);
    }
}

fn budgets() -> Result<Vec<Arc<Budget>>, Failure> {
    let book = Book::new();
    let section = |limit: i64| {
        serde_json::from_value(serde_json::json!({ "limit_usd": limit.to_string(), "every": "month" }))
    };
    let mut open = Vec::new();
    for scope in [budget::Scope::Team("search".into()), budget::Scope::Key("search".into(), "prod".into())] {
        let sections = [section(5_000_000)?];
        let specs = budget::BudgetSpec::list(&scope, &sections).map_err(|(_, fault)| fault.to_string())?;
        open.extend(specs.into_iter().map(|spec| book.open(spec)));
    }
    Ok(open)
}

/// A record of its caller.
pub(crate) fn record() -> Record {
    Record {
        id: 0x0196_f3a1_0000_7000_8000_0000_0000_0000,
        started_at: 1_790_000_000_000_000_000,
        admitted_at: 1_790_000_000_000_100_000,
        team: "search".into(),
        key: "prod".into(),
        user: "user-1234".into(),
        tags: BTreeMap::from([("feature".into(), "search".into()), ("env".into(), "prod".into())]),
        trace_id: "0af7651916cd43dd8448eb211c80319c".into(),
        ..chat::record()
    }
}
