//! The works: what is asked, by how many at once, how fast.

use std::time::Duration;

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

    pub(crate) fn is_paced(&self) -> bool {
        matches!(self.answer, Answer::Stream { pace: Some(_), .. })
    }

    /// The work that a request body names.
    pub(crate) fn asked_by(body: &[u8]) -> Option<&'static Self> {
        WORKS.iter().find(|work| memchr::memmem::find(body, work.name.as_bytes()).is_some())
    }

    /// The request, as an SDK would send it, the same each time.
    pub(crate) fn request(&self, key: &str) -> Vec<u8> {
        let stream = if self.streams() { r#","stream":true"# } else { "" };
        let prompt = &PROMPT.repeat(10)[..400];
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

pub(crate) const WORKS: &[Work] = &[
    Work {
        name: "bench-json-full",
        title: "JSON, 32 connections, as fast as answers come",
        connections: 32,
        answer: Answer::Json,
        rate: None,
    },
    Work {
        name: "bench-json-steady",
        title: "JSON, 300 requests per second on 30 connections",
        connections: 30,
        answer: Answer::Json,
        rate: Some(300),
    },
    Work {
        name: "bench-stream-burst",
        title: "stream of 20 chunks at once, 16 connections",
        connections: 16,
        answer: Answer::Stream { chunks: 20, pace: None },
        rate: None,
    },
    Work {
        name: "bench-stream-paced",
        title: "stream of 40 chunks 20 ms apart, 64 connections",
        connections: 64,
        answer: Answer::Stream { chunks: 40, pace: Some(Duration::from_millis(20)) },
        rate: None,
    },
];

const PROMPT: &str = "Summarise the letter in two sentences, please. ";
