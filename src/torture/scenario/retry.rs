//! `retry`: the first upstreams of a route fail and a later one works, or none does (FAULTS L12, B20). One
//! request has one row and one price, and attempts are bounded.

use crate::torture::TortureFault;
use crate::torture::ask::{Ask, Operation};
use crate::torture::crowd::Planned;
use crate::torture::judge::case::Rules;
use crate::torture::own::Wants;
use crate::torture::run::Stand;
use crate::torture::sheet::Invariant;

/// A route with three targets for everything.
pub(super) fn wants() -> Wants {
    let route = "routes: [{ models: [\"torture-*\"], to: [{ upstream: oracle }, { upstream: oracle }, \
                 { upstream: oracle }] }]";
    Wants { top: vec![route.into()], ..Wants::default() }
}

pub(super) async fn play(stand: &mut Stand<'_>) -> Result<(), TortureFault> {
    let begun = stand.clock.now();
    let (marks, models) = (stand.marks(0), stand.gateway.models());
    let requests = (stand.options.requests / 10).max(40);
    let plan: Vec<Planned> = (0..requests)
        .map(|number| {
            let one_of = |count: usize| usize::try_from(number).unwrap_or(0) % count;
            let operations =
                [Operation::Chat, Operation::Completions, Operation::Responses, Operation::Embeddings];
            Ask::chat(format!("{marks}-{number}"), &models[one_of(models.len())], 60)
                .of(operations[one_of(4)], number % 3 > 0)
                .with(TROUBLES[one_of(TROUBLES.len())])
                .into()
        })
        .collect();
    let crowd = stand.crowd(AT_ONCE);
    let probe = stand.probe();
    let cases = crowd.ask_these(plan).await;
    stand.probed(probe);
    let rules = Rules { retries: true, ..Rules::default() };
    let (mut most, mut attempts, mut differing) = (0, 0_u64, Vec::new());
    let is_ours = stand.gateway.is_ours();
    let judged = stand
        .judge(&cases, rules, begun, &mut |case, served, rows| {
            most = most.max(served.len());
            attempts += served.len() as u64;
            let recorded = rows.first().map_or(0, |row| row.attempts as usize);
            let can_work = !case.ask.knobs.starts_with("status=503");
            if is_ours && (recorded != served.len() || can_work != case.is_whole()) {
                differing.push(case.told_of(served, rows));
            }
        })
        .await?;
    stand.sheet.check(Invariant::I1, most <= 3, || format!("one request was asked {most} times"));
    stand.sheet.check(Invariant::I11, differing.is_empty(), || differing.join("\n"));
    stand.figure("requests", requests);
    stand.figure("attempts", attempts);
    stand.figure("most_attempts_of_one", most);
    stand.count(&judged);
    Ok(())
}

/// How often the oracle says no to one question; the last never stops.
const TROUBLES: [&str; 5] =
    ["status=500:2", "status=500:1", "status=429:2+out=30", "out=20", "status=503+out=20"];
const AT_ONCE: u64 = 16;
