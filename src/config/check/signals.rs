//! Checks of telemetry and logs.

use tracing_subscriber::EnvFilter;

use super::{Checker, roads};
use crate::config::report::KeyPath;
use crate::config::settings::Settings;
use crate::config::suggest::did_you_mean;

pub(super) fn check(settings: &Settings, checker: &mut Checker<'_>) {
    let telemetry = &settings.telemetry;
    let path = KeyPath::top("telemetry");
    if let Some(Err(message)) = telemetry.otlp_endpoint.as_deref().map(roads::endpoint) {
        checker.error(&path.key("otlp_endpoint"), message, "e.g. `http://localhost:4318`");
    }
    roads::headers(&path.key("otlp_headers"), &telemetry.otlp_headers, checker);
    if !(0.0..=1.0).contains(&telemetry.sample_ratio) {
        checker.error(
            &path.key("sample_ratio"),
            "must lie between 0 and 1",
            "`0.1` keeps a tenth of the traces",
        );
    }
    checker.not_zero(&path.key("metrics_interval"), telemetry.metrics_interval.0.is_zero());
    if telemetry.service_name.trim().is_empty() {
        checker.error(&path.key("service_name"), "must not be empty", "remove the key to get `tollgate`");
    }
    if let Err(hint) = filter(&settings.log.level) {
        checker.error(&KeyPath::top("log").key("level"), "not a level or filter", &hint);
    }
}

/// Whether a log filter says something; if not, what to write instead.
fn filter(text: &str) -> Result<(), String> {
    let hint =
        || "`error`, `warn`, `info`, `debug`, `trace`, `off`, or e.g. `info,tollgate=debug`".to_owned();
    for directive in text.split(',').map(str::trim) {
        // a lone word that is no level would be a target, and silence everything else
        let lone_word = !directive.contains(['=', '[']);
        if lone_word && !LEVELS.iter().any(|level| directive.eq_ignore_ascii_case(level)) {
            return Err(did_you_mean(directive, &LEVELS)
                .map_or_else(hint, |meant| format!("did you mean `{meant}`?")));
        }
    }
    EnvFilter::try_new(text).map(drop).map_err(|_| hint())
}

const LEVELS: [&str; 6] = ["error", "warn", "info", "debug", "trace", "off"];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_is_a_level_or_levels_of_targets() {
        for good in ["info", "WARN", "off", "info,tollgate=debug", "tollgate::proxy=trace", "[span]=info"] {
            assert_eq!(filter(good), Ok(()), "{good}");
        }
        assert_eq!(filter("infoo"), Err("did you mean `info`?".into()));
        for bad in ["", "loud", "info,hyper", "tollgate=verbose", "info,"] {
            assert!(filter(bad).is_err(), "{bad}");
        }
    }
}
