//! Reads a request in one pass, if it is written as most are: its members and the most input that it can cost. What
//! it answers is what the readers of both would answer, one after the other.

use super::ceiling::{LONGEST_FLOAT, PUNCTUATION, Place, Survey};
use super::cursor::Cursor;
use super::members::Fields;

/// The members of a request and what they show; nothing where a full parser has to judge.
pub(super) fn read(json: &str) -> Option<(Fields<'_>, Survey)> {
    let mut cursor = Cursor::new(json.strip_prefix('\u{feff}').unwrap_or(json));
    let mut fields = Fields { is_empty: true, ..Fields::default() };
    let mut survey = Survey::new();
    survey.object(Place::Request);
    cursor.object(|cursor, key| {
        let place = Place::Request.member(key, &mut survey);
        let raw = cursor.raw(|cursor| value(cursor, place, &mut survey))?;
        fields.is_empty = false;
        if let Some(slot) = fields.slot_once(key.as_bytes()) {
            *slot = Some(raw);
        }
        Some(())
    })?;
    cursor.end()?;
    fields.ambiguous.is_none().then_some((fields, survey))
}

/// Looks at the value at a place.
fn value(cursor: &mut Cursor<'_>, place: Place, survey: &mut Survey) -> Option<()> {
    match cursor.peek()? {
        b'"' => {
            let written = cursor.string()?;
            match written.as_plain() {
                Some(text) => survey.string(place, text),
                None if place.is_looked_at() => survey.string(place, &written.text()?),
                None => survey.add(written.len() as u64),
            }
        }
        b'{' => {
            survey.object(place);
            cursor.object(|cursor, key| {
                let place = place.member(key, survey);
                value(cursor, place, survey)
            })?;
        }
        b'[' => {
            survey.add(PUNCTUATION);
            cursor.array(|cursor| {
                value(cursor, place, survey)?;
                survey.add(PUNCTUATION);
                Some(())
            })?;
        }
        b'n' => word(cursor, "null", survey)?,
        b't' => word(cursor, "true", survey)?,
        b'f' => word(cursor, "false", survey)?,
        _ => survey.add(printed(cursor.number()?)?),
    }
    Some(())
}

fn word(cursor: &mut Cursor<'_>, word: &str, survey: &mut Survey) -> Option<()> {
    survey.add(1);
    cursor.word(word)
}

/// Characters that a number is printed with, at most. Those of many digits are for a full parser.
fn printed(number: &str) -> Option<u64> {
    if number.len() > MOST_DIGITS || number.contains(['e', 'E']) || number == "-0" {
        return None;
    }
    Some(if number.contains('.') { LONGEST_FLOAT } else { number.len() as u64 })
}

/// Every whole number of so many digits is one of 64 bits.
const MOST_DIGITS: usize = 18;
