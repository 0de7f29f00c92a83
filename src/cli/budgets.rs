//! `tollgate budgets`: how much of each budget is left. A running gateway knows best, for only it knows what
//! is reserved; without one the ledger tells what was spent.

use std::collections::HashMap;
use std::io::{Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream, ToSocketAddrs as _};
use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};

use super::budgets_print::as_table;
use super::out::{self, Exit};
use super::place::{ConfigArg, load_without_secrets};
use crate::base::clock::{Clock, Timestamp};
use crate::budget::{BudgetSpec, Limit, Scope, Unit, window};
use crate::config::settings::Settings;
use crate::ledger::books::Books;
use crate::ledger::journal::is_in_use;
use crate::ledger::report;
use crate::store::ledger::Scope as Spender;

/// How much of each budget is spent, reserved and left
#[derive(Debug, clap::Args)]
pub struct BudgetsArgs {
    #[command(flatten)]
    place: ConfigArg,
    /// Print JSON: {"source":..,"budgets":[..]}
    #[arg(long)]
    json: bool,
}

/// A budget of the config, and how it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Standing {
    pub(super) spec: BudgetSpec,
    pub(super) counts: Counts,
}

/// Counts in the budget's unit: nano-USD or tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Counts {
    pub(super) limit: i64,
    pub(super) spent: i64,
    /// Held by requests under way; only a running gateway knows.
    pub(super) reserved: Option<i64>,
    pub(super) resets_at: Option<Timestamp>,
}

/// Shows the budgets of a config.
#[must_use]
pub fn run(args: &BudgetsArgs) -> Exit {
    let settings = match load_without_secrets(&args.place.config) {
        Ok(loaded) => loaded.settings,
        Err(exit) => return exit,
    };
    let live = live_counts(&settings);
    let source = if live.is_some() { "gateway" } else { "ledger" };
    let standings = match standings(&settings, live.unwrap_or_default(), Clock::system().now()) {
        Ok(standings) => standings,
        Err(message) => {
            out::note(&message);
            return Exit::Failed;
        }
    };
    if args.json {
        let rows: Vec<Value> = standings.iter().map(Standing::to_json).collect();
        out::line(&json!({ "source": source, "budgets": rows }).to_string());
        return Exit::Ok;
    }
    if standings.is_empty() {
        out::note(&format!("there is no budget in {}", args.place.config.display()));
        return Exit::No;
    }
    out::note(&told(source, &settings.data_dir));
    out::line(&as_table(&standings).to_string());
    Exit::Ok
}

/// Where the numbers are from, and what to make of that.
fn told(source: &str, data_dir: &Path) -> String {
    let is_blank = Books::open(data_dir).and_then(|books| books.are_blank()).unwrap_or(false);
    match source {
        "gateway" => "as the running gateway counts them:".to_owned(),
        _ if is_blank => {
            format!("nothing was recorded in {} yet: is `data_dir` right?", data_dir.display())
        }
        _ => "from the ledger; no gateway is running here that could tell what is reserved:".to_owned(),
    }
}

/// All budgets of a config in its order. What `live` does not know comes from the ledger.
pub(super) fn standings(
    settings: &Settings,
    mut live: HashMap<String, Counts>,
    now: Timestamp,
) -> Result<Vec<Standing>, String> {
    let mut books = Books::open(&settings.data_dir).map_err(|fault| fault.to_string())?;
    let mut standings = Vec::new();
    for spec in specs(settings)? {
        let counts = match live.remove(&spec.id) {
            Some(counts) => counts,
            None => recorded(&mut books, &spec, now)?,
        };
        standings.push(Standing { spec, counts });
    }
    Ok(standings)
}

fn specs(settings: &Settings) -> Result<Vec<BudgetSpec>, String> {
    let mut specs = Vec::new();
    for (team, section) in &settings.teams {
        let of_keys = section
            .keys
            .iter()
            .map(|key| (Scope::Key(team.clone(), key.name.clone()), key.budgets.as_slice()));
        let of_team = (Scope::Team(team.clone()), section.budgets.as_slice());
        for (scope, sections) in std::iter::once(of_team).chain(of_keys) {
            let listed = BudgetSpec::list(&scope, sections);
            specs.extend(listed.map_err(|(_, fault)| format!("a budget of {scope} {fault}"))?);
        }
    }
    Ok(specs)
}

/// What the ledger says was spent in the window of `now`.
fn recorded(books: &mut Books, spec: &BudgetSpec, now: Timestamp) -> Result<Counts, String> {
    let window = window(spec.every, &spec.time_zone, now);
    let spender = match &spec.scope {
        Scope::Team(team) => Spender::Team(team),
        Scope::Key(team, key) => Spender::Key { team, key },
    };
    let spent = report::spent_since(books, spender, window.start).map_err(|fault| fault.to_string())?;
    let tokens = |count: u64| i64::try_from(count).unwrap_or(i64::MAX);
    let (limit, spent) = match spec.limit {
        Limit::Usd(limit) => (limit.as_nanos(), spent.cost.as_nanos()),
        Limit::Tokens(limit) => (tokens(limit), tokens(spent.tokens)),
    };
    Ok(Counts { limit, spent, reserved: None, resets_at: window.end })
}

/// What the gateway that uses this data directory says, by budget id; `None` if none runs or answers.
fn live_counts(settings: &Settings) -> Option<HashMap<String, Counts>> {
    // whoever listens there without using our data is another gateway
    if !is_in_use(&settings.data_dir).ok()? {
        return None;
    }
    let answer = ask(reachable(&settings.admin.listen)?).ok()?;
    counts_in(&answer)
}

/// The admin listener as this machine can reach it.
fn reachable(listen: &str) -> Option<SocketAddr> {
    let mut address = listen.to_socket_addrs().ok()?.next()?;
    if address.ip().is_unspecified() {
        address.set_ip(match address.ip() {
            IpAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
            IpAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
        });
    }
    Some(address)
}

/// HTTP/1.0, so that the answer ends with the connection and needs no client.
fn ask(address: SocketAddr) -> std::io::Result<String> {
    let mut stream = TcpStream::connect_timeout(&address, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    write!(stream, "GET /api/v1/budgets HTTP/1.0\r\nhost: {address}\r\naccept: application/json\r\n\r\n")?;
    let mut answer = String::new();
    stream.take(LARGEST_ANSWER).read_to_string(&mut answer)?;
    Ok(answer)
}

const PATIENCE: Duration = Duration::from_secs(2);
/// Room for tens of thousands of budgets.
const LARGEST_ANSWER: u64 = 16 << 20;

fn counts_in(answer: &str) -> Option<HashMap<String, Counts>> {
    let (head, body) = answer.split_once("\r\n\r\n")?;
    head.lines().next().filter(|line| line.contains(" 200"))?;
    let body: Value = serde_json::from_str(body).ok()?;
    let row = |row: &Value| {
        let count = |name: &str| row.get(name).and_then(Value::as_i64);
        let resets_at = match row.get("resets_at").and_then(Value::as_str) {
            Some(text) => Some(Timestamp::from_secs(text.parse::<jiff::Timestamp>().ok()?.as_second())),
            None => None,
        };
        let counts = Counts {
            limit: count("limit")?,
            spent: count("spent")?,
            reserved: Some(count("reserved")?),
            resets_at,
        };
        Some((row.get("id")?.as_str()?.to_owned(), counts))
    };
    body.get("budgets")?.as_array()?.iter().map(row).collect()
}

impl Standing {
    /// What a next request could reserve; below zero when overspent.
    pub(super) fn left(&self) -> i64 {
        self.counts.limit.saturating_sub(self.used())
    }

    /// Spent and reserved, in tenths of a percent of the limit.
    pub(super) fn used_per_mille(&self) -> i64 {
        let limit = i128::from(self.counts.limit.max(1));
        i64::try_from(i128::from(self.used()) * 1_000 / limit).unwrap_or(i64::MAX)
    }

    /// `ok`, the highest warn threshold that spending has reached, or `spent`.
    pub(super) fn state(&self) -> String {
        if self.left() <= 0 {
            return "spent".into();
        }
        self.warned_at().map_or_else(|| "ok".into(), |percent| format!("warned {percent}%"))
    }

    fn used(&self) -> i64 {
        self.counts.spent.saturating_add(self.counts.reserved.unwrap_or(0))
    }

    fn warned_at(&self) -> Option<u8> {
        let reached = |percent: u8| {
            i128::from(self.counts.spent) * 100 >= i128::from(self.counts.limit) * i128::from(percent)
        };
        self.spec.warn_at.iter().map(|percent| percent.0).filter(|percent| reached(*percent)).max()
    }

    fn to_json(&self) -> Value {
        let unit = match self.spec.limit.unit() {
            Unit::Usd => "nano_usd",
            Unit::Tokens => "tokens",
        };
        let at = |at: Timestamp| jiff::Timestamp::from_second(at.as_secs()).ok().map(|at| at.to_string());
        json!({
            "id": self.spec.id,
            "scope": self.spec.scope.to_string(),
            "window": self.spec.every.as_str(),
            "unit": unit,
            "limit": self.counts.limit,
            "spent": self.counts.spent,
            "reserved": self.counts.reserved,
            "left": self.left(),
            "used_percent": used_percent(self.used_per_mille()),
            "resets_at": self.counts.resets_at.and_then(at),
            "time_zone": self.spec.time_zone.iana_name(),
            "warned_at_percent": self.warned_at(),
            "state": self.state(),
        })
    }
}

#[expect(clippy::cast_precision_loss, reason = "a share, for programs that show it")]
fn used_percent(per_mille: i64) -> f64 {
    per_mille as f64 / 10.0
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::base::money::NanoUsd;
    use crate::base::units::{Percent, Usd};
    use crate::budget::section::{BudgetSection, Every, Unpriced, WhenSpent};

    pub(in crate::cli) fn standing(spent: i64, reserved: Option<i64>) -> Standing {
        let section = BudgetSection {
            limit_usd: Some(Usd(NanoUsd::new(1_000))),
            limit_tokens: None,
            every: Every::Day,
            time_zone: "Europe/Berlin".into(),
            warn_at: vec![Percent(50), Percent(75)],
            when_spent: WhenSpent::Refuse,
            unpriced: Unpriced::Refuse,
        };
        let spec = BudgetSpec::new(Scope::Team("search".into()), &section).unwrap();
        let resets_at = Some(Timestamp::from_secs(1_700_000_000));
        Standing { spec, counts: Counts { limit: 1_000, spent, reserved, resets_at } }
    }

    #[test]
    fn a_state_says_what_the_next_request_meets() {
        for (spent, reserved, state) in [
            (0, None, "ok"),
            (499, Some(0), "ok"),
            (500, Some(400), "warned 50%"),
            (999, Some(0), "warned 75%"),
            (600, Some(400), "spent"),
            (1_200, None, "spent"),
        ] {
            assert_eq!(standing(spent, reserved).state(), state, "{spent} {reserved:?}");
        }
        assert_eq!(standing(1_200, None).left(), -200);
        assert_eq!(standing(333, Some(1)).used_per_mille(), 334);
    }

    #[test]
    fn a_gateways_answer_is_read_by_id() {
        let body = r#"{"budgets":[{"id":"team:search/day-usd","limit":9,"spent":2,"reserved":3,"left":4,
            "resets_at":"2026-11-21T00:00:00Z"},{"id":"t","limit":1,"spent":0,"reserved":0,"resets_at":null}]}"#;
        let counts = counts_in(&format!("HTTP/1.0 200 OK\r\na: b\r\n\r\n{body}")).unwrap();
        let read = counts["team:search/day-usd"];
        assert_eq!((read.limit, read.spent, read.reserved), (9, 2, Some(3)));
        assert_eq!(read.resets_at, Some(Timestamp::from_secs(1_795_219_200)));
        assert_eq!(counts["t"].resets_at, None);
        assert!(counts_in(&format!("HTTP/1.0 503 no\r\n\r\n{body}")).is_none());
        assert!(counts_in("garbage").is_none());
    }

    #[test]
    fn a_gateway_that_listens_everywhere_is_asked_on_loopback() {
        assert_eq!(reachable("0.0.0.0:4001").unwrap().to_string(), "127.0.0.1:4001");
        assert_eq!(reachable("[::]:4001").unwrap().to_string(), "[::1]:4001");
        assert_eq!(reachable("10.0.0.1:1").unwrap().to_string(), "10.0.0.1:1");
    }
}
