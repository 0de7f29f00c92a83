//! `disconnect`: clients that leave: at any byte of a stream, before the head of an answer, in the middle of
//! their own request (FAULTS L8, L9, B12). Each leaves one row, and the upstream is let
//! go, or read to its end where the config says so.

use std::time::Duration;

use crate::base::chance::Chance;
use crate::mock::End;
use crate::store::record::Disconnect;
use crate::torture::TortureFault;
use crate::torture::ask::{Ask, Operation};
use crate::torture::client::{Ended, Leave};
use crate::torture::crowd::Planned;
use crate::torture::judge::case::Rules;
use crate::torture::own::Wants;
use crate::torture::run::Stand;
use crate::torture::sheet::Invariant;

/// Messages are read to their end without their client; everything else is cancelled.
pub(super) fn wants() -> Wants {
    Wants { claude: vec!["on_disconnect: drain"], ..Wants::default() }
}

pub(super) async fn play(stand: &mut Stand<'_>) -> Result<(), TortureFault> {
    let begun = stand.clock.now();
    let before = stand.at_rest();
    let requests = (stand.options.requests / 4).max(20);
    let chance = Chance::seeded(stand.chance.next_u64());
    let (marks, models) = (stand.marks(0), stand.gateway.models());
    let plan = (0..requests)
        .map(|number| {
            let model = &models[usize::try_from(number).unwrap_or(0) % models.len()];
            planned(&chance, Ask::chat(format!("{marks}-{number}"), model, 400))
        })
        .collect();
    let crowd = stand.crowd(AT_ONCE);
    let probe = stand.probe();
    let cases = stand.crowd_of(&crowd, requests, crowd.ask_these(plan)).await;
    stand.probed(probe);
    let mut still_open = 0_u64;
    let (mut let_go, mut drained) = (0_u64, 0_u64);
    let judged = stand
        .judge(&cases, Rules::default(), begun, &mut |_, served, rows| {
            still_open += served.iter().filter(|one| one.end == End::Open).count() as u64;
            drained += rows.iter().filter(|row| row.disconnect == Disconnect::Drained).count() as u64;
            let_go += served.iter().filter(|one| one.end == End::ClientGone).count() as u64;
        })
        .await?;
    stand.sheet.check(Invariant::I8, still_open == 0, || {
        format!("{still_open} requests are still open at the upstream, whose clients are gone")
    });
    stand.is_at_rest_again(before, AT_ONCE).await;
    stand.figure("requests", cases.len());
    stand.figure("left", cases.iter().filter(|case| case.ended == Ended::Left).count());
    stand.figure("upstream_let_go", let_go);
    if stand.gateway.is_ours() {
        stand.figure("drained", drained);
    }
    stand.count(&judged);
    Ok(())
}

/// Three quarters leave a stream of 300 tokens at any byte, one in ten of them after the first token.
fn planned(chance: &Chance, ask: Ask) -> Planned {
    let below = |bound: u64| usize::try_from(chance.below(bound)).unwrap_or(0);
    let streams = [Operation::Chat, Operation::Completions, Operation::Responses, Operation::Messages];
    let ask = ask.of(streams[below(4)], true).with(["out=300", "out=300+pace=1ms"][below(2)]);
    let (ask, leave) = match chance.below(20) {
        0..2 => (ask, Leave::AfterBody(1)),
        2..15 => (ask, Leave::AfterBody(below(LONGEST))),
        15..17 => {
            let stream = chance.below(2) == 0;
            let operation = ask.operation;
            let wait = Duration::from_millis(5 + chance.below(50));
            (ask.of(operation, stream).with("delay=400ms"), Leave::BeforeHead(wait))
        }
        17..19 => (ask, Leave::InUpload(below(450))),
        _ => (ask, Leave::Never),
    };
    Planned { leave, ..ask.into() }
}

/// About the bytes of the longest stream of the plan.
const LONGEST: u64 = 90_000;
const AT_ONCE: u64 = 50;
