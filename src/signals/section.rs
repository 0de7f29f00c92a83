//! The `telemetry:` and `log:` sections of the config: values and defaults only.

use std::time::Duration;

use indexmap::IndexMap;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::base::secret::REFERRING_FORMAT;
use crate::base::units::Span;

/// Traces and metrics to a collector. Prometheus is always on the admin listener.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct TelemetrySection {
    /// Base URL of an OTLP/HTTP receiver, e.g. `http://localhost:4318`; `/v1/traces` and `/v1/metrics`
    /// are appended. Without it nothing is exported.
    pub otlp_endpoint: Option<String>,
    /// Headers for the receiver. Values may be `${ENV}`.
    #[schemars(extend("additionalProperties" = { "type": "string", "format": REFERRING_FORMAT }))]
    pub otlp_headers: IndexMap<String, String>,
    /// Share of requests whose trace is kept when the caller did not decide, 0 to 1. Errors are always kept.
    pub sample_ratio: f64,
    /// How often metrics are pushed.
    pub metrics_interval: Span,
    /// Whether metrics are pushed too (a second reader doubles their cost).
    pub push_metrics: bool,
    /// `service.name` of the resource.
    pub service_name: String,
}

impl Default for TelemetrySection {
    fn default() -> Self {
        Self {
            otlp_endpoint: None,
            otlp_headers: IndexMap::new(),
            sample_ratio: 1.0,
            metrics_interval: Span(Duration::from_secs(30)),
            push_metrics: true,
            service_name: "tollgate".into(),
        }
    }
}

/// Logs of the process, on standard error.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct LogSection {
    /// How a line looks.
    pub format: LogFormat,
    /// Least severity: `error`, `warn`, `info`, `debug`, `trace`, or a filter such as `tollgate=debug`.
    pub level: String,
    /// Whether each finished request is a line.
    pub requests: bool,
}

impl Default for LogSection {
    fn default() -> Self {
        Self { format: LogFormat::Auto, level: "info".into(), requests: true }
    }
}

/// How a log line looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// `pretty` on a terminal, `json` otherwise.
    #[default]
    Auto,
    /// One JSON object a line, with trace ids.
    Json,
    /// For people.
    Pretty,
}
