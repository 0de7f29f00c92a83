//! When a budget starts again: the windows of its period in a time zone. Pure.

use std::fmt;
use std::time::Duration;

use jiff::ToSpan;
use jiff::civil::{Date, Weekday};
use jiff::tz::TimeZone;

use crate::base::clock::Timestamp;
use crate::base::units::Span;

/// How a budget's spending is cut into windows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Period {
    /// Full hours of UTC: of what a clock shows, some are skipped and some come twice.
    Hour,
    /// From midnight to midnight.
    Day,
    /// Seven days from the midnight of `first_day` on.
    Week {
        /// The day on which it begins.
        first_day: Weekday,
    },
    /// From the midnight of `reset_day` to that of the next month's.
    Month {
        /// The day on which it begins, 1 to 31; the last one in months that are shorter.
        reset_day: i8,
    },
    /// What was spent within this span before now; it ages out in sixty steps.
    Rolling(Duration),
    /// Never starts again.
    Total,
}

/// A span of time in which spending is added up: from `start` on, up to but without `end`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    /// The first instant.
    pub start: Timestamp,
    /// The first instant after it; `None` if it never ends. Of a rolling window the end of its newest bucket.
    pub end: Option<Timestamp>,
}

/// Steps in which a rolling window moves on: what was spent counts for the whole span, and for at most a
/// sixtieth longer.
pub(super) const BUCKETS: i64 = 60;

impl Window {
    /// The window of all time.
    pub const ALWAYS: Self = Self { start: Timestamp::from_nanos(i64::MIN), end: None };

    /// Whether it is over at `now`.
    #[must_use]
    pub fn over(&self, now: Timestamp) -> bool {
        self.end.is_some_and(|end| now >= end)
    }

    /// Whether `at` lies in it.
    #[must_use]
    pub fn holds(&self, at: Timestamp) -> bool {
        self.start <= at && !self.over(at)
    }
}

impl Period {
    /// Its kind in one word, as in the config.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Hour => "hour",
            Self::Day => "day",
            Self::Week { .. } => "week",
            Self::Month { .. } => "month",
            Self::Rolling(_) => "rolling",
            Self::Total => "total",
        }
    }

    /// The bucket that an instant is in; windows that do not roll have but one.
    pub(super) fn bucket(self, at: Timestamp) -> i64 {
        match self {
            Self::Rolling(span) => at.as_nanos().div_euclid(bucket_nanos(span)),
            _ => 0,
        }
    }

    /// The beginning of the bucket that ends at `end`.
    pub(super) fn bucket_before(self, end: Timestamp) -> Timestamp {
        match self {
            Self::Rolling(span) => at_bucket(self.bucket(end).saturating_sub(1), span),
            _ => end,
        }
    }

    /// The instants within a window of this period at which a bucket begins.
    pub(super) fn steps(self, window: Window) -> impl Iterator<Item = Timestamp> {
        let steps = match self {
            Self::Rolling(span) => Some((self.bucket(window.start), span)),
            _ => None,
        };
        steps.into_iter().flat_map(|(first, span)| {
            (first..=first.saturating_add(BUCKETS)).map(move |b| at_bucket(b, span))
        })
    }

    /// When a bucket is no longer in the window.
    pub(super) fn ages_out(self, bucket: i64) -> Option<Timestamp> {
        match self {
            Self::Rolling(span) => Some(at_bucket(bucket.saturating_add(BUCKETS + 1), span)),
            _ => None,
        }
    }
}

impl fmt::Display for Period {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Rolling(span) => write!(f, "rolling {}", Span(*span)),
            _ => f.write_str(self.as_str()),
        }
    }
}

/// The window that holds `now`. Windows of one calendar period follow each other without gap or overlap, so
/// each instant is in exactly one, whatever the time zone does at midnight: each begins at the first instant
/// that is not before its first day's civil midnight.
#[must_use]
pub fn window(period: Period, zone: &TimeZone, now: Timestamp) -> Window {
    match period {
        Period::Total => Window::ALWAYS,
        Period::Hour => {
            let hour = now.as_nanos().div_euclid(HOUR);
            Window { start: nanos(hour, HOUR), end: Some(nanos(hour.saturating_add(1), HOUR)) }
        }
        Period::Rolling(span) => {
            let newest = period.bucket(now);
            Window { start: at_bucket(newest - BUCKETS, span), end: Some(at_bucket(newest + 1, span)) }
        }
        Period::Day | Period::Week { .. } | Period::Month { .. } => by_calendar(period, zone, now),
    }
}

fn by_calendar(period: Period, zone: &TimeZone, now: Timestamp) -> Window {
    let mut first = first_day(period, zone.to_datetime(instant(now)).date());
    let mut start = midnight(first, zone);
    // Clocks that go back over midnight (St. John's, 00:01 to 23:01) show yesterday's date again in
    // today's window; clocks that skip midnight show today's date before it begins.
    while now < start {
        first = first_day(period, first.yesterday().expect(IN_RANGE));
        start = midnight(first, zone);
    }
    loop {
        let next = next_first_day(period, first);
        let end = midnight(next, zone);
        if now < end || end.as_nanos() == i64::MAX {
            return Window { start, end: Some(end) };
        }
        (first, start) = (next, end);
    }
}

/// The first day of the window that `today` is in.
fn first_day(period: Period, today: Date) -> Date {
    match period {
        Period::Week { first_day } => moved(today, -i64::from(today.weekday().since(first_day))),
        Period::Month { reset_day } => {
            let this_month = day_of_month(today, reset_day);
            if this_month <= today {
                return this_month;
            }
            day_of_month(today.first_of_month().yesterday().expect(IN_RANGE), reset_day)
        }
        _ => today,
    }
}

fn next_first_day(period: Period, first: Date) -> Date {
    match period {
        Period::Week { .. } => moved(first, 7),
        Period::Month { reset_day } => {
            day_of_month(first.last_of_month().tomorrow().expect(IN_RANGE), reset_day)
        }
        _ => moved(first, 1),
    }
}

/// The `day` of the month of `of`, or its last day.
fn day_of_month(of: Date, day: i8) -> Date {
    let day = day.clamp(1, of.days_in_month());
    moved(of.first_of_month(), i64::from(day) - 1)
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

fn moved(date: Date, days: i64) -> Date {
    date.checked_add(days.days()).expect(IN_RANGE)
}

/// The span of one bucket, rounded up so that all of them are never shorter than the whole.
fn bucket_nanos(span: Duration) -> i64 {
    let nanos = i64::try_from(span.as_nanos()).unwrap_or(i64::MAX);
    nanos.saturating_add(BUCKETS - 1).div_euclid(BUCKETS).max(1)
}

fn at_bucket(bucket: i64, span: Duration) -> Timestamp {
    nanos(bucket, bucket_nanos(span))
}

fn nanos(count: i64, of: i64) -> Timestamp {
    Timestamp::from_nanos(count.saturating_mul(of))
}

const HOUR: i64 = 3_600_000_000_000;
const IN_RANGE: &str = "64 bits of nanoseconds are the years 1677 to 2262, far inside the calendar's range";

#[cfg(test)]
#[path = "window_tests.rs"]
mod tests;
