//! `tollgate usage`: who spent what. Reads the books beside a running gateway, or without one.

use std::path::Path;
use std::sync::Arc;

use clap::Args;
use jiff::tz::TimeZone;

use crate::app::read_catalogue;
use crate::base::clock::{Clock, Timestamp};
use crate::config::settings::Settings;
use crate::ledger::books::Books;
use crate::ledger::journal::is_in_use;
use crate::ledger::report::{self, Dimension, Query, Report, Repricing};
use crate::pricing::catalogue::Catalogue;
use crate::store::ledger::Filter;

use super::out::{self, Exit};
use super::usage_print::{as_csv, as_table};

/// Who spent what: requests, tokens, cost, errors and latency.
#[derive(Debug, Clone, Args)]
pub struct UsageArgs {
    /// What to sum up by: team, key, model, upstream, user, run, session, operation, outcome, cache,
    /// error, estimate, day, tag:NAME
    #[arg(long, value_delimiter = ',', default_value = "team,model")]
    pub by: Vec<Dimension>,
    /// Only requests begun since: 2026-11-01, 2026-11-01T08:00:00Z, 24h, 7d
    #[arg(long, value_name = "WHEN")]
    pub since: Option<String>,
    /// Only requests begun before, written as in --since
    #[arg(long, value_name = "WHEN")]
    pub until: Option<String>,
    /// Only this team
    #[arg(long)]
    pub team: Option<String>,
    /// Only this key name
    #[arg(long)]
    pub key: Option<String>,
    /// Only this model
    #[arg(long)]
    pub model: Option<String>,
    /// Only this upstream
    #[arg(long)]
    pub upstream: Option<String>,
    /// Only this end user
    #[arg(long)]
    pub user: Option<String>,
    /// Only this run
    #[arg(long)]
    pub run: Option<String>,
    /// Only requests with this tag; may be given several times
    #[arg(long = "tag", value_name = "NAME=VALUE", value_parser = tag)]
    pub tags: Vec<(String, String)>,
    /// Where days begin, an IANA time zone
    #[arg(long, value_name = "ZONE", default_value = "UTC")]
    pub time_zone: String,
    /// Print JSON: {"rows":[..],"total":{..}}
    #[arg(long, conflicts_with = "csv")]
    pub json: bool,
    /// Print CSV, without a total
    #[arg(long)]
    pub csv: bool,
    /// Show beside it what it would have cost by another catalogue: a file as `price_catalogue` takes, or
    /// `shipped`; the config's own `prices` are left out
    #[arg(long, value_name = "CATALOG", conflicts_with = "csv")]
    pub reprice: Option<String>,
}

/// Reports the usage recorded in the data directory of `settings`.
#[must_use]
pub fn run_in(settings: &Settings, args: &UsageArgs) -> Exit {
    let asked = query(args, Clock::system().now()).and_then(|query| {
        let repricing =
            args.reprice.as_deref().map(|catalogue| repricing(settings, catalogue)).transpose()?;
        Ok(Query { repricing, ..query })
    });
    let report = match asked.and_then(|query| answer(&settings.data_dir, &query)) {
        Ok(report) => report,
        Err(message) => {
            out::note(&message);
            return Exit::Failed;
        }
    };
    if args.json {
        out::line(&report.to_json().to_string());
    } else if args.csv {
        out::line(as_csv(&report).trim_end());
    } else {
        out::line(&as_table(&report).to_string());
    }
    Exit::Ok
}

/// All of the books summed up by `by`, as a table.
pub(super) fn overview(data_dir: &Path, by: Vec<Dimension>) -> Result<String, String> {
    answer(data_dir, &Query::new(by, Filter::default())).map(|report| as_table(&report).to_string())
}

fn answer(data_dir: &Path, query: &Query) -> Result<Report, String> {
    let mut books = Books::open(data_dir).map_err(|fault| fault.to_string())?;
    if books.are_blank().map_err(|fault| fault.to_string())? {
        return Err(format!("nothing was recorded in {} yet: is `data_dir` right?", data_dir.display()));
    }
    let report = report::run(&mut books, query).map_err(|fault| fault.to_string())?;
    let running = is_in_use(data_dir).map_err(|fault| fault.to_string())?;
    let open = books.open_intents().map_err(|fault| fault.to_string())?;
    if open > 0 && !running {
        out::note(&format!(
            "not in this report: {open} requests without an end, from a gateway that was killed; its next \
             start charges them at their reservation"
        ));
    }
    if let Some(retired) = books.retired().map_err(|fault| fault.to_string())?
        && query.filter.since.is_none_or(|since| since < retired.before)
    {
        out::note(&format!(
            "not in this report: rows of requests that began before {}, which `ledger.keep` has let go; budgets \
             without an end still count them",
            instant_text(retired.before)
        ));
    }
    Ok(report)
}

/// Whole seconds, UTC.
fn instant_text(at: Timestamp) -> String {
    jiff::Timestamp::from_second(at.as_secs()).map_or_else(|_| at.as_secs().to_string(), |at| at.to_string())
}

fn query(args: &UsageArgs, now: Timestamp) -> Result<Query, String> {
    let time_zone = TimeZone::get(&args.time_zone)
        .map_err(|_| format!("--time-zone {}: no such IANA time zone", args.time_zone))?;
    let when = |option: &str, text: &Option<String>| {
        let parsed = text.as_deref().map(|text| report::instant(text, now, &time_zone));
        parsed.transpose().map_err(|fault| format!("{option} {fault}"))
    };
    let filter = Filter {
        since: when("--since", &args.since)?,
        until: when("--until", &args.until)?,
        team: args.team.clone(),
        key: args.key.clone(),
        model: args.model.clone(),
        upstream: args.upstream.clone(),
        user: args.user.clone(),
        run: args.run.clone(),
        tags: args.tags.clone(),
    };
    Ok(Query { time_zone, ..Query::new(args.by.clone(), filter) })
}

/// The catalogue to look back with, and where the upstreams of the config are.
fn repricing(settings: &Settings, catalogue: &str) -> Result<Repricing, String> {
    let catalogue = match catalogue {
        "shipped" => Catalogue::shipped(),
        path => Arc::new(read_catalogue(Path::new(path)).map_err(|fault| format!("--reprice {fault}"))?),
    };
    let host = |url: &str| url.parse::<http::Uri>().ok().and_then(|url| url.host().map(str::to_owned));
    let hosts = settings.upstreams.iter();
    let hosts = hosts.filter_map(|(name, upstream)| Some((name.clone(), host(&upstream.base_url)?)));
    Ok(Repricing { catalogue, hosts: hosts.collect() })
}

fn tag(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("expected NAME=VALUE")?;
    Ok((name.to_owned(), value.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_recorded_is_no_report() {
        let dir = tempfile::tempdir().unwrap();
        let fault = answer(dir.path(), &Query::new(vec![], Filter::default())).unwrap_err();
        assert!(fault.contains("data_dir"), "{fault}");
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0, "asking leaves no trace");
    }
}
