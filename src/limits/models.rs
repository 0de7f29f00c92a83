//! Limits on models: which of them hold for a caller, worked out once per config load.

use std::sync::Arc;

use super::limiter::{Limiter, LimiterBook};
use super::section::{ModelLimitSection, Per};
use crate::base::glob::Glob;

/// A limit that holds for some models, as one caller meets it.
#[derive(Debug, Clone)]
pub struct ModelLimiter {
    /// In lower case; `None` fits every model.
    models: Option<Vec<Glob>>,
    limiter: Arc<Limiter>,
}

impl ModelLimiter {
    /// The limits on models as they hold for one key. Keys and teams come from the config, so what the
    /// book holds grows by what operators write.
    #[must_use]
    pub fn of_key(sections: &[ModelLimitSection], team: &str, key: &str, book: &LimiterBook) -> Vec<Self> {
        let open = |section: &ModelLimitSection| Self {
            models: section
                .models
                .as_ref()
                .map(|models| models.iter().map(|model| Glob::new(&model.to_ascii_lowercase())).collect()),
            limiter: book.open(&scope(section, team, key), &section.limits()),
        };
        sections.iter().map(open).collect()
    }

    /// The limiter, if it holds for `model`. Case is no way around it.
    #[must_use]
    pub fn holds_for(&self, model: &str) -> Option<&Arc<Limiter>> {
        let fits = match &self.models {
            None => true,
            Some(models) => {
                let model = model.to_ascii_lowercase();
                models.iter().any(|pattern| pattern.matches(&model))
            }
        };
        fits.then_some(&self.limiter)
    }
}

/// The limiter's name, by what the section means: it stays the same when the list is put in another order.
fn scope(section: &ModelLimitSection, team: &str, key: &str) -> String {
    let models = match &section.models {
        None => "model *".to_owned(),
        Some(models) => format!("model {}", models.join(", ")),
    };
    match section.per {
        Per::Everything => models,
        Per::Team => format!("{models} for team {team}"),
        Per::Key => format!("{models} for key {team}/{key}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn section(models: &[&str], per: Per) -> ModelLimitSection {
        ModelLimitSection {
            models: Some(models.iter().map(|&model| model.into()).collect()),
            per,
            requests_per_minute: None,
            tokens_per_minute: None,
            concurrent: None,
        }
    }

    #[test]
    fn who_shares_a_limit_on_models_meets_the_same_limiter() {
        let book = LimiterBook::new();
        let rules = [Per::Everything, Per::Team, Per::Key].map(|per| section(&["gpt-4*"], per));
        let of = |team, key| {
            let limiters = ModelLimiter::of_key(&rules, team, key, &book);
            limiters.into_iter().map(|rule| rule.holds_for("gpt-4o").unwrap().clone()).collect::<Vec<_>>()
        };
        let (first, second, other) = (of("a", "x"), of("a", "y"), of("b", "x"));
        let same = |left: &[Arc<Limiter>], right: &[Arc<Limiter>]| -> Vec<bool> {
            left.iter().zip(right).map(|(left, right)| Arc::ptr_eq(left, right)).collect()
        };
        assert_eq!(same(&first, &second), [true, true, false]);
        assert_eq!(same(&first, &other), [true, false, false]);
        assert_eq!(same(&first, &of("a", "x")), [true; 3], "also after a reload");
    }

    #[test]
    fn a_limit_holds_for_the_models_that_fit_in_any_case() {
        let book = LimiterBook::new();
        let rules = [section(&["GPT-4*", "o3"], Per::Everything)];
        let rule = &ModelLimiter::of_key(&rules, "a", "x", &book)[0];
        for (model, holds) in
            [("gpt-4o", true), ("GPT-4O", true), ("o3", true), ("o3-mini", false), ("", false)]
        {
            assert_eq!(rule.holds_for(model).is_some(), holds, "{model}");
        }
        let all = ModelLimitSection { models: None, ..section(&[], Per::Key) };
        assert!(ModelLimiter::of_key(&[all], "a", "x", &book)[0].holds_for("").is_some());
    }
}
