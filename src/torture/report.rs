//! What the kit found, as values; the command line prints them.

use serde_json::{Value, json};

use super::sheet::{Invariant, Verdict};

/// All scenarios of one run.
#[derive(Debug, Clone, Default)]
pub struct Report {
    /// Repeats the run.
    pub seed: u64,
    /// In the order in which they were played.
    pub scenarios: Vec<ScenarioReport>,
}

/// One scenario.
#[derive(Debug, Clone)]
pub struct ScenarioReport {
    /// Its name.
    pub name: &'static str,
    /// How long it took.
    pub seconds: f64,
    /// What was counted, by name.
    pub figures: Vec<(&'static str, Value)>,
    /// What was judged.
    pub verdicts: Vec<(Invariant, Verdict)>,
}

impl Report {
    /// Whether nothing was found broken.
    #[must_use]
    pub fn holds(&self) -> bool {
        let verdicts = self.scenarios.iter().flat_map(|scenario| &scenario.verdicts);
        !verdicts.into_iter().any(|(_, verdict)| matches!(verdict, Verdict::Broken { .. }))
    }

    /// For programs.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let scenarios: Vec<Value> = self.scenarios.iter().map(ScenarioReport::to_json).collect();
        json!({"seed": self.seed, "holds": self.holds(), "scenarios": scenarios})
    }
}

impl ScenarioReport {
    fn to_json(&self) -> Value {
        let figures: serde_json::Map<String, Value> =
            self.figures.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect();
        let invariants: Vec<Value> =
            self.verdicts.iter().map(|(invariant, verdict)| row(*invariant, verdict)).collect();
        json!({"name": self.name, "seconds": self.seconds, "figures": figures, "invariants": invariants})
    }
}

fn row(invariant: Invariant, verdict: &Verdict) -> Value {
    let mut row = json!({"id": invariant.id(), "promise": invariant.promise()});
    let said = match verdict {
        Verdict::Held { checked } => json!({"verdict": "held", "checked": checked}),
        Verdict::Broken { checked, broken, examples } => {
            json!({"verdict": "broken", "checked": checked, "broken": broken, "examples": examples})
        }
        Verdict::NotJudged { why } => json!({"verdict": "not_judged", "why": why}),
    };
    if let (Some(row), Value::Object(said)) = (row.as_object_mut(), said) {
        row.extend(said);
    }
    row
}
