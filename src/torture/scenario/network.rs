//! `network`: the network breaks on either side of the gateway, in every way that the fault proxy knows, and
//! is mended again. Broken answers look broken, the books stay right, and normal service is back soon.

use std::time::Duration;

use crate::base::chance::Chance;
use crate::torture::TortureFault;
use crate::torture::ask::{Ask, Operation};
use crate::torture::crowd::Crowd;
use crate::torture::judge::case::{Case, Rules};
use crate::torture::netfault::{After, End, Netfault, Way, Weather, Welcome};
use crate::torture::own::Wants;
use crate::torture::run::Stand;
use crate::torture::sheet::Invariant;

/// Patience that ends within a test.
pub(super) fn wants() -> Wants {
    let upstream = vec!["connect_timeout: 1s", "first_byte_timeout: 2s", "idle_timeout: 2s"];
    Wants { upstream, ..Wants::default() }
}

/// One kind of bad weather.
struct Phase {
    name: &'static str,
    weather: Weather,
    /// Whether only a gateway's own patience ends it.
    hangs: bool,
}

pub(super) async fn play(stand: &mut Stand<'_>) -> Result<(), TortureFault> {
    let begun = stand.clock.now();
    let chance = Chance::seeded(stand.chance.next_u64());
    let near = Netfault::start(stand.gateway.door().address, Chance::seeded(chance.next_u64()))?;
    let probe = stand.probe();
    let (mut cases, mut part) = (Vec::new(), 0);
    let mut longest = Duration::ZERO;
    for (place, phases) in [("upstream", at_the_upstream(&chance)), ("client", at_the_client(&chance))] {
        for phase in phases {
            if phase.hangs && !stand.gateway.is_ours() {
                // nobody knows how long it may take for another gateway to give up
                continue;
            }
            let is_upstream = place == "upstream";
            (stand.note)(&format!("  {place}: {}", phase.name));
            let Some(far) = &stand.network else { return Ok(()) };
            let proxy = if is_upstream { far } else { &near };
            proxy.end_all();
            proxy.set(phase.weather);
            let crowd = stand.crowd(AT_ONCE).by_way_of(near.address);
            cases.extend(ask(stand, &crowd, part, &chance).await);
            part += 1;
            let Some(far) = &stand.network else { return Ok(()) };
            let proxy = if is_upstream { far } else { &near };
            proxy.set(Weather::default());
            proxy.end_all();
            let mended = stand.clock.tick();
            let mut is_back = false;
            while !is_back && stand.clock.tick().since(mended) < BACK_WITHIN {
                let crowd = stand.crowd(AT_ONCE).by_way_of(near.address);
                let fine = ask(stand, &crowd, part, &chance).await;
                part += 1;
                is_back = fine.iter().all(Case::is_whole);
                cases.extend(fine);
            }
            let took = stand.clock.tick().since(mended);
            longest = longest.max(took);
            stand.sheet.check(Invariant::I12, is_back, || {
                format!("{place}, {}: no normal service within {BACK_WITHIN:?}", phase.name)
            });
        }
    }
    stand.probed(probe);
    let rules = Rules { network: true, ..Rules::default() };
    let judged = stand.judge(&cases, rules, begun, &mut |_, _, _| {}).await?;
    stand.figure("requests", cases.len());
    stand.figure("answered_whole", cases.iter().filter(|case| case.is_whole()).count());
    stand.count(&judged);
    stand.figure("longest_back_ms", u64::try_from(longest.as_millis()).unwrap_or(u64::MAX));
    Ok(())
}

async fn ask(stand: &Stand<'_>, crowd: &Crowd, part: u64, chance: &Chance) -> Vec<Case> {
    let (marks, models) = (stand.marks(part), stand.gateway.models());
    let plan = (0..A_FEW)
        .map(|number| {
            let one_of = |count: usize| usize::try_from(chance.below(count as u64)).unwrap_or(0);
            Ask::chat(format!("{marks}-{number}"), &models[one_of(models.len())], 60)
                .of(Operation::ALL[one_of(Operation::ALL.len())], chance.below(3) > 0)
                .with(["", "out=40", "out=30+pace=2ms"][one_of(3)])
                .into()
        })
        .collect();
    crowd.ask_these(plan).await
}

fn at_the_upstream(chance: &Chance) -> Vec<Phase> {
    let phase = |name, back| Phase { name, weather: Weather { back, ..Weather::default() }, hangs: false };
    let ends = |end| Way { end: Some((After::SomeBelow(2_500), end)), ..Way::default() };
    let mut phases = slow(chance);
    phases.extend([
        phase("cut in the answer", ends(End::Cut)),
        phase("reset in the answer", ends(End::Reset)),
        phase("half closed in the answer", ends(End::HalfClose)),
        phase("cut before the answer", Way { end: Some((After::Exactly(0), End::Cut)), ..Way::default() }),
        Phase { hangs: true, ..phase("black hole in the answer", ends(End::Blackhole)) },
        Phase {
            name: "cut in the request",
            weather: Weather { there: ends(End::Reset), ..Weather::default() },
            hangs: false,
        },
        Phase {
            name: "accepted, then silence",
            weather: Weather { welcome: Welcome::Silence, ..Weather::default() },
            hangs: true,
        },
        Phase {
            name: "refused",
            weather: Weather { welcome: Welcome::Refuse, ..Weather::default() },
            hangs: false,
        },
    ]);
    phases
}

fn at_the_client(chance: &Chance) -> Vec<Phase> {
    let ends = |most, end| Way { end: Some((After::SomeBelow(most), end)), ..Way::default() };
    let back = |back| Weather { back, ..Weather::default() };
    let there = |there| Weather { there, ..Weather::default() };
    let phase = |name, weather| Phase { name, weather, hangs: false };
    let mut phases = slow(chance);
    phases.extend([
        phase("cut in the answer", back(ends(2_500, End::Cut))),
        phase("reset in the answer", back(ends(2_500, End::Reset))),
        phase("cut in the request", there(ends(500, End::Cut))),
        phase("reset in the request", there(ends(500, End::Reset))),
    ]);
    phases
}

/// What takes its time and breaks nothing.
fn slow(chance: &Chance) -> Vec<Phase> {
    let phase = |name, way| Phase {
        name,
        weather: Weather { there: way, back: way, ..Weather::default() },
        hangs: false,
    };
    let late = Duration::from_millis(10 + chance.below(20));
    vec![
        phase("late", Way { latency: late, jitter: late, ..Way::default() }),
        phase("narrow", Way { bytes_per_second: Some(64 << 10), ..Way::default() }),
        phase("in small pieces", Way { slice: Some(7), ..Way::default() }),
    ]
}

const A_FEW: u64 = 24;
const AT_ONCE: u64 = 12;
const BACK_WITHIN: Duration = Duration::from_secs(5);
