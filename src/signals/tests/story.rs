//! A finished request with all that goes with it, for tests to bend.

use std::time::Duration;

use crate::base::clock::Timestamp;
use crate::base::money::NanoUsd;
use crate::base::usage::{Usage, UsageSource};
use crate::signals::{AnswerFaults, Answered, Asked, Attempt, BudgetVerdict, Finished, HttpFacts};
use crate::store::record::{CacheResult, Outcome, Record};
use crate::telemetry::trace::TraceContext;
use crate::telemetry::words::{AttemptOutcome, AttemptReason, Rejection};

pub(in crate::signals) const CALLER: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
pub(in crate::signals) const UNSAMPLED: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00";

/// A request with all that goes with it, for tests to bend.
pub(in crate::signals) struct Story {
    pub(in crate::signals) record: Record,
    pub(in crate::signals) trace: TraceContext,
    pub(in crate::signals) attempts: Vec<Attempt>,
    pub(in crate::signals) asked: Asked,
    pub(in crate::signals) answered: Answered,
    pub(in crate::signals) model_known: bool,
    pub(in crate::signals) rejection: Option<Rejection>,
    pub(in crate::signals) limit_hit: Option<(&'static str, &'static str)>,
}

impl Story {
    /// A stream that failed over from one upstream to another and was answered there.
    pub(in crate::signals) fn failed_over(traceparent: &str) -> Self {
        let usage =
            Usage { input_tokens: 300, cached_input_tokens: 50, output_tokens: 180, ..Usage::default() };
        let record = Record {
            id: 7,
            started_at: STARTED.as_nanos(),
            outcome: Outcome::Completed,
            status: 200,
            team: "search".into(),
            key: "prod".into(),
            operation: "chat_completions".into(),
            model: "smart".into(),
            upstream_model: "claude-x".into(),
            response_model: "claude-x-1".into(),
            upstream: "anthropic".into(),
            attempts: 2,
            stream: true,
            cache: CacheResult::Miss,
            usage,
            usage_source: UsageSource::Reported,
            cost: Some(NanoUsd::new(2_130_000)),
            duration_us: 1_200_000,
            first_token_us: 410_000,
            overhead_us: 210,
            trace_id: "0af7651916cd43dd8448eb211c80319c".into(),
            ..Record::default()
        };
        Self {
            record,
            trace: TraceContext::parse([traceparent.as_bytes()], []).unwrap(),
            attempts: attempts(),
            asked: Asked { temperature: Some(0.5), max_tokens: Some(1_000), ..Asked::default() },
            answered: Answered {
                id: Some("msg_1".into()),
                finish_reasons: vec!["stop".into()],
                faults: AnswerFaults { malformed: 1, ..AnswerFaults::default() },
                ..Answered::default()
            },
            model_known: true,
            rejection: None,
            limit_hit: None,
        }
    }

    /// One that was refused by a rate limit before any upstream was asked.
    pub(in crate::signals) fn refused(traceparent: &str) -> Self {
        let mut story = Self::failed_over(traceparent);
        story.attempts.clear();
        story.record = Record {
            outcome: Outcome::Refused,
            status: 429,
            error: "rate_limit_exceeded".into(),
            attempts: 0,
            stream: false,
            usage: Usage::default(),
            usage_source: UsageSource::None,
            cost: None,
            upstream: String::new(),
            ..story.record
        };
        story.rejection = Some(Rejection::RateLimited);
        story.limit_hit = Some(("requests", "team"));
        story
    }

    pub(in crate::signals) fn done(&self) -> Finished<'_> {
        Finished {
            record: &self.record,
            http: HttpFacts {
                method: "POST",
                route: "/v1/chat/completions",
                path: "/v1/chat/completions",
                scheme: "http",
                protocol_version: "1.1",
                server_address: Some("llm.corp.example"),
                server_port: Some(4000),
                client_address: Some("10.1.2.3"),
                user_agent: Some("OpenAI/Python 3.1"),
            },
            api_format: "openai.chat_completions",
            gen_ai_operation: "chat",
            model_known: self.model_known,
            response_model_known: self.model_known,
            trace: &self.trace,
            span_id: 0x51,
            attempts: &self.attempts,
            rejection: self.rejection,
            budget: Some(BudgetVerdict {
                id: "team:search/month",
                scope: "team",
                decision: "allow",
                remaining_ratio: 0.998,
                left: Some(NanoUsd::from_usd(499)),
            }),
            limit_hit: self.limit_hit,
            asked: &self.asked,
            answered: &self.answered,
            saved_tokens: if self.record.saved == NanoUsd::ZERO { 0 } else { 480 },
        }
    }
}

const STARTED: Timestamp = Timestamp::from_secs(1_700_000_000);

fn attempts() -> Vec<Attempt> {
    let first = Attempt {
        number: 1,
        upstream: "openai".into(),
        provider: "openai".into(),
        host: "api.openai.example".into(),
        port: 443,
        model_sent: "gpt-4o".into(),
        span_id: 0xa1,
        started: STARTED.plus(Duration::from_millis(1)),
        ended: STARTED.plus(Duration::from_millis(100)),
        status: Some(429),
        error_type: Some("rate_limit_exceeded".into()),
        outcome: AttemptOutcome::Error,
        ..Attempt::default()
    };
    let second = Attempt {
        number: 2,
        reason: AttemptReason::Failover,
        upstream: "anthropic".into(),
        provider: "anthropic".into(),
        host: "api.anthropic.example".into(),
        model_sent: "claude-x".into(),
        span_id: 0xa2,
        started: STARTED.plus(Duration::from_millis(101)),
        ended: STARTED.plus(Duration::from_millis(1_199)),
        first_byte_us: Some(300_000),
        status: Some(200),
        error_type: None,
        outcome: AttemptOutcome::Success,
        ..first.clone()
    };
    vec![first, second]
}
