//! The process's log: JSON for machines, short lines for people, on standard error.

use std::fmt::{self, Write as _};
use std::io::IsTerminal as _;

use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::format::{FormatEvent, FormatFields, Writer};
use tracing_subscriber::fmt::{FmtContext, SubscriberBuilder};
use tracing_subscriber::registry::LookupSpan;

use super::hub::SignalsFault;
use super::line::clock;
use super::lines::Lines;
use super::section::{LogFormat, LogSection};
use crate::base::clock::Clock;

/// Target of the line per finished request.
pub(super) const REQUEST_TARGET: &str = "tollgate::request";

/// Whether lines for people may have colours. The environment (`NO_COLOR`) is not ours to read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Colours {
    /// Where a terminal shows them.
    OnTerminals,
    /// Nowhere.
    Never,
}

/// How lines look here and now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Style {
    Json,
    Pretty { colour: bool },
}

impl Style {
    /// What `auto` means depends on who reads standard error.
    pub(super) fn of(format: LogFormat, colours: Colours) -> Self {
        let terminal = std::io::stderr().is_terminal();
        let colour = terminal && colours == Colours::OnTerminals;
        match format {
            LogFormat::Json => Self::Json,
            LogFormat::Auto if !terminal => Self::Json,
            LogFormat::Auto | LogFormat::Pretty => Self::Pretty { colour },
        }
    }
}

/// Makes `lines` the process's log. When one is there already, it stays: the first gateway of a
/// process (tests, the demo) owns it.
pub(super) fn install(section: &LogSection, style: Style, lines: Lines) -> Result<(), SignalsFault> {
    // an error here means: there is one already
    let _ = tracing::subscriber::set_global_default(subscriber(section, style, lines)?);
    Ok(())
}

/// The log as `tracing` drives it.
pub(super) fn subscriber(
    section: &LogSection,
    style: Style,
    lines: Lines,
) -> Result<Box<dyn Subscriber + Send + Sync>, SignalsFault> {
    let base = SubscriberBuilder::default().with_env_filter(filter(&section.level)?).with_writer(lines);
    Ok(match style {
        Style::Json => {
            let json = base.json().flatten_event(true).with_current_span(false).with_span_list(false);
            Box::new(json.finish())
        }
        Style::Pretty { colour } => Box::new(base.with_ansi(colour).event_format(Pretty).finish()),
    })
}

/// A word is the least severity of our own events, at most `warn` of others'. Whatever is asked, the
/// wire libraries stay at `info`: below it they print headers, and with them keys.
fn filter(level: &str) -> Result<EnvFilter, SignalsFault> {
    let asked = match level.trim() {
        "" => "warn,tollgate=info".to_owned(),
        word @ ("error" | "warn" | "off") => word.to_owned(),
        word @ ("info" | "debug" | "trace") => format!("warn,tollgate={word}"),
        directives => without_wire_libraries(directives),
    };
    EnvFilter::builder()
        .parse(&asked)
        .map_err(|error| SignalsFault::LogLevel { level: level.to_owned(), why: error.to_string() })
}

fn without_wire_libraries(directives: &str) -> String {
    let named = |directive: &str| WIRE_LIBRARIES.iter().any(|library| directive.starts_with(library));
    let mut kept: Vec<String> =
        directives.split(',').map(str::trim).filter(|directive| !named(directive)).map(Into::into).collect();
    kept.extend(WIRE_LIBRARIES.iter().map(|library| format!("{library}=info")));
    kept.join(",")
}

/// `12:00:00 WARN message key=value`.
#[derive(Debug)]
struct Pretty;

impl<S, N> FormatEvent<S, N> for Pretty
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(&self, _: &FmtContext<'_, S, N>, mut to: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        let metadata = event.metadata();
        let mut fields = Fields::default();
        event.record(&mut fields);
        to.write_str(&clock(Clock::system().now().as_nanos()))?;
        let level = metadata.level();
        if to.has_ansi_escapes() {
            let colour = if *level <= Level::WARN { "\x1b[33m" } else { "\x1b[2m" };
            write!(to, " {colour}{level}\x1b[0m")?;
        } else {
            write!(to, " {level}")?;
        }
        writeln!(to, " {}{}", fields.message, fields.rest)
    }
}

/// An event's message, and its other fields as ` key=value`. Control characters cannot break a line.
#[derive(Debug, Default)]
struct Fields {
    message: String,
    rest: String,
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let text = one_line(&format!("{value:?}"));
        // writing to a String cannot fail
        let _ = match field.name() {
            "message" => self.message.write_str(&text),
            // a name for machines; the message says it to people
            "event" => Ok(()),
            name => write!(self.rest, " {name}={text}"),
        };
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.record_debug(field, &format_args!("{value}"));
    }
}

fn one_line(text: &str) -> String {
    text.chars().map(|c| if c.is_control() && c != '\x1b' { ' ' } else { c }).collect()
}

const WIRE_LIBRARIES: [&str; 6] = ["hyper", "h2", "reqwest", "rustls", "tower", "tokio"];

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::lines::tests::Written;
    use super::*;

    fn logged(level: &str, log: impl FnOnce()) -> String {
        let written = Written::default();
        let lines = Lines::to(written.clone()).unwrap();
        let section = LogSection { level: level.into(), ..LogSection::default() };
        let subscriber = subscriber(&section, Style::Pretty { colour: false }, lines.clone()).unwrap();
        tracing::subscriber::with_default(subscriber, log);
        lines.flush(Duration::from_secs(60));
        written.text()
    }

    #[test]
    fn an_event_is_one_line_with_its_fields() {
        let text = logged("info", || tracing::warn!(event = "x.y", upstream = "a\nb", tries = 2, "gave up"));
        assert!(text.ends_with(" WARN gave up upstream=a b tries=2\n"), "{text}");
    }

    #[test]
    fn no_level_makes_the_wire_libraries_print_headers() {
        for level in
            ["trace", "debug", "trace,h2=trace", "hyper::proto=trace,tollgate=debug", "h2::codec=trace"]
        {
            let text = logged(level, || {
                tracing::trace!(target: "h2::codec::framed_read", "authorization: Bearer sk-1");
                tracing::debug!(target: "hyper::proto::h1", "authorization: Bearer sk-2");
            });
            assert_eq!(text, "", "{level}");
        }
    }
}
