//! Which traces are kept. Decided twice: before the upstream is asked, for the flag it gets, and at the
//! end, when it is known whether anything went wrong.

use super::trace::TraceContext;

/// Why a trace was kept; the value of `tollgate.sampling.reason`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kept {
    /// The caller records it.
    Remote,
    /// Something went wrong, here or upstream.
    Error,
    /// It is one of the share that is always kept.
    Ratio,
}

impl Kept {
    /// The attribute's value.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Remote => "remote",
            Self::Error => "error",
            Self::Ratio => "ratio",
        }
    }
}

/// A share of all traces, decided by the trace id, so that every service with the same share agrees.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ratio {
    /// Traces whose low 56 bits are below this are kept.
    bound: u64,
}

impl Ratio {
    /// The share `ratio`, held to 0..=1.
    #[must_use]
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "clamped to 0..=1, times 2^56: fits, and the last bit of a sampling share means nothing"
    )]
    pub fn new(ratio: f64) -> Self {
        let share = if ratio.is_nan() { 0.0 } else { ratio.clamp(0.0, 1.0) };
        Self { bound: (share * RANDOM_VALUES as f64) as u64 }
    }

    /// The decision before anything happened.
    #[must_use]
    pub fn head(self, trace: &TraceContext) -> bool {
        if trace.is_remote() { trace.sampled } else { self.holds(trace.trace_id) }
    }

    /// The decision at the end: why the trace is kept, or `None`.
    #[must_use]
    pub fn tail(self, trace: &TraceContext, failed: bool) -> Option<Kept> {
        match (trace.is_remote(), trace.sampled) {
            (true, true) => Some(Kept::Remote),
            _ if failed => Some(Kept::Error),
            (true, false) => None,
            (false, _) => self.holds(trace.trace_id).then_some(Kept::Ratio),
        }
    }

    fn holds(self, trace_id: u128) -> bool {
        let low = u64::try_from(trace_id & u128::from(RANDOM_VALUES - 1)).expect("56 bits fit");
        low < self.bound
    }
}

/// Trace Context level 2 promises randomness in the low 56 bits only.
const RANDOM_VALUES: u64 = 1 << 56;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::chance::Chance;

    fn remote(sampled: bool) -> TraceContext {
        TraceContext { parent_span_id: Some(9), sampled, ..TraceContext::start(&Chance::seeded(1)) }
    }

    #[test]
    fn the_caller_decides_when_there_is_one() {
        assert!(Ratio::new(0.0).head(&remote(true)) && !Ratio::new(1.0).head(&remote(false)));
        assert_eq!(Ratio::new(0.0).tail(&remote(true), false), Some(Kept::Remote));
        assert_eq!(Ratio::new(1.0).tail(&remote(false), false), None);
    }

    #[test]
    fn what_failed_is_always_kept() {
        let ours = TraceContext::start(&Chance::seeded(2));
        assert_eq!(Ratio::new(0.0).tail(&ours, true), Some(Kept::Error));
        assert_eq!(Ratio::new(0.0).tail(&remote(false), true), Some(Kept::Error));
    }

    #[test]
    fn the_share_is_kept_within_chance() {
        let (chance, quarter) = (Chance::seeded(3), Ratio::new(0.25));
        let kept = (0..10_000).filter(|_| quarter.head(&TraceContext::start(&chance))).count();
        assert!((2_300..2_700).contains(&kept), "{kept}");
        let ours = TraceContext::start(&chance);
        assert!(
            Ratio::new(1.0).head(&ours) && !Ratio::new(0.0).head(&ours) && !Ratio::new(f64::NAN).head(&ours)
        );
    }
}
