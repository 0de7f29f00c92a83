//! The way out for spans and metrics: OTLP over HTTP, on threads of its own, bounded, counted.
//!
//! The exporters use a blocking client, which must neither be made nor used on an async worker.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use opentelemetry_otlp::{
    Compression, ExporterBuildError, MetricExporter, SpanExporter, WithExportConfig as _, WithHttpConfig as _,
};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::metrics::PeriodicReader;
use opentelemetry_sdk::trace::{BatchConfigBuilder, BatchSpanProcessor, SpanData, SpanProcessor as _};

use super::section::TelemetrySection;

/// Spans that wait for the receiver; what comes beyond is dropped and counted. About 100 MiB when full.
const DROP_LIMIT: usize = 65_536;

/// Where kept spans go.
#[derive(Debug)]
pub(super) struct SpanOutlet {
    processor: BatchSpanProcessor,
    counts: Arc<SpanCounts>,
}

/// What became of spans.
#[derive(Debug, Default)]
pub(super) struct SpanCounts {
    waiting: AtomicU64,
    queue_full: AtomicU64,
    export_failed: AtomicU64,
}

impl SpanCounts {
    /// Dropped so far, by reason.
    pub(super) fn dropped(&self) -> [(&'static str, u64); 2] {
        [
            ("queue_full", self.queue_full.load(Ordering::Relaxed)),
            ("export_failed", self.export_failed.load(Ordering::Relaxed)),
        ]
    }
}

impl SpanOutlet {
    /// Hands over the spans of one request: all or none, so that no trace has holes. Never waits.
    pub(super) fn send(&self, spans: Vec<SpanData>) {
        let count = spans.len() as u64;
        if self.counts.waiting.fetch_add(count, Ordering::AcqRel) + count > DROP_LIMIT as u64 {
            self.counts.waiting.fetch_sub(count, Ordering::AcqRel);
            self.counts.queue_full.fetch_add(count, Ordering::Relaxed);
            return;
        }
        for span in spans {
            self.processor.on_end(span);
        }
    }

    pub(super) fn counts(&self) -> Arc<SpanCounts> {
        Arc::clone(&self.counts)
    }

    /// Sends what waits; gives up after `limit`.
    pub(super) fn stop(&self, limit: Duration) -> OTelSdkResult {
        self.processor.shutdown_with_timeout(limit)
    }
}

/// Both ways out, as far as the config wants them.
#[derive(Debug)]
pub(super) struct Outlets {
    pub(super) spans: SpanOutlet,
    pub(super) metrics: Option<PeriodicReader<MetricExporter>>,
}

/// Opens the ways out to `endpoint`, on a thread without an async runtime.
pub(super) fn open(
    endpoint: &str,
    section: &TelemetrySection,
    resource: &Resource,
) -> Result<Outlets, ExporterBuildError> {
    std::thread::scope(|scope| {
        scope
            .spawn(|| open_here(endpoint, section, resource))
            .join()
            .expect("building an exporter does not panic")
    })
}

fn open_here(
    endpoint: &str,
    section: &TelemetrySection,
    resource: &Resource,
) -> Result<Outlets, ExporterBuildError> {
    let base = endpoint.trim_end_matches('/');
    let headers: HashMap<String, String> =
        section.otlp_headers.iter().map(|(name, value)| (name.clone(), value.clone())).collect();
    let exporter = SpanExporter::builder()
        .with_http()
        .with_endpoint(format!("{base}/v1/traces"))
        .with_headers(headers.clone())
        .with_compression(Compression::Gzip)
        .with_timeout(EXPORT_TIMEOUT)
        .build()?;
    let metrics = section.push_metrics.then(|| metric_exporter(base, headers)).transpose()?;
    Ok(Outlets {
        spans: outlet(exporter, resource),
        metrics: metrics.map(|exporter| {
            PeriodicReader::builder(exporter).with_interval(section.metrics_interval.0).build()
        }),
    })
}

fn metric_exporter(
    base: &str,
    headers: HashMap<String, String>,
) -> Result<MetricExporter, ExporterBuildError> {
    MetricExporter::builder()
        .with_http()
        .with_endpoint(format!("{base}/v1/metrics"))
        .with_headers(headers)
        .with_compression(Compression::Gzip)
        .with_timeout(EXPORT_TIMEOUT)
        .build()
}

fn outlet(exporter: SpanExporter, resource: &Resource) -> SpanOutlet {
    let counts = Arc::new(SpanCounts::default());
    let counted = Counted { inner: exporter, counts: Arc::clone(&counts) };
    let batches = BatchConfigBuilder::default()
        .with_max_queue_size(DROP_LIMIT)
        .with_max_export_batch_size(BATCH)
        .with_scheduled_delay(SCHEDULE)
        .build();
    let mut processor = BatchSpanProcessor::builder(counted).with_batch_config(batches).build();
    processor.set_resource(resource);
    SpanOutlet { processor, counts }
}

/// An exporter that keeps the count of what waits and what was lost.
#[derive(Debug)]
struct Counted {
    inner: SpanExporter,
    counts: Arc<SpanCounts>,
}

impl opentelemetry_sdk::trace::SpanExporter for Counted {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let count = batch.len() as u64;
        let result = self.inner.export(batch).await;
        self.counts.waiting.fetch_sub(count, Ordering::AcqRel);
        if result.is_err() {
            self.counts.export_failed.fetch_add(count, Ordering::Relaxed);
        }
        result
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.inner.shutdown_with_timeout(timeout)
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.inner.set_resource(resource);
    }
}

/// A receiver next door answers in milliseconds; one that hangs must not hold a batch for long.
const EXPORT_TIMEOUT: Duration = Duration::from_secs(5);
/// Spans per request to the receiver: about 2 MiB before compression.
const BATCH: usize = 2_048;
/// Traces show up within this time.
const SCHEDULE: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;

    fn nowhere() -> SpanOutlet {
        let section = TelemetrySection { push_metrics: false, ..TelemetrySection::default() };
        open("http://127.0.0.1:9", &section, &Resource::builder_empty().build()).unwrap().spans
    }

    fn span() -> SpanData {
        use opentelemetry::trace::{SpanContext, SpanId, SpanKind, Status, TraceFlags, TraceId, TraceState};
        SpanData {
            span_context: SpanContext::new(
                TraceId::from(1_u128),
                SpanId::from(1_u64),
                TraceFlags::SAMPLED,
                false,
                TraceState::default(),
            ),
            parent_span_id: SpanId::INVALID,
            parent_span_is_remote: false,
            span_kind: SpanKind::Server,
            name: "POST /".into(),
            start_time: std::time::UNIX_EPOCH,
            end_time: std::time::UNIX_EPOCH,
            attributes: Vec::new(),
            dropped_attributes_count: 0,
            events: Default::default(),
            links: Default::default(),
            status: Status::Unset,
            instrumentation_scope: Default::default(),
        }
    }

    #[test]
    fn a_full_queue_drops_whole_requests_and_counts_their_spans() {
        let outlet = nowhere();
        outlet.counts.waiting.store(DROP_LIMIT as u64 - 1, Ordering::Relaxed);
        outlet.send(vec![span(), span()]);
        assert_eq!(outlet.counts().dropped(), [("queue_full", 2), ("export_failed", 0)]);
        assert_eq!(outlet.counts.waiting.load(Ordering::Relaxed), DROP_LIMIT as u64 - 1);
    }

    #[test]
    fn spans_that_no_receiver_took_are_counted_and_leave_the_queue() {
        let outlet = nowhere();
        outlet.send(vec![span(), span(), span()]);
        let _ = outlet.stop(Duration::from_secs(60));
        assert_eq!(outlet.counts().dropped(), [("queue_full", 0), ("export_failed", 3)]);
        assert_eq!(outlet.counts.waiting.load(Ordering::Relaxed), 0);
    }
}
