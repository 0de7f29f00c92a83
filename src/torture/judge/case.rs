//! One request before the judge: what its client saw, what the oracle served, what the books say.

use super::bytes::{self, Likeness};
use crate::base::usage::{Usage, UsageSource};
use crate::mock::{End, Served};
use crate::store::record::{Disconnect, Outcome, Record};
use crate::torture::ask::{Ask, Operation};
use crate::torture::client::{Ended, Leave, Transcript};
use crate::torture::rates::Rates;
use crate::torture::sheet::{Invariant, Sheet};

/// One request and what became of it, as its client knows.
#[derive(Debug, Clone)]
pub(in crate::torture) struct Case {
    pub(in crate::torture) ask: Ask,
    pub(in crate::torture) leave: Leave,
    pub(in crate::torture) status: Option<u16>,
    /// The gateway's own id of the request.
    pub(in crate::torture) request_id: Option<String>,
    pub(in crate::torture) ended: Ended,
    pub(in crate::torture) bytes: u64,
    /// Output tokens that reached the client in whole events of a stream.
    pub(in crate::torture) relayed: u64,
    pub(in crate::torture) likeness: Likeness,
    pub(in crate::torture) says_finished: bool,
    /// The body of an error.
    pub(in crate::torture) words: String,
}

/// What is right in the circumstances.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(in crate::torture) struct Rules {
    /// The process was killed on the way: answers may stop anywhere.
    pub(in crate::torture) killed: bool,
    /// The network was broken on the way: the gateway may say so, and may have asked again.
    pub(in crate::torture) network: bool,
    /// Further attempts are wanted.
    pub(in crate::torture) retries: bool,
    /// Refusals by status 402 are wanted.
    pub(in crate::torture) budget: bool,
}

impl Case {
    pub(in crate::torture) fn of(ask: Ask, leave: Leave, seen: &Transcript) -> Self {
        let is_error = seen.status.is_some_and(|status| status >= 400);
        let words = String::from_utf8_lossy(&seen.body[..seen.body.len().min(MAX_WORDS)]);
        Self {
            status: seen.status,
            request_id: seen.header("x-tollgate-request-id").map(str::to_owned),
            ended: seen.ended,
            bytes: seen.body.len() as u64,
            relayed: bytes::relayed(&ask, &seen.body),
            likeness: bytes::likeness(&ask, seen),
            says_finished: bytes::says_finished(&ask, &seen.body),
            words: if is_error { words.into_owned() } else { String::new() },
            ask,
            leave,
        }
    }

    /// What is known of it, for a counter-example.
    pub(in crate::torture) fn told_of(&self, served: &[Served], rows: &[Record]) -> String {
        let Ask { mark, operation, model, stream, knobs, .. } = &self.ask;
        let (leave, ended, likeness) = (self.leave, self.ended, self.likeness);
        let mut text = format!(
            "{mark}: {operation:?} {model} stream {stream} `{knobs}` leaves {leave:?}; status {:?}, {} bytes, \
             {ended:?}, {likeness:?}, {} tokens relayed {}",
            self.status, self.bytes, self.relayed, self.words
        );
        for one in served {
            text += &format!(
                "; oracle {}: status {}, {:?}, {} in {} out, told {}",
                one.id,
                one.status,
                one.end,
                one.usage.input_tokens,
                one.usage.output_tokens,
                one.usage_reported
            );
        }
        for row in rows {
            text += &format!(
                "; row {}: {} {}, {} in {} out {}, cost {:?} of {} reserved, {} attempts",
                row.request_id(),
                row.outcome.as_str(),
                row.error,
                row.usage.input_tokens,
                row.usage.output_tokens,
                row.usage_source.as_str(),
                row.cost.map(|cost| cost.as_nanos()),
                row.reserved.as_nanos(),
                row.attempts,
            );
        }
        text
    }

    fn is_answered(&self) -> bool {
        self.status.is_some_and(|status| status < 400)
    }

    pub(in crate::torture) fn is_whole(&self) -> bool {
        self.is_answered() && self.ended == Ended::Whole
    }

    /// Judges what can be seen from outside: I6, I7, I11, I13, and of I1 whether the oracle was asked twice.
    pub(in crate::torture) fn judge_outside(&self, sheet: &mut Sheet, served: &[Served], rules: Rules) {
        let shown = || self.told_of(served, &[]);
        sheet.check(Invariant::I13, self.ended != Ended::Hung, shown);
        if self.is_answered() {
            let is_like = !matches!(self.likeness, Likeness::Other { .. });
            sheet.check(Invariant::I6, is_like, shown);
            let looks_normal = self.ended == Ended::Whole && self.likeness != Likeness::BeginningAndError;
            let is_complete = self.likeness == Likeness::Same;
            sheet.check(
                Invariant::I7,
                !looks_normal || is_complete || matches!(self.likeness, Likeness::Other { .. }),
                shown,
            );
        }
        let answered = served.iter().filter(|one| one.status < 400).count();
        if !rules.network && !rules.retries {
            sheet.check(Invariant::I1, answered <= 1, || format!("asked {answered} times: {}", shown()));
        }
        self.judge_failures(sheet, served, rules);
    }

    /// Invariant I11: what went wrong was the oracle's, the network's, the client's or the killer's doing.
    fn judge_failures(&self, sheet: &mut Sheet, served: &[Served], rules: Rules) {
        if rules.killed || rules.network || self.leave != Leave::Never {
            return;
        }
        let upstream_failed = served.last().is_some_and(|one| one.status >= 400 || one.end == End::Cut);
        let is_wanted =
            rules.budget && (self.status == Some(402) || self.likeness == Likeness::BeginningAndError);
        let is_fine = self.is_whole() && self.likeness != Likeness::OwnWords;
        sheet.check(Invariant::I11, is_fine || upstream_failed || is_wanted, || self.told_of(served, &[]));
    }

    /// Judges the rows of this request: I1, I2, I3.
    pub(in crate::torture) fn judge_rows(
        &self,
        sheet: &mut Sheet,
        rows: &[Record],
        served: &[Served],
        rules: Rules,
    ) {
        let shown = || self.told_of(served, rows);
        let must_be = !served.is_empty() || self.request_id.is_some();
        sheet.check(Invariant::I1, rows.len() <= 1 && (!must_be || rows.len() == 1), || {
            format!("{} rows: {}", rows.len(), shown())
        });
        let [row] = rows else { return };
        let is_its_own = self.request_id.as_ref().is_none_or(|id| *id == row.request_id().to_string());
        sheet.check(Invariant::I1, is_its_own, shown);
        if row.outcome != Outcome::Interrupted {
            let attempts = usize::try_from(row.attempts).unwrap_or(usize::MAX);
            sheet.check(Invariant::I1, served.len() <= attempts, || format!("attempts: {}", shown()));
        }
        self.judge_money(sheet, row, served, rules, &shown);
    }

    fn judge_money(
        &self,
        sheet: &mut Sheet,
        row: &Record,
        served: &[Served],
        rules: Rules,
        shown: &dyn Fn() -> String,
    ) {
        let cost = row.cost.map(|cost| cost.as_nanos());
        if served.is_empty() && !rules.network && row.outcome != Outcome::Interrupted {
            let is_free = cost == Some(0) && row.usage == Usage::default();
            // a client that leaves while the gateway connects is charged for what may have been asked
            let may_have_been = self.leave != Leave::Never || rules.killed;
            sheet.check(Invariant::I2, is_free || may_have_been, || format!("not asked: {}", shown()));
            return;
        }
        let last = served.last();
        if last.is_some_and(|one| one.status >= 400) && !rules.killed && self.ended == Ended::Whole {
            sheet.check(Invariant::I2, cost == Some(0), || format!("an error costs nothing: {}", shown()));
            return;
        }
        let told = last.filter(|one| one.end == End::Clean && one.usage_reported);
        match (told, row.usage_source) {
            (Some(told), _) if self.is_whole() || row.disconnect == Disconnect::Drained => {
                self.is_exact(sheet, row, told, shown);
            }
            (Some(told), UsageSource::Reported) => self.is_exact(sheet, row, told, shown),
            // told before the break, or found in an odd spelling: then it must be right
            (None, UsageSource::Reported) if last.is_some() => {
                self.is_exact(sheet, row, last.expect("looked at a line ago"), shown);
            }
            _ => self.is_between_relayed_and_reserved(sheet, row, rules, shown),
        }
    }

    /// Invariant I2.
    fn is_exact(&self, sheet: &mut Sheet, row: &Record, served: &Served, shown: &dyn Fn() -> String) {
        let told = self.told(served);
        let rates = Rates::of(&self.ask.model);
        let is_exact = row.usage_source == UsageSource::Reported
            && row.usage == told
            && row.cost.map(|cost| cost.as_nanos()) == Some(rates.cost(&told));
        sheet.check(Invariant::I2, is_exact, shown);
    }

    /// What the oracle told the gateway: a stream of messages tells the sum only, without its reasoning part.
    pub(in crate::torture) fn told(&self, served: &Served) -> Usage {
        let mut told = served.usage;
        if self.ask.operation == Operation::Messages && self.ask.stream {
            told.reasoning_tokens = 0;
        }
        told
    }

    /// A budget's cut comes with what was read at once: those tokens may be the gateway's loss.
    fn relayed_before_the_cut(&self) -> u64 {
        let overshoot = READ_AT_ONCE * self.relayed / self.bytes.max(1) + 1;
        self.relayed.saturating_sub(overshoot)
    }

    /// Invariant I3.
    fn is_between_relayed_and_reserved(
        &self,
        sheet: &mut Sheet,
        row: &Record,
        rules: Rules,
        shown: &dyn Fn() -> String,
    ) {
        let rates = Rates::of(&self.ask.model);
        let relayed = if row.outcome == Outcome::Cut { self.relayed_before_the_cut() } else { self.relayed };
        let at_least = rates.cost(&Usage { output_tokens: relayed, ..Usage::default() });
        let cost = row.cost.unwrap_or_default();
        let is_bounded = at_least <= cost.as_nanos() && cost <= row.reserved;
        let counts = row.outcome == Outcome::Interrupted || row.usage.output_tokens >= relayed;
        // a break before anything was told costs nothing and needs no estimate
        let is_flagged = row.usage_source != UsageSource::Reported
            && (row.usage_source != UsageSource::None || rules.network || self.relayed == 0);
        sheet.check(Invariant::I3, is_bounded && counts && is_flagged, || {
            format!("at least {at_least} nano-USD were relayed: {}", shown())
        });
    }
}

/// What a gateway may have read at once before it sees that it has to cut (FAULTS B3).
const READ_AT_ONCE: u64 = 16 << 10;

/// Errors are short.
const MAX_WORDS: usize = 4 << 10;
