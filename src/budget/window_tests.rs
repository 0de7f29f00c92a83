use proptest::prelude::*;

use super::*;

/// Zones that do something odd: gaps and overlaps at midnight, over midnight, half hours, a skipped day.
const ZONES: [&str; 14] = [
    "UTC",
    "Europe/Berlin",
    "America/New_York",
    "America/St_Johns",
    "America/Sao_Paulo",
    "America/Havana",
    "America/Toronto",
    "Africa/Cairo",
    "Asia/Beirut",
    "Asia/Kolkata",
    "Asia/Kathmandu",
    "Australia/Lord_Howe",
    "Pacific/Apia",
    "Pacific/Chatham",
];

fn zone(name: &str) -> TimeZone {
    TimeZone::get(name).unwrap()
}

fn at(text: &str) -> Timestamp {
    Timestamp::from_nanos(i64::try_from(text.parse::<jiff::Timestamp>().unwrap().as_nanosecond()).unwrap())
}

fn span(period: Period, name: &str, now: &str) -> Window {
    window(period, &zone(name), at(now))
}

const WEEK: Period = Period::Week { first_day: Weekday::Monday };
const MONTH: Period = Period::Month { reset_day: 1 };

fn by_calendar() -> impl Strategy<Value = Period> {
    let weekday = (1..=7_i8).prop_map(|day| Weekday::from_monday_one_offset(day).unwrap());
    prop_oneof![
        Just(Period::Hour),
        Just(Period::Day),
        weekday.prop_map(|first_day| Period::Week { first_day }),
        (1..=31_i8).prop_map(|reset_day| Period::Month { reset_day }),
    ]
}

fn from_to(start: &str, end: &str) -> Window {
    Window { start: at(start), end: Some(at(end)) }
}

fn before(instant: Timestamp) -> Timestamp {
    Timestamp::from_nanos(instant.as_nanos() - 1)
}

/// Any instant from 1915 to 2100, often within an hour of a change of some zone's clocks.
fn instant() -> impl Strategy<Value = (usize, i64)> {
    let anytime = -1_735_689_600_i64..4_102_444_800;
    (0..ZONES.len(), anytime, any::<bool>(), -3_600_i64..3_600).prop_map(|(place, secs, at_change, off)| {
        let from = jiff::Timestamp::from_second(secs).unwrap();
        let change = zone(ZONES[place]).following(from).next().map(|t| t.timestamp().as_second() + off);
        (place, change.filter(|_| at_change).unwrap_or(secs))
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn each_instant_is_in_exactly_one_window(
        (place, secs) in instant(),
        period in by_calendar(),
    ) {
        let zone = zone(ZONES[place]);
        let now = Timestamp::from_secs(secs);
        let own = window(period, &zone, now);
        let end = own.end.unwrap();
        prop_assert!(own.start <= now && now < end);
        // its first and last instants say the same, its neighbours something else that touches it
        prop_assert_eq!(window(period, &zone, own.start), own);
        prop_assert_eq!(window(period, &zone, before(end)), own);
        prop_assert_eq!(window(period, &zone, end).start, end);
        prop_assert_eq!(window(period, &zone, before(own.start)).end, Some(own.start));
    }

    #[test]
    fn a_window_begins_at_a_midnight_or_where_midnight_is_skipped((place, secs) in instant()) {
        let zone = zone(ZONES[place]);
        let start = window(Period::Day, &zone, Timestamp::from_secs(secs)).start;
        let local = zone.to_datetime(super::instant(start));
        let skipped = zone.to_ambiguous_timestamp(local.date().at(0, 0, 0, 0)).is_ambiguous();
        prop_assert!(local.time() == jiff::civil::Time::midnight() || skipped, "{} {local}", ZONES[place]);
    }
}

#[test]
fn weeks_begin_on_monday_and_months_on_the_first() {
    let week = from_to("2026-11-16T00:00:00Z", "2026-11-23T00:00:00Z");
    for day in ["2026-11-16T00:00:00Z", "2026-11-20T12:00:00Z", "2026-11-22T23:59:59.999Z"] {
        assert_eq!(span(WEEK, "UTC", day), week);
    }
    let leap = from_to("2028-02-01T00:00:00Z", "2028-03-01T00:00:00Z");
    assert_eq!(span(MONTH, "UTC", "2028-02-29T23:00:00Z"), leap);
    assert_eq!(
        span(MONTH, "UTC", "2026-12-31T23:00:00Z"),
        from_to("2026-12-01T00:00:00Z", "2027-01-01T00:00:00Z")
    );
}

#[test]
fn days_are_as_long_as_the_clocks_make_them() {
    // 23 hours in spring, 25 in autumn
    assert_eq!(
        span(Period::Day, "Europe/Berlin", "2026-03-29T12:00:00Z"),
        from_to("2026-03-28T23:00:00Z", "2026-03-29T22:00:00Z")
    );
    assert_eq!(
        span(Period::Day, "Europe/Berlin", "2026-10-25T12:00:00Z"),
        from_to("2026-10-24T22:00:00Z", "2026-10-25T23:00:00Z")
    );
    // a month across the change is one hour short
    assert_eq!(
        span(MONTH, "Europe/Berlin", "2026-03-15T00:00:00Z"),
        from_to("2026-02-28T23:00:00Z", "2026-03-31T22:00:00Z")
    );
}

#[test]
fn a_day_whose_midnight_is_skipped_begins_after_the_gap() {
    assert_eq!(
        span(Period::Day, "America/Sao_Paulo", "2018-11-04T12:00:00Z"),
        from_to("2018-11-04T03:00:00Z", "2018-11-05T02:00:00Z")
    );
}

#[test]
fn a_day_with_two_midnights_begins_at_the_first() {
    assert_eq!(
        span(Period::Day, "America/Havana", "2025-11-02T12:00:00Z"),
        from_to("2025-11-02T04:00:00Z", "2025-11-03T05:00:00Z")
    );
}

#[test]
fn clocks_that_go_back_over_midnight_do_not_bring_yesterday_back() {
    // on 2006-10-29 at 00:01 they went back to 23:01 of the 28th
    let today = span(Period::Day, "America/St_Johns", "2006-10-29T02:30:30Z");
    assert_eq!(today.start, at("2006-10-29T02:30:00Z"));
    assert_eq!(span(Period::Day, "America/St_Johns", "2006-10-29T03:00:00Z"), today);
}

#[test]
fn a_day_that_a_country_skips_has_no_window() {
    // Samoa went from the end of 2011-12-29 straight to 2011-12-31
    let last = span(Period::Day, "Pacific/Apia", "2011-12-30T09:59:59Z");
    assert_eq!(last.end, Some(at("2011-12-30T10:00:00Z")));
    let next = span(Period::Day, "Pacific/Apia", "2011-12-30T10:00:00Z");
    assert_eq!(next, from_to("2011-12-30T10:00:00Z", "2011-12-31T10:00:00Z"));
}

#[test]
fn the_total_never_ends() {
    for now in [i64::MIN, 0, i64::MAX] {
        let always = window(Period::Total, &zone("UTC"), Timestamp::from_nanos(now));
        assert_eq!(always, Window::ALWAYS);
        assert!(!always.over(Timestamp::from_nanos(now)));
    }
}

#[test]
fn a_clock_gone_mad_gets_a_window_too() {
    for (nanos, period) in [(i64::MIN, MONTH), (i64::MIN, Period::Day), (i64::MAX, WEEK)] {
        let now = Timestamp::from_nanos(nanos);
        let own = window(period, &zone("Asia/Kolkata"), now);
        assert!(own.start <= now && own.end.is_some_and(|end| now <= end));
    }
}

#[test]
fn a_month_begins_on_its_reset_day_or_its_last() {
    let day_31 = Period::Month { reset_day: 31 };
    for (now, window) in [
        ("2026-01-31T00:00:00Z", from_to("2026-01-31T00:00:00Z", "2026-02-28T00:00:00Z")),
        ("2026-02-27T23:59:59Z", from_to("2026-01-31T00:00:00Z", "2026-02-28T00:00:00Z")),
        ("2026-02-28T00:00:00Z", from_to("2026-02-28T00:00:00Z", "2026-03-31T00:00:00Z")),
        ("2028-02-29T12:00:00Z", from_to("2028-02-29T00:00:00Z", "2028-03-31T00:00:00Z")),
        ("2026-01-01T00:00:00Z", from_to("2025-12-31T00:00:00Z", "2026-01-31T00:00:00Z")),
    ] {
        assert_eq!(span(day_31, "UTC", now), window, "{now}");
    }
    let week = span(Period::Week { first_day: Weekday::Sunday }, "UTC", "2026-11-20T12:00:00Z");
    assert_eq!(week, from_to("2026-11-15T00:00:00Z", "2026-11-22T00:00:00Z"));
}

#[test]
fn a_rolling_window_holds_the_whole_span_and_at_most_a_sixtieth_more() {
    let hour = Period::Rolling(std::time::Duration::from_hours(1));
    let own = span(hour, "UTC", "2026-11-20T12:00:30Z");
    assert_eq!(own, from_to("2026-11-20T11:00:00Z", "2026-11-20T12:01:00Z"));
    let bucket = hour.bucket(at("2026-11-20T11:00:30Z"));
    assert_eq!(hour.ages_out(bucket), Some(at("2026-11-20T12:01:00Z")));
}
