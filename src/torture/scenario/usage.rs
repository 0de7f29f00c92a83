//! `usage`: usage in every spelling, right, odd and wrong, in all operations (FAULTS L18, L19); and answers
//! that all have the same id, or none (L10).

use crate::torture::TortureFault;
use crate::torture::ask::{Ask, Operation};
use crate::torture::crowd::Planned;
use crate::torture::judge::case::Rules;
use crate::torture::run::Stand;

pub(super) async fn play(stand: &mut Stand<'_>) -> Result<(), TortureFault> {
    let begun = stand.clock.now();
    let (marks, models) = (stand.marks(0), stand.gateway.models());
    let mut plan: Vec<Planned> = Vec::new();
    let mut ask = |operation, stream, knobs: &str| {
        let model = &models[plan.len() % models.len()];
        let mut ask =
            Ask::chat(format!("{marks}-{}", plan.len()), model, 60).of(operation, stream).with(knobs);
        ask.wants_usage = plan.len().is_multiple_of(2);
        plan.push(ask.into());
    };
    for operation in Operation::ALL {
        for stream in [false, true] {
            for spelling in SPELLINGS {
                ask(operation, stream, &format!("out=20+usage={spelling}"));
            }
        }
    }
    let repeated = (stand.options.requests / 4).max(20);
    for number in 0..repeated {
        let id = if number % 2 == 0 { "id=" } else { "id=always-the-same" };
        ask(Operation::Chat, number % 3 == 0, id);
    }
    let requests = plan.len() as u64;
    let crowd = stand.crowd(AT_ONCE);
    let probe = stand.probe();
    let cases = stand.crowd_of(&crowd, requests, crowd.ask_these(plan)).await;
    stand.probed(probe);
    let mut estimated = 0_u64;
    let judged = stand
        .judge(&cases, Rules::default(), begun, &mut |_, _, rows| {
            estimated += rows.iter().filter(|row| row.usage_source.as_str() == "estimated").count() as u64;
        })
        .await?;
    stand.figure("requests", requests);
    stand.figure("with_a_repeated_id", repeated);
    stand.count(&judged);
    if stand.gateway.is_ours() {
        stand.figure("estimated", estimated);
    }
    Ok(())
}

const SPELLINGS: [&str; 12] = [
    "absent",
    "null",
    "negative",
    "huge",
    "string",
    "float",
    "exponent",
    "missing",
    "wrong-total",
    "twice",
    "every-chunk",
    "finish-chunk",
];
const AT_ONCE: u64 = 32;
