//! `tollgate budgets`: how much of each budget is left. A running gateway knows best, for only it knows what
//! is reserved; without one the ledger tells what was spent.

use std::io::{Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream, ToSocketAddrs as _};
use std::path::Path;
use std::time::Duration;

use serde_json::json;

use super::budgets_print::as_table;
use super::out::{self, Exit};
use super::place::{ConfigArg, load_without_secrets};
use crate::app::{BudgetRows, MoreAccounts};
use crate::base::clock::{Clock, Timestamp};
use crate::budget::{BudgetSpec, Scope};
use crate::config::settings::Settings;
use crate::ledger::books::Books;
use crate::ledger::journal::is_in_use;

/// How much of each budget is spent, reserved and left
#[derive(Debug, clap::Args)]
pub struct BudgetsArgs {
    #[command(flatten)]
    place: ConfigArg,
    /// Print JSON: {"source":..,"budgets":[..]}
    #[arg(long)]
    json: bool,
}

/// Shows the budgets of a config.
#[must_use]
pub fn run(args: &BudgetsArgs) -> Exit {
    let settings = match load_without_secrets(&args.place.config) {
        Ok(loaded) => loaded.settings,
        Err(exit) => return exit,
    };
    let live = live_rows(&settings);
    let source = if live.is_some() { "gateway" } else { "ledger" };
    let rows = match rows(&settings, live.unwrap_or_default(), Clock::system().now()) {
        Ok(rows) => rows,
        Err(message) => {
            out::note(&message);
            return Exit::Failed;
        }
    };
    if args.json {
        out::line(&json!({ "source": source, "budgets": rows.budgets, "more": rows.more }).to_string());
        return Exit::Ok;
    }
    if rows.budgets.is_empty() {
        out::note(&format!("there is no budget in {}", args.place.config.display()));
        return Exit::No;
    }
    out::note(&told(source, &settings.data_dir));
    out::line(&as_table(&rows.budgets).to_string());
    for MoreAccounts { id, accounts } in &rows.more {
        out::note(&format!("{id}: {accounts} more accounts in use, with less spent"));
    }
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
pub(super) fn rows(settings: &Settings, live: BudgetRows, now: Timestamp) -> Result<BudgetRows, String> {
    let specs = specs(settings)?;
    let ids: Vec<String> = specs.iter().map(|spec| spec.id.clone()).collect();
    let place = |id: &str| ids.iter().position(|known| known == id);
    let unknown: Vec<_> =
        specs.into_iter().filter(|spec| !live.budgets.iter().any(|row| row.id == spec.id)).collect();
    let mut rows = live;
    if !unknown.is_empty() {
        let recorded = BudgetRows::on_record(unknown, &settings.data_dir, now).map_err(|f| f.to_string())?;
        rows.budgets.extend(recorded.budgets);
        rows.more.extend(recorded.more);
    }
    rows.budgets.retain(|row| place(&row.id).is_some());
    rows.more.retain(|more| place(&more.id).is_some());
    // stable: rows of one budget stay in their order
    rows.budgets.sort_by_key(|row| place(&row.id));
    Ok(rows)
}

fn specs(settings: &Settings) -> Result<Vec<BudgetSpec>, String> {
    let everything = BudgetSpec::list(&Scope::Everything, &settings.budgets);
    let mut specs = everything.map_err(|(_, fault)| format!("a budget of everything {fault}"))?;
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

/// What the gateway that uses this data directory says; `None` if none runs or answers.
fn live_rows(settings: &Settings) -> Option<BudgetRows> {
    // whoever listens there without using our data is another gateway
    if !is_in_use(&settings.data_dir).ok()? {
        return None;
    }
    let answer = ask(reachable(&settings.admin.listen)?).ok()?;
    rows_in(&answer)
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

fn rows_in(answer: &str) -> Option<BudgetRows> {
    let (head, body) = answer.split_once("\r\n\r\n")?;
    head.lines().next().filter(|line| line.contains(" 200"))?;
    serde_json::from_str(body).ok()
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::app::BudgetRow;
    use crate::budget::section::WhenSpent;

    pub(in crate::cli) fn row(spent: i64, reserved: Option<i64>) -> BudgetRow {
        BudgetRow {
            id: "team:search/day-usd".into(),
            scope: "team search".into(),
            window: "day".into(),
            unit: "nano_usd".into(),
            limit: 1_000,
            spent,
            reserved,
            left: 1_000 - spent,
            used_percent: 49.9,
            resets_at: Some("2023-11-14T22:13:20Z".into()),
            time_zone: "Europe/Berlin".into(),
            warned_at_percent: None,
            state: "ok".into(),
            when_spent: WhenSpent::Refuse,
            shadow: false,
            would_have_refused: None,
            would_have_saved: None,
        }
    }

    #[test]
    fn a_gateways_answer_is_read_back() {
        let rows = BudgetRows { budgets: vec![row(2, Some(3)), row(0, None)], more: Vec::new() };
        let body = serde_json::to_string(&rows).unwrap();
        assert_eq!(rows_in(&format!("HTTP/1.0 200 OK\r\na: b\r\n\r\n{body}")), Some(rows));
        assert!(rows_in(&format!("HTTP/1.0 503 no\r\n\r\n{body}")).is_none());
        assert!(rows_in("garbage").is_none());
    }

    #[test]
    fn a_gateway_that_listens_everywhere_is_asked_on_loopback() {
        assert_eq!(reachable("0.0.0.0:4001").unwrap().to_string(), "127.0.0.1:4001");
        assert_eq!(reachable("[::]:4001").unwrap().to_string(), "[::1]:4001");
        assert_eq!(reachable("10.0.0.1:1").unwrap().to_string(), "10.0.0.1:1");
    }
}
