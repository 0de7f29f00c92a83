//! The figures as a table, as JSON, and as the page docs/BENCHMARKS.md.

use std::fmt::Write as _;

use serde_json::{Value, json};

use crate::figures::{Figures, Quantiles, Row, Target};

/// For a terminal.
pub(crate) fn table(figures: &Figures) -> String {
    let mut table = comfy_table::Table::new();
    table.load_preset(comfy_table::presets::UTF8_HORIZONTAL_ONLY).set_header(HEADINGS);
    for row in figures.rows() {
        table.add_row(cells(&row));
    }
    format!("{table}\n{}\n{}", memory(figures), delay(figures))
}

/// For programs.
pub(crate) fn json(figures: &Figures) -> Value {
    let quantiles = |of: Option<Quantiles>| of.map(|of| json!({ "p50_us": of.p50, "p99_us": of.p99 }));
    let rows: Vec<Value> = figures
        .rows()
        .iter()
        .map(|row| {
            json!({
                "work": row.work.name,
                "target": row.target.name(),
                "requests": row.requests,
                "cpu_us_per_request": row.cpu_per_request,
                "cpu_us_per_event": row.cpu_per_event.filter(|_| row.work.streams()),
                "cpu_of_nginx": row.of_nginx,
                "answer": quantiles(Some(row.answers)),
                "answer_added": quantiles(row.added),
                "delivery": quantiles(row.deliveries),
                "delivery_added": quantiles(row.added_to_deliveries),
            })
        })
        .collect();
    let peaks: Vec<Value> = figures
        .peaks()
        .iter()
        .map(|(target, kib)| json!({ "target": target.name(), "peak_rss_kib": kib }))
        .collect();
    json!({ "rows": rows, "memory": peaks, "event_later_than_nginx": quantiles(figures.later_than_nginx()) })
}

/// The page: what was measured on which machine, and how to do it again.
pub(crate) fn page(figures: &Figures, workers: usize) -> String {
    let mut page = INTRODUCTION.to_owned();
    let _ = writeln!(page, "## The numbers\n\n{}\n", machine(workers));
    let _ = writeln!(page, "| {} |\n|{}", HEADINGS.join(" | "), "---|".repeat(HEADINGS.len()));
    for row in figures.rows() {
        let _ = writeln!(page, "| {} |", cells(&row).join(" | "));
    }
    let _ = write!(page, "\n{}\n\n{EXPLANATION}", memory(figures));
    let _ = write!(page, "\n## What a chunk waits\n\n{DELAY}\n\n{}\n", delay(figures));
    page
}

const HEADINGS: [&str; 10] = [
    "work",
    "through",
    "requests",
    "CPU per request",
    "CPU per event",
    "of nginx",
    "answer p50",
    "p99 (added)",
    "event p50",
    "p99 (added)",
];

fn cells(row: &Row) -> [String; 10] {
    let micros = |value: Option<f64>| value.map_or_else(String::new, |value| format!("{value:.1} µs"));
    let events = row.cpu_per_event.filter(|_| row.work.streams());
    let answers = spread(Some(row.answers), row.added);
    let deliveries = spread(row.deliveries, row.added_to_deliveries);
    let [answer_p50, answer_p99] = answers;
    let [delivery_p50, delivery_p99] = deliveries;
    [
        if row.target == Target::Direct { row.work.title.to_owned() } else { String::new() },
        row.target.name().to_owned(),
        row.requests.to_string(),
        micros(row.cpu_per_request),
        micros(events),
        row.of_nginx.map_or_else(String::new, |ratio| format!("{ratio:.2}")),
        answer_p50,
        answer_p99,
        delivery_p50,
        delivery_p99,
    ]
}

fn spread(all: Option<Quantiles>, added: Option<Quantiles>) -> [String; 2] {
    let Some(all) = all else { return [String::new(), String::new()] };
    let of = |all: f64, added: Option<f64>| match added {
        Some(added) => format!("{:.2} ms ({:+.2})", all / 1e3, added / 1e3),
        None => format!("{:.2} ms", all / 1e3),
    };
    [of(all.p50, added.map(|added| added.p50)), of(all.p99, added.map(|added| added.p99))]
}

fn memory(figures: &Figures) -> String {
    let each = figures.peaks().iter();
    let each: Vec<String> =
        each.map(|(target, kib)| format!("{} {:.1} MiB", target.name(), *kib as f64 / 1_024.0)).collect();
    format!("Peak resident memory: {}.", each.join(", "))
}

fn delay(figures: &Figures) -> String {
    let Some(later) = figures.later_than_nginx() else { return String::new() };
    format!(
        "A chunk of 64 streams paced at 20 ms arrives through Tollgate {:+.2} ms later than through nginx at the \
         median, and {:+.2} ms at the 99th percentile.",
        later.p50 / 1e3,
        later.p99 / 1e3
    )
}

fn machine(workers: usize) -> String {
    let cpus = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let named = |name: &str| cpus.lines().find(|line| line.starts_with(name));
    let model = named("model name").and_then(|line| line.split(": ").nth(1)).unwrap_or("unknown CPU");
    let cores = cpus.lines().filter(|line| line.starts_with("processor")).count();
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let load = load.split(' ').next().unwrap_or("?");
    let nginx = std::process::Command::new("nginx").arg("-v").output();
    let nginx = nginx.map(|output| String::from_utf8_lossy(&output.stderr).trim().to_owned());
    let nginx = nginx.unwrap_or_default().replace("nginx version: nginx/", "nginx ");
    format!(
        "{}, {model}, {cores} cores, load average {load} at the end (the load generator and the upstream \
         included), {nginx} with one process, Tollgate {} with {workers} worker.",
        today(),
        env!("CARGO_PKG_VERSION"),
    )
}

#[expect(clippy::disallowed_methods, reason = "the date of a report is the machine's")]
fn today() -> String {
    jiff::Timestamp::now().strftime("%Y-%m-%d").to_string()
}

const INTRODUCTION: &str = "# Benchmarks

This page is written by `benches/overhead`, from one run:

```
cargo bench --bench overhead -- --report docs/BENCHMARKS.md     # under four minutes after the build; needs nginx
cargo bench --bench overhead -- --quick                         # a look: two short rounds
cargo bench --bench overhead -- --json
cargo bench --profile dist --bench overhead                     # the binary of the container image
```

The question: what does a request cost that passes Tollgate instead of a plain reverse proxy? So the same work \
goes, in turns and in several rounds, straight to an upstream, through nginx, and through Tollgate. The upstream \
and the load generator are the bench itself and share the machine with both, so read the ratios: absolute times \
are this machine's.

nginx proxies and does nothing else: connections kept open on both sides, no access log, `proxy_buffering off` \
for streams. Tollgate does everything a real deployment does: a key, two budgets, three limits, usage asked for \
and taken out of the stream again, journal, ledger in SQLite, metrics, and a JSON log line per request to a file. At the \
end its ledger must know every request that was sent to it.

";

const DELAY: &str = "From the upstream's write of a chunk to its arrival at the client: the chunk carries the \
upstream's time, and the client, a thread of the same process, reads the same clock. The streams are spread over the \
20 ms, so that they do not speak in chorus. The table has each way by itself (the last work); here are the rounds of \
Tollgate beside those of nginx, medians of the differences.

```
cargo bench --bench overhead -- --only stream-paced              # this question alone: under a minute
```";

const EXPLANATION: &str = "- **CPU**: user and system time of the gateway's process, all its threads, until it is \
idle again after the work, divided by requests or by events of streams. Medians of the rounds.
- **of nginx**: that, divided by nginx's in the same round; the median of these ratios.
- **answer**: from the first byte of the request to the last byte of the answer; in parentheses, what that is \
above going direct in the same round. In the works without a fixed rate all cores are busy, and a time is mostly a \
place in a queue: read latency in the steady and the paced work.
- **event**: from the upstream's write of an event to its arrival at the client.
- **memory** includes what the tokenizer and the price catalogue take, once.

## Where the time goes

```
cargo bench --bench overhead -- --only json-full --profile 30     # prints the process to look at
perf record -g -p PROCESS -- sleep 20 && perf report --no-children
```
";
