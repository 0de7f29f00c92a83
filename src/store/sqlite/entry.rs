//! A record as a row of the table `entries`: what most requests have in columns, the rest in one text.

use rusqlite::types::Null;
use rusqlite::{Connection, Statement};
use serde_json::{Map, Value};

use crate::base::money::NanoUsd;
use crate::store::record::Record;

use super::columns::{Binder, tags_as_json, without_nul};
use super::words::Words;

/// Saves so many entries: their values one after the other, as [`Entries::bind`] writes them.
pub(super) fn insert(entries: usize) -> String {
    let places = format!("({})", vec!["?"; PARAMETERS].join(", "));
    format!(
        "INSERT INTO entries ({COLUMNS}) VALUES {} ON CONFLICT DO NOTHING",
        vec![places; entries].join(", ")
    )
}

const COLUMNS: &str = "started_at, id, admitted_at, spender, kind, cost_nano_usd, input_tokens, output_tokens, run, \
    cached_input_tokens, reasoning_tokens, reserved_nano_usd, reserved_tokens, duration_us, first_token_us, \
    overhead_us, response_bytes, trace, answer_id, more";

/// How many parameters an entry has.
const PARAMETERS: usize = 20;

/// Makes entries of records. Knows numbers of words that are in the tables, if the transactions that it was
/// used in were committed.
#[derive(Debug)]
pub(super) struct Entries {
    pub(super) spenders: Words,
    kinds: Words,
}

impl Entries {
    pub(super) fn new() -> Self {
        Self { spenders: Words::of_spenders(), kinds: Words::of_kinds() }
    }

    /// Binds `records` to the parameters of an [`insert`] of as many.
    pub(super) fn bind(
        &mut self,
        connection: &Connection,
        statement: &mut Statement<'_>,
        records: &[Record],
    ) -> rusqlite::Result<()> {
        let mut binder = Binder::new(statement);
        records.iter().try_for_each(|record| self.bind_one(connection, &mut binder, record))
    }

    fn bind_one(
        &mut self,
        connection: &Connection,
        binder: &mut Binder<'_, '_>,
        record: &Record,
    ) -> rusqlite::Result<()> {
        let spender = self.spender(connection, record)?;
        let kind = self.kind(connection, record)?;
        let usage = &record.usage;
        binder.value(record.started_at)?;
        binder.value(&record.id.to_be_bytes()[..])?;
        binder.value(record.admitted_at)?;
        binder.value(spender)?;
        binder.value(kind)?;
        binder.value(record.cost.map(NanoUsd::as_nanos))?;
        binder.count(usage.input_tokens)?;
        binder.count(usage.output_tokens)?;
        binder.text_or_null(&record.run)?;
        binder.count(usage.cached_input_tokens)?;
        binder.count(usage.reasoning_tokens)?;
        binder.value(record.reserved.as_nanos())?;
        binder.count(record.reserved_tokens)?;
        for count in [record.duration_us, record.first_token_us, record.overhead_us, record.response_bytes] {
            binder.count(count)?;
        }
        match hex_bytes(&record.trace_id) {
            Some(bytes) => binder.value(&bytes[..])?,
            None => binder.text_or_null(&record.trace_id)?,
        }
        binder.text_or_null(&record.answer_id)?;
        match more(record) {
            Some(more) => binder.value(more),
            None => binder.value(Null),
        }
    }

    fn spender(&mut self, connection: &Connection, record: &Record) -> rusqlite::Result<i64> {
        let tags = tags_as_json(record);
        let words = [&record.team, &record.key, &record.user, &record.model, &tags].map(String::as_str);
        self.spenders.number(connection, &words, &[])
    }

    fn kind(&mut self, connection: &Connection, record: &Record) -> rusqlite::Result<i64> {
        let words = [
            record.outcome.as_str(),
            &record.error,
            &record.operation,
            &record.upstream_model,
            &record.response_model,
            &record.upstream,
            record.cache.as_str(),
            record.usage_source.as_str(),
            &record.catalogue,
            &record.rates,
            record.disconnect.as_str(),
            &record.service_tier,
            &record.price_name,
            &record.price_source,
            record.billing.as_str(),
        ];
        let counts = [u32::from(record.status), record.attempts, u32::from(record.stream)];
        self.kinds.number(connection, &words, &counts)
    }
}

/// What most requests have not, by the names of columns; `None` if this one has none of it either.
fn more(record: &Record) -> Option<String> {
    let Record { usage, .. } = record;
    let counts = [
        ("cache_write_tokens", usage.cache_write_tokens),
        ("cache_write_long_tokens", usage.cache_write_long_tokens),
        ("input_audio_tokens", usage.input_audio_tokens),
        ("input_image_tokens", usage.input_image_tokens),
        ("output_audio_tokens", usage.output_audio_tokens),
        ("output_image_tokens", usage.output_image_tokens),
        ("seconds", usage.seconds),
        ("characters", usage.characters),
        ("images", usage.images),
        ("web_searches", usage.web_searches),
        ("estimate_error_percent", u64::from(record.estimate_error_percent)),
    ];
    let texts = [
        ("session", &record.session),
        ("extra_usage", &record.extra_usage),
        ("attempt_log", &record.attempt_log),
        ("estimate", &record.estimate),
    ];
    let mut more = Map::new();
    for (name, count) in counts.into_iter().filter(|(_, count)| *count != 0) {
        more.insert(name.into(), i64::try_from(count).unwrap_or(i64::MAX).into());
    }
    for (name, text) in texts.into_iter().filter(|(_, text)| !text.is_empty()) {
        more.insert(name.into(), without_nul(text).into());
    }
    if record.saved != NanoUsd::ZERO {
        more.insert("saved_nano_usd".into(), record.saved.as_nanos().into());
    }
    if record.parent != 0 {
        more.insert("parent".into(), format!("{:032x}", record.parent).into());
    }
    (!more.is_empty()).then(|| Value::Object(more).to_string())
}

/// The bytes that 32 lower-case hex digits stand for.
fn hex_bytes(text: &str) -> Option<[u8; 16]> {
    let is_hex = text.len() == 32 && text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
    if !is_hex {
        return None;
    }
    u128::from_str_radix(text, 16).ok().map(u128::to_be_bytes)
}
