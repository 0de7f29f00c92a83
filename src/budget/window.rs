//! When a budget starts again: the windows of a day, week or month in a time zone. Pure.

use jiff::civil::{Date, Weekday};
use jiff::tz::TimeZone;
use jiff::{Span, ToSpan};

use super::section::Every;
use crate::base::clock::Timestamp;

/// A span of time in which spending is added up: from `start` on, up to but without `end`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    /// The first instant.
    pub start: Timestamp,
    /// The first instant after it; `None` if it never ends.
    pub end: Option<Timestamp>,
}

impl Window {
    /// The window of all time.
    pub const ALWAYS: Self = Self { start: Timestamp::from_nanos(i64::MIN), end: None };

    /// Whether it is over at `now`.
    #[must_use]
    pub fn over(&self, now: Timestamp) -> bool {
        self.end.is_some_and(|end| now >= end)
    }
}

/// The window that holds `now`. Windows of one kind follow each other without gap or overlap, so each
/// instant is in exactly one, whatever the time zone does at midnight. Weeks begin on Monday, months on
/// the first, each at the first instant that is not before that day's civil midnight.
#[must_use]
pub fn window(every: Every, zone: &TimeZone, now: Timestamp) -> Window {
    let Some(step) = step(every) else { return Window::ALWAYS };
    let mut first = first_day(every, zone.to_datetime(instant(now)).date());
    let mut start = midnight(first, zone);
    // Clocks that go back over midnight (St. John's, 00:01 to 23:01) show yesterday's date again in
    // today's window; clocks that skip midnight show today's date before it begins.
    while now < start {
        first = moved(first, -step);
        start = midnight(first, zone);
    }
    loop {
        let next = moved(first, step);
        let end = midnight(next, zone);
        if now < end || end.as_nanos() == i64::MAX {
            return Window { start, end: Some(end) };
        }
        (first, start) = (next, end);
    }
}

fn step(every: Every) -> Option<Span> {
    match every {
        Every::Day => Some(1.day()),
        Every::Week => Some(1.week()),
        Every::Month => Some(1.month()),
        Every::Total => None,
    }
}

fn first_day(every: Every, today: Date) -> Date {
    match every {
        Every::Day | Every::Total => today,
        Every::Week => moved(today, -i64::from(today.weekday().since(Weekday::Monday)).days()),
        Every::Month => today.first_of_month(),
    }
}

/// The instant of civil midnight; the earlier one if it happens twice, and if it is skipped, the instant
/// that is as long after the skip as midnight would have been.
fn midnight(of: Date, zone: &TimeZone) -> Timestamp {
    let instant = zone.to_timestamp(of.at(0, 0, 0, 0)).expect(IN_RANGE);
    let end_of_range = if instant.as_second() < 0 { i64::MIN } else { i64::MAX };
    Timestamp::from_nanos(i64::try_from(instant.as_nanosecond()).unwrap_or(end_of_range))
}

fn instant(now: Timestamp) -> jiff::Timestamp {
    jiff::Timestamp::from_nanosecond(i128::from(now.as_nanos())).expect(IN_RANGE)
}

fn moved(date: Date, by: Span) -> Date {
    date.checked_add(by).expect(IN_RANGE)
}

const IN_RANGE: &str = "64 bits of nanoseconds are the years 1677 to 2262, far inside the calendar's range";

#[cfg(test)]
#[path = "window_tests.rs"]
mod tests;
