//! Rounds of requests, in each both ways in turns: a noisy machine is noisy for both.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use tokio::task::JoinSet;

use super::process::Process;
use super::timing::{Kind, NoTiming, Timing, Way};
use crate::upstream::section::UpstreamKind;

/// What is to be measured.
#[derive(Debug, Clone)]
pub(super) struct Plan {
    pub(super) kinds: Vec<Kind>,
    /// Of each kind, each way.
    pub(super) requests: u32,
    pub(super) connections: u32,
    pub(super) prompt: u32,
    pub(super) max_tokens: u32,
    pub(super) model: String,
    pub(super) speaks: UpstreamKind,
}

impl Plan {
    /// Requests in all, those that warm up included.
    pub(super) fn total(&self) -> u64 {
        2 * self.kinds.len() as u64 * (u64::from(self.requests) + 1)
    }

    /// How many of them are asked in a round, each way.
    fn in_round(&self, round: u32) -> u32 {
        self.requests / ROUNDS + u32::from(round < self.requests % ROUNDS)
    }
}

/// Medians of five differences are not moved by one bad moment.
pub(super) const ROUNDS: u32 = 5;

/// What a model wants the cap of its output to be called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Cap {
    MaxTokens,
    MaxCompletionTokens,
}

impl Cap {
    pub(super) const fn word(self) -> &'static str {
        match self {
            Self::MaxTokens => "max_tokens",
            Self::MaxCompletionTokens => "max_completion_tokens",
        }
    }
}

/// Everything that was measured, by kind.
#[derive(Debug, Clone)]
pub(super) struct Run {
    pub(super) kinds: Vec<(Kind, Vec<Round>)>,
}

/// One round.
#[derive(Debug, Clone)]
pub(super) struct Round {
    pub(super) directly: Side,
    pub(super) through: Side,
}

/// One way in one round.
#[derive(Debug, Clone, Default)]
pub(super) struct Side {
    pub(super) timings: Vec<Timing>,
    pub(super) failed: u32,
    /// What the first that failed had to say.
    pub(super) fault: Option<String>,
    /// Of the gateway's process.
    pub(super) cpu: Option<Duration>,
}

/// A way that does not answer at all.
#[derive(Debug, thiserror::Error)]
#[error("{way} does not answer: {why}")]
pub(super) struct Fault {
    way: &'static str,
    why: NoTiming,
}

impl Run {
    /// Warms up, then measures.
    ///
    /// # Errors
    /// When one of the ways does not answer the first request.
    pub(super) async fn of(
        plan: &Plan,
        directly: Way,
        through: Way,
        process: Option<Process>,
    ) -> Result<Self, Fault> {
        let (plan, directly, through) = (Arc::new(plan.clone()), Arc::new(directly), Arc::new(through));
        let mut kinds = Vec::new();
        for &kind in &plan.kinds {
            let cap = warm_up(&directly, kind, &plan, Cap::MaxTokens).await?;
            warm_up(&through, kind, &plan, cap).await?;
            let mut rounds = Vec::new();
            for number in 0..ROUNDS {
                let ask = Ask { kind, plan: &plan, cap, count: plan.in_round(number) };
                let directly = ask.on(&directly).await;
                let before = process.and_then(Process::cpu);
                let mut through = ask.on(&through).await;
                if let (Some(process), Some(before)) = (process, before) {
                    through.cpu = at_rest(process).await.map(|after| after.saturating_sub(before));
                }
                rounds.push(Round { directly, through });
            }
            kinds.push((kind, rounds));
        }
        Ok(Self { kinds })
    }
}

/// The first request of a way opens connections, and tells what this model calls its cap.
async fn warm_up(way: &Way, kind: Kind, plan: &Plan, cap: Cap) -> Result<Cap, Fault> {
    let fault = |why| Fault { way: way.name(), why };
    match way.ask(kind, plan, cap).await {
        Ok(_) => Ok(cap),
        Err(NoTiming::Status { status: 400, said }) if said.contains(Cap::MaxCompletionTokens.word()) => {
            let cap = Cap::MaxCompletionTokens;
            way.ask(kind, plan, cap).await.map(|_| cap).map_err(fault)
        }
        Err(why) => Err(fault(why)),
    }
}

/// The same request, so many times.
struct Ask<'a> {
    kind: Kind,
    plan: &'a Arc<Plan>,
    cap: Cap,
    count: u32,
}

impl Ask<'_> {
    async fn on(&self, way: &Arc<Way>) -> Side {
        let asked = Arc::new(AtomicU32::new(0));
        let mut connections = JoinSet::new();
        for _ in 0..self.plan.connections.min(self.count) {
            let (way, plan, asked) = (Arc::clone(way), Arc::clone(self.plan), Arc::clone(&asked));
            let (kind, cap, count) = (self.kind, self.cap, self.count);
            connections.spawn(async move {
                let mut answers = Vec::new();
                while asked.fetch_add(1, Ordering::Relaxed) < count {
                    answers.push(way.ask(kind, &plan, cap).await);
                }
                answers
            });
        }
        let mut side = Side::default();
        for answer in connections.join_all().await.into_iter().flatten() {
            match answer {
                Ok(timing) => side.timings.push(timing),
                Err(fault) => {
                    side.failed += 1;
                    side.fault.get_or_insert(fault.to_string());
                }
            }
        }
        side
    }
}

/// CPU time once work that was put off (a ledger's batch) is done, too.
async fn at_rest(process: Process) -> Option<Duration> {
    let mut before = process.cpu()?;
    for _ in 0..MOST_PAUSES {
        tokio::time::sleep(PAUSE).await;
        let after = process.cpu()?;
        if after.saturating_sub(before) < PAUSE / 100 {
            return Some(after);
        }
        before = after;
    }
    Some(before)
}

/// A batch of the ledger is written every quarter of a second.
const PAUSE: Duration = Duration::from_millis(300);
/// Others may be asking the same gateway: it never rests then.
const MOST_PAUSES: u32 = 7;
