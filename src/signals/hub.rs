//! The one thing the rest of the house holds: started once, told about every finished request, stopped once.

use std::sync::Arc;
use std::sync::mpsc::sync_channel;
use std::time::Duration;

use opentelemetry::metrics::{Meter, MeterProvider as _};
use opentelemetry::{InstrumentationScope, KeyValue};
use opentelemetry_otlp::ExporterBuildError;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkError;
use opentelemetry_sdk::metrics::SdkMeterProvider;
use prometheus::{Encoder as _, Registry, TextEncoder};

use super::export;
use super::finished::Finished;
use super::instruments::{Active, Instruments};
use super::line;
use super::lines::Lines;
use super::logs::{self, Colours, Style};
use super::outlet::SpanOutlet;
use super::section::{LogSection, TelemetrySection};
use super::spans;
use crate::base::chance::Chance;
use crate::base::money::NanoUsd;
use crate::store::record::Billing;
use crate::telemetry::names as n;
use crate::telemetry::sampling::Ratio;
use crate::telemetry::trace::TraceContext;
use crate::telemetry::words::http_method;

/// Traces, metrics and the log of the process. Share it as an `Arc`.
#[derive(Debug)]
pub struct Signals {
    pub(super) meter: Meter,
    pub(super) instruments: Instruments,
    provider: SdkMeterProvider,
    registry: Registry,
    outlet: Option<Arc<SpanOutlet>>,
    scope: InstrumentationScope,
    ratio: Ratio,
    lines: Lines,
    style: Style,
    print_requests: bool,
}

/// Signals cannot start. The config is at fault, save for the thread and the registry.
#[derive(Debug, thiserror::Error)]
pub enum SignalsFault {
    /// `log.level` is neither a severity nor a filter.
    #[error("log.level: `{level}` is neither error, warn, info, debug, trace nor a filter: {why}")]
    LogLevel {
        /// As written.
        level: String,
        /// What is wrong with it.
        why: String,
    },
    /// `telemetry.otlp_endpoint` is no URL to export to.
    #[error("telemetry.otlp_endpoint: cannot export to `{endpoint}`: {why}")]
    Endpoint {
        /// As written.
        endpoint: String,
        /// What is wrong with it.
        why: ExporterBuildError,
    },
    /// The system gave no thread to write the log.
    #[error("cannot start the log's thread: {0}")]
    Thread(#[from] std::io::Error),
    /// The Prometheus exporter could not be registered.
    #[error("cannot register the Prometheus exporter: {0}")]
    Prometheus(#[from] OTelSdkError),
}

/// One budget, as gauges show it.
#[derive(Debug, Clone, PartialEq)]
pub struct BudgetGauge {
    /// Its id, e.g. `team:search/month`.
    pub id: String,
    /// `team` or `key`.
    pub scope: &'static str,
    /// `day`, `week`, `month` or `total`.
    pub window: &'static str,
    /// Limit in USD; `None` for a token budget.
    pub limit_usd: Option<NanoUsd>,
    /// Settled and reserved in USD; `None` for a token budget.
    pub usage_usd: Option<NanoUsd>,
    /// Settled and reserved as a share of the limit.
    pub utilization: f64,
}

/// The ledger's writer, as metrics show it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct LedgerStatus {
    /// Bytes of the journal that are not in the store, about.
    pub lag: u64,
    /// Rows written since the start.
    pub written: u64,
    /// Tries to write that failed and were repeated: no row is lost by them.
    pub failed: u64,
    /// Records that had to wait in memory because the disk took nothing.
    pub deferred: u64,
}

impl Signals {
    /// Starts what the config wants. May be called on an async thread; it waits for no network.
    ///
    /// # Errors
    /// When the config names a level or an endpoint that cannot be, see [`SignalsFault`].
    pub fn start(
        telemetry: &TelemetrySection,
        log: &LogSection,
        chance: &Chance,
        colours: Colours,
    ) -> Result<Self, SignalsFault> {
        let (lines, style) = (Lines::to(std::io::stderr())?, Style::of(log.format, colours));
        logs::install(log, style, lines.clone())?;
        let resource = resource(telemetry, chance);
        let registry = Registry::new();
        let pull = opentelemetry_prometheus::exporter()
            .with_registry(registry.clone())
            .scope_info_enabled(false)
            .build()?;
        let mut provider = SdkMeterProvider::builder().with_resource(resource.clone()).with_reader(pull);
        let mut outlet = None;
        if let Some(endpoint) = &telemetry.otlp_endpoint {
            let opened = export::open(endpoint, telemetry, &resource)
                .map_err(|why| SignalsFault::Endpoint { endpoint: endpoint.clone(), why })?;
            outlet = Some(Arc::new(opened.spans));
            if let Some(push) = opened.metrics {
                provider = provider.with_reader(push);
            }
        }
        let provider = provider.build();
        let scope = scope();
        let meter = provider.meter_with_scope(scope.clone());
        let signals = Self {
            instruments: Instruments::new(&meter),
            meter,
            provider,
            registry,
            outlet,
            scope,
            ratio: Ratio::new(telemetry.sample_ratio),
            lines,
            style,
            print_requests: log.requests,
        };
        signals.observe_losses(signals.lines.clone(), signals.outlet.as_ref().map(|outlet| outlet.counts()));
        Ok(signals)
    }

    /// Whether the upstream is told that this trace is recorded: the decision before anything happened.
    #[must_use]
    pub fn sampled(&self, trace: &TraceContext) -> bool {
        let recorded_here = self.outlet.is_some() && self.ratio.head(trace);
        recorded_here || (trace.is_remote() && trace.sampled)
    }

    /// Everything that happens once per finished request: metrics, spans, the line. Waits for nothing.
    pub fn finish(&self, done: &Finished<'_>) {
        self.instruments.measure(done);
        // a bill that comes late was no request: its trace has the one that it is of
        let has_spans = done.record.billing != Billing::Late;
        if let Some(outlet) = &self.outlet
            && has_spans
            && let Some(kept) = self.ratio.tail(done.trace, done.went_wrong())
        {
            outlet.send(spans::spans(done, kept, &self.scope));
        }
        if self.print_requests {
            line::print(done, self.style, &self.lines);
        }
    }

    /// A request began; hold the guard until it ends.
    pub fn request_started(&self, method: &str, scheme: &'static str) -> Active {
        let (counter, method) = (&self.instruments.server_active, http_method(method));
        let series = self.instruments.found.server_active.find([method, scheme], 0);
        Active::begin(counter, &series, || {
            [KeyValue::new(n::HTTP_REQUEST_METHOD, method), KeyValue::new(n::URL_SCHEME, scheme)]
        })
    }

    /// A stream to a client began; hold the guard until it ends.
    pub fn stream_started(&self, api_format: &'static str) -> Active {
        let series = self.instruments.found.stream_active.find([api_format], 0);
        let labels = || [KeyValue::new(n::API_FORMAT, api_format)];
        Active::begin(&self.instruments.stream_active, &series, labels)
    }

    /// An upstream attempt began; hold the guard until it ends.
    pub fn attempt_started(&self, upstream: &str) -> Active {
        let series = self.instruments.found.upstream_active.find([upstream], 0);
        let labels = || [KeyValue::new(n::TARGET_ID, upstream.to_owned())];
        Active::begin(&self.instruments.upstream_active, &series, labels)
    }

    /// All metrics as Prometheus reads them (text format 0.0.4).
    #[must_use]
    pub fn prometheus_text(&self) -> String {
        let mut text = Vec::new();
        if let Err(error) = TextEncoder::new().encode(&self.registry.gather(), &mut text) {
            tracing::error!(%error, "metrics could not be written");
        }
        String::from_utf8_lossy(&text).into_owned()
    }

    /// Sends what waits and stops, within about `limit` whatever the receiver does. Blocks: call it on a
    /// thread that may wait. Later requests are counted nowhere.
    pub fn flush_and_stop(&self, limit: Duration) {
        let (outlet, provider) = (self.outlet.clone(), self.provider.clone());
        let (done, stopped) = sync_channel(1);
        let stop = move || {
            let spans = outlet.map_or(Ok(()), |outlet| outlet.stop(limit));
            let metrics = provider.shutdown();
            let _ = done.try_send(spans.and(metrics));
        };
        let spawned = std::thread::Builder::new().name("signals-stop".into()).spawn(stop);
        let result = spawned.ok().and_then(|_| stopped.recv_timeout(limit).ok());
        match result {
            Some(Ok(())) => tracing::debug!("signals are flushed"),
            Some(Err(error)) => tracing::warn!(%error, "the last signals did not reach their receiver"),
            None => tracing::warn!("the last signals did not reach their receiver in time"),
        }
        self.lines.flush(limit);
    }
}

impl Drop for Signals {
    /// A start that fails has said why in its last lines: the process ends before the log's thread looks again.
    fn drop(&mut self) {
        self.lines.flush(LAST_WORDS);
    }
}

fn resource(section: &TelemetrySection, chance: &Chance) -> Resource {
    Resource::builder()
        .with_service_name(section.service_name.clone())
        .with_attributes([
            KeyValue::new("service.version", env!("CARGO_PKG_VERSION")),
            KeyValue::new("service.instance.id", format!("{:032x}", chance.next_u128())),
        ])
        .build()
}

fn scope() -> InstrumentationScope {
    InstrumentationScope::builder(n::SCOPE)
        .with_version(env!("CARGO_PKG_VERSION"))
        .with_schema_url(n::SCHEMA_URL)
        .build()
}

/// A reader that stands still holds up the end of a start that failed no longer than this.
const LAST_WORDS: Duration = Duration::from_secs(1);
