//! Builds the policy of one config load: identity, budgets, limits, routes, prices. Changes nothing that
//! is in use; counters that go on across loads live in the books that are passed in.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use crate::budget::{Book, BudgetSpec, Scope};
use crate::config::settings::{KeySection, Settings, TeamSection, Unmetered};
use crate::identity::section::Access;
use crate::identity::{Directory, Pepper, Rules};
use crate::limits::LimiterBook;
use crate::pricing::catalogue::Catalogue;
use crate::proxy::prices::Prices;
use crate::proxy::{Account, Bounds, Policy};
use crate::routing::router::Router;
use crate::upstream::endpoint::Upstream;

/// What outlives a config load.
#[derive(Debug)]
pub(super) struct Lasting {
    pub(super) budgets: Book,
    pub(super) limiters: LimiterBook,
    pub(super) pepper: Pepper,
}

/// Why a config that reads well cannot be put to work.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct AssemblyFault(String);

impl AssemblyFault {
    fn of(fault: &impl ToString) -> Self {
        Self(fault.to_string())
    }
}

/// Builds the policy of `settings`.
///
/// # Errors
/// When an upstream, key, budget, route or the price catalogue cannot be used.
pub(super) fn assemble(
    settings: &Settings,
    lasting: &Lasting,
    generation: u64,
) -> Result<Policy, AssemblyFault> {
    let upstreams = settings
        .upstreams
        .iter()
        .map(|(name, section)| Upstream::build(name, section).map(Arc::new))
        .collect::<Result<Vec<_>, _>>()
        .map_err(|fault| AssemblyFault::of(&fault))?;
    let index_of = |name: &str| settings.upstreams.get_index_of(name);
    let router = Router::build(&settings.routes, index_of).map_err(|fault| AssemblyFault::of(&fault))?;
    let mut listed = Vec::new();
    for (team, section) in &settings.teams {
        for key in &section.keys {
            listed.push(account(team, section, key, lasting)?);
        }
    }
    let directory =
        Directory::new(lasting.pepper.clone(), listed).map_err(|fault| AssemblyFault::of(&fault))?;
    Ok(Policy {
        generation,
        directory,
        open: settings.open.then(|| Arc::new(open_account())),
        router,
        upstreams,
        prices: Prices::of(catalogue(settings)?),
        overridden: settings.prices.keys().cloned().collect(),
        refuse_unmetered: settings.unmetered == Unmetered::Refuse,
        bounds: Bounds {
            max_body: settings.server.max_body.0,
            body_timeout: settings.server.body_timeout.0,
            max_requests: settings.server.max_requests,
            coalesce_wait: settings.cache.coalesce_wait.0,
        },
    })
}

type Listed = (crate::identity::KeyHash, Rules, Arc<Account>);

fn account(
    team: &str,
    section: &TeamSection,
    key: &KeySection,
    lasting: &Lasting,
) -> Result<Listed, AssemblyFault> {
    let place = |fault: &dyn ToString| {
        AssemblyFault(format!("teams.{team}.keys.{}: {}", key.name, fault.to_string()))
    };
    let of_team = Access { models: section.models.clone(), expires: section.expires.clone() };
    let of_key = Access { models: key.models.clone(), expires: key.expires.clone() };
    let rules = Rules::new(&of_team, &of_key).map_err(|fault| place(&fault))?;
    let hash = lasting.pepper.prove(&key.proof()).map_err(|fault| place(&fault))?;
    let mut budgets = Vec::new();
    for (scope, sections) in [
        (Scope::Team(team.into()), &section.budgets),
        (Scope::Key(team.into(), key.name.clone()), &key.budgets),
    ] {
        let specs = BudgetSpec::list(&scope, sections).map_err(|(_, fault)| place(&fault))?;
        budgets.extend(specs.into_iter().map(|spec| lasting.budgets.open(spec)));
    }
    let limiters = vec![
        lasting.limiters.open(&format!("team {team}"), &section.limits),
        lasting.limiters.open(&format!("key {team}/{}", key.name), &key.limits),
    ];
    let account = Account {
        team: team.into(),
        key: key.name.clone(),
        rules: Some(rules.clone()),
        limiters,
        budgets,
        cache: section.cache,
    };
    Ok((hash, rules, Arc::new(account)))
}

/// Everyone, in local development without keys.
fn open_account() -> Account {
    Account {
        team: "open".into(),
        key: "open".into(),
        rules: None,
        limiters: Vec::new(),
        budgets: Vec::new(),
        cache: None,
    }
}

/// The catalogue in force: the config's own file or the shipped one, with the config's overrides.
///
/// # Errors
/// When the config's file cannot be read.
pub fn catalogue(settings: &Settings) -> Result<Arc<Catalogue>, AssemblyFault> {
    let base = match &settings.price_catalogue {
        None => Catalogue::shipped(),
        Some(path) => Arc::new(read_catalogue(path)?),
    };
    if settings.prices.is_empty() {
        return Ok(base);
    }
    Ok(Arc::new(base.with_overrides(&settings.prices)))
}

fn read_catalogue(path: &Path) -> Result<Catalogue, AssemblyFault> {
    let fault = |fault: &dyn ToString| {
        AssemblyFault(format!("price_catalogue {}: {}", path.display(), fault.to_string()))
    };
    let text = fs::read_to_string(path).map_err(|error| fault(&error))?;
    Catalogue::parse(&text).map_err(|error| fault(&error))
}
