//! Instants as people write them in questions to the books.

use jiff::civil::Date;
use jiff::tz::TimeZone;

use crate::base::clock::Timestamp;
use crate::base::units::{Span, Written};

/// A date (its midnight in `time_zone`), RFC 3339, or a span before `now`.
///
/// # Errors
/// When the text is none of these; the message quotes it.
pub fn instant(text: &str, now: Timestamp, time_zone: &TimeZone) -> Result<Timestamp, String> {
    let fault = || format!("`{text}`: expected a date, an RFC 3339 time, or a span such as 24h or 7d");
    let instant = if let Ok(instant) = text.parse::<jiff::Timestamp>() {
        instant
    } else if let Ok(date) = text.parse::<Date>() {
        date.to_zoned(time_zone.clone()).map_err(|_| fault())?.timestamp()
    } else {
        let Span(span) = Span::read(text).map_err(|_| fault())?;
        let span = i64::try_from(span.as_nanos()).map_err(|_| fault())?;
        return Ok(Timestamp::from_nanos(now.as_nanos().saturating_sub(span)));
    };
    i64::try_from(instant.as_nanosecond()).map(Timestamp::from_nanos).map_err(|_| fault())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instants_are_read_as_people_write_them() {
        let (now, berlin) = (Timestamp::from_secs(1_000_000), TimeZone::get("Europe/Berlin").unwrap());
        let read = |text: &str| instant(text, now, &berlin).map(Timestamp::as_secs);
        assert_eq!(read("24h"), Ok(1_000_000 - 86_400));
        assert_eq!(read("1970-01-02"), Ok(86_400 - 3_600));
        assert_eq!(read("1970-01-02T00:00:00Z"), Ok(86_400));
        for wrong in ["", "yesterday", "7", "2026-13-01"] {
            assert!(read(wrong).unwrap_err().contains("expected a date"), "{wrong}");
        }
    }
}
