//! What models cost in the kit: the judge's own prices and its own arithmetic, odd so that rounding shows.

use crate::base::usage::Usage;

/// Pico-USD per token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Rates {
    pub(super) model: &'static str,
    pub(super) input: u64,
    pub(super) cached: u64,
    pub(super) cache_write: u64,
    pub(super) output: u64,
}

/// The models of the kit. `torture-exact` costs nothing for input, so that what is reserved for an answer of
/// known length is what it costs.
pub(super) const RATES: [Rates; 4] = [
    Rates { model: "torture-small", input: 150_001, cached: 75_003, cache_write: 187_507, output: 600_011 },
    Rates {
        model: "torture-medium",
        input: 2_500_499,
        cached: 1_250_501,
        cache_write: 2_500_499,
        output: 10_000_499,
    },
    Rates {
        model: "torture-large",
        input: 15_000_000,
        cached: 1_500_000,
        cache_write: 18_750_000,
        output: 75_000_001,
    },
    Rates { model: EXACT, input: 0, cached: 0, cache_write: 0, output: 100_000_000 },
];

/// See [`RATES`].
pub(super) const EXACT: &str = "torture-exact";

impl Rates {
    /// The rates of a model; the first model's for a name of the user's own.
    pub(super) fn of(model: &str) -> Self {
        RATES.into_iter().find(|rates| rates.model == model).unwrap_or(RATES[0])
    }

    /// What a usage costs in nano-USD: each token once, rounded half up once.
    pub(super) fn cost(&self, usage: &Usage) -> i64 {
        let plain = usage
            .input_tokens
            .saturating_sub(usage.cached_input_tokens)
            .saturating_sub(usage.cache_write_tokens);
        let parts = [
            (plain, self.input),
            (usage.cached_input_tokens, self.cached),
            (usage.cache_write_tokens, self.cache_write),
            (usage.output_tokens, self.output),
        ];
        let picos: u128 = parts.iter().map(|(units, rate)| u128::from(*units) * u128::from(*rate)).sum();
        i64::try_from((picos + 500) / 1_000).unwrap_or(i64::MAX)
    }

    /// A rate as USD per million tokens, as configs write it.
    pub(super) fn per_million(picos: u64) -> String {
        format!("{}.{:06}", picos / 1_000_000, picos % 1_000_000)
    }
}
