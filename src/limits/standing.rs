//! What is left of a limit, for `x-ratelimit-*` headers in the form that OpenAI's clients read.

use std::fmt::Write;
use std::time::Duration;

/// How a limiter stands at an instant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Standing {
    /// Requests per minute, if limited.
    pub requests: Option<Meter>,
    /// Tokens per minute, if limited.
    pub tokens: Option<Meter>,
}

/// How one limit stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Meter {
    /// The limit per minute.
    pub limit: u64,
    /// How much of it could be used at once.
    pub remaining: u64,
    /// The time until all of it could be.
    pub reset: Duration,
}

impl Standing {
    /// Of two standings, limit by limit, the one with less remaining: what a caller under both has.
    #[must_use]
    pub fn tightest(self, other: Self) -> Self {
        let tighter = |a: Option<Meter>, b: Option<Meter>| match (a, b) {
            (Some(a), Some(b)) => Some(if b.remaining < a.remaining { b } else { a }),
            (a, b) => a.or(b),
        };
        Self { requests: tighter(self.requests, other.requests), tokens: tighter(self.tokens, other.tokens) }
    }
}

/// A duration as `x-ratelimit-reset-*` writes it: `12ms`, `1s`, `6m0s`, `1h0m0s`. Milliseconds are
/// rounded up, so that who waits that long has waited long enough.
#[must_use]
pub fn reset_text(reset: Duration) -> String {
    let millis = reset.as_nanos().div_ceil(1_000_000);
    if millis < 1_000 {
        return format!("{millis}ms");
    }
    let (hours, minutes) = (millis / 3_600_000, millis / 60_000 % 60);
    let (seconds, rest) = (millis / 1_000 % 60, millis % 1_000);
    let mut text = String::new();
    if hours > 0 {
        let _ = write!(text, "{hours}h");
    }
    if hours > 0 || minutes > 0 {
        let _ = write!(text, "{minutes}m");
    }
    let _ = write!(text, "{seconds}");
    if rest > 0 {
        let fraction = format!("{rest:03}");
        let _ = write!(text, ".{}", fraction.trim_end_matches('0'));
    }
    text.push('s');
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resets_are_written_as_clients_read_them() {
        for (nanos, text) in [
            (0, "0ms"),
            (1, "1ms"),
            (12_000_000, "12ms"),
            (999_999_999, "1s"),
            (1_000_000_000, "1s"),
            (1_250_000_000, "1.25s"),
            (59_001_000_000, "59.001s"),
            (60_000_000_000, "1m0s"),
            (360_000_000_000, "6m0s"),
            (3_600_000_000_000, "1h0m0s"),
            (3_661_500_000_000, "1h1m1.5s"),
        ] {
            assert_eq!(reset_text(Duration::from_nanos(nanos)), text);
        }
    }

    #[test]
    fn the_tighter_of_two_limits_is_shown() {
        let meter = |limit, remaining| Some(Meter { limit, remaining, reset: Duration::ZERO });
        let team = Standing { requests: meter(100, 3), tokens: None };
        let key = Standing { requests: meter(10, 9), tokens: meter(5, 5) };
        let both = Standing { requests: meter(100, 3), tokens: meter(5, 5) };
        assert_eq!((team.tightest(key), key.tightest(team)), (both, both));
        let same = Standing { requests: meter(50, 3), tokens: None };
        assert_eq!(team.tightest(same).requests, meter(100, 3), "of equals the first");
    }
}
