//! Builds the policy of one config load in two steps: a plan, which can fail and changes nothing, and its
//! adoption, which cannot fail. Counters that go on across loads live in the books that are passed in.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::path::Path;
use std::sync::{Arc, Mutex};

use super::reconcile::Superseded;
use crate::budget::{Book, Budget, BudgetSpec, Recount, Scope};
use crate::config::settings::{KeySection, Settings, TeamSection, Unmetered};
use crate::identity::section::Access;
use crate::identity::{Directory, KeyHash, Pepper, Rules};
use crate::limits::{Limiter, LimiterBook, ModelLimiter};
use crate::pricing::catalogue::Catalogue;
use crate::proxy::prices::Prices;
use crate::proxy::{Account, Bounds, Policy};
use crate::routing::router::Router;
use crate::upstream::endpoint::Upstream;
use crate::upstream::learned::Learned;

/// What outlives a config load.
#[derive(Debug)]
pub(super) struct Lasting {
    pub(super) budgets: Book,
    pub(super) limiters: LimiterBook,
    pub(super) pepper: Pepper,
    pub(super) superseded: Superseded,
    pub(super) learned: Learned,
    /// Held while counters are counted anew: a reload and a pass must not do so at once.
    pub(super) counting: Mutex<()>,
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

/// A config that can be put to work: all that can fail has been done, and nothing that is in use was touched.
#[derive(Debug)]
pub(super) struct Plan<'a> {
    settings: &'a Settings,
    upstreams: Vec<Upstream>,
    router: Router,
    catalogue: Arc<Catalogue>,
    /// Of everyone together.
    budgets: Vec<BudgetSpec>,
    keys: Vec<PlannedKey<'a>>,
}

#[derive(Debug)]
struct PlannedKey<'a> {
    hash: KeyHash,
    rules: Rules,
    team: &'a str,
    of_team: &'a TeamSection,
    key: &'a KeySection,
    budgets: Vec<BudgetSpec>,
}

/// Works out the policy of `settings`.
///
/// # Errors
/// When an upstream, key, budget, route or the price catalogue cannot be used.
pub(super) fn plan<'a>(settings: &'a Settings, pepper: &Pepper) -> Result<Plan<'a>, AssemblyFault> {
    let upstreams = settings
        .upstreams
        .iter()
        .map(|(name, section)| Upstream::build(name, section))
        .collect::<Result<Vec<_>, _>>()
        .map_err(|fault| AssemblyFault::of(&fault))?;
    let index_of = |name: &str| settings.upstreams.get_index_of(name);
    let router = Router::build(&settings.routes, index_of).map_err(|fault| AssemblyFault::of(&fault))?;
    let mut keys = Vec::new();
    for (team, section) in &settings.teams {
        for key in &section.keys {
            keys.push(planned(team, section, key, pepper)?);
        }
    }
    each_once(&keys)?;
    let budgets = BudgetSpec::list(&Scope::Everything, &settings.budgets)
        .map_err(|(place, fault)| AssemblyFault(format!("budgets[{place}] {fault}")))?;
    Ok(Plan { settings, upstreams, router, catalogue: catalogue(settings)?, budgets, keys })
}

fn planned<'a>(
    team: &'a str,
    of_team: &'a TeamSection,
    key: &'a KeySection,
    pepper: &Pepper,
) -> Result<PlannedKey<'a>, AssemblyFault> {
    let place = |fault: &dyn ToString| {
        AssemblyFault(format!("teams.{team}.keys.{}: {}", key.name, fault.to_string()))
    };
    let team_access = Access { models: of_team.models.clone(), expires: of_team.expires.clone() };
    let key_access = Access { models: key.models.clone(), expires: key.expires.clone() };
    let rules = Rules::new(&team_access, &key_access).map_err(|fault| place(&fault))?;
    let hash = pepper.prove(&key.proof()).map_err(|fault| place(&fault))?;
    let mut budgets = Vec::new();
    for (scope, sections) in [
        (Scope::Team(team.into()), &of_team.budgets),
        (Scope::Key(team.into(), key.name.clone()), &key.budgets),
    ] {
        budgets.extend(BudgetSpec::list(&scope, sections).map_err(|(_, fault)| place(&fault))?);
    }
    Ok(PlannedKey { hash, rules, team, of_team, key, budgets })
}

/// One key cannot belong to two callers.
fn each_once(keys: &[PlannedKey<'_>]) -> Result<(), AssemblyFault> {
    let mut seen = HashMap::new();
    for key in keys {
        if let Some(first) = seen.insert(key.hash, key) {
            let (first_key, second_key) = (&first.key.name, &key.key.name);
            return Err(AssemblyFault(format!(
                "teams.{}.keys.{first_key} and teams.{}.keys.{second_key}: the same key is listed twice",
                first.team, key.team
            )));
        }
    }
    Ok(())
}

impl Plan<'_> {
    /// Everyone's budgets and those of all keys; a team's own with each of its keys.
    pub(super) fn budgets(&self) -> impl Iterator<Item = &BudgetSpec> {
        self.budgets.iter().chain(self.keys.iter().flat_map(|key| &key.budgets))
    }

    /// Puts the plan to work: budgets and limits that are in force already keep their counters and take
    /// the new terms, new ones begin with what was `spent` before, and budgets that are not in the plan
    /// are out of force. Cannot fail, since a config that is turned down must change nothing.
    pub(super) fn adopt(self, lasting: &Lasting, spent: Recount) -> Policy {
        let ids: HashSet<String> = self.budgets().map(|spec| spec.id.clone()).collect();
        let Self { settings, upstreams, router, catalogue, budgets, keys } = self;
        let of_all: Vec<_> = budgets.into_iter().map(|spec| lasting.budgets.open(spec)).collect();
        let listed: Vec<_> = keys
            .into_iter()
            .map(|key| (key.hash, key.rules.clone(), key.open(settings, &of_all, lasting)))
            .collect();
        spent.assign(&lasting.budgets);
        lasting.budgets.keep_only(&ids);
        Policy {
            directory: Directory::new(lasting.pepper.clone(), listed).expect("a plan has each key once"),
            open: settings.open.then(|| Arc::new(open_account(settings, of_all, lasting))),
            router,
            upstreams: upstreams
                .into_iter()
                .map(|upstream| Arc::new(upstream.remembering(&lasting.learned)))
                .collect(),
            upstream_limiters: upstream_limiters(settings, lasting),
            prices: Prices::of(catalogue),
            overridden: settings.prices.keys().cloned().collect(),
            refuse_unmetered: settings.unmetered == Unmetered::Refuse,
            bounds: Bounds {
                max_body: settings.server.max_body.0,
                max_upload: settings.server.max_upload.0,
                body_timeout: settings.server.body_timeout.0,
                max_requests: settings.server.max_requests,
                budget_wait: settings.server.budget_wait.0,
                coalesce_wait: settings.cache.coalesce_wait.0,
                socket_idle: settings.server.socket_idle_timeout.0,
                deferred_for: settings.ledger.deferred_for.0,
            },
        }
    }
}

impl PlannedKey<'_> {
    fn open(self, settings: &Settings, of_all: &[Arc<Budget>], lasting: &Lasting) -> Arc<Account> {
        let (team, key) = (self.team, &self.key.name);
        let own = self.budgets.into_iter().map(|spec| lasting.budgets.open(spec));
        let budgets = of_all.iter().cloned().chain(own).collect();
        Arc::new(Account {
            team: team.into(),
            key: key.clone(),
            rules: Some(self.rules),
            limiters: vec![
                lasting.limiters.open(&format!("team {team}"), &self.of_team.limits),
                lasting.limiters.open(&format!("key {team}/{key}"), &self.key.limits),
            ],
            model_limiters: ModelLimiter::of_key(&settings.limits, team, key, &lasting.limiters),
            budgets,
            cache: self.of_team.cache,
        })
    }
}

/// Everyone, in local development without keys.
fn open_account(settings: &Settings, budgets: Vec<Arc<Budget>>, lasting: &Lasting) -> Account {
    Account {
        team: "open".into(),
        key: "open".into(),
        rules: None,
        limiters: Vec::new(),
        model_limiters: ModelLimiter::of_key(&settings.limits, "open", "open", &lasting.limiters),
        budgets,
        cache: None,
    }
}

/// The limits of the upstreams that have some, in the config's order.
fn upstream_limiters(settings: &Settings, lasting: &Lasting) -> Vec<Option<Arc<Limiter>>> {
    let limited = settings.upstreams.iter().map(|(name, section)| {
        let limits = section.limits.as_ref()?;
        Some(lasting.limiters.open(&format!("upstream {name}"), limits))
    });
    limited.collect()
}

/// The catalogue in force: the config's own file or the shipped one, with the config's overrides.
///
/// # Errors
/// When the config's file cannot be read.
pub fn catalogue(settings: &Settings) -> Result<Arc<Catalogue>, AssemblyFault> {
    let base = match &settings.price_catalogue {
        None => Catalogue::shipped(),
        Some(path) => Arc::new(
            read_catalogue(path).map_err(|fault| AssemblyFault(format!("price_catalogue {}", fault.0)))?,
        ),
    };
    if settings.prices.is_empty() {
        return Ok(base);
    }
    Ok(Arc::new(base.with_overrides(&settings.prices)))
}

/// Reads a catalogue's file.
///
/// # Errors
/// When it cannot be read or is none.
pub fn read_catalogue(path: &Path) -> Result<Catalogue, AssemblyFault> {
    let fault = |fault: &dyn ToString| AssemblyFault(format!("{}: {}", path.display(), fault.to_string()));
    let text = fs::read_to_string(path).map_err(|error| fault(&error))?;
    Catalogue::parse(&text).map_err(|error| fault(&error))
}
