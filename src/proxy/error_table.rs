//! Every refusal with a sample of its values, when it happens and what to do: what docs/ERRORS.md is written from.

use std::fmt::Write;
use std::time::Duration;

use http::{HeaderMap, StatusCode};

use super::budgets::spender;
use super::error::{BodyLimit, Refusal};
use crate::base::clock::Timestamp;
use crate::base::id::RequestId;
use crate::base::money::NanoUsd;
use crate::base::units::Usd;
use crate::budget::section::{BudgetSection, Every};
use crate::budget::{self, Book, BudgetSpec, Need, Scope};
use crate::dialect::path::Dialect;
use crate::limits::{LimitHit, LimitKind};
use crate::store::record::Record;
use crate::upstream::client::SendFault;

/// One way in which Tollgate answers for itself.
#[derive(Debug)]
pub struct Row {
    /// The refusal, with values such as a client might see.
    pub sample: Refusal,
    /// When it happens.
    pub when: &'static str,
    /// What the one who sees it can do.
    pub remedy: &'static str,
}

/// Every refusal, in the order in which a request can meet them.
#[must_use]
pub fn rows() -> Vec<Row> {
    samples().into_iter().map(|sample| Row { when: when(&sample), remedy: remedy(&sample), sample }).collect()
}

fn samples() -> Vec<Refusal> {
    vec![
        Refusal::ShuttingDown,
        Refusal::Overloaded,
        Refusal::MemoryFull,
        Refusal::UploadsFull,
        Refusal::UploadNotStored,
        Refusal::MethodNotAllowed,
        Refusal::AmbiguousFraming("there is more than one `host`"),
        Refusal::MissingKey,
        Refusal::MalformedKey,
        Refusal::UnknownKey,
        Refusal::ExpiredKey,
        Refusal::BodyTooLarge(BodyLimit { most: 32 << 20, setting: "server.max_body" }),
        Refusal::BodyTimeout,
        Refusal::UnsupportedEncoding,
        Refusal::BadRequest("expected value at line 1 column 1".into()),
        Refusal::BadHeader(
            "`forever` in x-tollgate-cache is none of `no-store`, `refresh`, `ttl=60s`".into(),
        ),
        Refusal::NoUpstream,
        Refusal::ModelNotAllowed("gpt-4o".into()),
        Refusal::UnmeteredPath,
        Refusal::RateLimit(LimitHit {
            scope: "team search".into(),
            kind: LimitKind::Requests,
            limit: 600,
            need: 1,
            retry_after: Duration::from_secs(1),
            wait: Duration::from_millis(100),
            satisfiable: true,
        }),
        Refusal::ModelUnpriced("my-model".into()),
        Refusal::Budget(spent_budget()),
        Refusal::LedgerUnavailable,
        Refusal::Unreachable(SendFault::Refused),
        Refusal::Unreachable(SendFault::FirstByteTimeout),
    ]
}

/// A budget of 1 USD a month, of which half is spent, refusing a request that may need more than the rest.
fn spent_budget() -> Box<budget::Refusal> {
    let now = Timestamp::from_nanos(EXAMPLE_TIME);
    let section = BudgetSection {
        limit_usd: Some(Usd(NanoUsd::new(1_000_000_000))),
        every: Some(Every::Month),
        ..BudgetSection::default()
    };
    let spec = BudgetSpec::new(Scope::Team("search".into()), &section).expect("this is a budget");
    let team = Book::new().open(spec);
    let need = |cost| Need { cost: NanoUsd::new(cost), ..Need::default() };
    team.assign(need(500_000_000), now);
    budget::reserve(&[team], &spender(&Record::default()), need(600_000_000), now)
        .expect_err("0.60 USD do not fit into the half USD that is left")
}

/// 2026-11-02T12:00:00Z.
const EXAMPLE_TIME: i64 = 1_793_620_800_000_000_000;

/// Without `_`: a new refusal has to say when it happens.
fn when(refusal: &Refusal) -> &'static str {
    match refusal {
        Refusal::ShuttingDown => SHUTTING_DOWN,
        Refusal::Overloaded => "More than `server.max_requests` requests are at work.",
        Refusal::MemoryFull => {
            "No room for the body was found among the bodies in memory (`server.max_body_total`) within 5 s."
        }
        Refusal::UploadsFull => UPLOADS_FULL,
        Refusal::UploadNotStored => UPLOAD_NOT_STORED,
        Refusal::MethodNotAllowed => {
            "The request is `CONNECT`, `TRACE`, `OPTIONS *`, or of a method unknown to HTTP, such as `post`."
        }
        Refusal::AmbiguousFraming(_) => AMBIGUOUS_FRAMING,
        Refusal::MissingKey => "The request carries no key, or an empty one.",
        Refusal::MalformedKey => {
            "Two different keys were sent, or something that cannot be a key: another scheme than `Bearer`, more \
             than 512 characters, or characters that no key has."
        }
        Refusal::UnknownKey => {
            "No team of the config has this key: it was mistyped, revoked, or hashed with another pepper."
        }
        Refusal::ExpiredKey => "`expires` of the key or of its team has passed.",
        Refusal::BodyTooLarge(_) => {
            "The body of a known path is larger than `server.max_body`, or a form with files than `server.max_upload`."
        }
        Refusal::BodyTimeout => "Nothing of the request's body arrived for `server.body_timeout`.",
        Refusal::UnsupportedEncoding => {
            "The body's `content-encoding` is none that Tollgate reads (gzip, deflate, br, zstd), or its bytes \
             do not fit it."
        }
        Refusal::BadHeader(_) => {
            "One of Tollgate's own request headers (docs/HEADERS.md) has a value it cannot have."
        }
        Refusal::BadRequest(_) => {
            "The body of a known path is no JSON object where one is due, it broke off, or `x-tollgate-cache` \
             says something unknown."
        }
        Refusal::NoUpstream => {
            "`x-tollgate-upstream` names an upstream that the config does not have, or there is nobody to ask."
        }
        Refusal::ModelNotAllowed(_) => "`models` of the key or of its team does not list this model.",
        Refusal::UnmeteredPath => {
            "The path is of no dialect that Tollgate knows, the caller has a budget, and the config says \
             `unmetered: refuse`."
        }
        Refusal::RateLimit(_) => {
            "A limit on requests per minute, tokens per minute or requests at once has no room."
        }
        Refusal::ModelUnpriced(_) => {
            "A USD budget with `unpriced: refuse` holds for this caller, and neither the catalogue nor `prices` \
             knows the model, or a tool (searches, images) that the request lets it use."
        }
        Refusal::Budget(_) => {
            "A budget with `when_spent: refuse` has no room for what the request may cost at most; what other \
             requests have reserved counts as taken."
        }
        Refusal::LedgerUnavailable => {
            "The journal under `data_dir` cannot be written, and nothing may be spent that could not be \
             recorded. Most often the disk is full."
        }
        Refusal::Unreachable(fault) if fault.is_timeout() => {
            "No upstream of the route answered in time: the last one took longer than `connect_timeout` to \
             connect, or longer than `first_byte_timeout` to begin its answer."
        }
        Refusal::Unreachable(_) => {
            "No upstream of the route could be reached, or the last one broke off before its answer began. The \
             message ends with the reason, such as `connection_refused`, `dns_error` or `tls_error`."
        }
    }
}

const UPLOADS_FULL: &str = "A form with files had to wait on the disk, because `model` did not come in its first MiB or a budget \
             has to know the rest, and no room was found among the others (`server.max_upload_total`) within 5 s.";
const UPLOAD_NOT_STORED: &str =
    "A form with files had to wait on the disk, and `data_dir` did not take it. Most often the disk is full.";
const SHUTTING_DOWN: &str = "The process was told to stop and takes no new requests; those at work may finish within \
             `server.shutdown_grace`.";
const AMBIGUOUS_FRAMING: &str = "Two servers could disagree on the body's end or the host: a `transfer-encoding` other than `chunked`, \
             a `host` that is missing, double, no host, or not HTTP/2's `:authority`. The connection is closed.";

/// Without `_`: a new refusal has to say what to do.
fn remedy(refusal: &Refusal) -> &'static str {
    match refusal {
        Refusal::ShuttingDown => {
            "Try again. A load balancer that watches `/readyz` asks another gateway by then."
        }
        Refusal::Overloaded | Refusal::MemoryFull | Refusal::UploadsFull => {
            "Try again after `retry-after`. If it lasts, raise the limit as far as memory goes, or run more \
             gateways."
        }
        Refusal::UploadNotStored => {
            "Make room on the gateway's disk. A form that names `model` before its file passes without."
        }
        Refusal::MethodNotAllowed => "Use one of the methods in the header `allow`.",
        Refusal::AmbiguousFraming(_) => {
            "Look at the client, or at the proxy before Tollgate: libraries do not send such requests."
        }
        Refusal::MissingKey => "Send one in `Authorization: Bearer KEY`, `x-api-key` or `api-key`.",
        Refusal::MalformedKey => {
            "Send one key, once. Watch for an SDK that takes a second key from the environment."
        }
        Refusal::UnknownKey => {
            "`tollgate keys check` reads a key and says whose it is, or why it is nobody's."
        }
        Refusal::ExpiredKey => "Make a new key, or set a later date in the config.",
        Refusal::BodyTooLarge(_) => {
            "Send less, or raise the setting that the message names: `server.max_body` bounds what is read whole into \
             memory, `server.max_upload` what waits on the disk."
        }
        Refusal::BodyTimeout => "Try again; look for a slow or broken network between client and gateway.",
        Refusal::UnsupportedEncoding => "Send the body unencoded.",
        Refusal::BadRequest(_) | Refusal::BadHeader(_) => {
            "Mend the request; the message says what is wrong with it."
        }
        Refusal::NoUpstream => "Leave the header out, or check `upstreams` and `routes`.",
        Refusal::ModelNotAllowed(_) => "Ask for another model, or add this one to `models`.",
        Refusal::UnmeteredPath => {
            "Use a path that can be metered, a key without a budget, or `unmetered: forward`."
        }
        Refusal::RateLimit(_) => {
            "Wait for `retry-after` (1 to 59 s); SDKs do so by themselves. Or raise `limits` of the team or key."
        }
        Refusal::ModelUnpriced(_) => {
            "Add the model to `prices` (searches as `web_search`), leave the tool out, or set `unpriced: allow` on the \
             budget: what has no price is then not counted."
        }
        Refusal::Budget(_) => {
            "Wait until `resets_at`, send a smaller output cap, or raise the limit at the setting that the \
             message names. Trying again at once does not help, and `x-should-retry: false` says so."
        }
        Refusal::LedgerUnavailable => {
            "See [RUNBOOK.md](RUNBOOK.md). Requests are served again as soon as writing works."
        }
        Refusal::Unreachable(fault) if fault.is_timeout() => {
            "Look at the upstream. Models that think for long need a longer `first_byte_timeout`."
        }
        Refusal::Unreachable(_) => {
            "Check `base_url`, name resolution, the network and the upstream's certificate."
        }
    }
}

/// The page docs/ERRORS.md.
#[must_use]
pub fn markdown() -> String {
    let mut page = String::from(INTRODUCTION);
    for Row { sample, .. } in rows() {
        let face = sample.face();
        put(
            &mut page,
            &format!(
                "| {} | [`{}`](#{}) | `{}` | `{}` | {} |",
                face.status.as_u16(),
                face.code,
                face.code,
                face.kind,
                anthropic_type(&sample),
                retry_after(&sample).unwrap_or_default()
            ),
        );
    }
    for row in rows() {
        section(&mut page, &row);
    }
    page.push_str(CLOSING);
    page
}

fn section(page: &mut String, row: &Row) {
    let face = row.sample.face();
    put(page, &format!("\n## `{}`\n", face.code));
    put(page, &format!("Status {}. {}\n", face.status, row.when));
    put(page, &format!("**What to do.** {}\n", row.remedy));
    put(page, "```json");
    for dialect in [Dialect::OpenAi, Dialect::Anthropic] {
        put(page, &String::from_utf8_lossy(&answer(&row.sample, dialect).2));
    }
    put(page, "```");
}

fn answer(refusal: &Refusal, dialect: Dialect) -> (StatusCode, HeaderMap, bytes::Bytes) {
    refusal.answer(dialect, RequestId::from_u128(EXAMPLE_ID))
}

/// An id of the example's time.
const EXAMPLE_ID: u128 = (1_793_620_800_000 << 80) | 0x1234_5678_9abc_def0;

fn anthropic_type(refusal: &Refusal) -> String {
    let body: serde_json::Value =
        serde_json::from_slice(&answer(refusal, Dialect::Anthropic).2).unwrap_or_default();
    body["error"]["type"].as_str().unwrap_or_default().into()
}

fn retry_after(refusal: &Refusal) -> Option<String> {
    let (_, headers, _) = answer(refusal, Dialect::OpenAi);
    let value = headers.get(http::header::RETRY_AFTER)?.to_str().ok()?;
    Some(if matches!(refusal, Refusal::RateLimit(_)) { "1 to 59 s".into() } else { format!("{value} s") })
}

fn put(page: &mut String, line: &str) {
    writeln!(page, "{line}").expect("a String takes all text");
}

const INTRODUCTION: &str = "\
# Errors

<!-- Generated from src/proxy/error_table.rs. To refresh: TOLLGATE_BLESS=1 cargo test --lib proxy::error_table -->

An error of an upstream is passed on as it came, whatever its status. This page lists the answers that Tollgate
gives itself. They carry `x-tollgate-error-source: gateway`, the request's id in `x-tollgate-request-id`, and a
body in the shape of the dialect that was asked: OpenAI's below comes first, Anthropic's second.

The code is stable ([STABILITY.md](STABILITY.md)). It stands in the body, in the ledger's column `error`, on the
request's log line and, as the rejection's reason, in the metrics. The message is for people and may change.

| status | code | OpenAI's `type` | Anthropic's `type` | `retry-after` |
|---|---|---|---|---|
";

const CLOSING: &str = "
## `internal_error`

Status 500 Internal Server Error. A request met a fault of Tollgate's own (a panic). It cost that request and no
other; `tollgate_panics_total` counts it, the log has a line at `error`, and its ledger row says `failed`. Where the
answer was already on its way, it breaks off.

**What to do.** Please report it, with the log's lines.

## Broken answers

Once the first byte of an answer has gone out, no status can tell of a failure any more. When the upstream breaks
off, or is silent for longer than `idle_timeout`, Tollgate breaks off too: the client sees an incomplete body,
never an end that looks clean. The ledger row says `truncated`, its column `error` says
`upstream_stream_interrupted` or `upstream_idle_timeout`, and what was relayed is counted. A client that goes away
leaves a row with the outcome `cancelled` and the error `client_disconnect`.
";

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::path::Path;

    use super::*;

    #[test]
    #[expect(clippy::disallowed_methods, reason = "the switch that writes the page instead of checking it")]
    fn the_committed_page_is_fresh() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/ERRORS.md");
        if std::env::var_os("TOLLGATE_BLESS").is_some() {
            std::fs::write(&path, markdown()).unwrap();
        }
        let committed = std::fs::read_to_string(&path).unwrap_or_default();
        assert!(
            committed == markdown(),
            "docs/ERRORS.md is stale; refresh it: TOLLGATE_BLESS=1 cargo test --lib proxy::error_table"
        );
    }

    #[test]
    fn no_refusal_is_left_out() {
        let source = include_str!("error.rs");
        let named = source.split_once("pub enum Refusal {").unwrap().1.split_once("\n}").unwrap().0;
        let variant = |text: &str| text.chars().take_while(char::is_ascii_alphanumeric).collect::<String>();
        let all: BTreeSet<_> = named
            .lines()
            .map(str::trim)
            .filter(|line| line.starts_with(|c: char| c.is_ascii_uppercase()))
            .map(variant)
            .collect();
        let listed: BTreeSet<_> = rows().iter().map(|row| variant(&format!("{:?}", row.sample))).collect();
        assert!(all.len() > 15, "{all:?}");
        assert_eq!(listed, all);
    }

    #[test]
    fn every_code_is_one_section_with_one_status() {
        let codes: Vec<_> = rows().iter().map(|row| row.sample.face().code).collect();
        let once: BTreeSet<_> = codes.iter().collect();
        assert_eq!(once.len(), codes.len(), "{codes:?}");
    }

    #[test]
    fn who_may_wait_is_told_for_how_long_and_who_may_not_is_told_so() {
        for row in rows() {
            let (status, headers, _) = answer(&row.sample, Dialect::OpenAi);
            let has = |name: &str| headers.contains_key(name);
            assert_eq!(has("retry-after"), matches!(status.as_u16(), 429 | 503), "{status}");
            assert_eq!(has("x-should-retry"), status.as_u16() == 402, "{status}");
            assert_eq!(headers["x-tollgate-error-source"], "gateway");
        }
    }
}
