//! What will be asked, of which models, and what it may cost; and whether the upstream lets us in at all.

use serde_json::Value;

use super::VerifyFault;
use super::case::{Case, MOST_INPUT, Terms};
use super::way::{Answer, Way};
use crate::base::clock::Clock;
use crate::base::money::NanoUsd;
use crate::pricing::catalogue::Catalogue;
use crate::pricing::cost::ceiling;
use crate::upstream::section::UpstreamKind;

/// Asks the upstream for its models, which is free, and returns their names. None where it keeps no list.
pub(super) async fn reach(upstream: &str, terms: &Terms, way: &Way) -> Result<Vec<String>, VerifyFault> {
    let answer = way
        .ask(&Case::Models.asked(terms))
        .await
        .map_err(|fault| VerifyFault::Unreached { upstream: upstream.into(), why: fault.to_string() })?;
    admitted(upstream, &answer)?;
    let said: Value = serde_json::from_str(&answer.body).unwrap_or_default();
    let models = said["data"].as_array().into_iter().flatten();
    Ok(models.filter_map(|model| model["id"].as_str().map(str::to_owned)).collect())
}

/// Whether an answer shows that the upstream takes the credential and is in service.
fn admitted(upstream: &str, answer: &Answer) -> Result<(), VerifyFault> {
    let upstream = upstream.to_owned();
    match answer.status {
        401 => Err(VerifyFault::Refused { upstream }),
        // some upstreams keep no list, but a redirect leads elsewhere
        300..=399 => {
            Err(VerifyFault::Unreached { upstream, why: format!("it answers {}, a redirect", answer.status) })
        }
        502..=504 => Err(VerifyFault::Unreached { upstream, why: format!("it answers {}", answer.status) }),
        _ => Ok(()),
    }
}

/// The model to ask where none was named: a small one that the upstream lists.
pub(super) fn choose(kind: UpstreamKind, listed: &[String]) -> Result<String, VerifyFault> {
    let liked: &[&str] = if kind == UpstreamKind::Anthropic { &["haiku"] } else { SMALL };
    // Azure lists what could be deployed
    let listed = if kind == UpstreamKind::Azure { &[] } else { listed };
    let found = liked.iter().find_map(|liked| {
        let exact = listed.iter().find(|name| name == liked);
        exact.or_else(|| listed.iter().find(|name| kind == UpstreamKind::Anthropic && name.contains(liked)))
    });
    match (found, listed) {
        (Some(found), _) => Ok(found.clone()),
        (None, [only]) => Ok(only.clone()),
        (None, listed) => {
            let mut some: Vec<&str> = listed.iter().take(SHOWN).map(String::as_str).collect();
            if listed.len() > SHOWN {
                some.push("...");
            }
            Err(VerifyFault::NoModel { listed: some.join(", ") })
        }
    }
}

/// The embedding model to ask where none was named.
pub(super) fn choose_embedding(kind: UpstreamKind, listed: &[String]) -> Option<String> {
    let small = listed.iter().find(|name| *name == "text-embedding-3-small");
    small.filter(|_| kind == UpstreamKind::Openai).cloned()
}

/// What is about to happen, for people.
pub(super) fn announcement(cases: &[Case], terms: &Terms, catalogue: &Catalogue, host: &str) -> String {
    let (least, most) = (2 * cases.len(), 3 * cases.len());
    let cost = cases.iter().map(|case| case_cost(*case, terms, catalogue, host)).sum::<Option<NanoUsd>>();
    let cost = match cost {
        Some(once) => {
            let both_ways = NanoUsd::new(once.as_nanos().saturating_mul(2));
            format!("at catalogue prices at most about {} USD", both_ways.to_usd_string())
        }
        None => "what that costs is not known: the catalogue has no price".into(),
    };
    let embedding = terms.embedding_model.as_deref().map(|name| format!(" and {name}")).unwrap_or_default();
    format!(
        "{} cases with {}{embedding}: {least} small requests to {host}, up to {most} where something differs; {cost}",
        cases.len(),
        terms.model,
    )
}

fn case_cost(case: Case, terms: &Terms, catalogue: &Catalogue, host: &str) -> Option<NanoUsd> {
    let Some(output) = case.most_output() else { return Some(NanoUsd::ZERO) };
    let embedding = terms.embedding_model.as_deref().filter(|_| case == Case::Embeddings);
    let model = embedding.unwrap_or(&terms.model);
    let price = catalogue.price(Some(host), model, Clock::system().now())?;
    ceiling(&price, MOST_INPUT, output)
}

/// Small models that most accounts have, the cheapest first.
const SMALL: &[&str] = &["gpt-4.1-nano", "gpt-4o-mini", "gpt-4.1-mini", "gpt-5-nano", "gpt-5-mini"];
/// Names shown of a list.
const SHOWN: usize = 8;
