//! The way out for spans and metrics: OTLP over HTTP, on threads of its own, bounded, counted.
//!
//! The exporters use a blocking client, which must neither be made nor used on an async worker.

use std::collections::HashMap;
use std::time::Duration;

use opentelemetry_otlp::{
    Compression, ExporterBuildError, MetricExporter, SpanExporter, WithExportConfig as _, WithHttpConfig as _,
};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::metrics::PeriodicReader;
use opentelemetry_sdk::trace::SpanExporter as _;

use super::outlet::SpanOutlet;
use super::section::TelemetrySection;

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
    let mut exporter = SpanExporter::builder()
        .with_http()
        .with_endpoint(format!("{base}/v1/traces"))
        .with_headers(headers.clone())
        .with_compression(Compression::Gzip)
        .with_timeout(EXPORT_TIMEOUT)
        .build()?;
    let metrics = section.push_metrics.then(|| metric_exporter(base, headers)).transpose()?;
    exporter.set_resource(resource);
    let spans =
        SpanOutlet::to(exporter).map_err(|why| ExporterBuildError::InternalFailure(why.to_string()))?;
    Ok(Outlets {
        spans,
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

/// A receiver next door answers in milliseconds; one that hangs must not hold a batch for long.
const EXPORT_TIMEOUT: Duration = Duration::from_secs(5);
