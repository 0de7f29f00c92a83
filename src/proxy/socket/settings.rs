//! What holds in a session: what its upstream has told of it, beside what its client has set since. A mere wish lets
//! nobody hold less, or be billed for another model: the upstream may not follow it.

use crate::dialect::socket::{Settings, UNCAPPED};

/// The settings of a session.
#[derive(Debug, Default)]
pub(super) struct InForce {
    told: Settings,
    wished: Settings,
    /// Wishes of which the upstream has not said yet whether they hold.
    unanswered: u32,
}

impl InForce {
    /// The client sets something.
    pub(super) fn wish(&mut self, settings: Settings) {
        let Settings { transcription_model, output_cap, .. } = settings;
        self.wished.transcription_model = transcription_model.or(self.wished.transcription_model.take());
        self.wished.output_cap = self.wished.output_cap.max(output_cap);
        self.unanswered = self.unanswered.saturating_add(1);
    }

    /// The upstream says what holds.
    pub(super) fn tell(&mut self, settings: Settings) {
        let Settings { model, transcription_model, output_cap } = settings;
        let told = &mut self.told;
        told.model = model.or(told.model.take());
        told.transcription_model = transcription_model.or(told.transcription_model.take());
        told.output_cap = output_cap.or(told.output_cap);
        self.unanswered = self.unanswered.saturating_sub(1);
        if self.unanswered == 0 {
            self.wished.output_cap = None;
        }
    }

    /// The model that answers.
    pub(super) fn model(&self) -> Option<&str> {
        self.told.model.as_deref()
    }

    /// The model that writes down what is said.
    pub(super) fn transcription_model(&self) -> Option<&str> {
        let [told, wished] =
            [&self.told, &self.wished].map(|settings| settings.transcription_model.as_deref());
        told.or(wished)
    }

    /// The most output of a response that says nothing of it: by what holds, or may hold already.
    pub(super) fn output_cap(&self) -> Option<u64> {
        let told = self.told.output_cap;
        if self.unanswered == 0 { told } else { Some(told.unwrap_or(UNCAPPED)).max(self.wished.output_cap) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(transcription_model: &str, output_cap: Option<u64>) -> Settings {
        Settings { model: None, transcription_model: Some(transcription_model.into()), output_cap }
    }

    #[test]
    fn a_mere_wish_lowers_no_cap_and_changes_no_price() {
        let mut session = InForce::default();
        session.wish(settings("first", Some(10)));
        assert_eq!((session.transcription_model(), session.output_cap()), (Some("first"), Some(UNCAPPED)));
        session.tell(settings("dear", Some(10)));
        assert_eq!((session.transcription_model(), session.output_cap()), (Some("dear"), Some(10)));
        session.wish(settings("cheap", Some(1)));
        assert_eq!((session.transcription_model(), session.output_cap()), (Some("dear"), Some(10)));
        session.wish(settings("cheap", Some(UNCAPPED)));
        assert_eq!(session.output_cap(), Some(UNCAPPED), "it may hold already");
        session.tell(settings("cheap", Some(1)));
        session.tell(settings("cheap", Some(UNCAPPED)));
        session.tell(settings("cheap", Some(20)));
        assert_eq!((session.transcription_model(), session.output_cap()), (Some("cheap"), Some(20)));
    }
}
