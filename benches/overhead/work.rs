//! The works: what is asked, by how many at once, how fast.

use std::time::Duration;

use crate::bar;

/// One kind of traffic.
#[derive(Debug)]
pub(crate) struct Work {
    /// Its name, which is also the model's: the upstream answers by it.
    pub(crate) name: &'static str,
    /// For readers of the report.
    pub(crate) title: &'static str,
    /// Open connections.
    pub(crate) connections: u32,
    /// What is answered.
    pub(crate) answer: Answer,
    /// Requests per second of all connections together; without it, as fast as answers come.
    pub(crate) rate: Option<u32>,
    /// Bytes of the prompt.
    pub(crate) prompt: usize,
    /// The rows of the bar that it fills.
    pub(crate) rows: &'static [(&'static str, Figure)],
}

/// What of a work's figures a row of the bar is about, always beside nginx.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Figure {
    /// CPU per request.
    OfNginx,
    /// Time to the end of the answer, median.
    AnswerP50,
    /// The same, 99th percentile.
    AnswerP99,
    /// Time of an event on its way, median.
    EventP50,
    /// The same, 99th percentile.
    EventP99,
}

/// What the upstream answers.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Answer {
    /// One JSON document.
    Json,
    /// Server-sent events with so many pieces of content; without a pace in one write.
    Stream { chunks: u32, pace: Option<Duration> },
}

impl Work {
    pub(crate) fn streams(&self) -> bool {
        matches!(self.answer, Answer::Stream { .. })
    }

    /// The work that a request body names, at its beginning.
    pub(crate) fn asked_by(body: &[u8]) -> Option<&'static Self> {
        // what a gateway splices into the body may stand before the model
        let beginning = &body[..body.len().min(200)];
        let named = |work: &&Self| memchr::memmem::find(beginning, work.name.as_bytes()).is_some();
        WORKS.iter().chain([&HELD_OPEN]).find(named)
    }

    /// The request, as an SDK would send it, the same each time.
    pub(crate) fn request(&self, key: &str) -> Vec<u8> {
        let stream = if self.streams() { r#","stream":true"# } else { "" };
        let prompt = &PROMPT.repeat(self.prompt / PROMPT.len() + 1)[..self.prompt];
        let body = format!(
            r#"{{"model":"{}","messages":[{{"role":"user","content":"{prompt}"}}],"max_tokens":100{stream}}}"#,
            self.name
        );
        format!(
            "POST /v1/chat/completions HTTP/1.1\r\nhost: gateway.example\r\naccept: application/json\r\n\
             content-type: application/json\r\nuser-agent: OpenAI/Python 2.8.1\r\nx-stainless-lang: python\r\n\
             x-stainless-os: Linux\r\nx-stainless-runtime: CPython\r\nx-stainless-retry-count: 0\r\n\
             authorization: Bearer {key}\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        )
        .into_bytes()
    }
}

/// What the gateway and nginx are compared by.
pub(crate) const WORKS: &[Work] = &[
    Work {
        name: "bench-json-full",
        title: "JSON, 32 connections, as fast as answers come",
        connections: 32,
        answer: Answer::Json,
        rate: None,
        prompt: SHORT,
        rows: &[(bar::JSON_FULL, Figure::OfNginx)],
    },
    Work {
        name: "bench-json-steady",
        title: "JSON, 300 requests per second on 30 connections",
        connections: 30,
        answer: Answer::Json,
        rate: Some(300),
        prompt: SHORT,
        rows: &[
            (bar::JSON_STEADY, Figure::OfNginx),
            (bar::ADDED_P50, Figure::AnswerP50),
            (bar::ADDED_P99, Figure::AnswerP99),
        ],
    },
    Work {
        name: "bench-stream-burst",
        title: "stream of 20 chunks at once, 16 connections",
        connections: 16,
        answer: Answer::Stream { chunks: 20, pace: None },
        rate: None,
        prompt: SHORT,
        rows: &[(bar::STREAM_BURST, Figure::OfNginx)],
    },
    Work {
        name: "bench-stream-paced",
        title: "stream of 40 chunks 20 ms apart, 64 connections",
        connections: 64,
        answer: Answer::Stream { chunks: 40, pace: Some(Duration::from_millis(20)) },
        rate: None,
        prompt: SHORT,
        rows: &[
            (bar::STREAM_PACED, Figure::OfNginx),
            (bar::CHUNK_P50, Figure::EventP50),
            (bar::CHUNK_P99, Figure::EventP99),
        ],
    },
    Work {
        name: "bench-json-long",
        title: "JSON, a prompt of 200 KB, 16 connections",
        connections: 16,
        answer: Answer::Json,
        rate: None,
        prompt: 200_000,
        rows: &[(bar::JSON_LONG, Figure::OfNginx)],
    },
    Work {
        name: CACHED,
        title: "JSON from the cache (nginx asks the upstream), 32 connections",
        connections: 32,
        answer: Answer::Json,
        rate: None,
        prompt: SHORT,
        rows: &[(bar::CACHE_HIT, Figure::OfNginx)],
    },
];

/// Streams that stay open: an event each second, for as long as the question needs them.
pub(crate) const HELD_OPEN: Work = Work {
    name: "bench-held-open",
    title: "open streams, an event each second",
    connections: 0,
    answer: Answer::Stream { chunks: 40, pace: Some(Duration::from_secs(1)) },
    rate: None,
    prompt: SHORT,
    rows: &[],
};

/// The model whose answers the gateway may keep.
pub(crate) const CACHED: &str = "bench-json-cached";

const SHORT: usize = 400;

const PROMPT: &str = "Summarise the letter in two sentences, please. ";
