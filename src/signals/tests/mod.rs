//! What a receiver, a scrape and a reader of the log can see.

mod metrics;
mod receiver;
mod spans;
pub(super) mod story;

use std::time::Duration;

use super::section::{LogSection, TelemetrySection};
use super::{Colours, Signals};
use crate::base::chance::Chance;

/// More than any test needs: what waits for it ends by an event.
const PATIENCE: Duration = Duration::from_secs(60);

fn exporting_to(endpoint: &str) -> Signals {
    let telemetry = TelemetrySection { otlp_endpoint: Some(endpoint.into()), ..TelemetrySection::default() };
    Signals::start(&telemetry, &quiet(), &Chance::seeded(1), Colours::Never).unwrap()
}

fn quiet() -> LogSection {
    LogSection { requests: false, level: "off".into(), ..LogSection::default() }
}

fn local() -> Signals {
    Signals::start(&TelemetrySection::default(), &quiet(), &Chance::seeded(1), Colours::Never).unwrap()
}
