//! The memory of a gateway that nobody asks: after its start, before its first request, no tokenizer loaded.

use std::time::Duration;

use serde_json::json;

use crate::bar::{self, Measured};
use crate::figures::median;
use crate::gateways::Tollgate;
use crate::load::pause;
use crate::{Answered, Failure, Ground};

/// Starts gateways, one after the other, and looks at each once it has come to rest.
pub(crate) fn measure(ground: &Ground<'_>) -> Result<Answered, Failure> {
    let starts = if ground.args.quick { 1 } else { 5 };
    let (mut resident, mut peak) = (Vec::new(), Vec::new());
    for number in 0..starts {
        let tollgate =
            Tollgate::start(&ground.setup(1), &ground.folder.path().join(format!("idle-{number}")))?;
        pause(SETTLED);
        resident.push(mib(tollgate.process.resident_kib()?));
        peak.push(mib(tollgate.process.peak_kib()?));
    }
    let none = || "no gateway was started";
    let (resident, peak) = (median(resident).ok_or_else(none)?, median(peak).ok_or_else(none)?);
    let text = format!(
        "Resident {resident:.1} MiB two seconds after the start, at most {peak:.1} MiB until then (median of {starts})."
    );
    Ok(Answered {
        part: "idle",
        measured: vec![Measured::new(bar::IDLE, resident)],
        table: text.clone(),
        json: json!({ "resident_mib": resident, "peak_mib": peak, "starts": starts }),
        page: text,
    })
}

fn mib(kib: u64) -> f64 {
    kib as f64 / 1_024.0
}

const SETTLED: Duration = Duration::from_secs(2);
