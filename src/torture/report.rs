//! What the kit found, as values; the command line prints them.

use serde_json::{Value, json};

use super::sheet::{Invariant, Verdict};

/// All scenarios of one run.
#[derive(Debug, Clone, Default)]
pub struct Report {
    /// Repeats the run.
    pub seed: u64,
    /// Whether the gateway was somebody else's, of which less can be seen.
    pub from_outside: bool,
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

    /// What was judged of an invariant, in a few words.
    #[must_use]
    pub fn promise(&self, invariant: Invariant) -> &'static str {
        match invariant {
            Invariant::I1 if self.from_outside => "nothing asked twice",
            _ => invariant.promise(),
        }
    }

    /// For programs.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let scenarios: Vec<Value> = self.scenarios.iter().map(|scenario| self.scenario(scenario)).collect();
        json!({"seed": self.seed, "holds": self.holds(), "scenarios": scenarios})
    }

    fn scenario(&self, scenario: &ScenarioReport) -> Value {
        let ScenarioReport { name, seconds, figures, verdicts } = scenario;
        let figures: serde_json::Map<String, Value> =
            figures.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect();
        let invariants: Vec<Value> =
            verdicts.iter().map(|(invariant, verdict)| self.row(*invariant, verdict)).collect();
        json!({"name": name, "seconds": seconds, "figures": figures, "invariants": invariants})
    }

    fn row(&self, invariant: Invariant, verdict: &Verdict) -> Value {
        let mut row = json!({"id": invariant.id(), "promise": self.promise(invariant)});
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
}
