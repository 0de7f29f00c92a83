//! `tollgate verify`: the same small requests straight to an upstream and through a gateway, side by side.

mod case;
mod compare;
mod headers;
mod hidden;
mod own;
mod plan;
mod report;
mod run;
mod shape;
mod usage;
mod way;

use std::sync::Arc;

use self::case::{Case, Terms};
use self::hidden::Hidden;
use self::own::Own;
use self::report::Report;
use self::run::{Run, Ways};
use self::way::Way;
use super::out::{Exit, agreed, line, note};
use super::place::{ConfigArg, UpstreamChoice, load, upstream_named};
use crate::app::{self, AssemblyFault, StartFault};
use crate::base::chance::Chance;
use crate::base::secret::Secret;
use crate::config::{self, Loaded};
use crate::store::ledger::StoreFault;
use crate::upstream::client::{TlsFault, tls_config};
use crate::upstream::endpoint::{Upstream, UpstreamFault};

/// See with your own account that the gateway changes nothing: ask an upstream both ways and compare
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Without --gateway it starts one of its own, in a temporary folder, with that upstream only. Exit \
                  codes: 0 all equal, 1 something differs, 2 it could not run, 3 the upstream cannot be reached or \
                  refuses the credential."
)]
pub struct VerifyArgs {
    #[command(flatten)]
    place: ConfigArg,
    /// The upstream to ask [default: the only one of the config]
    #[arg(long, value_name = "NAME")]
    upstream: Option<String>,
    /// Base URL of a running gateway to compare with [default: one of its own]
    #[arg(long, value_name = "URL", requires = "key_env")]
    gateway: Option<String>,
    /// The environment variable that holds a key of that gateway
    #[arg(long, value_name = "VAR", requires = "gateway")]
    key_env: Option<String>,
    /// The model to ask [default: a small one that the upstream lists]
    #[arg(long, value_name = "NAME")]
    model: Option<String>,
    /// The embedding model to ask [default: text-embedding-3-small, if the upstream lists it]
    #[arg(long, value_name = "NAME")]
    embedding_model: Option<String>,
    /// Only these cases, separated by commas (docs/VERIFY.md lists them)
    #[arg(long, value_name = "CASES", value_delimiter = ',', value_parser = case)]
    only: Vec<Case>,
    /// Send the requests without asking first
    #[arg(short, long)]
    yes: bool,
    /// Machine-readable output
    #[arg(long)]
    json: bool,
}

fn case(name: &str) -> Result<Case, String> {
    Case::from_name(name).ok_or_else(|| {
        let names: Vec<&str> = Case::ALL.into_iter().map(Case::name).collect();
        format!("no such case; there are: {}", names.join(", "))
    })
}

/// Why there is no comparison.
#[derive(Debug, thiserror::Error)]
enum VerifyFault {
    #[error("the upstream `{upstream}` cannot be reached: {why}; see its `base_url`")]
    Unreached { upstream: String, why: String },
    #[error("the upstream `{upstream}` refuses the credential (401); see its `api_key` and `auth`")]
    Refused { upstream: String },
    #[error(
        "the upstream `{upstream}` answers {status} to a request for {model}: has the account access and credit?"
    )]
    TurnedAway { upstream: String, model: String, status: u16 },
    #[error(transparent)]
    Choice(#[from] UpstreamChoice),
    #[error("say which model to ask: --model NAME (the upstream lists: {listed})")]
    NoModel { listed: String },
    #[error("this upstream has no case of those")]
    NoCase,
    #[error("this sends requests to a real account: say --yes where nobody can be asked")]
    NotAgreed,
    #[error("nothing was sent")]
    Declined,
    #[error("interrupted")]
    Interrupted,
    #[error("{0} is not set; it should hold a key of the gateway")]
    NoKey(String),
    #[error("the gateway at {url} {why}")]
    Gateway { url: String, why: String },
    #[error(transparent)]
    Upstream(#[from] UpstreamFault),
    #[error(transparent)]
    Assembly(#[from] AssemblyFault),
    #[error(transparent)]
    Tls(#[from] TlsFault),
    #[error("its own gateway: {0}")]
    Start(#[from] StartFault),
    #[error("its own gateway's books: {0}")]
    Books(#[from] StoreFault),
    #[error(transparent)]
    Io(#[from] std::io::Error),
}

impl VerifyFault {
    const fn exit(&self) -> Exit {
        match self {
            Self::Unreached { .. } | Self::Refused { .. } | Self::TurnedAway { .. } => Exit::Unreached,
            _ => Exit::Failed,
        }
    }
}

/// Runs the comparison and prints what it found.
#[must_use]
pub fn run(args: &VerifyArgs) -> Exit {
    let loaded = match load(&args.place.config) {
        Ok(loaded) => loaded,
        Err(exit) => return exit,
    };
    let report = match verify(args, &loaded) {
        Ok(report) => report,
        Err(fault) => {
            note(&format!("tollgate verify: {fault}"));
            return fault.exit();
        }
    };
    if args.json {
        line(&format!("{:#}", report.to_json()));
    } else {
        report.for_people().iter().for_each(|text| line(text));
    }
    if report.is_equal() { Exit::Ok } else { Exit::No }
}

fn verify(args: &VerifyArgs, loaded: &Loaded) -> Result<Report, VerifyFault> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let name = upstream_named(args.upstream.as_deref(), loaded)?;
    let upstream = || Upstream::build(&name, &loaded.settings.upstreams[&name]);
    let (tls, host) = (tls_config()?, upstream()?.host().to_owned());
    let key = args.key_env.as_ref().map(|variable| {
        let key = config::environment(variable).filter(|key| !key.is_empty());
        key.map(Secret::new).ok_or_else(|| VerifyFault::NoKey(variable.clone()))
    });
    let key = key.transpose()?;
    let mut hidden = Hidden::of(&upstream()?);
    if let Some(key) = &key {
        hidden.add(key.expose());
    }
    let hidden = Arc::new(hidden);
    let directly = Way::to_upstream(upstream()?, &tls, &hidden);
    let terms = runtime.block_on(terms(args, &upstream()?, &directly))?;
    let catalogue = app::catalogue(&loaded.settings)?;
    let cases = cases(args, &terms)?;
    note(&plan::announcement(&cases, &terms, &catalogue, &host));
    if !args.yes && !agreed().ok_or(VerifyFault::NotAgreed)? {
        return Err(VerifyFault::Declined);
    }
    let own = match &args.gateway {
        Some(_) => None,
        None => Some(Own::start(loaded, &args.place.config, &name, &Chance::from_system())?),
    };
    let (url, key) = match (&own, &args.gateway, key) {
        (None, Some(url), Some(key)) => (url.clone(), key),
        (Some(own), _, _) => (format!("http://{}", own.address), own.key.clone()),
        (None, _, _) => unreachable!("a gateway comes with a key, or is our own"),
    };
    let through = Way::to_gateway(&url, key, terms.kind, &tls, &hidden)?;
    let ways = Ways { upstream: name.clone(), directly, through };
    let ran = runtime.block_on(async {
        if own.is_none() {
            gateway_lets_in(&url, &terms, &ways.through).await?;
        }
        tokio::select! {
            ran = Run::through(&ways, terms.clone(), &cases, &note) => ran,
            // so that our own gateway and its folder go, too
            _ = tokio::signal::ctrl_c() => Err(VerifyFault::Interrupted),
        }
    });
    // before anything else ends: our own gateway waits for clients that are still there
    drop(runtime);
    let ran = ran?;
    let requests = ran.requests;
    let rows = match own {
        Some(own) => ran.judged_by_rows(&own.stop()?),
        None => ran.judged_by_cost(&terms, &catalogue, &host),
    };
    Ok(Report { upstream: name, gateway: args.gateway.clone(), model: terms.model, requests, rows })
}

/// Reaches for the upstream, and settles which models to ask.
async fn terms(args: &VerifyArgs, upstream: &Upstream, way: &Way) -> Result<Terms, VerifyFault> {
    let kind = upstream.kind;
    let mut terms = Terms {
        kind,
        model: String::new(),
        embedding_model: args.embedding_model.clone(),
        cap: "max_tokens",
    };
    let listed = plan::reach(&upstream.name, &terms, way).await?;
    terms.model = match &args.model {
        Some(model) => model.clone(),
        None => plan::choose(kind, &listed)?,
    };
    if terms.embedding_model.is_none() {
        terms.embedding_model = plan::choose_embedding(kind, &listed);
    }
    Ok(terms)
}

fn cases(args: &VerifyArgs, terms: &Terms) -> Result<Vec<Case>, VerifyFault> {
    for case in args.only.iter().filter(|case| !case.suits(terms)) {
        note(&format!("{}: there is nothing to ask of this upstream", case.name()));
    }
    let wanted = |case: &Case| (args.only.is_empty() || args.only.contains(case)) && case.suits(terms);
    let cases: Vec<Case> = Case::ALL.into_iter().filter(wanted).collect();
    if cases.is_empty() { Err(VerifyFault::NoCase) } else { Ok(cases) }
}

/// Asks somebody else's gateway for the models, which is free, to see that it is there and takes the key.
async fn gateway_lets_in(url: &str, terms: &Terms, way: &Way) -> Result<(), VerifyFault> {
    let fault = |why: String| VerifyFault::Gateway { url: url.into(), why };
    let answer = way.ask(&Case::Models.asked(terms)).await;
    let answer = answer.map_err(|reason| fault(format!("cannot be reached: {reason}")))?;
    if answer.status == 401 { Err(fault("refuses the key (401)".into())) } else { Ok(()) }
}
