//! `kill`: streams and answers under way, `kill -9` at a random instant, restart; again and again. What the
//! oracle served has one row each afterwards, and what clients were told is kept.

use std::time::Duration;

use super::lots::{Lots, one_of};
use crate::torture::TortureFault;
use crate::torture::crowd::Planned;
use crate::torture::judge::case::Rules;
use crate::torture::run::{Judged, Stand};
use crate::torture::sheet::Invariant;

pub(super) async fn play(stand: &mut Stand<'_>) -> Result<(), TortureFault> {
    if !stand.gateway.can_die() {
        for invariant in [Invariant::I1, Invariant::I12] {
            stand.sheet.cannot(invariant, "needs a gateway that can be killed; give --start");
        }
        return Ok(());
    }
    let mut total = Judged::default();
    let (mut asked, mut longest, mut whole) = (0, Duration::ZERO, 0);
    for round in 0..stand.options.rounds {
        let told = play_round(stand, round, &mut total).await?;
        asked += told.asked;
        whole += told.whole;
        longest = longest.max(told.recovery);
        let done = round + 1;
        if done % 10 == 0 {
            let broken = stand.sheet.broken(Invariant::I1);
            let Judged { rows, lost, doubled, .. } = total;
            (stand.note)(&format!(
                "  round {done} of {}: {asked} requests, {rows} rows, {lost} lost, {doubled} doubled, \
                 {broken} times I1 broken",
                stand.options.rounds
            ));
        }
    }
    stand.figure("rounds", stand.options.rounds);
    stand.figure("requests", asked);
    stand.figure("answered_whole", whole);
    stand.figure("served", total.served);
    stand.count(&total);
    stand.figure("longest_start_ms", u64::try_from(longest.as_millis()).unwrap_or(u64::MAX));
    Ok(())
}

/// What one round came to.
struct Told {
    asked: u64,
    whole: u64,
    /// From the start of the process to the instant at which it serves.
    recovery: Duration,
}

async fn play_round(stand: &mut Stand<'_>, round: u64, total: &mut Judged) -> Result<Told, TortureFault> {
    let begun = stand.clock.now();
    let lots = Lots::of(stand, round);
    let crowd = stand.crowd(stand.options.streams);
    let lifetime = Duration::from_millis(EARLIEST + stand.chance.below(LATEST - EARLIEST));
    let work = crowd.ask_all(move |number| Some(planned(&lots, number)));
    let death = async {
        tokio::time::sleep(lifetime).await;
        crowd.stop();
        stand.gateway.kill()
    };
    let (cases, was_alive) = tokio::join!(work, death);
    stand.sheet.check(Invariant::I13, was_alive, || format!("round {round}: it was gone before the kill"));
    let recovery = stand.gateway.start()?;
    stand.sheet.check(Invariant::I12, recovery <= RECOVERY, || {
        format!("round {round}: {recovery:?} from start to service")
    });
    let rules = Rules { killed: true, ..Rules::default() };
    let judged = stand.judge(&cases, rules, begun, &mut |_, _, _| {}).await?;
    total.rows += judged.rows;
    total.served += judged.served;
    total.interrupted += judged.interrupted;
    total.lost += judged.lost;
    total.doubled += judged.doubled;
    let whole = cases.iter().filter(|case| case.is_whole()).count() as u64;
    Ok(Told { asked: cases.len() as u64, whole, recovery })
}

/// Mostly streams of some length, so that a kill meets them in all their states.
fn planned(lots: &Lots, number: u64) -> Planned {
    let (ask, chance) = lots.draw(number, (4, 5));
    let mut ask =
        ask.with(["out=20+pace=10ms", "out=60+pace=3ms", "out=8", "delay=50ms"][one_of(&chance, 4)]);
    ask.wants_usage = chance.below(3) == 0;
    ask.into()
}

/// When after the first request the process is killed, in milliseconds: from within the connecting to well
/// into steady work.
const EARLIEST: u64 = 20;
const LATEST: u64 = 1_500;

/// From start to service, on a machine that is busy with the kit, too.
const RECOVERY: Duration = Duration::from_secs(5);
