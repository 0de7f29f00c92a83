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
use crate::limits::section::LimitsSection;
use crate::limits::{Limiter, LimiterBook, ModelLimiter};
use crate::pricing::catalogue::Catalogue;
use crate::proxy::prices::Prices;
use crate::proxy::{Account, Bounds, ByName, Policy};
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
    /// Those that have a key.
    teams: Vec<PlannedTeam<'a>>,
}

#[derive(Debug)]
struct PlannedTeam<'a> {
    name: &'a str,
    section: &'a TeamSection,
    budgets: Vec<BudgetSpec>,
    keys: Vec<PlannedKey<'a>>,
}

#[derive(Debug)]
struct PlannedKey<'a> {
    hash: KeyHash,
    rules: Rules,
    section: &'a KeySection,
    budgets: Vec<BudgetSpec>,
}

/// What all accounts of a config load share.
#[derive(Debug, Clone, Copy)]
struct Ground<'a> {
    settings: &'a Settings,
    lasting: &'a Lasting,
    /// Of everyone together.
    budgets: &'a [Arc<Budget>],
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
    let with_keys = settings.teams.iter().filter(|(_, section)| !section.keys.is_empty());
    let teams = with_keys
        .map(|(name, section)| planned_team(name, section, pepper))
        .collect::<Result<Vec<_>, _>>()?;
    each_once(&teams)?;
    let budgets = BudgetSpec::list(&Scope::Everything, &settings.budgets)
        .map_err(|(place, fault)| AssemblyFault(format!("budgets[{place}] {fault}")))?;
    Ok(Plan { settings, upstreams, router, catalogue: catalogue(settings)?, budgets, teams })
}

fn planned_team<'a>(
    name: &'a str,
    section: &'a TeamSection,
    pepper: &Pepper,
) -> Result<PlannedTeam<'a>, AssemblyFault> {
    let budgets = BudgetSpec::list(&Scope::Team(name.into()), &section.budgets)
        .map_err(|(_, fault)| AssemblyFault(format!("teams.{name}: {fault}")))?;
    let access = Access { models: section.models.clone(), expires: section.expires.clone() };
    let keys = section.keys.iter().map(|key| planned_key((name, &access), key, pepper));
    Ok(PlannedTeam { name, section, budgets, keys: keys.collect::<Result<_, _>>()? })
}

fn planned_key<'a>(
    (team, of_team): (&str, &Access),
    section: &'a KeySection,
    pepper: &Pepper,
) -> Result<PlannedKey<'a>, AssemblyFault> {
    let place = |fault: &dyn ToString| {
        AssemblyFault(format!("teams.{team}.keys.{}: {}", section.name, fault.to_string()))
    };
    let access = Access { models: section.models.clone(), expires: section.expires.clone() };
    let rules = Rules::new(of_team, &access).map_err(|fault| place(&fault))?;
    let hash = pepper.prove(&section.proof()).map_err(|fault| place(&fault))?;
    let budgets = if section.budgets.is_empty() {
        Vec::new()
    } else {
        let scope = Scope::Key(team.into(), section.name.clone());
        BudgetSpec::list(&scope, &section.budgets).map_err(|(_, fault)| place(&fault))?
    };
    Ok(PlannedKey { hash, rules, section, budgets })
}

/// One key cannot belong to two callers.
fn each_once(teams: &[PlannedTeam<'_>]) -> Result<(), AssemblyFault> {
    let mut seen = HashMap::with_capacity(teams.iter().map(|team| team.keys.len()).sum());
    for (team, key) in teams.iter().flat_map(|team| team.keys.iter().map(move |key| (team, key))) {
        let place = (team.name, &key.section.name);
        if let Some((first_team, first_key)) = seen.insert(key.hash, place) {
            let (second_team, second_key) = place;
            return Err(AssemblyFault(format!(
                "teams.{first_team}.keys.{first_key} and teams.{second_team}.keys.{second_key}: the same key is \
                 listed twice"
            )));
        }
    }
    Ok(())
}

impl Plan<'_> {
    /// Everyone's budgets, those of teams that have a key, and those of keys.
    pub(super) fn budgets(&self) -> impl Iterator<Item = &BudgetSpec> {
        let of_teams = self
            .teams
            .iter()
            .flat_map(|team| team.budgets.iter().chain(team.keys.iter().flat_map(|key| &key.budgets)));
        self.budgets.iter().chain(of_teams)
    }

    /// Puts the plan to work: budgets and limits that are in force already keep their counters and take
    /// the new terms, new ones begin with what was `spent` before, and budgets that are not in the plan
    /// are out of force. Cannot fail, since a config that is turned down must change nothing.
    pub(super) fn adopt(self, lasting: &Lasting, spent: Recount) -> Policy {
        let ids: HashSet<String> = self.budgets().map(|spec| spec.id.clone()).collect();
        let Self { settings, upstreams, router, catalogue, budgets, teams } = self;
        let of_all: Vec<_> = budgets.into_iter().map(|spec| lasting.budgets.open(spec)).collect();
        let ground = Ground { settings, lasting, budgets: &of_all };
        let listed = teams.into_iter().flat_map(|team| team.open(ground)).collect();
        spent.assign(&lasting.budgets);
        lasting.budgets.keep_only(&ids);
        let directory = Directory::new(lasting.pepper.clone(), listed).expect("a plan has each key once");
        Policy {
            by_name: ByName::of(directory.values()),
            directory,
            open: settings.open.then(|| Arc::new(open_account(settings, of_all, lasting))),
            router,
            upstreams: upstreams
                .into_iter()
                .map(|upstream| Arc::new(upstream.remembering(&lasting.learned)))
                .collect(),
            upstream_limiters: upstream_limiters(settings, lasting),
            prices: Prices::of(catalogue),
            overridden: settings.prices.keys().map(|model| model.to_ascii_lowercase()).collect(),
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

impl PlannedTeam<'_> {
    /// The team's keys, each with its rules and its account.
    fn open(self, on: Ground<'_>) -> impl Iterator<Item = (KeyHash, Rules, Arc<Account>)> {
        let Ground { settings, lasting, budgets } = on;
        let (team, section) = (self.name, self.section);
        let limiter_of_team = limiter(lasting, &section.limits, || format!("team {team}"));
        let of_team = self.budgets.into_iter().map(|spec| lasting.budgets.open(spec));
        let shared: Vec<_> = budgets.iter().cloned().chain(of_team).collect();
        self.keys.into_iter().map(move |planned| {
            let PlannedKey { hash, rules, section: key, budgets } = planned;
            let own = budgets.into_iter().map(|spec| lasting.budgets.open(spec));
            let name = &key.name;
            let account = Account {
                team: team.into(),
                key: name.clone(),
                rules: Some(rules.clone()),
                limiters: limiter_of_team
                    .iter()
                    .cloned()
                    .chain(limiter(lasting, &key.limits, || format!("key {team}/{name}")))
                    .collect(),
                model_limiters: ModelLimiter::of_key(&settings.limits, team, name, &lasting.limiters),
                budgets: shared.iter().cloned().chain(own).collect(),
                cache: section.cache,
            };
            (hash, rules, Arc::new(account))
        })
    }
}

/// The limiter of a scope that has limits: of the many keys that have none, none is kept or asked.
fn limiter(
    lasting: &Lasting,
    limits: &LimitsSection,
    scope: impl FnOnce() -> String,
) -> Option<Arc<Limiter>> {
    (*limits != LimitsSection::default()).then(|| lasting.limiters.open(&scope(), limits))
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
