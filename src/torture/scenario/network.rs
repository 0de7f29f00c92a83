//! `network`: the network breaks on either side of the gateway, in every way that the fault proxy knows, and
//! is mended again. Broken answers look broken, the books stay right, and normal service is back soon.

use std::time::Duration;

use crate::base::chance::Chance;
use crate::torture::TortureFault;
use crate::torture::ask::{Ask, Operation};
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
    let mut talk = Talk { near, chance, cases: Vec::new(), part: 0 };
    let mut longest = Duration::ZERO;
    for side in [Side::Upstream, Side::Client] {
        for phase in side.phases() {
            // nobody knows how long it may take for another gateway to give up
            if phase.hangs && !stand.gateway.is_ours() {
                continue;
            }
            (stand.note)(&format!("  {side:?}: {}", phase.name));
            let back = talk.through(stand, side, &phase).await;
            longest = longest.max(back.unwrap_or(BACK_WITHIN));
            stand.sheet.check(Invariant::I12, back.is_some(), || {
                format!("{side:?}, {}: no normal service within {BACK_WITHIN:?}", phase.name)
            });
        }
    }
    stand.probed(probe);
    let rules = Rules { network: true, ..Rules::default() };
    let judged = stand.judge(&talk.cases, rules, begun, &mut |_, _, _| {}).await?;
    stand.figure("requests", talk.cases.len());
    stand.figure("answered_whole", talk.cases.iter().filter(|case| case.is_whole()).count());
    stand.count(&judged);
    stand.figure("longest_back_ms", u64::try_from(longest.as_millis()).unwrap_or(u64::MAX));
    Ok(())
}

/// Which side of the gateway is broken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Side {
    Upstream,
    Client,
}

/// The clients of this scenario, who come by way of a fault proxy of their own.
struct Talk {
    near: Netfault,
    chance: Chance,
    cases: Vec<Case>,
    /// How many times a few asked.
    part: u64,
}

impl Talk {
    /// Asks in bad weather, mends it, and asks until all goes well again: how long that took.
    async fn through(&mut self, stand: &Stand<'_>, side: Side, phase: &Phase) -> Option<Duration> {
        self.forecast(stand, side, phase.weather);
        self.a_few(stand).await;
        self.forecast(stand, side, Weather::default());
        let mended = stand.clock.tick();
        while stand.clock.tick().since(mended) < BACK_WITHIN {
            if self.a_few(stand).await {
                return Some(stand.clock.tick().since(mended));
            }
        }
        None
    }

    /// New weather for all, also for those who are connected.
    fn forecast(&self, stand: &Stand<'_>, side: Side, weather: Weather) {
        let far = stand.network.as_ref().expect("this scenario's stand has a proxy before its oracle");
        let proxy = if side == Side::Upstream { far } else { &self.near };
        proxy.set(weather);
        proxy.end_all();
    }

    /// A few questions at once; yields whether all were answered whole.
    async fn a_few(&mut self, stand: &Stand<'_>) -> bool {
        let (marks, models) = (stand.marks(self.part), stand.gateway.models());
        let one_of = |count: usize| usize::try_from(self.chance.below(count as u64)).unwrap_or(0);
        let plan = (0..A_FEW)
            .map(|number| {
                Ask::chat(format!("{marks}-{number}"), &models[one_of(models.len())], 60)
                    .of(Operation::ALL[one_of(Operation::ALL.len())], one_of(3) > 0)
                    .with(["", "out=40", "out=30+pace=2ms"][one_of(3)])
                    .into()
            })
            .collect();
        let crowd = stand.crowd(AT_ONCE).by_way_of(self.near.address);
        let cases = crowd.ask_these(plan).await;
        let are_whole = cases.iter().all(Case::is_whole);
        self.cases.extend(cases);
        self.part += 1;
        are_whole
    }
}

impl Side {
    fn phases(self) -> Vec<Phase> {
        match self {
            Self::Upstream => at_the_upstream(),
            Self::Client => at_the_client(),
        }
    }
}

fn at_the_upstream() -> Vec<Phase> {
    let phase = |name, back| Phase { name, weather: Weather { back, ..Weather::default() }, hangs: false };
    let ends = |end| Way { end: Some((After::SomeBelow(2_500), end)), ..Way::default() };
    let mut phases = slow();
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

fn at_the_client() -> Vec<Phase> {
    let ends = |most, end| Way { end: Some((After::SomeBelow(most), end)), ..Way::default() };
    let back = |back| Weather { back, ..Weather::default() };
    let there = |there| Weather { there, ..Weather::default() };
    let phase = |name, weather| Phase { name, weather, hangs: false };
    let mut phases = slow();
    phases.extend([
        phase("cut in the answer", back(ends(2_500, End::Cut))),
        phase("reset in the answer", back(ends(2_500, End::Reset))),
        phase("cut in the request", there(ends(500, End::Cut))),
        phase("reset in the request", there(ends(500, End::Reset))),
    ]);
    phases
}

/// What takes its time and breaks nothing.
fn slow() -> Vec<Phase> {
    let phase = |name, way| Phase {
        name,
        weather: Weather { there: way, back: way, ..Weather::default() },
        hangs: false,
    };
    vec![
        phase("late", Way { latency: LATE, jitter: LATE, ..Way::default() }),
        phase("narrow", Way { bytes_per_second: Some(64 << 10), ..Way::default() }),
        phase("in small pieces", Way { slice: Some(7), ..Way::default() }),
    ]
}

const LATE: Duration = Duration::from_millis(20);
const A_FEW: u64 = 24;
const AT_ONCE: u64 = 12;
const BACK_WITHIN: Duration = Duration::from_secs(5);
