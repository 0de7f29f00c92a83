//! A row of `requests` as a record. Names, order and types of the columns live here; how a record is written
//! is told in `entry.rs`.

use std::borrow::Cow;
use std::str;

use rusqlite::types::Null;
use rusqlite::{Row, Statement};

use crate::base::money::NanoUsd;
use crate::base::usage::{UNITS, Usage, UsageSource};
use crate::store::record::{Billing, CacheResult, Disconnect, Outcome, Record};

/// The columns in the order in which [`read_into`] reads them.
pub(super) const COLUMNS: &str = "id, started_at, outcome, status, error, \
    team, key, user, run, session, tags, \
    operation, model, upstream_model, response_model, upstream, attempts, stream, cache, \
    input_tokens, cached_input_tokens, cache_write_tokens, cache_write_long_tokens, \
    input_audio_tokens, input_image_tokens, output_tokens, reasoning_tokens, \
    output_audio_tokens, output_image_tokens, seconds, characters, images, web_searches, \
    usage_source, cost_nano_usd, saved_nano_usd, reserved_nano_usd, reserved_tokens, catalogue, rates, \
    duration_us, first_token_us, overhead_us, response_bytes, trace_id, \
    admitted_at, disconnect, service_tier, price_name, price_source, extra_usage, attempt_log, \
    parent, billing, answer_id, estimate, estimate_error_percent";

/// Reads a row of [`COLUMNS`] into `record`, whose strings are used again.
pub(super) fn read_into(row: &Row<'_>, record: &mut Record) -> rusqlite::Result<()> {
    let mut cells = Cells { row, next: 0 };
    record.id = u128::from_be_bytes(cells.next()?);
    record.started_at = cells.next()?;
    record.outcome = Outcome::from_word(cells.word()?).unwrap_or(Outcome::Failed);
    record.status = cells.next()?;
    for text in [
        &mut record.error,
        &mut record.team,
        &mut record.key,
        &mut record.user,
        &mut record.run,
        &mut record.session,
    ] {
        cells.text(text)?;
    }
    record.tags.clear();
    let tags = cells.word()?;
    if !tags.is_empty() {
        // written by us; a row that somebody edited by hand still counts, without its tags
        record.tags = serde_json::from_str(tags).unwrap_or_default();
    }
    for text in [
        &mut record.operation,
        &mut record.model,
        &mut record.upstream_model,
        &mut record.response_model,
        &mut record.upstream,
    ] {
        cells.text(text)?;
    }
    record.attempts = cells.next()?;
    record.stream = cells.next()?;
    record.cache = CacheResult::from_word(cells.word()?).unwrap_or_default();
    let mut counts = [0; UNITS];
    for count in &mut counts {
        *count = cells.count()?;
    }
    record.usage = Usage::from_counts(counts);
    record.usage_source = source_from_word(cells.word()?);
    record.cost = cells.next::<Option<i64>>()?.map(NanoUsd::new);
    record.saved = NanoUsd::new(cells.next()?);
    record.reserved = NanoUsd::new(cells.next()?);
    record.reserved_tokens = cells.count()?;
    cells.text(&mut record.catalogue)?;
    cells.text(&mut record.rates)?;
    for count in [
        &mut record.duration_us,
        &mut record.first_token_us,
        &mut record.overhead_us,
        &mut record.response_bytes,
    ] {
        *count = cells.count()?;
    }
    cells.text(&mut record.trace_id)?;
    record.admitted_at = cells.next()?;
    record.disconnect = Disconnect::from_word(cells.word()?).unwrap_or_default();
    for text in [
        &mut record.service_tier,
        &mut record.price_name,
        &mut record.price_source,
        &mut record.extra_usage,
        &mut record.attempt_log,
    ] {
        cells.text(text)?;
    }
    record.parent = u128::from_be_bytes(cells.next()?);
    record.billing = Billing::from_word(cells.word()?).unwrap_or_default();
    cells.text(&mut record.answer_id)?;
    cells.text(&mut record.estimate)?;
    record.estimate_error_percent = cells.next()?;
    Ok(())
}

/// Binds one parameter after the other.
pub(super) struct Binder<'s, 'c> {
    statement: &'s mut Statement<'c>,
    next: usize,
}

impl<'s, 'c> Binder<'s, 'c> {
    pub(super) fn new(statement: &'s mut Statement<'c>) -> Self {
        Self { statement, next: 1 }
    }

    pub(super) fn value(&mut self, value: impl rusqlite::ToSql) -> rusqlite::Result<()> {
        self.statement.raw_bind_parameter(self.next, value)?;
        self.next += 1;
        Ok(())
    }

    pub(super) fn text_or_null(&mut self, text: &str) -> rusqlite::Result<()> {
        if text.is_empty() { self.value(Null) } else { self.value(without_nul(text).as_ref()) }
    }

    /// A count beyond 2^63 is nobody's usage; it is held at the top, so that it cannot block a batch.
    pub(super) fn count(&mut self, count: u64) -> rusqlite::Result<()> {
        self.value(i64::try_from(count).unwrap_or(i64::MAX))
    }
}

struct Cells<'r, 'c> {
    row: &'r Row<'c>,
    next: usize,
}

impl<'r> Cells<'r, '_> {
    fn next<T: rusqlite::types::FromSql>(&mut self) -> rusqlite::Result<T> {
        let cell = self.row.get(self.next)?;
        self.next += 1;
        Ok(cell)
    }

    fn word(&mut self) -> rusqlite::Result<&'r str> {
        let text = self.row.get_ref(self.next)?.as_str()?;
        self.next += 1;
        Ok(text)
    }

    fn text(&mut self, into: &mut String) -> rusqlite::Result<()> {
        let text = self.word()?;
        into.clear();
        into.push_str(text);
        Ok(())
    }

    fn count(&mut self) -> rusqlite::Result<u64> {
        Ok(u64::try_from(self.next::<i64>()?).unwrap_or(0))
    }
}

/// NUL ends a text for many readers of the file, and Postgres refuses it.
pub(super) fn without_nul(text: &str) -> Cow<'_, str> {
    if text.contains('\0') { text.replace('\0', "\u{fffd}").into() } else { text.into() }
}

pub(super) fn tags_as_json(record: &Record) -> String {
    if record.tags.is_empty() {
        return String::new();
    }
    serde_json::to_string(&record.tags).expect("a map of strings is JSON")
}

fn source_from_word(word: &str) -> UsageSource {
    [UsageSource::Reported, UsageSource::Partial, UsageSource::Estimated]
        .into_iter()
        .find(|source| source.as_str() == word)
        .unwrap_or(UsageSource::None)
}
